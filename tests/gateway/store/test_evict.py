"""Contents in the cloud only: what goes, what must stay, and how reads, writes, crashes and rebuilds cope."""

from __future__ import annotations

import asyncio
import random
import shutil
from pathlib import Path

import pytest

from gateway.store.document_format import PartRecord, UploadRecord
from gateway.store.errors import ChunkUnavailable, DiskFull, ReadOnlyStore
from gateway.store.index import Transaction
from gateway.store.index_format import CHUNK_EVICTED
from gateway.store.logical_dump import logical_dump
from gateway.store.object_format import ObjectRecord
from gateway.store.page_format import leaves
from gateway.store.segment_format import KIND_DATA
from gateway.store.store import rebuild_store_index
from gateway.store.version_ids import NULL
from replication.change_format import Ref
from replication.frame_format import CODEC_PATCH
from tests.gateway.store.held_frames import HeldFrames
from tests.gateway.store.recount import recount
from tests.gateway.store.store_site import KEYRING, SETTINGS, StoreSite

MIB = 1 << 20


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
async def cloud():
    return HeldFrames()


@pytest.fixture
async def site(tmp_path: Path, cloud):
    async with StoreSite(tmp_path / "d", fetcher=cloud, segment_size=4 * MIB) as opened:
        yield opened


def chunk_ids(site: StoreSite, refs) -> list[bytes]:
    def load(ref: Ref):
        return site.store.local.children(ref.id, site.store.find_chunk(ref.id))

    return [leaf.ref.id for leaf in leaves(refs, load)]


def local(site: StoreSite, refs) -> list[bool]:
    return [site.store.find_chunk(chunk_id).local for chunk_id in chunk_ids(site, refs)]


def check(site: StoreSite) -> None:
    recount(site.store.index, site.store.parts.open_pages)


def dump(site: StoreSite):
    return list(logical_dump(site.store.index, site.store.parts.open_pages))


@pytest.mark.parametrize("size", [1000, 100_000, 12 * MIB])
async def test_what_the_cloud_has_goes_and_comes_back_when_read(site, cloud, size):
    data = noise(1, size)
    await site.put(b"k", data)
    refs = site.content(b"k")
    assert await site.store.evict(refs) == 0, "the cloud has nothing yet"
    assert all(local(site, refs))
    await cloud.ship(site)
    assert await site.store.evict(refs) >= size
    assert not any(local(site, refs))
    check(site)
    assert await site.store.evict(refs) == 0
    site.store.parts.cache._chunks.clear()
    assert site.store.read_small(refs) is None
    assert await site.read(refs) == data
    assert all(local(site, refs)), "what was read is kept"
    check(site)
    report = await site.store.verify()
    assert report.sound


async def test_space_comes_back_through_collection(site, cloud):
    await site.put(b"k", noise(1, 20 * MIB))
    await site.put(b"stays", noise(2, 3 * MIB))
    await cloud.ship(site)
    before = site.disk_bytes()
    freed = await site.store.evict(site.content(b"k"))
    site.collect_all()
    assert site.disk_bytes() < before - freed + 5 * MIB
    assert await site.get(b"stays") == noise(2, 3 * MIB)
    assert (await site.store.verify()).only_in_cloud == len(chunk_ids(site, site.content(b"k")))
    assert await site.get(b"k", 7 * MIB, 100) == noise(1, 20 * MIB)[7 * MIB : 7 * MIB + 100]


async def test_what_another_version_or_an_upload_needs_stays(site, cloud):
    data = noise(1, 3 * MIB)
    first = await site.put(b"k", data, versioned=True)
    second = await site.put(b"k", data + noise(2, 2 * MIB), versioned=True)
    await cloud.ship(site)
    assert await site.store.evict(first.record.content) < len(data)
    shared = set(chunk_ids(site, first.record.content)) & set(chunk_ids(site, second.record.content))
    assert shared
    assert all(site.store.find_chunk(chunk_id).local for chunk_id in shared)
    both = (*first.record.content, *second.record.content)
    await site.store.evict(both)
    assert not any(local(site, both)), "named together, nothing else needs what they share"
    third = await site.put(b"other", noise(3, 1000))
    await cloud.ship(site)
    upload = UploadRecord(id="up", uid=site.uid, key=b"u")
    await site.store.commit(lambda view: view.open_upload(upload))
    part = PartRecord(number=1, size=1000, content=third.record.content)
    await site.store.commit(lambda view: view.put_part("up", part))
    assert await site.store.evict(third.record.content) == 0
    check(site)


async def test_a_page_that_two_versions_share_keeps_what_it_lists(site, cloud):
    data = noise(1, 40 * MIB)
    version = await site.put(b"k", data)
    record = ObjectRecord(size=len(data), content=version.record.content)
    await site.store.commit(lambda view: view.put_object(site.uid, b"copy", record, versioned=False))
    await cloud.ship(site)
    assert await site.store.evict(version.record.content) == 0
    await site.delete(b"copy")
    assert await site.store.evict(version.record.content) > len(data) // 2


async def test_a_chunk_that_comes_twice_in_one_content_goes(site, cloud):
    await site.put(b"k", bytes(16 * MIB))
    await cloud.ship(site)
    refs = site.content(b"k")
    assert len(set(chunk_ids(site, refs))) < len(chunk_ids(site, refs))
    assert await site.store.evict(refs) > 0
    assert not any(local(site, refs))
    assert await site.read(refs) == bytes(16 * MIB)


async def make_patched(site: StoreSite):
    """Two versions, the newer one with a patch against a chunk of the older."""
    data = noise(1, 3 * MIB)
    changed = data[: 2 * MIB] + b"changed" + data[2 * MIB + 7 :]
    old = await site.put(b"k", data, versioned=True)
    new = await site.put(b"k", changed, versioned=True)
    patches = [id_ for id_ in chunk_ids(site, new.record.content) if site.store.find_chunk(id_).codec == CODEC_PATCH]
    assert patches
    bases = [base.chunk_id for id_ in patches for base in site.store.find_chunk(id_).bases]
    return old, new, changed, bases


async def test_the_base_of_a_patch_that_is_here_stays(site, cloud):
    old, new, changed, bases = await make_patched(site)
    await cloud.ship(site)
    await site.store.evict(old.record.content)
    assert all(site.store.find_chunk(base).local for base in bases)
    both = (*old.record.content, *new.record.content)
    await site.store.evict(both)
    assert not any(local(site, both)), "the patch went, and then its base"
    check(site)
    assert await site.read(new.record.content) == changed
    check(site)
    assert (await site.store.verify()).sound


async def test_a_base_that_only_the_evicted_patch_needed_is_collected(site, cloud):
    old, new, changed, bases = await make_patched(site)
    await cloud.ship(site)
    await site.delete(b"k", old.id)
    await site.store.evict(new.record.content)
    site.collect_all()
    assert all(site.store.find_chunk(base) is None for base in bases if base not in chunk_ids(site, new.record.content))
    check(site)
    assert await site.read(new.record.content) == changed


async def test_what_is_written_again_is_stored_again_and_not_shipped_again(site, cloud):
    data = noise(1, 2 * MIB)
    await site.put(b"k", data)
    await cloud.ship(site)
    refs = site.content(b"k")
    await site.store.evict(refs)
    backlog = site.store.replica.backlog().bytes
    again = await site.put(b"again", data)
    assert again.record.content == refs
    assert all(local(site, refs))
    assert site.store.replica.backlog().bytes - backlog < 1000
    assert site.store.replica.unshipped_frames(site.store.replica.read_changes(0, 100, 1 << 30)) == []
    check(site)


async def test_an_unreachable_cloud_is_said_and_fetching_for_good_works_once_it_is_back(site, cloud):
    data = noise(1, 12 * MIB)
    await site.put(b"k", data)
    await cloud.ship(site)
    refs = site.content(b"k")
    await site.store.evict(refs)
    cloud.reachable = False
    with pytest.raises(ChunkUnavailable):
        await site.store.fetch_local(refs)
    cloud.reachable = True
    assert await site.store.fetch_local(refs) == len(data)
    assert all(local(site, refs))
    assert await site.store.fetch_local(refs) == 0
    cloud.reachable = False
    assert await site.read(refs) == data
    assert await site.store.evict(refs) >= len(data), "and it can go again"


async def test_a_full_disk_is_said_by_fetching_for_good(site, cloud):
    await site.put(b"k", noise(1, 2 * MIB))
    await cloud.ship(site)
    await site.store.evict(site.content(b"k"))
    site.store.reserve._reserve_bytes, site.store.reserve._left = 1 << 60, 0
    site.store.reserve._asked_s = float("-inf")
    with pytest.raises(DiskFull):
        await site.store.fetch_local(site.content(b"k"))
    assert await site.get(b"k") == noise(1, 2 * MIB), "reading does not need the space"


async def test_readers_under_way_finish_whatever_is_evicted_and_collected(site, cloud):
    data = noise(1, 24 * MIB)
    await site.put(b"k", data)
    await cloud.ship(site)
    refs = site.content(b"k")

    async def read_slowly() -> bytes:
        pieces = []
        async for piece in site.store.read(refs):
            pieces.append(piece)
            await asyncio.sleep(0)
        return b"".join(pieces)

    async def evict_and_collect() -> None:
        await site.store.evict(refs)
        for _ in range(40):
            await asyncio.to_thread(site.store.collector.collect_step)

    results = await asyncio.gather(*(read_slowly() for _ in range(3)), evict_and_collect(), read_slowly())
    assert [result for result in results if result is not None] == [data] * 4
    check(site)


async def test_a_version_removed_meanwhile_is_let_go(site, cloud):
    await site.put(b"k", noise(1, 2 * MIB))
    await cloud.ship(site)
    refs = site.content(b"k")
    await site.store.evict(refs)
    await site.delete(b"k")
    site.collect_all()
    check(site)
    assert site.chunk_count() == 0
    assert await site.store.evict(refs) == 0
    assert await site.store.fetch_local(refs) == 0


@pytest.mark.parametrize("collected", [False, True])
async def test_a_rebuild_keeps_what_was_evicted_away_and_what_came_back_here(tmp_path, cloud, collected):
    path = tmp_path / "d"
    bodies = {key: noise(at, 3 * MIB + at) for at, key in enumerate([b"away", b"read", b"fetched", b"here", b"again"])}
    bodies[b"small"], bodies[b"small back"] = noise(8, 900), noise(9, 900)
    async with StoreSite(path, fetcher=cloud, segment_size=4 * MIB) as site:
        for key, body in bodies.items():
            await site.put(key, body)
        await cloud.ship(site)
        for key in set(bodies) - {b"here"}:
            assert await site.store.evict(site.content(key)) > 0
        if collected:
            site.collect_all()
        await site.get(b"read")
        await site.get(b"small back")
        await site.store.fetch_local(site.content(b"fetched"))
        await site.put(b"again", bodies[b"again"])
        expected = {key: all(local(site, site.content(key))) for key in bodies}
        assert [key for key, here in expected.items() if not here] == [b"away", b"small"]
        live = dump(site)
    assert not rebuild_store_index(site.directory, KEYRING, SETTINGS).torn
    async with StoreSite(path, fetcher=cloud) as site:
        assert dump(site) == live
        check(site)
        assert {key: all(local(site, site.content(key))) for key in bodies} == expected
        asked = len(cloud.asked)
        for key, here in expected.items():
            assert await site.get(key) == bodies[key]
            assert (len(cloud.asked) == asked) == here
            asked = len(cloud.asked)


async def test_a_rebuild_keeps_patches_whose_base_came_back_from_the_cloud(tmp_path, cloud):
    path, data = tmp_path / "d", noise(1, 3 * MIB)
    async with StoreSite(path, fetcher=cloud) as site:
        await site.put(b"k", data)
        await cloud.ship(site)
        await site.store.evict(site.content(b"k"))
        await site.store.fetch_local(site.content(b"k"))
        changed = data[:MIB] + b"changed" + data[MIB + 7 :]
        version = await site.put(b"k", changed)  # unsent patches against frames that came from the cloud
        ids = chunk_ids(site, version.record.content)
        assert any(site.store.find_chunk(chunk_id).bases for chunk_id in ids)
        site.collect_all()
        live = dump(site)
    rebuild_store_index(site.directory, KEYRING, SETTINGS)
    cloud.reachable = False
    async with StoreSite(path, fetcher=cloud) as site:
        assert dump(site) == live
        assert await site.get(b"k") == changed


async def test_a_rebuild_finds_what_was_written_again_and_moved_out_of_the_log(tmp_path, cloud):
    path = tmp_path / "d"
    async with StoreSite(path, fetcher=cloud, segment_size=256 << 10) as site:
        await site.put(b"k", noise(0, 9000))
        await cloud.ship(site)
        await site.store.evict(site.content(b"k"))
        again = await site.put(b"again", noise(0, 9000))
        for number in range(1, 60):
            await site.put(b"filler", noise(number, 9000))
        site.collect_all()
        assert site.store.find_chunk(again.record.content[0].id).kind == KIND_DATA
    rebuild_store_index(site.directory, KEYRING, SETTINGS)
    async with StoreSite(path) as site:
        assert await site.get(b"k") == noise(0, 9000)


async def test_a_crash_between_log_and_index_evicts_all_the_same(tmp_path, cloud, monkeypatch):
    path, data = tmp_path / "d", noise(1, 2 * MIB)
    async with StoreSite(path, fetcher=cloud) as site:
        await site.put(b"k", data)
        await cloud.ship(site)
        refs = site.content(b"k")

        def crash(transaction):
            raise MemoryError("crash")

        monkeypatch.setattr(Transaction, "commit", crash)
        with pytest.raises(ReadOnlyStore, match="crash"):
            await site.store.evict(refs)
        monkeypatch.undo()
        assert all(local(site, refs))
        shutil.copytree(path, tmp_path / "after", ignore=shutil.ignore_patterns("run"))
    (tmp_path / "after" / "run").mkdir(mode=0o700)
    async with StoreSite(tmp_path / "after", fetcher=cloud) as site:
        assert not any(local(site, refs))
        assert all(site.store.find_chunk(chunk_id).flags & CHUNK_EVICTED for chunk_id in chunk_ids(site, refs))
        check(site)
        assert await site.get(b"k") == data


async def test_other_sites_never_hear_of_it(site, cloud):
    await site.put(b"k", noise(1, 1000))
    await cloud.ship(site)
    before = site.store.replica.last_seq()
    await site.store.evict(site.content(b"k"))
    assert site.store.replica.last_seq() == before
    with site.store.view() as view:
        assert view.version(site.uid, b"k", NULL) is not None
        assert view.is_replicated(view.version(site.uid, b"k", NULL))
