"""The contract of ``Holdings``, and collection in the bucket over it: the site in memory and the real store alike."""

import asyncio
from dataclasses import replace

import pytest

from replication.change_format import decode_change
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import is_pack_name, site_prefix
from replication.collection_ports import DoomState
from replication.collector import CollectedRound, Collector
from replication.frame_format import decode_header
from replication.hydrate import CloudFetcher
from replication.membership import take_census
from replication.offload import run_at_once
from replication.ports import Reissue
from replication.puller import Puller
from replication.restore import restore_site
from replication.settings import CollectSettings
from replication.shipper import Shipper
from tests.contracts.stopping_cloud import StoppingCloud
from tests.contracts.test_replica import PACKED, Memory, get_acquainted, make_site, noise, pull, ship  # noqa: F401
from tests.replication.fixed_realm import KEYRING

AT_ONCE = CollectSettings(point_in_time_ms=-(1 << 60), grace_ms=-(1 << 60), acquaint_ms=1 << 60)
EVERYTHING = 1 << 62
NOTHING_LATELY = 1 << 60
"""Later than anything: what nothing needs now is not needed."""


def holdings_of(site):
    return site.replica if isinstance(site, Memory) else site.store.holdings


def make_collector(site, cloud, settings=AT_ONCE):
    shipper = Shipper(site.replica, site.replica, cloud, lambda: KEYRING, PACKED, wall_ms=site.wall_ms)
    return Collector(
        *(site.replica, holdings_of(site), shipper, cloud, CloudFetcher(cloud), site.bring, lambda: KEYRING, settings),
        wall_ms=site.wall_ms,
        offload=run_at_once,
    ), shipper


async def tidy(site, cloud, settings=AT_ONCE):
    """One turn of the daemon at collection."""
    collector, shipper = make_collector(site, cloud, settings)
    site.use_cloud(cloud)
    if not site.replica.shipped().n:
        await shipper.ship_round(speak=True)
    await Puller(site.replica, cloud, lambda: KEYRING, wall_ms=site.wall_ms).pull_round()
    done = await collector.collect_round(caught_up=True)
    while await shipper.ship_round(speak=shipper.owes_acks):
        pass
    return done


def packs_in(cloud):
    return [name for name in cloud.objects if is_pack_name(name)]


def own_packs(site, since_ms=NOTHING_LATELY):
    prefix = site_prefix(site.replica.identity().site)
    found = holdings_of(site).held_objects(prefix, "", 100, since_ms)
    return [held for held in found if is_pack_name(held.name)]


async def two_in_one_pack(site, cloud):
    await site.put(b"stays", noise(30_000, 1))
    await site.put(b"goes", noise(50_000, 2))
    await ship(site, cloud, PACKED)
    assert len(packs_in(cloud)) == 1


async def test_what_an_object_holds_and_what_of_it_is_needed(make_site):  # noqa: F811
    cloud, a = MemoryCloud(), make_site(b"a")
    await two_in_one_pack(a, cloud)
    (held,) = own_packs(a)
    assert held.live_bytes == held.bytes > 80_000
    await a.remove(b"goes")
    (held,) = own_packs(a)
    assert 30_000 < held.live_bytes < 31_000
    (lately,) = own_packs(a, since_ms=0)
    assert lately.live_bytes == lately.bytes, "what died lately is kept for looking back"
    leaving = holdings_of(a).leaving_frames([held.name], NOTHING_LATELY, 10, EVERYTHING)
    assert [decode_header(place.header).raw_size for place in leaving] == [30_000]
    assert len(holdings_of(a).leaving_frames([held.name], 0, 10, EVERYTHING)) == 2
    assert holdings_of(a).leaving_frames([held.name], 0, 1, EVERYTHING)
    assert holdings_of(a).leaving_frames([held.name], 0, 10, 0), "at least one"


async def test_a_doomed_object_is_not_relied_on_and_is_read(make_site):  # noqa: F811
    cloud, a = MemoryCloud(), make_site(b"a")
    await two_in_one_pack(a, cloud)
    (held,) = own_packs(a)
    await holdings_of(a).doom([held.name])
    (doom,) = holdings_of(a).dooms()
    origin = (a.replica.identity().site, a.replica.identity().incarnation)
    assert (doom.names, doom.state) == ((held.name,), DoomState.APPLIED)
    assert a.replica.unsettled() == {origin: doom.dot.seq}
    assert [held.doomed for held in own_packs(a)] == [True]
    await a.put(b"again", noise(30_000, 1))
    shipped = await ship(a, cloud, PACKED)
    assert sum(one.frames for one in shipped) == 1, "what lies only there is sent again"
    assert await a.read(b"stays") == noise(30_000, 1)
    await holdings_of(a).record_doom(doom.dot, DoomState.SETTLED)
    assert a.replica.unsettled() == {}
    await holdings_of(a).record_doom(doom.dot, DoomState.APPLIED)
    assert a.replica.unsettled() == {}, "never back"
    await holdings_of(a).record_doom(doom.dot, DoomState.DISCARDED)
    assert [held.frames for held in own_packs(a) if held.doomed] in ([0], [])
    a.restart()
    assert [doom.state for doom in holdings_of(a).dooms()] == [DoomState.DISCARDED]
    await holdings_of(a).end_dooms([doom.dot])
    assert holdings_of(a).dooms() == []


async def test_a_lone_site_takes_its_garbage_back(make_site):  # noqa: F811
    cloud, a, fresh = MemoryCloud(), make_site(b"a"), make_site(b"f")
    await two_in_one_pack(a, cloud)
    (before,) = packs_in(cloud)
    await a.remove(b"goes")
    done = [await tidy(a, cloud) for _ in range(4)]
    assert sum(one.doomed for one in done) == sum(one.deleted for one in done) == 1
    assert sum(one.dooms_ended for one in done) == 1
    assert holdings_of(a).dooms() == []
    (left,) = packs_in(cloud)
    assert left != before
    assert len(cloud.objects[left]) < 45_000
    assert await tidy(a, cloud) == CollectedRound()
    fresh.use_cloud(cloud)
    await restore_site(cloud, lambda: KEYRING, fresh.replica, wall_ms=fresh.wall_ms)
    assert await fresh.read(b"stays") == noise(30_000, 1)


async def test_everybody_lets_go_before_the_owner_deletes(make_site):  # noqa: F811
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await get_acquainted(a, b, cloud)
    await two_in_one_pack(a, cloud)
    await pull(b, cloud)
    await a.remove(b"goes")
    for _ in range(3):
        await tidy(a, cloud)
    (doom,) = holdings_of(a).dooms()
    assert doom.names[0] in cloud.objects, "the other site has not said that it saw the doom"
    await tidy(b, cloud)
    await tidy(a, cloud)
    assert doom.names[0] not in cloud.objects
    assert await b.read(b"stays") == noise(30_000, 1)


async def test_what_only_another_site_needs_it_takes_over_before_it_acknowledges(make_site):  # noqa: F811
    """``b`` gives what ``a`` deletes a second name meanwhile, with bytes it has in the bucket only through ``a``."""
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await get_acquainted(a, b, cloud)
    await two_in_one_pack(a, cloud)
    await pull(b, cloud)
    await b.put(b"kept", await b.read(b"goes"))
    await a.remove(b"goes")
    await a.remove(b"stays")
    await tidy(a, cloud)
    await pull(b, cloud)
    origin = (a.replica.identity().site, a.replica.identity().incarnation)
    first = b.replica.unsettled()[origin]
    speaking = Shipper(b.replica, b.replica, cloud, lambda: KEYRING, PACKED, wall_ms=b.wall_ms)
    while await speaking.ship_round(speak=speaking.owes_acks):
        pass
    await pull(a, cloud)
    bs = (b.replica.identity().site, b.replica.identity().incarnation)
    assert a.replica.acks()[bs][origin] < first, "not settled: not acknowledged"
    done = await tidy(b, cloud)
    assert done.settled == 1
    for _ in range(2):
        await tidy(a, cloud)
    assert a.replica.acks()[bs][origin] >= first
    assert all(name.startswith(site_prefix(b.replica.identity().site)) for name in packs_in(cloud))
    c = make_site(b"c")
    c.use_cloud(cloud)
    await restore_site(cloud, lambda: KEYRING, c.replica, wall_ms=c.wall_ms)
    assert await c.read(b"kept") == noise(50_000, 2)


async def test_a_dead_value_that_lies_only_in_an_object_that_went_is_sent_without_it(make_site):  # noqa: F811
    """World 100152: a client of ``b`` writes again what a deleted object held, and overwrites it; the bytes here are
    collected before the change was ever sent. Nobody held the place in that object, and nothing is there.
    """
    cloud, a, b, fresh = MemoryCloud(), make_site(b"a"), make_site(b"b"), make_site(b"f")
    await get_acquainted(a, b, cloud)
    await two_in_one_pack(a, cloud)
    await pull(b, cloud)
    await a.remove(b"goes")
    for site in (a, b, a, a):
        await tidy(site, cloud)
    (doom,) = holdings_of(a).dooms()
    assert doom.names[0] not in cloud.objects
    assert [doom.state for doom in holdings_of(b).dooms()] == [DoomState.SETTLED], "what was there is still located"
    seq = b.replica.last_seq()
    await b.put(b"k", noise(50_000, 2))
    await b.put(b"k", noise(40_000, 3))
    b.collect()
    put, overwrite = b.replica.read_changes(seq, 9, EVERYTHING)
    bare, whole = b.replica.sendable([put, overwrite])
    assert decode_change(bare).refs == ()
    assert whole == overwrite
    assert b.replica.absent_chunks([bare, whole], 9) == []
    assert sum(one.frames for one in await ship(b, cloud, PACKED)) == 1
    fresh.use_cloud(cloud)
    await restore_site(cloud, lambda: KEYRING, fresh.replica, wall_ms=fresh.wall_ms)
    assert await fresh.read(b"k") == noise(40_000, 3)


async def test_a_site_that_nobody_knows_yet_relies_on_nobody(make_site):  # noqa: F811
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await two_in_one_pack(a, cloud)
    await pull(b, cloud)
    assert holdings_of(b).untrusted() == [a.replica.identity().site]
    assert await b.read(b"goes") == noise(50_000, 2)
    await b.put(b"kept", noise(50_000, 2))
    assert sum(one.frames for one in await ship(b, cloud, PACKED)) == 1, "its own copy, for all it knows of the other"
    await holdings_of(b).trust([a.replica.identity().site])
    assert holdings_of(b).untrusted() == []
    await b.put(b"too", noise(30_000, 1))
    assert sum(one.frames for one in await ship(b, cloud, PACKED)) == 0


async def test_who_is_silent_is_trusted_after_an_hour_that_no_clock_makes_shorter(make_site):  # noqa: F811
    """And a log that takes the place of another has an hour of its own: nobody knows of it yet."""
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await two_in_one_pack(a, cloud)
    await pull(b, cloud)
    silent, wall_ms, steady_ms = [a.replica.identity().site], [1_700_000_000_000], [0]
    shipper = Shipper(b.replica, b.replica, cloud, lambda: KEYRING, PACKED, wall_ms=b.wall_ms)
    collector = Collector(
        *(b.replica, holdings_of(b), shipper, cloud, CloudFetcher(cloud), b.bring, lambda: KEYRING, CollectSettings()),
        wall_ms=lambda: wall_ms[0],
        steady_ms=lambda: steady_ms[0],
        offload=run_at_once,
    )
    for changes_log in (False, True):
        if changes_log:
            former = (b.replica.identity().site, b.replica.identity().incarnation)
            await b.replica.issue_anew(Reissue(former, b.replica.shipped(), 0, 0, bytes(16), bytes(8), "told"))
        await shipper.ship_round(speak=True)
        await collector.collect_round(caught_up=True)
        wall_ms[0] += 365 * 86_400_000
        await collector.collect_round(caught_up=True)
        assert silent[0] in holdings_of(b).untrusted()
        steady_ms[0] += CollectSettings().acquaint_ms
        await collector.collect_round(caught_up=False)
        assert silent[0] in holdings_of(b).untrusted(), "it does not know what there is"
        await collector.collect_round(caught_up=True)
        assert holdings_of(b).untrusted() == []


async def test_what_joins_while_heads_are_listed_sees_what_is_deleted_without_it(make_site):  # noqa: F811
    """A doom that is shipped only after the heads were listed must wait for who came meanwhile."""
    cloud, a = MemoryCloud(), make_site(b"a")
    await two_in_one_pack(a, cloud)
    collector, shipper = make_collector(a, cloud)
    (held,) = own_packs(a)
    await a.remove(b"goes")
    await a.remove(b"stays")
    await ship(a, cloud, PACKED)
    await holdings_of(a).doom([held.name])
    (doom,) = holdings_of(a).dooms()
    await holdings_of(a).record_doom(doom.dot, DoomState.SETTLED)
    real = cloud.list

    async def list_and_ship(*given, **more):
        names = await real(*given, **more)
        cloud.list = real
        await shipper.ship_round()
        return names

    cloud.list = list_and_ship
    await collector.collect_round(caught_up=True)
    assert a.replica.shipped().seq >= doom.dot.seq
    assert held.name in cloud.objects
    await collector.collect_round(caught_up=True)
    assert held.name not in cloud.objects


async def test_who_does_not_collect_deletes_nothing_it_had_doomed(make_site):  # noqa: F811
    cloud, a = MemoryCloud(), make_site(b"a")
    await two_in_one_pack(a, cloud)
    await a.remove(b"goes")
    await tidy(a, cloud)
    (doom,) = holdings_of(a).dooms()
    for _ in range(2):
        await tidy(a, cloud, replace(AT_ONCE, enabled=False))
    assert doom.names[0] in cloud.objects
    await tidy(a, cloud)
    assert doom.names[0] not in cloud.objects


@pytest.mark.parametrize("stop_at", range(1, 20))
async def test_stopped_before_or_after_any_call_it_goes_on(make_site, stop_at):  # noqa: F811
    cloud, a = MemoryCloud(), make_site(b"a")
    await two_in_one_pack(a, cloud)
    await a.remove(b"goes")
    stopping = StoppingCloud(cloud, stop_at)
    stopped = False
    for _ in range(6):
        try:
            await tidy(a, stopping)
        except asyncio.CancelledError:
            stopped = True
    assert stopped
    (left,) = packs_in(cloud)
    assert len(cloud.objects[left]) < 45_000
    assert await a.read(b"stays") == noise(30_000, 1)
    assert take_census(a.replica).cut()
