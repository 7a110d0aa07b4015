"""A byte budget that the writers of one process share, so that memory stays flat whatever the number of requests.

Stands beside ``content``. A writer takes before it keeps bytes and gives when they are written or gone. When the budget
is spent, the holder with the most bytes is asked to shed them (write them out at once, as an early chunk), so that slow
clients that hold half a chunk each cannot starve the others. Lives on one event loop; not thread-safe.
"""

from __future__ import annotations

import asyncio
from typing import Protocol


class Holder(Protocol):
    """Someone who holds bytes of the budget."""

    @property
    def held_bytes(self) -> int:
        """Bytes taken and not yet given back."""

    def shed(self) -> bool:
        """Begin to write out what is held, which will give it back; False if nothing can be done (or it is being
        done).
        """


class ByteBudget:
    """At most ``bytes_max`` held by all; one holder alone may exceed it, so that there is always progress."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._holders: set[Holder] = set()
        self._waiting: list[asyncio.Future[None]] = []
        self.used = 0

    def try_take(self, holder: Holder, count: int) -> bool:
        """Hold ``count`` more bytes if that needs no waiting."""
        if self.used and self.used + count > self._bytes_max:
            return False
        self._holders.add(holder)
        self.used += count
        return True

    async def take(self, holder: Holder, count: int) -> None:
        """Wait until ``count`` more bytes may be held."""
        while not self.try_take(holder, count):
            self._shed_largest()
            waiter = asyncio.get_running_loop().create_future()
            self._waiting.append(waiter)
            await waiter

    def give(self, holder: Holder, count: int) -> None:
        """Give bytes back."""
        self.used -= count
        if not holder.held_bytes:
            self._holders.discard(holder)
        waiting, self._waiting = self._waiting, []
        for waiter in waiting:
            if not waiter.done():
                waiter.set_result(None)

    def _shed_largest(self) -> None:
        """Ask holders, largest first. Each holds bytes it can write out, or is writing them: someone always gives."""
        for holder in sorted(self._holders, key=lambda holder: holder.held_bytes, reverse=True):
            if holder.shed():
                return
