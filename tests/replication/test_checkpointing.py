"""What the daemon does about checkpoints: who writes one, when, what it asks of the bucket, and who begins with one."""

from __future__ import annotations

import dataclasses

import pytest

from replication.checkpointing import JOIN_BATCHES_MIN, RETRY_S, Checkpointing
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import CHECKPOINTS_PREFIX, log_name
from replication.departures import forget_site
from replication.offload import run_at_once
from replication.puller import Puller
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Shipper
from tests.replication.fixed_realm import KEYRING
from tests.replication.memory_site import MemorySite

SETTINGS = ReplicationSettings(
    checkpoint_changes=40, checkpoint_interval_s=3600, limits=ShipLimits(changes_max=2, inline_bytes_max=0)
)


class Asked(MemoryCloud):
    """A bucket that counts what it is asked."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __getattribute__(self, name):
        if name in ("get", "put", "list", "delete"):
            self.count += 1
        return super().__getattribute__(name)


class Site:
    def __init__(self, cloud, name, settings=SETTINGS):
        self.now_ms = 1_700_000_000_000
        self.store = MemorySite(KEYRING, name, self.wall_ms)
        self.shipper = Shipper(
            *(self.store, self.store, cloud, keyring, settings), wall_ms=self.wall_ms, offload=run_at_once
        )
        self.puller = Puller(self.store, cloud, keyring, wall_ms=self.wall_ms)
        self.checkpointing = Checkpointing(
            *(self.store, self.store, cloud, keyring, settings),
            wall_ms=self.wall_ms,
            refresh_keys=no_keys,
            offload=run_at_once,
        )
        self.written = 0

    def wall_ms(self):
        return self.now_ms

    async def write(self, count):
        for _ in range(count):
            self.written += 1
            self.store.put(b"k%d" % (self.written % 7), b"content %d" % self.written)

    async def ship(self):
        while await self.shipper.ship_round():
            pass

    async def pull(self):
        return await self.checkpointing.pull_round(self.puller)


def keyring():
    return KEYRING


async def no_keys():
    pass


async def test_one_writes_when_enough_changed_and_the_others_need_not():
    cloud = Asked()
    one, two = Site(cloud, b"\x00one"), Site(cloud, b"\xfftwo")
    await one.write(39)
    await one.ship()
    await two.pull()
    for site in (one, two):
        assert not await site.checkpointing.write_if_due()
    await one.write(25)
    await one.ship()
    await two.pull()
    assert await one.checkpointing.write_if_due()
    assert not await two.checkpointing.write_if_due()
    assert len(await cloud.list(CHECKPOINTS_PREFIX)) == 1
    cloud.count = 0
    for site in (one, two):
        assert not await site.checkpointing.write_if_due()
    assert cloud.count == 0, "nobody asks while none can be due"
    await one.write(10)
    await one.ship()
    assert not await one.checkpointing.write_if_due()
    one.now_ms += 3_600_000
    assert await one.checkpointing.write_if_due(), "a tenth is enough for one that is old"
    await two.write(61)
    await two.ship()
    await two.pull()
    assert await two.checkpointing.write_if_due()
    assert len(await cloud.list(CHECKPOINTS_PREFIX)) == 2


async def test_one_of_a_site_that_was_forgotten_does_not_count():
    cloud = MemoryCloud()
    one, two = Site(cloud, b"\x00one"), Site(cloud, b"\xfftwo")
    await one.write(64)
    await one.ship()
    await two.pull()
    assert await one.checkpointing.write_if_due()
    assert not await two.checkpointing.write_if_due()
    me, other = two.store.identity().site, one.store.identity().site
    await forget_site(two.store, other, me, two.now_ms, insist=True)
    await two.write(16)
    await two.ship()
    assert await two.checkpointing.write_if_due()


async def test_what_was_seen_unsent_is_waited_for():
    cloud = MemoryCloud()
    site = Site(cloud, b"\x00one")
    await site.write(41)
    await site.ship()
    await site.write(1)
    assert not await site.checkpointing.write_if_due()
    assert await cloud.list(CHECKPOINTS_PREFIX) == []
    await site.ship()
    assert await site.checkpointing.write_if_due()


async def test_zero_means_never():
    cloud = MemoryCloud()
    site = Site(cloud, b"\x00one", dataclasses.replace(SETTINGS, checkpoint_changes=0))
    await site.write(200)
    await site.ship()
    assert not await site.checkpointing.write_if_due()


@pytest.mark.parametrize("changes", [JOIN_BATCHES_MIN, 80])
async def test_a_new_site_begins_with_a_checkpoint_if_that_spares_it_much(changes):
    cloud = MemoryCloud()
    one, new = Site(cloud, b"\x00one"), Site(cloud, b"new")
    await one.write(changes)
    await one.ship()
    await one.checkpointing.writer.write()
    pulled = await new.pull()
    assert (pulled.batches == 0) is (changes == 80)
    assert new.store.visible() == one.store.visible()
    await one.write(3)
    await one.ship()
    await new.pull()
    assert new.store.joining() is None
    assert new.store.visible() == one.store.visible()


async def test_a_log_that_is_cut_behind_a_site_is_looked_for_now_and_again():
    cloud = Asked()
    one, late = Site(cloud, b"\x00one"), Site(cloud, b"late")
    await one.write(2)
    await one.ship()
    await late.pull()
    await one.write(8)
    await one.ship()
    origin = next(iter(late.store.pulled()))
    for n in (2, 3):
        del cloud.objects[log_name(origin, n)]
    for _ in range(2):
        assert (await late.pull()).stopped == 1
    cloud.count = 0
    assert (await late.pull()).stopped == 1
    asked = cloud.count
    await one.checkpointing.writer.write()
    assert (await late.pull()).stopped == 1, "not at every round"
    assert cloud.count < 3 * asked + 12
    late.now_ms += int(RETRY_S * 1000)
    assert (await late.pull()).stopped == 0
    assert late.store.visible() == one.store.visible()


async def test_one_of_its_own_is_written_for_a_long_log():
    """Whatever others have: only behind it the log's beginning may go."""
    cloud, often = MemoryCloud(), dataclasses.replace(SETTINGS, checkpoint_batches=20, checkpoint_changes=10_000)
    one, two = Site(cloud, b"\x00one", often), Site(cloud, b"\x00two", often)
    await one.write(20)
    await one.ship()
    await two.pull()
    await two.checkpointing.writer.write()
    assert not await one.checkpointing.write_if_due()
    assert one.store.shipped().n == 10
    await one.write(20)
    await one.ship()
    assert await one.checkpointing.write_if_due()
    await one.write(40)
    await one.ship()
    assert not await one.checkpointing.write_if_due(), "not so soon"
    one.now_ms += 3_600_000
    assert await one.checkpointing.write_if_due()
    assert not await one.checkpointing.write_if_due()


async def test_one_is_written_when_a_site_that_is_out_had_told_more_than_any_other():
    cloud = MemoryCloud()
    one, two = Site(cloud, b"\x00one"), Site(cloud, b"\x00two")
    await one.write(4)
    await one.ship()
    await two.pull()
    await two.write(1)
    await two.ship()
    await one.pull()
    await two.checkpointing.writer.write()
    assert not await one.checkpointing.write_if_due()
    await forget_site(one.store, two.store.identity().site, one.store.identity().site, one.now_ms, insist=True)
    await one.ship()
    assert await one.checkpointing.write_if_due()
    assert not await one.checkpointing.write_if_due()


async def test_a_lone_site_does_not_join_what_it_wrote_itself():
    """It has taken in nothing, and there is nothing to take in: what the checkpoint tells it had told."""
    cloud = Asked()
    one = Site(cloud, b"\x00one")
    await one.write(2 * JOIN_BATCHES_MIN + 2)
    await one.ship()
    assert one.store.shipped().n > JOIN_BATCHES_MIN
    assert await one.checkpointing.write_if_due()
    assert await one.checkpointing.joiner.join_if_useful() is None
    assert one.store.joining() is None
