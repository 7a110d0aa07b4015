"""The shipper: order of a round, resuming at every call, fences, lost replies."""

import asyncio

import msgspec
import pytest

from replication.batch_format import Batch, decode_batch, encode_batch, hash_object
from replication.change_format import decode_change, encode_change
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import head_name, log_name
from replication.frame_format import decode_header
from replication.offload import run_at_once
from replication.ports import CloudUnreachable, LogPosition
from replication.sealing import open_frame
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import DOUBTS_TO_FENCE, Fenced, Shipper
from tests.replication.faulty_cloud import (
    CONFLICT,
    CRASH_AFTER,
    CRASH_BEFORE,
    DUPLICATE,
    LATE,
    LOST_REPLY,
    REFUSED,
    Crash,
    FaultyCloud,
)
from tests.replication.fixed_realm import KEYRING
from tests.replication.memory_site import MemorySite

PACKED = ReplicationSettings(limits=ShipLimits(inline_bytes_max=0, pack_bytes_max=4096))
INLINE = ReplicationSettings()


def new_site(name=b"a", seed=0):
    return MemorySite(KEYRING, name, lambda: 1_700_000_000_000, seed)


def new_shipper(site, cloud, settings=INLINE):
    return Shipper(site, site, cloud, lambda: KEYRING, settings, wall_ms=site.wall_ms, offload=run_at_once)


def origin_of(site):
    return (site.identity().site, site.identity().incarnation)


async def ship_all(shipper, tries=200):
    for _ in range(tries):
        try:
            if await shipper.ship_round() is None:
                return
        except CloudUnreachable:
            continue
    raise AssertionError("did not get done")


def assert_in_cloud(site, cloud):
    """Every change of the site's log is in the bucket, in order and chained, and every byte lies where it is said
    to.
    """
    origin, position = origin_of(site), LogPosition()
    changes = []
    while position.n < site.shipped().n:
        data = cloud.objects[log_name(origin, position.n + 1)]
        batch = decode_batch(KEYRING, origin, position.n + 1, data)
        assert batch.chain == position.chain
        changes += batch.changes
        position = LogPosition(batch.n, batch.last_seq, hash_object(data))
    assert position == site.shipped()
    assert changes == site.own[: position.seq]
    for ref in [ref for change in changes for ref in decode_change(change).refs]:
        place = site.locate([ref.id])[ref.id]
        header = decode_header(place.header)
        stored = cloud.objects[place.object_name][place.offset :][: header.stored_size]
        assert open_frame(KEYRING, header, stored) == site.read(ref.id)


async def test_nothing_to_ship_touches_no_log():
    site, cloud = new_site(), MemoryCloud()
    assert await new_shipper(site, cloud).ship_round() is None
    assert cloud.objects == {}


async def test_small_round_is_one_put_and_a_head():
    site, cloud = new_site(), MemoryCloud()
    site.put(b"k", b"hello")
    shipped = await new_shipper(site, cloud).ship_round()
    assert (shipped.changes, shipped.frames) == (1, 1)
    assert sorted(cloud.objects) == sorted([log_name(origin_of(site), 1), head_name(origin_of(site), 1)])
    assert_in_cloud(site, cloud)
    assert site.backlog().changes == site.backlog().bytes == 0


async def test_order_of_a_round_is_packs_index_log_head_cursor():
    site, cloud = new_site(), FaultyCloud(MemoryCloud())
    for number in range(6):
        site.put(b"k%d" % number, bytes([number]) * 2000)
    await new_shipper(site, cloud, PACKED).ship_round()
    kinds = [name.split("/")[-2] for verb, name in cloud.calls if verb == "put"]
    assert kinds == ["packs"] * 3 + ["index", "log", "heads"]
    assert_in_cloud(site, cloud.inner)


async def test_old_heads_go():
    site, cloud = new_site(), MemoryCloud()
    shipper = new_shipper(site, cloud)
    for number in range(3):
        site.put(b"k", b"%d" % number)
        await shipper.ship_round()
    assert await cloud.list("heads/") == [head_name(origin_of(site), 3)]


async def test_bytes_of_a_huge_change_go_ahead_of_it():
    site, cloud = new_site(), MemoryCloud()
    limits = ShipLimits(frame_bytes_max=5000, inline_bytes_max=0, pack_bytes_max=4096)
    change = site.put(b"huge", b"first")
    refs = [site.put(b"x%d" % number, bytes([number]) * 2000).refs[0] for number in range(8)]
    site.own, site.own_ms = site.own[:1], site.own_ms[:1]
    site.own[0] = encode_change(msgspec.structs.replace(change, refs=tuple(refs)))
    shipper = new_shipper(site, cloud, ReplicationSettings(limits=limits))
    rounds = []
    while shipped := await shipper.ship_round():
        rounds.append(shipped.changes)
    assert rounds == [0, 0, 0, 1]
    assert_in_cloud(site, cloud)


async def test_more_changes_than_a_round_takes():
    site, cloud = new_site(), MemoryCloud()
    for number in range(25):
        site.put(b"k%d" % number, b"%d" % number)
    shipper = new_shipper(site, cloud, ReplicationSettings(limits=ShipLimits(changes_max=10)))
    assert [(await shipper.ship_round()).changes for _ in range(3)] == [10, 10, 5]
    assert_in_cloud(site, cloud)


async def count_calls(settings):
    site, cloud = new_site(), FaultyCloud(MemoryCloud())
    await two_batches(site, cloud, settings)
    return len(cloud.calls)


async def two_batches(site, cloud, settings):
    if not site.own:
        for number in range(3):
            site.put(b"k%d" % number, bytes([number]) * 3000)
    shipper = new_shipper(site, cloud, settings)
    await ship_all(shipper)
    if site.last_seq() == 3:
        site.put(b"k0", b"again" * 700)
        site.put(b"late", b"one" * 700)
    await ship_all(shipper)


@pytest.mark.parametrize("settings", [INLINE, PACKED], ids=["inline", "packed"])
@pytest.mark.parametrize("fault", [CRASH_BEFORE, CRASH_AFTER, LOST_REPLY, REFUSED, LATE, DUPLICATE, CONFLICT])
async def test_interrupted_at_each_call_and_resumed(settings, fault):
    """The sweep: at every single call to the cloud, each fault once; afterwards all is there and no byte is repeated
    wrong.
    """
    for call in range(1, await count_calls(settings) + 1):
        site, inner = new_site(), MemoryCloud()
        cloud = FaultyCloud(inner, script={call: fault})
        try:
            await two_batches(site, cloud, settings)
        except Crash:
            assert site.backlog().changes == site.last_seq() - site.shipped().seq
            await two_batches(site, FaultyCloud(inner), settings)
        await cloud.settle()
        assert_in_cloud(site, inner)
        assert site.shipped().seq == site.last_seq() == 5, f"call {call}"
        await ship_all(new_shipper(site, inner, settings))


async def test_new_changes_between_a_lost_reply_and_the_restart_are_not_lost():
    site, inner = new_site(), MemoryCloud()
    site.put(b"k", b"1")
    with pytest.raises(Crash):
        await new_shipper(site, FaultyCloud(inner, script={4: CRASH_BEFORE})).ship_round()  # after log, before cursor
    assert log_name(origin_of(site), 1) in inner.objects
    assert site.shipped().n == 0
    site.put(b"k", b"2")
    await ship_all(new_shipper(site, inner))
    assert site.shipped().n == 2
    assert_in_cloud(site, inner)


async def test_resumed_packs_keep_their_names():
    site, inner = new_site(), MemoryCloud()
    for number in range(4):
        site.put(b"k%d" % number, bytes([number]) * 3000)
    with pytest.raises(Crash):
        await new_shipper(site, FaultyCloud(inner, script={6: CRASH_BEFORE}), PACKED).ship_round()
    before = {name for name in inner.objects if "/packs/" in name}
    await ship_all(new_shipper(site, inner, PACKED))
    assert before
    assert before <= set(inner.objects)
    assert len([name for name in inner.objects if "/packs/" in name]) == 4


async def test_clone_is_fenced_and_loses_nothing():
    site, cloud = new_site(), MemoryCloud()
    site.put(b"k", b"1")
    shipper = new_shipper(site, cloud)
    await shipper.ship_round()
    clone = new_site()
    clone.put(b"k", b"1")
    await clone.record_shipped(site.shipped(), list(site.placed()))
    clone.put(b"c", b"clone")
    site.put(b"o", b"original")
    await shipper.ship_round()
    objects = dict(cloud.objects)
    fenced = new_shipper(clone, cloud)
    for _ in range(2):
        with pytest.raises(Fenced):
            await fenced.ship_round()
    assert fenced.fenced
    assert cloud.objects == objects
    assert clone.backlog().changes == 1


async def test_rolled_back_site_is_fenced():
    site, cloud = new_site(), MemoryCloud()
    site.put(b"k", b"1")
    shipper = new_shipper(site, cloud)
    await shipper.ship_round()
    before = site.shipped()
    site.put(b"k", b"2")
    await shipper.ship_round()
    site.cursor, site.own, site.own_ms = before, site.own[:1], site.own_ms[:1]
    with pytest.raises(Fenced):
        await new_shipper(site, cloud).ship_round()


@pytest.mark.parametrize("harm", ["missing", "replaced"])
async def test_cloud_that_lost_what_it_confirmed_is_said(harm):
    site, cloud = new_site(), MemoryCloud()
    site.put(b"k", b"1")
    await new_shipper(site, cloud).ship_round()
    name = log_name(origin_of(site), 1)
    if harm == "missing":
        del cloud.objects[name]
    else:
        cloud.objects[name] = b"something else"
    shipper = new_shipper(site, cloud)
    for _ in range(DOUBTS_TO_FENCE - 1):
        with pytest.raises(CloudUnreachable, match="asking again"):
            await shipper.ship_round()
    with pytest.raises(Fenced):
        await shipper.ship_round()


async def test_what_only_came_wrong_for_a_while_is_no_fence():
    site, cloud = new_site(), MemoryCloud()
    site.put(b"k", b"1")
    await new_shipper(site, cloud).ship_round()
    name, shipper = log_name(origin_of(site), 1), new_shipper(site, cloud)
    for wrong in (None, b"something else", None, b""):
        kept = cloud.objects.pop(name)
        if wrong is not None:
            cloud.objects[name] = wrong
        with pytest.raises(CloudUnreachable):
            await shipper.ship_round()
        cloud.objects[name] = kept
    site.put(b"k", b"2")
    assert (await shipper.ship_round()).changes == 1
    assert not shipper.fenced


async def test_closed_log_is_a_fence():
    site, cloud = new_site(), MemoryCloud()
    site.put(b"k", b"1")
    closed = Batch(1, bytes(32), 1, (), closed=True)
    cloud.objects[log_name(origin_of(site), 1)] = encode_batch(KEYRING, origin_of(site), closed)
    with pytest.raises(Fenced, match="closed"):
        await new_shipper(site, cloud).ship_round()


async def test_cancelled_round_resumes():
    site, inner = new_site(), MemoryCloud()
    for number in range(4):
        site.put(b"k%d" % number, bytes([number]) * 3000)
    shipper = new_shipper(site, FaultyCloud(inner), PACKED)
    for steps in range(1, 40):
        task = asyncio.create_task(shipper.ship_round())
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await ship_all(shipper)
    assert site.shipped().seq == 4
    assert_in_cloud(site, inner)


async def test_a_clones_delete_of_the_same_moment_does_not_pass_for_ours():
    """Found by simulated world 9219: same dot, same clock, same item, same ``replaces``, and yet another change."""
    site, cloud = new_site(), MemoryCloud()
    site.put(b"k", b"1")
    clone = site.fork()
    site.put(b"k", b"2")
    clone.remove(b"k")
    assert decode_change(site.own[-1]).replaces == decode_change(clone.own[-1]).replaces
    await new_shipper(clone, cloud).ship_round()
    with pytest.raises(Fenced, match="another machine"):
        await new_shipper(site, cloud).ship_round()
    assert site.backlog().changes == 2
