"""The daemon: enters the bucket once, runs both loops, waits failures out, stops in order, tells the truth."""

import asyncio
from contextlib import suppress

import pytest

from replication.cloud_memory import MemoryCloud
from replication.cloud_names import REALM, log_name
from replication.departures import forget_site
from replication.hydrate import CloudFetcher
from replication.keys import WrongRealm, create_realm
from replication.offload import run_at_once
from replication.ports import BytesLost, CloudUnreachable
from replication.realm_format import REALM_KEY_LABEL, encode_key_text
from replication.retry import RetryingCloud
from replication.root_keys import GivenRootKey
from replication.service import BucketUnsuitable, ReplicationService
from replication.settings import ReplicationSettings, RetrySettings
from tests.replication.faulty_cloud import FaultyCloud
from tests.replication.memory_losses import LosingSite
from tests.replication.memory_site import MemorySite
from tests.replication.realms import found, join

ROOT = GivenRootKey(encode_key_text(REALM_KEY_LABEL, bytes(32)))
QUICK = ReplicationSettings(ship_interval_s=0, poll_interval_s=0, backlog_poll_s=0)
RETRY = RetrySettings(backoff_base_s=0, backoff_max_s=0, deadline_s=0, circuit_failures=10**9)


class Daemon:
    """A site, its link and its service; reports are kept."""

    def __init__(self, realm, bucket, name, settings=QUICK, site=None, **options):
        self.link = FaultyCloud(bucket)
        self.site = site or MemorySite(realm.keyring(), name, lambda: 1_700_000_000_000)
        self.reports = []
        self.service = ReplicationService(
            self.site,
            self.site,
            RetryingCloud(self.link, RETRY),
            realm,
            settings,
            wall_ms=self.site.wall_ms,
            offload=run_at_once,
            publish_report=self.reports.append,
            **options,
        )
        self.stop = asyncio.Event()

    async def __aenter__(self):
        self.task = asyncio.create_task(self.service.run(self.stop))
        return self

    async def __aexit__(self, *exc):
        self.stop.set()
        if exc[0] is None:
            await self.task
        else:
            self.task.cancel()
            await asyncio.gather(self.task, return_exceptions=True)


async def until(condition):
    """Let the loops run until something is so; the test's timeout is the limit."""
    while not condition():
        await asyncio.sleep(0)


async def soon(condition):
    """The same, but not for ever: for what a planted fault keeps from ever being so."""
    for _ in range(20_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("not so after many turns of the loop")


@pytest.fixture
def realm(tmp_path):
    return found(tmp_path / "a-keys", ROOT)[0]


async def joined(tmp_path, bucket):
    return await join(tmp_path / "b-keys", ROOT, bucket)


async def test_two_daemons_converge_through_a_cut_link(realm, tmp_path):
    bucket = MemoryCloud()
    async with Daemon(realm, bucket, b"a") as a:
        await until(lambda: REALM in bucket.objects)
        async with Daemon(await joined(tmp_path, bucket), bucket, b"b") as b:
            a.site.put(b"k", b"from a")
            await until(lambda: b.site.visible() == a.site.visible() != {})
            a.link.partitioned = b.link.partitioned = True
            a.site.put(b"k", b"a while cut off")
            b.site.put(b"k", b"b while cut off")
            await until(lambda: a.reports[-1].cloud == b.reports[-1].cloud == "unreachable")
            a.link.partitioned = b.link.partitioned = False
            await until(lambda: a.site.visible() == b.site.visible() and a.site.backlog().changes == 0)
            await until(lambda: b.site.backlog().changes == 0 and b.reports[-1].cloud == "ok")
            assert [len(writes) for writes in a.site.visible().values()] == [2]
    for daemon in (a, b):
        last = daemon.reports[-1]
        assert not last.running
        assert last.published
        assert last.recoverable
        assert last.create_once == "enforced"
        assert last.last_error == ""
        assert last.remotes[0].stopped == ""


async def test_starts_while_the_cloud_is_unreachable(realm):
    bucket = MemoryCloud()
    daemon = Daemon(realm, bucket, b"a")
    daemon.link.partitioned = True
    daemon.site.put(b"k", b"early")
    async with daemon:
        await until(lambda: daemon.reports and daemon.reports[-1].cloud == "unreachable")
        assert not daemon.reports[-1].published
        daemon.link.partitioned = False
        await until(lambda: daemon.site.backlog().changes == 0)


async def test_wrong_realm_ends_it_before_anything_is_written(realm):
    bucket = MemoryCloud()
    bucket.objects |= create_realm(ROOT, 1).objects
    before = dict(bucket.objects)
    daemon = Daemon(realm, bucket, b"a")
    daemon.site.put(b"k", b"x")
    with pytest.raises(WrongRealm):
        await daemon.service.run(asyncio.Event())
    with pytest.raises(WrongRealm):
        await daemon.service.run_once()
    assert bucket.objects == before
    assert "belongs to realm" in daemon.reports[-1].stopped


class Careless(MemoryCloud):
    """Ignores If-None-Match, as some do."""

    async def put(self, name, data, *, if_absent=False):
        await super().put(name, data)


async def test_bucket_that_replaces_is_refused_unless_vouched_for(realm):
    bucket = Careless()
    with pytest.raises(BucketUnsuitable, match="single_writer"):
        await Daemon(realm, bucket, b"a").service.run(asyncio.Event())
    vouched = Daemon(realm, bucket, b"a", single_writer=True)
    vouched.site.put(b"k", b"x")
    assert (await vouched.service.run_once()).shipped_changes == 1
    assert "vouched" in vouched.reports[-1].create_once


async def test_run_once_leaves_nothing(realm, tmp_path):
    bucket = MemoryCloud()
    a = Daemon(realm, bucket, b"a")
    for number in range(5):
        a.site.put(b"k%d" % number, b"x" * number)
    done = await a.service.run_once()
    assert (done.shipped_changes, done.pulled_changes, done.stopped) == (5, 0, 0)
    assert done.shipped_bytes > 0
    b = Daemon(await joined(tmp_path, bucket), bucket, b"b")
    assert (await b.service.run_once()).pulled_changes == 5
    assert a.site.visible() == b.site.visible()
    assert (await a.service.run_once()).shipped_changes == 0
    assert b.reports[-1].remotes[0].applied_seq == 5


async def test_run_once_says_what_failed(realm):
    a = Daemon(realm, MemoryCloud(), b"a")
    a.link.partitioned = True
    with pytest.raises(CloudUnreachable):
        await a.service.run_once()
    assert "CloudUnreachable" in a.reports[-1].last_error
    a.link.partitioned = False
    await a.service.run_once()
    assert a.reports[-1].last_error == ""


async def test_a_fenced_site_issues_anew_what_it_had_and_takes_in_the_other(realm, tmp_path):
    bucket = MemoryCloud()
    a = Daemon(realm, bucket, b"a")
    a.site.put(b"k", b"1")
    await a.service.run_once()
    twin = Daemon(realm, bucket, b"a")
    a.site.put(b"mine", b"of the first")
    adopt(twin, a.site.fork())
    twin.site.put(b"theirs", b"of the copy")
    a.site.put(b"mine too", b"of the first")
    await twin.service.run_once()
    async with a:
        await until(lambda: a.site.identity().incarnation != twin.site.identity().incarnation)
        await until(lambda: (1, b"theirs") in a.site.visible() and not a.site.backlog().changes)
    assert a.reports[-1].fenced == ""
    await twin.service.run_once()
    assert twin.site.identity().site != a.site.identity().site
    assert (1, b"mine too") in twin.site.visible()
    b = Daemon(await joined(tmp_path, bucket), bucket, b"b")
    for daemon in (b, a):
        await daemon.service.run_once()
    assert a.site.visible() == b.site.visible() == twin.site.visible()
    assert all(len(writes) == 1 for writes in b.site.visible().values()), "nothing is doubled"


def adopt(daemon, disk):
    """Let a daemon run over a copy of another machine's disk."""
    vars(daemon.site).update(vars(disk))


async def test_a_failing_store_is_told_and_tried_again(realm):
    class Full(MemorySite):
        full = True

        async def record_shipped(self, position, located):
            if self.full:
                raise OSError(28, "No space left on device")
            await super().record_shipped(position, located)

    daemon = Daemon(realm, MemoryCloud(), b"a")
    daemon.site.__class__ = Full
    daemon.site.put(b"k", b"x")
    async with daemon:
        await until(lambda: daemon.reports and "No space" in daemon.reports[-1].last_error)
        daemon.site.full = False
        await until(lambda: daemon.site.backlog().changes == 0)
        await until(lambda: daemon.reports[-1].last_error == "")


async def test_wake_ends_every_wait(realm):
    slow = ReplicationSettings(ship_interval_s=3600, poll_interval_s=3600, backlog_poll_s=3600)
    daemon = Daemon(realm, MemoryCloud(), b"a", slow)
    async with daemon:
        await until(lambda: daemon.reports and daemon.reports[-1].published)
        daemon.site.put(b"k", b"x")

        def nudge():
            daemon.service.wake()
            return daemon.site.backlog().changes == 0

        await until(nudge)


async def test_cancelling_stops_everything(realm):
    before = asyncio.all_tasks()
    task = asyncio.create_task(Daemon(realm, MemoryCloud(), b"a").service.run(asyncio.Event()))
    for _ in range(50):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert asyncio.all_tasks() == before


@pytest.mark.parametrize("verb", ["put", "list"])
async def test_a_cancellation_that_leaks_from_a_library_ends_no_loop(realm, verb):
    bucket = MemoryCloud()
    async with Daemon(realm, bucket, b"a") as a:
        await until(lambda: a.reports and a.service.report().published)
        real, leaks = getattr(a.link, verb), []

        async def leak(*arguments, **options):
            if len(leaks) < 3:
                leaks.append(arguments)
                raise asyncio.CancelledError
            return await real(*arguments, **options)

        setattr(a.link, verb, leak)
        a.site.put(b"k", b"v")
        await until(lambda: len(leaks) == 3 and not a.site.backlog().changes)


async def test_a_task_group_that_failed_does_not_mark_the_loop_as_cancelled(realm):
    """As seen with Python 3.11 and aiohttp: the mark that a failed upload left made the next one end the loop."""
    bucket = MemoryCloud()
    async with Daemon(realm, bucket, b"a") as a:
        await until(lambda: a.reports and a.service.report().published)
        real, calls = a.service.shipper.ship_round, []

        async def fail():
            await asyncio.sleep(0)
            raise CloudUnreachable("cut")

        async def ship_round(*given, **options):
            calls.append(asyncio.current_task().cancelling())
            if len(calls) < 3:
                try:
                    async with asyncio.TaskGroup() as group:
                        group.create_task(fail())
                except BaseExceptionGroup as failures:
                    raise failures.exceptions[0] from None
            if asyncio.current_task().cancelling():
                raise asyncio.CancelledError  # what aiohttp makes of the mark
            return await real(*given, **options)

        a.service.shipper.ship_round = ship_round
        a.site.put(b"k", b"v")
        await until(lambda: len(calls) >= 3 and not a.site.backlog().changes)
        assert set(calls) == {0}


async def test_a_new_site_announces_itself_before_it_reads(realm, tmp_path):
    bucket = MemoryCloud()
    async with Daemon(realm, bucket, b"a") as a:
        a.site.put(b"k", b"x")
        await until(lambda: a.site.shipped().seq == 1)
    b = Daemon(await joined(tmp_path, bucket), bucket, b"b")
    calls, put, listed = [], b.link.put, b.link.list

    async def watched_put(name, data, **options):
        calls.append(name)
        await put(name, data, **options)

    async def watched_list(prefix, **options):
        calls.append(prefix)
        return await listed(prefix, **options)

    b.link.put, b.link.list = watched_put, watched_list
    async with b:
        await until(lambda: b.site.visible() == a.site.visible())
    assert calls.index(log_name((b.site.identity().site, b.site.identity().incarnation), 1)) < calls.index("heads/")


async def test_a_silent_site_acknowledges_in_time_or_when_hurried(realm, tmp_path):
    bucket = MemoryCloud()
    await Daemon(realm, bucket, b"first").service.run_once()
    async with Daemon(realm, bucket, b"a") as a, Daemon(await joined(tmp_path, bucket), bucket, b"b") as b:
        me = (a.site.identity().site, a.site.identity().incarnation)
        silent = (b.site.identity().site, b.site.identity().incarnation)
        a.site.put(b"k", b"x")
        await until(lambda: b.site.pulled().get(me) and b.site.pulled()[me].seq == 1)
        for _ in range(200):
            await asyncio.sleep(0)
        assert a.site.acks().get(silent, {}).get(me, 0) == 0  # its interval has not passed
        b.service.hurry()
        await until(lambda: a.site.acks().get(silent, {}).get(me) == 1)
        a.site.put(b"k", b"y")
        await until(lambda: b.site.pulled()[me].seq == 2)
        b.site.wall_ms = b.service._wall_ms = b.service.shipper._wall_ms = lambda: 1_700_000_600_000
        await until(lambda: a.site.acks()[silent].get(me) == 2)
        shipped = b.site.shipped().n
        for _ in range(200):
            await asyncio.sleep(0)
        assert b.site.shipped().n == shipped  # an ack of nothing but acks is not sent


async def test_once_acknowledges_what_it_took_in(realm, tmp_path):
    bucket = MemoryCloud()
    a = Daemon(realm, bucket, b"a")
    a.site.put(b"k", b"x")
    await a.service.run_once()
    await Daemon(await joined(tmp_path, bucket), bucket, b"b").service.run_once()
    await a.service.run_once()
    assert list(a.site.acks().values()) == [{(a.site.identity().site, a.site.identity().incarnation): 1}]


@pytest.mark.parametrize("revoked", [False, True])
async def test_an_idle_site_that_is_out_acts_when_it_hears_of_it(realm, tmp_path, revoked):
    """It has nothing to say, and its intervals have not passed: what it shipped behind the cut must not stay there."""
    bucket = MemoryCloud()
    a = Daemon(realm, bucket, b"a")
    await a.service.run_once()
    async with a, Daemon(await joined(tmp_path, bucket), bucket, b"b") as b:
        former = (b.site.identity().site, b.site.identity().incarnation)
        await soon(lambda: former in a.site.pulled())
        a.link.partitioned = True
        shipped = b.site.shipped().n
        b.site.put(b"behind the cut", b"x")
        await soon(lambda: b.site.shipped().n > shipped)
        await forget_site(a.site, former[0], a.site.identity().site, 1_700_003_600_001, revoked=revoked)
        a.link.partitioned = False
        if revoked:
            await soon(lambda: "revoked" in b.service.report().ended)
            return
        a.service.hurry()
        await soon(lambda: b.site.identity().site != former[0])
        await soon(lambda: (1, b"behind the cut") in a.site.visible())


async def test_a_site_whose_first_change_lost_its_bytes_still_hears_what_may_bring_them(realm, tmp_path):
    """A new log is announced before anything is read: here before what stands first in it can go."""
    bucket = MemoryCloud()
    disk = LosingSite(realm.keyring(), b"a", lambda: 1_700_000_000_000)
    disk.fetcher = CloudFetcher(bucket)
    a = Daemon(realm, bucket, b"a", site=disk, bring=disk.bring)
    a.site.put(b"k", b"lost")
    chunk = a.site.live_refs()[0].id
    a.site.damage(chunk)
    with pytest.raises(BytesLost):
        await a.service.run_once()
    assert a.service.report().lost[0].chunk == chunk.hex()
    assert "BytesLost" in a.service.report().last_error
    b = Daemon(await joined(tmp_path, bucket), bucket, b"b")
    b.site.put(b"other", b"lost")
    await b.service.run_once()
    with suppress(BytesLost):
        await a.service.run_once()
    assert a.site.pulled(), "it heard"
    async with a:
        await until(lambda: a.site.backlog().changes == 0)
    assert a.reports[-1].lost == ()
    assert a.site.read(chunk) == b"lost"
