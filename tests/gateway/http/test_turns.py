"""Long work takes turns: what else is ready waits for one piece of it, and who would wait too long is told how long."""

import asyncio
import itertools
import time

import pytest

from gateway.http.turns import WAIT_MAX_S, Turns
from gateway.s3.errors import SlowDown


@pytest.mark.parametrize("at_once", [1, 3])
def test_between_two_turns_everybody_else_has_theirs(at_once: int) -> None:
    async def run() -> list[str]:
        turns, told = Turns(at_once), []

        async def work() -> None:
            await turns.take()
            told.append("work")

        async def other() -> None:
            for _ in range(20):
                told.append("other")
                await asyncio.sleep(0)

        await asyncio.gather(*(work() for _ in range(5)), other())
        return told

    told = asyncio.run(run())
    rows = [len(list(group)) for one, group in itertools.groupby(told) if one == "work"]
    assert sum(rows) == 5
    assert max(rows) == at_once


def test_who_would_wait_too_long_is_told_when_to_come_back() -> None:
    async def run() -> None:
        turns = Turns()
        waiting = [asyncio.create_task(turns.take()) for _ in range(3)]
        await asyncio.sleep(0)  # the first has its turn, two wait
        turns._mean_s = 0.75 * WAIT_MAX_S
        with pytest.raises(SlowDown) as refused:
            await turns.take()
        assert refused.value.headers["Retry-After"] == "15"
        await asyncio.gather(*waiting)
        await asyncio.sleep(0)
        await turns.take()  # the row is empty again

    asyncio.run(run())


def test_a_request_that_is_cancelled_passes_its_turn_on() -> None:
    async def run() -> None:
        turns = Turns()
        await turns.take()
        gone, left = asyncio.create_task(turns.take()), asyncio.create_task(turns.take())
        await asyncio.sleep(0)
        gone.cancel()
        async with asyncio.timeout(10):
            await left
        for _ in range(3):
            await asyncio.sleep(0)
        given = asyncio.create_task(turns.take())
        await asyncio.sleep(0)
        given.cancel()
        async with asyncio.timeout(10):
            await turns.take()

    asyncio.run(run())


def test_how_long_a_turn_takes_is_learnt() -> None:
    async def run() -> float:
        turns = Turns()
        for _ in range(100):
            await turns.take()
            time.sleep(0.002)  # what a turn is for
            await asyncio.sleep(0)
        return turns._mean_s

    assert asyncio.run(run()) > 0.0015
