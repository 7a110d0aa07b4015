"""The change log on disk: appending a batch, reading one, and finding those that a segment holds.

Stands between ``commit``/``recover``/``replica`` and segments. Invariants: a batch is appended in one write and one
sync, under the write lock, announced in shared memory from before the write until the index has it; a failed sync
makes the whole site read-only and is never retried; what cannot be read as a whole batch is never skipped here, only
reported.
"""

from __future__ import annotations

import errno
import threading
from collections.abc import Sequence
from typing import Final, NamedTuple

import blake3

from gateway.store.errors import Damaged, DiskFull, ReadOnlyStore, StoreError
from gateway.store.layout import DataDirectory
from gateway.store.log_format import (
    BATCH_BYTES_MAX,
    BATCH_FRAMES_MAX,
    BATCH_HEADER_SIZE,
    MAGIC,
    BatchHeader,
    BatchInvalid,
    Record,
    batch_hash,
    decode_batch_header,
    encode_records,
    open_records,
    seal_batch,
)
from gateway.store.segment_format import KIND_LOG, SEGMENT_HEADER_SIZE, SegmentInvalid
from gateway.store.segments import Appender, Place, SegmentReader, sync_segment_file
from gateway.store.shared import Shared
from replication.frame_format import FrameHeader, FrameInvalid, decode_header
from replication.sealing import ENVELOPE_OVERHEAD, Keyring

FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_SEARCH_BYTES: Final = 1 << 20


class Appended(NamedTuple):
    """A batch that is durable: where it lies, its size and hash, and where its inline frames begin in the segment."""

    segment: int
    offset: int
    size: int
    hash: bytes
    frames_offset: int


class FoundBatch(NamedTuple):
    """A whole batch in a segment. ``frames_whole``: its inline frames are as they were written (they may be
    collected).
    """

    segment: int
    offset: int
    header: BatchHeader
    hash: bytes
    frames_whole: bool


class SegmentTail(NamedTuple):
    """What a scan found: whole batches, where they end, and whether anything lies behind that end.

    ``broken``: behind the end there is another batch header that holds, so something in between was damaged, not torn.
    ``torn_number``: the number of the batch that is cut short there, if its header can be read; else 0.
    """

    batches: list[FoundBatch]
    end: int
    torn: bool
    broken: bool
    torn_number: int = 0


class Log:
    """The change log of one process: its own open segment, and everyone's for reading. Appends: writer thread only."""

    def __init__(
        self, directory: DataDirectory, appender: Appender, reader: SegmentReader, keyring: Keyring, shared: Shared
    ) -> None:
        self.directory = directory
        self.keyring = keyring
        self._turn = threading.Lock()
        """Held from when the place of a batch is prepared until the batch lies there."""
        self._appender, self._reader, self._shared = appender, reader, shared

    def append(
        self, number: int, time_ms: int, previous: bytes, records: Sequence[Record], frames: Sequence[bytes]
    ) -> Appended:
        """Append one batch and make it durable. Call ``settle`` once the index has it.

        ``DiskFull``, or ``StoreError`` for what is too large to be read back: nothing of it counts. ``ReadOnlyStore``:
        whether it is durable is unknown; no more writes.
        """
        encoded = encode_records(records)
        size = BATCH_HEADER_SIZE + ENVELOPE_OVERHEAD + len(encoded) + sum(map(len, frames))
        if size > BATCH_BYTES_MAX or len(frames) > 2 * BATCH_FRAMES_MAX:
            raise StoreError(f"a batch of {size >> 20} MiB with {len(frames) // 2} frames is too large for the log")
        with self._turn:
            try:
                segment, offset = self._appender.prepare(size)
                batch = seal_batch(self.keyring, segment.segment_id, number, time_ms, previous, encoded, frames)
            except OSError as error:
                raise self._refuse(error) from error
            self._shared.begin_append(segment.number, offset, number)
            try:
                place = self._appender.append(batch.buffers)
                assert place == Place(segment.number, offset), "the log has another writer in this process"
                self._appender.sync()
            except BaseException as error:
                if isinstance(error, OSError) and error.errno in FULL:
                    self._shared.end_append()  # it is cut short there: it can never count
                raise self._refuse(error) from error
        return Appended(place.number, offset, size, batch.hash, offset + batch.frames_offset)

    def seal(self, segment: int) -> None:
        """Append no more to this segment, if it is the one appended to. Any thread."""
        with self._turn:
            self._appender.seal(segment)

    def _refuse(self, error: BaseException) -> StoreError:
        """What a failed append means. Unless the disk was just full, a whole batch may lie in the log that nobody was
        told of: giving its number to another would fork the log.
        """
        if isinstance(error, OSError) and error.errno in FULL:
            return DiskFull(f"the change log cannot grow: {error.strerror}")
        self._shared.set_read_only()
        return ReadOnlyStore(f"the change log cannot be written ({error}): no writes until restarted and verified")

    def settle(self) -> None:
        """The appended batch is in the index."""
        self._shared.end_append()

    def segment_numbers(self) -> list[int]:
        """Log segments that exist, ascending."""
        return self.directory.segment_numbers(KIND_LOG)

    def segment_size(self, segment: int) -> int:
        """Bytes of a log segment's file."""
        return self._reader.size(segment, KIND_LOG)

    def drop_cache(self, segment: int) -> None:
        """Make the next read of a segment come from the disk."""
        self._reader.drop_cache(segment, KIND_LOG)

    @property
    def in_doubt(self) -> bool:
        """Whether a sync failed somewhere: what the page cache has of the log may be nowhere else."""
        return self._shared.read_only

    def settle_segment(self, segment: int) -> None:
        """Make a segment that a dead process left durable before anything relies on it, and have it read from the
        disk: if that process' own sync failed, ours says nothing, and only the page cache has what it wrote.
        """
        self.sync_segment(segment)
        self.drop_cache(segment)

    def sync_segment(self, segment: int) -> None:
        """Make a segment that a dead process left durable."""
        try:
            sync_segment_file(self.directory, segment, KIND_LOG)
            self.directory.files.sync_directory(self.directory.segments)
        except OSError as error:
            self._shared.set_read_only()
            raise ReadOnlyStore(f"log segment {segment} cannot be synced: {error.strerror}") from error

    def scan(self, segment: int, offset: int = 0) -> SegmentTail:
        """Whole batches of a segment from ``offset`` (0: its beginning) on; ``FormatTooNew`` if one must not be read
        here.
        """
        offset = max(offset, SEGMENT_HEADER_SIZE)
        size = self.segment_size(segment)
        found: list[FoundBatch] = []
        while offset < size:
            try:
                batch = self._check_batch(segment, offset, size)
            except BatchInvalid:
                rest = self._reader.read(segment, KIND_LOG, offset, min(size - offset, BATCH_HEADER_SIZE))
                torn = bool(rest.strip(b"\0"))  # zeros are space reserved ahead
                broken = torn and self._holds_batch(segment, offset + 1, size)
                return SegmentTail(found, offset, torn, broken, _number_of(rest))
            found.append(batch)
            offset += batch.header.size
        return SegmentTail(found, offset, False, False)

    def records(self, segment: int, offset: int) -> list[Record]:
        """The records of the batch at this place; ``Damaged`` if none is there, ``SealBroken`` if it is not
        authentic.
        """
        try:
            header = decode_batch_header(self._reader.read(segment, KIND_LOG, offset, BATCH_HEADER_SIZE))
        except BatchInvalid as error:
            raise Damaged(f"log segment {segment}, offset {offset}: {error}") from error
        sealed = self._reader.read(segment, KIND_LOG, offset + BATCH_HEADER_SIZE, header.sealed_size)
        return open_records(self.keyring, self._segment_id(segment), header, sealed)

    def inline_frames(self, batch: FoundBatch) -> list[tuple[FrameHeader, int]]:
        """Headers and offsets of a batch's inline frames; empty if they are no longer there as written."""
        if not batch.frames_whole:
            return []
        start = batch.offset + BATCH_HEADER_SIZE + batch.header.sealed_size
        data = self._reader.read(batch.segment, KIND_LOG, start, batch.header.frames_size)
        found: list[tuple[FrameHeader, int]] = []
        at = 0
        while at < len(data):
            try:
                header = decode_header(memoryview(data)[at:])
            except FrameInvalid as error:
                raise Damaged(f"log segment {batch.segment}, offset {start + at}: {error}") from error
            found.append((header, start + at))
            at += header.header_size + header.stored_size
        return found

    def _segment_id(self, segment: int) -> bytes:
        try:
            return self._reader.header(segment, KIND_LOG).segment_id
        except SegmentInvalid as error:
            raise Damaged(f"log segment {segment}: {error}") from error

    def _check_batch(self, segment: int, offset: int, size: int) -> FoundBatch:
        if size - offset < BATCH_HEADER_SIZE:
            raise BatchInvalid("shorter than a batch header")
        encoded = self._reader.read(segment, KIND_LOG, offset, BATCH_HEADER_SIZE)
        header = decode_batch_header(encoded)
        if offset + header.size > size:
            raise BatchInvalid("the batch is cut short")
        envelope = self._reader.read(segment, KIND_LOG, offset + BATCH_HEADER_SIZE, header.sealed_size)
        frames_offset = offset + BATCH_HEADER_SIZE + header.sealed_size
        frames = self._reader.read(segment, KIND_LOG, frames_offset, header.frames_size) if header.frames_size else b""
        whole = blake3.blake3(frames).digest() == header.frames_hash
        return FoundBatch(segment, offset, header, batch_hash(encoded, envelope), whole)

    def _holds_batch(self, segment: int, offset: int, size: int) -> bool:
        """Whether some batch header holds behind ``offset``."""
        while offset < size:
            window = self._reader.read(segment, KIND_LOG, offset, min(_SEARCH_BYTES, size - offset))
            at = window.find(MAGIC)
            while at >= 0 and at + BATCH_HEADER_SIZE <= len(window):
                try:
                    decode_batch_header(window[at : at + BATCH_HEADER_SIZE])
                    return True
                except BatchInvalid:
                    at = window.find(MAGIC, at + 1)
            if offset + len(window) >= size:
                return False
            offset += len(window) - BATCH_HEADER_SIZE
        return False


def _number_of(data: bytes) -> int:
    """The number in a batch header; 0 if none can be read."""
    try:
        return decode_batch_header(data).number
    except BatchInvalid:
        return 0
