"""Tries a cloud again: a wrapper of ``Cloud`` that waits out what may pass, and says how reachable the cloud is.

Only ``CloudUnreachable`` is tried again, after full-jitter exponential backoff, until the operation's deadline;
definite answers pass at once. After ``circuit_failures`` failures in a row the circuit is open: operations fail at
once, so that a read of remote bytes is not kept waiting by a cut link, until ``circuit_open_s`` have passed and one
may try. ``wake`` ends every wait now (the link is said to be back).

A conditional create that is tried again after a lost reply may find its own object: ``CloudExists``; the shipper tells.
Source of the backoff: AWS Architecture Blog, "Exponential Backoff And Jitter" (2015).
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from enum import Enum
from typing import TypeVar

from replication.goodput import Goodput
from replication.ports import Cloud, CloudError, CloudRefused, CloudUnreachable
from replication.settings import RetrySettings

Result = TypeVar("Result")
_uniform = secrets.SystemRandom().uniform


class Reachability(Enum):
    """What the last answer, or its absence, says of the cloud. Unreachable is unknown, never absent."""

    UNKNOWN = "unknown"
    OK = "ok"
    UNREACHABLE = "unreachable"
    REFUSED = "refused"


class RetryingCloud:
    """See ``ports.Cloud``. ``now``, ``sleep`` (seconds) and ``uniform`` are given by tests."""

    def __init__(
        self,
        cloud: Cloud,
        settings: RetrySettings,
        *,
        goodput: Goodput | None = None,
        now: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        uniform: Callable[[float, float], float] = _uniform,
    ) -> None:
        self._cloud = cloud
        self._settings = settings
        self._now = now
        self._sleep = sleep
        self._uniform = uniform
        self._woken = asyncio.Event()
        self._failures = 0
        self._open_until = 0.0
        self.reachability = Reachability.UNKNOWN
        self.last_error = ""
        self.goodput = goodput or Goodput()
        """What the line under it carries; who plans what to send asks it."""

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """Create or replace."""
        await self._try(lambda: self._cloud.put(name, data, if_absent=if_absent))

    async def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object or a range."""
        return await self._try(lambda: self._cloud.get(name, offset=offset, length=length))

    async def list(self, prefix: str, *, after: str = "", count_max: int = 1000) -> list[str]:
        """Names under a prefix."""
        return await self._try(lambda: self._cloud.list(prefix, after=after, count_max=count_max))

    async def delete(self, name: str) -> None:
        """Remove an object."""
        await self._try(lambda: self._cloud.delete(name))

    async def close(self) -> None:
        """Release connections."""
        await self._cloud.close()

    def wake(self) -> None:
        """End every wait and close the circuit: try now."""
        self._open_until = 0.0
        self._woken.set()
        self._woken = asyncio.Event()

    async def _try(self, act: Callable[[], Awaitable[Result]]) -> Result:
        if self._now() < self._open_until:
            raise CloudUnreachable(f"not tried: unreachable just now ({self.last_error})")
        deadline = self._now() + self._settings.deadline_s
        attempt = 0
        while True:
            try:
                result = await act()
            except CloudUnreachable as error:
                self._note_failure(error)
                pause = self._uniform(0, min(self._settings.backoff_max_s, self._settings.backoff_base_s * 2**attempt))
                if self._now() < self._open_until or self._now() + pause > deadline:
                    raise
                attempt += 1
                await self._wait(pause)
            except CloudRefused as error:
                self._note(Reachability.REFUSED, str(error))
                raise
            except CloudError:
                self._note(Reachability.OK, "")
                raise
            else:
                self._note(Reachability.OK, "")
                return result

    def _note(self, reachability: Reachability, error: str) -> None:
        self._failures = 0
        self._open_until = 0.0
        self.reachability = reachability
        self.last_error = error

    def _note_failure(self, error: CloudUnreachable) -> None:
        self._failures += 1
        self.reachability = Reachability.UNREACHABLE
        self.last_error = str(error)
        if self._failures >= self._settings.circuit_failures:
            self._open_until = self._now() + self._settings.circuit_open_s * self._uniform(0.5, 1.0)

    async def _wait(self, pause_s: float) -> None:
        """Sleep, unless woken."""
        waits = [asyncio.ensure_future(self._sleep(pause_s)), asyncio.ensure_future(self._woken.wait())]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
