"""Checkpoints over every implementation of a site: written into a bucket, joined from it, and what may go wrong."""

from __future__ import annotations

import asyncio
import dataclasses
import random

import pytest

from gateway.store import state_export
from replication.change_format import ChangeInvalid
from replication.checkpoint_format import encode_manifest
from replication.checkpoint_writer import CheckpointWriter, NotShippedYet
from replication.checkpoints import CheckpointName, list_checkpoints
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import CHECKPOINTS_PREFIX, checkpoint_name, checkpoint_prefix, head_name, log_name
from replication.departures import forget_site
from replication.joining import Joiner
from replication.ports import CloudUnreachable, LogPosition, Reissue, StateNotReady
from replication.puller import Puller, StopReason
from replication.restore import restore_site
from tests.contracts.test_replica import (
    PACKED,
    Remote,
    make_site,  # noqa: F401 - a fixture
    noise,
    origin_of,
    pull,
    ship,
)
from tests.replication.fixed_realm import KEYRING


@pytest.fixture(autouse=True)
def small_slices(monkeypatch):
    monkeypatch.setattr(state_export, "ROWS_MAX", 3)
    monkeypatch.setattr(state_export, "BYTES_MAX", 2000)


def new_writer(site, cloud, **more):
    return CheckpointWriter(site.replica, site.state, cloud, lambda: KEYRING, wall_ms=site.wall_ms, **more)


def new_joiner(site, cloud, **more):
    site.use_cloud(cloud)
    return Joiner(site.replica, site.state, cloud, lambda: KEYRING, **more)


async def realm_of_two(make_site):  # noqa: F811
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    for number in range(8):
        await a.put(b"a%d" % number, noise(2000 * number, number))
        await b.put(b"b%d" % number, noise(500, number))
    await a.put(b"both", b"of a")
    await b.put(b"both", b"of b")
    await a.remove(b"a3")
    for site in (a, b):
        await ship(site, cloud, PACKED)
    for site in (a, b):
        await pull(site, cloud)
    await a.put(b"b1", b"overwritten by a")
    await ship(a, cloud, PACKED)
    await pull(b, cloud)
    return cloud, a, b


async def test_a_new_site_joins_and_goes_on_from_there(make_site):  # noqa: F811
    cloud, a, b = await realm_of_two(make_site)
    manifest = await new_writer(b, cloud, part_bytes=600).write()
    assert manifest.vector.keys() == {origin_of(a), origin_of(b)}
    assert len(manifest.parts) > 1
    for origin, log in manifest.vector.items():
        for n in range(1, log.position.n):
            del cloud.objects[log_name(origin, n)]  # whoever joins needs none of them
    await b.put(b"later", b"behind the checkpoint")
    await ship(b, cloud)
    fresh = make_site(b"fresh")
    joined = await new_joiner(fresh, cloud).join_if_useful()
    assert joined is not None
    assert dict(fresh.replica.pulled()) == {origin: log.position for origin, log in manifest.vector.items()}
    assert fresh.state.joining().folded
    await pull(fresh, cloud)
    assert fresh.visible() == b.visible()
    assert await new_joiner(fresh, cloud).join_if_useful() is None
    assert fresh.state.joining() is None
    for key in (b"a7", b"b1", b"both", b"later"):
        assert await fresh.read(key) == await b.read(key)
    fresh.restart()
    assert fresh.visible() == b.visible()
    await fresh.put(b"a1", b"written by the new one")
    await ship(fresh, cloud)
    await pull(b, cloud)
    assert fresh.visible() == b.visible()


async def test_restoring_by_checkpoint_is_restoring(make_site):  # noqa: F811
    cloud, a, b = await realm_of_two(make_site)
    await new_writer(a, cloud).write()
    fresh, replayed = make_site(b"fresh"), make_site(b"replayed")
    for site, state in ((fresh, fresh.state), (replayed, None)):
        site.use_cloud(cloud)
        done = await restore_site(
            cloud, lambda: KEYRING, site.replica, wall_ms=site.wall_ms, remote=Remote(site), state=state
        )
        assert bool(done.checkpoint_ms) is (state is not None)
    assert fresh.visible() == replayed.visible() == b.visible()
    assert dict(fresh.replica.pulled()) == dict(replayed.replica.pulled())
    assert dict(fresh.replica.acks()) == dict(replayed.replica.acks())
    assert fresh.state.joining() is None
    fresh.use_cloud(MemoryCloud())
    for key in (b"a7", b"b1", b"both"):
        assert await fresh.read(key) == await b.read(key)


async def test_nothing_unsent_is_shown(make_site):  # noqa: F811
    cloud, a, b = await realm_of_two(make_site)
    await a.put(b"unsent", b"and lost with the machine")
    writer = new_writer(a, cloud)
    draft = await writer.scan()
    with pytest.raises(NotShippedYet):
        await writer.publish(draft)
    assert await cloud.list(CHECKPOINTS_PREFIX) == []
    await ship(a, cloud)
    await writer.publish(draft)
    fresh = make_site(b"fresh")
    assert await new_joiner(fresh, cloud).join_if_useful() is not None
    await pull(fresh, cloud)
    await pull(b, cloud)
    assert fresh.visible() == a.visible() == b.visible()


async def test_an_empty_realm_has_no_checkpoint(make_site):  # noqa: F811
    with pytest.raises(StateNotReady):
        await new_writer(make_site(b"a"), MemoryCloud()).write()
    assert await new_joiner(make_site(b"b"), MemoryCloud()).join_if_useful() is None


async def test_nothing_is_told_of_a_former_log_before_it_was_taken_in(make_site):  # noqa: F811
    """Who joins takes it in from the common head on: what was replaced beyond that would come back (world 319819)."""
    cloud, a = MemoryCloud(), make_site(b"a")
    await a.put(b"k", noise(300, 1))
    await a.put(b"k", noise(300, 2))
    await ship(a, cloud)
    former, seq = origin_of(a), a.replica.last_seq()
    await a.replica.issue_anew(Reissue(former, LogPosition(), seq, 0, former[0], bytes(8), "told"))
    with pytest.raises(StateNotReady, match="former log"):
        a.state.begin_export()
    await pull(a, cloud)
    assert a.replica.pulled()[former].seq == seq
    assert former in a.state.begin_export().vector


async def test_a_log_parted_with_at_its_beginning_is_told_once_it_is_read(make_site):  # noqa: F811
    """It is at batch 0 until then, which no vector may name (world 415645)."""
    cloud, a = MemoryCloud(), make_site(b"a")
    await a.put(b"k", noise(300, 1))
    former = origin_of(a)
    await a.replica.issue_anew(Reissue(former, LogPosition(), 0, 0, former[0], bytes(8), "told"))
    await ship(a, cloud)
    assert former in a.state.begin_export().vector
    manifest = await new_writer(a, cloud).write()
    assert set(manifest.vector) == {origin_of(a)}
    assert await new_joiner(make_site(b"b"), cloud).join_if_useful() is not None


async def test_the_newest_stands_and_older_and_interrupted_ones_go(make_site):  # noqa: F811
    cloud, a, _ = await realm_of_two(make_site)
    await new_writer(a, cloud).scan()  # and the machine stops
    await new_writer(a, cloud).write()
    first = {name for name in cloud.objects if "checkpoint" in name}
    await a.put(b"more", b"more")
    await ship(a, cloud)
    await new_writer(a, cloud).write()
    (found,) = await list_checkpoints(cloud, lambda: KEYRING)
    assert found.manifest is not None
    left = {name for name in cloud.objects if "checkpoint" in name}
    assert not left & first
    assert len(left) == 2 + len(found.manifest.parts)


async def test_a_list_that_lags_costs_no_checkpoint(make_site, monkeypatch):  # noqa: F811
    """It may be what a log's beginning left the bucket for (world 1506 of those that return)."""
    cloud, a, _ = await realm_of_two(make_site)
    backup = make_site(b"backup", copy_of=a)
    await a.put(b"more", b"more")
    await ship(a, cloud)
    await new_writer(a, cloud).write()
    first = {name for name in cloud.objects if "checkpoint" in name}
    real = cloud.list

    async def lagging(prefix, **more):
        return [] if prefix == CHECKPOINTS_PREFIX else await real(prefix, **more)

    monkeypatch.setattr(cloud, "list", lagging)
    await new_writer(a, cloud).scan()
    assert first <= cloud.objects.keys()
    await new_writer(backup, cloud).write()
    assert first <= cloud.objects.keys(), "it reaches further than the newest"


async def test_what_was_begun_under_a_former_log_goes(make_site):  # noqa: F811
    cloud, a, _ = await realm_of_two(make_site)
    await new_writer(a, cloud).scan()
    former = origin_of(a)
    copy = make_site(b"copy", copy_of=a)
    await copy.put(b"of-the-copy", b"1")
    await ship(copy, cloud)
    await a.put(b"mine", b"2")
    await ship(a, cloud)
    await pull(a, cloud)
    assert former[0] == origin_of(a)[0]
    assert any(name.startswith(checkpoint_prefix(former)) for name in cloud.objects)
    await new_writer(a, cloud).write()
    assert not any(name.startswith(checkpoint_prefix(former)) for name in cloud.objects)


async def test_half_a_checkpoint_does_not_go_on_behind_what_the_logs_brought(make_site):  # noqa: F811
    """World 1231619: what was replayed into half of it came back, for whatever replaced it counted as taken in."""
    cloud, a, b = await realm_of_two(make_site)
    manifest = await new_writer(b, cloud, part_bytes=300).write()
    last = next(name for name in cloud.objects if name.endswith(manifest.parts[-1].digest.hex()))
    away, fresh = cloud.objects.pop(last), make_site(b"fresh")
    assert await new_joiner(fresh, cloud).join_if_useful() is None
    assert fresh.state.joining() is None
    cloud.objects[last] = away
    await pull(fresh, cloud)
    assert fresh.visible() == a.visible() == b.visible()


class Dying:
    """A site whose process dies after some slices."""

    def __init__(self, state, slices):
        self._state, self._left = state, slices

    def __getattr__(self, name):
        return getattr(self._state, name)

    async def fold_slice(self, number, data):
        if not self._left:
            raise RuntimeError("the machine stops")
        self._left -= 1
        await self._state.fold_slice(number, data)


@pytest.mark.parametrize("meanwhile", ["nothing", "a newer one", "the logs only"])
async def test_an_interrupted_join_acknowledges_nothing_and_goes_on(make_site, meanwhile):  # noqa: F811
    cloud, a, b = await realm_of_two(make_site)
    await new_writer(a, cloud, part_bytes=300).write()
    fresh = make_site(b"fresh")
    fresh.use_cloud(cloud)
    for _ in range(2):
        dying = Joiner(fresh.replica, Dying(fresh.state, 2), cloud, lambda: KEYRING)
        with pytest.raises(RuntimeError):
            await dying.join_if_useful()
        fresh.restart()
        assert dict(fresh.replica.pulled()) == {}
        assert fresh.state.joining() is not None
    assert fresh.state.joining().slices > 2
    await fresh.put(b"a1", b"written meanwhile")
    if meanwhile == "a newer one":
        await b.put(b"a2", b"newer")
        await b.remove(b"b2")
        await ship(b, cloud)
        await pull(a, cloud)
        await new_writer(a, cloud).write()
    elif meanwhile == "the logs only":
        for name in [name for name in cloud.objects if "checkpoint" in name]:
            del cloud.objects[name]
    joined = await new_joiner(fresh, cloud).join_if_useful()
    assert (joined is None) is (meanwhile == "the logs only")
    await pull(fresh, cloud)
    await ship(fresh, cloud)
    for site in (a, b):
        await pull(site, cloud)
    assert fresh.visible() == a.visible() == b.visible()


async def test_a_log_cut_behind_a_site_is_passed_by_checkpoints_that_complete_each_other(make_site):  # noqa: F811
    """Each writer kept its own log from where its own checkpoint is; no checkpoint leads past both."""
    cloud, a, b = await realm_of_two(make_site)
    late = make_site(b"late")
    await pull(late, cloud)
    await late.put(b"a1", b"unsent and unaware")
    rounds = {site: site.replica.shipped().n for site in (a, b)}
    for site in (a, b):
        for number in range(3):
            await site.put(b"a%d" % number, noise(100, number + 7))
            await ship(site, cloud)
        await new_writer(site, cloud).write()
    for site in (a, b):
        for n in range(rounds[site] + 1, rounds[site] + 3):
            del cloud.objects[log_name(origin_of(site), n)]
        await site.put(b"last", b"one more")
        await ship(site, cloud)
    late.use_cloud(cloud)
    puller = Puller(late.replica, cloud, lambda: KEYRING, wall_ms=late.wall_ms)
    joiner = new_joiner(late, cloud)
    assert (await puller.pull_round()).stopped == 2
    assert puller.cut == {origin_of(site): late.replica.pulled()[origin_of(site)] for site in (a, b)}
    for left in (1, 0):
        assert joiner.may_help(puller.cut)
        assert await joiner.join_if_useful(puller.cut) is not None
        assert (await puller.pull_round()).stopped == left
    await ship(late, cloud)
    for site in (a, b):
        others = Puller(site.replica, cloud, lambda: KEYRING, wall_ms=site.wall_ms)
        other = new_joiner(site, cloud)
        await others.pull_round()
        await other.join_if_useful(others.cut)
        assert (await others.pull_round()).stopped == 0
    assert late.visible() == a.visible() == b.visible()


async def test_what_a_forgotten_site_told_beyond_its_cut_is_not_joined(make_site):  # noqa: F811
    cloud, a, b = await realm_of_two(make_site)
    counts = b.replica.pulled()[origin_of(a)]
    await a.put(b"a2", b"b never heard of it")
    await ship(a, cloud)
    await new_writer(a, cloud).write()
    await forget_site(b.replica, origin_of(a)[0], origin_of(b)[0], 1_700_000_000_000, insist=True)
    await ship(b, cloud)
    replaying, joining, late = (make_site(name) for name in (b"replaying", b"joining", b"late"))
    joiner = new_joiner(replaying, cloud)
    assert await joiner.join_if_useful() is None
    assert "its site is out" in "".join(joiner.problems.values())
    await new_writer(b, cloud).write()
    joiner = new_joiner(joining, cloud)
    joined = await joiner.join_if_useful()
    assert joined.origin == origin_of(b)
    for site in (replaying, joining):
        await pull(site, cloud)
        assert site.replica.pulled()[origin_of(a)] == counts
        assert site.visible() == b.visible()
    await joiner.join_if_useful()
    assert joining.state.joining() is None, "it does not wait for what nobody takes in any more"
    for name in [name for name in cloud.objects if name.startswith(CHECKPOINTS_PREFIX + origin_of(b)[0].hex())]:
        del cloud.objects[name]
    del cloud.objects[log_name(origin_of(b), 1)]
    late.use_cloud(cloud)
    puller, joiner = Puller(late.replica, cloud, lambda: KEYRING, wall_ms=late.wall_ms), new_joiner(late, cloud)
    await puller.pull_round()
    assert (await joiner.join_if_useful(puller.cut)).origin == origin_of(a), "better than nothing"


async def test_a_checkpoint_of_some_buckets_is_for_who_takes_in_no_more(make_site):  # noqa: F811
    cloud, *_ = await realm_of_two(make_site)
    part = make_site(b"part")
    await part.state.subscribe(("photos", "logs-*"))
    await pull(part, cloud)
    await new_writer(part, cloud).write()
    for subscribe, usable in (((), False), (("photos", "tax"), False), (("photos",), True)):
        site = make_site(b"site-%d-%d" % (len(subscribe), usable))
        await site.state.subscribe(subscribe)
        joiner = new_joiner(site, cloud)
        assert (await joiner.join_if_useful() is not None) is usable
        assert bool(joiner.problems) is not usable


async def test_what_is_damaged_or_foreign_is_passed_over(make_site):  # noqa: F811
    cloud, a, b = await realm_of_two(make_site)
    await new_writer(b, cloud).write()
    manifest = await new_writer(a, cloud, part_bytes=300).write()
    (name,) = [found.name for found in await list_checkpoints(cloud, lambda: KEYRING) if found.manifest == manifest]
    parts = [part for part in cloud.objects if part.startswith(checkpoint_name(name.origin, name.n) + "-")]
    cloud.objects[parts[0]] = bytes(100)
    fresh = make_site(b"fresh")
    joiner = new_joiner(fresh, cloud)
    joined = await joiner.join_if_useful()
    assert joined is not None
    assert joined.origin == origin_of(b)
    assert str(CheckpointName(name.origin, name.n)) in joiner.problems
    await pull(fresh, cloud)
    assert fresh.visible() == a.visible()
    wrong = dataclasses.replace(manifest, made_ms=1)
    cloud.objects[checkpoint_name(name.origin, name.n)] = encode_manifest(KEYRING, name.origin, 77, wrong)
    problems = {found.name: found.problem for found in await list_checkpoints(cloud, lambda: KEYRING)}
    assert "damaged" in problems[name]


async def test_a_lying_bucket_makes_no_checkpoint(make_site):  # noqa: F811
    cloud, a, _ = await realm_of_two(make_site)
    get = cloud.get

    async def damaged(name, **more):
        data = await get(name, **more)
        return data[:-1] + b"!" if "/checkpoint/" in name else data

    cloud.get = damaged
    with pytest.raises(CloudUnreachable):
        await new_writer(a, cloud).write()
    assert await cloud.list(CHECKPOINTS_PREFIX) == []


async def test_slices_follow_one_another(make_site):  # noqa: F811
    cloud, a, _ = await realm_of_two(make_site)
    await new_writer(a, cloud).write()
    fresh = make_site(b"fresh")
    with pytest.raises(ValueError, match="follow"):
        await fresh.state.fold_slice(0, b"")
    assert await new_joiner(fresh, cloud, batches_min=1000).join_if_useful() is None
    assert fresh.state.joining() is None


async def test_work_goes_on_beside_a_scan(make_site):  # noqa: F811
    cloud, a, b = await realm_of_two(make_site)
    rng = random.Random(1)

    async def work():
        for number in range(30):
            await asyncio.sleep(0)
            await a.put(b"a%d" % rng.randrange(9), noise(50, number))
            if number % 5 == 0:
                await pull(a, cloud)
            if number % 3 == 0:
                await b.put(b"b%d" % rng.randrange(9), noise(50, number))
                await ship(b, cloud)

    class Slow:
        """A bucket that lets others go first."""

        def __getattr__(self, name):
            return getattr(cloud, name)

        async def put(self, *given, **more):
            for _ in range(20):
                await asyncio.sleep(0)
            await cloud.put(*given, **more)

    writer = CheckpointWriter(
        a.replica, a.state, Slow(), lambda: KEYRING, wall_ms=a.wall_ms, part_bytes=100, offload=at_once
    )
    draft, _ = await asyncio.gather(writer.scan(), work())
    for site in (a, b):
        await ship(site, cloud)
    await writer.publish(draft)
    fresh = make_site(b"fresh")
    assert await new_joiner(fresh, cloud).join_if_useful() is not None
    for site in (a, b, fresh):
        await pull(site, cloud)
    assert fresh.visible() == a.visible() == b.visible()


async def at_once(work):
    return work()


async def test_a_head_without_its_first_batch_is_a_cut_log(make_site):  # noqa: F811
    cloud, *_ = await realm_of_two(make_site)
    fresh = make_site(b"fresh")
    await cloud.put(head_name((b"x" * 16, b"i" * 8), 3), b"")
    fresh.use_cloud(cloud)
    puller = Puller(fresh.replica, cloud, lambda: KEYRING, wall_ms=fresh.wall_ms)
    await puller.pull_round()
    assert puller.cut == {(b"x" * 16, b"i" * 8): LogPosition()}
    assert puller.states[(b"x" * 16, b"i" * 8)].reason is StopReason.GAP
    assert await new_joiner(fresh, cloud).join_if_useful(puller.cut) is None


async def test_a_slice_that_is_none_is_refused_and_leaves_nothing(make_site):  # noqa: F811
    cloud, a, _ = await realm_of_two(make_site)
    manifest = await new_writer(a, cloud).write()
    fresh = make_site(b"fresh")
    joiner = new_joiner(fresh, cloud)
    joiner._helps = lambda *given: False
    assert await joiner.join_if_useful() is None
    assert manifest.slices
    if hasattr(fresh, "store"):
        from replication.ports import JoinState

        await fresh.state.begin_join(JoinState(origin_of(a), 1, 1, manifest.vector, 0, False, {}))
        with pytest.raises(ChangeInvalid):
            await fresh.state.fold_slice(0, b"no slice")
        assert fresh.state.joining().slices == 0
