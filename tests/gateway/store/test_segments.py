"""Appending to segments: places, rolling, syncs, and failures that abandon a file."""

from __future__ import annotations

import errno
import os
import threading
from pathlib import Path

import pytest

from gateway.store import segments
from gateway.store.errors import Damaged, DiskFull, ReadOnlyStore, StoreError
from gateway.store.layout import DataDirectory
from gateway.store.segment_format import KIND_DATA, KIND_LOG, SEGMENT_HEADER_SIZE
from gateway.store.segments import FORGET_SIZE, Appender, Place, SegmentReader, write_error
from tests.gateway.store.failing_files import FailingFiles

REALM, SITE, EPOCH = b"r" * 16, b"s" * 16, b"e" * 16


@pytest.fixture
def files() -> FailingFiles:
    return FailingFiles()


@pytest.fixture
def directory(tmp_path: Path, files: FailingFiles) -> DataDirectory:
    made = DataDirectory.create(tmp_path / "d", REALM, SITE, files)
    files.calls.clear()
    return made


def make_appender(directory: DataDirectory, size_max: int | None = None, **hooks: object) -> Appender:
    return Appender(directory, directory.files, KIND_DATA, REALM, SITE, EPOCH, size_max, **hooks)  # type: ignore[arg-type]


def test_appends_lie_where_it_says_and_segments_roll(directory: DataDirectory) -> None:
    opened: list[int] = []
    appender = make_appender(directory, 1000, on_open=opened.append)
    places = [appender.append([b"x" * 300, bytes([n]) * 100]) for n in range(5)]
    assert [place.number for place in places] == [2, 2, 4, 4, 6]
    assert opened == [2, 4, 6]
    reader = SegmentReader(directory, directory.files, open_max=1)
    for n, place in enumerate(places):
        assert reader.read(place.number, KIND_DATA, place.offset + 300, 100) == bytes([n]) * 100
        assert reader.read_cached(place.number, KIND_DATA, place.offset + 300, 100) in (None, bytes([n]) * 100)
    header = reader.header(6, KIND_DATA)
    assert (header.predecessor, header.predecessor_size) == (4, SEGMENT_HEADER_SIZE + 800)
    appender.close()


def test_one_append_larger_than_a_segment_goes_into_one_of_its_own(directory: DataDirectory) -> None:
    appender = make_appender(directory, 1000)
    assert appender.append([b"x" * 5000]) == Place(2, SEGMENT_HEADER_SIZE)
    assert appender.append([b"y"]) == Place(4, SEGMENT_HEADER_SIZE)
    appender.close()


def test_nothing_is_created_before_the_first_append_and_names_are_synced_once(
    directory: DataDirectory, files: FailingFiles
) -> None:
    appender = make_appender(directory)
    appender.sync()
    assert directory.segment_numbers(KIND_DATA) == []
    assert files.calls == []
    appender.append([b"a"])
    appender.sync()
    appender.append([b"b"])
    appender.sync()
    appender.sync()
    assert [call for call in files.calls if "sync" in call] == ["fdatasync", "fdatasync", "sync_directory", "fdatasync"]
    appender.close()


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_failed_append_abandons_the_segment(directory: DataDirectory, files: FailingFiles, number: int) -> None:
    appender = make_appender(directory)
    first = appender.append([b"a" * 100])
    files.fail["append"] = (0, number)
    with pytest.raises(OSError) as caught:
        appender.append([b"b" * 100])
    assert caught.value.errno == number
    files.fail.clear()
    after = appender.append([b"c" * 100])
    assert after.number != first.number
    appender.sync()
    reader = SegmentReader(directory, files)
    assert reader.header(after.number, KIND_DATA).predecessor_size == first.offset + 100
    assert reader.size(first.number, KIND_DATA) == first.offset + 150  # the torn half does not count
    appender.close()


def test_a_segment_whose_header_cannot_be_written_leaves_nothing(directory: DataDirectory, files: FailingFiles) -> None:
    appender = make_appender(directory)
    files.fail["append"] = (0, errno.ENOSPC)
    with pytest.raises(OSError):
        appender.append([b"a"])
    assert directory.segment_numbers(KIND_DATA) == []
    files.fail.clear()
    assert appender.append([b"a"]).number == 2
    appender.close()


@pytest.mark.parametrize("call", ["fdatasync", "sync_directory"])
def test_a_failed_sync_is_final(directory: DataDirectory, files: FailingFiles, call: str) -> None:
    told: list[bool] = []
    appender = make_appender(directory, on_sync_failure=lambda: told.append(True))
    appender.append([b"a"])
    files.fail[call] = (0, errno.EIO)
    with pytest.raises(ReadOnlyStore):
        appender.sync()
    files.fail.clear()
    calls = len(files.calls)
    for again in (appender.sync, lambda: appender.append([b"b"])):
        with pytest.raises(ReadOnlyStore):
            again()
    assert told == [True]
    assert len(files.calls) == calls, "a failed sync must not be tried again"
    appender.close()


def test_prepare_names_the_place_of_the_next_append(directory: DataDirectory) -> None:
    appender = make_appender(directory, 1000)
    appender.append([b"x" * 500])
    header, offset = appender.prepare(600)
    assert appender.append([b"y" * 600]) == Place(header.number, offset)
    assert header.epoch == EPOCH
    appender.set_epoch(b"f" * 16)
    appender.roll()
    assert appender.prepare(1)[0].epoch == b"f" * 16
    appender.close()


def test_two_appenders_never_share_a_segment(directory: DataDirectory) -> None:
    appenders = [make_appender(directory, 2000) for _ in range(4)]
    places: list[tuple[int, Place, bytes]] = []
    lock = threading.Lock()

    def work(which: int) -> None:
        for n in range(40):
            data = f"{which}-{n}".encode() * 20
            place = appenders[which].append([data])
            if n % 7 == 0:
                appenders[which].sync()
            with lock:
                places.append((which, place, data))

    threads = [threading.Thread(target=work, args=(which,)) for which in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    owners = {(place.number, which) for which, place, _ in places}
    assert len(owners) == len({number for number, _ in owners})
    reader = SegmentReader(directory, directory.files, open_max=2)
    for _, place, data in places:
        assert reader.read(place.number, KIND_DATA, place.offset, len(data)) == data
    for appender in appenders:
        appender.close()


def test_threads_of_one_appender_share_syncs(directory: DataDirectory, files: FailingFiles) -> None:
    appender = make_appender(directory, 4000)
    start = threading.Barrier(8)

    def work() -> None:
        start.wait()
        for _ in range(20):
            appender.append([b"z" * 300])
            appender.sync()

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert files.calls.count("append") == 160 + len(directory.segment_numbers(KIND_DATA))
    appender.close()
    open_files = {os.readlink(f"/proc/self/fd/{fd}") for fd in os.listdir("/proc/self/fd") if _is_open(fd)}
    assert not [name for name in open_files if str(directory.segments) in name], "descriptors leak"


def _is_open(fd: str) -> bool:
    return os.path.islink(f"/proc/self/fd/{fd}")


def test_reading_what_is_not_there_is_damage(directory: DataDirectory, files: FailingFiles) -> None:
    appender = make_appender(directory)
    place = appender.append([b"abc"])
    reader = SegmentReader(directory, files)
    with pytest.raises(Damaged, match="offset 132"):
        reader.read(place.number, KIND_DATA, place.offset, 4)
    assert reader.read_cached(place.number, KIND_DATA, place.offset, 4) is None
    with pytest.raises(Damaged, match="segment 99"):
        reader.read(99, KIND_LOG, 0, 1)
    assert reader.read_cached(99, KIND_LOG, 0, 1) is None
    files.fail["pread"] = (0, errno.EIO)
    with pytest.raises(Damaged, match="Input/output"):
        reader.read(place.number, KIND_DATA, place.offset, 3)
    appender.close()


def test_readers_outlive_an_unlink_until_they_let_go(directory: DataDirectory) -> None:
    appender = make_appender(directory)
    place = appender.append([b"abc"])
    reader = SegmentReader(directory, directory.files)
    assert reader.read(place.number, KIND_DATA, place.offset, 3) == b"abc"
    directory.segment_path(place.number, KIND_DATA).unlink()
    assert reader.read(place.number, KIND_DATA, place.offset, 3) == b"abc"
    reader.drop_unlinked()
    with pytest.raises(Damaged):
        reader.read(place.number, KIND_DATA, place.offset, 3)
    appender.close()


def test_write_errors_become_what_a_request_can_say() -> None:
    assert isinstance(write_error(OSError(errno.ENOSPC, "full")), DiskFull)
    assert isinstance(write_error(OSError(errno.EDQUOT, "quota")), DiskFull)
    assert type(write_error(OSError(errno.EIO, "broken"))) is StoreError


def test_what_is_much_at_once_leaves_the_page_cache_when_it_is_durable(
    directory: DataDirectory, monkeypatch: pytest.MonkeyPatch
) -> None:
    forgotten: list[tuple[int, int]] = []
    directory.files.forget = lambda fd, offset, size: forgotten.append((offset, size))  # type: ignore[method-assign]
    appender = make_appender(directory)
    appender.append([b"x" * 1000])
    appender.sync()
    assert not forgotten
    monkeypatch.setattr(segments, "FORGET_BEHIND", 3000)
    block = bytes(FORGET_SIZE // 2)
    for _ in range(2):
        appender.append([block])
    assert not forgotten, "nothing is forgotten that is not durable"
    appender.sync()
    assert not forgotten, "nor what was just written"
    appender.append([b"x" * 3000])
    appender.sync()
    assert forgotten == [(SEGMENT_HEADER_SIZE + 1000, FORGET_SIZE)]
    appender.append([block])
    appender.sync()
    assert len(forgotten) == 1
    appender.close()


def test_a_kernel_that_takes_no_advice_is_no_error(directory: DataDirectory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(segments, "FORGET_BEHIND", 0)

    def refuse(fd: int, offset: int, size: int) -> None:
        raise OSError(errno.EINVAL, "no")

    directory.files.forget = refuse  # type: ignore[method-assign]
    appender = make_appender(directory)
    place = appender.append([b"x" * FORGET_SIZE])
    appender.sync()
    assert SegmentReader(directory, directory.files).read(place.number, KIND_DATA, place.offset, 3) == b"xxx"
    appender.close()
