"""What a site that is out has left in the bucket, its heir takes over: over every implementation of a site."""

from replication.cloud_memory import MemoryCloud
from replication.cloud_names import is_pack_name, log_prefix, site_prefix, split_checkpoint_mark
from replication.departures import forget_site, retire_site
from replication.restore import restore_site
from tests.contracts.test_collection import AT_ONCE, holdings_of
from tests.contracts.test_log_compaction import get_acquainted, tidy, write_checkpoint
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


def packs_of(site, cloud):
    prefix = site_prefix(origin_of(site)[0])
    return sorted(name for name in cloud.objects if name.startswith(prefix) and is_pack_name(name))


async def realm_of_three(make_site, cloud):  # noqa: F811
    a, b, c = (make_site(name) for name in (b"a", b"b", b"c"))
    for one, other in ((a, b), (b, c), (a, c)):
        await get_acquainted(one, other, cloud)
    await a.put(b"stays", noise(30_000, 1))
    await a.put(b"goes", noise(50_000, 2))
    await ship(a, cloud, PACKED)
    for site in (b, c):
        await pull(site, cloud)
    return a, b, c


async def forget(by, site, heir, cloud):
    await forget_site(by.replica, origin_of(site)[0], origin_of(heir)[0], by.wall_ms(), insist=True)
    await ship(by, cloud)


async def rest(cloud, *sites, turns=5):
    for _ in range(turns):
        for site in sites:
            await tidy(site, cloud)


async def test_the_heir_deletes_what_is_dead_and_keeps_what_lives(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b, c = await realm_of_three(make_site, cloud)
    (before,) = packs_of(a, cloud)
    await c.remove(b"goes")
    await ship(c, cloud)
    await rest(cloud, b, c)
    assert packs_of(a, cloud) == [before], "its owner may come back"
    await forget(b, a, c, cloud)
    await pull(c, cloud)
    await new_shipper(c, cloud).ship_round(speak=True)
    await rest(cloud, b)
    assert holdings_of(b).dooms() == [], "it is not the heir"
    await rest(cloud, b, c)
    assert packs_of(a, cloud) == []
    assert packs_of(b, cloud) == []
    assert len(packs_of(c, cloud)) == 1, "the heir has what lives"
    for site in (b, c):
        assert await site.read(b"stays") == noise(30_000, 1)
    fresh = make_site(b"fresh")
    fresh.use_cloud(cloud)
    await restore_site(cloud, lambda: KEYRING, fresh.replica, wall_ms=fresh.wall_ms)
    assert await fresh.read(b"stays") == noise(30_000, 1)


async def test_somebody_who_did_not_hear_of_it_is_waited_for(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b, c = await realm_of_three(make_site, cloud)
    before = packs_of(a, cloud)
    await c.remove(b"goes")
    await ship(c, cloud)
    await forget(b, a, c, cloud)
    await rest(cloud, c)
    assert packs_of(a, cloud) == before
    await rest(cloud, b, c)
    assert packs_of(a, cloud) == []


async def test_what_it_had_doomed_itself_the_heir_deletes(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b, c = await realm_of_three(make_site, cloud)
    (before,) = packs_of(a, cloud)
    await a.remove(b"goes")
    await tidy(a, cloud)
    (doom,) = holdings_of(a).dooms()
    assert doom.names == (before,)
    await rest(cloud, b, c, turns=2)
    await forget(b, a, c, cloud)
    await rest(cloud, b, c)
    assert before not in cloud.objects
    for site in (b, c):
        assert await site.read(b"stays") == noise(30_000, 1)


async def test_its_log_goes_behind_the_heirs_checkpoint_and_so_does_its_own(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b, c = await realm_of_three(make_site, cloud)
    for number in range(3):
        await a.put(b"k%d" % number, noise(20_000, 10 + number))
        await ship(a, cloud, PACKED)
    for site in (b, c):
        await pull(site, cloud)
    await write_checkpoint(a, cloud)
    log = [name for name in cloud.objects if name.startswith(log_prefix(origin_of(a)))]
    await forget(b, a, c, cloud)
    await rest(cloud, b, c)
    assert [name for name in log if name not in cloud.objects] == [], "the heir has no checkpoint yet"
    await write_checkpoint(c, cloud)
    await c.put(b"later", b"later")
    await rest(cloud, b, c)
    left = [name for name in cloud.objects if name.startswith(log_prefix(origin_of(a)))]
    assert left == log[-len(left) :]
    assert 1 <= len(left) <= 2
    marks = [mark for mark in map(split_checkpoint_mark, cloud.objects) if mark]
    assert [mark.origin for mark in marks] == [origin_of(c)]
    fresh = make_site(b"fresh")
    fresh.use_cloud(cloud)
    await restore_site(cloud, lambda: KEYRING, fresh.replica, wall_ms=fresh.wall_ms, state=fresh.state)
    assert fresh.visible() == c.visible()
    assert await fresh.read(b"k1") == noise(20_000, 11)


async def test_of_one_that_retired_the_first_that_stays_is_the_heir(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b, c = await realm_of_three(make_site, cloud)
    await retire_site(a.replica, origin_of(a)[0], a.wall_ms())
    shipper = new_shipper(a, cloud)
    while not shipper.ended:
        await shipper.ship_round()
    await rest(cloud, b, c)
    assert len(packs_of(a, cloud)) == 1
    await c.remove(b"goes")
    await ship(c, cloud)
    await rest(cloud, b, c)
    assert packs_of(a, cloud) == []
    assert len(packs_of(b, cloud)) == 1
    assert packs_of(c, cloud) == []
    assert await c.read(b"stays") == noise(30_000, 1)
    assert AT_ONCE.enabled
