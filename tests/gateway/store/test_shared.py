"""What processes share: epochs, abandoned appends, the read-only flag."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from gateway.store.layout import DataDirectory
from gateway.store.segment_format import KIND_DATA, KIND_LOG
from gateway.store.shared import AbandonedAppend, Shared, hold_lock, take_lock

spawn = multiprocessing.get_context("spawn")


@pytest.fixture
def directory(tmp_path: Path) -> DataDirectory:
    return DataDirectory.create(tmp_path / "d", b"r" * 16, b"s" * 16)


def serve(path: Path, pipe: Connection) -> None:
    """A process that does with its ``Shared`` what it is told, until the pipe ends."""
    shared = Shared(DataDirectory.open(path))
    pipe.send("ready")
    while True:
        try:
            name, arguments = pipe.recv()
        except EOFError:
            os._exit(0)
        found: Any = getattr(shared, name)
        pipe.send(found(*arguments) if callable(found) else found)


class Other:
    """Another process with a ``Shared`` of the same directory."""

    def __init__(self, directory: DataDirectory) -> None:
        self.pipe, child = spawn.Pipe()
        self.process = spawn.Process(target=serve, args=(directory.path, child))
        self.process.start()
        child.close()
        assert self.pipe.recv() == "ready"

    def __call__(self, name: str, *arguments: object) -> Any:
        self.pipe.send((name, arguments))
        return self.pipe.recv()

    def kill(self) -> None:
        assert self.process.pid is not None
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.join()
        self.process.close()
        self.pipe.close()


def test_epochs_wait_for_work_of_other_processes(directory: DataDirectory) -> None:
    shared = Shared(directory)
    other = Other(directory)
    try:
        token = other("enter")
        assert token == shared.epoch
        assert shared.advance_epoch(), "work in the current epoch does not keep the next from beginning"
        assert shared.oldest_active() == token
        assert not shared.advance_epoch(), "but the one after that"
        mine = shared.enter()
        other("leave", token)
        assert shared.oldest_active() == mine == token + 1
        assert shared.advance_epoch()
        assert shared.oldest_active() == mine
        shared.leave(mine)
        assert shared.oldest_active() == shared.epoch == token + 2
    finally:
        other.kill()
        shared.close()


def test_work_of_a_killed_process_does_not_count(directory: DataDirectory) -> None:
    shared = Shared(directory)
    other = Other(directory)
    other("enter")
    other("set_open_segment", KIND_DATA, 12)
    other("set_open_segment", KIND_LOG, 13)
    shared.set_open_segment(KIND_DATA, 14)
    assert shared.open_segments() == {12, 13, 14}
    assert shared.live_processes() == 2
    other.kill()
    assert shared.open_segments() == {14}
    assert shared.live_processes() == 1
    assert shared.advance_epoch()
    assert shared.oldest_active() == shared.epoch
    shared.close()


def test_appends_of_killed_processes_are_found_once(directory: DataDirectory) -> None:
    shared = Shared(directory)
    first, second, settled = Other(directory), Other(directory), Other(directory)
    second("begin_append", 3, 700, 9)
    first("begin_append", 5, 128, 8)
    settled("begin_append", 7, 128, 7)
    settled("end_append")
    assert shared.abandoned_appends() == [], "the living will settle theirs"
    for other in (first, second, settled):
        other.kill()
    newcomer = Shared(directory)  # must not take over a slot that still tells something
    found = shared.abandoned_appends()
    assert [append[1:] for append in found] == [(5, 128, 8), (3, 700, 9)]
    assert all(isinstance(append, AbandonedAppend) for append in found)
    shared.forget_append(found[0])
    assert newcomer.abandoned_appends() == found[1:]
    newcomer.forget_append(found[1])
    assert shared.abandoned_appends() == []
    newcomer.close()
    shared.close()


def test_the_read_only_flag_stays_until_all_processes_are_gone(directory: DataDirectory) -> None:
    other = Other(directory)
    other("set_read_only")
    shared = Shared(directory)
    assert shared.read_only
    assert not shared.must_reverify
    other.kill()
    late = Shared(directory)
    assert late.read_only, "one that knows of the failure still runs"
    late.close()
    shared.close()
    for _ in range(2):  # the first is stopped before it has verified anything
        fresh = Shared(directory)
        assert fresh.read_only
        assert fresh.must_reverify
        fresh.close()
    fresh = Shared(directory)
    fresh.end_read_only()
    assert not fresh.read_only
    fresh.close()
    again = Shared(directory)
    assert not again.must_reverify
    again.close()


def test_who_enters_while_the_epoch_advances_is_counted_in_the_new_one(directory: DataDirectory) -> None:
    shared = Shared(directory)
    words, epoch = shared._words, shared.epoch

    class Racing:
        """Words of which the epoch moves on just after it was first read."""

        def __getitem__(self, at: int) -> int:
            value = words[at]
            if at == 4 and value == epoch:
                words[4] = epoch + 1
            return value

        def __setitem__(self, at: int, value: int) -> None:
            words[at] = value

    shared._words = Racing()  # type: ignore[assignment]
    token = shared.enter()
    shared._words = words
    assert token == epoch + 1
    assert shared.oldest_active() == epoch + 1
    assert shared.advance_epoch()
    assert shared.oldest_active() == epoch + 1
    shared.close()


def test_counters_are_seen_by_others(directory: DataDirectory) -> None:
    shared = Shared(directory)
    other = Other(directory)
    before = shared.doorbell
    other("ring")
    assert shared.doorbell == before + 1
    shared.count_unlinked()
    assert other("unlinked") == 1
    other.kill()
    shared.close()


def test_a_file_of_another_boot_says_nothing(directory: DataDirectory) -> None:
    shared = Shared(directory)
    shared.set_read_only()
    shared.begin_append(3, 1, 1)
    shared.close()
    path = directory.run / "shared"
    data = bytearray(path.read_bytes())
    data[8] ^= 1  # the boot id
    path.write_bytes(data)
    fresh = Shared(directory)
    assert not fresh.read_only
    assert fresh.abandoned_appends() == []
    fresh.close()


def test_leaving_after_close_is_harmless(directory: DataDirectory) -> None:
    shared = Shared(directory)
    token = shared.enter()
    shared.close()
    shared.leave(token)


def test_locks_between_processes(directory: DataDirectory) -> None:
    path = directory.run / "elected"
    held = take_lock(directory.files, path)
    assert held is not None
    assert take_lock(directory.files, path) is None
    directory.files.close(held)
    with hold_lock(directory.files, path):
        assert take_lock(directory.files, path) is None
    freed = take_lock(directory.files, path)
    assert freed is not None
    directory.files.close(freed)


def test_what_is_mapped_has_all_its_blocks(directory: DataDirectory) -> None:
    """A page of it that found the disk full would end the process with SIGBUS."""
    shared = Shared(directory)
    path = directory.run / "shared"
    assert path.stat().st_blocks * 512 >= path.stat().st_size
    shared.close()
