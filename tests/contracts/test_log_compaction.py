"""The beginning of logs leaves the bucket: over every implementation of a site, and what may go wrong."""

import asyncio
import dataclasses

import pytest

from replication import log_compaction
from replication.checkpoint_writer import CheckpointWriter
from replication.checkpoints import list_checkpoints
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import is_pack_name, log_prefix, split_index_name, split_log_name
from replication.collector import CollectedRound
from replication.freight import DOUBTS_MAX, Doubtful
from replication.joining import Joiner
from replication.membership import Census
from replication.puller import Puller, StopReason
from replication.restore import RestoreIncomplete, restore_site
from tests.contracts.stopping_cloud import StoppingCloud
from tests.contracts.test_collection import AT_ONCE, holdings_of, make_collector
from tests.contracts.test_replica import (
    INLINE,
    KEYRING,
    PACKED,
    make_site,  # noqa: F401 - a fixture
    new_shipper,
    noise,
    origin_of,
    pull,
    ship,
)

PAST = dataclasses.replace(AT_ONCE, point_in_time_ms=0, grace_ms=0)
LATER = dataclasses.replace(AT_ONCE, point_in_time_ms=-1, grace_ms=-1)
"""The clocks of these tests stand still: as of now, and a millisecond later."""


def batches_of(site, cloud):
    names = [name for name in cloud.objects if name.startswith(log_prefix(origin_of(site)))]
    return sorted(n for name in names if (n := split_log_name(name)))


def indexes_in(cloud):
    return sorted(n for name in cloud.objects if (n := split_index_name(name)))


async def tidy(site, cloud, settings=AT_ONCE):
    """One turn of the daemon at collection: to the end of a walk."""
    collector, shipper = make_collector(site, cloud, settings)
    site.use_cloud(cloud)
    if not site.replica.shipped().n:
        await shipper.ship_round(speak=True)
    await Puller(site.replica, cloud, lambda: KEYRING, wall_ms=site.wall_ms).pull_round()
    total, walking = CollectedRound(), True
    while walking:
        total = total.plus(await collector.collect_round(caught_up=True))
        walking = collector.is_walking
    while await shipper.ship_round(speak=shipper.owes_acks):
        pass
    return total


async def get_acquainted(a, b, cloud):
    """Each acknowledges the other's log; nothing of it is alive in a batch."""
    for site in (b, a):
        await new_shipper(site, cloud).ship_round(speak=True)
    for _ in range(2):
        for site in (a, b):
            await tidy(site, cloud)


async def write_checkpoint(site, cloud):
    return await CheckpointWriter(site.replica, site.state, cloud, lambda: KEYRING, wall_ms=site.wall_ms).write()


async def written(site, cloud, count=6, settings=PACKED):
    """So many batches, each of one write; nothing of it is dead."""
    for number in range(count):
        await site.put(b"k%d" % number, noise(20_000, number))
        await ship(site, cloud, settings)


async def restored(make, cloud, name=b"f"):
    fresh = make(name)
    fresh.use_cloud(cloud)
    await restore_site(cloud, lambda: KEYRING, fresh.replica, wall_ms=fresh.wall_ms, state=fresh.state)
    return fresh


async def test_what_a_checkpoint_stands_in_for_leaves_and_nothing_is_missed(make_site):  # noqa: F811
    cloud, a = MemoryCloud(), make_site(b"a")
    await written(a, cloud)
    await write_checkpoint(a, cloud)
    await a.put(b"later", b"later")
    await ship(a, cloud, PACKED)
    done = await tidy(a, cloud)
    assert (done.batches, done.indexes) == (6, 6)
    assert batches_of(a, cloud) == [7]
    assert indexes_in(cloud) == [7]
    assert not await tidy(a, cloud), "there is nothing left to do"
    fresh = await restored(make_site, cloud)
    assert fresh.visible() == a.visible()
    for number in range(6):
        assert await fresh.read(b"k%d" % number) == noise(20_000, number)
    await fresh.put(b"k0", b"of the new one")
    await ship(fresh, cloud)
    await pull(a, cloud)
    assert a.visible() == fresh.visible()


class WatchedCloud(MemoryCloud):
    """Notes which checkpoints' manifests are read."""

    def __init__(self):
        super().__init__()
        self.manifests = []

    async def get(self, name, **kwargs):
        if "/checkpoint/" in name:
            self.manifests.append(name)
        return await super().get(name, **kwargs)


async def test_a_manifest_is_read_once_and_its_going_is_noticed(make_site, monkeypatch):  # noqa: F811
    monkeypatch.setattr(log_compaction, "BATCHES_AT_ONCE", 2)
    cloud, a = WatchedCloud(), make_site(b"a")
    await written(a, cloud)
    await write_checkpoint(a, cloud)
    await a.put(b"later", b"later")
    await ship(a, cloud, PACKED)
    cloud.manifests.clear()
    collector, shipper = make_collector(a, cloud, AT_ONCE)
    await shipper.ship_round(speak=True)

    async def collect():
        return (await collector.collect_round(caught_up=True)).batches

    gone = 0
    for _ in range(20):
        gone += await collect()
        if gone >= 4:
            break
    assert (gone, len(cloud.manifests)) == (4, 1)
    for name in set(cloud.manifests):
        await cloud.delete(name)
    assert [await collect() for _ in range(10)] == [0] * 10
    assert len(batches_of(a, cloud)) == 4, "two that might have gone, and the newest"


async def test_without_a_whole_checkpoint_of_its_own_everything_stays(make_site):  # noqa: F811
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await get_acquainted(a, b, cloud)
    await written(a, cloud)
    for _ in range(2):
        for site in (a, b):
            await tidy(site, cloud)
    before = batches_of(a, cloud)
    await write_checkpoint(b, cloud)
    assert not (await tidy(a, cloud)).batches, "somebody else's does not count"
    manifest = await write_checkpoint(a, cloud)
    part = next(name for name in cloud.objects if name.endswith(manifest.parts[0].digest.hex()))
    kept = cloud.objects.pop(part)
    assert not (await tidy(a, cloud)).batches, "it lacks a part"
    assert [n for n in batches_of(a, cloud) if n in before] == before
    cloud.objects[part] = kept
    await a.put(b"more", b"more")
    for site in (a, b, a, b, a):
        await tidy(site, cloud)
    assert batches_of(a, cloud)[0] > before[0]


async def test_a_member_that_did_not_take_it_in_is_waited_for(make_site):  # noqa: F811
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await get_acquainted(a, b, cloud)
    first = batches_of(a, cloud)
    await written(a, cloud)
    await write_checkpoint(a, cloud)
    for _ in range(2):
        await tidy(a, cloud)
    assert batches_of(a, cloud)[: len(first)] == first
    assert len(batches_of(a, cloud)) > 6
    for site in (b, a):
        await tidy(site, cloud)
    left = batches_of(a, cloud)
    assert left[0] > 6
    await pull(b, cloud)
    assert b.visible() == a.visible()


async def test_what_may_be_looked_back_to_stays(make_site):  # noqa: F811
    cloud, a = MemoryCloud(), make_site(b"a")
    await written(a, cloud)
    await write_checkpoint(a, cloud)
    assert not (await tidy(a, cloud, PAST)).batches
    assert (await tidy(a, cloud, LATER)).batches == 5
    assert batches_of(a, cloud) == [6], "the newest tells where the log ends"


async def test_inline_frames_that_are_needed_keep_their_batch(make_site):  # noqa: F811
    cloud, a = MemoryCloud(), make_site(b"a")
    await written(a, cloud, settings=INLINE)
    assert not any(map(is_pack_name, cloud.objects))
    await a.remove(b"k3")
    await ship(a, cloud)
    await write_checkpoint(a, cloud)
    done = [await tidy(a, cloud) for _ in range(5)]
    assert sum(one.doomed for one in done) == 1
    assert sum(one.moved_bytes for one in done) == 0
    assert batches_of(a, cloud)[:6] == [1, 2, 3, 5, 6, 8], "the fourth held nothing alive, the seventh nothing at all"
    fresh = await restored(make_site, cloud)
    assert fresh.visible() == a.visible()
    for number in (0, 1, 2, 4, 5):
        assert await fresh.read(b"k%d" % number) == noise(20_000, number)


async def test_who_was_silent_goes_on_by_a_checkpoint(make_site):  # noqa: F811
    """A backup of a member that had taken all of it in comes back: what it lacks has left the bucket."""
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await get_acquainted(a, b, cloud)
    backup = make_site(b"backup", copy_of=b)
    await written(a, cloud)
    await pull(b, cloud)
    await b.put(b"since", b"since the backup")
    await b.put(b"both", b"of b")
    await ship(b, cloud)
    await write_checkpoint(a, cloud)
    await a.remove(b"k1")
    for site in (a, b, a, b, a):
        await tidy(site, cloud)
    assert batches_of(a, cloud)[0] > 6
    await backup.put(b"both", b"of the backup")
    backup.use_cloud(cloud)
    shipper = new_shipper(backup, cloud)
    puller = Puller(backup.replica, cloud, lambda: KEYRING, wall_ms=backup.wall_ms, own_log_ahead=shipper.look_again)
    joiner = Joiner(backup.replica, backup.state, cloud, lambda: KEYRING)
    reasons = set()
    for _ in range(4):
        await puller.pull_round()
        reasons |= {state.reason for state in puller.states.values()}
        await joiner.join_if_useful(puller.cut)
        while await shipper.ship_round():
            pass
    assert StopReason.GAP in reasons
    assert not puller.cut
    for site in (a, b):
        await pull(site, cloud)
    assert backup.visible() == a.visible()
    for key in (b"since", b"both", b"k0"):
        assert await backup.read(key) == await a.read(key)


async def test_a_backup_from_before_the_cut_overwrites_nothing(make_site):  # noqa: F811
    """Its next batch has no name that is free, whatever the bucket says of that name."""
    cloud, a = MemoryCloud(), make_site(b"a")
    await a.put(b"k0", noise(20_000, 0))
    await ship(a, cloud, INLINE)  # its frame stays alive: so the batch does, and the next one leaves
    backup = make_site(b"backup", copy_of=a)
    await a.put(b"k1", noise(20_000, 1))
    await a.put(b"unsent", b"lost in the backup")
    await ship(a, cloud, PACKED)
    await a.remove(b"k1")
    await ship(a, cloud)
    await write_checkpoint(a, cloud)
    await tidy(a, cloud)
    assert 2 not in batches_of(a, cloud)
    former, last = origin_of(a), batches_of(a, cloud)[-1]
    await backup.put(b"new", b"written after it came back")
    before = {name: data for name, data in cloud.objects.items() if name.startswith(log_prefix(former))}
    shipper = new_shipper(backup, cloud)
    for _ in range(DOUBTS_MAX - 1):
        with pytest.raises(Doubtful, match="goes on behind"):
            await shipper.ship_round()
    while await shipper.ship_round():
        pass
    assert origin_of(backup) != former
    after = {name: cloud.objects.pop(name) for name in before}
    assert after == before
    assert batches_of(a, cloud) == [last + 1], "where it was ended"
    cloud.objects |= after
    assert 2 not in batches_of(a, cloud)
    backup.use_cloud(cloud)
    puller = Puller(backup.replica, cloud, lambda: KEYRING, wall_ms=backup.wall_ms)
    await puller.pull_round()
    assert puller.cut.keys() == {former}
    assert await Joiner(backup.replica, backup.state, cloud, lambda: KEYRING).join_if_useful(puller.cut) is not None
    await puller.pull_round()
    assert await backup.read(b"unsent") == b"lost in the backup"
    assert await backup.read(b"new") == b"written after it came back"
    for site in (a, backup):
        await pull(site, cloud)
    assert backup.visible() == a.visible()


class _All(Census):
    def cut(self):
        return {self.me: 1 << 60}


async def test_the_newest_batch_stays(make_site):  # noqa: F811
    """It tells whether the log is closed, and is what the next start compares."""
    cloud, a = MemoryCloud(), make_site(b"a")
    await written(a, cloud, 2)
    await write_checkpoint(a, cloud)
    await holdings_of(a).trust([origin_of(a)[0]])
    compactor = make_collector(a, cloud)[0]._compactor
    done = await compactor.compact(_All(origin_of(a), 0, {}), 1 << 62, 0)
    assert done.batches == 1
    assert batches_of(a, cloud) == [2]


async def test_a_backup_whose_newest_batch_left_issues_little_anew(make_site):  # noqa: F811
    cloud, a = MemoryCloud(), make_site(b"a")
    await written(a, cloud, 2)
    backup = make_site(b"backup", copy_of=a)
    await a.remove(b"k0")
    await written(a, cloud, 4)
    await write_checkpoint(a, cloud)
    await tidy(a, cloud)
    assert batches_of(a, cloud)[0] > 2
    await backup.put(b"new", b"written after it came back")
    shipper = new_shipper(backup, cloud)
    for _ in range(DOUBTS_MAX - 1):
        with pytest.raises(Doubtful):
            await shipper.ship_round()
    while await shipper.ship_round():
        pass
    assert backup.replica.last_seq() <= 2, "what it had sent once is not issued again"


async def test_replaying_all_of_it_says_why_it_cannot(make_site):  # noqa: F811
    cloud, a, fresh = MemoryCloud(), make_site(b"a"), make_site(b"f")
    await written(a, cloud)
    await write_checkpoint(a, cloud)
    await tidy(a, cloud)
    with pytest.raises(RestoreIncomplete, match="without --history"):
        await restore_site(cloud, lambda: KEYRING, fresh.replica, wall_ms=fresh.wall_ms)


async def test_an_older_checkpoint_that_reaches_further_stays(make_site):  # noqa: F811
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await get_acquainted(a, b, cloud)
    backup = make_site(b"backup", copy_of=a)
    await written(b, cloud)
    await pull(a, cloud)
    further = await write_checkpoint(a, cloud)
    await write_checkpoint(backup, cloud)
    found = [one.manifest for one in await list_checkpoints(cloud, lambda: KEYRING)]
    assert len(found) == 2
    assert further in found
    await pull(backup, cloud)
    newest = await write_checkpoint(backup, cloud)
    assert [one.manifest for one in await list_checkpoints(cloud, lambda: KEYRING)] == [newest]


async def test_a_checkpoint_that_knows_other_changes_of_ones_own_log_waits(make_site):  # noqa: F811
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await a.put(b"k", b"first")
    await ship(a, cloud)
    backup = make_site(b"backup", copy_of=a)
    await a.put(b"k", b"second")
    await ship(a, cloud)
    await pull(b, cloud)
    await b.put(b"k", b"third")
    await ship(b, cloud)
    await write_checkpoint(b, cloud)
    await backup.put(b"other", b"under the same dot as the second")
    joiner = Joiner(backup.replica, backup.state, cloud, lambda: KEYRING)
    assert await joiner.join_if_useful() is None
    assert any("this site's log" in problem for problem in joiner.problems.values())
    await ship(backup, cloud)
    await pull(backup, cloud)
    assert await backup.read(b"other") == b"under the same dot as the second"
    assert await backup.read(b"k") == b"third"


@pytest.mark.parametrize("stop_at", range(1, 40, 3))
async def test_stopped_before_or_after_any_call_it_goes_on(make_site, stop_at):  # noqa: F811
    cloud, a = MemoryCloud(), make_site(b"a")
    await written(a, cloud, 3)
    await a.put(b"small", b"inline")
    await ship(a, cloud, INLINE)
    await a.remove(b"small")
    await ship(a, cloud)
    await write_checkpoint(a, cloud)
    stopping = StoppingCloud(cloud, stop_at)
    for _ in range(6):
        try:
            await tidy(a, stopping)
        except asyncio.CancelledError:
            continue
    assert stopping.calls >= stop_at
    assert min(batches_of(a, cloud)) >= 5
    assert min(indexes_in(cloud), default=9) >= 5
    assert holdings_of(a).dooms() == []
    fresh = await restored(make_site, cloud)
    assert fresh.visible() == a.visible()
    assert await fresh.read(b"k2") == noise(20_000, 2)
