"""One long piece of work a turn of the event loop: listings and large documents do not keep everybody else waiting.

Such work runs on the loop in one go, milliseconds of it. When hundreds of clients ask for it at once, whatever else is
ready would have to wait for all of them; with turns it waits for one. How long the row takes is known from how long the
last ones took: who would wait too long is told so (503 SlowDown) with the time after which it is worth asking again.

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
    """The row of one worker. Lives on its event loop."""

    def __init__(self) -> None:
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._is_taken = False
        self._began_s = 0.0
        self._mean_s = 0.001

    @property
    def wait_s(self) -> float:
        """How long the newest in the row will wait, as far as is known."""
        return len(self._waiting) * self._mean_s

    async def take(self) -> None:
        """Wait for a turn of the loop of one's own. ``SlowDown`` if that would take too long."""
        loop = asyncio.get_running_loop()
        if self._is_taken:
            if self.wait_s > WAIT_MAX_S:
                raise SlowDown(None, headers={"Retry-After": str(math.ceil(self.wait_s))})
            waiter = loop.create_future()
            self._waiting.append(waiter)
            try:
                await waiter
            except asyncio.CancelledError:
                if waiter.done() and not waiter.cancelled():
                    self._pass_on()
                raise
        self._is_taken = True
        self._began_s = loop.time()
        loop.call_soon(self._pass_on)  # when what the taker does now is done

    def _pass_on(self) -> None:
        took_s = asyncio.get_running_loop().time() - self._began_s
        self._mean_s += _WEIGHT * (took_s - self._mean_s)
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return
        self._is_taken = False
