"""Nothing is left of a doom that is over, and nobody relies on what is gone: over every implementation of a site."""

from replication.checkpoint_writer import CheckpointWriter
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import log_prefix, split_log_name
from replication.joining import Joiner
from replication.ports import JoinState
from replication.puller import Puller
from tests.contracts.test_collection import holdings_of, packs_in
from tests.contracts.test_log_compaction import get_acquainted, tidy
from tests.contracts.test_replica import (
    KEYRING,
    PACKED,
    make_site,  # noqa: F401 - a fixture
    new_shipper,
    noise,
    origin_of,
    pull,
    ship,
)


async def two_sites(make_site, cloud):  # noqa: F811
    """Two that know each other; one pack of the first, which both know, and most of which is to be dead soon."""
    a, b = make_site(b"a"), make_site(b"b")
    await get_acquainted(a, b, cloud)
    await a.put(b"stays", noise(30_000, 1))
    await a.put(b"goes", noise(50_000, 2))
    await ship(a, cloud, PACKED)
    await pull(b, cloud)
    (pack,) = packs_in(cloud)
    return a, b, pack


async def end_it(a, *others, cloud):
    """Let the pack go, and its doom end, at everybody who is named."""
    await a.remove(b"goes")
    await ship(a, cloud)
    done = []
    for _ in range(5):
        for site in (a, *others):
            done.append(await tidy(site, cloud))
    assert sum(one.dooms_ended for one in done) == 1
    for site in (a, *others):
        await pull(site, cloud)
        assert holdings_of(site).dooms() == []


async def sends_it_again(site, cloud):
    """Whether what lay only in that pack goes out with its bytes when it is written once more."""
    await site.put(b"again", noise(50_000, 2))
    return sum(one.frames for one in await ship(site, cloud, PACKED)) == 1


def objects_of(site, owner):
    return {one.name for one in holdings_of(site).held_objects(f"sites/{owner[0].hex()}/", "", 1000, 1 << 60)}


def export(site):
    """All slices of a checkpoint, and how far its writer had heard."""
    start, cursor = site.state.begin_export(), b""
    slices = [*start.slices]
    while True:
        data, cursor = site.state.export_slice(cursor)
        slices.append(data)
        if not cursor:
            return start.vector, slices


async def test_nothing_is_left_of_it_anywhere(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b, pack = await two_sites(make_site, cloud)
    await end_it(a, b, cloud=cloud)
    assert pack not in cloud.objects
    for site in (a, b):
        assert pack not in objects_of(site, origin_of(a))
        assert await sends_it_again(site, cloud)
        await site.remove(b"again")
    fresh = make_site(b"f")
    fresh.use_cloud(cloud)
    await pull(fresh, cloud)
    assert holdings_of(fresh).dooms() == []
    assert pack not in objects_of(fresh, origin_of(a))
    assert await fresh.read(b"stays") == noise(30_000, 1)


async def test_an_old_checkpoint_does_not_bring_it_back(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b, pack = await two_sites(make_site, cloud)
    vector, slices = export(b)
    await end_it(a, b, cloud=cloud)
    for site in (a, b):
        await site.state.begin_join(JoinState(origin_of(b), 1, 1, vector, 0, False, {}))
        for number, data in enumerate(slices):
            await site.state.fold_slice(number, data)
        await site.state.end_join()
        await site.state.finish_join()
        assert pack not in objects_of(site, origin_of(a))
        assert await sends_it_again(site, cloud)
        await site.remove(b"again")


async def test_who_was_away_relies_on_nothing_that_a_checkpoint_does_not_tell_of(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b, _ = await two_sites(make_site, cloud)
    backup = make_site(b"backup", copy_of=b)
    await end_it(a, b, cloud=cloud)
    await a.put(b"later", noise(30_000, 3))
    await ship(a, cloud, PACKED)
    for site in (a, b):
        await pull(site, cloud)
        await CheckpointWriter(site.replica, site.state, cloud, lambda: KEYRING, wall_ms=site.wall_ms).write()
    for name in [name for name in cloud.objects if name.startswith(log_prefix(origin_of(a)))]:
        if (split_log_name(name) or 0) <= a.replica.shipped().n - 1:
            await cloud.delete(name)
    backup.use_cloud(cloud)
    await backup.put(b"own", b"to be acknowledged")
    shipper = new_shipper(backup, cloud)
    puller = Puller(backup.replica, cloud, lambda: KEYRING, wall_ms=backup.wall_ms, own_log_ahead=shipper.look_again)
    joiner = Joiner(backup.replica, backup.state, cloud, lambda: KEYRING)
    for _ in range(8):
        await puller.pull_round()
        await joiner.join_if_useful(puller.cut)
        await shipper.ship_round(speak=True)
        for site in (a, b):
            await tidy(site, cloud)
    assert not puller.cut
    assert await backup.read(b"later") == noise(30_000, 3)
    assert holdings_of(backup).untrusted() == [], "it knows everybody again"
    await backup.put(b"known", noise(30_000, 3))
    assert sum(one.frames for one in await ship(backup, cloud, PACKED)) == 0, "the checkpoint told of that"
    assert await sends_it_again(backup, cloud)
    for site in (a, b):
        await pull(site, cloud)
        site.use_cloud(cloud)
        assert await site.read(b"again") == noise(50_000, 2)


async def test_a_log_that_is_read_once_more_does_not_bring_it_back(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b, pack = await two_sites(make_site, cloud)
    part = make_site(b"part")
    await part.state.subscribe(("nothing",))
    await get_acquainted(part, a, cloud)
    await pull(part, cloud)
    await end_it(a, b, part, cloud=cloud)
    await part.state.subscribe(())
    part.use_cloud(cloud)
    for _ in range(3):
        await pull(part, cloud)
    assert await part.read(b"stays") == noise(30_000, 1)
    assert pack not in objects_of(part, origin_of(a))
    assert await sends_it_again(part, cloud)
