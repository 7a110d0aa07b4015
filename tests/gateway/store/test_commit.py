"""Group commit: isolation of each request, one answer for each, refusals, failures of disk and sync."""

from __future__ import annotations

import asyncio
import errno
import threading

import pytest

from gateway.store.document_format import BucketRecord
from gateway.store.errors import ChunkGone, ClockWrong, DiskFull, ReadOnlyStore
from gateway.store.files import Files
from gateway.store.object_format import ObjectRecord
from gateway.store.version_ids import decode_order
from replication.change_format import Ref
from tests.gateway.store.index_site import IndexSite

UID = b"u" * 16


class FailingFiles(Files):
    """Fails what is asked for, once."""

    def __init__(self) -> None:
        self.fail_append: int | None = None
        self.fail_sync = False

    def append(self, fd, offset, buffers):
        if self.fail_append is not None:
            number, self.fail_append = self.fail_append, None
            super().append(fd, offset, [b"".join(bytes(buffer) for buffer in buffers)[:50]])
            raise OSError(number, "planted")
        return super().append(fd, offset, buffers)

    def fdatasync(self, fd):
        if self.fail_sync:
            raise OSError(errno.EIO, "planted")
        super().fdatasync(fd)


@pytest.fixture
def files():
    return FailingFiles()


@pytest.fixture
def site(tmp_path, files):
    with IndexSite(tmp_path / "a", files=files) as opened:
        yield opened


def put(key, **fields):
    return lambda view: view.put_object(UID, key, ObjectRecord(**fields), versioned=False)


def keys(site):
    with site.view() as view:
        return [key for key, _ in view.scan_heads(UID)]


def hold(site):
    """Make the writer wait in a decision, so that what comes meanwhile shares its batch. The result ends that."""
    entered, go = threading.Event(), threading.Event()

    def decide(view):
        entered.set()
        assert go.wait(60)

    thread = threading.Thread(target=site.commit, args=(decide,))
    thread.start()
    assert entered.wait(60)

    def release():
        go.set()
        thread.join()

    return release


def test_a_decision_that_raises_leaves_no_trace_and_its_neighbours_stand(site):
    class Refused(Exception):
        pass

    def refuse(view):
        view.put_object(UID, b"no", ObjectRecord(content=(site.stage(b"never"),)), versioned=True)
        view.put_bucket(BucketRecord(name="no", owner="x"))
        assert view.current(UID, b"yes1") is not None  # the one before it in the batch is seen
        raise Refused

    async def main():
        release = hold(site)
        waiting = [asyncio.ensure_future(site.committer.commit(what)) for what in (put(b"yes1"), refuse, put(b"yes2"))]
        await asyncio.sleep(0)
        release()
        return await asyncio.gather(*waiting, return_exceptions=True)

    one, refused, two = asyncio.run(main())
    assert isinstance(refused, Refused)
    assert keys(site) == [b"yes1", b"yes2"]
    assert decode_order(two.order)[1].seq == decode_order(one.order)[1].seq + 1 == 2
    with site.view() as view:
        assert view.buckets() == []
        assert view.generation == 0
        assert view.chunk(site.frames.chunk_id(b"never")) is None
        assert view.state().batch == 2  # the incarnation, and one batch for all three


def test_one_winner_among_conditional_creators(site):
    def create(view):
        if view.current(UID, b"k") is not None:
            raise FileExistsError
        return view.put_object(UID, b"k", ObjectRecord(), versioned=False)

    async def main():
        release = hold(site)
        waiting = [asyncio.ensure_future(site.committer.commit(create)) for _ in range(50)]
        await asyncio.sleep(0)
        release()
        return await asyncio.gather(*waiting, return_exceptions=True)

    results = asyncio.run(main())
    assert sum(not isinstance(result, BaseException) for result in results) == 1


def test_a_decision_without_changes_writes_nothing(site):
    with site.view() as view:
        before = view.state()
    assert site.commit(lambda view: "read") == "read"
    with site.view() as view:
        assert view.state() == before


def test_a_chunk_that_nothing_holds_is_refused(site):
    record = ObjectRecord(content=(Ref(0, b"x" * 32, 5),))
    with pytest.raises(ChunkGone):
        site.commit(lambda view: view.put_object(UID, b"k", record, versioned=False))
    assert keys(site) == []


def test_a_full_disk_is_refused_and_the_log_goes_on_in_another_segment(site, files, tmp_path):
    site.commit(put(b"one"))
    files.fail_append = errno.ENOSPC
    with pytest.raises(DiskFull):
        site.commit(put(b"lost"))
    assert not site.shared.read_only
    site.commit(put(b"two"))
    assert keys(site) == [b"one", b"two"]
    site.close()
    with IndexSite(tmp_path / "a") as again:
        assert keys(again) == [b"one", b"two"]
        again.commit(put(b"three"))
        assert keys(again) == [b"one", b"three", b"two"]


def test_a_failed_sync_makes_the_site_read_only_and_nothing_is_acknowledged(site, files):
    site.commit(put(b"one"))
    files.fail_sync = True
    with pytest.raises(ReadOnlyStore):
        site.commit(put(b"lost"))
    files.fail_sync = False
    assert site.shared.read_only
    with pytest.raises(ReadOnlyStore):
        site.commit(put(b"after"))
    assert keys(site) == [b"one"]


def test_own_writes_are_refused_while_the_clock_is_wrong_and_nothing_else(site):
    site.commit(put(b"one"))
    site.shared.set_clock_wrong(True)
    with pytest.raises(ClockWrong, match="set it right"):
        site.commit(put(b"refused"))
    assert site.commit(lambda view: view.state().seq) == 1
    site.shared.set_clock_wrong(False)
    site.commit(put(b"two"))
    assert keys(site) == [b"one", b"two"]


def test_the_index_failing_behind_the_log_stops_all_writes(site, monkeypatch):
    monkeypatch.setattr("gateway.store.index.Transaction.commit", _raise_full)
    with pytest.raises(ReadOnlyStore):
        site.commit(put(b"durable"))
    monkeypatch.undo()
    assert keys(site) == []
    with pytest.raises(ReadOnlyStore):  # another batch would fork the log: only a restart goes on (test_recover)
        site.commit(put(b"forked"))


def _raise_full(transaction):
    raise OSError(errno.ENOSPC, "planted")


def test_a_key_too_long_for_the_index_fails_alone(site):
    import lmdb

    with pytest.raises(lmdb.BadValsizeError):
        site.commit(put(b"k" * 1970))
    site.commit(put(b"k"))
    assert keys(site) == [b"k"]


def test_inline_and_data_segment_chunks_lie_where_the_index_says(site):
    for inline in (True, False):
        body = f"body {inline}".encode()
        version = site.put(UID, b"k%d" % inline, body, inline=inline)
        with site.view() as view:
            place = view.chunk(version.record.content[0].id)
        assert place.kind == (1 if inline else 0)
        assert site.open_pages(site.find_chunk).read_plaintext(version.record.content[0].id, place) == body


def test_a_closed_store_takes_no_more(site):
    site.close()
    with pytest.raises(ReadOnlyStore):
        site.commit(put(b"k"))


def test_what_is_asked_for_in_one_turn_of_a_loop_is_handed_over_at_once(site, monkeypatch):
    handed = []
    enqueue = site.committer._enqueue
    monkeypatch.setattr(site.committer, "_enqueue", lambda requests: (handed.append(len(requests)), enqueue(requests)))

    async def ask():
        await asyncio.gather(*[site.committer.commit(put(b"%d" % number)) for number in range(20)])

    asyncio.run(ask())
    assert handed == [20]
    assert len(keys(site)) == 20


def test_two_loops_are_handed_over_apart(site):
    async def ask(name):
        return await asyncio.gather(*[site.committer.commit(put(b"%s%d" % (name, number))) for number in range(5)])

    threads = [threading.Thread(target=lambda name=name: asyncio.run(ask(name))) for name in (b"a", b"b")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(keys(site)) == 10


def test_what_a_turn_gathered_before_the_store_was_closed_is_told_so(site):
    async def ask():
        asked = asyncio.ensure_future(site.committer.commit(put(b"late")))
        await asyncio.sleep(0)  # gathered, and not handed over yet
        site.committer.close()
        with pytest.raises(ReadOnlyStore):
            await asked

    asyncio.run(ask())
    assert keys(site) == []
