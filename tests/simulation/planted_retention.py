"""One-line faults of retention, each of which the simulated worlds must notice: see ``test_planted``."""

from __future__ import annotations

from replication.collector import Collector
from replication.log_compaction import LogCompactor


def collect_as_if_nobody_looked_back(patch):
    patch.setattr(Collector, "_since_ms", lambda self: self._wall_ms())


def cut_a_log_as_if_nobody_looked_back(patch):
    real = LogCompactor.compact

    async def compact(self, census, sent_before_ms, since_ms):
        return await real(self, census, 1 << 60, since_ms)

    patch.setattr(LogCompactor, "compact", compact)


def move_only_what_is_needed_now(patch):
    """What is doomed is put elsewhere if something needs it, and not if something needed it within the retention."""
    real = Collector._move_all

    async def move_all(self, names, done):
        known, self._since_ms = self._since_ms, self._wall_ms
        try:
            return await real(self, names, done)
        finally:
            self._since_ms = known

    patch.setattr(Collector, "_move_all", move_all)


PLANTED_IN_RETAINING = [
    collect_as_if_nobody_looked_back,
    cut_a_log_as_if_nobody_looked_back,
    move_only_what_is_needed_now,
]
