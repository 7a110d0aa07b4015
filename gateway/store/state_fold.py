"""Joining a checkpoint of another site into the index, slice by slice: what the records ``JoinBegun``, ``Folded``,
``JoinDone`` and ``JoinOver`` do.

Stands between ``apply`` and the row modules. A checkpoint is a state with a vector: what its writer had applied. It is
joined as states of a lattice are (``crdt.join``), so it may be joined into any state: into an empty site, one that has
written meanwhile, one that joined half of another checkpoint before, or one that was silent for so long that logs were
cut behind it. Until ``JoinDone`` no log counts as taken in (nothing is acknowledged); from then on each does up to the
vector, and pulling goes on there. What slices show beyond the vector is taken in once more by then, which changes
nothing (``apply``); the join is over when every log is taken in as far as the scan may have seen.

A dot counts as seen here if it was applied here. So a write of this site during the join marks what it replaces, though
a slice brought it: another checkpoint would bring it again. ``JoinDone`` drops the marks that are settled by then.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import msgspec

from gateway.store.errors import Damaged
from gateway.store.index import Transaction
from gateway.store.index_format import DOT, OriginRow
from gateway.store.item_format import FAMILY_NULL_SLOT, is_local_uid, stays_here
from gateway.store.item_rows import check_value, put_entry, read_entry
from gateway.store.join_rows import JoinRow, drop_join, put_join, put_slices, read_join, read_slices
from gateway.store.log_format import Folded, JoinBegun
from gateway.store.log_rows import join_acks, put_origin, read_origin
from gateway.store.object_rows import ObjectRows
from gateway.store.slice_format import (
    FoldedItem,
    FoldedKey,
    Items,
    Locations,
    Marks,
    Objects,
    Sibling,
    decode_slice,
)
from gateway.store.subscription_rows import read_scope
from gateway.store.told_objects import ToldObjects
from gateway.store.version_ids import decode_order
from replication.change_format import Change
from replication.crdt import Dot, Entry, Seen, Write, join
from replication.ports import FrameLocation

_CLOCK_MAX = (1 << 64) - 1


class StateFold:
    """One transaction's part of a join. ``is_applied``: as ``Applier``'s; ``item_joined(family, item)`` is told of each
    item that is not as it was; ``is_own(origin)``: this site's newest log.
    """

    def __init__(
        self,
        transaction: Transaction,
        objects: ObjectRows,
        told: ToldObjects,
        is_applied: Seen,
        item_joined: Callable[[int, bytes], None],
        key_joined: Callable[[FoldedKey], None],
        is_own: Callable[[tuple[bytes, bytes]], bool],
    ) -> None:
        self._transaction, self._objects, self._told = transaction, objects, told
        self._is_applied, self._item_joined, self._key_joined = is_applied, item_joined, key_joined
        self._is_own = is_own

    def begin(self, record: JoinBegun) -> None:
        """A checkpoint is to be joined, from its first slice on; another one that was under way is forgotten."""
        put_join(
            self._transaction,
            JoinRow(record.site, record.incarnation, record.n, record.made_ms, record.vector, record.targets),
        )
        put_slices(self._transaction, 0)
        self._told.begin({entry.origin: entry.n for entry in record.vector})

    def fold(self, record: Folded) -> None:
        """Join one slice. ``ChangeInvalid`` or ``ChangeTooNew`` for what this site does not understand."""
        row, number = self._under_way(), read_slices(self._transaction)
        if record.number != number:
            raise Damaged(f"slice {record.number} of a checkpoint follows {number}: the log has a gap")
        content = decode_slice(record.data)
        vector = {entry.origin: entry.seq for entry in row.vector}
        seen = _SeenThere(vector), _Remembered(self._is_applied), self._marks()
        if isinstance(content, Marks):
            for dot in content.dots:
                self._transaction.put(self._transaction.tables.marks, dot, b"")
        elif isinstance(content, Locations):
            told = {entry.origin: entry.n for entry in row.vector}
            places = (FrameLocation(header, content.names[at], offset) for at, offset, header in content.rows)
            self._told.locate(places, told)
        elif isinstance(content, Items):
            self._fold_items(content, *seen)
        else:
            self._fold_objects(content, *seen)
        put_slices(self._transaction, number + 1)

    def end(self) -> None:
        """All slices are joined: logs count as taken in up to the checkpoint's vector."""
        row = self._under_way()
        for entry in row.vector:
            known = read_origin(self._transaction, entry.origin)
            if not self._is_own(entry.origin) and entry.n > known.n:
                position = (entry.n, entry.seq, entry.chain, entry.sent_ms)
                said = (join_acks(known.acks, entry.acks), entry.closed, entry.status)
                put_origin(self._transaction, entry.origin, OriginRow(*position, *said))
        marks = self._transaction.tables.marks
        for key in [key for key, _ in self._transaction.scan(marks)]:
            if self._is_applied(Dot(*DOT.unpack(key))):
                self._transaction.delete(marks, key)
        put_join(self._transaction, msgspec.structs.replace(row, folded=True))
        self._told.end()

    def finish(self) -> None:
        """This site knows all that the checkpoint's writer may have known, or will by the logs alone."""
        drop_join(self._transaction)
        self._told.give_up()

    def _under_way(self) -> JoinRow:
        row = read_join(self._transaction)
        if row is None or row.folded:
            raise Damaged("a slice of a checkpoint, but no join is under way: the log has a gap")
        return row

    def _marks(self) -> Seen:
        table = self._transaction.tables.marks
        if self._transaction.first(table, b"\0") is None:
            return lambda dot: False
        return lambda dot: self._transaction.get(table, DOT.pack(*dot)) is not None

    def _fold_items(self, content: Items, seen_there: Seen, seen_here: Seen, is_marked: Seen) -> None:
        told = {row.key: row for row in content.rows}
        within = self._keys(self._transaction.tables.items, content.after, content.upto)
        known = {key for key in within if not stays_here(key[0], key[1:])}
        scope = read_scope(self._transaction)
        for key in sorted(told.keys() | known):
            family, item = key[0], key[1:]
            if not scope.takes_told(family, item):
                continue
            theirs = tuple([_write_of(sibling) for sibling in told.get(key, FoldedItem(key, ())).live])
            for write in theirs:
                check_value(Change(write.dot, write.hlc, family, item, write.dead, (), (), write.body))
            mine = read_entry(self._transaction, family, item).live
            marks = frozenset([write.dot for write in (*mine, *theirs) if is_marked(write.dot)])
            live = join(Entry(mine, marks), Entry(theirs), scope.seen_here(family, item, seen_here), seen_there).live
            if live != mine or key not in known:
                put_entry(self._transaction, family, item, live)
                self._item_joined(family, item)

    def _fold_objects(self, content: Objects, seen_there: Seen, seen_here: Seen, is_marked: Seen) -> None:
        told = {row.key: row for row in content.rows}
        within = self._keys(self._transaction.tables.heads, content.after, content.upto)
        untold = {key for key in within if not is_local_uid(key)} - told.keys()  # nobody else knows what stays here
        scope = read_scope(self._transaction)
        rows = [*content.rows, *[FoldedKey(key, 0, ()) for key in untold]]
        rows = [row for row in rows if scope.takes_told(FAMILY_NULL_SLOT, row.key)]
        for row in sorted(rows, key=lambda row: row.key) if untold else rows:
            seen = scope.seen_here(FAMILY_NULL_SLOT, row.key, seen_here)
            self._objects.fold(row, seen, seen_there, is_marked)
            self._key_joined(row)

    def _keys(self, table: object, after: bytes, upto: bytes) -> Iterator[bytes]:
        for key, _ in self._transaction.scan(table, after):
            if upto and key > upto:
                return
            if key != after:
                yield key


class _SeenThere:
    def __init__(self, vector: dict[tuple[bytes, bytes], int]) -> None:
        self._vector = vector

    def __call__(self, dot: Dot) -> bool:
        return dot.seq <= self._vector.get((dot.site, dot.incarnation), 0)


class _Remembered:
    """``is_applied`` for a slice's many dots of few logs: asks each log once."""

    def __init__(self, is_applied: Seen) -> None:
        self._is_applied = is_applied
        self._known: dict[tuple[bytes, bytes], tuple[int, int]] = {}

    def __call__(self, dot: Dot) -> bool:
        origin = (dot.site, dot.incarnation)
        seen, unseen = self._known.get(origin, (0, _CLOCK_MAX))
        if dot.seq <= seen or dot.seq >= unseen:
            return dot.seq <= seen
        if self._is_applied(dot):
            self._known[origin] = (dot.seq, unseen)
            return True
        self._known[origin] = (seen, dot.seq)
        return False


def _write_of(sibling: Sibling) -> Write:
    hlc, dot = decode_order(sibling.order)
    return Write(dot, hlc, sibling.dead, sibling.body)
