"""When a site collects, in the bucket and among what is dead: at once what others wait for, the rest once in a while,
and never half informed.

Stands between the service (which waits, retries and tells) and the collector (one bounded round). Invariant: nothing is
looked at while the site joins a checkpoint, since its state is only part of one then. Not here: what a round does.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from replication.collector import CollectedRound, Collector
from replication.ports import ChangeLog, FoldedState
from replication.status import CloudAccount, CollectedTotals, EpochAccount, LostBytes, TombstoneAccount
from replication.tombstones import TombstoneKeeper


async def _know_all_keys() -> None:
    """Where keys do not change."""


class Collecting:
    """The collector's turns. ``hurry`` is called when there is something to acknowledge that others wait for."""

    def __init__(
        self,
        log: ChangeLog,
        state: FoldedState | None,
        collector: Collector,
        interval_s: float,
        *,
        wall_ms: Callable[[], int],
        hurry: Callable[[], None],
        tombstones: TombstoneKeeper | None = None,
        refresh_keys: Callable[[], Awaitable[None]] = _know_all_keys,
    ) -> None:
        self._log, self._state, self._collector, self._interval_s = log, state, collector, interval_s
        self._wall_ms, self._hurry, self._tombstones = wall_ms, hurry, tombstones
        self._refresh_keys = refresh_keys
        self._collected_ms: int | None = None
        self.totals = CollectedTotals()
        """What was deleted since this process began."""

    @property
    def account(self) -> CloudAccount | None:
        """This site's objects in the bucket, as last looked at."""
        return self._collector.account

    @property
    def lost(self) -> tuple[LostBytes, ...]:
        """Chunks that were to be put elsewhere, and pages that were to be opened, that cannot be had."""
        found = self._collector.lost | self._collector.unopened
        return tuple([LostBytes(chunk_id.hex(), reason) for chunk_id, reason in found.items()])

    @property
    def dead(self) -> TombstoneAccount | None:
        """Tombstones of this site's state, as last looked at."""
        return self._tombstones.account if self._tombstones is not None else None

    @property
    def epochs(self) -> dict[str, EpochAccount]:
        """What lies under epochs that are to end, as last looked at."""
        return {epoch.hex(): account for epoch, account in self._collector.rekeying.account.items()}

    def wants_checkpoint(self) -> bool:
        """Whether another checkpoint of this site's is wanted, however young the newest is: asked once a look."""
        wanted = self._collector.wants_checkpoint
        self._collector.rekeying.wants_checkpoint = False
        return wanted

    @property
    def is_due(self) -> bool:
        """Whether it is time to look for what to doom and delete."""
        if self._collected_ms is None:
            return True
        return not 0 <= self._wall_ms() - self._collected_ms < self._interval_s * 1000

    async def take_turn(self, *, caught_up: bool, now: bool = False) -> CollectedRound:
        """Do what there is to do (``now``: whether it is time or not). Errors as of ``Collector.collect_round``."""
        total, due = CollectedRound(), now or self.is_due
        if (self._state is not None and self._state.joining() is not None) or not (due or self._log.unsettled()):
            return total
        if due:
            await self._refresh_keys()
            await self._collector.rekeying.look()
        while True:
            done = await self._collector.collect_round(caught_up=caught_up, choose=due)
            total = total.plus(done)
            self._tell(done)
            if done.settled:
                self._hurry()
            if not done and not (due and self._collector.is_walking):
                break
        if due and caught_up and self._tombstones is not None:
            total = total.plus(CollectedRound(ended=await self._tombstones.end_due()))
        if due:
            if caught_up:
                await self._collector.make_way()
            self._collected_ms = self._wall_ms()
        return total

    def _tell(self, done: CollectedRound) -> None:
        totals = self.totals
        totals.packs_deleted += done.deleted
        totals.moved_bytes += done.moved_bytes
        totals.batches_deleted += done.batches
        totals.indexes_deleted += done.indexes
        totals.orphans_deleted += done.orphans
        totals.at_ms = self._wall_ms()
