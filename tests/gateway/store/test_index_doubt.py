"""An index in doubt is never opened: it is rebuilt at the start that finds it so, and everything is there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from gateway.store.errors import Damaged, ReadOnlyStore
from gateway.store.index import Index
from gateway.store.layout import DataDirectory
from gateway.store.shared import Shared
from tests.gateway.store.failing_files import FailingFiles
from tests.gateway.store.store_site import StoreSite

PAGE = 4096
KEYS = [b"key-%03d" % number + b"x" * 300 for number in range(60)]


async def fill(path: Path) -> None:
    async with StoreSite(path) as site:
        for key in KEYS:
            await site.put(key, key * 3)


async def check_all(path: Path, *, rebuilt: bool) -> None:
    async with StoreSite(path) as site:
        assert (site.store.rebuilt is not None) == rebuilt
        assert [await site.get(key) for key in KEYS] == [key * 3 for key in KEYS]
        assert not site.store.is_index_damaged


def break_branches(path: Path) -> int:
    """Zero every branch page: what no value's checksum covers. How many there were."""
    data = bytearray((path / "index" / "data.mdb").read_bytes())
    branches = [at for at in range(2 * PAGE, len(data), PAGE) if int.from_bytes(data[at + 18 : at + 20], "little") == 1]
    for at in branches:
        data[at + 24 : at + PAGE] = bytes(PAGE - 24)
    (path / "index" / "data.mdb").write_bytes(data)
    return len(branches)


async def test_a_tree_that_the_machine_came_up_with_broken_is_rebuilt(tmp_path: Path) -> None:
    await fill(tmp_path / "site")
    await check_all(tmp_path / "site", rebuilt=False)
    assert break_branches(tmp_path / "site") > 0
    shutil.rmtree(tmp_path / "site" / "run")  # as after a boot
    await check_all(tmp_path / "site", rebuilt=True)
    await check_all(tmp_path / "site", rebuilt=False)


async def test_a_sound_tree_is_not_rebuilt_after_a_boot(tmp_path: Path) -> None:
    await fill(tmp_path / "site")
    shutil.rmtree(tmp_path / "site" / "run")
    await check_all(tmp_path / "site", rebuilt=False)


async def test_an_index_found_damaged_while_it_is_used_is_rebuilt_at_the_next_start(tmp_path: Path) -> None:
    await fill(tmp_path / "site")
    async with StoreSite(tmp_path / "site") as site:
        with site.store.index.begin_write() as transaction:
            heads = transaction.tables.heads
            key, _ = next(transaction.scan(heads))
            other = bytes(transaction.raw.get(key, None, heads))
            transaction.raw.put(key[:-1] + b"y", other, db=heads)  # a value that is right, under a key that is not
            transaction.commit()
        with site.store.view() as view, pytest.raises(Damaged, match="restart"):
            list(view.scan_heads(site.uid))
        assert site.store.is_index_damaged
    await check_all(tmp_path / "site", rebuilt=True)


async def test_an_index_in_doubt_without_its_log_is_not_opened(tmp_path: Path) -> None:
    await fill(tmp_path / "site")
    break_branches(tmp_path / "site")
    shutil.rmtree(tmp_path / "site" / "run")
    log = min((tmp_path / "site" / "segments").glob("*.log"), key=lambda path: int(path.stem))
    data = bytearray(log.read_bytes())
    data[len(data) // 2] ^= 1
    log.write_bytes(data)
    with pytest.raises(Damaged, match="cannot be rebuilt"):
        StoreSite(tmp_path / "site")


class WatchedFiles(FailingFiles):
    """Tells which files the kernel was asked to forget, or to sync."""

    def __init__(self) -> None:
        super().__init__()
        self.forgotten: list[str] = []

    def fdatasync(self, fd: int) -> None:
        super().fdatasync(fd)
        self.forgotten.append("sync " + Path(os.readlink(f"/proc/self/fd/{fd}")).name)

    def drop_cache(self, fd: int) -> None:
        super().drop_cache(fd)
        self.forgotten.append(Path(os.readlink(f"/proc/self/fd/{fd}")).name)


def leave_read_only(path: Path) -> None:
    shared = Shared(DataDirectory.open(path))
    shared.set_read_only()
    shared.close()


async def test_after_a_failed_sync_the_index_is_read_from_the_disk_before_the_engine_opens_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(tmp_path / "site")
    leave_read_only(tmp_path / "site")
    files = WatchedFiles()
    opened: list[list[str]] = []
    begin = Index.__init__

    def watched(index: Index, *arguments: object, **options: object) -> None:
        opened.append(list(files.forgotten))
        begin(index, *arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Index, "__init__", watched)
    async with StoreSite(tmp_path / "site", files=files) as site:
        assert not site.store.shared.read_only
    assert opened[0] == ["sync data.mdb", "data.mdb"]


async def test_a_disk_that_still_cannot_sync_the_index_is_not_opened(tmp_path: Path) -> None:
    await fill(tmp_path / "site")
    leave_read_only(tmp_path / "site")
    files = FailingFiles()
    files.fail["fdatasync"] = (0, 5)
    with pytest.raises(ReadOnlyStore, match="index"):
        StoreSite(tmp_path / "site", files=files)
    await check_all(tmp_path / "site", rebuilt=False)
