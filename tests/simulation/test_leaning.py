"""Clients that use bytes which are there already, in simulated worlds: a few dozen seeds."""

import pytest

from tests.simulation.leaning_world import LeaningWorld
from tests.simulation.world import live_with


@pytest.mark.parametrize("seed", range(1, 31))
def test_what_leans_on_others_bytes_keeps_them(seed):
    live_with(LeaningWorld(seed))
