"""Sites that leave, in simulated worlds: a few dozen seeds, and planted bugs that they must notice."""

import pytest

from replication import membership
from replication.acknowledging import Acknowledging
from tests.simulation.checks import Broken
from tests.simulation.departing_world import DepartingWorld
from tests.simulation.world import live_with

SEEDS = range(1, 61)


@pytest.mark.parametrize("seed", SEEDS)
def test_the_cut_is_true_and_all_converge(seed):
    live_with(DepartingWorld(seed))


def test_nobody_joins_what_a_forgotten_site_told_beyond_its_cut():
    """Its checkpoint stood at batch 2, its log counts up to batch 1, and it had issued the rest anew."""
    live_with(DepartingWorld(240))


def test_a_new_site_does_not_wait_for_what_a_forgotten_one_had_to_say_beyond_its_cut():
    """It had marked a third site as out, and the batch that said so does not count."""
    live_with(DepartingWorld(1248))


def test_who_begins_again_says_how_far_it_had_heard_a_forgotten_site():
    """It was given a longer list of buckets, and heard then that a site was forgotten: what it had of that counts."""
    live_with(DepartingWorld(1365))


def call_stable_what_most_have_seen(patch):
    real = membership.stable_cut
    patch.setattr(membership, "stable_cut", lambda me, positions, acks, members: real(me, positions, acks, {}))


def acknowledge_before_the_backlog_went(patch):
    def tell(self, last_seq):
        return self._vector()

    patch.setattr(Acknowledging, "tell", tell)


def keep_to_oneself_how_far_a_forgotten_log_was_taken_in(patch):
    async def nothing(log):
        return None

    patch.setattr("replication.shipper.raise_cuts", nothing)


def take_in_what_comes_after_the_cut(patch):
    patch.setattr("replication.puller._say_refused", lambda removal, origin, head_n: "")


PLANTED = [
    call_stable_what_most_have_seen,
    acknowledge_before_the_backlog_went,
    keep_to_oneself_how_far_a_forgotten_log_was_taken_in,
    take_in_what_comes_after_the_cut,
]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_planted_bug_is_noticed(plant, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(Broken):
        live_through(range(1, 201))


def live_through(seeds):
    for seed in seeds:
        live_with(DepartingWorld(seed))
