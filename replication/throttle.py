"""Limits how many bytes a second go to and come from a cloud: a wrapper of ``Cloud``.

A debt model: each transfer may start once those before it are paid for at the limit's rate, so one alone starts at once
and the average holds. Counts object bytes (the wire adds a few hundred bytes of headers to each request).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

from replication.ports import Cloud


class ByteRate:
    """One direction's limit in bytes per second; 0: none."""

    def __init__(
        self,
        bytes_per_s: int,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._bytes_per_s = bytes_per_s
        self._now = now
        self._sleep = sleep
        self._free_at = 0.0

    async def pay(self, size: int) -> None:
        """Wait for the transfers before, and owe ``size`` bytes."""
        if not self._bytes_per_s:
            return
        begin = max(self._now(), self._free_at)
        self._free_at = begin + size / self._bytes_per_s
        if begin > self._now():
            await self._sleep(begin - self._now())


class ThrottledCloud:
    """See ``ports.Cloud``."""

    def __init__(self, cloud: Cloud, up: ByteRate, down: ByteRate) -> None:
        self._cloud = cloud
        self._up = up
        self._down = down

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """Create or replace, when its turn has come."""
        await self._up.pay(len(data))
        await self._cloud.put(name, data, if_absent=if_absent)

    async def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object; what was not known before is owed afterwards."""
        await self._down.pay(length or 0)
        data = await self._cloud.get(name, offset=offset, length=length)
        if length is None:
            await self._down.pay(len(data))
        return data

    async def list(self, prefix: str, *, after: str = "", count_max: int = 1000) -> list[str]:
        """Names under a prefix."""
        return await self._cloud.list(prefix, after=after, count_max=count_max)

    async def delete(self, name: str) -> None:
        """Remove an object."""
        await self._cloud.delete(name)

    async def close(self) -> None:
        """Release connections."""
        await self._cloud.close()
