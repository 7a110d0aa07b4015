"""Machines are started from old backups while logs are cut and dooms end behind them, in worlds: a few seeds."""

from collections import Counter

from tests.simulation.returning_world import ReturningWorld
from tests.simulation.world import live_with


def test_whatever_a_site_relies_on_is_there():
    deeds = Counter()
    for seed in range(1, 6):
        world = ReturningWorld(seed)
        live_with(world)
        deeds += world.deeds
    assert deeds["dooms ended"]
    assert deeds["roll back"]
    assert deeds["batches deleted"]
