"""Restore: the bucket and a key give a site back; interrupted anywhere it goes on; what cannot be had is said."""

import pytest

from replication.cloud_memory import MemoryCloud
from replication.cloud_names import log_name
from replication.hydrate import CloudFetcher
from replication.offload import run_at_once
from replication.ports import CloudUnreachable
from replication.puller import Puller
from replication.restore import RestoreIncomplete, close_log, restore_site
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Shipper
from tests.replication.faulty_cloud import CRASH_AFTER, CRASH_BEFORE, LOST_REPLY, REFUSED, Crash, FaultyCloud
from tests.replication.fixed_realm import KEYRING
from tests.replication.memory_site import MemorySite

SETTINGS = ReplicationSettings(limits=ShipLimits(inline_bytes_max=500, pack_bytes_max=1000, changes_max=4))


def new_site(name):
    return MemorySite(KEYRING, name, lambda: 1_700_000_000_000)


def new_shipper(site, cloud):
    return Shipper(site, site, cloud, lambda: KEYRING, SETTINGS, wall_ms=site.wall_ms, offload=run_at_once)


def origin_of(site):
    return (site.identity().site, site.identity().incarnation)


async def ship(site, cloud):
    shipper = new_shipper(site, cloud)
    while await shipper.ship_round():
        pass


@pytest.fixture
async def world():
    """Two sites that wrote, collided, deleted and shipped everything; both hold the same state."""
    cloud, a, b = MemoryCloud(), new_site(b"a"), new_site(b"b")
    for number in range(10):
        a.put(b"a%d" % number, bytes([number]) * 300)
        b.put(b"b%d" % number, bytes([number, 1]) * 10)
    a.put(b"both", b"of a")
    b.put(b"both", b"of b")
    a.remove(b"a3")
    for site in (a, b):
        await ship(site, cloud)
    for site in (a, b):
        await Puller(site, cloud, lambda: KEYRING, wall_ms=site.wall_ms).pull_round()
    assert a.visible() == b.visible()
    return cloud, a, b


async def restore(cloud, site, **options):
    site.fetcher = CloudFetcher(cloud)
    return await restore_site(cloud, lambda: KEYRING, site, wall_ms=site.wall_ms, remote=site, **options)


async def test_everything_is_back_with_its_bytes(world):
    cloud, a, _ = world
    fresh, told = new_site(b"fresh"), []
    summary = await restore(cloud, fresh, progress=told.append)
    assert fresh.visible() == a.visible()
    assert summary.logs == 2
    assert summary.changes == 23
    assert told[summary.batches - 1].done == told[summary.batches - 1].total
    cloud.objects.clear()
    for ref in fresh.live_refs():
        assert fresh.read(ref.id) is not None, "nothing of the bucket is needed any more"


async def test_without_bytes_it_is_usable_at_once(world):
    cloud, a, _ = world
    fresh = new_site(b"fresh")
    await restore_site(cloud, lambda: KEYRING, fresh, wall_ms=fresh.wall_ms)
    assert fresh.visible() == a.visible()
    assert fresh.remote_only(b"", 1)


@pytest.mark.parametrize("fault", [CRASH_BEFORE, CRASH_AFTER, REFUSED, LOST_REPLY])
async def test_interrupted_at_each_call_goes_on(world, fault):
    cloud, a, _ = world
    counting = FaultyCloud(cloud)
    await restore(counting, new_site(b"fresh"))
    for call in range(1, len(counting.calls) + 1):
        fresh = new_site(b"fresh")
        with pytest.raises((CloudUnreachable, Crash)):
            await restore(FaultyCloud(cloud, script={call: fault}), fresh)
        await restore(cloud, fresh)
        assert fresh.visible() == a.visible()
        assert fresh.remote_only(b"", 1) == []


async def test_a_log_that_stops_is_said_and_the_rest_restored(world):
    cloud, a, b = world
    del cloud.objects[log_name(origin_of(a), 1)]
    fresh = new_site(b"fresh")
    with pytest.raises(RestoreIncomplete, match=a.identity().site.hex()):
        await restore(cloud, fresh)
    assert fresh.pulled()[origin_of(b)] == b.shipped()


async def test_a_site_with_changes_is_not_overwritten(world):
    cloud, _, _ = world
    used = new_site(b"used")
    used.put(b"x", b"y")
    with pytest.raises(ValueError, match="not fresh"):
        await restore(cloud, used)


async def test_a_store_that_keeps_nothing_is_noticed(world):
    cloud, _, _ = world

    class Forgetful(MemorySite):
        async def bring(self, chunk_ids):
            return 0

    forgetful = Forgetful(KEYRING, b"fresh", lambda: 1)
    with pytest.raises(RestoreIncomplete):
        await restore(cloud, forgetful)


async def test_a_replaced_machine_goes_on_as_another_site_and_its_log_stays_readable(world):
    cloud, a, b = world
    closed_n = await close_log(cloud, KEYRING, origin_of(a), 1)
    assert closed_n == a.shipped().n + 1
    assert await close_log(cloud, KEYRING, origin_of(a), 2) == closed_n
    a.put(b"late", b"written by the lost machine")
    former = origin_of(a)
    await ship(a, cloud)
    assert origin_of(a)[0] != former[0]
    assert "closed" in a.reissues[0].reason
    assert (await Puller(b, cloud, lambda: KEYRING, wall_ms=b.wall_ms).pull_round()).stopped == 0
    assert b.pulled()[former].n == closed_n
    assert (1, b"late") in b.visible()
    fresh = new_site(b"fresh")
    await restore(cloud, fresh)
    assert fresh.visible() == b.visible()


@pytest.mark.parametrize("fault", [CRASH_BEFORE, CRASH_AFTER, LOST_REPLY])
async def test_closing_interrupted_at_each_call(world, fault):
    cloud, a, _ = world
    before = dict(cloud.objects)
    counting = FaultyCloud(cloud)
    closed_n = await close_log(counting, KEYRING, origin_of(a), 1)
    for call in range(1, len(counting.calls) + 1):
        cloud.objects = dict(before)
        with pytest.raises((CloudUnreachable, Crash)):
            await close_log(FaultyCloud(cloud, script={call: fault}), KEYRING, origin_of(a), 1)
        assert await close_log(cloud, KEYRING, origin_of(a), 1) == closed_n


async def test_closing_goes_behind_what_the_head_did_not_say(world):
    cloud, a, _ = world
    for name in [name for name in cloud.objects if name.startswith(f"heads/{a.identity().site.hex()}")]:
        del cloud.objects[name]
    assert await close_log(cloud, KEYRING, origin_of(a), 1) == a.shipped().n + 1


async def test_closing_writes_nothing_where_the_logs_beginning_left(world):
    """The heads are listed as of an earlier time (world 1544 of those that return)."""
    cloud, a, _ = world
    a.put(b"more", b"more")
    await ship(a, cloud)
    assert a.shipped().n > 1
    for name in [name for name in cloud.objects if name.startswith(f"heads/{a.identity().site.hex()}")]:
        del cloud.objects[name]
    del cloud.objects[log_name(origin_of(a), 1)]
    with pytest.raises(CloudUnreachable, match="listed as of an earlier time"):
        await close_log(cloud, KEYRING, origin_of(a), 1)
    assert log_name(origin_of(a), 1) not in cloud.objects
