"""Keeps a cloud to what its link may carry: a wrapper of ``Cloud``.

A debt model: each transfer may start once those before it are paid for at the rate that holds now, so one alone starts
at once and the average holds. What is counted is what goes over the wire as HTTP: bodies, and ``HEAD_BYTES`` for the
heads of each request and answer. A transfer that takes far longer than the link's own rate suggests is given up
(``Goodput.deadline_s``): a half-dead line would otherwise hold it for ever.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

from replication.goodput import Goodput
from replication.link import DOWN, UP, Debts, Link, OwnDebts
from replication.ports import Cloud, CloudUnreachable

HEAD_BYTES: Final = 512
"""Head of a signed request, or of an answer, about: 560 to 800 bytes up (``lean_requests``), 155 to 255 down, measured
on Ceph.
"""
NAME_BYTES: Final = 320
"""What a listing tells of one name, about."""


class Pacer:
    """Keeps transfers to the rates of a link. ``now`` and ``sleep`` (seconds) are given by tests."""

    def __init__(
        self,
        link: Link,
        debts: Debts | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._link = link
        self._debts = debts or OwnDebts()
        self.now = now
        self._sleep = sleep

    async def pay(self, way: int, size: int) -> None:
        """Wait for the transfers before, and owe ``size`` bytes."""
        wait_s = self.owe(way, size) - self.now()
        if wait_s > 0:
            await self._sleep(wait_s)

    def owe(self, way: int, size: int) -> float:
        """Owe ``size`` bytes: when they may begin."""
        rate = self._link.bytes_per_s(way)
        return self._debts.take(way, self.now(), size / rate) if rate else 0.0


class ThrottledCloud:
    """See ``ports.Cloud``."""

    def __init__(self, cloud: Cloud, pacer: Pacer, *, goodput: Goodput | None = None, least_s: float = 60.0) -> None:
        self._cloud = cloud
        self._pacer = pacer
        self._least_s = least_s
        self.goodput = goodput or Goodput()

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """Create or replace, when its turn has come. ``CloudUnreachable`` if it takes too long."""
        await self._pacer.pay(UP, HEAD_BYTES + len(data))
        begin, deadline_s = self._pacer.now(), self.goodput.deadline_s(len(data), self._least_s)
        try:
            async with asyncio.timeout(deadline_s):
                await self._cloud.put(name, data, if_absent=if_absent)
        except TimeoutError:
            self.goodput.note_failure(len(data))
            raise CloudUnreachable(f"PUT {name}: given up after {deadline_s:.0f} s") from None
        except CloudUnreachable:
            self.goodput.note_failure(len(data))
            raise
        self.goodput.note_success(len(data), self._pacer.now() - begin)
        self._pacer.owe(DOWN, HEAD_BYTES)

    async def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object; what was not known before is owed afterwards."""
        self._pacer.owe(UP, HEAD_BYTES)
        await self._pacer.pay(DOWN, HEAD_BYTES + (length or 0))
        data = await self._cloud.get(name, offset=offset, length=length)
        if length is None:
            await self._pacer.pay(DOWN, len(data))
        return data

    async def list(self, prefix: str, *, after: str = "", count_max: int = 1000) -> list[str]:
        """Names under a prefix."""
        self._pacer.owe(UP, HEAD_BYTES)
        names = await self._cloud.list(prefix, after=after, count_max=count_max)
        self._pacer.owe(DOWN, HEAD_BYTES + NAME_BYTES * len(names))
        return names

    async def delete(self, name: str) -> None:
        """Remove an object."""
        self._pacer.owe(UP, HEAD_BYTES)
        await self._cloud.delete(name)

    async def close(self) -> None:
        """Release connections."""
        await self._cloud.close()
