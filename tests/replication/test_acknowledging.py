"""An ack says more than "taken in": all that its writer did before stands in its log by then."""

from __future__ import annotations

import pytest

from replication.acknowledging import Acknowledging
from replication.batch_format import decode_batch
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import log_name
from replication.offload import run_at_once
from replication.ports import LogPosition, RemoteLog
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Shipper
from tests.replication.fixed_realm import KEYRING
from tests.replication.memory_site import MemorySite

OTHER = (b"o" * 16, b"i" * 8)
ONE_A_ROUND = ReplicationSettings(limits=ShipLimits(changes_max=1))


@pytest.fixture
def site():
    return MemorySite(KEYRING, b"a", lambda: 1_700_000_000_000)


def take_in(site, seq):
    """As if the other log had been taken in up to ``seq``."""
    site.remotes[OTHER] = RemoteLog(LogPosition(seq, seq))


def told_in(bucket, site, n):
    origin = (site.identity().site, site.identity().incarnation)
    return dict(decode_batch(KEYRING, origin, n, bucket.objects[log_name(origin, n)]).acks)


def new_shipper(site, bucket, **options):
    return Shipper(
        site, site, bucket, lambda: KEYRING, ONE_A_ROUND, wall_ms=site.wall_ms, offload=run_at_once, **options
    )


async def test_a_backlog_goes_before_the_ack_of_what_came_after_it(site):
    bucket = MemoryCloud()
    shipper = new_shipper(site, bucket)
    take_in(site, 3)
    for number in range(3):
        site.put(b"key %d" % number, b"content")
    await shipper.ship_round()
    take_in(site, 5)
    site.put(b"late", b"content")
    for _ in range(3):
        await shipper.ship_round()
    assert [told_in(bucket, site, n) for n in (1, 2, 3, 4)] == [{}, {}, {OTHER: 3}, {OTHER: 5}]
    assert not shipper.owes_acks


async def test_a_silent_site_acknowledges_in_a_batch_without_changes(site):
    bucket = MemoryCloud()
    shipper = new_shipper(site, bucket)
    assert await shipper.ship_round() is None
    announced = await shipper.ship_round(speak=True)
    assert (announced.position.n, announced.changes) == (1, 0)
    take_in(site, 2)
    assert shipper.owes_acks
    await shipper.ship_round(speak=True)
    assert told_in(bucket, site, 2) == {OTHER: 2}
    assert not shipper.owes_acks
    again = new_shipper(site, bucket)  # a restart knows from the bucket what was told
    await again.ship_round()
    assert not again.owes_acks
    assert again.spoken_ms == site.wall_ms()


async def test_what_may_not_be_acknowledged_yet_is_not(site):
    bucket, limits = MemoryCloud(), {OTHER: 1}
    shipper = new_shipper(site, bucket, ack_limits=lambda: limits)
    take_in(site, 4)
    await shipper.ship_round(speak=True)
    assert told_in(bucket, site, 1) == {OTHER: 1}
    assert not shipper.owes_acks
    limits.clear()
    assert shipper.owes_acks
    await shipper.ship_round(speak=True)
    assert told_in(bucket, site, 2) == {OTHER: 4}


async def test_what_is_to_be_said_first_goes_with_or_before_the_ack(site):
    take_in(site, 2)

    async def settle():
        if site.last_seq() == 0:
            site.put(b"said first", b"content")

    acknowledging = Acknowledging(site, settle=settle)
    await acknowledging.look()
    assert acknowledging.tell(0) == {}
    assert acknowledging.tell(1) == {OTHER: 2}


async def test_the_status_goes_with_every_batch_and_says_what_stays_unsent(site):
    bucket, asked = MemoryCloud(), []

    def tell_status(unsent):
        asked.append(unsent)
        return b"status %d" % unsent

    shipper = new_shipper(site, bucket, tell_status=tell_status)
    for number in range(2):
        site.put(b"key %d" % number, b"content")
    await shipper.ship_round()
    await shipper.ship_round()
    origin = (site.identity().site, site.identity().incarnation)
    assert asked == [1, 0]
    assert decode_batch(KEYRING, origin, 2, bucket.objects[log_name(origin, 2)]).status == b"status 0"
