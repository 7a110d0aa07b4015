"""Planted bugs of heirs, each to be noticed by worlds in which sites leave."""

import pytest

from tests.simulation.checks import Broken
from tests.simulation.planted_heirs import NOTICED
from tests.simulation.world import live_with

SEEDS_TO_NOTICE = 4


@pytest.mark.parametrize("plant", NOTICED, ids=lambda plant: plant.__name__)
def test_planted_bug_is_noticed(plant, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(Broken):
        live_through(*NOTICED[plant])


def live_through(world, first):
    for seed in range(first, first + SEEDS_TO_NOTICE):
        live_with(world(seed))
