"""Events by NATS: one PUB a message, taken once the server answered a PING behind it.

``nats://[user:password@]host[:4222]/subject`` or ``tls://…``. That is core NATS: the server has the message, whoever
listens then gets it; a stream (JetStream) that captures the subject keeps it. The connection is kept, and made anew
after any failure. nats-py is imported where a destination needs it, and nowhere else.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from gateway.events.follower import NotTaken

if TYPE_CHECKING:
    from nats.aio.client import Client


class NatsSender:
    """Publishes to one subject of one server."""

    def __init__(self, url: str, timeout_s: float = 10.0) -> None:
        parts = urlsplit(url)
        self._subject = unquote(parts.path.removeprefix("/"))
        host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
        self._server = f"{parts.scheme}://{host}:{parts.port or 4222}"
        self._timeout_s = timeout_s
        self._options: dict[str, Any] = {
            "user": unquote(parts.username) if parts.username else None,
            "password": unquote(parts.password) if parts.password else None,
            "allow_reconnect": False,
            "connect_timeout": max(1, int(timeout_s)),
            "error_cb": _ignore,
        }
        self._client: Client | None = None

    async def send(self, message: bytes) -> None:
        """Deliver one message. Raises ``NotTaken``."""
        import nats

        try:
            async with asyncio.timeout(self._timeout_s):
                if self._client is None or not self._client.is_connected:
                    self._client = await nats.connect(self._server, **self._options)
                await self._client.publish(self._subject, message)
                # nats-py may write the first PING ahead of the message, which it queues; the second is behind it.
                for _ in range(2):
                    await self._client.flush(max(1, int(self._timeout_s)))
        except (nats.errors.Error, TimeoutError, OSError) as error:
            await self.close()
            raise NotTaken(f"the server cannot be reached or refuses: {type(error).__name__}") from error

    async def close(self) -> None:
        """Give the connection back."""
        import nats

        client, self._client = self._client, None
        if client is not None:
            with suppress(nats.errors.Error, TimeoutError, OSError):
                await client.close()


async def _ignore(error: Exception) -> None:
    """What goes wrong is told by the call it happens in."""
