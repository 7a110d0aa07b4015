"""ON DISK: the header of a segment file. What follows is frames (data segments) or log batches (log segments).

    offset size field
     0     4    magic        b"SKS1"
     4     1    version      1
     5     1    kind         0 data, 1 log
     6     2    zero
     8     4    number       as in the file's name; even for data, odd for log segments
    12     4    predecessor  the segment the same process appended to before this one; 0 if none
    16     8    predecessor_size  its final length: bytes beyond it do not count
    24     8    created_ms   unix time
    32    16    realm
    48    16    site
    64    16    epoch        id of the epoch key current when it was made (each frame names its own)
    80    24    segment_id   random
   104    20    zero
   124     4    crc32c       of bytes 0..123

All integers little-endian. Valid if: magic, version and kind are known, the number's parity is its kind's, the
checksum holds.
"""

from __future__ import annotations

import re
import struct
from typing import Final, NamedTuple

import google_crc32c

from gateway.store.errors import FormatTooNew

MAGIC: Final = b"SKS1"
SEGMENT_VERSION: Final = 1
KIND_DATA: Final = 0
KIND_LOG: Final = 1
SUFFIXES: Final = ("data", "log")
SEGMENT_HEADER_SIZE: Final = 128
NUMBER_MAX: Final = (1 << 32) - 1

_HEADER: Final = struct.Struct("<4sBBHIIQQ16s16s16s24s20sI")
_CRC_OFFSET: Final = 124
_NAME: Final = re.compile(r"(0|[1-9][0-9]{0,9})\.(data|log)")
assert _HEADER.size == SEGMENT_HEADER_SIZE


class SegmentInvalid(ValueError):
    """Bytes that are no segment header."""


class SegmentHeader(NamedTuple):
    """A segment's header; fields as in the table."""

    kind: int
    number: int
    predecessor: int
    predecessor_size: int
    created_ms: int
    realm: bytes
    site: bytes
    epoch: bytes
    segment_id: bytes


def encode_segment_header(header: SegmentHeader) -> bytes:
    """The header's 128 bytes."""
    kind, number, predecessor, predecessor_size, created_ms, realm, site, epoch, segment_id = header
    fixed = _HEADER.pack(
        *(MAGIC, SEGMENT_VERSION, kind, 0, number, predecessor, predecessor_size, created_ms),
        *(realm, site, epoch, segment_id, bytes(20), 0),
    )[:_CRC_OFFSET]
    crc: int = google_crc32c.value(fixed)
    return fixed + crc.to_bytes(4, "little")


def decode_segment_header(data: bytes | memoryview) -> SegmentHeader:
    """The header that begins ``data``; ``SegmentInvalid``, or ``FormatTooNew`` if a newer Skerry wrote it."""
    if len(data) < SEGMENT_HEADER_SIZE or data[:4] != MAGIC:
        raise SegmentInvalid("not a segment: it does not begin with a segment header")
    fields = _HEADER.unpack(data[:SEGMENT_HEADER_SIZE])
    if google_crc32c.value(bytes(data[:_CRC_OFFSET])) != fields[-1]:
        raise SegmentInvalid("segment header checksum does not hold")
    _, version, kind, _, number, predecessor, predecessor_size, created_ms, realm, site, epoch, segment_id, _, _ = (
        fields
    )
    if version > SEGMENT_VERSION:
        raise FormatTooNew(
            f"segment {number} has format {version}; this Skerry reads up to {SEGMENT_VERSION}: upgrade it"
        )
    if kind not in (KIND_DATA, KIND_LOG) or number & 1 != kind:
        raise SegmentInvalid("segment header fields are out of range")
    return SegmentHeader(kind, number, predecessor, predecessor_size, created_ms, realm, site, epoch, segment_id)


def segment_name(number: int, kind: int) -> str:
    """The file name of a segment: ``<number>.data`` or ``<number>.log``."""
    return f"{number}.{SUFFIXES[kind]}"


def parse_segment_name(name: str) -> tuple[int, int] | None:
    """(number, kind) of a segment's file name; None if it is the name of something else."""
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    number, kind = int(match[1]), SUFFIXES.index(match[2])
    return (number, kind) if number <= NUMBER_MAX and number & 1 == kind else None
