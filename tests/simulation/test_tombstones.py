"""Tombstones in simulated worlds: planted bugs of their end, each of which one of 60 worlds must notice.

That worlds in which they are ended keep every promise is asked by ``test_convergence`` and ``test_departures``.
"""

from dataclasses import replace

import pytest

from replication import tombstones
from replication.tombstones import TombstoneKeeper
from tests.replication.memory_graveyard import MemoryGraveyard
from tests.simulation.checks import Broken
from tests.simulation.machine import Machine
from tests.simulation.shape import DEEDS, shape_of
from tests.simulation.world import World, live, live_with

SEEDS = range(1, 121, 2)
JUMPY = [{"write": 40, "tidy": 40, "jump": 20}.get(deed, 0) for deed in DEEDS]


def end_without_a_stable_cut(patch):
    patch.setattr(tombstones, "_is_within", lambda wanted, cut: True)


def end_before_its_time(patch):
    patch.setattr(TombstoneKeeper, "_is_due", lambda self, horizon: True)


def measure_time_by_the_own_clock(patch):
    real = Machine.start

    def start(self):
        real(self)
        self.keeper._trusted_ms = self.clock.wall_ms

    patch.setattr(Machine, "start", start)


def end_what_is_beside_something_that_lives(patch):
    real = MemoryGraveyard.find_tombstones

    def find_tombstones(self, is_mine, after, count_max):
        found = real(self, is_mine, after, count_max)
        for name, (family, item) in self.names():
            live = self.entries[family, item].live
            if family == 1 and live and live[0].dead and self._is_stable([live[0]]):
                found.due.append(name)
        return found

    async def end_tombstones(self, due):
        for name in due:
            family, item = dict(self.names())[name]
            if live := self.entries[family, item].live:
                replaced = [live[0].dot, self.next_dot()]
                self.endings += ((self.write(family, item, b"", replaces=replaced, dead=True), live[:1]),)
        return len(due)

    patch.setattr(MemoryGraveyard, "find_tombstones", find_tombstones)
    patch.setattr(MemoryGraveyard, "end_tombstones", end_tombstones)


def end_what_is_not_in_the_horizon(patch):
    patch.setattr(MemoryGraveyard, "_is_stable", lambda self, live: self.known_horizon is not None)


def end_nothing(patch):
    async def end_tombstones(self, due):
        return 0

    patch.setattr(MemoryGraveyard, "end_tombstones", end_tombstones)


PLANTED = [
    end_without_a_stable_cut,
    end_before_its_time,
    end_what_is_beside_something_that_lives,
    end_what_is_not_in_the_horizon,
    end_nothing,
]


@pytest.mark.parametrize("plant", PLANTED, ids=lambda plant: plant.__name__)
def test_planted_bug_is_noticed(plant, monkeypatch):
    plant(monkeypatch)
    with pytest.raises(Broken):
        live_through(SEEDS)


def test_the_own_clock_is_not_the_measure(monkeypatch):
    """Noticed where clocks are set again and again while sites collect."""
    live_through_jumps([55])
    measure_time_by_the_own_clock(monkeypatch)
    with pytest.raises(Broken):
        live_through_jumps(range(53, 61, 2))


def live_through(seeds):
    for seed in seeds:
        live(seed)


def live_through_jumps(seeds):
    """Worlds in which much is deleted and forgotten."""
    for seed in seeds:
        live_with(
            World(
                seed,
                replace(shape_of(seed), sites=2, steps=100, keys=9, troubles=0.0, silence=0.0, rates={}, chances=JUMPY),
            )
        )
