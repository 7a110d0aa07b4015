"""What all processes of a site share while they run: one small file in memory, DATA/run/shared. Not durable.

    line (64 bytes)  u64 words
    0                magic, boot id (2 words), read-only flag, collection epoch, files unlinked (count), doorbell,
                     flag: own writes are refused, for the clock is wrong
    2 + 2*slot       pid, start time, active in even epochs, active in odd epochs, open data segment, open log segment
    3 + 2*slot       append in progress (flag), segment number, offset, batch number, data segment it is asked to seal

A slot is one process, named by pid and start time, so that a reused pid is not taken for its former owner; slots of
dead processes are cleared when the next one attaches or the collector asks. Each word has one writer (its process, or
who holds the file lock, or the store's write lock), is aligned, and is written whole.

The read-only flag is set when a sync failed anywhere, and cleared only by the first process that attaches when no
other lives, after it has read the log's tail from the disk rather than from the page cache (``must_reverify``).

Collection epochs: work that relies on chunks enters the current epoch and leaves it when done. The epoch can only
advance when nothing is left from before the current one, so two counters per process are enough. What was condemned
in epoch E may be dropped once ``oldest_active() > E``.
"""

from __future__ import annotations

import contextlib
import fcntl
import mmap
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from gateway.store.errors import Overloaded
from gateway.store.files import Files
from gateway.store.layout import DataDirectory
from gateway.store.segment_format import KIND_DATA

SLOTS: Final = 254
_MAGIC: Final = int.from_bytes(b"SKSHARE1", "little")
_LINE: Final = 8
_SIZE: Final = (2 + 2 * SLOTS) * _LINE * 8
_BOOT, _READ_ONLY, _EPOCH, _UNLINKED, _DOORBELL, _CLOCK_WRONG = 1, 3, 4, 5, 6, 7
_PID, _STARTED, _ACTIVE, _OPEN = 0, 1, 2, 4
_APPENDING, _NUMBER, _OFFSET, _BATCH, _SEAL = 8, 9, 10, 11, 12
_FIRST_EPOCH: Final = 2


class AbandonedAppend(NamedTuple):
    """A batch that a process was appending when it died: where it would lie, and which number it would have."""

    slot: int
    number: int
    offset: int
    batch: int


class Shared:
    """This process' hold on the shared file. Any thread. Open after fork; ``close`` when the process is done."""

    def __init__(self, directory: DataDirectory) -> None:
        self._files = directory.files
        self._path = directory.run / "shared"
        self._lock = threading.Lock()
        self._closed = False
        self._fd = self._files.open_shared(self._path)
        self.after_boot = False
        """Set if this is the first process since the machine started: what is on the disk is what it came up with."""
        self.must_reverify = False
        """Set if this process found the site read-only, being the first: verify the tail from the disk, then
        ``end_read_only``.
        """
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
            if self._files.size(self._fd) != _SIZE:
                self._files.truncate(self._fd, _SIZE)
            self._map = mmap.mmap(self._fd, _SIZE)
            self._words = memoryview(self._map).cast("Q")
            self._initialise()
            self._slot = self._claim_slot()
        except BaseException:
            self._files.close(self._fd)
            raise
        fcntl.flock(self._fd, fcntl.LOCK_UN)

    def close(self) -> None:
        """Give the slot back; once more does nothing. Requests of this process must be over."""
        with self._lock:
            if self._closed:
                return
            self._closed = True
            base = _base(self._slot)
            if not self._words[base + _APPENDING]:
                self._words[base + _PID] = 0
            self._words.release()
            self._map.close()
            self._files.close(self._fd)

    # --- the read-only flag

    @property
    def read_only(self) -> bool:
        """Whether the site takes no writes because a sync failed somewhere."""
        return self._words[_READ_ONLY] != 0

    def set_read_only(self) -> None:
        """Stop all writes of the site until it is restarted."""
        self._words[_READ_ONLY] = 1

    def end_read_only(self) -> None:
        """What was in doubt has been read back from the disk: writes go on. Only where ``must_reverify`` is set."""
        self._words[_READ_ONLY] = 0

    @property
    def clock_wrong(self) -> bool:
        """Whether own writes are refused, since the clock is further off than the operator allows."""
        return self._words[_CLOCK_WRONG] != 0

    def set_clock_wrong(self, wrong: bool) -> None:
        """What the replication process found: only it may say so."""
        self._words[_CLOCK_WRONG] = int(wrong)

    # --- collection epochs

    def enter(self) -> int:
        """Register work that relies on chunks: a token for ``leave``. What it sees from now on stays until then."""
        with self._lock:
            active = _base(self._slot) + _ACTIVE
            while True:
                epoch = self._words[_EPOCH]
                self._words[active + (epoch & 1)] += 1
                if self._words[_EPOCH] == epoch:
                    return epoch
                self._words[active + (epoch & 1)] -= 1  # the collector advanced in between: it may not have counted us

    def leave(self, token: int) -> None:
        """The work that entered with this token is over. No effect after ``close``: dropped iterators may come late."""
        with self._lock:
            if self._closed:
                return
            self._words[_base(self._slot) + _ACTIVE + (token & 1)] -= 1

    @property
    def epoch(self) -> int:
        """The current collection epoch."""
        return self._words[_EPOCH]

    def advance_epoch(self) -> bool:
        """Begin the next epoch, unless work from before the current one is still going on (False).

        One collector at a time.
        """
        epoch = self._words[_EPOCH]
        if self._count_active(epoch - 1):
            return False
        self._words[_EPOCH] = epoch + 1
        return True

    def oldest_active(self) -> int:
        """The oldest epoch in which live work is registered; the current one if there is no older."""
        epoch = self._words[_EPOCH]
        return epoch - 1 if self._count_active(epoch - 1) else epoch

    # --- batches being appended, and open segments

    def begin_append(self, number: int, offset: int, batch: int) -> None:
        """Announce, under the write lock, where a batch is about to be appended."""
        base = _base(self._slot)
        self._words[base + _NUMBER], self._words[base + _OFFSET], self._words[base + _BATCH] = number, offset, batch
        self._words[base + _APPENDING] = 1

    def end_append(self) -> None:
        """The announced batch is in the index, or known never to be."""
        self._words[_base(self._slot) + _APPENDING] = 0

    def abandoned_appends(self) -> list[AbandonedAppend]:
        """Announced appends of dead processes, by batch number. Call under the write lock; cheap if there are none."""
        words = self._words
        if not any(words[_base(0) + _APPENDING :: 2 * _LINE].tolist()):
            return []  # as nearly always, before every batch
        slots = [slot for slot in range(SLOTS) if words[_base(slot) + _APPENDING] and slot != self._slot]
        found = [
            AbandonedAppend(slot, words[base + _NUMBER], words[base + _OFFSET], words[base + _BATCH])
            for slot in slots
            if not self._is_alive(slot)
            for base in (_base(slot),)
        ]
        return sorted(found, key=lambda append: append.batch)

    def forget_append(self, abandoned: AbandonedAppend) -> None:
        """An abandoned append was taken in, or found not to be there. Under the write lock."""
        base = _base(abandoned.slot)
        self._words[base + _APPENDING] = 0
        self._words[base + _PID] = 0

    def set_open_segment(self, kind: int, number: int) -> None:
        """This process appends to (or is about to create) this segment: nobody may collect it."""
        self._words[_base(self._slot) + _OPEN + (0 if kind == KIND_DATA else 1)] = number

    def open_segments(self) -> set[int]:
        """Numbers of segments that live processes append to."""
        bases = [_base(slot) for slot in range(SLOTS) if self._is_alive(slot)]
        return {self._words[base + _OPEN + kind] for base in bases for kind in (0, 1)} - {0}

    def ask_to_seal(self, number: int) -> None:
        """Ask whoever appends to this segment to append to another from now on. Only the collector calls it."""
        for slot in range(SLOTS):
            base = _base(slot) + _OPEN
            if number in (self._words[base], self._words[base + 1]) and self._is_alive(slot):
                self._words[_base(slot) + _SEAL] = number

    def asked_to_seal(self) -> int:
        """The segment that this process was asked to seal last; 0: none. It may be sealed long since."""
        return self._words[_base(self._slot) + _SEAL]

    def live_processes(self) -> int:
        """How many processes are attached, this one included."""
        return sum(self._is_alive(slot) for slot in range(SLOTS))

    # --- news between processes

    @property
    def unlinked(self) -> int:
        """How many segment files were unlinked so far: when it grew, let go of descriptors."""
        return self._words[_UNLINKED]

    def count_unlinked(self) -> None:
        """A segment file was unlinked. Only the one collector calls this."""
        self._words[_UNLINKED] += 1

    @property
    def doorbell(self) -> int:
        """A number that moves when there may be something new to ship."""
        return self._words[_DOORBELL]

    def ring(self) -> None:
        """Move the doorbell. Under the write lock."""
        self._words[_DOORBELL] = (self._words[_DOORBELL] + 1) & 0xFFFFFFFF

    def _initialise(self) -> None:
        boot = _boot_id()
        words = self._words
        if words[0] != _MAGIC or (words[_BOOT], words[_BOOT + 1]) != boot:
            words[:] = memoryview(bytes(_SIZE)).cast("Q")
            words[0] = _MAGIC
            words[_BOOT], words[_BOOT + 1] = boot
            words[_EPOCH] = _FIRST_EPOCH
            self.after_boot = True
        elif words[_READ_ONLY] and not any(self._is_alive(slot) for slot in range(SLOTS)):
            self.must_reverify = True  # and only who has done that lifts the flag: one that dies before leaves it

    def _claim_slot(self) -> int:
        for slot in range(SLOTS):
            base = _base(slot)
            if not self._is_alive(slot) and not self._words[base + _APPENDING]:
                self._words[base : base + 2 * _LINE] = memoryview(bytes(2 * _LINE * 8)).cast("Q")
                self._words[base + _STARTED] = _start_time(os.getpid()) or 0
                self._words[base + _PID] = os.getpid()
                return slot
        raise Overloaded(f"{SLOTS} processes use this data directory already")

    def _is_alive(self, slot: int) -> bool:
        base = _base(slot)
        pid = self._words[base + _PID]
        return pid != 0 and _start_time(pid) == self._words[base + _STARTED]

    def _count_active(self, epoch: int) -> int:
        """Registered work of live processes in an epoch; counts of dead processes are cleared on the way."""
        total = 0
        for slot in range(SLOTS):
            word = _base(slot) + _ACTIVE + (epoch & 1)
            count = self._words[word]
            if count and not self._is_alive(slot):
                self._words[word] = 0
            else:
                total += count
        return total


def take_lock(files: Files, path: Path) -> int | None:
    """Become the one process that holds ``path`` locked (elections).

    A descriptor to close when done; None if another is.
    """
    fd = files.open_shared(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        files.close(fd)
        return None
    return fd


@contextlib.contextmanager
def hold_lock(files: Files, path: Path) -> Iterator[None]:
    """Wait until no other process holds ``path`` locked, and hold it."""
    fd = files.open_shared(path)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        files.close(fd)


def _base(slot: int) -> int:
    return (2 + 2 * slot) * _LINE


def _start_time(pid: int) -> int | None:
    """When a process started (clock ticks since boot); None if there is none, or only a zombie of it."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in (b"Z", b"X") else int(fields[19])


def _boot_id() -> tuple[int, int]:
    with open("/proc/sys/kernel/random/boot_id", "rb") as file:
        value = int(file.read().strip().replace(b"-", b""), 16)
    return value >> 64, value & (1 << 64) - 1
