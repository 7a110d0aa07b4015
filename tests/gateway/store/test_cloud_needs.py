"""What of the bucket is still needed, over the real store: patches, pages, when needs ended, rebuilds."""

import random

import pytest

from gateway.store.chunk_rows import read_released
from gateway.store.index_format import decode_chunk
from gateway.store.logical_dump import logical_dump
from gateway.store.store import rebuild_store_index
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import site_prefix
from replication.frame_format import CODEC_PATCH, decode_header
from replication.restore import restore_site
from tests.contracts.real_site import SETTINGS, RealSite
from tests.contracts.test_collection import EVERYTHING, NOTHING_LATELY, own_packs, packs_in, tidy
from tests.contracts.test_replica import PACKED, pull, ship
from tests.replication.fixed_realm import KEYRING

MIB = 1 << 20


@pytest.fixture
def sites(tmp_path):
    made = []

    def make(name):
        made.append(RealSite(tmp_path / name.decode(), KEYRING, name))
        return made[-1]

    yield make
    for site in made:
        site.close()


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


async def base_and_patch(a, cloud):
    """A pack with what was overwritten, and one with a patch against it; plaintext of what stands."""
    old = noise(120_000, 1)
    await a.put(b"k", old)
    await ship(a, cloud, PACKED)
    new = old[:60_000] + b"edited" + old[60_000:]
    await a.put(b"k", new)
    await ship(a, cloud, PACKED)
    return new


async def test_a_patch_never_loses_its_base(sites):
    cloud, a, b, fresh = MemoryCloud(), sites(b"a"), sites(b"b"), sites(b"fresh")
    new = await base_and_patch(a, cloud)
    await pull(b, cloud)  # nothing lies here, so only what is located tells that the base is needed
    seen = b.store.holdings.held_objects(site_prefix(a.replica.identity().site), "", 10, NOTHING_LATELY)
    assert all(held.live_bytes == held.bytes for held in seen)
    assert sum(held.frames for held in seen) == 2
    first, second = sorted(own_packs(a), key=lambda held: -held.bytes)
    assert first.live_bytes == first.bytes > 100_000, "the base counts, though nothing needs its chunk"
    leaving = a.store.holdings.leaving_frames([first.name], NOTHING_LATELY, 10, EVERYTHING)
    assert len(leaving) == 1
    both = a.store.holdings.leaving_frames([first.name, second.name], NOTHING_LATELY, 10, EVERYTHING)
    assert [decode_header(place.header).codec == CODEC_PATCH for place in both] == [False, True], "bases first"
    for _ in range(3):
        await tidy(a, cloud)
    fresh.use_cloud(cloud)
    await restore_site(cloud, lambda: KEYRING, fresh.replica, wall_ms=fresh.wall_ms)
    assert await fresh.read(b"k") == new
    await a.remove(b"k")
    a.collect()  # until then the patch that lies here needs its base here, too
    for _ in range(3):
        await tidy(a, cloud)
    assert packs_in(cloud) == [], "with the patch its base goes, too"


async def test_a_dead_patch_whose_base_has_left_is_no_copy(sites):
    """It lies in a pack that stays, and nothing could open it: who needs the chunk again sends it again."""
    cloud, a, fresh = MemoryCloud(), sites(b"a"), sites(b"fresh")
    old = noise(120_000, 1)
    new = old[:60_000] + b"edited" + old[60_000:]
    await a.put(b"k", old)
    await ship(a, cloud, PACKED)
    await a.put(b"k", new)
    await a.put(b"other", noise(50_000, 3))
    await ship(a, cloud, PACKED)
    await a.remove(b"k")
    a.collect()
    for _ in range(3):
        await tidy(a, cloud)
    (left,) = [held for held in own_packs(a) if not held.doomed]
    assert packs_in(cloud) == [left.name]
    assert left.frames == 2
    assert left.live_bytes < left.bytes < 60_000, "the patch is still there, its base is not"
    await a.put(b"k", new)
    assert a.replica.backlog().bytes > 100_000
    assert sum(one.frames for one in await ship(a, cloud, PACKED)) == 1
    fresh.use_cloud(cloud)
    await restore_site(cloud, lambda: KEYRING, fresh.replica, wall_ms=fresh.wall_ms)
    assert await fresh.read(b"k") == new


async def test_what_pages_list_is_needed_and_unknown_until_they_are_opened(sites):
    cloud, a, b = MemoryCloud(), sites(b"a"), sites(b"b")
    await a.put(b"large", noise(40 * MIB, 2))
    await ship(a, cloud)
    await pull(b, cloud)
    closed = b.store.holdings.closed_pages(100)
    assert closed
    prefix = site_prefix(a.replica.identity().site)
    assert sum(held.live_bytes for held in b.store.holdings.held_objects(prefix, "", 100, NOTHING_LATELY)) < MIB
    await b.bring(closed)
    while closed := b.store.holdings.closed_pages(100):
        await b.bring(closed)
    assert sum(held.live_bytes for held in b.store.holdings.held_objects(prefix, "", 100, NOTHING_LATELY)) > 40 * MIB
    assert a.store.holdings.closed_pages(100) == []


async def test_a_rebuilt_index_knows_the_same(sites):
    cloud, a = MemoryCloud(), sites(b"a")
    await base_and_patch(a, cloud)
    await a.put(b"other", noise(50_000, 3))
    await ship(a, cloud, PACKED)
    await a.remove(b"other")
    await ship(a, cloud, PACKED)
    await tidy(a, cloud)
    await tidy(a, cloud)
    assert a.store.holdings.dooms()

    def known():
        with a.store.view() as view:
            transaction = view.transaction
            needed = {key for key, data in transaction.scan(transaction.tables.chunks) if decode_chunk(data).refcount}
            ended = {key: read_released(transaction, key) for key, _ in transaction.scan(transaction.tables.released)}
        return {key: ms for key, ms in ended.items() if key not in needed}, own_packs(a), a.store.holdings.dooms()

    before, dump = known(), list(logical_dump(a.store.index, a.store.parts.open_pages))
    a.store.close()
    rebuild_store_index(a.directory, KEYRING, SETTINGS)
    a.open()
    assert list(logical_dump(a.store.index, a.store.parts.open_pages)) == dump
    assert known() == before
