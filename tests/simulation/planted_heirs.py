"""One-line faults of heirs, each of which worlds must notice in which sites leave."""

from __future__ import annotations

from replication.collector import Collector
from replication.log_compaction import LogCompactor
from replication.membership import Census
from tests.simulation.departing_world import DepartingWorld
from tests.simulation.rekeying_world import rekeying_world


def leave_everything_to_another_heir(patch):
    patch.setattr(Census, "heir_of", lambda self, site, members: b"")


def cut_an_inherited_log_without_a_checkpoint(patch):
    real = LogCompactor._covered

    def covered(self, found):
        every = dict.fromkeys(self._log.pulled(), 1 << 60)
        return every | real(self, found)

    patch.setattr(LogCompactor, "_covered", covered)


def rely_on_what_lies_behind_the_own_cut(patch):
    async def nobody(self, sites):
        return set()

    patch.setattr(Collector, "_find_cut", nobody)


NOTICED = {
    leave_everything_to_another_heir: (DepartingWorld, 14),
    cut_an_inherited_log_without_a_checkpoint: (DepartingWorld, 110),
    rely_on_what_lies_behind_the_own_cut: (rekeying_world, 333),
}
"""For each a kind of world, and the first seed of it that noticed it when it was planted."""
