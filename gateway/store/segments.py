"""Segment files: appending to our own, reading anyone's.

Stands between what is sealed (frames, log batches) and ``files``. Invariants: a process appends only to files it
created itself, and never again after a failed or short write (the file is abandoned where its last whole append ended;
the next append opens another); ``sync`` returns only when every byte appended before it was called, and the name of
every file that holds one, is on stable storage; after a failed sync nothing is appended or synced any more.

Not here: what the bytes mean, when a file may go (``collect``), what to do about damage.
"""

from __future__ import annotations

import contextlib
import errno
import os
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from typing import Final, NamedTuple

from gateway.store.errors import Damaged, DiskFull, ReadOnlyStore, StoreError
from gateway.store.files import Buffer, Files
from gateway.store.layout import DataDirectory
from gateway.store.segment_format import (
    KIND_DATA,
    SEGMENT_HEADER_SIZE,
    SegmentHeader,
    decode_segment_header,
    encode_segment_header,
)

DATA_SEGMENT_BYTES_MAX: Final = 256 << 20
LOG_SEGMENT_BYTES_MAX: Final = 64 << 20
SEGMENT_ID_SIZE: Final = 24
FORGET_SIZE: Final = 8 << 20
"""So many bytes made durable at once are a large upload's: they do not stay in the page cache, where they would take
the place of the index and of what is asked for."""
FORGET_BEHIND: Final = 64 << 20
"""But so many bytes behind them stay: what was just written is often read or shipped soon."""


_FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Place(NamedTuple):
    """Where an append lies: segment number and byte offset in its file."""

    number: int
    offset: int


class _OpenSegment:
    """A file this process appends to: ``end`` is where its last whole append ended, ``synced`` up to where it is known
    to be durable.
    """

    def __init__(self, fd: int, header: SegmentHeader) -> None:
        self.fd = fd
        self.header = header
        self.end = self.synced = SEGMENT_HEADER_SIZE
        self.retired = False
        self.forgettable: deque[tuple[int, int]] = deque()  # stretches (from, to) that need not stay cached for long


class Appender:
    """Appends to segments of one kind, for one process. Any thread may call anything.

    ``on_open(number)`` is told of each number just before its file is created (so that a collector in another process
    leaves it alone; 0: it need not any more), ``on_sync_failure()`` is called once if a sync fails.
    """

    def __init__(
        self,
        directory: DataDirectory,
        files: Files,
        kind: int,
        realm: bytes,
        site: bytes,
        epoch: bytes,
        size_max: int | None = None,
        *,
        on_open: Callable[[int], None] = lambda number: None,
        on_sync_failure: Callable[[], None] = lambda: None,
    ) -> None:
        self._directory, self._files, self._kind = directory, files, kind
        self._realm, self._site, self._epoch = realm, site, epoch
        self._size_max = size_max or (DATA_SEGMENT_BYTES_MAX if kind == KIND_DATA else LOG_SEGMENT_BYTES_MAX)
        self._on_open, self._on_sync_failure = on_open, on_sync_failure
        self._append_lock = threading.Lock()
        self._sync_lock = threading.Lock()
        self._current: _OpenSegment | None = None
        self._last: tuple[int, int] = (0, 0)  # number and final length of the segment before the current one
        self._dirty: dict[int, _OpenSegment] = {}
        self._directory_dirty = False
        self._appended = 0  # counts appends; what a sync must cover is what was counted when it was called
        self._synced = 0
        self._failed = False

    def append(self, buffers: Sequence[Buffer]) -> Place:
        """Write the buffers one behind the other into one segment: where they begin. Not durable until ``sync``.

        ``OSError`` if the disk did not take them all: then none of it counts, and the segment is left behind (as
        after anything else that is raised on the way).
        """
        with self._append_lock:
            segment = self._segment_for(sum(map(len, buffers)))
            offset = segment.end
            try:
                segment.end = offset + self._files.append(segment.fd, offset, buffers)
            except BaseException:  # also if it was interrupted: bytes may lie there that are nobody's
                self._retire()
                raise
            self._appended += 1
            self._dirty[segment.fd] = segment
            return Place(segment.header.number, offset)

    def prepare(self, size: int) -> tuple[SegmentHeader, int]:
        """The segment and offset the next append of ``size`` bytes will go to, created if need be.

        Holds only while nobody else appends: for a log with one writer, which binds and announces the place beforehand.
        """
        with self._append_lock:
            segment = self._segment_for(size)
            return segment.header, segment.end

    def sync(self) -> None:
        """Everything appended before this call is durable, directory entries included; concurrent calls share one sync.

        A failure raises, calls ``on_sync_failure`` and ends this appender for good: the kernel may have dropped the
        data, and trying again would lie.
        """
        with self._append_lock:
            wanted = self._appended
        with self._sync_lock:
            if self._failed:
                raise ReadOnlyStore("a sync of the disk failed: no writes until the site is restarted and verified")
            if self._synced >= wanted:
                return
            with self._append_lock:
                covers, dirty, directory_dirty = self._appended, self._dirty, self._directory_dirty
                self._dirty, self._directory_dirty = {}, False
                ends = [segment.end for segment in dirty.values()]
            try:
                for segment in dirty.values():
                    self._files.fdatasync(segment.fd)
                if directory_dirty:
                    self._files.sync_directory(self._directory.segments)
            except BaseException as error:
                self._failed = True
                self._dirty.update(dirty)  # for close; nothing syncs them again
                self._on_sync_failure()
                raise ReadOnlyStore(f"a sync of the disk failed ({error}): no more writes") from error
            self._synced = covers
            for segment, end in zip(dirty.values(), ends, strict=True):
                self._settle(segment, end)
            self._close_retired(list(dirty.values()))

    def roll(self) -> None:
        """Append no more to the current segment: the next append opens another."""
        with self._append_lock:
            if self._current is not None:
                self._retire()

    def seal(self, number: int) -> None:
        """Append no more to this segment, if it is the current one: it may be collected then."""
        with self._append_lock:
            if self._current is not None and self._current.header.number == number:
                self._retire()
                self._on_open(0)

    def set_epoch(self, epoch: bytes) -> None:
        """Name another epoch key in the headers of segments made from now on."""
        with self._append_lock:
            self._epoch = epoch

    def close(self) -> None:
        """Give all descriptors back. What was not synced may be lost; nothing can be appended afterwards."""
        with self._sync_lock, self._append_lock:
            self._failed = True
            if self._current is not None:
                self._retire()
            for segment in self._dirty.values():
                self._files.close(segment.fd)
            self._dirty.clear()

    def _segment_for(self, size: int) -> _OpenSegment:
        if self._failed:
            raise ReadOnlyStore("a sync of the disk failed: no writes until the site is restarted and verified")
        if (
            self._current is not None
            and self._current.end + size > self._size_max
            and self._current.end > SEGMENT_HEADER_SIZE
        ):
            self._retire()
        if self._current is None:
            self._current = self._create()
        return self._current

    def _create(self) -> _OpenSegment:
        for number in self._directory.claim_number(self._kind):
            self._on_open(number)
            try:
                fd = self._files.create(self._directory.segment_path(number, self._kind))
            except FileExistsError:
                continue
            if (
                self._directory.segment_numbers(self._kind)[-1] != number
            ):  # another was faster: it may even be collected by now
                self._abandon(fd, number)
                return self._create()
            header = SegmentHeader(
                *(self._kind, number, *self._last, time.time_ns() // 1_000_000),
                *(self._realm, self._site, self._epoch, os.urandom(SEGMENT_ID_SIZE)),
            )
            try:
                self._files.append(fd, 0, [encode_segment_header(header)])
            except OSError:
                self._abandon(fd, number)
                raise
            try:
                self._files.fdatasync(fd)  # a power cut that keeps a frame behind it must not take the header
            except BaseException as error:
                self._failed = True
                self._on_sync_failure()
                self._files.close(fd)
                raise ReadOnlyStore(f"a sync of the disk failed ({error}): no more writes") from error
            self._directory_dirty = True
            return _OpenSegment(fd, header)
        raise AssertionError("segment numbers do not run out")

    def _abandon(self, fd: int, number: int) -> None:
        self._files.close(fd)
        self._files.unlink(self._directory.segment_path(number, self._kind))

    def _retire(self) -> None:
        """Stop appending to the current segment; its descriptor is closed once it is synced (at once if nothing is
        due).
        """
        segment = self._current
        assert segment is not None
        self._current = None
        self._last = (segment.header.number, segment.end)
        segment.retired = True
        if segment.fd not in self._dirty and not self._sync_lock.locked():
            self._files.close(segment.fd)
        else:
            self._dirty[segment.fd] = segment
            self._appended += 1

    def _settle(self, segment: _OpenSegment, end: int) -> None:
        """A segment is durable up to ``end``: whatever was much of that at once leaves the page cache."""
        start, segment.synced = segment.synced, end
        if end - start >= FORGET_SIZE:
            segment.forgettable.append((start, end))
        while segment.forgettable and segment.forgettable[0][1] + FORGET_BEHIND <= end:
            start, stop = segment.forgettable.popleft()
            with contextlib.suppress(OSError):  # it is only advice
                self._files.forget(segment.fd, start, stop - start)

    def _close_retired(self, segments: Sequence[_OpenSegment]) -> None:
        with self._append_lock:
            for segment in segments:
                if segment.retired and segment.fd not in self._dirty:
                    self._files.close(segment.fd)


class _Descriptor:
    """A read descriptor that closes itself when nobody uses it any more, be it evicted in the middle of a read."""

    __slots__ = ("_files", "fd")

    def __init__(self, files: Files, fd: int) -> None:
        self._files, self.fd = files, fd

    def __del__(self) -> None:
        self._files.close(self.fd)


class SegmentReader:
    """Reads segments of any process by number. Any thread; keeps up to ``open_max`` descriptors, least recently used
    go.

    A descriptor outlives the file's name, so a read that began before an unlink ends well.
    """

    def __init__(self, directory: DataDirectory, files: Files, open_max: int = 256) -> None:
        self._directory, self._files, self._open_max = directory, files, open_max
        self._lock = threading.Lock()
        self._open: OrderedDict[int, _Descriptor] = OrderedDict()

    def read(self, number: int, kind: int, offset: int, size: int) -> bytes:
        """Exactly ``size`` bytes; may wait for the disk.

        ``Damaged`` if the file is gone or shorter, or cannot be read.
        """
        descriptor = self._descriptor(number, kind)
        try:
            data = self._files.pread(descriptor.fd, size, offset)
        except OSError as error:
            raise Damaged(f"segment {number}, offset {offset}: {error.strerror}") from error
        if len(data) != size:
            raise Damaged(f"segment {number} ends before offset {offset + size}")
        return data

    def read_cached(self, number: int, kind: int, offset: int, size: int) -> bytes | None:
        """As ``read`` if it can be had without waiting for the disk; else None (also where ``read`` would raise)."""
        try:
            return self._files.pread_cached(self._descriptor(number, kind).fd, size, offset)
        except (Damaged, OSError):
            return None

    def header(self, number: int, kind: int) -> SegmentHeader:
        """The segment's header; ``SegmentInvalid`` or ``FormatTooNew`` if it is none."""
        return decode_segment_header(self.read(number, kind, 0, SEGMENT_HEADER_SIZE))

    def size(self, number: int, kind: int) -> int:
        """The file's size now, in bytes; ``Damaged`` if it is gone."""
        return self._files.size(self._descriptor(number, kind).fd)

    def drop_cache(self, number: int, kind: int) -> None:
        """Make the kernel forget what it has cached of a segment: the next read shows what the disk really holds."""
        self._files.drop_cache(self._descriptor(number, kind).fd)

    def drop_unlinked(self) -> None:
        """Let go of files that were unlinked, so that their space comes back."""
        with self._lock:
            gone = [number for number, held in self._open.items() if self._files.link_count(held.fd) == 0]
            for number in gone:
                del self._open[number]

    def close(self) -> None:
        """Let go of every descriptor; later reads open them again."""
        with self._lock:
            self._open.clear()

    def _descriptor(self, number: int, kind: int) -> _Descriptor:
        with self._lock:
            held = self._open.get(number)
            if held is not None:
                self._open.move_to_end(number)
                return held
            try:
                fd = self._files.open_read(self._directory.segment_path(number, kind))
            except OSError as error:
                raise Damaged(f"segment {number} cannot be opened: {error.strerror}") from error
            held = self._open[number] = _Descriptor(self._files, fd)
            if len(self._open) > self._open_max:
                self._open.popitem(last=False)
            return held


def sync_segment_file(directory: DataDirectory, number: int, kind: int) -> None:
    """Make durable what some process (a dead one, say) wrote to a segment; its name is not. ``OSError``."""
    fd = directory.files.open_read(directory.segment_path(number, kind))
    try:
        directory.files.fdatasync(fd)
    finally:
        directory.files.close(fd)


def write_error(error: OSError) -> StoreError:
    """What a failed append means to a request: a full disk, or a device that does not take bytes."""
    if error.errno in _FULL:
        return DiskFull(f"the disk is full ({error.strerror}): free space, or delete objects")
    return StoreError(f"the disk did not take a write: {error.strerror}")
