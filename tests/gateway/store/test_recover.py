"""Recovery: batches of dead processes are taken in, torn tails left behind, damage named; processes share one log."""

from __future__ import annotations

import multiprocessing
import os
from pathlib import Path

import pytest

from gateway.store.errors import Damaged
from gateway.store.files import Files
from gateway.store.index import Transaction
from gateway.store.object_format import ObjectRecord
from gateway.store.version_ids import decode_order
from tests.gateway.store.index_site import IndexSite

UID = b"u" * 16
SPAWN = multiprocessing.get_context("spawn")


def put(key, **fields):
    return lambda view: view.put_object(UID, key, ObjectRecord(**fields), versioned=False)


def keys(site):
    with site.view() as view:
        return [key for key, _ in view.scan_heads(UID)]


def state(site):
    with site.view() as view:
        return view.state()


def log_files(path: Path):
    return sorted((path / "segments").glob("*.log"), key=lambda file: int(file.stem))


def die_before_index_commit(path: str, body: bytes) -> None:
    """A process that appends one batch, makes it durable, and is gone before the index has it."""
    site = IndexSite(Path(path))
    Transaction.commit = lambda self: os._exit(9)
    content = (site.stage(body), site.stage(body + b" in a data segment", inline=False))
    site.commit(put(b"orphan", size=len(body), content=content))


def run(target, *arguments):
    process = SPAWN.Process(target=target, args=arguments)
    process.start()
    process.join(60)
    return process.exitcode


def test_a_live_process_takes_in_what_a_dead_one_appended(tmp_path):
    with IndexSite(tmp_path / "a") as site:
        site.commit(put(b"before"))
        assert run(die_before_index_commit, str(tmp_path / "a"), b"bytes") == 9
        assert keys(site) == [b"before"]
        later = site.commit(put(b"later"))
        assert keys(site) == [b"before", b"later", b"orphan"]
        assert decode_order(later.order)[1].seq == 3
        with site.view() as view:
            for ref in view.current(UID, b"orphan").record.content:
                assert site.open_pages(view.chunk).read_plaintext(ref.id, view.chunk(ref.id)).startswith(b"bytes")
        assert site.shared.abandoned_appends() == []


def test_a_restart_takes_in_what_a_dead_process_appended(tmp_path):
    with IndexSite(tmp_path / "a") as site:
        site.commit(put(b"before"))
    assert run(die_before_index_commit, str(tmp_path / "a"), b"bytes") == 9
    with IndexSite(tmp_path / "a") as again:
        assert again.recovered == 1
        assert keys(again) == [b"before", b"orphan"]
        again.commit(put(b"next"))
        assert state(again).seq == 3


def test_an_unread_tail_is_taken_in_without_any_hint_in_shared_memory(tmp_path):
    with IndexSite(tmp_path / "a") as site:
        site.commit(put(b"before"))
    assert run(die_before_index_commit, str(tmp_path / "a"), b"bytes") == 9
    (tmp_path / "a" / "run" / "shared").unlink()
    with IndexSite(tmp_path / "a") as again:
        assert keys(again) == [b"before", b"orphan"]


class SyncedFiles(Files):
    """Remembers the names of files that were synced."""

    def __init__(self) -> None:
        self.opened: dict[int, str] = {}
        self.synced: list[str] = []

    def open_read(self, path):
        fd = super().open_read(path)
        self.opened[fd] = path.name
        return fd

    def fdatasync(self, fd):
        super().fdatasync(fd)
        self.synced.append(self.opened.get(fd, "own"))


@pytest.mark.parametrize("restart", [False, True])
def test_what_a_dead_process_left_is_synced_before_anything_relies_on_it(tmp_path, restart):
    files = SyncedFiles()
    with IndexSite(tmp_path / "a", files=files) as site:
        site.commit(put(b"before"))
        if not restart:
            assert run(die_before_index_commit, str(tmp_path / "a"), b"bytes") == 9
            site.commit(put(b"later"))
    if restart:
        assert run(die_before_index_commit, str(tmp_path / "a"), b"bytes") == 9
        IndexSite(tmp_path / "a", files=files).close()
    left = log_files(tmp_path / "a")[1].name
    assert left in files.synced


@pytest.mark.parametrize("cut", [1, 40, 150])
def test_a_torn_tail_is_left_behind(tmp_path, cut):
    with IndexSite(tmp_path / "a") as site:
        site.commit(put(b"before"))
    assert run(die_before_index_commit, str(tmp_path / "a"), b"bytes") == 9
    torn = log_files(tmp_path / "a")[-1]
    size = torn.stat().st_size
    os.truncate(torn, size - cut)
    with IndexSite(tmp_path / "a") as again:
        assert again.recovered == 0
        assert keys(again) == [b"before"]
        again.commit(put(b"next"))
        assert log_files(tmp_path / "a")[-1] != torn  # nobody appends to a segment of another process
        assert torn.stat().st_size == size - cut
    with IndexSite(tmp_path / "a") as again:
        assert keys(again) == [b"before", b"next"]


def test_an_envelope_that_does_not_authenticate_at_the_end_is_a_torn_tail(tmp_path):
    with IndexSite(tmp_path / "a") as site:
        site.commit(put(b"before"))
    assert run(die_before_index_commit, str(tmp_path / "a"), b"bytes") == 9
    flip(log_files(tmp_path / "a")[-1], 128 + 100 + 90)
    with IndexSite(tmp_path / "a") as again:
        assert keys(again) == [b"before"]


def flip(file: Path, offset: int) -> None:
    data = bytearray(file.read_bytes())
    data[offset] ^= 0x40
    file.write_bytes(data)


def append_behind_the_index(path: str, count: int) -> None:
    """A process whose index commits are all lost (as by a power cut), though its log is durable."""
    site = IndexSite(Path(path))
    raw = site.index.begin_write()
    saved = {name: list(raw.scan(getattr(raw.tables, name))) for name in ("meta", "segments")}
    raw.abort()
    for number in range(count):
        site.commit(put(b"lost%d" % number))
    with site.index.begin_write() as transaction:  # set the index back to where it was
        for name in ("heads", "versions", "batches", "seqs", "counts", "meta", "segments"):
            transaction.raw.drop(getattr(transaction.tables, name), delete=False)
            for key, value in saved.get(name, ()):
                transaction.put(getattr(transaction.tables, name), key, value)
        transaction.commit()
    os._exit(9)


def test_an_index_that_fell_behind_catches_up(tmp_path):
    with IndexSite(tmp_path / "a"):
        pass
    assert run(append_behind_the_index, str(tmp_path / "a"), 5) == 9
    with IndexSite(tmp_path / "a") as site:
        assert site.recovered == 5
        assert keys(site) == [b"lost%d" % number for number in range(5)]
        assert state(site).seq == 5


@pytest.mark.parametrize("where", ["header", "envelope"])
def test_damage_with_batches_behind_it_is_named_and_not_bridged(tmp_path, where):
    with IndexSite(tmp_path / "a"):
        pass
    assert run(append_behind_the_index, str(tmp_path / "a"), 5) == 9
    flip(log_files(tmp_path / "a")[-1], 128 + (20 if where == "header" else 110))
    with pytest.raises(Damaged, match=r"batch|segment"):
        IndexSite(tmp_path / "a")


def write_some(path: str, name: str, count: int, queue) -> None:
    won = 0
    with IndexSite(Path(path)) as site:
        queue.put("ready")

        def create(view):
            if view.current(UID, b"contested") is not None:
                return False
            view.put_object(UID, b"contested", ObjectRecord(owner=name), versioned=False)
            return True

        for number in range(count):
            site.commit(put(f"{name}{number:04d}".encode(), owner=name))
            if number == count // 2:
                won += site.commit(create)
    queue.put((name, won))


def test_processes_share_one_dense_log_and_one_winner(tmp_path):
    count = 60
    with IndexSite(tmp_path / "a") as site:
        queue = SPAWN.Queue()
        names = ["x", "y"]
        processes = [SPAWN.Process(target=write_some, args=(str(tmp_path / "a"), name, count, queue)) for name in names]
        for process in processes:
            process.start()
        for number in range(count):
            site.commit(put(b"z%04d" % number))
        results = [queue.get(timeout=60) for _ in range(4)]
        for process in processes:
            process.join(60)
            assert process.exitcode == 0
        assert sum(won for _, won in filter(lambda result: result != "ready", results)) == 1
        with site.view() as view:
            found = [view.current(UID, key) for key, _ in view.scan_heads(UID)]
            sequences = sorted(decode_order(version.order)[1].seq for version in found)
            assert sequences == list(range(1, 3 * count + 2))
            assert view.state().seq == 3 * count + 1
    with IndexSite(tmp_path / "a") as again:
        assert again.recovered == 0
        assert len(keys(again)) == 3 * count + 1
