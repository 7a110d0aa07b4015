"""One-line faults in what follows a doom's end, each of which worlds of returning machines must notice: see
``test_planted``. Each fault is in what the site in memory does; the rules are the store's (``told_objects``).
"""

from __future__ import annotations

from tests.replication.memory_site import MemorySite
from tests.replication.memory_state import FoldedMemory


def take_an_ended_object_for_news(patch):
    patch.setattr(MemorySite, "_locate_told", lambda self, located, told: self._locate(located))


def await_nothing_that_a_checkpoint_skips(patch):
    patch.setattr(MemorySite, "_await_objects", lambda self, told: None)


def rely_on_what_a_checkpoint_did_not_tell(patch):
    real = FoldedMemory.end_join

    async def end_join(self):
        await real(self)
        self.untold = set()

    patch.setattr(MemorySite, "end_join", end_join)


def pass_on_what_a_checkpoint_did_not_tell(patch):
    def export_slice(self, cursor):
        untold, self.untold = self.untold, set()
        try:
            return FoldedMemory.export_slice(self, cursor)
        finally:
            self.untold = untold

    patch.setattr(MemorySite, "export_slice", export_slice)


PLANTED_IN_RETURNING = [
    take_an_ended_object_for_news,
    await_nothing_that_a_checkpoint_skips,
    rely_on_what_a_checkpoint_did_not_tell,
    pass_on_what_a_checkpoint_did_not_tell,
]
PLANTED_IN_FORGOTTEN = [await_nothing_that_a_checkpoint_skips]
