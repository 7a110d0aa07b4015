"""The guard before writes of content: when it asks the file system, and who may rely on what was told."""

import pytest

from gateway.store import reserve as reserve_module
from gateway.store.errors import DiskFull
from gateway.store.files import Files
from gateway.store.layout import DataDirectory
from gateway.store.reserve import ASK_EVERY_S, Reserve
from tests.gateway.store.store_site import REALM, SITE, StoreSite


class CountingFiles(Files):
    """Says how much is free, and counts how often it was asked."""

    def __init__(self, free=1 << 40):
        self.free, self.asked = free, 0

    def free_bytes(self, path):
        self.asked += 1
        return self.free


class Writable:
    """A site that takes writes."""

    read_only = False


@pytest.fixture
def now(monkeypatch):
    """The clock the guard goes by: a list of one."""
    clock = [100.0]
    monkeypatch.setattr(reserve_module.time, "monotonic", lambda: clock[0])
    return clock


def make_reserve(path, files, reserve_bytes=0):
    return Reserve(DataDirectory.create(path, REALM, SITE, files), Writable(), reserve_bytes)


def test_asking_is_always_an_answer_for_a_while(tmp_path, now):
    files = CountingFiles()
    reserve = make_reserve(tmp_path, files)
    for _ in range(10):
        if not reserve.is_fresh(100):
            reserve.ask(100)
        assert reserve.is_fresh(100)
        reserve.check(100)
        now[0] += ASK_EVERY_S * 0.3
    assert files.asked == 5


def test_a_check_asks_where_nobody_did(tmp_path, now):
    files = CountingFiles()
    reserve = make_reserve(tmp_path, files)
    reserve.check(100)
    now[0] += ASK_EVERY_S * 2
    reserve.check(100)
    assert files.asked == 2


def test_what_was_told_counts_like_what_was_asked(tmp_path, now):
    files = CountingFiles()
    reserve = make_reserve(tmp_path, files, reserve_bytes=1000)
    reserve.learn(1500)
    assert reserve.is_fresh(500)
    assert not reserve.is_fresh(501)
    reserve.learn(900)
    assert not reserve.is_fresh(1)
    files.free = 900
    with pytest.raises(DiskFull):
        reserve.check(1)
    with pytest.raises(DiskFull):
        reserve.ask(1)


async def test_batches_tell_the_reserve_so_that_writers_need_not_ask(tmp_path):
    files = CountingFiles()
    async with StoreSite(tmp_path, files=files) as site:
        site.store.reserve.learn(0)
        site.store.committer.room.ask_again()
        await site.store.commit(lambda view: None)
        assert site.store.reserve.is_fresh(1 << 20)
