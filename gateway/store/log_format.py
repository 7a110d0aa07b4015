"""ON DISK: a batch of the change log, and the records in it. Batches follow one another in log segments.

    offset size field
     0     4    magic         b"SKB1"
     4     1    version       1; 2: sealed anew (under a later epoch, for another segment)
     5     1    reader_min    lowest reader version that may apply it: the version
     6     2    inline_count  frames that follow the envelope
     8     8    number        dense over the site, from 1, whichever process' segment holds the batch
    16     8    time_ms       unix time of the commit
    24    32    previous      BLAKE3 of the previous batch's header and envelope (zeros before batch 1)
    56     4    sealed_size   bytes of the envelope; of version 2, of the kept hash and the envelope
    60     4    frames_size   bytes of the inline frames behind it
    64    32    frames_hash   BLAKE3 of the inline frames' bytes
    96     4    crc32c        of bytes 0..95
   100     ..   envelope      PURPOSE_LOCAL_LOG, context = segment id 24 | number u64: a MessagePack array of records
    ..     ..   inline frames (header, ciphertext), as in data segments

Version 2, which ``rekey`` makes, begins the sealed part with the 32-byte hash that the batch had when it was first
written: the next batch names that one. The hash is bound into the envelope's context, behind the number. No inline
frames: what is needed of them was moved to data segments.

All integers little-endian. Records are arrays that begin with their tag; fields are only ever added at the end, with
defaults; tags are never reused. A tag this reader does not know is ``FormatTooNew``: it never skips.

    1 Own            change, ship_bytes                        a local change, with its place in the backlog
    2 Imported       site, incarnation, changes                remote changes as received
    3 Pulled         site, incarnation, n, seq, chain, acks, sent_ms, located, closed, status
    4 Shipped        n, seq, chain, located, ship_total
    5 UploadOpened   record        6 PartStored  upload id, record        7 UploadClosed  upload id
    8 Incarnation    site, incarnation
    9 Placed         [[segment number, offset, header], …]     frames of data segments referenced from here on
   10 Evicted        [[chunk id, birth segment, slot, size], …]   these frames are given up: the cloud has the chunks
   11 JoinBegun      site, incarnation, n, made_ms, vector, targets   a checkpoint is joined from here on (state_fold);
                     vector: [[site, incarnation, n, seq, chain, sent_ms, acks, closed, status], …]
   12 Folded         number, slice (slice_format)         13 JoinDone        14 JoinOver
   15 Subscribed     patterns                                 which buckets are taken in from here on
   16 Lost           [[chunk id, birth segment, slot, size], …]   these chunks are nowhere, as was accepted
   20 DoomStep       site, incarnation, seq, state              how far a doom has come here
   21 Trusted        sites                                      what they have in the cloud may be relied on
   22 StableCut      since_ms, cut, resting_on                  everybody had applied this much by then (tombstones)
   30 Parted         site, incarnation, n, seq, chain, known_seq, named_seq, reason   the log parted from the cloud's
   31 Anew           change, ship_bytes, site, incarnation, seq, stands               an own change, issued once more

A batch is whole if its checksum, its frames' hash and its envelope hold. What lies behind the last whole batch of a
segment is a torn tail (or was never acknowledged).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

import blake3
import google_crc32c
import msgspec

from gateway.store.errors import Damaged, FormatTooNew
from replication.ports import Origin
from replication.sealing import PURPOSE_LOCAL_LOG, Keyring, open_envelope, seal_envelope

MAGIC: Final = b"SKB1"
LOG_VERSION: Final = 1
RESEALED_VERSION: Final = 2
READER_VERSION: Final = 2
_HASH_SIZE: Final = 32
_HEADER: Final = struct.Struct("<4sBBHQQ32sII32sI")
BATCH_HEADER_SIZE: Final = 100
_CRC_OFFSET: Final = 96
assert _HEADER.size == BATCH_HEADER_SIZE
BATCH_BYTES_MAX: Final = 1 << 30
BATCH_FRAMES_MAX: Final = 0xFFFF


class BatchInvalid(ValueError):
    """Bytes that are no whole batch: a torn tail, or damage; where it lies decides which."""


class Own(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=1):
    """A change of this site. ``ship_bytes``: what it added to the backlog (new frames' ciphertext and the change)."""

    change: bytes
    ship_bytes: int


class Imported(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=2):
    """Changes of a remote log, dense in seq, as received."""

    site: bytes
    incarnation: bytes
    changes: tuple[bytes, ...]


class Located(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A frame in the cloud: encoded header, object name, offset of its ciphertext."""

    header: bytes
    object_name: str
    offset: int


class Pulled(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=3):
    """A remote log was taken in up to batch ``n``."""

    site: bytes
    incarnation: bytes
    n: int
    seq: int
    chain: bytes
    acks: tuple[tuple[bytes, bytes, int], ...] = ()
    sent_ms: int = 0
    located: tuple[Located, ...] = ()
    closed: bool = False
    status: bytes = b""


class Shipped(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=4):
    """The own log was shipped up to batch ``n``; ``ship_total`` sums ``ship_bytes`` of everything up to ``seq``."""

    n: int
    seq: int
    chain: bytes
    located: tuple[Located, ...]
    ship_total: int


class UploadOpened(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=5):
    """A multipart upload began: an ``UploadRecord``."""

    record: bytes


class PartStored(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=6):
    """A part was stored or replaced: a ``PartRecord``."""

    upload_id: str
    record: bytes


class UploadClosed(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=7):
    """A multipart upload was completed or aborted."""

    upload_id: str


class Incarnation(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=8):
    """From here on own changes carry this incarnation, and count from 1."""

    site: bytes
    incarnation: bytes


class Placed(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=9):
    """Frames in data segments: (segment number, offset, encoded header)."""

    frames: tuple[tuple[int, int, bytes], ...]


class Evicted(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=10):
    """Frames given up, because the cloud was verified to have their chunks: (chunk id, birth, plaintext size)."""

    frames: tuple[tuple[bytes, bytes, int, int], ...]


class Lost(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=16):
    """Chunks whose bytes are nowhere, as an operator accepted (``losses``), with the frames that were given up; a birth
    of zeros where there was none: (chunk id, birth, plaintext size).
    """

    frames: tuple[tuple[bytes, bytes, int, int], ...]


class Parted(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=30):
    """From here on own changes carry this site and incarnation, and count from 1. The former log, a remote one now, was
    taken in up to batch ``n``, change ``seq``; own changes up to ``known_seq`` stand in the cloud as they stand here,
    those above it up to ``named_seq`` did once. ``reason``: for people.
    """

    site: bytes
    incarnation: bytes
    n: int
    seq: int
    chain: bytes
    known_seq: int
    named_seq: int
    reason: str


class Anew(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=31):
    """An own change that was made before under the dot (site, incarnation, seq): here, and only here, it takes that
    one's place if it ``stands``. Elsewhere the old dot may be another change's.
    """

    change: bytes
    ship_bytes: int
    site: bytes
    incarnation: bytes
    seq: int
    stands: bool


class VectorRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How far one log was taken in by who wrote the checkpoint, and what its writer had said: as in ``Pulled``."""

    site: bytes
    incarnation: bytes
    n: int
    seq: int
    chain: bytes
    sent_ms: int = 0
    acks: tuple[tuple[bytes, bytes, int], ...] = ()
    closed: bool = False
    status: bytes = b""

    @property
    def origin(self) -> Origin:
        """Which log."""
        return (self.site, self.incarnation)


class JoinBegun(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=11):
    """A checkpoint (whose, which, made when) is joined from here on; its vector, and ``targets``: how far each log must
    be taken in besides ([site, incarnation, n]) before this site knows all that the checkpoint may show.
    """

    site: bytes
    incarnation: bytes
    n: int
    made_ms: int
    vector: tuple[VectorRow, ...]
    targets: tuple[tuple[bytes, bytes, int], ...] = ()


class Folded(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=12):
    """The next slice of the checkpoint, as it came: its number from 0, its bytes (``slice_format``)."""

    number: int
    data: bytes


class Subscribed(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=15):
    """Which buckets are to be taken in from here on (``replication/subscription``); none: all of the realm."""

    patterns: tuple[str, ...]


class JoinDone(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=13):
    """Every slice is joined: logs count as taken in up to the checkpoint's vector."""


class JoinOver(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=14):
    """The logs are taken in as far as ``targets`` asked."""


class DoomStep(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=20):
    """A doom, named by its dot, has come so far on this site: ``replication.collection_ports.DoomState``."""

    site: bytes
    incarnation: bytes
    seq: int
    state: int


class Trusted(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=21):
    """These sites wait for the current own log before they delete anything."""

    sites: tuple[bytes, ...]


class StableCut(msgspec.Struct, array_like=True, frozen=True, gc=False, tag=22):
    """Changes up to ``cut``, and what they are ``resting_on``, had been applied by everybody at ``since_ms`` (trusted
    time, unix ms). Both: [site, incarnation, seq] for each log.
    """

    since_ms: int
    cut: tuple[tuple[bytes, bytes, int], ...]
    resting_on: tuple[tuple[bytes, bytes, int], ...]


Record = (
    Own
    | Imported
    | Pulled
    | Shipped
    | UploadOpened
    | PartStored
    | UploadClosed
    | Incarnation
    | Placed
    | Evicted
    | Lost
    | JoinBegun
    | Folded
    | JoinDone
    | JoinOver
    | Subscribed
    | DoomStep
    | Trusted
    | StableCut
    | Parted
    | Anew
)
_TAGS: Final = frozenset((*range(1, 17), 20, 21, 22, 30, 31))
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[Record])
_tags_decoder = msgspec.msgpack.Decoder(list[list[object]])


class BatchHeader(NamedTuple):
    """A batch's plain header; fields as in the table."""

    reader_min: int
    inline_count: int
    number: int
    time_ms: int
    previous: bytes
    sealed_size: int
    frames_size: int
    frames_hash: bytes
    version: int = LOG_VERSION

    @property
    def size(self) -> int:
        """Bytes of the whole batch."""
        return BATCH_HEADER_SIZE + self.sealed_size + self.frames_size


class SealedBatch(NamedTuple):
    """An encoded batch: the buffers to append, its hash (the next one's ``previous``), and where its frames begin."""

    buffers: list[bytes]
    hash: bytes
    frames_offset: int
    size: int


def encode_records(records: Sequence[Record]) -> bytes:
    """Plaintext of a batch's envelope."""
    return _encoder.encode(records)


def seal_batch(
    keyring: Keyring,
    segment_id: bytes,
    number: int,
    time_ms: int,
    previous: bytes,
    encoded: bytes,
    frames: Sequence[bytes],
) -> SealedBatch:
    """Seal encoded records into a batch for the segment it will lie in. ``frames``: header and ciphertext, in turn."""
    envelope = seal_envelope(keyring, PURPOSE_LOCAL_LOG, _context(segment_id, number), encoded)
    joined = b"".join(frames)  # hashed and written in one piece: four times as fast as one by one
    header = _encode_header(LOG_VERSION, len(frames) // 2, number, time_ms, previous, len(envelope), joined)
    buffers = [header, envelope, joined]
    return SealedBatch(buffers, batch_hash(header, envelope), len(header) + len(envelope), sum(map(len, buffers)))


def reseal_batch(
    keyring: Keyring, segment_id: bytes, header: BatchHeader, kept: bytes, records: Sequence[Record]
) -> bytes:
    """The batch as it will lie in another segment, under the current epoch, without inline frames; ``kept``: its hash
    so far, which stays its hash.
    """
    context = _context(segment_id, header.number) + kept
    sealed = kept + seal_envelope(keyring, PURPOSE_LOCAL_LOG, context, encode_records(records))
    encoded = _encode_header(RESEALED_VERSION, 0, header.number, header.time_ms, header.previous, len(sealed), b"")
    return encoded + sealed


def _encode_header(
    version: int, count: int, number: int, time_ms: int, previous: bytes, sealed_size: int, frames: bytes
) -> bytes:
    """A batch's header; a version is read by readers of that version and later ones."""
    fixed = _HEADER.pack(
        *(MAGIC, version, version, count, number, time_ms, previous),
        *(sealed_size, len(frames), blake3.blake3(frames).digest(), 0),
    )[:_CRC_OFFSET]
    crc: int = google_crc32c.value(fixed)
    return fixed + crc.to_bytes(4, "little")


def batch_hash(header: bytes, sealed: bytes) -> bytes:
    """What the next batch names this one by: BLAKE3 of header and envelope, or what that was before it was sealed anew.

    The kept one is authentic if the records open.
    """
    if header[4] == RESEALED_VERSION:
        return sealed[:_HASH_SIZE]
    return blake3.blake3(header).update(sealed).digest()


def sealed_envelope(header: BatchHeader, sealed: bytes) -> bytes:
    """The envelope in a batch's sealed part."""
    return sealed[_HASH_SIZE:] if header.version == RESEALED_VERSION else sealed


def decode_batch_header(data: bytes) -> BatchHeader:
    """The header that begins ``data``; ``BatchInvalid`` if none does, ``FormatTooNew`` if it must not be applied
    here.
    """
    if len(data) < BATCH_HEADER_SIZE or data[:4] != MAGIC:
        raise BatchInvalid("no batch begins here")
    _, version, reader_min, count, number, time_ms, previous, sealed, frames, frames_hash, crc = _HEADER.unpack(
        data[:BATCH_HEADER_SIZE]
    )
    if google_crc32c.value(data[:_CRC_OFFSET]) != crc:
        raise BatchInvalid("batch header checksum does not hold")
    if reader_min > READER_VERSION:
        raise FormatTooNew(f"log batch {number} needs reader version {reader_min}: upgrade this site")
    if number < 1 or sealed + frames > BATCH_BYTES_MAX:
        raise BatchInvalid("batch header fields are out of range")
    return BatchHeader(reader_min, count, number, time_ms, previous, sealed, frames, frames_hash, version)


def open_records(keyring: Keyring, segment_id: bytes, header: BatchHeader, sealed: bytes) -> list[Record]:
    """The records of a batch, from its sealed part; ``SealBroken`` if the envelope does not authenticate,
    ``FormatTooNew`` for unknown ones.
    """
    number = header.number
    kept = sealed[:_HASH_SIZE] if header.version == RESEALED_VERSION else b""
    context = _context(segment_id, number) + kept
    plaintext = open_envelope(keyring, PURPOSE_LOCAL_LOG, context, sealed_envelope(header, sealed))
    try:
        return _decoder.decode(plaintext)
    except msgspec.MsgspecError as error:
        try:
            tags = {record[0] for record in _tags_decoder.decode(plaintext)}
        except (msgspec.MsgspecError, IndexError):
            raise Damaged(f"log batch {number} holds no records: {error}") from error
        unknown = [tag for tag in tags if tag not in _TAGS]
        if unknown:
            raise FormatTooNew(f"log batch {number} holds records of kind {unknown[0]}: upgrade this site") from error
        raise Damaged(f"log batch {number} holds a broken record: {error}") from error


def _context(segment_id: bytes, number: int) -> bytes:
    return segment_id + number.to_bytes(8, "little")
