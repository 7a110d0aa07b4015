"""One-line faults of heirs, each of which departing worlds must notice: see ``test_planted``."""

from __future__ import annotations

from replication.collector import Collector
from replication.log_compaction import LogCompactor
from replication.membership import Census
from tests.simulation.planted_rekeying import childless


def take_over_before_everybody_knows(patch):
    """What the others need of the lost site's they did not settle, and what they had seen of it they did not say."""
    real = Census.members

    def members(self):
        return {site: logs for site, logs in real(self).items() if site == self.me[0] or site not in self.removed}

    patch.setattr(Census, "members", members)


def leave_everything_to_another_heir(patch):
    patch.setattr(Census, "heir_of", lambda self, site, members: b"")


def let_go_of_what_the_lost_site_had_doomed(patch):
    """As of anybody else's objects: nobody deletes them."""
    real = Collector._delete

    async def delete(self, dooms, done):
        async def take():
            return childless(await type(self)._take_census(self))

        self._take_census = take
        try:
            await real(self, dooms, done)
        finally:
            del self._take_census

    patch.setattr(Collector, "_delete", delete)


def cut_an_inherited_log_without_a_checkpoint(patch):
    real = LogCompactor._covered

    def covered(self, found):
        every = dict.fromkeys(self._log.pulled(), 1 << 60)
        return every | real(self, found)

    patch.setattr(LogCompactor, "_covered", covered)


def sweep_what_lies_behind_the_cut(patch):
    patch.setattr(Census, "inherited_from_retired", lambda self: frozenset(self.inherited()))


def rely_on_what_lies_behind_the_own_cut(patch):
    async def nobody(self, sites):
        return set()

    patch.setattr(Collector, "_find_cut", nobody)


PLANTED_IN_INHERITING = [
    take_over_before_everybody_knows,
    leave_everything_to_another_heir,
    let_go_of_what_the_lost_site_had_doomed,
    cut_an_inherited_log_without_a_checkpoint,
    sweep_what_lies_behind_the_cut,
    rely_on_what_lies_behind_the_own_cut,
]
