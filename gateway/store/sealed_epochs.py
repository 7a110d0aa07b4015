"""Under which epochs what lies in the segments is sealed: counted from the segments themselves, alive or not.

Stands beside ``collect``, which empties what lies under retired epochs, and ``holdings``, which tells what is left. A
segment counts once for the epoch in its header (what a torn end holds was sealed under it), each frame for its own,
each log batch for its envelope's. Only headers are read. What was counted of a segment is remembered: files only grow,
so the next count reads what came since. Not counted: what a hole left at the edges of a log segment's blocks; it goes
with the segment, whose batches are of the same age.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

from gateway.store.errors import Damaged, FormatTooNew
from gateway.store.found_frames import scan_frames
from gateway.store.layout import DataDirectory
from gateway.store.log_format import BATCH_HEADER_SIZE, BatchHeader, BatchInvalid, decode_batch_header, sealed_envelope
from gateway.store.segment_format import KIND_DATA, KIND_LOG, SEGMENT_HEADER_SIZE, SegmentInvalid
from gateway.store.segments import SegmentReader
from gateway.store.shared import Shared
from replication.frame_format import BASE_SIZE, BASES_MAX, HEADER_SIZE, FrameInvalid, decode_header
from replication.sealing import ENVELOPE_SIZE, envelope_epoch

_FRAME_HEADER_MAX = HEADER_SIZE + BASE_SIZE * BASES_MAX
_KEPT_HASH_SIZE = 32


@dataclass(slots=True)
class _Seen:
    """What was counted of a segment, up to where."""

    end: int = 0
    epochs: Counter[bytes] = field(default_factory=Counter)


class SealedEpochs:
    """The count of one process. Any thread; one at a time."""

    def __init__(self, directory: DataDirectory, reader: SegmentReader, shared: Shared) -> None:
        self._directory, self._reader, self._shared = directory, reader, shared
        self._lock = threading.Lock()
        self._seen: dict[int, _Seen] = {}

    def count(self) -> Counter[bytes]:
        """How much is sealed under each epoch in all segments there are. May wait for the disk."""
        total: Counter[bytes] = Counter()
        token = self._shared.enter()
        try:
            numbers = [(number, kind) for kind in (KIND_DATA, KIND_LOG) for number in self._numbers(kind)]
            for number, kind in numbers:
                total += self.count_in(number, kind)
        finally:
            self._shared.leave(token)
        with self._lock:
            for gone in self._seen.keys() - {number for number, _ in numbers}:
                del self._seen[gone]
        return total

    def holds(self, number: int, kind: int, epochs: Collection[bytes]) -> bool:
        """Whether something in this segment is sealed under one of these."""
        return any(self.count_in(number, kind)[epoch] for epoch in epochs)

    def count_in(self, number: int, kind: int) -> Counter[bytes]:
        """How much is sealed under each epoch in this segment; nothing of one that is gone."""
        with self._lock:
            seen = self._seen.setdefault(number, _Seen())
            with suppress(Damaged, FormatTooNew):  # collected meanwhile, or cut short as it was made
                if not seen.end:
                    self._begin(seen, number, kind)
                self._go_on(seen, number, kind)
            return Counter(seen.epochs)

    def _numbers(self, kind: int) -> list[int]:
        return self._directory.segment_numbers(kind)

    def _begin(self, seen: _Seen, number: int, kind: int) -> None:
        with suppress(SegmentInvalid):  # ``verify`` names it; frames are found without it
            seen.epochs[self._reader.header(number, kind).epoch] += 1
        seen.end = SEGMENT_HEADER_SIZE

    def _go_on(self, seen: _Seen, number: int, kind: int) -> None:
        if self._reader.size(number, kind) <= seen.end:
            return
        if kind == KIND_DATA:
            for header, offset in scan_frames(self._reader, number, [], seen.end):
                seen.epochs[header.epoch] += 1
                seen.end = offset + header.header_size + header.stored_size
            return
        for batch, offset in self._batches(number, seen.end):
            for epoch in self._batch_epochs(number, batch, offset):
                seen.epochs[epoch] += 1
            seen.end = offset + batch.size

    def _batches(self, number: int, offset: int) -> Iterator[tuple[BatchHeader, int]]:
        size = self._reader.size(number, KIND_LOG)
        while offset + BATCH_HEADER_SIZE <= size:
            try:
                batch = decode_batch_header(self._reader.read(number, KIND_LOG, offset, BATCH_HEADER_SIZE))
            except BatchInvalid:
                return
            if offset + batch.size > size:
                return
            yield batch, offset
            offset += batch.size

    def _batch_epochs(self, number: int, batch: BatchHeader, offset: int) -> Iterator[bytes]:
        head = min(batch.sealed_size, _KEPT_HASH_SIZE + ENVELOPE_SIZE)
        start = self._reader.read(number, KIND_LOG, offset + BATCH_HEADER_SIZE, head)
        epoch = envelope_epoch(sealed_envelope(batch, start))
        if epoch is not None:
            yield epoch
        at, end = offset + batch.size - batch.frames_size, offset + batch.size
        while at < end:
            try:
                found = decode_header(self._reader.read(number, KIND_LOG, at, min(_FRAME_HEADER_MAX, end - at)))
            except FrameInvalid:
                return  # given back as a hole
            yield found.epoch
            at += found.header_size + found.stored_size
