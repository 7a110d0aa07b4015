"""Random worlds: a few hundred seeds, each replayable by its number. ``make simulate`` lives through more."""

import os

import pytest

from tests.simulation.world import live

FIRST, COUNT = map(int, os.environ.get("SKERRY_SEEDS", "1:300").split(":"))
BLOCK = 25


@pytest.mark.parametrize("first", range(FIRST, FIRST + COUNT, BLOCK))
def test_worlds_converge_and_lose_nothing(first):
    for seed in range(first, min(first + BLOCK, FIRST + COUNT)):
        live(seed)
