"""Collisions that merging left to people: kept losers of null slots, and conditions that a merge showed not to have
held.

Read-only, for ``skerry conflicts``, status and metrics. The rows are derived by ``object_rows`` as changes are
applied; how many there are is in the writer's state, so that asking for the counts costs nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from gateway.store.index_format import ROLE_NULL
from gateway.store.item_format import UID_SIZE
from gateway.store.object_format import decode_object
from gateway.store.object_rows import decode_conflict, read_head, read_row
from gateway.store.ports import Version
from gateway.store.scans import version_of
from gateway.store.version_ids import NULL
from gateway.store.views import View


class BrokenCondition(NamedTuple):
    """A conditional write whose condition did not hold in the merged history, and the header it came under."""

    version: Version
    header: str


class Conflict(NamedTuple):
    """One key: its bucket (uid and the name it has here; empty if it is deleted), what won, what was kept, what
    broke.
    """

    uid: bytes
    bucket: str
    key: bytes
    winner: Version | None
    losers: tuple[Version, ...]
    broken: tuple[BrokenCondition, ...]


class ConflictCounts(NamedTuple):
    """Keys with kept losers, broken conditions nobody acknowledged, void purges, buckets under derived names."""

    conflicts: int
    broken_conditions: int
    void_purges: int = 0
    renamed_buckets: int = 0


def count_conflicts(view: View) -> ConflictCounts:
    """How many there are, without a scan of objects."""
    state = view.state()
    renamed = sum(bucket.name != bucket.record.name for bucket in view.buckets())
    return ConflictCounts(state.conflicts, state.broken, state.void_purges, renamed)


def scan_conflicts(view: View, uid: bytes = b"", after_key: bytes = b"") -> Iterator[Conflict]:
    """Conflicts by bucket uid and key, of one bucket if given, behind a key if given."""
    names = {bucket.uid: bucket.name for bucket in view.buckets()}
    transaction = view.transaction
    start = uid + after_key + b"\0" if after_key else uid
    for item, data in transaction.scan(transaction.tables.conflicts, start, uid):
        found = _read_conflict(view, item[:UID_SIZE], item[UID_SIZE:], data)
        yield found._replace(bucket=names.get(found.uid, ""))


def find_conflict(view: View, uid: bytes, key: bytes) -> Conflict | None:
    """The conflict at one key of a bucket; None if there is none (any more)."""
    data = view.transaction.get(view.transaction.tables.conflicts, uid + key)
    return None if data is None else _read_conflict(view, uid, key, data)


def _read_conflict(view: View, uid: bytes, key: bytes, data: bytes) -> Conflict:
    head = read_head(view.transaction, uid, key)
    assert head is not None, "a conflict names a key that is not there"
    losers = []
    for order in head.nulls[1:]:
        row = read_row(view.transaction, head.key_id, order)
        if row is not None and not row.dead and row.role & ROLE_NULL:
            losers.append(version_of(key, head, row))
    broken = []
    for order in decode_conflict(data)[1]:
        row = read_row(view.transaction, head.key_id, order)
        condition = decode_object(row.body).condition if row is not None and not row.dead else None
        if row is not None and condition is not None:
            broken.append(BrokenCondition(version_of(key, head, row), condition.header))
    return Conflict(uid, "", key, view.version(uid, key, NULL), tuple(losers), tuple(broken))
