"""The folded state of a site in slices, for a checkpoint: all that no write has replaced, and where frames lie.

Stands between the index and ``replication/checkpoint_writer`` (through ``replica``). Each slice is one short snapshot;
writes go on between them. So a slice may show more than the vector that was taken before the first one: whoever takes
the checkpoint in pulls the logs from that vector on, and joining is idempotent (``state_fold``). It never shows less.
What it shows of this site's own changes must be in the bucket before the checkpoint counts: the writer sees to that.

What it carries is what the rows hold that no other row gives: unreplaced writes with their orders, bodies and hidden
values, each key's greatest clock, marks of dots not seen yet, locations. Heads, counts, conflicts, broken conditions,
void purges and references are derived again where it is joined. Open uploads and objects of local buckets stay here.

Locations: all that are known, also those of what nothing needs now. Any site may refer again to bytes that lie in the
bucket, until their object is doomed; whoever joins has to find them then. Not those that this site does not rely on,
since a checkpoint did not tell of them (``cloud_rows``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Final

from gateway.store.cloud_rows import OBJECT_UNTOLD, read_object
from gateway.store.index import Transaction
from gateway.store.index_format import (
    CLOUD_FIXED,
    NUMBER,
    ROLE_VERSION,
    HeadRow,
    VersionRow,
    decode_head,
    encode_dot,
)
from gateway.store.item_format import is_local_uid, stays_here
from gateway.store.item_rows import decode_entry
from gateway.store.log_rows import read_origin, scan_former, scan_origins
from gateway.store.object_rows import read_row, rows_of_key
from gateway.store.slice_format import (
    CLOCK_MAX,
    FoldedItem,
    FoldedKey,
    FoldedVersion,
    Items,
    Locations,
    Marks,
    Objects,
    Sibling,
    Slice,
    encode_slice,
)
from gateway.store.subscription_rows import read_subscription
from gateway.store.version_ids import encode_order, hlc_of_vid
from gateway.store.version_state import read_state
from gateway.store.views import ViewContext
from replication.crdt import Dot
from replication.ports import ExportStart, LogPosition, Origin, RemoteLog, StateNotReady
from replication.subscription import ALL

ROWS_MAX: Final = 2000
BYTES_MAX: Final = 1 << 20
MARKS_AT_ONCE: Final = 10_000
_ROW_BYTES: Final = 100
_ITEMS, _OBJECTS, _LOCATIONS = b"i", b"o", b"l"
_CLOCK_SIZE: Final = 8


class StateExport:
    """One site's index, told in slices. Cursors are opaque to the caller; b"" begins and ends."""

    def __init__(self, open_view: Callable[[], ViewContext], site: bytes) -> None:
        self._open_view, self._site = open_view, site

    def begin(self) -> ExportStart:
        """The vector and the first slices (marks), from one snapshot. ``StateNotReady``: not now, pull first."""
        with self._open_view() as view:
            transaction, state = view.transaction, view.state()
            if view.join() is not None:
                raise StateNotReady("this site is joining itself")
            subscription = read_subscription(transaction)
            if subscription.high:
                raise StateNotReady("this site takes in buckets that it has subscribed to since")
            vector: dict[Origin, RemoteLog] = {}
            for origin, row in scan_origins(transaction):
                acks = {(site, incarnation): seq for site, incarnation, seq in row.acks}
                position = LogPosition(row.n, row.seq, row.chain)
                vector[origin] = RemoteLog(position, acks, row.sent_ms, row.closed, row.status)
            replaced: list[bytes] = []
            for incarnation, former in scan_former(transaction):
                site = former.site or self._site
                if former.shipped_seq > read_origin(transaction, (site, incarnation)).seq:
                    raise StateNotReady("a former log of this site is to be taken in first")
                # Issued anew over their former selves, which others may have: those must not come back.
                seqs = range(former.shipped_seq + 1, former.last_seq + 1)
                replaced += [encode_dot(Dot(site, incarnation, seq)) for seq in seqs]
            if state.shipped_n:
                shipped = LogPosition(state.shipped_n, state.shipped_seq, state.shipped_chain)
                vector[(state.site or self._site, state.incarnation)] = RemoteLog(shipped)
            dots = [key for key, _ in transaction.scan(transaction.tables.marks)] + replaced
        slices = [Marks(tuple(dots[at : at + MARKS_AT_ONCE])) for at in range(0, len(dots), MARKS_AT_ONCE)]
        holds = () if subscription.taken == ALL else subscription.taken
        return ExportStart(vector, tuple(map(encode_slice, slices)), holds)

    def next(self, cursor: bytes) -> tuple[bytes, bytes]:
        """The next slice and the cursor behind it (b"": that was all)."""
        phase, rest = (cursor[:1], cursor[1:]) if cursor else (_ITEMS, b"")
        with self._open_view() as view:
            transaction = view.transaction
            if phase == _ITEMS:
                content, following = self._items(transaction, rest)
            elif phase == _OBJECTS:
                content, following = self._objects(transaction, rest)
            else:
                content, following = self._locations(transaction, rest)
        return encode_slice(content), following

    def _items(self, transaction: Transaction, after: bytes) -> tuple[Slice, bytes]:
        rows: list[FoldedItem] = []
        size = 0
        for key, data in transaction.scan(transaction.tables.items, after):
            if key == after or stays_here(key[0], key[1:]):
                continue
            if len(rows) >= ROWS_MAX or size >= BYTES_MAX:
                return Items(after, rows[-1].key, tuple(rows)), _ITEMS + rows[-1].key
            writes = decode_entry(data).live
            live = [Sibling(encode_order(write.hlc, write.dot), write.dead, write.body) for write in writes]
            rows.append(FoldedItem(key, tuple(live)))
            size += len(key) + len(data) + _ROW_BYTES
        return Items(after, b"", tuple(rows)), _OBJECTS

    def _objects(self, transaction: Transaction, rest: bytes) -> tuple[Slice, bytes]:
        """``rest``: empty, or the greatest clock that is still to be told of a key (none: 0), and the key."""
        at_most, after = int.from_bytes(rest[:_CLOCK_SIZE], "big"), rest[_CLOCK_SIZE:]
        rows: list[FoldedKey] = []
        size = 0
        for key, data in transaction.scan(transaction.tables.heads, after):
            continued = key == after and bool(at_most)
            if (key == after and not continued) or is_local_uid(key):
                continue
            if len(rows) >= ROWS_MAX or size >= BYTES_MAX:
                last = rows[-1].key
                return Objects(after, last, tuple(rows)), _OBJECTS + bytes(_CLOCK_SIZE) + last
            row, took = _fold_key(transaction, key, decode_head(data), at_most if continued else None)
            rows.append(row)
            size += took
            if row.at_least:
                left = (row.at_least - 1).to_bytes(_CLOCK_SIZE, "big")
                return Objects(after, key, tuple(rows)), _OBJECTS + left + key
        return Objects(after, b"", tuple(rows)), _LOCATIONS

    def _locations(self, transaction: Transaction, after: bytes) -> tuple[Slice, bytes]:
        names: dict[str, int] = {}
        numbers: dict[int, int | None] = {}
        rows: list[tuple[int, int, bytes]] = []
        size = 0
        for key, data in transaction.scan(transaction.tables.cloud, after + b"\0" if after else b""):
            if size >= BYTES_MAX:
                return Locations(tuple(names), tuple(rows)), _LOCATIONS + after
            number = int.from_bytes(key[-NUMBER.size :], "big")
            (offset,) = CLOUD_FIXED.unpack_from(data)
            after = key
            if number not in numbers:
                flags, name = read_object(transaction, number)
                numbers[number] = None if flags & OBJECT_UNTOLD else names.setdefault(name, len(names))
            at = numbers[number]
            if at is not None:
                rows.append((at, offset, data[CLOUD_FIXED.size :]))
                size += len(data)
        return Locations(tuple(names), tuple(rows)), b""


def _fold_key(transaction: Transaction, key: bytes, head: HeadRow, at_most: int | None) -> tuple[FoldedKey, int]:
    """One key, and about how many bytes that is; only its newest versions (``at_least``) if there are very many."""
    nulls: tuple[Sibling, ...] | None = None
    size = len(key) + _ROW_BYTES
    if at_most is None:
        found = [read_row(transaction, head.key_id, order) for order in head.nulls]
        nulls = tuple([Sibling(row.order, row.dead, b"" if row.dead else row.body) for row in found if row is not None])
        size += sum([len(sibling.body) + _ROW_BYTES for sibling in nulls])
    versions: list[FoldedVersion] = []
    at_least = 0
    for clock, rows in _versions_by_clock(transaction, head, at_most):
        if size >= BYTES_MAX and versions:
            at_least = clock + 1
            break
        vids = sorted({row.vid for row in rows})
        for vid in vids:
            state = read_state([row for row in rows if row.vid == vid])
            versions.append(FoldedVersion(vid, tuple(state.values.items()), tuple(state.purges.items())))
        size += sum([len(row.body) + _ROW_BYTES for row in rows])
    most = CLOCK_MAX if at_most is None else at_most
    return FoldedKey(key, head.top_hlc, nulls, tuple(versions), at_least, most), size


def _versions_by_clock(
    transaction: Transaction, head: HeadRow, at_most: int | None
) -> Iterator[tuple[int, list[VersionRow]]]:
    """Rows of versions with ids, newest first, those of one clock together."""
    below = None if at_most is None else (at_most + 1).to_bytes(_CLOCK_SIZE, "big") + bytes(32)
    rows = (row for row in rows_of_key(transaction, head.key_id, below) if row.role & ROLE_VERSION)
    for clock, group in groupby(rows, key=lambda row: hlc_of_vid(row.vid)):
        yield clock, list(group)
