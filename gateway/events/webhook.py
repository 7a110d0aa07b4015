"""Events by HTTP: one POST of JSON a message, taken if the answer is a 2xx. Redirects are not followed."""

from __future__ import annotations

from typing import Final

import aiohttp

from gateway.events.follower import NotTaken

_ANSWER_BYTES_MAX: Final = 64 << 10


class WebhookSender:
    """Posts to one URL. ``authorization``: the header's value, empty for none; it is never logged, nor is the URL's
    query.
    """

    def __init__(self, url: str, authorization: str = "", timeout_s: float = 10.0) -> None:
        self._url = url
        headers = {"Content-Type": "application/json", "User-Agent": "Skerry"}
        if authorization:
            headers["Authorization"] = authorization
        self._session = aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=timeout_s))

    async def send(self, message: bytes) -> None:
        """Deliver one message. Raises ``NotTaken``."""
        try:
            async with self._session.post(self._url, data=message, allow_redirects=False) as answer:
                await answer.content.read(_ANSWER_BYTES_MAX)
                if not 200 <= answer.status < 300:
                    raise NotTaken(f"it answered {answer.status}")
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            raise NotTaken(f"it cannot be reached: {type(error).__name__}") from error

    async def close(self) -> None:
        """Give the connections back."""
        await self._session.close()
