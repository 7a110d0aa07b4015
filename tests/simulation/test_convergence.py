"""Random worlds: a few hundred seeds, each replayable by its number. ``SKERRY_SEEDS=first:count`` runs others."""

import os

import pytest

from tests.simulation.world import live

FIRST, COUNT = map(int, os.environ.get("SKERRY_SEEDS", "1:240").split(":"))
BLOCK = 20


@pytest.mark.parametrize("first", range(FIRST, FIRST + COUNT, BLOCK))
def test_worlds_converge_and_lose_nothing(first):
    for seed in range(first, min(first + BLOCK, FIRST + COUNT)):
        live(seed, sites=2 + seed % 3)
