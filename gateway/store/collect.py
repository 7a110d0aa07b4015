"""Taking back dead space: chunks nothing references, and segments that are mostly dead.

Stands behind everything: one process of a site runs it (``collect_forever`` elects it), in small steps, each bounded.
The race rules, which every step keeps:

* A chunk is first *condemned* (deduplication ignores it from then on), dropped only when every request that began
  before has ended, and only if the re-check under the write lock still finds it unreferenced.
* A segment's live frames are copied verbatim (after authenticating them) to a data segment, synced, and their rows are
  swung in one transaction. The file goes when every request that began before that has ended (readers, and writers
  whose staged chunks lie in it) and a re-check under the lock finds nothing live in it: row first, then name, then
  directory. A power cut may take the index' newest commit: forgetting the row is a commit of its own, whose sync makes
  durable the one that swung the last frame, so no index that is left names what is gone. (Holes likewise.)
* Segments that a live process appends to are left alone, and so is the highest number of each kind: numbers never
  recur. Of those that are mostly dead the owner is asked to seal its own, and the highest number is given to another.
* Of a log segment the batches stay where they are; only the space of its inline frames is given back (as holes), once
  the live ones among them are moved. The newest batch of the log is never touched.
* Segments with anything under a **retired** epoch (``Keyring.retired``) go last, and whole, alive or not: what is moved
  out of them is sealed anew, and so are a log segment's batches (``log_resealing``).

What is damaged is never moved nor dropped: the segment stays, for ``verify`` to name and mend.
"""

from __future__ import annotations

import asyncio
import errno
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final, NamedTuple

from gateway.store.chunk_rows import RELEASE_CHUNK, read_chunk, read_segment, scan_segments
from gateway.store.decision import Decision
from gateway.store.errors import Damaged, StoreError
from gateway.store.found_frames import BrokenStretch, scan_frames
from gateway.store.frames import FrameMaker
from gateway.store.index_format import CHUNK_HOLDS
from gateway.store.layout import DataDirectory
from gateway.store.log import Log
from gateway.store.log_resealing import LogResealer
from gateway.store.page_format import PAGE_REFS_MAX
from gateway.store.sealed_epochs import SealedEpochs
from gateway.store.segment_format import KIND_DATA, KIND_LOG, SegmentInvalid
from gateway.store.segments import Appender, SegmentReader, write_error
from gateway.store.shared import Shared, take_lock
from gateway.store.upload_rows import drop_parts
from gateway.store.views import ViewContext
from replication.frame_format import FrameHeader
from replication.sealing import Keyring, SealBroken, open_frame, reseal_frame

CHUNKS_AT_ONCE: Final = 256
PARTS_AT_ONCE: Final = 64
PENDING_MAX: Final = 64
MOVE_BYTES: Final = 8 << 20
LIVE_SHARE_MIN: Final = 0.5
"""A data segment with less than this share alive is emptied."""
LOG_LIVE_SHARE_MIN: Final = 0.1
SEAL_DEAD_BYTES_MIN: Final = 8 << 20
"""A data segment that is still appended to, or has the highest number, is given up only for this much."""
ASKED_S: Final = 1.0
_UNSUPPORTED: Final = (errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL)


@dataclass(frozen=True)
class CollectSetup:
    """What the collector needs. ``commit`` runs a decision in the site's write transaction and blocks."""

    directory: DataDirectory
    shared: Shared
    segments: SegmentReader
    frames: FrameMaker
    appender: Appender
    log: Log
    view: Callable[[], ViewContext]
    commit: Callable[[Callable[[Decision], Any]], Any]
    sealed: SealedEpochs
    before_append: Callable[[], None]
    """Raises ``ReadOnlyStore``; the reserve is there for collection, so a full disk does not stop it."""


class _Frame(NamedTuple):
    header: FrameHeader
    offset: int


class _Pending(NamedTuple):
    """Something to be finished once all work of ``epoch`` and before has ended: chunk ids to drop, or a segment."""

    epoch: int
    chunks: list[bytes]
    segment: int = 0
    kind: int = KIND_DATA
    holes: tuple[tuple[int, int], ...] = ()
    anew: bool = False
    """Whether it is a log segment whose batches are to be sealed anew first."""


class _Emptying:
    """A segment being emptied: its frames not looked at yet."""

    def __init__(
        self, number: int, kind: int, frames: Iterator[_Frame], holes: list[tuple[int, int]], *, anew: bool = False
    ) -> None:
        self.number, self.kind, self.frames, self.holes, self.anew = number, kind, frames, holes, anew


class Collector:
    """The collector's state: what is condemned and waits, and the segment it is emptying. One per site, one thread."""

    def __init__(self, setup: CollectSetup) -> None:
        self._setup = setup
        self._pending: deque[_Pending] = deque()
        self._condemned: set[bytes] = set()
        self._after = b""
        self._emptying: _Emptying | None = None
        self._left_alone: set[int] = set()
        self._scheduled: set[int] = set()
        self._refused: set[int] = set()
        self._unreadable: set[int] = set()
        self._resealer = LogResealer(setup.directory, setup.log, setup.shared, setup.view, setup.commit)
        self._known_headers: set[int] = set()
        self._unlinked = 0
        self.has_asked = False
        """Whether processes were asked to end segments they append to: they look once a second."""

    def collect_step(self) -> bool:
        """Do one bounded piece of work: whether there was any. Raises what went wrong; nothing is half done then.

        May wait for the write lock and the disk. Steps that find only requests to wait for return False.
        """
        done = self._finish_pending() or self._condemn_some() or self._empty_some() or self._choose_segment()
        if self._pending and self._setup.shared.epoch == self._pending[0].epoch:
            self._setup.shared.advance_epoch()
        return done

    def let_go_of_files(self) -> None:
        """Close what this process still has open of segments that some process unlinked: only then is their space
        free.
        """
        unlinked = self._setup.shared.unlinked
        if unlinked != self._unlinked:
            self._unlinked = unlinked
            self._setup.segments.drop_unlinked()

    # chunks

    def _condemn_some(self) -> bool:
        """Condemn what the work queue lists next, and let parts of closed uploads go."""
        if len(self._pending) >= PENDING_MAX:
            return False
        with self._setup.view() as view:
            queue = view.transaction.scan(view.transaction.tables.release, self._after)
            fresh = next((key for key, _ in queue if key[1:] not in self._condemned), None)
        if fresh is None:
            self._after = b""
            return False
        condemned, self._after = self._setup.commit(lambda decision: self._condemn(decision, fresh))
        if condemned:
            self._condemned.update(condemned)
            self._pending.append(_Pending(self._setup.shared.epoch, condemned))
        return True

    def _condemn(self, decision: Decision, start: bytes) -> tuple[list[bytes], bytes]:
        """Condemn from ``start`` on: what was condemned, and where to go on."""
        applier = decision.edit_index()
        condemned: list[bytes] = []
        queue = applier.transaction.scan(applier.transaction.tables.release, start)
        for key in [key for key, _ in islice(queue, CHUNKS_AT_ONCE)]:
            start = key
            if not key.startswith(RELEASE_CHUNK):
                drop_parts(applier.transaction, applier.chunks, key[1:].decode(), PARTS_AT_ONCE)
                return condemned, start  # enough for one step; what is left of the upload is found next time
            if key[1:] not in self._condemned and applier.chunks.condemn(key[1:]):
                condemned.append(key[1:])
        return condemned, start

    def _drop(self, decision: Decision, chunk_ids: list[bytes]) -> list[bytes]:
        """Drop what is still unreferenced, at most some pages' children at a time: what is left for the next step."""
        chunks = decision.edit_index().chunks
        work = 0
        for at, chunk_id in enumerate(chunk_ids):
            row = chunks.get(chunk_id)
            if row is None:
                continue
            if not row.condemned:
                continue  # needed since; if not any more, whoever found it meanwhile may rely on it: another round
            work += PAGE_REFS_MAX if row.flags & CHUNK_HOLDS else 1
            if work > 2 * PAGE_REFS_MAX:
                return chunk_ids[at:]
            chunks.drop(chunk_id)
        return []

    # what waits for older requests

    def _finish_pending(self) -> bool:
        if not self._pending or self._setup.shared.oldest_active() <= self._pending[0].epoch:
            return False
        pending = self._pending.popleft()
        if pending.chunks:
            left = self._setup.commit(lambda decision: self._drop(decision, pending.chunks))
            self._condemned.difference_update(set(pending.chunks) - set(left))
            if left:
                self._pending.appendleft(pending._replace(chunks=left))
        elif pending.anew:
            self._reseal_log(pending)
        elif pending.kind == KIND_DATA or not pending.holes:
            self._unlink(pending.segment, pending.kind)
        else:
            self._punch(pending)
        return True

    def _reseal_log(self, pending: _Pending) -> None:
        """Seal a log segment's batches anew, no inline frame of which is alive; its file goes when nobody reads it."""
        number = pending.segment
        self._scheduled.discard(number)
        if self._setup.commit(lambda decision: _live_bytes(decision, number, KIND_LOG)):
            self._tire_of(number)
            return
        try:
            is_moved = self._resealer.reseal(number)
        except Damaged:
            self._unreadable.add(number)
            raise
        if is_moved:
            self._scheduled.add(number)
            self._pending.append(_Pending(self._setup.shared.epoch, [], number, KIND_LOG))

    def _unlink(self, number: int, kind: int) -> None:
        """Remove a segment in which nothing is alive."""
        self._scheduled.discard(number)
        setup = self._setup

        def forget(decision: Decision) -> bool:
            if _live_bytes(decision, number, kind) or number in setup.shared.open_segments():
                return False  # a request that waited has committed what it had staged there
            transaction = decision.edit_index().transaction
            transaction.delete(transaction.tables.segments, number.to_bytes(4, "big"))
            return True

        if setup.commit(forget):
            try:
                setup.directory.files.unlink(setup.directory.segment_path(number, kind))
                setup.directory.files.sync_directory(setup.directory.segments)
            except OSError as error:  # its row is gone: it is found again as a segment in which nothing is alive
                raise write_error(error) from error
            setup.shared.count_unlinked()
            self.let_go_of_files()
        else:
            self._tire_of(number)

    def _tire_of(self, number: int) -> None:
        """Something is alive in a segment that was emptied: try once more, for it may just have become so."""
        if number in self._refused:  # what is alive there cannot be found: a damaged header. ``verify`` names it
            self._left_alone.add(number)
            self._unreadable.add(number)
        self._refused.add(number)

    def _punch(self, pending: _Pending) -> None:
        """Give back the space of a log segment's inline frames, none of which is alive."""
        self._scheduled.discard(pending.segment)
        if self._setup.commit(lambda decision: _live_bytes(decision, pending.segment, KIND_LOG)):
            return
        files = self._setup.directory.files
        fd = files.open_write(self._setup.directory.segment_path(pending.segment, KIND_LOG))
        try:
            for offset, size in pending.holes:
                files.punch_hole(fd, offset, size)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise write_error(error) from error
        finally:
            files.close(fd)

    # emptying segments

    def _choose_segment(self) -> bool:
        """Begin to empty the data segment with the smallest live share, or a log segment full of dead frames."""
        directory, reader = self._setup.directory, self._setup.segments
        with self._setup.view() as view:
            live = {number: row.live_bytes for number, row in scan_segments(view.transaction)}
        best: tuple[float, int, int] | None = None
        for kind, share_min in ((KIND_DATA, LIVE_SHARE_MIN), (KIND_LOG, LOG_LIVE_SHARE_MIN)):
            numbers = directory.segment_numbers(kind)[:-1]
            open_segments = self._setup.shared.open_segments()  # after: a segment is announced before it is made
            for number in numbers:
                if number in open_segments or number in self._left_alone or number in self._scheduled:
                    continue
                share = live.get(number, 0) / max(1, reader.size(number, kind))
                if kind == KIND_DATA and number not in self._known_headers:
                    share = 0.0 if self._is_header_bad(number) else share
                if share < share_min and (best is None or (share, number, kind) < best):
                    best = (share, number, kind)
        if best is None:
            return self._free_the_busy(live) or self._choose_retired()
        _, number, kind = best
        self._scheduled.add(number)
        self._emptying = self._begin_data(number) if kind == KIND_DATA else self._begin_log(number)
        return True

    def _free_the_busy(self, live: dict[int, int]) -> bool:
        """Have segments that are in use, and mostly dead, become such that may be emptied: whether one did at once.

        Those that are appended to are asked for (their owner seals them, see ``tidy``); the highest number is given to
        a new one of ours.
        """
        setup = self._setup
        open_segments, numbers = setup.shared.open_segments(), setup.directory.segment_numbers(KIND_DATA)
        for number in numbers:
            size = setup.segments.size(number, KIND_DATA)
            dead = size - live.get(number, 0)
            if dead < SEAL_DEAD_BYTES_MIN or dead < size * LIVE_SHARE_MIN or number in self._left_alone:
                continue
            if number in open_segments:
                setup.shared.ask_to_seal(number)
            elif number == numbers[-1]:
                self._begin_segment()
                return True
        return False

    def _begin_segment(self) -> None:
        """Give the highest number to a new data segment of ours."""
        self._setup.before_append()
        self._setup.appender.roll()
        try:
            self._setup.appender.prepare(1)
        except OSError as error:
            raise write_error(error) from error

    def _choose_retired(self) -> bool:
        """Begin to empty a segment with something under a retired epoch; have those who append to one end it."""
        setup, retired = self._setup, self._setup.frames.keyring.retired
        self.has_asked = False
        open_segments = setup.shared.open_segments()
        for kind in (KIND_DATA, KIND_LOG) if retired else ():
            numbers = setup.directory.segment_numbers(kind)
            for number in numbers:
                if number in self._scheduled | self._unreadable or not setup.sealed.holds(number, kind, retired):
                    continue
                if number in open_segments:
                    setup.shared.ask_to_seal(number)
                    self.has_asked = True
                elif kind == KIND_DATA and number == numbers[-1]:
                    self._begin_segment()
                    return True
                else:
                    self._scheduled.add(number)
                    self._emptying = (
                        self._begin_data(number) if kind == KIND_DATA else self._begin_log(number, anew=True)
                    )
                    return True
        return False

    def _is_header_bad(self, number: int) -> bool:
        """Whether a data segment's header is damaged: its frames are moved to where there is a good one. Asked once."""
        self._known_headers.add(number)
        try:
            self._setup.segments.header(number, KIND_DATA)
        except SegmentInvalid:
            return True
        except StoreError:
            return False
        return False

    def _begin_data(self, number: int) -> _Emptying:
        broken: list[BrokenStretch] = []
        frames = (_Frame(*found) for found in scan_frames(self._setup.segments, number, broken))
        return _Emptying(number, KIND_DATA, frames, [])

    def _begin_log(self, number: int, *, anew: bool = False) -> _Emptying:
        """Frames of all batches but the log's newest, and where they lie; ``anew``: of that one, too."""
        log = self._setup.log
        with self._setup.view() as view:
            newest = view.state().batch
        frames: list[_Frame] = []
        holes: list[tuple[int, int]] = []
        for batch in log.scan(number).batches:
            if (anew or batch.header.number < newest) and batch.frames_whole and batch.header.frames_size:
                frames += [_Frame(*found) for found in log.inline_frames(batch)]
                end = batch.offset + batch.header.size
                holes.append((end - batch.header.frames_size, batch.header.frames_size))
        return _Emptying(number, KIND_LOG, iter(frames), holes, anew=anew)

    def _empty_some(self) -> bool:
        """Move the next live frames out of the segment being emptied; at its end, schedule its space to be freed."""
        emptying = self._emptying
        if emptying is None:
            return False
        try:
            moves, ended = self._copy_some(emptying)
        except Damaged:
            self._emptying = None
            self._left_alone.add(emptying.number)
            self._unreadable.add(emptying.number)
            self._scheduled.discard(emptying.number)
            raise
        if moves:
            self._setup.appender.sync()
            self._setup.commit(lambda decision: _swing(decision, emptying, moves))
        if ended:
            self._emptying = None
            if emptying.kind == KIND_LOG:
                self._left_alone.add(emptying.number)
            if emptying.kind == KIND_DATA or emptying.holes or emptying.anew:
                holes, epoch = tuple(emptying.holes), self._setup.shared.epoch
                self._pending.append(_Pending(epoch, [], emptying.number, emptying.kind, holes, emptying.anew))
            else:
                self._scheduled.discard(emptying.number)
        return True

    def _copy_some(self, emptying: _Emptying) -> tuple[list[tuple[_Frame, int, int]], bool]:
        """Append copies of the next live frames: (frame, new segment, new offset) of each, and whether that was all."""
        setup = self._setup
        setup.before_append()
        moves: list[tuple[_Frame, int, int]] = []
        copied = 0
        for looked, frame in enumerate(emptying.frames, 1):
            header = frame.header
            with setup.view() as view:
                row = read_chunk(view.transaction, header.chunk_id)
            if row is not None and row.local and (row.number, row.offset) == (emptying.number, frame.offset):
                size = header.header_size + header.stored_size
                data = setup.segments.read(emptying.number, emptying.kind, frame.offset, size)
                try:
                    data = _to_keep(setup.frames.keyring, header, data)
                except SealBroken as error:
                    raise Damaged(f"segment {emptying.number}, offset {frame.offset}: {error}") from error
                try:
                    moves.append((frame, *setup.appender.append([data])))
                except OSError as error:
                    raise write_error(error) from error
                copied += size
            if copied >= MOVE_BYTES or looked >= PAGE_REFS_MAX:
                return moves, False
        return moves, True


def _to_keep(keyring: Keyring, header: FrameHeader, data: bytes) -> bytes:
    """A frame that is authentic, as it is to lie elsewhere: verbatim, or sealed anew if its epoch is to end."""
    encoded, ciphertext = data[: header.header_size], memoryview(data)[header.header_size :]
    if header.epoch in keyring.retired:
        return b"".join(reseal_frame(keyring, encoded, ciphertext))
    open_frame(keyring, header, ciphertext)
    return data


def _swing(decision: Decision, emptying: _Emptying, moves: list[tuple[_Frame, int, int]]) -> None:
    """Point rows at the copies, where they still point at the originals."""
    chunks = decision.edit_index().chunks
    for frame, number, offset in moves:
        row = chunks.get(frame.header.chunk_id)
        if row is not None and row.local and (row.number, row.offset) == (emptying.number, frame.offset):
            chunks.move(frame.header.chunk_id, row, number, KIND_DATA, offset)


def _live_bytes(decision: Decision, number: int, kind: int) -> int:
    """Live bytes of a segment, with what this batch has changed so far, or without if that is more: what only this
    batch moved away (a mended chunk, say) is there again if a power cut takes its commit.
    """
    applier = decision.edit_index()
    row = read_segment(applier.transaction, number)
    committed = row.live_bytes if row is not None else 0
    return max(committed, committed + applier.chunks.live_delta.get((number, kind), 0))


async def collect_forever(
    collector: Collector,
    directory: DataDirectory,
    executor: Executor,
    report: Callable[[StoreError], None],
    *,
    pause_s: float = 0.02,
    idle_s: float = 5.0,
) -> None:
    """Collect whenever there is something, if this is the process elected to; until cancelled.

    Every process runs this: one that is not elected waits to take over. ``report`` is told of steps that failed
    (damage, a full or read-only disk); they are tried again later.
    """
    loop = asyncio.get_running_loop()
    held: int | None = None
    try:
        while True:
            if held is None:
                held = take_lock(directory.files, directory.run / "collector")
            collector.let_go_of_files()
            done = False
            if held is not None:
                try:
                    done = await loop.run_in_executor(executor, collector.collect_step)
                except StoreError as error:
                    report(error)
            await asyncio.sleep(pause_s if done else ASKED_S if collector.has_asked else idle_s)
    finally:
        if held is not None:
            directory.files.close(held)
