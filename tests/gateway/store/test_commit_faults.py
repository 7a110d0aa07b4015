"""Faults in the middle of a commit: whoever is told, nothing acknowledged is lost and no number is given twice."""

from __future__ import annotations

import asyncio
import errno
import os
import threading
from pathlib import Path

import lmdb
import pytest

from gateway.store import commit as commit_module
from gateway.store import log as log_module
from gateway.store.errors import DiskFull, Overloaded, ReadOnlyStore, StoreError
from gateway.store.files import Files
from gateway.store.index import Index, Transaction
from gateway.store.object_format import ObjectRecord
from gateway.store.rebuild import rebuild_index
from gateway.store.recover import recover_tail
from tests.gateway.store.index_site import MAP_SIZE, IndexSite
from tests.gateway.store.test_recover import SyncedFiles, die_before_index_commit, keys, log_files, put, run

UID = b"u" * 16


class PlantedFiles(Files):
    """Raises what is planted once: after the bytes of an append are written, instead of it, or instead of a sync."""

    def __init__(self) -> None:
        self.raise_after_append: BaseException | None = None
        self.raise_in_append: BaseException | None = None
        self.raise_in_sync: BaseException | None = None
        self.free: int | None = None

    def append(self, fd, offset, buffers):
        if self.raise_in_append is not None:
            error, self.raise_in_append = self.raise_in_append, None
            raise error
        written = super().append(fd, offset, buffers)
        if self.raise_after_append is not None:
            error, self.raise_after_append = self.raise_after_append, None
            raise error
        return written

    def fdatasync(self, fd):
        if self.raise_in_sync is not None:
            error, self.raise_in_sync = self.raise_in_sync, None
            raise error
        super().fdatasync(fd)

    def free_bytes(self, path):
        return super().free_bytes(path) if self.free is None else self.free


@pytest.fixture
def files():
    return PlantedFiles()


@pytest.fixture
def site(tmp_path, files):
    with IndexSite(tmp_path / "a", files=files) as opened:
        yield opened


def together(site, *decisions):
    """Commit decisions in one batch: what each came to."""

    async def main():
        entered, go = threading.Event(), threading.Event()

        def hold(view):
            entered.set()
            assert go.wait(60)

        held = asyncio.ensure_future(site.committer.commit(hold))
        await asyncio.to_thread(entered.wait, 60)
        waiting = [asyncio.ensure_future(site.committer.commit(decide)) for decide in decisions]
        await asyncio.sleep(0)
        go.set()
        results = await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 30)
        await asyncio.gather(held, return_exceptions=True)
        return results

    return asyncio.run(main())


# what may lie in the log although nobody was told so


@pytest.mark.parametrize("where", ["raise_after_append", "raise_in_sync"])
def test_a_batch_that_may_be_in_the_log_is_never_given_a_twin(site, files, tmp_path, where):
    """Not only an ``OSError``: whatever comes between the append and the sync leaves a whole batch behind."""
    site.commit(put(b"before"))
    setattr(files, where, MemoryError("planted"))
    with pytest.raises((MemoryError, StoreError)):
        site.commit(put(b"in doubt"))
    assert site.shared.read_only
    with pytest.raises(ReadOnlyStore):
        site.commit(put(b"twin"))
    numbers = [batch.header.number for n in site.log.segment_numbers() for batch in site.log.scan(n).batches]
    assert len(numbers) == len(set(numbers))


def test_nothing_is_appended_behind_an_append_that_was_interrupted(site, files):
    appender = site.appenders[0]
    first = appender.append([b"a" * 100])
    files.raise_in_append = MemoryError("planted")
    with pytest.raises(MemoryError):
        appender.append([b"b" * 100])
    assert appender.append([b"c" * 100]).number != first.number
    files.raise_in_sync = MemoryError("planted")
    with pytest.raises((MemoryError, StoreError)):
        appender.sync()
    with pytest.raises(ReadOnlyStore):
        appender.sync()  # it must not find that there is nothing left to do
    assert site.shared.read_only


def test_a_batch_that_could_not_be_read_back_is_not_written(site, monkeypatch):
    site.commit(put(b"before"))
    monkeypatch.setattr(log_module, "BATCH_BYTES_MAX", 4096)
    sizes = [site.log.segment_size(number) for number in site.log.segment_numbers()]
    with pytest.raises(StoreError, match="too large"):
        site.commit(put(b"large", metadata={"a": "b" * 5000}))
    assert [site.log.segment_size(number) for number in site.log.segment_numbers()] == sizes
    assert not site.shared.read_only
    site.commit(put(b"after"))
    assert keys(site) == [b"after", b"before"]


def test_the_index_failing_in_a_commit_of_its_own_stops_all_writes(site, monkeypatch):
    """Its data pages could not be synced: what the kernel has of them proves nothing any more."""

    def fail(transaction):
        raise lmdb.DiskError("mdb_txn_commit: Input/output error")

    monkeypatch.setattr(Transaction, "commit", fail)
    with pytest.raises(ReadOnlyStore):
        site.commit(lambda view: view.edit_index().chunks.flush())
    monkeypatch.undo()
    assert site.shared.read_only


# a failed sync elsewhere


def test_who_opens_while_a_sync_fails_takes_in_nothing(site, tmp_path):
    """The flag is set while the opener waits for the lock: what it then finds in the page cache may be nowhere else."""
    site.commit(put(b"before"))
    assert run(die_before_index_commit, str(tmp_path / "a"), b"bytes") == 9
    begin_write = site.index.begin_write

    def wait_for_the_lock():
        transaction = begin_write()
        site.shared.set_read_only()
        return transaction

    site.index.begin_write = wait_for_the_lock
    assert recover_tail(site.index, site.log, site.site, site.open_pages, from_disk=False) == 0
    assert keys(site) == [b"before"]


class ForgetfulFiles(SyncedFiles):
    """A disk that lost what a dead process' sync failed to write: the page cache has it until it is dropped, and a
    second sync says nothing.
    """

    lost_from: int | None = None

    def drop_cache(self, fd):
        super().drop_cache(fd)
        if self.lost_from is not None and self.opened.get(fd, "").endswith(".log"):
            assert self.opened[fd] in self.synced, "dirty pages are not dropped: sync first"
            path = f"/proc/self/fd/{fd}"
            if os.stat(path).st_size > self.lost_from:
                os.truncate(path, self.lost_from)


@pytest.mark.parametrize("restart", [False, True])
def test_what_a_dead_process_left_counts_only_as_the_disk_has_it(tmp_path, restart):
    files = ForgetfulFiles()
    with IndexSite(tmp_path / "a", files=files) as site:
        site.commit(put(b"before"))
        if not restart:
            assert run(die_before_index_commit, str(tmp_path / "a"), b"bytes") == 9
            files.lost_from = log_files(tmp_path / "a")[-1].stat().st_size - 30
            site.commit(put(b"later"))
            assert keys(site) == [b"before", b"later"]
    if restart:
        assert run(die_before_index_commit, str(tmp_path / "a"), b"bytes") == 9
        files.lost_from = log_files(tmp_path / "a")[-1].stat().st_size - 30
        with IndexSite(tmp_path / "a", files=files) as site:
            assert keys(site) == [b"before"]
            site.commit(put(b"later"))
    files.lost_from = None
    with IndexSite(tmp_path / "a") as again:
        assert keys(again) == [b"before", b"later"]


def test_a_rebuilt_index_relies_on_nothing_that_is_not_synced(tmp_path):
    with IndexSite(tmp_path / "a") as site:
        site.commit(put(b"before"))
    assert run(die_before_index_commit, str(tmp_path / "a"), b"bytes") == 9
    left = {path.name for path in (tmp_path / "a" / "segments").iterdir()}
    files = SyncedFiles()
    site = IndexSite(tmp_path / "a", files=files)
    try:
        site.committer.close()
        site.index.close()
        files.synced.clear()
        rebuild_index(site.directory, site.log, site.reader, site.open_pages, map_size=MAP_SIZE)
        assert left <= set(files.synced)
    finally:
        site.reopen_index()
        site.close()


# who is told what


def test_a_refusal_that_saw_what_then_failed_fails_with_it(site, files):
    class Exists(Exception):
        pass

    def create(view):
        if view.current(UID, b"k") is not None:
            raise Exists
        return view.put_object(UID, b"k", ObjectRecord(), versioned=False)

    def refuse(view):
        raise Exists

    files.raise_in_append = OSError(errno.ENOSPC, "planted")
    refused, created, saw_it = together(site, refuse, create, create)
    assert isinstance(refused, Exists), "it saw only what was committed"
    assert isinstance(created, DiskFull)
    assert isinstance(saw_it, DiskFull), "the key was never created"
    assert keys(site) == []
    assert len({id(error) for error in (created, saw_it)}) == 2, "each has an exception of its own"


@pytest.mark.parametrize("error", [StopIteration(5), KeyboardInterrupt(), SystemExit(3), GeneratorExit()])
def test_whatever_a_decision_raises_its_neighbours_are_answered(site, error):
    def refuse(view):
        raise error

    one, refused, two = together(site, put(b"one"), refuse, put(b"two"))
    assert not isinstance(one, BaseException)
    assert not isinstance(two, BaseException)
    assert isinstance(refused, Exception)
    assert keys(site) == [b"one", b"two"]


def test_the_writer_survives_an_answer_that_nobody_can_take(site, monkeypatch):
    def fail(self, outcomes):
        monkeypatch.undo()
        raise MemoryError("planted")

    monkeypatch.setattr(commit_module.Committer, "_deliver", fail)

    async def main():
        for key in (b"one", b"two"):
            await asyncio.wait_for(site.committer.commit(put(key)), 30)

    asyncio.run(main())
    assert keys(site) == [b"one", b"two"]


# room


def test_a_disk_that_is_full_to_the_brim_is_said_before_anything_is_logged(site, files):
    site.commit(put(b"before"))
    site.committer.room.ask_again()
    files.free = 4096
    sizes = [site.log.segment_size(number) for number in site.log.segment_numbers()]
    with pytest.raises(DiskFull):
        site.commit(put(b"too late"))
    assert [site.log.segment_size(number) for number in site.log.segment_numbers()] == sizes
    files.free = None
    site.committer.room.ask_again()
    site.commit(put(b"after"))
    assert keys(site) == [b"after", b"before"]


def test_an_index_without_room_to_grow_is_said_before_anything_is_logged(tmp_path: Path):
    with IndexSite(tmp_path / "a") as site:
        site.commit(put(b"before"))
        site.index.map_size = site.index.size_bytes() + (1 << 20)
        site.committer.room.ask_again()
        with pytest.raises(DiskFull, match="map"):
            site.commit(put(b"too late"))
        assert not site.shared.read_only


def test_too_many_snapshots_are_an_overload(tmp_path, monkeypatch):
    monkeypatch.setattr("gateway.store.index.READERS_MAX", 4)
    index = Index(tmp_path, MAP_SIZE)
    held = [index.begin_read() for _ in range(4)]
    with pytest.raises(Overloaded):
        index.begin_read()
    held.pop().end_read()
    index.begin_read().end_read()
    for transaction in held:
        transaction.end_read()
    index.close()


def test_a_view_that_has_ended_takes_no_readers_slot(tmp_path, monkeypatch):
    """However long its name lives on in a handler that streams."""
    monkeypatch.setattr("gateway.store.index.READERS_MAX", 4)
    with IndexSite(tmp_path / "a") as site:
        site.commit(put(b"k"))
        ended = []
        for _ in range(20):
            with site.view() as view:
                assert view.current(UID, b"k") is not None
            ended.append(view)
