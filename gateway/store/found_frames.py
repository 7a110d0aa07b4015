"""Finding every frame and every batch that the segments of a site hold, without an index: the first half of a rebuild.

Stands between segments and ``rebuild``. What it finds it keeps in scratch tables of the new index, so that memory
does not grow with the site. A frame may lie in more than one file (moved, then a crash): the higher segment number
wins. A data segment is hopped over from header to header; where one is broken, the next that holds is looked for, and
the stretch is reported.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final, NamedTuple

from gateway.store.errors import Damaged
from gateway.store.index import Index, Transaction
from gateway.store.index_format import SCRATCH_TABLES, frame_key
from gateway.store.log import FoundBatch, Log
from gateway.store.log_format import BatchHeader
from gateway.store.segment_format import KIND_DATA, SEGMENT_HEADER_SIZE
from gateway.store.segments import SegmentReader
from replication.frame_format import (
    BASE_SIZE,
    BASES_MAX,
    HEADER_SIZE,
    MAGIC,
    FrameHeader,
    FrameInvalid,
    FrameName,
    decode_header,
)

WINDOW: Final = 4 << 20
_HEADER_MAX: Final = HEADER_SIZE + BASE_SIZE * BASES_MAX
_PLACE: Final = struct.Struct("<BIQ")
_BATCH: Final = struct.Struct("<BIQQ32sII32sB32sB")
_BATCH_KEY: Final = struct.Struct(">QIQ")


class BrokenStretch(NamedTuple):
    """Bytes of a data segment in which no frame was found, though frames follow them."""

    segment: int
    start: int
    end: int


def scan_frames(
    reader: SegmentReader, segment: int, broken: list[BrokenStretch], offset: int = SEGMENT_HEADER_SIZE
) -> Iterator[tuple[FrameHeader, int]]:
    """Headers and offsets of a data segment's frames, from ``offset`` on. A tail without any is nobody's; ``broken`` is
    appended to.
    """
    size = reader.size(segment, KIND_DATA)
    while offset + HEADER_SIZE <= size:
        header = _header_at(reader, segment, offset, size)
        if header is None:
            following = _find_header(reader, segment, offset + 1, size)
            if following is None:
                return
            broken.append(BrokenStretch(segment, offset, following))
            offset = following
            continue
        yield header, offset
        offset += header.header_size + header.stored_size


class Findings:
    """Frames and batches found, in scratch tables ``found_frames`` and ``found_batches`` of an index being built."""

    def __init__(self, index: Index) -> None:
        self._frames, self._batches = map(index.open_scratch, SCRATCH_TABLES)

    def add_frame(self, transaction: Transaction, header: FrameHeader, kind: int, number: int, offset: int) -> None:
        """A frame lies here."""
        transaction.put(self._frames, frame_key(header.name), _PLACE.pack(kind, number, offset))

    def find_frame(self, transaction: Transaction, name: FrameName) -> tuple[int, int, int] | None:
        """(segment kind, number, offset) of a frame."""
        data = transaction.get(self._frames, frame_key(name))
        return None if data is None else _PLACE.unpack(data)

    def frames_of(self, transaction: Transaction, chunk_id: bytes) -> list[tuple[int, int, int]]:
        """Places of every frame of a chunk."""
        return [_PLACE.unpack(data) for _, data in transaction.scan(self._frames, chunk_id, chunk_id)]

    def add_batch(self, transaction: Transaction, batch: FoundBatch) -> None:
        """A whole batch lies here."""
        header = batch.header
        key = _BATCH_KEY.pack(header.number, batch.segment, batch.offset)
        value = _BATCH.pack(
            *(header.reader_min, header.inline_count, header.number, header.time_ms, header.previous),
            *(header.sealed_size, header.frames_size, header.frames_hash, header.version),
            *(batch.hash, batch.frames_whole),
        )
        transaction.put(self._batches, key, value)

    def find_batches(self, transaction: Transaction, number: int) -> list[FoundBatch]:
        """The batches that carry a number."""
        found = []
        prefix = number.to_bytes(8, "big")
        for key, data in transaction.scan(self._batches, prefix, prefix):
            _, segment, offset = _BATCH_KEY.unpack(key)
            *fields, batch_hash, whole = _BATCH.unpack(data)
            found.append(FoundBatch(segment, offset, BatchHeader(*fields), batch_hash, bool(whole)))
        return found

    def last_batch(self, transaction: Transaction) -> int:
        """The highest batch number found; 0 if none."""
        last = transaction.last_below(self._batches, b"\xff" * 9)
        return int.from_bytes(last[0][:8], "big") if last is not None else 0

    def drop(self, index: Index) -> None:
        """Remove the scratch tables."""
        index.drop_scratch(self._frames)
        index.drop_scratch(self._batches)


def find_log(log: Log, findings: Findings, index: Index) -> tuple[list[int], list[str]]:
    """Find all batches and their inline frames: (numbers of batches that are cut short, 0 where that cannot be
    told; what is damaged although more follows).
    """
    torn: list[int] = []
    damaged: list[str] = []
    for segment in log.segment_numbers():
        log.settle_segment(segment)
        tail = log.scan(segment)
        if tail.torn:
            torn.append(tail.torn_number)
        if tail.broken:
            damaged.append(f"log segment {segment}, offset {tail.end}: damaged, and whole batches follow")
        with index.begin_write() as transaction:
            for batch in tail.batches:
                findings.add_batch(transaction, batch)
                try:
                    for header, offset in log.inline_frames(batch):
                        findings.add_frame(transaction, header, 1, segment, offset)
                except Damaged as error:
                    damaged.append(str(error))
            transaction.commit()
    return torn, damaged


def _header_at(reader: SegmentReader, segment: int, offset: int, size: int) -> FrameHeader | None:
    try:
        header = decode_header(reader.read(segment, KIND_DATA, offset, min(_HEADER_MAX, size - offset)))
    except FrameInvalid:
        return None
    return header if offset + header.header_size + header.stored_size <= size else None


def _find_header(reader: SegmentReader, segment: int, offset: int, size: int) -> int | None:
    """Where the next frame begins at or behind ``offset``."""
    while offset + HEADER_SIZE <= size:
        window = reader.read(segment, KIND_DATA, offset, min(WINDOW, size - offset))
        at = window.find(MAGIC)
        while at >= 0:
            if _header_at(reader, segment, offset + at, size) is not None:
                return offset + at
            at = window.find(MAGIC, at + 1)
        offset += max(1, len(window) - len(MAGIC) + 1)
    return None
