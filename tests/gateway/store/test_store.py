"""The whole store: reopening, rebuilding, full disks, failed syncs, killed workers."""

from __future__ import annotations

import asyncio
import dataclasses
import errno
import multiprocessing
import os
import random
import shutil
import signal
from multiprocessing.connection import Connection
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from gateway.store.collect import Collector
from gateway.store.errors import BadDataDirectory, DiskFull, ReadOnlyStore
from gateway.store.layout import DataDirectory
from gateway.store.segment_format import KIND_DATA
from gateway.store.segments import SegmentReader
from gateway.store.store import StoreSettings, open_store, rebuild_store_index
from tests.gateway.store.failing_files import FailingFiles
from tests.gateway.store.store_site import KEYRING, SETTINGS, StoreSite

MIB = 1 << 20
spawn = multiprocessing.get_context("spawn")


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


OBJECTS = {b"empty": b"", b"small": noise(1, 3000), b"mid": noise(2, 100_000), b"big": noise(3, 12 * MIB)}


async def check(site: StoreSite) -> None:
    for key, data in OBJECTS.items():
        assert await site.get(key) == data


async def test_everything_is_there_after_reopening(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        for key, data in OBJECTS.items():
            await site.put(key, data)
        assert site.store.rebuilt is None
    async with StoreSite(tmp_path / "d") as site:
        assert site.store.rebuilt is None
        await check(site)


@pytest.mark.parametrize("harm", ["gone", "empty", "nonsense"])
async def test_an_index_that_is_of_no_use_is_rebuilt(tmp_path: Path, harm: str) -> None:
    async with StoreSite(tmp_path / "d") as site:
        for key, data in OBJECTS.items():
            await site.put(key, data)
    index = tmp_path / "d" / "index"
    if harm == "nonsense":
        (index / "data.mdb").write_bytes(noise(9, 100_000))
    else:
        shutil.rmtree(index)
        if harm == "empty":
            index.mkdir()
    async with StoreSite(tmp_path / "d") as site:
        assert site.store.rebuilt is not None
        assert not site.store.rebuilt.torn
        await check(site)
        assert (await site.store.verify()).sound


async def test_the_index_is_not_rebuilt_under_another_process(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        with pytest.raises(BadDataDirectory, match="another process"):
            rebuild_store_index(site.directory, KEYRING, SETTINGS)
    assert rebuild_store_index(site.directory, KEYRING, SETTINGS).batches > 0


async def test_a_full_disk_refuses_bodies_but_not_deletes(tmp_path: Path) -> None:
    files = FailingFiles()
    settings = StoreSettings(map_size_bytes=1 << 30, reserve_bytes=100 * MIB)
    async with StoreSite(tmp_path / "d", files=files, settings=settings) as site:
        await site.put(b"small", OBJECTS[b"small"])
        await site.put(b"mid", OBJECTS[b"mid"])
        files.free = 99 * MIB
        site.store.reserve._asked_s = float("-inf")
        for body in (b"s", OBJECTS[b"mid"][::-1], OBJECTS[b"big"]):
            with pytest.raises(DiskFull, match="99 MiB are free"):
                await site.put(b"new", body)
        assert await site.get(b"mid") == OBJECTS[b"mid"]
        await site.put(b"copy", OBJECTS[b"mid"])  # nothing new is stored
        await site.delete(b"mid")
        site.collect_all()
        files.free = None
        site.store.reserve._asked_s = float("-inf")
        await site.put(b"big", OBJECTS[b"big"])
        assert await site.get(b"copy") == OBJECTS[b"mid"]


async def test_a_disk_that_fills_up_in_the_middle_loses_nothing(tmp_path: Path) -> None:
    files = FailingFiles()
    async with StoreSite(tmp_path / "d", files=files) as site:
        await site.put(b"big", OBJECTS[b"big"])
        for after in range(6):
            files.fail["append"] = (after, errno.ENOSPC)
            with pytest.raises(DiskFull):
                await site.put(b"big", noise(after + 10, 12 * MIB))
            files.fail.clear()
        assert await site.get(b"big") == OBJECTS[b"big"]
    async with StoreSite(tmp_path / "d") as site:
        assert await site.get(b"big") == OBJECTS[b"big"]
        site.collect_all()
        assert (await site.store.verify()).sound


async def test_a_failed_sync_stops_writes_until_restarted(tmp_path: Path) -> None:
    files = FailingFiles()
    async with StoreSite(tmp_path / "d", files=files) as site:
        await site.put(b"mid", OBJECTS[b"mid"])
        files.fail["fdatasync"] = (0, errno.EIO)
        with pytest.raises(ReadOnlyStore):
            await site.put(b"lost", noise(9, 50_000))
        files.fail.clear()
        for body in (b"small", noise(8, 50_000)):
            with pytest.raises(ReadOnlyStore):
                await site.put(b"more", body)
        assert await site.get(b"mid") == OBJECTS[b"mid"]
    async with StoreSite(tmp_path / "d") as site:
        await site.put(b"more", b"again")
        assert await site.get(b"mid") == OBJECTS[b"mid"]
        assert site.content(b"lost") == ()


async def test_a_newer_keyring_is_used_at_once_and_old_frames_stay_readable(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        await site.put(b"old", OBJECTS[b"mid"])
        newer = dataclasses.replace(KEYRING, epochs={**KEYRING.epochs, b"f" * 16: b"n" * 32}, current=b"f" * 16)
        site.store.set_keyring(newer)
        await site.put(b"new", OBJECTS[b"big"])
        assert await site.get(b"old") == OBJECTS[b"mid"]
        assert await site.get(b"new") == OBJECTS[b"big"]
        assert site.store.log.keyring is newer


async def test_collecting_in_the_background_ends_when_cancelled(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        await site.put(b"a", OBJECTS[b"mid"])
        await site.delete(b"a")
        task = asyncio.create_task(site.store.collect(lambda error: pytest.fail(str(error))))
        while site.chunk_count():
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


async def test_nothing_blocks_the_event_loop(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        with blockbuster_ctx("gateway.store"):
            for _ in range(2):
                for key, data in OBJECTS.items():
                    await site.put(key, data)
                await check(site)
                assert await site.get(b"big", 5 * MIB, 10) == OBJECTS[b"big"][5 * MIB :][:10]
                await site.delete(b"mid")
        assert site.store.reader.ahead_bytes == 0


async def test_a_process_that_is_not_elected_lets_go_of_unlinked_files(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d", segment_size=MIB) as site:
        await site.put(b"a", OBJECTS[b"big"])
        neighbour = SegmentReader(site.directory, site.directory.files)
        other = Collector(dataclasses.replace(site.store.collector._setup, segments=neighbour))
        for number in site.directory.segment_numbers(KIND_DATA):
            neighbour.header(number, KIND_DATA)
        await site.delete(b"a")
        site.collect_all()
        assert open_but_unlinked(tmp_path) > 0
        other.let_go_of_files()
        assert open_but_unlinked(tmp_path) == 0
        neighbour.close()


def open_but_unlinked(path: Path) -> int:
    names = [os.readlink(entry.path) for entry in os.scandir("/proc/self/fd") if entry.is_symlink()]
    return sum(name.startswith(str(path)) and name.endswith(".data (deleted)") for name in names)


# several processes


def write_until_killed(path: Path, name: str, pipe: Connection) -> None:
    """A worker: puts numbered objects of all sizes and tells of each that was acknowledged."""

    async def run() -> None:
        async with StoreSite(path) as site:
            for n in range(100_000):
                key = f"{name}-{n}".encode()
                size = (10, 5000, 30_000, 700_000)[n % 4]
                await site.put(key, random.Random(key).randbytes(size))
                if n >= 4:
                    await site.delete(f"{name}-{n - 4}".encode())
                pipe.send((key, size))

    asyncio.run(run())


async def test_what_workers_acknowledged_survives_their_being_killed(tmp_path: Path) -> None:
    path = tmp_path / "d"
    async with StoreSite(path) as site:
        workers = []
        for name in ("x", "y"):
            ours, theirs = spawn.Pipe()
            process = spawn.Process(target=write_until_killed, args=(path, name, theirs))
            process.start()
            theirs.close()
            workers.append((process, ours))
        acknowledged: dict[bytes, int] = {}
        for turn in range(24):
            for _, pipe in workers:
                key, size = await asyncio.get_running_loop().run_in_executor(None, pipe.recv)
                acknowledged[key] = size
            if turn % 4 == 0:
                await asyncio.get_running_loop().run_in_executor(None, site.store.collector.collect_step)
        for process, pipe in workers:
            assert process.pid is not None
            os.kill(process.pid, signal.SIGKILL)
            process.join()
            while True:
                try:
                    key, size = pipe.recv()
                except EOFError:
                    break
                acknowledged[key] = size
            process.close()
            pipe.close()
        await site.put(b"after", b"the kill")
        for name in ("x", "y"):
            newest = max(int(key.split(b"-")[1]) for key in acknowledged if key.startswith(name.encode()))
            for n in range(max(0, newest - 2), newest + 1):
                key = f"{name}-{n}".encode()
                assert await site.get(key) == random.Random(key).randbytes(acknowledged[key])
        site.collect_all()
        report = await site.store.verify()
        assert report.sound, report
    async with StoreSite(path) as site:
        assert await site.get(b"after") == b"the kill"


def test_opening_needs_a_stamped_directory(tmp_path: Path) -> None:
    with pytest.raises(BadDataDirectory):
        open_store(DataDirectory.open(tmp_path), KEYRING)
