"""ON DISK (derived, deletable): keys and values of the index tables. Nothing here touches LMDB.

Every value is followed by a CRC32C of its own (``index.Transaction`` adds and checks it). Integers in keys are
big-endian so that they sort; integers in values are little-endian.

    table         key                                  value
    meta          b"state"                             State, MessagePack array
    meta          b"generation"                        u64
    meta          b"horizon"                           since when everybody has applied what: horizon_rows
    meta          b"lost" | chunk id 32                empty: its bytes are nowhere, as was accepted: losses
    meta          b"site"                              site id 16
    items         family u8 | item                     array of [site, incarnation, seq, hlc, dead, body], newest first
    names         bucket name | 0 | uid 16             empty
    counts        uid 16                               visible rows u64
    heads         uid 16 | S3 key                      see HEAD below
    versions      key id u64 | inverted order 40       role and flags u8, vid 16, change body     (newest first;
                                                       of a purge: purge_format)
    marks         site 16 | incarnation 8 | seq u64    empty: replaced before it was seen
    conflicts     uid 16 | S3 key                      losers u32, then 40-byte orders of broken conditions
    chunks        chunk id 32                          see CHUNK below
    cloud         chunk id 32 | segment 24 | slot u32 | object number u32   offset u64, encoded frame header
    objects       b"n" | number u32 / b"s" | name      flags u8 (see cloud_rows), name / number u32
    contents      object number u32 | chunk id 32      empty: a frame of the chunk lies in the object
    patches       chunk id 32 | chunk id 32            empty: a located frame of the second is a patch against the first
    dooms         site 16 | incarnation 8 | seq u64    DoomRow
    trusted       site 16                              u8: whether it waits for the current own log before it deletes
                  site 16 | incarnation 8              u8 1: the current own log
    released      chunk id 32                          u64 ms: when a need for the chunk ended last
    closed        chunk id 32                          empty: a needed page that could not be opened here yet
    segments      number u32                           kind u8, sealed u8, indexed length u64, live bytes u64
    batches       batch number u64                     see BATCH below
    seqs          incarnation 8 | first own seq u64    batch number u64
    origins       site 16 | incarnation 8              see OriginRow
    uploads       upload id                            part bytes u64, UploadRecord
    bucket_uploads uid 16 | escaped key | 0 0 | id     empty
    parts         upload id | 0 | part number u16      PartRecord
    release       b"c" | chunk id, or b"u" | upload id empty: work for the collector
    incarnations  incarnation 8                        last seq u64, last shipped seq u64: closed ones of this site

HEAD: flags u8, null count u16, key id u64, top clock u64, size u64, modified_ms u64, current order 40,
null-slot orders 40 each (greatest first), then etag, owner, checksum, storage class as UTF-8 joined by NUL.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import msgspec

from gateway.store.version_ids import ORDER_SIZE
from replication.crdt import Dot
from replication.frame_format import BASE_SIZE, FRAME_RAW_MAX, HEADER_SIZE, KIND_PAGE, FrameHeader, FrameName

INDEX_VERSION: Final = 2
TABLES: Final = (
    *("meta", "items", "names", "counts", "heads", "versions", "marks", "conflicts", "chunks", "cloud", "objects"),
    *("segments", "batches", "seqs", "origins", "uploads", "bucket_uploads", "parts", "release", "incarnations"),
    *("contents", "patches", "dooms", "trusted", "released", "closed"),
)
SCRATCH_TABLES: Final = ("found_frames", "found_batches")
"""Tables that a rebuild makes and drops: no part of the format."""


class State(msgspec.Struct, array_like=True, gc=False):
    """What the site's one writer carries from batch to batch. Replayed by recovery, so never a source of truth."""

    version: int = INDEX_VERSION
    batch: int = 0
    batch_hash: bytes = bytes(32)
    incarnation: bytes = bytes(8)
    seq: int = 0
    clock: int = 0
    generation: int = 0
    next_key: int = 1
    next_object: int = 1
    ship_total: int = 0
    shipped_n: int = 0
    shipped_seq: int = 0
    shipped_chain: bytes = bytes(32)
    shipped_total: int = 0
    open_upload_bytes: int = 0
    conflicts: int = 0
    broken: int = 0
    void_purges: int = 0
    site: bytes = b""  # empty: the one the data directory was made for


# heads ----------------------------------------------------------------------------------------------------------------

HEAD_CURRENT: Final = 1  # the key has a current version
HEAD_MARKER: Final = 2  # which is a delete marker
HEAD_CONFLICT: Final = 4  # the key has a row in ``conflicts``
HEAD_FIXED: Final = struct.Struct("<BHQQQQ40s")
NO_ORDER: Final = bytes(ORDER_SIZE)


class HeadRow(msgspec.Struct, frozen=True, gc=False):
    """A key's row in ``heads``: which version is current, its list fields, and the orders in the null slot."""

    flags: int
    key_id: int
    top_hlc: int
    size: int
    modified_ms: int
    current: bytes
    nulls: tuple[bytes, ...]
    text: str


def encode_head(row: HeadRow) -> bytes:
    """Bytes of a head."""
    fixed = HEAD_FIXED.pack(row.flags, len(row.nulls), row.key_id, row.top_hlc, row.size, row.modified_ms, row.current)
    return b"".join((fixed, *row.nulls, row.text.encode()))


def decode_head(data: bytes) -> HeadRow:
    """The head in ``data``."""
    flags, count, key_id, top, size, modified, current = HEAD_FIXED.unpack_from(data)
    start = HEAD_FIXED.size
    end = start + ORDER_SIZE * count
    nulls = (
        (data[start:end],) if count == 1 else tuple(data[at : at + ORDER_SIZE] for at in range(start, end, ORDER_SIZE))
    )
    return HeadRow(flags, key_id, top, size, modified, current, nulls, data[end:].decode())


# versions -------------------------------------------------------------------------------------------------------------

ROLE_NULL: Final = 1
ROLE_VERSION: Final = 2
ROW_DEAD: Final = 4
VERSION_FIXED: Final = struct.Struct("<B16s")
_KEY_ID: Final = struct.Struct(">Q")
_ORDER_MAX: Final = (1 << (8 * ORDER_SIZE)) - 1


class VersionRow(msgspec.Struct, frozen=True, gc=False):
    """One row of a key: a version, a null-slot sibling, or a tombstone (``ROW_DEAD``)."""

    order: bytes
    role: int
    vid: bytes
    body: bytes

    @property
    def dead(self) -> bool:
        """Whether this is a tombstone."""
        return bool(self.role & ROW_DEAD)


def invert_order(order: bytes) -> bytes:
    """Bytes that sort the other way round: newest first under ascending keys. Its own inverse."""
    return (_ORDER_MAX - int.from_bytes(order, "big")).to_bytes(ORDER_SIZE, "big")


def version_key(key_id: int, order: bytes) -> bytes:
    """Key of a row in ``versions``."""
    return _KEY_ID.pack(key_id) + invert_order(order)


def encode_version(row: VersionRow) -> bytes:
    """Bytes of a version row (its order is in its key)."""
    return VERSION_FIXED.pack(row.role, row.vid) + row.body


def decode_version(order: bytes, data: bytes) -> VersionRow:
    """The version row in ``data``."""
    role, vid = VERSION_FIXED.unpack_from(data)
    return VersionRow(order, role, vid, data[VERSION_FIXED.size :])


def pack_u64(number: int) -> bytes:
    """A sortable u64, for keys."""
    return _KEY_ID.pack(number)


def unpack_u64(data: bytes) -> int:
    """The u64 of ``pack_u64``."""
    return int.from_bytes(data[:8], "big")


# chunks ---------------------------------------------------------------------------------------------------------------

CHUNK_LOCAL: Final = 1  # a frame of it is on this site, at number/offset
CHUNK_CONDEMNED: Final = 2  # being collected or, if it is needed, known to be damaged: deduplication ignores it
CHUNK_HOLDS: Final = 4  # a page whose children it references
CHUNK_COUNTED: Final = 8  # its frame was counted into the backlog of some own change
CHUNK_EVICTED: Final = 16  # not local on purpose: segment and slot name the frame that a rebuild must not place
_CHUNK: Final = struct.Struct("<IBBBBBBIQII24sI")
_BASE: Final = struct.Struct("<32s24sI")
assert _BASE.size == BASE_SIZE


class ChunkPlace(msgspec.Struct, frozen=True, gc=False):
    """A chunk's row: how often it is referenced and, if ``local``, where its frame lies and which frame that is.

    ``kind`` is the segment's (data or log), ``frame_kind`` the frame's (data or page). ``number``/``offset`` point at
    the frame's header; the ciphertext follows it. ``segment``/``slot`` are the frame's birth.
    """

    number: int
    kind: int
    offset: int
    stored_size: int
    raw_size: int
    codec: int
    frame_kind: int
    domain: int
    segment: bytes
    slot: int
    bases: tuple[FrameName, ...]
    refcount: int
    flags: int

    @property
    def header_size(self) -> int:
        """Bytes of the frame's header, base names included."""
        return HEADER_SIZE + BASE_SIZE * len(self.bases)

    @property
    def local(self) -> bool:
        """Whether a frame of it is on this site."""
        return bool(self.flags & CHUNK_LOCAL)

    @property
    def condemned(self) -> bool:
        """Whether it is being collected: as good as absent for anyone who does not hold it already."""
        return bool(self.flags & CHUNK_CONDEMNED)


def absent_chunk(frame_kind: int, raw_size: int) -> ChunkPlace:
    """The row of a chunk of which no frame is here. (A page's ref tells the size of all below it, not its own.)"""
    raw_size = 0 if frame_kind == KIND_PAGE else min(raw_size, FRAME_RAW_MAX)
    return ChunkPlace(0, 0, 0, 0, raw_size, 0, frame_kind, 0, bytes(24), 0, (), 0, 0)


def placed_chunk(header: FrameHeader, kind: int, number: int, offset: int, refcount: int, flags: int) -> ChunkPlace:
    """The row of a chunk whose frame lies at ``offset`` of segment ``number``."""
    return ChunkPlace(
        number,
        kind,
        offset,
        header.stored_size,
        header.raw_size,
        header.codec,
        header.kind,
        header.domain,
        header.segment,
        header.slot,
        header.bases,
        refcount,
        flags | CHUNK_LOCAL,
    )


def encode_chunk(row: ChunkPlace) -> bytes:
    """Bytes of a chunk row."""
    fixed = _CHUNK.pack(
        row.refcount,
        row.flags,
        row.frame_kind,
        row.codec,
        row.domain,
        row.kind,
        len(row.bases),
        row.number,
        row.offset,
        row.stored_size,
        row.raw_size,
        row.segment,
        row.slot,
    )
    return fixed + b"".join([_BASE.pack(*base) for base in row.bases]) if row.bases else fixed


def decode_chunk(data: bytes) -> ChunkPlace:
    """The chunk row in ``data``."""
    refs, flags, frame_kind, codec, domain, kind, _, number, offset, stored, raw, segment, slot = _CHUNK.unpack_from(
        data
    )
    tail = data[_CHUNK.size :]
    bases = tuple(FrameName(*base) for base in _BASE.iter_unpack(tail)) if tail else ()
    return ChunkPlace(number, kind, offset, stored, raw, codec, frame_kind, domain, segment, slot, bases, refs, flags)


# log, segments, origins -----------------------------------------------------------------------------------------------

_BATCH: Final = struct.Struct("<IQIQIQQ")
_SEGMENT: Final = struct.Struct("<BBQQ")
CLOUD_FIXED: Final = struct.Struct("<Q")
NUMBER: Final = struct.Struct(">I")
DOT: Final = struct.Struct(">16s8sQ")


class BatchRow(NamedTuple):
    """Where a batch lies and what it adds: first own seq, how many own changes, ship bytes of all batches before."""

    segment: int
    offset: int
    length: int
    first_seq: int
    own_count: int
    ship_before: int
    time_ms: int


class SegmentRow(NamedTuple):
    """A segment: kind, whether it is sealed (never appended to again), indexed length and bytes of live frames."""

    kind: int
    sealed: int
    length: int
    live_bytes: int


class OriginRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What was taken in of a remote log, and what its writer said: acks ([site, incarnation, seq], the greatest it
    ever sent), whether the log ended, and its newest status (encoded; opaque here).
    """

    n: int = 0
    seq: int = 0
    chain: bytes = bytes(32)
    sent_ms: int = 0
    acks: tuple[tuple[bytes, bytes, int], ...] = ()
    closed: bool = False
    status: bytes = b""


class DoomRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A doom: how far it has come here (``DoomState``), when it was applied (the batch's time), which objects go."""

    state: int
    applied_ms: int
    numbers: tuple[int, ...]


def encode_batch_row(row: BatchRow) -> bytes:
    """Bytes of a batch row."""
    return _BATCH.pack(*row)


def decode_batch_row(data: bytes) -> BatchRow:
    """The batch row in ``data``."""
    return BatchRow(*_BATCH.unpack(data))


def encode_segment_row(row: SegmentRow) -> bytes:
    """Bytes of a segment row."""
    return _SEGMENT.pack(*row)


def decode_segment_row(data: bytes) -> SegmentRow:
    """The segment row in ``data``."""
    return SegmentRow(*_SEGMENT.unpack(data))


def encode_dot(dot: Dot) -> bytes:
    """Key of a dot."""
    return DOT.pack(*dot)


def frame_key(name: FrameName) -> bytes:
    """Key of a frame in ``cloud``."""
    return name.chunk_id + name.segment + name.slot.to_bytes(4, "big")


def part_key(upload_id: str, number: int) -> bytes:
    """Key of a part."""
    return upload_id.encode() + b"\0" + number.to_bytes(2, "big")


def upload_prefix(uid: bytes, key: bytes) -> bytes:
    """Prefix of a key's open uploads: sorts by key, then by upload id, even when keys hold NULs."""
    return uid + key.replace(b"\0", b"\0\1") + b"\0\0"
