"""What lies under a retired epoch is sealed anew on the disk: frames, log batches, whatever of them is alive."""

from __future__ import annotations

import errno
import os
import random
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from gateway.store.errors import StoreError
from gateway.store.index_format import ChunkPlace, decode_chunk
from gateway.store.log_format import RESEALED_VERSION
from gateway.store.logical_dump import logical_dump
from gateway.store.segment_format import KIND_DATA, KIND_LOG
from gateway.store.store import SiteStore, open_store, rebuild_store_index
from gateway.store.views import View
from replication.cloud_memory import MemoryCloud
from replication.puller import Puller
from replication.sealing import Keyring
from tests.contracts.real_site import RealSite
from tests.contracts.test_replica import ship
from tests.gateway.store.failing_files import FailingFiles
from tests.gateway.store.store_site import EPOCH, KEYRING, REALM, SETTINGS, StoreSite
from tests.replication.fixed_realm import KEYRING as KEYRING_OF_TESTS

MIB = 1 << 20
LATER = b"f" * 16
BOTH = Keyring(REALM, KEYRING.chunk_key, {EPOCH: KEYRING.epochs[EPOCH], LATER: b"l" * 32}, LATER)
RETIRING = Keyring(REALM, KEYRING.chunk_key, BOTH.epochs, LATER, frozenset({EPOCH}))
ONLY_LATER = Keyring(REALM, KEYRING.chunk_key, {LATER: b"l" * 32}, LATER)


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


BODIES = {
    b"small": noise(1, 5000),
    b"empty": b"",
    b"one chunk": noise(2, 100_000),
    b"large": noise(3, 3 * MIB),
    b"text": b"all work and no play makes a dull boy\n" * 9000,
}


async def fill(site: StoreSite) -> dict[bytes, bytes]:
    """Objects of every shape: inline, one chunk, many, patched; some are gone."""
    bodies = dict(BODIES)
    for key, data in bodies.items():
        await site.put(key, data)
    bodies[b"large"] = bodies[b"large"][: 2 * MIB] + b"changed" + bodies[b"large"][2 * MIB :]
    await site.put(b"large", bodies[b"large"])
    await site.put(b"gone", noise(9, 300_000))
    await site.put(b"gone too", noise(10, 3000))
    for key in (b"gone", b"gone too"):
        await site.delete(key)
    return bodies


def rekey(store: SiteStore, steps_max: int = 2000) -> None:
    """What collector and housekeeping do, until nothing is left."""
    idle = 0
    for _ in range(steps_max):
        store.tidy()
        idle = 0 if store.collector.collect_step() else idle + 1
        if idle == 6:
            return
    raise AssertionError("it does not come to an end")


def raw(site: StoreSite) -> bytes:
    return b"".join(path.read_bytes() for path in sorted(site.directory.segments.iterdir()))


def chunk_rows(view: View) -> Iterator[tuple[bytes, ChunkPlace]]:
    for key, data in view.transaction.scan(view.transaction.tables.chunks):
        yield key, decode_chunk(data)


def dump(store: SiteStore) -> list:
    return list(logical_dump(store.index, store.parts.open_pages))


async def check(site: StoreSite, bodies: dict[bytes, bytes]) -> None:
    for key, data in bodies.items():
        assert await site.get(key) == data
        assert await site.get(key, 1000, 3000) == data[1000:4000]
    report = await site.store.verify()
    assert report.sound, report
    assert not report.broken_stretches


async def test_nothing_is_left_under_a_retired_epoch_and_its_key_may_go(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d", segment_size=2 * MIB) as site:
        bodies = await fill(site)
        first, rows = site.store.sealed.count(), dump(site.store)
        assert set(first) == {EPOCH}
        site.store.set_keyring(BOTH)
        rekey(site.store)
        assert site.store.sealed.count()[EPOCH] > 0, "only what is retired is sealed anew"
        site.store.set_keyring(RETIRING)
        rekey(site.store)
        assert site.store.sealed.count()[EPOCH] == 0
        assert EPOCH not in raw(site)
        assert [kept for kept in dump(site.store) if kept not in rows] == []
        site.store.set_keyring(ONLY_LATER)
        await check(site, bodies)
        await site.put(b"after", b"after")
    store = open_store(site.directory, ONLY_LATER, SETTINGS)
    before = dump(store)
    store.close()
    rebuild_store_index(site.directory, ONLY_LATER, SETTINGS)
    site.store = open_store(site.directory, ONLY_LATER, SETTINGS)
    try:
        assert dump(site.store) == before
        await check(site, bodies | {b"after": b"after"})
        changes = site.store.replica.read_changes(0, 1000, 1 << 30)
        assert len(changes) == site.store.replica.last_seq()
    finally:
        site.store.close()


async def test_a_batch_sealed_anew_keeps_its_place_in_the_chain(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        await fill(site)
        log = site.store.log
        (before,) = log.segment_numbers()
        batches = {batch.header.number: batch for batch in log.scan(before).batches}
        site.store.set_keyring(RETIRING)
        rekey(site.store)
        found = {batch.header.number: batch for number in log.segment_numbers() for batch in log.scan(number).batches}
        assert before not in log.segment_numbers()
        for number, batch in batches.items():
            anew = found[number]
            assert anew.header.version == RESEALED_VERSION
            assert (anew.hash, anew.header.previous, anew.header.time_ms) == (
                *(batch.hash, batch.header.previous, batch.header.time_ms),
            )
            assert log.records(anew.segment, anew.offset)
            assert anew.frames_whole


async def test_a_reader_goes_on_where_it_began(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d", segment_size=2 * MIB) as site:
        bodies = await fill(site)
        reading = site.store.read(site.content(b"large"))
        got = await anext(reading)
        trail = site.store.replica.read_changes(0, 1000, 1 << 30)
        site.store.set_keyring(RETIRING)
        rekey(site.store)
        assert site.store.sealed.count()[EPOCH] > 0, "somebody still reads there"
        got += b"".join([piece async for piece in reading])
        assert got == bodies[b"large"]
        rekey(site.store)
        assert site.store.sealed.count()[EPOCH] == 0
        assert site.store.replica.read_changes(0, 1000, 1 << 30) == trail


async def test_a_range_that_was_read_before_is_right_afterwards(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        data = noise(5, 3 * MIB)
        await site.put(b"k", data)
        for _ in range(2):
            assert await site.get(b"k", 200_000, 5000) == data[200_000:205_000]
        site.store.set_keyring(RETIRING)
        rekey(site.store)
        for _ in range(2):
            assert await site.get(b"k", 200_000, 5000) == data[200_000:205_000]


@pytest.mark.parametrize("call", ["append", "fdatasync", "sync_directory", "unlink", "pread", "link"])
@pytest.mark.parametrize("after", [0, 3])
async def test_a_disk_that_fails_anywhere_costs_nothing(tmp_path: Path, call: str, after: int) -> None:
    files = FailingFiles()
    async with StoreSite(tmp_path / "d", files=files, segment_size=2 * MIB) as site:
        bodies = await fill(site)
        before = dump(site.store)
        site.store.set_keyring(RETIRING)
        files.fail[call] = (after, errno.ENOSPC if call in ("append", "link") else errno.EIO)
        for _ in range(60):
            site.store.tidy()
            try:
                site.store.collector.collect_step()
            except (StoreError, OSError):
                break
        files.fail.clear()
    async with StoreSite(tmp_path / "d", keyring=RETIRING) as site:
        assert dump(site.store) == before or call in ("unlink", "sync_directory", "pread")
        rekey(site.store)
        assert site.store.sealed.count()[EPOCH] == 0
        await check(site, bodies)
    rebuild_store_index(site.directory, ONLY_LATER, SETTINGS)
    async with StoreSite(tmp_path / "d", keyring=ONLY_LATER) as site:
        await check(site, bodies)


async def test_damage_stays_where_it_is_named(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        await site.put(b"k", noise(1, 100_000))
        (number,) = site.directory.segment_numbers(KIND_DATA)
        path = site.directory.segment_path(number, KIND_DATA)
        data = bytearray(path.read_bytes())
        data[-100] ^= 1
        path.write_bytes(data)
        site.store.segments.close()
        site.store.set_keyring(RETIRING)
        with pytest.raises(StoreError):
            rekey(site.store)
        rekey(site.store)
        assert site.store.sealed.count()[EPOCH] > 0
        assert number in site.directory.segment_numbers(KIND_DATA)
        assert site.directory.segment_numbers(KIND_LOG)


async def test_a_log_segment_goes_behind_all_who_read_it(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        await fill(site)
        log, resealer, tokens = site.store.log, site.store.collector._resealer, []
        (before,) = log.segment_numbers()
        real = resealer.reseal

        def reseal(segment: int) -> bool:
            tokens.append(site.store.shared.enter())  # somebody looks up where batches lie, and is about to read them
            return real(segment)

        resealer.reseal = reseal
        site.store.set_keyring(RETIRING)
        rekey(site.store)
        assert before in log.segment_numbers()
        for token in tokens:
            site.store.shared.leave(token)
        rekey(site.store)
        assert before not in log.segment_numbers()


async def test_a_new_log_file_has_its_name_when_it_is_whole(tmp_path: Path) -> None:
    class Watching(FailingFiles):
        seen: tuple[str, ...] = ()

        def fdatasync(self, fd: int) -> None:
            names = [os.readlink(f"/proc/self/fd/{fd}")]
            self.seen += tuple(name for name in names if name.endswith(".log"))
            super().fdatasync(fd)

    files = Watching()
    async with StoreSite(tmp_path / "d", files=files) as site:
        await fill(site)
        (before,) = site.store.log.segment_numbers()
        site.store.set_keyring(RETIRING)
        files.seen = ()
        files.fail["link"] = (0, errno.EIO)
        with pytest.raises(StoreError):
            rekey(site.store)
        assert site.store.log.segment_numbers() == [before]
        assert files.seen == (), "it is synced under a name that does not count"
        files.fail.clear()
        rekey(site.store)
        assert before not in site.store.log.segment_numbers()
        assert not list(site.directory.segments.glob("*.tmp"))


async def test_nothing_comes_under_an_epoch_that_is_to_end(tmp_path: Path) -> None:
    """Frames of another site that did not hear of it: with its batch, and when they are read."""
    cloud = MemoryCloud()
    a, b = (RealSite(tmp_path / name, KEYRING_OF_TESTS, name.encode()) for name in "ab")
    old = KEYRING_OF_TESTS.current
    ring = replace(KEYRING_OF_TESTS, epochs={**KEYRING_OF_TESTS.epochs, LATER: b"l" * 32}, current=LATER)
    try:
        await a.put(b"inline", noise(1, 3000))
        await ship(a, cloud)
        await a.put(b"packed", noise(2, 400_000))
        await ship(a, cloud)
        b.set_keyring(replace(ring, retired=frozenset({old})))
        before = b.store.sealed.count()[old]
        b.use_cloud(cloud)
        await Puller(b.replica, cloud, lambda: b.keyring, wall_ms=b.wall_ms).pull_round()
        for key, size in ((b"inline", 3000), (b"packed", 400_000)):
            assert len(await b.read(key)) == size
        with b.store.view() as view:
            assert all(row.local for _, row in chunk_rows(view))
        assert b.store.sealed.count()[old] == before == 0
        assert (await b.store.verify()).sound
    finally:
        a.close()
        b.close()
