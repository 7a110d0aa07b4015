"""Worlds that once broke a promise: each by its seed, with what was wrong. ``make simulate SEED=n`` tells its story.

Worlds of 1 to 300 are lived through anyway (``test_convergence``). Not here: worlds of departing sites, which have
seeds of their own.
"""

import pytest

from tests.simulation.world import live

BROKE = {
    100152: "a replaced change was sent with its value, which lay only in a pack that its owner had deleted",
    302202: "a copy of a machine sent a change without its value, which stood at the original, and nowhere else",
    319819: "a checkpoint told of a former log only up to the common head, and not what had been replaced beyond it",
    355403: "a batch that came damaged was taken for another machine's, and what stood in it was issued twice",
    415645: "a checkpoint named a log at batch 0: one of its writer's, parted with at its beginning and not read yet",
    423648: "what was issued anew relied on packs that a copy of the machine had deleted in its name",
    1231619: "half a checkpoint was joined on after logs had been replayed into it: what was replaced came back",
    1224650: "a batch that was denied for a while was taken for one that had left, and what it held was issued twice",
}


@pytest.mark.parametrize("seed", BROKE, ids=str)
def test_what_broke_once_holds(seed):
    live(seed)
