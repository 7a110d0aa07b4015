"""A cloud that lies, as clouds do: refuses, loses replies, answers late, twice, with a 409 that means nothing, with a
404 for what it has, with bytes that are not those it was given.

Wraps any ``Cloud``. Which fault strikes which call is drawn from a seeded generator, or scripted by call number. A
machine that crashed stays dead: whatever of it still runs finds every call raising ``Crash``.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress

from replication.ports import Cloud, CloudExists, CloudMissing, CloudUnreachable


class Crash(Exception):
    """The machine stops here: nothing after this point happens."""


REFUSED = "refused"  # unreachable, nothing done
LOST_REPLY = "lost reply"  # done, then unreachable
DUPLICATE = "duplicate"  # done twice
LATE = "late"  # unreachable now, done some calls later
CONFLICT = "conflict"  # a conditional create answers 409 although nothing is there
SLOW_DOWN = "slow down"  # 503, nothing done
PORTAL = "captive portal"  # a stranger answers this call and the next few: the S3 client takes that for no answer
NOT_YET = "not yet"  # a read of something that is there answers 404
STALE = "stale list"  # a list lacks its newest names
DAMAGED = "damaged"  # a read comes with a bit flipped
CRASH_BEFORE = "crash before"
CRASH_AFTER = "crash after"

Late = list[tuple[int, Callable[[], Awaitable[None]]]]


class FaultyCloud:
    def __init__(
        self,
        inner: Cloud,
        rng: random.Random | None = None,
        rates: Mapping[str, float] | None = None,
        script: Mapping[int, str] | None = None,
        struck: Counter[str] | None = None,
    ) -> None:
        self.inner = inner
        self.rng = rng or random.Random(0)
        self.rates = dict(rates or {})
        self.script = dict(script or {})
        self.struck: Counter[str] = Counter() if struck is None else struck
        self.partitioned = False
        self.crashed = False
        self.calls: list[tuple[str, str]] = []
        self._late: Late = []
        self._portal_until = 0

    def restarted(self) -> FaultyCloud:
        """The same link for the next process of this machine; what is late stays late."""
        other = FaultyCloud(self.inner, self.rng, self.rates, self.script, self.struck)
        other.partitioned, other.calls, other._late = self.partitioned, self.calls, self._late
        return other

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
        if fault == NOT_YET:
            raise CloudMissing("404, says a cloud that has not heard of it yet")
        data = await self._finish(fault, self.inner.get(name, offset=offset, length=length))
        if fault == DAMAGED and data:
            at = self.rng.randrange(len(data))
            data = data[:at] + bytes((data[at] ^ 1 << self.rng.randrange(8),)) + data[at + 1 :]
        return data

    async def list(self, prefix: str, *, after: str = "", count_max: int = 1000) -> list[str]:
        fault = await self._begin("list", prefix)
        names = await self._finish(fault, self.inner.list(prefix, after=after, count_max=count_max))
        if fault == STALE and names:
            names = [name for name in names if self.rng.random() < 0.5]
        return names

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

    def may_crash(self, when: str) -> None:
        """A moment at which the machine may stop; after it did, all of its moments are like this."""
        if not self.crashed and self.rates and self.rng.random() < self.rates.get(CRASH_BEFORE, 0.0):
            self._strike(CRASH_BEFORE)
            self.crashed = True
        if self.crashed:
            raise Crash(when)

    async def _begin(self, verb: str, name: str) -> str:
        if self.crashed:
            raise Crash(f"dead before {verb} {name}")
        self.calls.append((verb, name))
        number = len(self.calls)
        if self._late:
            for due, act in [late for late in self._late if late[0] <= number]:
                self._late.remove((due, act))
                await act()
        for _ in range(self.rng.randint(0, 3)):
            await asyncio.sleep(0)
        if self.partitioned:
            raise CloudUnreachable("the link is cut")
        if number < self._portal_until:
            raise CloudUnreachable("200, but from a captive portal")
        fault = self.script.get(number) or self._draw(verb)
        if fault:
            self._strike(fault)
        if fault == PORTAL:
            self._portal_until = number + self.rng.randint(1, 8)
            raise CloudUnreachable("200, but from a captive portal")
        if fault in (REFUSED, SLOW_DOWN) or (fault == LATE and verb != "put"):
            raise CloudUnreachable("connection refused" if fault == REFUSED else "503 SlowDown")
        if fault == CRASH_BEFORE:
            self.crashed = True
            raise Crash(f"before {verb} {name}")
        return fault

    def _draw(self, verb: str) -> str:
        if not self.rates:
            return ""
        left = self.rng.random()
        for fault, rate in self.rates.items():
            left -= rate
            if left < 0:
                return fault if verb in _STRIKES.get(fault, verb) else ""
        return ""

    def _strike(self, fault: str) -> None:
        self.struck[fault] += 1

    async def _finish(self, fault: str, act: Awaitable):
        """The answer, whatever it is (also an error), unless the fault swallows it."""
        try:
            return await act
        finally:
            if fault == LOST_REPLY:
                raise CloudUnreachable("the reply was lost")
            if fault == CRASH_AFTER:
                self.crashed = True
                raise Crash("after the call")


_STRIKES = {DUPLICATE: ("put",), CONFLICT: ("put",), NOT_YET: ("get",), DAMAGED: ("get",), STALE: ("list",)}
