"""A cloud that lies, as clouds do: refuses, loses replies, answers late, twice, or with a 409 that means nothing.

Wraps any ``Cloud``. Which fault strikes which call is drawn from a seeded generator, or scripted by call number.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from replication.ports import Cloud, CloudExists, CloudUnreachable


class Crash(Exception):
    """The machine stops here: nothing after this point happens."""


REFUSED = "refused"  # unreachable, nothing done
LOST_REPLY = "lost reply"  # done, then unreachable
DUPLICATE = "duplicate"  # done twice
LATE = "late"  # unreachable now, done some calls later
CONFLICT = "conflict"  # a conditional create answers 409 although nothing is there
CRASH_BEFORE = "crash before"
CRASH_AFTER = "crash after"


class FaultyCloud:
    def __init__(
        self,
        inner: Cloud,
        rng: random.Random | None = None,
        rates: Mapping[str, float] | None = None,
        script: Mapping[int, str] | None = None,
    ) -> None:
        self.inner = inner
        self.rng = rng or random.Random(0)
        self.rates = dict(rates or {})
        self.script = dict(script or {})
        self.partitioned = False
        self.calls: list[tuple[str, str]] = []
        self._late: list[tuple[int, Callable[[], Awaitable[None]]]] = []

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        async def act() -> None:
            await self.inner.put(name, data, if_absent=if_absent)

        async def act_quietly() -> None:
            with suppress(CloudExists):
                await act()

        fault = await self._begin("put", name)
        if fault == LATE:
            self._late.append((len(self.calls) + self.rng.randint(1, 12), act_quietly))
            raise CloudUnreachable("timed out; may happen yet")
        if fault == CONFLICT and if_absent:
            raise CloudExists("409, says a cloud that is busy")
        if fault == DUPLICATE:
            await act()
            await act_quietly()
            return
        await self._finish(fault, act())

    async def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        fault = await self._begin("get", name)
        return await self._finish(fault, self.inner.get(name, offset=offset, length=length))

    async def list(self, prefix: str, *, after: str = "", count_max: int = 1000) -> list[str]:
        fault = await self._begin("list", prefix)
        return await self._finish(fault, self.inner.list(prefix, after=after, count_max=count_max))

    async def delete(self, name: str) -> None:
        fault = await self._begin("delete", name)
        await self._finish(fault, self.inner.delete(name))

    async def close(self) -> None:
        await self.inner.close()

    async def settle(self) -> None:
        """Everything that was late has arrived."""
        for _, act in self._late:
            await act()
        self._late.clear()

    async def _begin(self, verb: str, name: str) -> str:
        self.calls.append((verb, name))
        number = len(self.calls)
        for due, act in [late for late in self._late if late[0] <= number]:
            self._late.remove((due, act))
            await act()
        for _ in range(self.rng.randint(0, 3)):
            await asyncio.sleep(0)
        if self.partitioned:
            raise CloudUnreachable("the link is cut")
        fault = self.script.get(number) or self._draw()
        if fault == REFUSED or (fault == LATE and verb != "put"):
            raise CloudUnreachable("connection refused")
        if fault == CRASH_BEFORE:
            raise Crash(f"before {verb} {name}")
        return fault

    def _draw(self) -> str:
        for fault, rate in self.rates.items():
            if self.rng.random() < rate:
                return fault
        return ""

    async def _finish(self, fault: str, act: Awaitable):
        """The answer, whatever it is (also an error), unless the fault swallows it."""
        try:
            return await act
        finally:
            if fault == LOST_REPLY:
                raise CloudUnreachable("the reply was lost")
            if fault == CRASH_AFTER:
                raise Crash("after the call")
