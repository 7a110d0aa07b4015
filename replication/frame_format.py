"""ON DISK and ON WIRE: the header of a sealed frame. A frame is one chunk, sealed once; it keeps its birth for life.

    offset size field
     0     4    magic       b"SKF1"
     4     1    codec       0 stored, 1 zstd, 2 zstd patch against the named base frames
     5     1    bases       how many base names follow the header: 0..6, not 0 only for codec 2
     6     1    kind        0 data, 1 page (a list of refs)
     7     1    domain      which chunk-id key: 0 the realm's
     8     4    slot        birth slot: the frame's ordinal in its birth segment
    12     4    stored_size ciphertext bytes, 16-byte tag included
    16     4    raw_size    plaintext bytes
    20    16    epoch       id of the epoch key
    36    24    segment     birth segment: random id of the segment it was first written to
    60    32    chunk_id    keyed BLAKE3 of the plaintext
    92    32    salt        see sealing
   124     4    crc32c      of bytes 0..123 and the base names
   128    60*n  bases       each: chunk id 32, birth segment 24, birth slot 4

All integers little-endian. The ciphertext follows at once on disk; in the cloud headers travel sealed and apart.
Valid if: magic, codec, bases and kind are known, sizes are within ``FRAME_RAW_MAX``, the checksum holds.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

import google_crc32c
import msgspec

MAGIC: Final = b"SKF1"
CODEC_STORED: Final = 0
CODEC_ZSTD: Final = 1
CODEC_PATCH: Final = 2
KIND_DATA: Final = 0
KIND_PAGE: Final = 1
BASES_MAX: Final = 6
"""A chunk cut across old boundaries lies over several old chunks: with two, what lay over a third was shipped whole."""
TAG_SIZE: Final = 16
FRAME_RAW_MAX: Final = 8 << 20
SEGMENT_ID_SIZE: Final = 24

_HEADER: Final = struct.Struct("<4sBBBBIII16s24s32s32sI")
_BASE: Final = struct.Struct("<32s24sI")
HEADER_SIZE: Final = 128
BASE_SIZE: Final = 60
CRC_OFFSET: Final = 124
SALT_OFFSET: Final = 92
SALT_SIZE: Final = 32
assert _HEADER.size == HEADER_SIZE
assert _BASE.size == BASE_SIZE


class FrameInvalid(ValueError):
    """Bytes that are no frame header."""


class FrameName(NamedTuple):
    """One exact frame: the chunk it holds and where it was born."""

    chunk_id: bytes
    segment: bytes
    slot: int


class FrameHeader(msgspec.Struct, frozen=True, gc=False):
    """A frame's header; fields as in the table."""

    codec: int
    kind: int
    domain: int
    slot: int
    stored_size: int
    raw_size: int
    epoch: bytes
    segment: bytes
    chunk_id: bytes
    salt: bytes
    bases: tuple[FrameName, ...] = ()

    @property
    def name(self) -> FrameName:
        """Which frame this is."""
        return FrameName(self.chunk_id, self.segment, self.slot)

    @property
    def header_size(self) -> int:
        """Bytes of the encoded header, base names included."""
        return HEADER_SIZE + BASE_SIZE * len(self.bases)


def salt_header(encoded: bytes, salt: bytes) -> bytes:
    """An encoded header with another salt."""
    fixed, bases = encoded[:SALT_OFFSET] + salt, encoded[HEADER_SIZE:]
    crc: int = google_crc32c.value(fixed + bases)
    return fixed + crc.to_bytes(4, "little") + bases


def encode_header(header: FrameHeader) -> bytes:
    """The header's bytes."""
    fixed = _HEADER.pack(
        MAGIC,
        header.codec,
        len(header.bases),
        header.kind,
        header.domain,
        header.slot,
        header.stored_size,
        header.raw_size,
        header.epoch,
        header.segment,
        header.chunk_id,
        header.salt,
        0,
    )[:CRC_OFFSET]
    bases = b"".join([_BASE.pack(*base) for base in header.bases])
    crc: int = google_crc32c.value(fixed + bases)
    return fixed + crc.to_bytes(4, "little") + bases


def header_size_at(data: bytes | memoryview) -> int:
    """How many bytes the header that begins ``data`` (at least 6 bytes) has; ``FrameInvalid`` if none begins there."""
    if data[:4] != MAGIC or data[5] > BASES_MAX:
        raise FrameInvalid("no frame begins here")
    return HEADER_SIZE + BASE_SIZE * data[5]


def decode_header(data: bytes | memoryview) -> FrameHeader:
    """The header that begins ``data`` (which may go on behind it); ``FrameInvalid`` otherwise."""
    if len(data) < HEADER_SIZE:
        raise FrameInvalid("shorter than a frame header")
    size = header_size_at(data)
    if len(data) < size:
        raise FrameInvalid("shorter than its base names")
    fields = _HEADER.unpack(data[:HEADER_SIZE])
    _, codec, count, kind, domain, slot, stored, raw, epoch, segment, chunk_id, salt, crc = fields
    tail = bytes(data[HEADER_SIZE:size])
    if google_crc32c.value(bytes(data[:CRC_OFFSET]) + tail) != crc:
        raise FrameInvalid("frame header checksum does not hold")
    if (
        codec > CODEC_PATCH
        or kind > KIND_PAGE
        or raw > FRAME_RAW_MAX
        or not TAG_SIZE <= stored <= FRAME_RAW_MAX + TAG_SIZE
        or (codec == CODEC_PATCH) != (count > 0)
    ):
        raise FrameInvalid("frame header fields are out of range")
    bases = tuple(FrameName(*base) for base in _BASE.iter_unpack(tail))
    return FrameHeader(codec, kind, domain, slot, stored, raw, epoch, segment, chunk_id, salt, bases)
