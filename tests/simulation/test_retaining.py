"""What nobody needs any more is kept as long as it was promised, in simulated worlds: a few seeds."""

import pytest

from tests.simulation.retaining_world import RetainingWorld
from tests.simulation.world import live_with


@pytest.mark.parametrize("seed", range(1, 9))
def test_nothing_leaves_the_bucket_before_its_time(seed):
    world = RetainingWorld(seed)
    live_with(world)
    assert world.deeds["left in time"]
