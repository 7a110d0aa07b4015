"""Chunks in the index: where their frames lie, who needs them, and what may go.

Stands between ``apply`` (which says what is referenced and placed) and the tables ``chunks``, ``segments``,
``release``, ``released`` and ``closed``; what lies in the cloud is in ``cloud_rows``. Rules:

* a record references each of its refs once; a page references its children from its first reference until the
  collector lets them go (``let_children_go``); a patch frame references its base chunks while it is a chunk's local
  frame;
* a chunk whose count falls to 0 is queued in ``release``; nothing else happens to it under the commit's lock;
* ``live_bytes`` of a segment is the sum of the frames that chunks point at, header and ciphertext;
* ``released`` keeps when a need for a chunk ended last (of a page's children: when the page's did), whatever came
  after: what nothing needs stays in the cloud for the point-in-time retention from then on;
* ``closed`` lists pages that are needed and could not be opened here yet: what they list is needed, too, and unknown.

It does not read segments: what a page lists comes from a ``PageReader``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

from msgspec import structs

from gateway.store.cloud_rows import CloudRows, is_in_cloud
from gateway.store.errors import Damaged
from gateway.store.index import Transaction
from gateway.store.index_format import (
    CHUNK_CONDEMNED,
    CHUNK_COUNTED,
    CHUNK_EVICTED,
    CHUNK_HOLDS,
    CHUNK_LOCAL,
    ChunkPlace,
    SegmentRow,
    State,
    absent_chunk,
    decode_chunk,
    decode_segment_row,
    encode_chunk,
    encode_segment_row,
    pack_u64,
    placed_chunk,
    unpack_u64,
)
from gateway.store.local_frames import FrameAbsent
from gateway.store.losses import drop_accepted, put_accepted
from gateway.store.segment_format import KIND_LOG, SEGMENT_HEADER_SIZE
from replication.change_format import Ref
from replication.frame_format import KIND_DATA, KIND_PAGE, FrameHeader, FrameName

_OF_THE_FRAME = CHUNK_LOCAL | CHUNK_CONDEMNED | CHUNK_COUNTED | CHUNK_EVICTED
"""Flags that tell of a chunk's local frame, not of the chunk: another frame begins without them."""
_NOT_HELD = object()
RELEASE_CHUNK = b"c"
RELEASE_UPLOAD = b"u"
NEVER = 0
"""Instead of a time: this end of a need keeps nothing in the cloud."""


class PageReader(Protocol):
    """Reads what a local page lists (``local_frames.LocalFrames``)."""

    def children(self, chunk_id: bytes, place: ChunkPlace) -> tuple[Ref, ...]:
        """The refs in the page at ``place``; ``Damaged`` if it cannot be read or does not authenticate."""


OpenPages = Callable[[Callable[[bytes], ChunkPlace | None]], PageReader]
"""Makes a ``PageReader`` that looks chunks up by the given function: a transaction's own, uncommitted rows included."""


class ChunkRows:
    """Chunks within one transaction. ``state`` is the writer's (for numbers of cloud objects).

    With ``hold`` rows are written by ``flush`` only, each once, however often a batch changes it (a small new
    object: placed, referenced, counted, given its place in the log); until then nobody else sees them in the table.
    """

    def __init__(self, transaction: Transaction, state: State, open_pages: OpenPages, *, hold: bool = False) -> None:
        self._held: dict[bytes, ChunkPlace | None] | None = {} if hold else None
        self._undo: list[tuple[bytes, object]] = []
        self._unqueued: set[bytes] = set()
        self._live_before: dict[tuple[int, int], int] = {}
        self._transaction = transaction
        self._tables = transaction.tables
        self._state = state
        self._open_pages = open_pages
        self.cloud = CloudRows(transaction, state)
        self.now_ms = 0
        """The time of the batch that is being applied."""
        self.known_children: dict[bytes, tuple[Ref, ...]] = {}
        """What pages list, for those just written: saves reading them back."""
        self.live_delta: dict[tuple[int, int], int] = {}
        """Bytes that became live (or dead) per (segment, kind); written by ``flush``."""

    def get(self, chunk_id: bytes) -> ChunkPlace | None:
        """The row of a chunk."""
        if self._held is not None and chunk_id in self._held:
            return self._held[chunk_id]
        return read_chunk(self._transaction, chunk_id)

    def put(self, chunk_id: bytes, row: ChunkPlace) -> None:
        """Set the row of a chunk as it is."""
        if self._held is None:
            self._transaction.put(self._tables.chunks, chunk_id, encode_chunk(row))
        else:
            self._undo.append((chunk_id, self._held.get(chunk_id, _NOT_HELD)))
            self._held[chunk_id] = row

    def _delete(self, chunk_id: bytes) -> None:
        if self._held is None:
            self._transaction.delete(self._tables.chunks, chunk_id)
        else:
            self._undo.append((chunk_id, self._held.get(chunk_id, _NOT_HELD)))
            self._held[chunk_id] = None

    def begin_part(self) -> None:
        """What follows may be taken back by ``undo_part``, as the transaction's own part is."""
        self._undo.clear()
        self._live_before = dict(self.live_delta)

    def undo_part(self) -> None:
        """Take back what was held since ``begin_part``."""
        assert self._held is not None
        for chunk_id, before in reversed(self._undo):
            if before is _NOT_HELD:
                del self._held[chunk_id]
            else:
                assert before is None or isinstance(before, ChunkPlace)
                self._held[chunk_id] = before
        self._undo.clear()
        self.live_delta = self._live_before

    # places

    def place(
        self, header: FrameHeader, kind: int, number: int, offset: int, *, queue: bool = False, replace: bool = False
    ) -> None:
        """As ``place_over``, where the chunk's row is not at hand."""
        self.place_over(self.get(header.chunk_id), header, kind, number, offset, queue=queue, replace=replace)

    def place_over(
        self,
        row: ChunkPlace | None,
        header: FrameHeader,
        kind: int,
        number: int,
        offset: int,
        *,
        queue: bool = False,
        replace: bool = False,
    ) -> None:
        """A frame of a chunk, whose row was ``row``, lies here now, and is its local frame from now on.

        Unless there is a local frame already that is not condemned: then that one stays, except with ``replace`` (the
        log says so). Counts do not change; a patch's bases are referenced. ``queue``: hand a chunk that nothing
        references to the collector (not needed where the same batch is about to reference it).
        """
        if row is not None and row.local and not row.condemned and not replace:
            return
        refcount = flags = 0
        if row is not None:
            if row.local:
                row = self.take_away(header.chunk_id, row)
            self._end_loss(header.chunk_id, row)
            # The new frame was counted into no backlog yet, whatever was of the one before it.
            refcount, flags = row.refcount, row.flags & ~_OF_THE_FRAME
        elif not queue:
            self._unqueued.add(header.chunk_id)
        placed = placed_chunk(header, kind, number, offset, refcount, flags)
        self._add_live(placed, 1)
        self.put(header.chunk_id, placed)
        if queue and refcount == 0:
            self._transaction.put(self._tables.release, RELEASE_CHUNK + header.chunk_id, b"")
        for base in header.bases:
            self.reference(base.chunk_id, 0, 0)
        if placed.frame_kind == KIND_PAGE and refcount and not flags & CHUNK_HOLDS:
            self._hold_children(header.chunk_id, placed)

    def move(self, chunk_id: bytes, row: ChunkPlace, number: int, kind: int, offset: int) -> None:
        """The chunk's local frame was copied verbatim to another place: point there."""
        self._add_live(row, -1)
        moved = structs.replace(row, number=number, kind=kind, offset=offset)
        self._add_live(moved, 1)
        self.put(chunk_id, moved)

    def settle_inline(self, provisional: int, frames: Iterable[tuple[FrameHeader, int]], number: int) -> None:
        """Frames placed in the ``provisional`` log segment lie in segment ``number``, at their offsets. Once a batch,
        when nothing of it is taken back any more.
        """
        assert self._held is not None
        for header, offset in frames:
            row = self._held.get(header.chunk_id)
            if row is not None and row.slot == header.slot and row.segment == header.segment:
                self._held[header.chunk_id] = structs.replace(row, number=number, kind=KIND_LOG, offset=offset)
        live = self.live_delta.pop((provisional, KIND_LOG), 0)
        self.live_delta[number, KIND_LOG] = self.live_delta.get((number, KIND_LOG), 0) + live

    def take_away(self, chunk_id: bytes, row: ChunkPlace) -> ChunkPlace:
        """The chunk's local frame is no more (evicted, condemned, damaged): the row without it, which is also
        written.
        """
        self._add_live(row, -1)
        bare = structs.replace(
            absent_chunk(row.frame_kind, row.raw_size), refcount=row.refcount, flags=row.flags & ~CHUNK_LOCAL
        )
        self.put(chunk_id, bare)
        for base in row.bases:
            self.dereference(base.chunk_id, NEVER)  # in the cloud a base lives as long as a patch against it does
        return bare

    def evict(self, name: FrameName, raw_size: int) -> None:
        """A chunk's local frame is given up (the caller made sure that the cloud has the chunk): its row remembers
        which.
        """
        row = self.get(name.chunk_id) or absent_chunk(KIND_DATA, raw_size)
        if row.local:
            row = self.take_away(name.chunk_id, row)
        row = structs.replace(row, segment=name.segment, slot=name.slot, flags=row.flags | CHUNK_EVICTED)
        self.put(name.chunk_id, row)
        if not row.refcount:  # a rebuild knows who needs it only when it has opened all pages
            self._transaction.put(self._tables.release, RELEASE_CHUNK + name.chunk_id, b"")

    def lose(self, name: FrameName, raw_size: int) -> None:
        """A chunk's bytes are nowhere, as was accepted: what is left of its frame is given up."""
        self.evict(name, raw_size)
        put_accepted(self._transaction, name.chunk_id)

    # references

    def reference(self, chunk_id: bytes, frame_kind: int, size: int) -> None:
        """One more need for a chunk; a page's first one extends to its children, if the page can be read here.

        What was condemned is pardoned by it: under the write lock that is safe as long as the row is there.
        """
        row = self.get(chunk_id) or absent_chunk(frame_kind, size)
        first = row.refcount == 0
        row = structs.replace(row, refcount=row.refcount + 1, flags=row.flags & ~CHUNK_CONDEMNED)
        self.put(chunk_id, row)
        if first:
            if row.frame_kind == KIND_PAGE and not row.flags & CHUNK_HOLDS:
                self._transaction.put(self._tables.closed, chunk_id, b"")
                if row.local:
                    self._hold_children(chunk_id, row)
            if chunk_id in self._unqueued:  # a new chunk: it cannot wait for the collector
                self._unqueued.discard(chunk_id)
            else:
                self._transaction.delete(self._tables.release, RELEASE_CHUNK + chunk_id)

    def reference_all(self, refs: tuple[Ref, ...]) -> None:
        """One more need for each of a record's refs."""
        for ref in refs:
            self.reference(ref.id, ref.kind, ref.size)

    def dereference(self, chunk_id: bytes, at_ms: int | None = None) -> None:
        """One need less, from ``at_ms`` on (now, if not told); at 0 the chunk waits for the collector."""
        row = self.get(chunk_id)
        if row is None or not row.refcount:
            raise Damaged(f"a reference to chunk {chunk_id.hex()} is let go that nothing held: rebuild the index")
        flags = row.flags if row.refcount > 1 else row.flags & ~CHUNK_EVICTED
        if row.refcount == 1:
            self._end_loss(chunk_id, row)
        self.put(chunk_id, structs.replace(row, refcount=row.refcount - 1, flags=flags))
        if row.refcount == 1:
            self._transaction.put(self._tables.release, RELEASE_CHUNK + chunk_id, b"")
            if row.frame_kind == KIND_PAGE:
                self._transaction.delete(self._tables.closed, chunk_id)
        at_ms = self.now_ms if at_ms is None else at_ms
        if at_ms > (read_released(self._transaction, chunk_id) or 0):
            self._transaction.put(self._tables.released, chunk_id, pack_u64(at_ms))

    def dereference_all(self, refs: tuple[Ref, ...], at_ms: int | None = None) -> None:
        """One need less for each of a record's refs."""
        for ref in refs:
            self.dereference(ref.id, at_ms)

    # collection

    def released(self, after: bytes = b"") -> Iterator[bytes]:
        """Keys of the work queue behind ``after``: ``b"c"`` and a chunk id, or ``b"u"`` and an upload id."""
        for key, _ in self._transaction.scan(self._tables.release, after):
            if key != after:
                yield key

    def hold_children(self, chunk_id: bytes) -> bool:
        """A rebuild placed a needed page before what it takes to open it: whether it now references what it lists."""
        row = self.get(chunk_id)
        assert row is not None
        assert row.local
        assert row.refcount
        if row.flags & CHUNK_HOLDS:
            return False
        self._hold_children(chunk_id, row)
        held = self.get(chunk_id)
        return held is not None and bool(held.flags & CHUNK_HOLDS)

    def let_children_go(self, chunk_id: bytes) -> None:
        """An unreferenced page no longer needs what it lists. One page's children at most: a bounded amount of work."""
        row = self.get(chunk_id)
        if row is None or row.refcount or not row.flags & CHUNK_HOLDS:
            return
        try:
            children = self._children(chunk_id, row) if row.local else ()  # its loss was accepted
        except FrameAbsent:  # a dead patch that a rebuild found, its base replaced since: what it listed is kept, which
            children = ()  # costs space and loses nothing
        self.put(chunk_id, structs.replace(row, flags=row.flags & ~CHUNK_HOLDS))
        self.dereference_all(children, read_released(self._transaction, chunk_id) or NEVER)

    def condemn(self, chunk_id: bytes) -> bool:
        """Deduplication must ignore this unreferenced chunk from now on. False if something needs it (again)."""
        row = self.get(chunk_id)
        if row is None or row.refcount:
            self._transaction.delete(self._tables.release, RELEASE_CHUNK + chunk_id)
            return False
        self.put(chunk_id, structs.replace(row, flags=row.flags | CHUNK_CONDEMNED))
        return True

    def drop(self, chunk_id: bytes) -> bool:
        """Forget a chunk that nothing needs: its frame is dead space. False if something needs it (again)."""
        row = self.get(chunk_id)
        self._transaction.delete(self._tables.release, RELEASE_CHUNK + chunk_id)
        if row is None or row.refcount:
            return False
        if row.flags & CHUNK_HOLDS:
            self.let_children_go(chunk_id)
        if row.flags & CHUNK_LOCAL:
            self.take_away(chunk_id, row)
        self._end_loss(chunk_id, row)
        self._delete(chunk_id)
        return True

    # backlog

    def count_for_shipping(self, refs: tuple[Ref, ...]) -> int:
        """Ciphertext bytes that the cloud lacks and no earlier own change has counted; they are counted now."""
        total = 0
        waiting = [ref.id for ref in refs]
        while waiting:
            chunk_id = waiting.pop()
            row = self.get(chunk_id)
            if row is None or row.flags & CHUNK_COUNTED:
                continue
            self.put(chunk_id, structs.replace(row, flags=row.flags | CHUNK_COUNTED))
            if not row.flags & CHUNK_LOCAL or is_in_cloud(self._transaction, chunk_id):
                continue
            total += row.stored_size
            waiting.extend(base.chunk_id for base in row.bases)
            if row.flags & CHUNK_HOLDS:
                waiting.extend(ref.id for ref in self._children(chunk_id, row))
        return total

    def uncount(self, chunk_ids: Iterable[bytes]) -> None:
        """The cloud lost these: what needs them next counts them into the backlog again."""
        for chunk_id in chunk_ids:
            row = self.get(chunk_id)
            if row is not None and row.flags & CHUNK_COUNTED and not is_in_cloud(self._transaction, chunk_id):
                self.put(chunk_id, structs.replace(row, flags=row.flags & ~CHUNK_COUNTED))

    # segments

    def flush(self) -> None:
        """Write what was held, and what became live or dead into the segments' rows."""
        if self._held:
            table = self._tables.chunks
            for chunk_id in sorted(self._held):
                held = self._held[chunk_id]
                if held is not None:
                    self._transaction.put(table, chunk_id, encode_chunk(held))
                else:
                    self._transaction.delete(table, chunk_id)
            self._held.clear()
            self._undo.clear()
        for (number, kind), delta in self.live_delta.items():
            if delta:
                row = read_segment(self._transaction, number) or SegmentRow(kind, 0, SEGMENT_HEADER_SIZE, 0)
                put_segment(self._transaction, number, row._replace(live_bytes=row.live_bytes + delta))
        self.live_delta.clear()

    def _end_loss(self, chunk_id: bytes, row: ChunkPlace) -> None:
        """A frame of the chunk is here again, or nothing needs it: were it lost again, that would be another loss."""
        if row.flags & CHUNK_EVICTED:
            drop_accepted(self._transaction, chunk_id)

    def _add_live(self, row: ChunkPlace, sign: int) -> None:
        place = (row.number, row.kind)
        self.live_delta[place] = self.live_delta.get(place, 0) + sign * (row.header_size + row.stored_size)

    def _children(self, chunk_id: bytes, row: ChunkPlace) -> tuple[Ref, ...]:
        found = self.known_children.get(chunk_id)
        if found is None:
            found = self._open_pages(self.get).children(chunk_id, row)
        return found

    def _hold_children(self, chunk_id: bytes, row: ChunkPlace) -> None:
        """A page that is needed and lies here references what it lists; not one that cannot be decoded here (yet)."""
        try:
            children = self._children(chunk_id, row)
        except FrameAbsent:
            return
        self.put(chunk_id, structs.replace(row, flags=row.flags | CHUNK_HOLDS))
        self._transaction.delete(self._tables.closed, chunk_id)
        self.reference_all(children)


def read_chunk(transaction: Transaction, chunk_id: bytes) -> ChunkPlace | None:
    """The row of a chunk."""
    data = transaction.get(transaction.tables.chunks, chunk_id)
    return None if data is None else decode_chunk(data)


def read_released(transaction: Transaction, chunk_id: bytes) -> int | None:
    """When a need for the chunk ended last (unix ms); None: never, or too long ago to matter."""
    data = transaction.get(transaction.tables.released, chunk_id)
    return None if data is None else unpack_u64(data)


def read_segment(transaction: Transaction, number: int) -> SegmentRow | None:
    """The row of a segment."""
    data = transaction.get(transaction.tables.segments, number.to_bytes(4, "big"))
    return None if data is None else decode_segment_row(data)


def put_segment(transaction: Transaction, number: int, row: SegmentRow) -> None:
    """Write the row of a segment."""
    transaction.put(transaction.tables.segments, number.to_bytes(4, "big"), encode_segment_row(row))


def scan_segments(transaction: Transaction) -> Iterator[tuple[int, SegmentRow]]:
    """All segments the index knows, by number."""
    for key, data in transaction.scan(transaction.tables.segments):
        yield int.from_bytes(key, "big"), decode_segment_row(data)
