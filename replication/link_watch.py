"""Notices that the link is back before the next try would have: knocks at the cloud's port while it does not answer.

A knock is a TCP connection that is closed again: it costs no request and says only that somebody listens. So it wakes
who waits when it succeeds after having failed, once; a port that always opens (a cloud that answers 503) wakes nobody.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import Final
from urllib.parse import urlsplit

from replication.settings import CloudSettings

KNOCK_TIMEOUT_S: Final = 5.0
_PORTS: Final = {"http": 80, "https": 443}


def address_of(settings: CloudSettings) -> tuple[str, int]:
    """Host and port that requests to the cloud connect to: the proxy's, if there is one."""
    url = settings.proxy_url or settings.endpoint_url or f"https://s3.{settings.region}.amazonaws.com"
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or _PORTS[parts.scheme]


async def knock(host: str, port: int) -> bool:
    """Whether somebody listens there."""
    try:
        async with asyncio.timeout(KNOCK_TIMEOUT_S):
            _, writer = await asyncio.open_connection(host, port)
    except (OSError, TimeoutError):
        return False
    writer.close()
    with contextlib.suppress(OSError):
        await writer.wait_closed()
    return True


class LinkWatch:
    """Tells whether a knock says that the link came back since the one before."""

    def __init__(self, knock_once: Callable[[], Awaitable[bool]]) -> None:
        self._knock_once = knock_once
        self._was_silent = False

    async def is_back(self) -> bool:
        """Knock: True if somebody answers who did not the last time."""
        answered = await self._knock_once()
        back = answered and self._was_silent
        self._was_silent = not answered
        return back

    def forget(self) -> None:
        """The cloud answers: nothing is to be noticed."""
        self._was_silent = False
