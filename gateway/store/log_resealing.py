"""Sealing the change log anew: a segment's batches go to another segment, under the current epoch.

Stands beside ``collect``, which has moved the live inline frames away first, and removes the old file when nobody looks
into it any more. A batch keeps its number, its time and its hash (``log_format``, version 2), so that the chain of the
log stays what it is, whichever copy a reader finds. The new file gets its name only when it is whole and durable: a
power cut leaves a file without a name that counts, or two with the same batches, of which either will do. The rows that
say where batches lie are swung like those of frames. What of the old file is no part of the log (twins given up, a torn
end) goes with it: the index vouches for where its batches end.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

from gateway.store.chunk_rows import put_segment, read_segment
from gateway.store.decision import Decision
from gateway.store.errors import Damaged
from gateway.store.files import TEMPORARY_SUFFIX
from gateway.store.index_format import SegmentRow
from gateway.store.layout import DataDirectory
from gateway.store.log import FoundBatch, Log
from gateway.store.log_format import RESEALED_VERSION, reseal_batch
from gateway.store.log_rows import move_batch, read_batch_row
from gateway.store.segment_format import (
    KIND_LOG,
    SEGMENT_HEADER_SIZE,
    SegmentHeader,
    encode_segment_header,
    segment_name,
)
from gateway.store.segments import SEGMENT_ID_SIZE, write_error
from gateway.store.shared import Shared
from gateway.store.views import ViewContext
from replication.sealing import SealBroken

ROWS_AT_ONCE: Final = 1024
APPEND_BYTES: Final = 1 << 20


class _Copy(NamedTuple):
    """A batch sealed anew: its number, and where it lay and lies."""

    number: int
    before: int
    offset: int
    size: int


class LogResealer:
    """Seals log segments anew, for the one collector of a site."""

    def __init__(
        self,
        directory: DataDirectory,
        log: Log,
        shared: Shared,
        view: Callable[[], ViewContext],
        commit: Callable[[Callable[[Decision], Any]], Any],
    ) -> None:
        self._directory, self._log, self._shared = directory, log, shared
        self._view, self._commit = view, commit

    def reseal(self, segment: int) -> bool:
        """Have every batch of a segment that nobody appends to lie elsewhere, sealed anew: whether nothing of the log
        is left in it. ``Damaged`` if its batches cannot all be read; the disk's errors.
        """
        self._commit(lambda decision: None)  # takes in what a process was appending there when it died
        self._remove_leftovers()
        tail = self._log.scan(segment)
        with self._view() as view:
            newest, row = view.state().batch, read_segment(view.transaction, segment)
            known = [batch for batch in tail.batches if self._lies_there(view, batch)]
        if any(batch.header.number > newest for batch in tail.batches):
            return False
        if tail.broken or (row is not None and row.length > tail.end):
            raise Damaged(f"log segment {segment} is damaged at offset {tail.end}: it cannot be sealed anew")
        if known:
            self._move(segment, known)
        return True

    def _lies_there(self, view: Any, batch: FoundBatch) -> bool:
        row = read_batch_row(view.transaction, batch.header.number)
        return row is not None and (row.segment, row.offset) == (batch.segment, batch.offset)

    def _move(self, segment: int, known: Sequence[FoundBatch]) -> None:
        try:
            number, length, copies = self._write(known)
        except OSError as error:
            raise write_error(error) from error

        def swing(decision: Decision, some: Sequence[_Copy]) -> None:
            transaction = decision.edit_index().transaction
            put_segment(transaction, number, SegmentRow(KIND_LOG, 0, length, 0))
            for copy in some:
                move_batch(transaction, copy.number, (segment, copy.before), (number, copy.offset, copy.size))

        for start in range(0, len(copies), ROWS_AT_ONCE):
            self._commit(partial(swing, some=copies[start : start + ROWS_AT_ONCE]))

    def _write(self, known: Sequence[FoundBatch]) -> tuple[int, int, list[_Copy]]:
        """A new log segment with these batches: its number, its length, and where they lie; durable on return."""
        directory, files, keyring = self._directory, self._directory.files, self._log.keyring
        for number in directory.claim_number(KIND_LOG):
            path = self._unfinished(number)
            header = SegmentHeader(
                *(KIND_LOG, number, 0, 0, time.time_ns() // 1_000_000),
                *(directory.realm, directory.site, keyring.current, os.urandom(SEGMENT_ID_SIZE)),
            )
            copies, end = [], SEGMENT_HEADER_SIZE
            buffers, start = [encode_segment_header(header)], 0
            fd = files.create(path)
            try:
                for batch in known:
                    try:
                        records = self._log.records(batch.segment, batch.offset)
                    except SealBroken as error:
                        raise Damaged(f"log segment {batch.segment}, offset {batch.offset}: {error}") from error
                    data = reseal_batch(keyring, header.segment_id, batch.header, batch.hash, records)
                    copies.append(_Copy(batch.header.number, batch.offset, end, len(data)))
                    buffers.append(data)
                    end += len(data)
                    if end - start >= APPEND_BYTES:
                        files.append(fd, start, buffers)
                        buffers, start = [], end
                files.append(fd, start, buffers)
                files.fdatasync(fd)
            except BaseException:
                files.unlink(path)
                raise
            finally:
                files.close(fd)
            try:
                files.link(path, directory.segment_path(number, KIND_LOG))
            except FileExistsError:
                continue  # a process began a segment of its own meanwhile
            finally:
                files.unlink(path)
            files.sync_directory(directory.segments)
            return number, end, copies
        raise AssertionError("segment numbers do not run out")

    def _unfinished(self, number: int) -> Path:
        return self._directory.segments / (segment_name(number, KIND_LOG) + TEMPORARY_SUFFIX)

    def _remove_leftovers(self) -> None:
        """Remove what an interrupted call wrote and no row points at."""
        directory = self._directory
        names = directory.files.list_directory(directory.segments)
        for name in names:
            if name.endswith(TEMPORARY_SUFFIX):
                directory.files.unlink(directory.segments / name)
        open_segments = self._shared.open_segments()
        for segment in directory.segment_numbers(KIND_LOG)[:-1]:
            with self._view() as view:
                if segment in open_segments or read_segment(view.transaction, segment) is not None:
                    continue
            batches = self._log.scan(segment).batches
            if batches and all(batch.header.version == RESEALED_VERSION for batch in batches):
                directory.files.unlink(directory.segment_path(segment, KIND_LOG))
                directory.files.sync_directory(directory.segments)
                self._shared.count_unlinked()
