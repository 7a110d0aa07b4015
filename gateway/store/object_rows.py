"""Versions of objects in the index: null slots and version ids merged into rows, and each key's head derived from them.

Stands between ``apply`` and the tables ``heads``, ``versions``, ``marks``, ``counts`` and ``conflicts``. Every change,
local or remote, passes through ``crdt.merge``; what is stored per item is exactly what no write has replaced, except:

* a **drop** (a NULL_SLOT change, dead, body ``b"drop"``) exists only to replace losers: it is never a candidate for
  anything, so once its marks have done their work nothing of it is kept (each dot is applied once per site);
* of a version id, what its values, purges and locks make together (``version_state``): a purge that stands hides the
  value and lets its chunks go, but keeps its record, for a lock that it had not seen may yet arrive and make it void.

Whether a condition is broken is derived from the rows that stand, too: by what is right below the conditional write.

Current = the greatest order among live versions and the null slot's winner if that is not dead. The null slot's other
siblings are kept losers: readable by ``conflict-…`` ids, never current. A head stays while its key has any row, so that
tombstones go on ordering what arrives later.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Set
from typing import NamedTuple

from msgspec.structs import replace

from gateway.store.chunk_rows import ChunkRows
from gateway.store.index import Transaction
from gateway.store.index_format import (
    HEAD_CONFLICT,
    HEAD_CURRENT,
    HEAD_MARKER,
    NO_ORDER,
    ROLE_NULL,
    ROLE_VERSION,
    ROW_DEAD,
    HeadRow,
    State,
    VersionRow,
    decode_head,
    decode_version,
    encode_dot,
    encode_head,
    encode_version,
    invert_order,
    pack_u64,
    unpack_u64,
    version_key,
)
from gateway.store.item_format import FAMILY_NULL_SLOT, UID_SIZE, split_null_slot, split_version
from gateway.store.object_format import Condition, ObjectRecord, decode_object
from gateway.store.slice_format import FoldedKey, Sibling
from gateway.store.version_ids import NULL_VID, ORDER_SIZE, decode_order, encode_order, hlc_of_vid
from gateway.store.version_state import VersionState, read_state, show_state
from replication.change_format import Change
from replication.crdt import Dot, Entry, Seen, Write, join, merge

DROP_BODY = b"drop"
_CLOCK_SIZE = 8


class _Merged(NamedTuple):
    """What merging did to a key's rows: the row that came to show (a tombstone of the slot, too), those that went, and
    by how much the visible ones grew.
    """

    arrived: VersionRow | None
    gone: tuple[bytes, ...]
    visible: int


class ObjectRows:
    """Objects within one write transaction. ``is_applied(dot)``: whether a change was applied here already.

    ``touched(uid)`` is called when the last visible row of a bucket goes or the first one comes;
    ``read_locks(uid, vid, key)`` names the unreplaced locks of a version, ``is_acknowledged(uid, vid, key, order)``
    tells whether somebody has seen that its condition broke.
    """

    def __init__(
        self,
        transaction: Transaction,
        state: State,
        chunks: ChunkRows,
        is_applied: Callable[[Dot], bool],
        touched: Callable[[bytes], None],
        read_locks: Callable[[bytes, bytes, bytes], Set[bytes]],
        is_acknowledged: Callable[[bytes, bytes, bytes, bytes], bool],
    ) -> None:
        self._transaction = transaction
        self._tables = transaction.tables
        self._state = state
        self._chunks = chunks
        self._is_applied = is_applied
        self._touched = touched
        self._read_locks, self._is_acknowledged = read_locks, is_acknowledged
        self._known: tuple[bytes, HeadRow | None] | None = None

    def find_head(self, uid: bytes, key: bytes) -> HeadRow | None:
        """The head of a key that is about to be written: ``apply`` will not read it again."""
        head = read_head(self._transaction, uid, key)
        self._known = (uid + key, head)
        return head

    def _take_head(self, uid: bytes, key: bytes) -> HeadRow | None:
        known, self._known = self._known, None  # what it was read for, or anything else, changes it now
        return known[1] if known is not None and known[0] == uid + key else read_head(self._transaction, uid, key)

    def apply(self, change: Change, *, remote: bool, record: ObjectRecord | None = None) -> None:
        """Merge one NULL_SLOT or VERSION change. ``record``: its decoded body, if at hand."""
        if record is None and not change.dead:
            record = decode_object(change.body)
        if change.family == FAMILY_NULL_SLOT:
            uid, key = split_null_slot(change.item)
            vid, order_hlc = NULL_VID, change.hlc
        else:
            uid, vid, key = split_version(change.item)
            order_hlc = hlc_of_vid(vid)
        head = self._take_head(uid, key)
        if head is None:
            head = HeadRow(0, self._state.next_key, 0, 0, 0, NO_ORDER, (), "")
            self._state.next_key += 1
        added = encode_order(order_hlc, change.dot)
        if change.family == FAMILY_NULL_SLOT:
            head, merged = self._merge_null(head, change, added, record, remote)
        else:
            merged = self._merge_version(head, uid, vid, key, change, added, remote)
        is_newest = order_hlc > head.top_hlc
        if change.dot not in change.replaces:  # else nothing is left of it: its clock, neither
            head = replace(head, top_hlc=max(head.top_hlc, change.hlc, order_hlc))
        self._settle(uid, key, head, merged, record if is_newest else None, remote)

    def weigh_purges(self, uid: bytes, vid: bytes, key: bytes) -> None:
        """A lock of a version was changed: purges that had not seen it are void, and what they hid shows again."""
        head = read_head(self._transaction, uid, key)
        if head is None:
            return
        rows = list(rows_of_vid(self._transaction, head.key_id, vid))
        if any(row.dead for row in rows):
            self._settle(uid, key, head, self._show(head, uid, vid, key, rows, read_state(rows)), None, True)

    def weigh_conditions(self, uid: bytes, key: bytes) -> None:
        """A broken condition of a key was acknowledged (or is no longer): count it anew."""
        head = read_head(self._transaction, uid, key)
        if head is not None and head.flags & HEAD_CONFLICT:
            self._put_head(uid, key, self._derive_conflicts(uid, key, head, _Merged(None, (), 0)))

    def _settle(
        self, uid: bytes, key: bytes, head: HeadRow, merged: _Merged, record: ObjectRecord | None, remote: bool
    ) -> None:
        """Derive the key's head, and what is counted, from its rows. ``record``: of a write newer than all of them."""
        arrived, gone, visible = merged
        if record is not None and arrived is not None and not arrived.dead:
            head = _with_current(head, arrived.order, record)
        elif gone or (arrived is not None and arrived.order > head.current):
            head = self._derive_current(head)
        if visible:
            self._count(uid, visible)
        if remote or head.flags & HEAD_CONFLICT or (gone and record is None):  # else it is on top of all it saw
            head = self._derive_conflicts(uid, key, head, merged)
        self._put_head(uid, key, head)

    # merging

    def _merge_null(
        self, head: HeadRow, change: Change, added: bytes, record: ObjectRecord | None, remote: bool
    ) -> tuple[HeadRow, _Merged]:
        """The key's head with the slot's orders after the change, and what became of its rows."""
        row = VersionRow(added, ROLE_NULL | (ROW_DEAD if change.dead else 0), NULL_VID, change.body)
        if record is not None and not (remote or head.nulls or change.replaces):  # the first write: merging gives it
            self._add_row(head.key_id, row, record)
            return replace(head, nulls=(added,)), _Merged(row, (), 1)
        entry = merge(self._entry(head.nulls, change, remote), change.entry())
        nulls = tuple([encode_order(write.hlc, write.dot) for write in entry.live])
        if change.dead and change.body == DROP_BODY:
            nulls = tuple([order for order in nulls if order != added])
        gone = tuple([order for order in head.nulls if order not in nulls])
        visible = sum([self._remove_row(head.key_id, order) for order in gone])
        if added in nulls and added not in head.nulls:  # a checkpoint may have brought it before its log did
            visible += self._add_row(head.key_id, replace(row, body=b"") if change.dead else row, record)
        self._settle_marks(change)
        return replace(head, nulls=nulls), _Merged(row if added in nulls else None, gone, visible)

    def _merge_version(
        self, head: HeadRow, uid: bytes, vid: bytes, key: bytes, change: Change, added: bytes, remote: bool
    ) -> _Merged:
        """What became of the rows of a version id."""
        rows = list(rows_of_vid(self._transaction, head.key_id, vid))
        state = read_state(rows)
        orders = state.orders()
        entry = merge(self._entry(orders, change, remote), change.entry())
        (state.purges if change.dead else state.values)[added] = change.body
        left = {write.dot for write in entry.live}
        state = state.without(lambda order: decode_order(order)[1] not in left)
        self._settle_marks(change)
        return self._show(head, uid, vid, key, rows, state)

    def _show(
        self, head: HeadRow, uid: bytes, vid: bytes, key: bytes, rows: list[VersionRow], state: VersionState
    ) -> _Merged:
        """Make the rows of a version id those of its state."""
        shown = show_state(vid, state, lambda: self._read_locks(uid, vid, key))
        before = {row.order: row for row in rows}
        gone = tuple([row.order for row in rows if not row.dead and row.order not in shown.rows])
        visible, arrived = 0, None
        for order in before:
            if order not in shown.rows:
                visible += self._remove_row(head.key_id, order)
        for order, row in shown.rows.items():
            if before.get(order) != row:
                visible += self._add_row(head.key_id, row)
                arrived = arrived if row.dead else row
        dead = sum(row.dead for row in rows)
        self._state.void_purges += shown.void - (dead if dead < len(rows) else 0)
        return _Merged(arrived, gone, visible)

    def _entry(self, orders: tuple[bytes, ...], change: Change, remote: bool) -> Entry:
        """The stored entry, as far as merging needs it: identities of its writes, and a mark naming the change (which
        nobody can have made for a change of our own that is new).
        """
        writes = [Write(dot, hlc, False, b"") for hlc, dot in map(decode_order, orders)]
        marked = remote and self._transaction.delete(self._tables.marks, encode_dot(change.dot))
        return Entry(tuple(writes), frozenset((change.dot,)) if marked else frozenset())

    def _settle_marks(self, change: Change) -> None:
        """Remember dots the change replaced that have not been applied here yet (what a checkpoint brought may be here
        before its log is).
        """
        for dot in change.replaces:
            if not self._is_applied(dot):
                self._transaction.put(self._tables.marks, encode_dot(dot), b"")

    def _add_row(self, key_id: int, row: VersionRow, record: ObjectRecord | None = None) -> int:
        """Put a row and hold its chunks: 1 if it is visible, 0 for a tombstone."""
        self._transaction.put(self._tables.versions, version_key(key_id, row.order), encode_version(row))
        if row.dead:
            return 0
        self._chunks.reference_all((record or decode_object(row.body)).refs())
        return 1

    def _remove_row(self, key_id: int, order: bytes) -> int:
        """Remove a row and let its chunks go: -1 if it was visible, 0 for a tombstone."""
        data = self._transaction.pop(self._tables.versions, version_key(key_id, order))
        assert data is not None, "a head names a row that is not there"
        row = decode_version(order, data)
        if row.dead:
            return 0
        self._chunks.dereference_all(decode_object(row.body).refs())
        return -1

    # joining

    def fold(self, row: FoldedKey, seen_here: Seen, seen_there: Seen, is_marked: Seen) -> None:
        """Join what another site's checkpoint tells of a key into what is here; ``is_marked``: replaced, by a write
        that either knows.
        """
        uid, key = row.key[:UID_SIZE], row.key[UID_SIZE:]
        head = read_head(self._transaction, uid, key)
        is_new = head is None
        if head is None:
            head = HeadRow(0, self._state.next_key, 0, 0, 0, NO_ORDER, (), "")
            self._state.next_key += 1
        if is_new and self._fold_alone(uid, key, head, row, seen_here, is_marked):
            return
        seen = (seen_here, seen_there, is_marked)
        visible = 0
        if row.nulls is not None:
            head, visible = self._fold_nulls(head, row.nulls, *seen)
        told = {version.vid: VersionState(dict(version.values), dict(version.purges)) for version in row.versions}
        mine: dict[bytes, list[VersionRow]] = {vid: [] for vid in told}
        for found in () if is_new else rows_of_key(self._transaction, head.key_id):
            if found.role & ROLE_VERSION and row.at_least <= hlc_of_vid(found.vid) <= row.at_most:
                mine.setdefault(found.vid, []).append(found)
        for vid, rows in mine.items():
            state = _join_states(read_state(rows), told.get(vid, VersionState({}, {})), *seen)
            visible += self._show(head, uid, vid, key, rows, state).visible
        head = self._derive_current(replace(head, top_hlc=max(head.top_hlc, row.top_hlc)))
        if visible:
            self._count(uid, visible)
        if not is_new or len(head.nulls) + len(told) > 1:
            head = self._derive_conflicts(uid, key, head, _Merged(None, (NO_ORDER,), 0))
        self._put_head(uid, key, head)

    def _fold_alone(
        self, uid: bytes, key: bytes, head: HeadRow, row: FoldedKey, seen_here: Seen, is_marked: Seen
    ) -> bool:
        """A key that is new here and has one value and nothing else, as nearly all have: whether it was put."""
        if row.nulls is None or len(row.nulls) + len(row.versions) != 1 or row.at_least:
            return False
        if row.nulls:
            order, dead, body = row.nulls[0].order, row.nulls[0].dead, row.nulls[0].body
            role, vid = ROLE_NULL, NULL_VID
        else:
            version = row.versions[0]
            dead, role, vid = len(version.values) != 1 or bool(version.purges), ROLE_VERSION, version.vid
            order, body = version.values[0] if version.values else (NO_ORDER, b"")
        dot = decode_order(order)[1]
        if dead or seen_here(dot) or is_marked(dot):
            return False
        record = decode_object(body)
        self._add_row(head.key_id, VersionRow(order, role, vid, body), record)
        head = replace(head, top_hlc=row.top_hlc, nulls=(order,) if role == ROLE_NULL else ())
        self._count(uid, 1)
        self._put_head(uid, key, _with_current(head, order, record))
        return True

    def _fold_nulls(
        self, head: HeadRow, told: tuple[Sibling, ...], seen_here: Seen, seen_there: Seen, is_marked: Seen
    ) -> tuple[HeadRow, int]:
        """The head with the null slot joined, and by how much the visible rows grew."""
        theirs = {sibling.order: sibling for sibling in told}
        nulls = _join_orders(head.nulls, theirs, seen_here, seen_there, is_marked)
        visible = sum([self._remove_row(head.key_id, order) for order in head.nulls if order not in nulls])
        for order in nulls:
            if order not in head.nulls:
                sibling = theirs[order]
                role = ROLE_NULL | (ROW_DEAD if sibling.dead else 0)
                visible += self._add_row(head.key_id, VersionRow(order, role, NULL_VID, sibling.body))
        return replace(head, nulls=nulls), visible

    # deriving

    def _derive_current(self, head: HeadRow) -> HeadRow:
        winner = head.nulls[0] if head.nulls else None
        for row in rows_of_key(self._transaction, head.key_id):
            if not row.dead and (row.role & ROLE_VERSION or row.order == winner):
                return _with_current(head, row.order, decode_object(row.body))
        flags = head.flags & ~(HEAD_CURRENT | HEAD_MARKER)
        return replace(head, flags=flags, current=NO_ORDER, size=0, modified_ms=0, text="")

    def _derive_conflicts(self, uid: bytes, key: bytes, head: HeadRow, merged: _Merged) -> HeadRow:
        """Count losers and conditions that the rows show not to have held.

        A condition ("saw this order current") is broken if what stands right below the conditional write came behind
        what it saw: in the merged history it was evaluated against the wrong version. So only the row that came, and
        whatever stands right above a row that came or went, can change.
        """
        stored = self._transaction.get(self._tables.conflicts, uid + key)
        losers_before, broken_before = decode_conflict(stored) if stored is not None else (0, ())
        losers = sum(not self._is_dead(head.key_id, order) for order in head.nulls[1:])
        broken = self._find_broken(uid, key, head, set(broken_before), merged)
        self._state.conflicts += bool(losers) - bool(losers_before)
        self._state.broken += len(broken) - len(broken_before)
        if losers or broken:
            self._transaction.put(self._tables.conflicts, uid + key, encode_conflict(losers, tuple(sorted(broken))))
            return replace(head, flags=head.flags | HEAD_CONFLICT)
        if stored is not None:
            self._transaction.delete(self._tables.conflicts, uid + key)
        return replace(head, flags=head.flags & ~HEAD_CONFLICT)

    def _find_broken(self, uid: bytes, key: bytes, head: HeadRow, known: set[bytes], merged: _Merged) -> set[bytes]:
        """Orders of the conditional writes of a key that did not hold and that nobody acknowledged."""
        points = [*merged.gone, *([merged.arrived.order] if merged.arrived is not None else [])]
        lowest = min([*points, *known], default=None)
        if lowest is None:
            return set()
        broken: set[bytes] = set()
        above: VersionRow | None = None
        for row in rows_of_key(self._transaction, head.key_id):
            if row.dead and row.role & ROLE_VERSION:
                continue  # a purge takes no part in the order of a key
            if above is not None and self._is_broken(uid, key, above, row):
                broken.add(above.order)
            above = row if not row.dead else None
            if row.order < lowest:
                break
        return broken

    def _is_broken(self, uid: bytes, key: bytes, row: VersionRow, below: VersionRow) -> bool:
        condition = decode_object(row.body).condition
        if condition is None:
            return False
        is_nothing = below.dead or decode_object(below.body).marker
        broken = _breaks(condition, below.order, is_nothing)
        return broken and not self._is_acknowledged(uid, row.vid, key, row.order)

    def _is_dead(self, key_id: int, order: bytes) -> bool:
        data = self._transaction.get(self._tables.versions, version_key(key_id, order))
        assert data is not None, "a head names a row that is not there"
        return decode_version(order, data).dead

    def _count(self, uid: bytes, visible: int) -> None:
        before = count_visible(self._transaction, uid)
        after = before + visible
        assert after >= 0, "a bucket has fewer than no rows"
        if after:
            self._transaction.put(self._tables.counts, uid, pack_u64(after))
        else:
            self._transaction.delete(self._tables.counts, uid)
        if not before or not after:
            self._touched(uid)

    def _put_head(self, uid: bytes, key: bytes, head: HeadRow) -> None:
        if head.flags & HEAD_CURRENT or head.nulls or next(rows_of_key(self._transaction, head.key_id), None):
            self._transaction.put(self._tables.heads, uid + key, encode_head(head))
        else:
            self._transaction.delete(self._tables.heads, uid + key)


def read_head(transaction: Transaction, uid: bytes, key: bytes) -> HeadRow | None:
    """The head of a key."""
    data = transaction.get(transaction.tables.heads, uid + key)
    return None if data is None else decode_head(data)


def read_row(transaction: Transaction, key_id: int, order: bytes) -> VersionRow | None:
    """The row of exactly this order."""
    data = transaction.get(transaction.tables.versions, version_key(key_id, order))
    return None if data is None else decode_version(order, data)


def is_standing(transaction: Transaction, change: Change) -> bool:
    """Whether a NULL_SLOT or VERSION change that was applied here still has its row: nothing replaced it."""
    if change.family == FAMILY_NULL_SLOT:
        (uid, key), order_hlc = split_null_slot(change.item), change.hlc
    else:
        uid, vid, key = split_version(change.item)
        order_hlc = hlc_of_vid(vid)
    head = read_head(transaction, uid, key)
    return head is not None and read_row(transaction, head.key_id, encode_order(order_hlc, change.dot)) is not None


def rows_of_key(transaction: Transaction, key_id: int, below: bytes | None = None) -> Iterator[VersionRow]:
    """All rows of a key, newest first, tombstones included; with ``below``, those of a smaller order."""
    prefix = pack_u64(key_id)
    start = prefix if below is None else prefix + invert_order(below) + b"\0"
    for key, data in transaction.scan(transaction.tables.versions, start, prefix):
        yield decode_version(invert_order(key[8:]), data)


def rows_of_vid(transaction: Transaction, key_id: int, vid: bytes) -> Iterator[VersionRow]:
    """The rows of one version id: found by the clock that the id carries."""
    ceiling = vid[:_CLOCK_SIZE] + b"\xff" * (ORDER_SIZE - _CLOCK_SIZE)
    start = version_key(key_id, ceiling)
    for key, data in transaction.scan(transaction.tables.versions, start, start[: 8 + _CLOCK_SIZE]):
        row = decode_version(invert_order(key[8:]), data)
        if row.role & ROLE_VERSION and row.vid == vid:
            yield row


def count_visible(transaction: Transaction, uid: bytes) -> int:
    """How many versions, markers and losers a bucket has."""
    data = transaction.get(transaction.tables.counts, uid)
    return 0 if data is None else unpack_u64(data)


def encode_conflict(losers: int, broken: tuple[bytes, ...]) -> bytes:
    """Bytes of a conflicts row."""
    return losers.to_bytes(4, "little") + b"".join(broken)


def decode_conflict(data: bytes) -> tuple[int, tuple[bytes, ...]]:
    """(losers, orders of broken conditions) of a conflicts row."""
    orders = tuple(data[at : at + ORDER_SIZE] for at in range(4, len(data), ORDER_SIZE))
    return int.from_bytes(data[:4], "little"), orders


def _join_orders(
    mine: Iterable[bytes], theirs: Iterable[bytes], seen_here: Seen, seen_there: Seen, is_marked: Seen
) -> tuple[bytes, ...]:
    """The orders left of both, greatest first: ``crdt.join`` of what they stand for."""
    here, there = (
        tuple([Write(dot, hlc, False, b"") for hlc, dot in map(decode_order, orders)]) for orders in (mine, theirs)
    )
    marks = frozenset([write.dot for write in (*here, *there) if is_marked(write.dot)])
    joined = join(Entry(here, marks), Entry(there), seen_here, seen_there)
    return tuple([encode_order(write.hlc, write.dot) for write in joined.live])


def _join_states(
    mine: VersionState, theirs: VersionState, seen_here: Seen, seen_there: Seen, is_marked: Seen
) -> VersionState:
    left = set(_join_orders(mine.orders(), theirs.orders(), seen_here, seen_there, is_marked))
    both = VersionState(mine.values | theirs.values, mine.purges | theirs.purges)
    return both.without(lambda order: order not in left)


def _breaks(condition: Condition, order: bytes, is_marker: bool) -> bool:
    """Whether a write (or removal: ``is_marker``) of this order, before a conditional one, belies its condition."""
    return condition.saw < order and not (is_marker and condition.header == "If-None-Match")


def _with_current(head: HeadRow, order: bytes, record: ObjectRecord) -> HeadRow:
    checksum = next(iter(record.checksums), "")
    if checksum and record.checksum_type:
        checksum = f"{checksum}:{record.checksum_type}"
    text = "\0".join((record.etag, record.owner, checksum, record.storage_class))
    flags = (head.flags & HEAD_CONFLICT) | HEAD_CURRENT | (HEAD_MARKER if record.marker else 0)
    return HeadRow(flags, head.key_id, head.top_hlc, record.size, record.modified_ms, order, head.nulls, text)
