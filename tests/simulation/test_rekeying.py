"""Keys that change in simulated worlds: a few seeds, worlds that broke a promise once, planted bugs to be noticed."""

import pytest

from tests.simulation.checks import Broken
from tests.simulation.planted_rekeying import NOTICED
from tests.simulation.rekeying_world import rekeying_world
from tests.simulation.world import live_with

SEEDS = range(1, 13)
BROKE = {
    23: "what an unfinished checkpoint of a retired site left was nobody's to delete, so its epoch never ended",
    79: "the last batch of a log that had ended held a frame, so it was never sealed anew",
    103: "a check: who was forgotten knows what lies behind its cut",
    219: "what a site left by a crash before it retired lay under an epoch that was said to have ended",
    235: "a check: an ended log is sealed anew for each epoch that ends",
    257: "a place that a forgotten site's checkpoint told of, under an ended epoch, was read before a sound one",
    333: "who was forgotten relied on what lay behind its cut, where nobody else finds it",
    360: "a wrapped key that had come damaged was kept, and taken for another realm's at the next start",
    622: "an unfinished checkpoint of a former log had another one written at every look, and stayed itself",
    681: "a check: nobody waits for a forgotten site to let go of bytes",
}
SEEDS_TO_NOTICE = 4


@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_becomes_unreadable_and_epochs_end(seed):
    live_with(rekeying_world(seed))


@pytest.mark.parametrize("seed", BROKE, ids=str)
def test_what_broke_once_holds(seed):
    live_with(rekeying_world(seed))


@pytest.mark.parametrize("plant", NOTICED, ids=lambda plant: plant.__name__)
def test_planted_bug_is_noticed(plant, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(Broken):
        live_through(range(NOTICED[plant], NOTICED[plant] + SEEDS_TO_NOTICE))


def live_through(seeds):
    for seed in seeds:
        live_with(rekeying_world(seed))
