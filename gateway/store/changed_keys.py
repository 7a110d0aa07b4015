"""Which keys of some buckets were touched since a batch of the change log: for who follows merged state from outside.

Stands beside ``history``: reads own and imported changes in the order they were applied here. A key is told once,
whatever happened to it; what it is now is asked of the index by who follows. Where a checkpoint was joined in between,
the log does not tell every key: then everything counts as touched.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field
from itertools import islice

from gateway.store.index_format import BatchRow
from gateway.store.item_format import place_of
from gateway.store.log import Log
from gateway.store.log_format import Imported, JoinBegun, Own
from gateway.store.log_rows import scan_batches
from gateway.store.shared import Shared
from gateway.store.views import ViewContext
from replication.change_format import decode_change


@dataclass
class Touched:
    """Keys by bucket uid, touched up to and including ``batch``. ``everything``: there may be more."""

    batch: int
    keys: dict[bytes, set[bytes]] = field(default_factory=dict)
    everything: bool = False


class ChangedKeys:
    """Reads the log of one site."""

    def __init__(self, open_view: Callable[[], ViewContext], log: Log, shared: Shared) -> None:
        self._open_view, self._log, self._shared = open_view, log, shared

    def newest(self) -> int:
        """The number of the newest batch."""
        with self._open_view() as view:
            return view.state().batch

    def read(self, uids: Collection[bytes], after: int, batches_max: int = 256) -> Touched:
        """What was touched in these buckets in at most ``batches_max`` batches behind ``after``. ``Damaged``."""
        touched = Touched(after, {uid: set() for uid in uids})
        token = self._shared.enter()
        try:
            with self._open_view() as view:
                rows = list(islice(scan_batches(view.transaction, after + 1), batches_max))
            for number, row in rows:
                self._read_batch(row, touched)
                touched.batch = number
        finally:
            self._shared.leave(token)
        return touched

    def _read_batch(self, row: BatchRow, touched: Touched) -> None:
        for record in self._log.records(row.segment, row.offset):
            changes: tuple[bytes, ...] = ()
            if isinstance(record, Own):
                changes = (record.change,)
            elif isinstance(record, Imported):
                changes = record.changes
            elif isinstance(record, JoinBegun):
                touched.everything = True
            for data in changes:
                change = decode_change(data)
                uid, key = place_of(change.family, change.item)
                if uid in touched.keys:
                    touched.keys[uid].add(key)
