"""What interrupted rounds left in the bucket: over every implementation of a site."""

from contextlib import suppress

import pytest

from replication.cloud_memory import MemoryCloud
from replication.cloud_names import is_pack_name, packs_prefix, split_index_name
from replication.collector import CollectedRound
from replication.ports import CloudUnreachable
from replication.puller import Puller
from tests.contracts.test_collection import AT_ONCE, make_collector, packs_in
from tests.contracts.test_replica import (
    KEYRING,
    PACKED,
    make_site,  # noqa: F401 - a fixture
    new_shipper,
    noise,
    origin_of,
    ship,
)


class Breaking:
    """A bucket whose link breaks before the named kind of object is put."""

    def __init__(self, inner, before):
        self._inner, self._before = inner, before

    def __getattr__(self, name):
        return getattr(self._inner, name)

    async def put(self, name, data, **more):
        if self._before in name:
            raise CloudUnreachable("the link breaks")
        await self._inner.put(name, data, **more)


class Tidier:
    """A daemon that goes on from turn to turn."""

    def __init__(self, site, cloud):
        self.site, self.cloud = site, cloud
        self.collector, self.shipper = make_collector(site, cloud, AT_ONCE)

    async def turn(self):
        await Puller(self.site.replica, self.cloud, lambda: KEYRING, wall_ms=self.site.wall_ms).pull_round()
        total, walking = CollectedRound(), True
        while walking:
            total = total.plus(await self.collector.collect_round(caught_up=True))
            walking = self.collector.is_walking
        return total

    async def speak(self):
        await self.shipper.ship_round(speak=True)


async def interrupted(site, cloud, before="/log/"):
    """A round that ends before its batch, and is planned anew with more in it: under other names."""
    await site.put(b"lost", noise(20_000, 1))
    with suppress(CloudUnreachable):
        await new_shipper(site, Breaking(cloud, before), PACKED).ship_round()
    left = packs_in(cloud)
    await site.put(b"more", noise(30_000, 2))
    return left


async def test_what_a_crash_left_goes_when_its_round_is_over(make_site):  # noqa: F811
    cloud, a = MemoryCloud(), make_site(b"a")
    a.use_cloud(cloud)
    (left,) = await interrupted(a, cloud)
    daemon = Tidier(a, cloud)
    for _ in range(3):
        assert (await daemon.turn()).orphans == 0, "its round may yet be committed"
    await ship(a, cloud, PACKED)
    assert left in cloud.objects
    indexes = [name for name in cloud.objects if split_index_name(name)]
    assert len(indexes) == 2
    assert (await daemon.turn()).orphans == 2, "the pack, and the index beside the one that the batch names"
    assert left not in cloud.objects
    assert len([name for name in cloud.objects if split_index_name(name)]) == 1
    assert (await daemon.turn()).orphans == 0
    assert len(packs_in(cloud)) == 1
    assert await a.read(b"lost") == noise(20_000, 1)


async def test_what_is_found_first_is_never_deleted_at_once(make_site):  # noqa: F811
    """Not even if its round is over: for all one knows another one is under way."""
    cloud, a = MemoryCloud(), make_site(b"a")
    a.use_cloud(cloud)
    (left,) = await interrupted(a, cloud)
    await ship(a, cloud, PACKED)
    daemon = Tidier(a, cloud)
    await daemon.turn()
    assert left in cloud.objects
    await daemon.turn()
    assert left in cloud.objects, "the batch that was next then is not confirmed"
    await daemon.speak()
    await daemon.turn()
    assert left not in cloud.objects


async def test_a_round_in_flight_keeps_its_packs(make_site):  # noqa: F811
    cloud, a = MemoryCloud(), make_site(b"a")
    a.use_cloud(cloud)
    await a.put(b"first", noise(20_000, 0))
    await ship(a, cloud, PACKED)
    await a.put(b"k", noise(20_000, 1))
    shipper = new_shipper(a, Breaking(cloud, "/log/"), PACKED)
    with pytest.raises(CloudUnreachable):
        await shipper.ship_round()
    before = packs_in(cloud)
    assert len(before) == 2
    daemon = Tidier(a, cloud)
    for _ in range(4):
        await daemon.turn()
    assert packs_in(cloud) == before
    shipper._cloud = cloud
    await shipper.ship_round()
    for _ in range(3):
        await daemon.speak()
        await daemon.turn()
    assert packs_in(cloud) == before
    assert await a.read(b"k") == noise(20_000, 1)


async def test_nothing_of_others_is_touched(make_site):  # noqa: F811
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    for site in (a, b):
        site.use_cloud(cloud)
    (left,) = await interrupted(a, cloud)
    await ship(a, cloud, PACKED)
    daemon = Tidier(b, cloud)
    for _ in range(4):
        await daemon.speak()
        await daemon.turn()
    assert left in cloud.objects
    assert left.startswith(packs_prefix(origin_of(a)))


async def test_what_a_late_request_brought_back_goes_again(make_site):  # noqa: F811
    cloud, a = MemoryCloud(), make_site(b"a")
    a.use_cloud(cloud)
    await a.put(b"goes", noise(50_000, 2))
    await ship(a, cloud, PACKED)
    ((name, data),) = [(name, data) for name, data in cloud.objects.items() if is_pack_name(name)]
    await a.remove(b"goes")
    daemon = Tidier(a, cloud)
    for _ in range(3):
        await daemon.turn()
        await daemon.speak()
    assert name not in cloud.objects
    cloud.objects[name] = data
    for _ in range(4):
        await daemon.turn()
        await daemon.speak()
    assert name not in cloud.objects
