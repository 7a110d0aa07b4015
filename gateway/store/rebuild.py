"""Rebuilding the index from the segments alone: place what lies in them, then apply every batch of the log again.

Stands between ``recover`` (which chains and applies batches) and opening a store without a usable index, or ``skerry
rebuild-index``. The new index grows beside the old one and takes its place only when it is whole, so an interrupted
rebuild leaves nothing half done. No other process may have the store open.

Frames are placed where they lie now, by their names: the log says which frame became a chunk's local one, and frames
that are gone by now (collected) are passed over; what was hydrated, or moved out of a log segment whose frames were
given back, which no log tells, is found afterwards; what was evicted stays away. Of two copies of a frame the newer
counts if it is whole (a crash may have left half a copy). A gap or damage in the log is ``Damaged``. If the log's end
is torn and no index vouches for it, what was cut may have been shipped: the site takes a new incarnation at once and
issues anew what was not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.store.apply import Applier, FramePlace
from gateway.store.chunk_rows import ChunkRows, OpenPages, put_segment
from gateway.store.decision import Decision
from gateway.store.errors import Damaged
from gateway.store.found_frames import BrokenStretch, Findings, find_log, scan_frames
from gateway.store.index import MAP_SIZE_DEFAULT, Index, IndexOutdated, IndexUnreadable, Transaction
from gateway.store.index_doubt import clear_mark
from gateway.store.index_format import CHUNK_EVICTED, CHUNK_HOLDS, ChunkPlace, SegmentRow, decode_chunk
from gateway.store.layout import DataDirectory
from gateway.store.log import FoundBatch, Log
from gateway.store.log_rows import read_batch_row
from gateway.store.own_changes import take_incarnation
from gateway.store.rebuilt_pages import RebuiltPages
from gateway.store.recover import apply_batch, chain_batches, is_authentic
from gateway.store.release_queue import drain_some
from gateway.store.segment_format import KIND_DATA
from gateway.store.segments import SegmentReader, sync_segment_file
from gateway.store.staging import Staging
from gateway.store.views import ConfigurationCache
from replication.frame_format import (
    BASE_SIZE,
    BASES_MAX,
    HEADER_SIZE,
    KIND_PAGE,
    FrameHeader,
    FrameName,
    decode_header,
)
from replication.sealing import SealBroken, open_frame

BATCHES_AT_ONCE: Final = 512
CHUNKS_AT_ONCE: Final = 4096
_SCRATCH_NAME: Final = "index-rebuild"
_INDEX_FILES: Final = ("data.mdb", "lock.mdb")
_HEADER_MAX: Final = HEADER_SIZE + BASE_SIZE * BASES_MAX
Progress = Callable[[str, int, int], None]
"""Told (what, done, of how many)."""


class Rebuilt(NamedTuple):
    """What a rebuild found. ``torn``: the log may end in a batch cut short: the site has a new incarnation."""

    batches: int
    frames: int
    torn: bool
    broken: tuple[BrokenStretch, ...]


def rebuild_index(
    directory: DataDirectory,
    log: Log,
    reader: SegmentReader,
    open_pages: OpenPages,
    *,
    map_size: int = MAP_SIZE_DEFAULT,
    from_disk: bool = False,
    is_doubtful: bool = False,
    progress: Progress = lambda what, done, total: None,
) -> Rebuilt:
    """Build a new index and put it in the old one's place. ``Damaged`` if the log is not whole: the old one stays.

    ``is_doubtful``: the old one must not even be opened to ask how far the log went.
    """
    known = 0 if is_doubtful else _committed_batch(directory, map_size)
    scratch = directory.path / _SCRATCH_NAME
    _clear(directory, _SCRATCH_NAME)
    if not directory.files.is_directory(scratch):
        directory.files.make_directory(scratch)
    index = Index(scratch, map_size)
    try:
        rebuilt = _Rebuild(directory, log, reader, open_pages, index, progress).run(from_disk, known)
        index.sync()
    finally:
        index.close()
    _swap(directory)
    return rebuilt


class _Rebuild:
    """One rebuild into an empty index."""

    def __init__(
        self,
        directory: DataDirectory,
        log: Log,
        reader: SegmentReader,
        open_pages: OpenPages,
        index: Index,
        progress: Progress,
    ) -> None:
        self._directory, self._log, self._reader = directory, log, reader
        self._findings = Findings(index)
        self._open_pages = RebuiltPages(open_pages, log, self._findings, index)
        self._index, self._progress = index, progress
        self._broken: list[BrokenStretch] = []

    def run(self, from_disk: bool, known_batch: int) -> Rebuilt:
        """Find, apply, fill in what the log does not tell."""
        frames = self._find_frames(from_disk)
        torn, damaged = find_log(self._log, self._findings, self._index)
        if damaged:
            raise Damaged("; ".join(damaged))
        batches, cut = self._apply_all()
        if batches < known_batch:
            raise Damaged(
                f"the log ends with batch {batches}, but batch {known_batch} was acknowledged: restore its segments, "
                "or delete the index to go on without what is lost"
            )
        self._settle()
        self._release()
        if cut or any(number == 0 or number > batches for number in torn):
            self._take_incarnation()
            cut = True
        self._findings.drop(self._index)
        return Rebuilt(batches, frames, cut, tuple(self._broken))

    def _take_incarnation(self) -> None:
        """No sequence number may be used twice: go on under a new incarnation, durable in the log before it is used."""
        with self._index.begin_write() as transaction:
            state = transaction.load_state()
            last = read_batch_row(transaction, state.batch)
            time_ms = last.time_ms if last is not None else 0
            applier = Applier(transaction, self._directory.site, state, self._open_pages)
            decision = Decision(applier, Staging(), time_ms, ConfigurationCache(), state.generation)
            take_incarnation(decision, self._log, self._directory.site)
            appended = self._log.append(state.batch + 1, time_ms, state.batch_hash, decision.log_records(), [])
            applier.finish_batch(appended.segment, appended.offset, appended.size, appended.hash, time_ms)
            transaction.commit()
            self._log.settle()

    def _find_frames(self, from_disk: bool) -> int:
        numbers = self._directory.segment_numbers(KIND_DATA)
        count = 0
        self._directory.files.sync_directory(self._directory.segments)
        for done, number in enumerate(numbers):
            self._progress("segments", done, len(numbers))
            # The index must not rely on what a dead process left in the page cache: a copy of a frame, for instance.
            sync_segment_file(self._directory, number, KIND_DATA)
            if from_disk:
                self._reader.drop_cache(number, KIND_DATA)
            with self._index.begin_write() as transaction:
                for header, offset in scan_frames(self._reader, number, self._broken):
                    copied = self._findings.find_frame(transaction, header.name) is not None
                    if not copied or self._is_whole(header, KIND_DATA, number, offset):
                        self._findings.add_frame(transaction, header, KIND_DATA, number, offset)
                    count += 1
                length = self._reader.size(number, KIND_DATA)
                put_segment(transaction, number, SegmentRow(KIND_DATA, 1, length, 0))
                transaction.commit()
        return count

    def _apply_all(self) -> tuple[int, bool]:
        """Apply the chain of batches: how many, and whether the last one found had to be left out."""
        with self._index.begin_read() as transaction:
            last = self._findings.last_batch(transaction)
        done = 0
        while done < last:
            self._progress("batches", done, last)
            with self._index.begin_write() as transaction:
                applied = self._apply_some(transaction, done, last)
                transaction.commit()
            if applied == done:
                return done, True
            done = applied
        return done, False

    def _apply_some(self, transaction: Transaction, done: int, last: int) -> int:
        state = transaction.load_state()
        applier = Applier(transaction, self._directory.site, state, self._open_pages)

        def relocate(name: FrameName, place: FramePlace) -> FramePlace | None:
            return self._findings.find_frame(transaction, name)

        applier.relocate = relocate

        def find(number: int) -> list[FoundBatch]:
            return self._findings.find_batches(transaction, number)

        def genuine(batch: FoundBatch) -> bool:
            return is_authentic(self._log, batch)

        for batch in chain_batches(find, last, done, state.batch_hash, genuine):
            if batch.header.number == last and not genuine(batch):
                break
            apply_batch(applier, self._log, batch)
            if batch.header.number == done + BATCHES_AT_ONCE:
                break
        return state.batch

    def _settle(self) -> None:
        """Do what the log alone does not tell: place what came from the cloud or was moved out of the log, and open
        pages that could not be opened before.

        Either makes other chunks needed, before or behind in the table: it goes over all until nothing changes. A page
        left closed would leave what it lists to the collector.
        """
        while True:
            while self._settle_once():
                pass
            # Only now: a base may be among what was just placed, or be needed although it was evicted.
            if not self._bring_bases() and not self._take_away_unreadable():
                return

    def _bring_bases(self) -> bool:
        """Place what local patches lack and some segment still holds: whether there was any."""
        changed = False
        with self._index.begin_write() as transaction:
            applier = Applier(transaction, self._directory.site, transaction.load_state(), self._open_pages)
            tables, after = transaction.tables, b""
            while found := transaction.first(tables.chunks, after):
                after = found[0] + b"\0"
                row = decode_chunk(found[1])
                if row.refcount and row.local:
                    missing = [base for base in row.bases if not _is_whole_here(applier.chunks, base)]
                    brought = [self._bring_base(transaction, applier.chunks, base) for base in missing]
                    changed = changed or any(brought)
            applier.chunks.flush()
            transaction.save_state(applier.state)
            transaction.commit()
        return changed

    def _take_away_unreadable(self) -> bool:
        """Patches of a former life of their chunk, whose bases were collected, are not here: whether there were any."""
        changed = False
        with self._index.begin_write() as transaction:
            applier = Applier(transaction, self._directory.site, transaction.load_state(), self._open_pages)
            tables, after = transaction.tables, b""
            while found := transaction.first(tables.chunks, after):
                chunk_id, data = found
                after = chunk_id + b"\0"
                row = decode_chunk(data)
                if row.refcount and row.local and not all(_is_whole_here(applier.chunks, base) for base in row.bases):
                    applier.chunks.take_away(chunk_id, row)
                    changed = True
            applier.chunks.flush()
            transaction.save_state(applier.state)
            transaction.commit()
        return changed

    def _settle_once(self) -> bool:
        changed = False
        with self._index.begin_write() as transaction:
            applier = Applier(transaction, self._directory.site, transaction.load_state(), self._open_pages)
            tables, after = transaction.tables, b""
            while found := transaction.first(tables.chunks, after):
                chunk_id, data = found
                after = chunk_id + b"\0"
                row = decode_chunk(data)
                if row.refcount and not row.local:
                    changed = self._place_found(transaction, applier.chunks, chunk_id, row) or changed
                elif row.refcount and row.frame_kind == KIND_PAGE and not row.flags & CHUNK_HOLDS:
                    changed = applier.chunks.hold_children(chunk_id) or changed
            applier.chunks.flush()
            transaction.save_state(applier.state)
            transaction.commit()
        return changed

    def _release(self) -> None:
        """Drop what nothing needs before anyone may find it: a dead patch or page may still lie in some segment
        although its base or its children were collected, and must not be deduplicated against.
        """
        left = True
        while left:
            with self._index.begin_write() as transaction:
                applier = Applier(transaction, self._directory.site, transaction.load_state(), self._open_pages)
                left = drain_some(transaction, applier.chunks, CHUNKS_AT_ONCE)
                applier.chunks.flush()
                transaction.save_state(applier.state)
                transaction.commit()

    def _place_found(self, transaction: Transaction, chunks: ChunkRows, chunk_id: bytes, row: ChunkPlace) -> bool:
        """Make the newest usable frame of a chunk its local one: whether there was any. Not one that was evicted."""
        places = sorted(self._findings.frames_of(transaction, chunk_id), key=lambda place: place[1:], reverse=True)
        for kind, number, offset in places:
            header = self._read_header(kind, number, offset)
            if row.flags & CHUNK_EVICTED and header.name[1:] == (row.segment, row.slot):
                continue
            if not all(self._bring_base(transaction, chunks, base) for base in header.bases):
                continue
            if len(places) > 1 and not self._is_whole(header, kind, number, offset):
                continue
            chunks.place(header, kind, number, offset)
            return True
        return False

    def _bring_base(self, transaction: Transaction, chunks: ChunkRows, base: FrameName) -> bool:
        """Whether a patch's base is here, after placing it if it only has to be. Any full frame of the chunk has its
        bytes; which one was the local one before, no log tells.
        """
        row = chunks.get(base.chunk_id)
        if row is not None and row.local:
            return not row.bases
        place = self._findings.find_frame(transaction, base)
        if place is None:
            return False
        header = self._read_header(*place)
        if header.bases:
            return False
        chunks.place(header, *place, queue=True)
        return True

    def _read_header(self, kind: int, number: int, offset: int) -> FrameHeader:
        size = min(_HEADER_MAX, self._reader.size(number, kind) - offset)
        return decode_header(self._reader.read(number, kind, offset, size))

    def _is_whole(self, header: FrameHeader, kind: int, number: int, offset: int) -> bool:
        """Whether the frame that lies there is the one that was sealed, and not what a crash left of a copy."""
        size = header.header_size + header.stored_size
        try:
            open_frame(self._log.keyring, header, self._reader.read(number, kind, offset, size)[header.header_size :])
        except (SealBroken, Damaged):
            return False
        return True


def _is_whole_here(chunks: ChunkRows, base: FrameName) -> bool:
    row = chunks.get(base.chunk_id)
    return row is not None and row.local and not row.bases


def is_rebuild_needed(index: Index, log: Log) -> bool:
    """Whether the index is empty although the log is not: places in the log may be out of date, so it must be
    rebuilt.
    """
    with index.begin_read() as transaction:
        return transaction.load_state().batch == 0 and any(log.scan(number).batches for number in log.segment_numbers())


def is_index_of(index: Index, site: bytes) -> bool:
    """Whether an index belongs to this site (or to nobody yet)."""
    with index.begin_read() as transaction:
        return transaction.site() in (None, site)


def _committed_batch(directory: DataDirectory, map_size: int) -> int:
    """The last batch that the old index knows to be acknowledged; 0 if it is not there or cannot be read."""
    if not set(_INDEX_FILES) & set(directory.files.list_directory(directory.index)):
        return 0
    try:
        index = Index(directory.index, map_size)
    except IndexOutdated as outdated:
        return outdated.batch
    except IndexUnreadable:
        return 0
    try:
        if not is_index_of(index, directory.site):
            return 0
        with index.begin_read() as transaction:
            return transaction.load_state().batch
    finally:
        index.close()


def _swap(directory: DataDirectory) -> None:
    """Give the new index the old one's place. A crash in between leaves no index: it is rebuilt again."""
    files = directory.files
    _clear(directory, directory.index.name)
    files.sync_directory(directory.index)
    files.rename(directory.path / _SCRATCH_NAME / _INDEX_FILES[0], directory.index / _INDEX_FILES[0])
    files.sync_directory(directory.index)
    clear_mark(directory)
    _clear(directory, _SCRATCH_NAME)


def _clear(directory: DataDirectory, name: str) -> None:
    path = directory.path / name
    if directory.files.is_directory(path):
        for file in directory.files.list_directory(path):
            if file in _INDEX_FILES:
                directory.files.unlink(path / file)
