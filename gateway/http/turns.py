"""A little work a turn of the event loop: listings, large documents, slow answers do not keep everybody else waiting.

Such work runs on the loop in one go, milliseconds of it. When hundreds of clients ask for it at once, whatever else is
ready would have to wait for all of them; with turns it waits for one, or a few. How long the row takes is known from
how long the last ones took: who would wait too long is told so (503 SlowDown) with the time after which it is worth
asking again.

It deliberately does not know clients: the row is first come, first served.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Final

from gateway.s3.errors import SlowDown

WAIT_MAX_S: Final = 10.0
"""The longest a request is kept waiting for its turn."""
_WEIGHT: Final = 0.1  # of the newest turn in the mean


class Turns:
    """The row of one worker for one kind of work, so many pieces of it a turn of the loop. Lives on its event loop."""

    def __init__(self, at_once: int = 1) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._at_once = self._left = at_once
        self._is_renewing = False
        self._began_s = 0.0
        self._mean_s = 0.001

    @property
    def wait_s(self) -> float:
        """How long the newest in the row will wait, as far as is known."""
        return len(self._waiting) * self._mean_s

    async def take(self, wait_max_s: float = WAIT_MAX_S) -> None:
        """Wait for a turn. ``SlowDown`` if that would take longer than ``wait_max_s``."""
        loop = asyncio.get_running_loop()
        if not self._left:
            if self.wait_s > wait_max_s:
                raise SlowDown(None, headers={"Retry-After": str(math.ceil(self.wait_s))})
            waiter = loop.create_future()
            self._waiting.append(waiter)
            await waiter  # who is cancelled when the turn was given leaves it unused: the next are woken all the same
            return
        self._left -= 1
        if not self._is_renewing:
            self._begin(loop)

    def _begin(self, loop: asyncio.AbstractEventLoop) -> None:
        self._is_renewing = True
        self._began_s = loop.time()
        loop.call_soon(self._renew)  # when the takers have done what they do now

    def _renew(self) -> None:
        loop = asyncio.get_running_loop()
        took_s = (loop.time() - self._began_s) / (self._at_once - self._left)
        self._mean_s += _WEIGHT * (took_s - self._mean_s)
        self._is_renewing = False
        self._left = self._at_once
        while self._waiting and self._left:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                self._left -= 1
        if self._left < self._at_once:
            self._begin(loop)
