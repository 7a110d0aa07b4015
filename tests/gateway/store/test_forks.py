"""No number of the log is given to two batches, and nothing is relied on that may not be durable."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from gateway.store.errors import DiskFull, ReadOnlyStore
from gateway.store.files import Files
from tests.gateway.store.failing_files import FailingFiles
from tests.gateway.store.index_site import IndexSite
from tests.gateway.store.store_site import StoreSite
from tests.gateway.store.test_recover import die_before_index_commit, keys, put, run
from tests.gateway.store.worker_process import Worker


def test_who_waited_for_the_lock_hears_that_its_last_holder_failed(tmp_path: Path) -> None:
    """A sync failed while we waited: that batch may yet turn out durable, so ours must not take its number."""
    with IndexSite(tmp_path / "a") as site:
        site.commit(put(b"before"))
        begin_write = site.index.begin_write
        sizes = [site.log.segment_size(number) for number in site.log.segment_numbers()]

        def wait_for_the_lock():
            transaction = begin_write()
            site.shared.set_read_only()
            return transaction

        site.index.begin_write = wait_for_the_lock
        with pytest.raises(ReadOnlyStore):
            site.commit(put(b"forked"))
        assert [site.log.segment_size(number) for number in site.log.segment_numbers()] == sizes


class FullOnce(Files):
    full = False

    def append(self, fd, offset, buffers):
        if self.full:
            self.full = False
            raise OSError(errno.ENOSPC, "planted")
        return super().append(fd, offset, buffers)


def test_what_a_dead_process_left_is_not_forgotten_by_a_batch_that_failed(tmp_path: Path) -> None:
    files = FullOnce()
    with IndexSite(tmp_path / "a", files=files) as site:
        site.commit(put(b"before"))
        assert run(die_before_index_commit, str(tmp_path / "a"), b"bytes") == 9
        files.full = True
        with pytest.raises(DiskFull):
            site.commit(put(b"refused"))
        later = site.commit(put(b"later"))
        assert later.order[-1] == 3, "the orphan's change is the second"
        assert keys(site) == [b"before", b"later", b"orphan"]
        numbers = [batch.header.number for n in site.log.segment_numbers() for batch in site.log.scan(n).batches]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))


async def test_a_process_that_opens_beside_a_failed_sync_does_not_take_in_what_may_be_lost(tmp_path: Path) -> None:
    files, worker = FailingFiles(), Worker()
    async with StoreSite(tmp_path / "d", files=files) as site:
        await site.put(b"durable", b"1")
        files.fail["fdatasync"] = (0, errno.EIO)
        with pytest.raises(ReadOnlyStore):
            await site.put(b"in doubt", b"2")
        try:
            worker.open(tmp_path / "d", 1 << 20)
            with site.store.view() as view:
                assert [key for key, _ in view.scan_heads(site.uid)] == [b"durable"]
        finally:
            worker.close()
            worker.end()
