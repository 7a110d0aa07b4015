"""Machines come back from old backups, or after they were forgotten, while logs are cut and dooms end: a few seeds."""

from collections import Counter

import pytest

from tests.simulation.forgotten_world import ForgottenWorld
from tests.simulation.returning_world import ReturningWorld
from tests.simulation.world import live_with


@pytest.mark.parametrize(
    ("world", "wanted"), [(ReturningWorld, ("roll back",)), (ForgottenWorld, ("forget", "come back"))]
)
def test_whatever_a_site_relies_on_is_there(world, wanted):
    deeds = Counter()
    for seed in range(1, 6):
        lived = world(seed)
        live_with(lived)
        deeds += lived.deeds
    for deed in (*wanted, "dooms ended", "batches deleted"):
        assert deeds[deed], deed
