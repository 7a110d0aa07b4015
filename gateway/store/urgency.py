"""Which of this site's unsent changes must not wait: those of keys under the operator's urgent prefixes.

Stands beside ``replica``: replication asks for a sequence number and learns nothing of S3. Reads each change once, as
it comes; without prefixes it reads nothing. What it remembers is derived from the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from gateway.store.item_format import place_of
from gateway.store.replica import Replica
from gateway.store.store import SiteStore
from replication.change_format import decode_change

READ_COUNT: Final = 1000
READ_BYTES: Final = 1 << 20


class UrgentChanges:
    """Looks for urgent changes; one per process. ``prefixes``: ``bucket/prefix``, or ``bucket/`` for all of it."""

    def __init__(self, store: SiteStore, replica: Replica, prefixes: Sequence[str]) -> None:
        self._store = store
        self._replica = replica
        self._prefixes = [prefix.partition("/")[::2] for prefix in prefixes]
        self._incarnation = b""
        self._scanned = self._latest = 0

    def latest(self, after_seq: int) -> int:
        """The newest urgent change behind ``after_seq``; 0 if there is none."""
        if not self._prefixes:
            return 0
        incarnation = self._replica.identity().incarnation
        if incarnation != self._incarnation:
            self._incarnation, self._scanned, self._latest = incarnation, 0, 0
        self._scan(max(after_seq, self._scanned))
        return self._latest if self._latest > after_seq else 0

    def _scan(self, seq: int) -> None:
        wanted: list[tuple[bytes, bytes]] = []
        while seq < self._replica.last_seq():
            wanted = wanted or self._wanted()
            changes = self._replica.read_changes(seq, READ_COUNT, READ_BYTES)
            for data in changes:
                seq += 1
                change = decode_change(data)
                uid, key = place_of(change.family, change.item)
                if any(uid == bucket and key.startswith(prefix) for bucket, prefix in wanted):
                    self._latest = seq
            if not changes:
                break
        self._scanned = seq

    def _wanted(self) -> list[tuple[bytes, bytes]]:
        """(bucket uid, key prefix) of the prefixes whose buckets there are."""
        with self._store.view() as view:
            found = [(view.bucket(bucket), prefix) for bucket, prefix in self._prefixes]
        return [(bucket.uid, prefix.encode()) for bucket, prefix in found if bucket is not None]
