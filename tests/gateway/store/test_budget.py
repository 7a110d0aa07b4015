"""The byte budget of writers: who waits, who sheds, who is passed over."""

from __future__ import annotations

import asyncio

from gateway.store.budget import ByteBudget


class Writer:
    """Holds bytes and gives them back some turns of the loop after it was asked to shed."""

    def __init__(self, budget: ByteBudget) -> None:
        self.budget, self.held_bytes, self.shedding, self.shed_count = budget, 0, False, 0

    async def take(self, count: int) -> None:
        await self.budget.take(self, count)
        self.held_bytes += count

    def shed(self) -> bool:
        if self.shedding or not self.held_bytes:
            return False
        self.shedding = True
        self.shed_count += 1
        asyncio.get_running_loop().call_soon(self.done)
        return True

    def done(self) -> None:
        self.shedding = False
        freed, self.held_bytes = self.held_bytes, 0
        self.budget.give(self, freed)


async def test_the_largest_holder_sheds_first() -> None:
    budget = ByteBudget(100)
    small, large, third = Writer(budget), Writer(budget), Writer(budget)
    await small.take(20)
    await large.take(70)
    await third.take(30)
    assert (small.shed_count, large.shed_count) == (0, 1)
    assert budget.used == 50


async def test_one_holder_may_exceed_it_alone() -> None:
    budget = ByteBudget(100)
    writer, other = Writer(budget), Writer(budget)
    await writer.take(500)
    waiting = asyncio.create_task(other.take(10))
    await asyncio.sleep(0)
    assert not waiting.done()
    await waiting
    assert budget.used == 10


async def test_a_cancelled_waiter_is_passed_over() -> None:
    budget = ByteBudget(100)
    first, second, third = Writer(budget), Writer(budget), Writer(budget)
    first.shedding = True  # sheds nothing: gives when told
    await first.take(100)
    waiters = [asyncio.create_task(second.take(60)), asyncio.create_task(third.take(60))]
    await asyncio.sleep(0)
    waiters[0].cancel()
    await asyncio.sleep(0)
    first.done()
    await waiters[1]
    assert budget.used == 60
