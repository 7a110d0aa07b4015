"""Nothing stays under an epoch that is to end, in the bucket or on the disk: over every implementation of a site."""

import asyncio
import dataclasses
from contextlib import suppress

import pytest

from replication.batch_format import chain_of
from replication.change_format import decode_change
from replication.checkpointing import Checkpointing
from replication.cloud_audit import AuditLimits, CloudAudit
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import is_pack_name, log_prefix
from replication.collecting import Collecting
from replication.collector import Collector
from replication.departures import forget_site, retire_site
from replication.hydrate import CloudFetcher
from replication.offload import run_at_once
from replication.ports import FrameLocation, LogPosition, PulledBatch, Reissue
from replication.puller import Puller
from replication.restore import restore_site
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import LogEnded, Shipper
from tests.contracts.stopping_cloud import StoppingCloud
from tests.contracts.test_collection import AT_ONCE, holdings_of
from tests.contracts.test_replica import Memory, make_site, noise, origin_of  # noqa: F401 - a fixture
from tests.replication.fixed_realm import KEYRING

FIRST, SECOND = KEYRING.current, b"epoch-two-------"
BOTH = dataclasses.replace(KEYRING, epochs={**KEYRING.epochs, SECOND: bytes(range(96, 128))}, current=SECOND)
RETIRING = dataclasses.replace(BOTH, retired=frozenset({FIRST}))
SECOND_ONLY = dataclasses.replace(RETIRING, epochs={SECOND: BOTH.epochs[SECOND]})
PACKED = ReplicationSettings(limits=ShipLimits(inline_bytes_max=4000, pack_bytes_max=1 << 20, changes_max=4))
EVERY = 7
"""At every seventh call of a turn's many, before it is done or after it. At every single one: put 1 here (40 s)."""
WHOLE = AuditLimits(None, None)


async def nothing():
    pass


class Daemon:
    """The replication process of a site: what one turn of each of its loops does."""

    def __init__(self, site, cloud, ring, settings=PACKED):
        self.site, self.cloud, self.ring = site, cloud, ring
        replica, keyring = site.replica, lambda: self.ring
        site.use_cloud(cloud)
        self.shipper = Shipper(replica, replica, cloud, keyring, settings, wall_ms=site.wall_ms)
        self.puller = Puller(replica, cloud, keyring, wall_ms=site.wall_ms)
        fetcher = CloudFetcher(cloud)
        self.collector = Collector(
            *(replica, holdings_of(site), self.shipper, cloud, fetcher, site.bring, keyring, AT_ONCE),
            wall_ms=site.wall_ms,
            offload=run_at_once,
        )
        self.collecting = Collecting(
            *(replica, site.state, self.collector, 0), wall_ms=site.wall_ms, hurry=lambda: None
        )
        self.checkpointing = Checkpointing(
            *(replica, site.state, cloud, keyring, settings),
            wall_ms=site.wall_ms,
            refresh_keys=nothing,
            offload=run_at_once,
        )
        self.checkpointing.is_wanted = self.collecting.wants_checkpoint

    def know(self, ring):
        self.ring = ring
        self.site.set_keyring(ring)

    async def ship(self):
        while await self.shipper.ship_round(speak=self.shipper.owes_acks or not self.site.replica.shipped().n):
            pass

    async def turn(self):
        await self.ship()
        pulled = await self.puller.pull_round()
        assert not pulled.stopped
        await self.collecting.take_turn(caught_up=True, now=True)
        await self.ship()
        await self.checkpointing.write_if_due()

    @property
    def is_done(self):
        accounts = self.collector.rekeying.account
        return FIRST in accounts and all(account.is_done for account in accounts.values())


async def fill(a, b):
    """Two sites that know each other, with values in packs and in batches, shared, overwritten and deleted ones."""
    for _ in range(3):
        for daemon in (a, b):
            await daemon.turn()
    values = {b"large": noise(60_000, 1), b"small": noise(900, 2), b"shared": noise(30_000, 3)}
    for key, value in values.items():
        await a.site.put(key, value)
        await a.turn()
    await b.turn()
    values |= {b"copy": values[b"shared"], b"of b": noise(20_000, 4), b"large": noise(50_000, 5)}
    for key in (b"copy", b"of b", b"large"):
        await b.site.put(key, values[key])
        await b.ship()
    await a.site.put(b"gone", noise(10_000, 6))
    await a.ship()
    await a.site.remove(b"gone")
    for daemon in (a, b):
        await daemon.turn()
    return values


async def rekey(*daemons, turns_max=14):
    for _ in range(turns_max):
        for daemon in daemons:
            await daemon.turn()
        if all(daemon.is_done for daemon in daemons):
            return
    raise AssertionError([daemon.collector.rekeying.account for daemon in daemons])


def sealed_under(cloud, epoch):
    """Objects whose envelope, at their beginning or somewhere, names an epoch."""
    return [name for name, data in cloud.objects.items() if epoch in data]


async def check(cloud, values, sites, make_site):  # noqa: F811
    """With the later key alone: all is readable where it was, the audit finds nothing, and a new site gets it all."""
    fresh = make_site(b"fresh")
    for ring in (RETIRING, SECOND_ONLY):  # it was made with the first key
        fresh.set_keyring(ring)
    fresh.use_cloud(cloud)
    await restore_site(cloud, lambda: SECOND_ONLY, fresh.replica, wall_ms=fresh.wall_ms, state=fresh.state)
    for site in (*sites, fresh):
        for key, value in values.items():
            assert await site.read(key) == value
        assert site.visible() == fresh.visible()
        if not isinstance(site, Memory):
            audit = CloudAudit(site.replica, site.replica, cloud, lambda: SECOND_ONLY, WHOLE, seed=b"1")
            report = await audit.run()
            assert report.sound, report
            assert (await site.store.verify()).sound
            assert FIRST not in b"".join(path.read_bytes() for path in site.directory.segments.iterdir())


async def test_nothing_is_left_under_the_first_epoch_anywhere(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b = (Daemon(make_site(name), cloud, KEYRING) for name in (b"a", b"b"))
    values = await fill(a, b)
    assert sealed_under(cloud, FIRST)
    for daemon in (a, b):
        daemon.know(RETIRING)
    await rekey(a, b)
    assert sealed_under(cloud, FIRST) == []
    for daemon in (a, b):
        daemon.know(SECOND_ONLY)
    await check(cloud, values, (a.site, b.site), make_site)
    await a.site.put(b"later", b"later")
    for daemon in (a, b, a, b):
        await daemon.turn()
    assert await b.site.read(b"later") == b"later"


async def test_what_is_not_retired_stays_where_it_is(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b = (Daemon(make_site(name), cloud, KEYRING) for name in (b"a", b"b"))
    await fill(a, b)
    for _ in range(4):
        for daemon in (a, b):
            await daemon.turn()
    before = set(cloud.objects)
    for daemon in (a, b):
        daemon.know(BOTH)
    for _ in range(3):
        for daemon in (a, b):
            await daemon.turn()
    assert {name for name in before if is_pack_name(name) or log_prefix(origin_of(a.site)) in name} <= set(
        cloud.objects
    )
    assert a.collector.rekeying.account == {}


async def test_a_site_that_does_not_know_holds_it_up(make_site):  # noqa: F811
    """``b`` knows of the new epoch and not that the old one is to end: ``a`` is done, its own part of it, ``b`` not."""
    cloud = MemoryCloud()
    a, b = (Daemon(make_site(name), cloud, KEYRING) for name in (b"a", b"b"))
    values = await fill(a, b)
    a.know(RETIRING)
    b.know(BOTH)
    for _ in range(10):
        for daemon in (a, b):
            await daemon.turn()
    assert a.is_done
    assert not b.is_done
    old = sealed_under(cloud, FIRST)
    assert old
    assert all(name.startswith(f"sites/{b.site.replica.identity().site.hex()}/") for name in old)
    b.know(RETIRING)
    await rekey(a, b)
    for daemon in (a, b):
        daemon.know(SECOND_ONLY)
    await check(cloud, values, (a.site, b.site), make_site)


async def test_a_value_written_again_comes_under_the_later_epoch(make_site):  # noqa: F811
    """Deduplicated against a frame of the first epoch while that one is on its way out."""
    cloud = MemoryCloud()
    a, b = (Daemon(make_site(name), cloud, KEYRING) for name in (b"a", b"b"))
    values = await fill(a, b)
    for daemon in (a, b):
        daemon.know(RETIRING)
        await daemon.turn()
        await daemon.site.put(b"again", values[b"shared"])
        await daemon.turn()
    await rekey(a, b)
    assert sealed_under(cloud, FIRST) == []
    for daemon in (a, b):
        daemon.know(SECOND_ONLY)
    await check(cloud, values | {b"again": values[b"shared"]}, (a.site, b.site), make_site)


async def test_what_is_not_here_is_fetched_and_sealed_anew(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b = (Daemon(make_site(name), cloud, KEYRING) for name in (b"a", b"b"))
    values = await fill(a, b)
    for daemon in (a, b):
        daemon.know(RETIRING)
        holdings_of(daemon.site).local_frame = lambda header: None
    await rekey(a, b)
    for daemon in (a, b):
        daemon.know(SECOND_ONLY)
    await check(cloud, values, (a.site, b.site), make_site)


async def leave(how, a, b, c):
    """Site ``c`` is out, or ``a`` goes on under another incarnation: a log ends."""
    out, heir = origin_of(c.site), origin_of(a.site)
    if how == "retired":
        await retire_site(c.site.replica, out[0], c.site.wall_ms())
        while not c.shipper.ended:
            with suppress(LogEnded):
                await c.shipper.ship_round()
    elif how == "forgotten":
        await forget_site(b.site.replica, out[0], heir[0], b.site.wall_ms(), insist=True)
    else:
        at = a.site.replica.shipped()
        await a.site.replica.issue_anew(Reissue(heir, at, at.seq, at.seq, heir[0], b"incarn-2", "for a test"))


@pytest.mark.parametrize("how", ["retired", "forgotten", "parted"])
async def test_logs_that_have_ended_come_under_the_later_epoch_where_they_lie(make_site, how):  # noqa: F811
    cloud = MemoryCloud()
    a, b, c = (Daemon(make_site(name), cloud, KEYRING) for name in (b"a", b"b", b"c"))
    values = await fill(a, b)
    for daemon in (c, a, b, c):
        await daemon.turn()
    values[b"of c"] = noise(5000, 9)
    await c.site.put(b"of c", values[b"of c"])
    await c.turn()
    for daemon in (a, b):
        await daemon.turn()
    ended = origin_of(a.site if how == "parted" else c.site)
    await leave(how, a, b, c)
    left = (a, b, c) if how == "parted" else (a, b)
    for _ in range(3):
        for daemon in left:
            await daemon.turn()
    for daemon in left:
        daemon.know(RETIRING)
    await rekey(*left)
    assert sealed_under(cloud, FIRST) == []
    name = sorted(name for name in cloud.objects if name.startswith(log_prefix(ended)))[-1]
    data, known = cloud.objects[name], b.site.replica.pulled()[ended]
    assert data.startswith(b"SKL2")
    assert chain_of(SECOND_ONLY, ended, known.n, data) == known.chain
    forged = data[:-1] + bytes([data[-1] ^ 1])
    assert chain_of(SECOND_ONLY, ended, known.n, forged) != forged[-32:], "nobody can have it stand for another"
    for daemon in left:
        daemon.know(SECOND_ONLY)
    await check(cloud, values, [daemon.site for daemon in left], make_site)
    for daemon in (*left, *left):
        await daemon.turn()


async def interrupted(make_site, stop_at):  # noqa: F811
    """Both sites seal anew; all of ``a`` stops at one call, and its daemon begins again: whether it made so many."""
    cloud = MemoryCloud()
    a, b = (Daemon(make_site(b"%c%d" % (name, stop_at)), cloud, KEYRING) for name in b"ab")
    values = await fill(a, b)
    for daemon in (a, b):
        daemon.know(RETIRING)
    stopping = StoppingCloud(cloud, stop_at)
    a = Daemon(a.site, stopping, RETIRING)
    for _ in range(14):
        try:
            await a.turn()
        except asyncio.CancelledError:
            a.site.restart()
            a = Daemon(a.site, cloud, RETIRING)
        await b.turn()
        if a.is_done and b.is_done:
            break
    a.site.use_cloud(cloud)
    assert sealed_under(cloud, FIRST) == []
    for daemon in (a, b):
        daemon.know(SECOND_ONLY)
    for site in (a.site, b.site):
        for key, value in values.items():
            assert await site.read(key) == value
    return stopping.calls >= stop_at


async def test_stopped_before_or_after_any_call_it_goes_on():
    def make(name):
        return Memory(name)

    stop_at = 1
    while await interrupted(make, stop_at):
        stop_at += EVERY
    assert stop_at > 80


@pytest.mark.parametrize("stop_at", [9, 38, 61, 84])
async def test_the_real_store_goes_on_as_well(make_site, stop_at):  # noqa: F811
    await interrupted(make_site, stop_at)


async def test_a_site_that_writes_nothing_lets_its_log_go_as_well(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b, idle = (Daemon(make_site(name), cloud, KEYRING) for name in (b"a", b"b", b"idle"))
    values = await fill(a, b)
    for daemon in (idle, a, b, idle):
        await daemon.turn()
    assert idle.site.replica.last_seq() == 0
    for daemon in (a, b, idle):
        daemon.know(RETIRING)
    await rekey(a, b, idle)
    assert sealed_under(cloud, FIRST) == []
    assert idle.site.replica.last_seq() == 2, "what it needed to say, once, and that it is over"
    for daemon in (a, b, idle):
        daemon.know(SECOND_ONLY)
    for key, value in values.items():
        assert await idle.site.read(key) == value


async def test_a_place_under_an_epoch_that_ended_is_passed_over(make_site):  # noqa: F811
    """Behind the cut of a site that was forgotten nothing is doomed, and its machine's checkpoint tells of it."""
    cloud = MemoryCloud()
    a, b = (Daemon(make_site(name), cloud, KEYRING) for name in (b"a", b"b"))
    values = await fill(a, b)
    chunks = [ref.id for change in a.site.replica.read_changes(0, 99, 1 << 30) for ref in decode_change(change).refs]
    left, old = dict[str, bytes](), []
    for place in a.site.replica.locate(chunks).values():
        name = "sites/" + "6f" * 16 + place.object_name[38:]
        left[name] = cloud.objects[place.object_name]
        old.append(FrameLocation(place.header, name, place.offset))
    for daemon in (a, b):
        daemon.know(RETIRING)
    await rekey(a, b)
    fresh = make_site(b"fresh")
    for ring in (RETIRING, SECOND_ONLY):
        fresh.set_keyring(ring)
    fresh.use_cloud(cloud)
    await restore_site(cloud, lambda: SECOND_ONLY, fresh.replica, wall_ms=fresh.wall_ms, state=fresh.state)
    cloud.objects |= left
    told = PulledBatch((b"somebody--------", b"incarn-1"), LogPosition(1, 0, bytes(32)), (), (), old)
    await fresh.replica.record_pulled(told)
    for key, value in values.items():
        assert await fresh.read(key) == value
