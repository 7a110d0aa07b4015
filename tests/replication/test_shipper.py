"""The shipper: order of a round, resuming at every call, fences, lost replies."""

import asyncio

import msgspec
import pytest

from replication.batch_format import Batch, decode_batch, encode_batch, hash_object
from replication.change_format import decode_change, encode_change
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import head_name, log_name
from replication.frame_format import decode_header
from replication.freight import DOUBTS_MAX, Doubtful
from replication.log_end import successor_of
from replication.offload import run_at_once
from replication.ports import CloudUnreachable, LogPosition, Reissue
from replication.puller import Puller
from replication.restore import close_log
from replication.sealing import open_frame
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Shipper
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
        await new_shipper(site, FaultyCloud(inner, script={6: CRASH_BEFORE})).ship_round()  # after log, before cursor
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


async def pull(site, cloud):
    return await Puller(site, cloud, lambda: KEYRING, wall_ms=site.wall_ms).pull_round()


async def settle(cloud, *sites):
    """Everybody ships and pulls until nothing moves; a fresh site's view of it all."""
    fresh = new_site(b"fresh")
    for _ in range(4):
        for site in sites:
            await ship_all(new_shipper(site, cloud))
        for site in (*sites, fresh):
            await pull(site, cloud)
    assert all(site.visible() == fresh.visible() for site in sites)
    return {item: [body for _, body in live] for (_, item), live in fresh.visible().items()}


async def test_a_clone_issues_anew_what_the_other_has_not_and_nothing_twice():
    site, cloud = new_site(), MemoryCloud()
    site.put(b"k", b"1")
    await ship_all(new_shipper(site, cloud))
    site.put(b"shared", b"unsent when the disk was copied")
    clone, origin = site.fork(), origin_of(site)
    first = clone.put(b"c", b"clone")
    clone.put(b"c", b"clone again")
    site.put(b"o", b"original")
    await ship_all(new_shipper(site, cloud))
    objects = dict(cloud.objects)
    await ship_all(new_shipper(clone, cloud))
    assert all(cloud.objects[name] == data for name, data in objects.items() if name.startswith("sites/"))
    assert origin_of(clone) != origin
    anew = decode_change(clone.own[0])
    assert (anew.hlc, anew.item, anew.refs) == (first.hlc, b"c", ()), "replaced meanwhile: it only keeps its place"
    assert decode_change(clone.own[1]).replaces == (anew.dot,)
    shown = await settle(cloud, site, clone)
    assert sorted(shown) == [b"c", b"k", b"o", b"shared"]
    assert all(len(live) == 1 for live in shown.values())
    assert origin_of(site)[0] != origin_of(clone)[0]


async def test_a_rolled_back_site_stays_the_site_and_gets_back_what_it_forgot():
    site, cloud = new_site(), MemoryCloud()
    site.put(b"k", b"1")
    await ship_all(new_shipper(site, cloud))
    site.put(b"kept", b"unsent in the backup, sent since")
    backup, origin = site.fork(), origin_of(site)
    site.put(b"k", b"2")
    await ship_all(new_shipper(site, cloud))
    backup.put(b"new", b"after the restore")
    await ship_all(new_shipper(backup, cloud))
    assert origin_of(backup)[0] == origin[0]
    assert origin_of(backup)[1] != origin[1]
    shown = await settle(cloud, backup)
    assert sorted(shown) == [b"k", b"kept", b"new"]
    assert all(len(live) == 1 for live in shown.values())
    assert len(backup.own) == 1, "only what the bucket had not"


async def test_a_machine_with_nothing_to_send_notices_too():
    site, cloud = new_site(), MemoryCloud()
    site.put(b"k", b"1")
    await ship_all(new_shipper(site, cloud))
    idle, origin = site.fork(), origin_of(site)
    shipper = new_shipper(idle, cloud)
    await ship_all(shipper)
    site.put(b"k", b"2")
    await ship_all(new_shipper(site, cloud))
    looks = Puller(idle, cloud, lambda: KEYRING, wall_ms=idle.wall_ms, own_log_ahead=shipper.look_again)
    assert (await looks.pull_round()).waits
    await ship_all(shipper)
    assert origin_of(idle) != origin
    assert not (await looks.pull_round()).waits
    await settle(cloud, site, idle)


async def test_what_saw_the_other_machine_waits_until_the_logs_have_parted():
    """A reader of the copy's change replaces a dot that means another change here: applied now, it would end ours."""
    site, cloud, reader = new_site(), MemoryCloud(), new_site(b"reader")
    site.put(b"k", b"0")
    await ship_all(new_shipper(site, cloud))
    clone = site.fork()
    clone.put(b"k", b"of the clone")
    site.put(b"k", b"of the original")
    await ship_all(new_shipper(clone, cloud))
    await pull(reader, cloud)
    reader.put(b"k", b"of the reader", siblings=True)
    await ship_all(new_shipper(reader, cloud))
    before = site.visible()
    assert (await pull(site, cloud)).waits
    assert site.visible() == before
    shown = await settle(cloud, site, clone, reader)
    assert len(shown[b"k"]) == 2, "the reader's and the original's are concurrent: both are kept"


@pytest.mark.parametrize("fault", [CRASH_BEFORE, CRASH_AFTER, LOST_REPLY, REFUSED, LATE, CONFLICT])
async def test_issuing_anew_is_interrupted_at_each_call(fault):
    for call in range(1, 40):
        site, inner = new_site(), MemoryCloud()
        site.put(b"k", b"1")
        await ship_all(new_shipper(site, inner))
        clone = site.fork()
        site.put(b"o", b"original")
        await ship_all(new_shipper(site, inner))
        clone.put(b"c", b"clone")
        cloud = FaultyCloud(inner, script={call: fault})
        try:
            await ship_all(new_shipper(clone, cloud))
        except Crash:
            await ship_all(new_shipper(clone, inner))
        await cloud.settle()
        shown = await settle(inner, site, clone)
        assert sorted(shown) == [b"c", b"k", b"o"], f"call {call}"
        assert all(len(live) == 1 for live in shown.values()), f"call {call}"
        if len(cloud.calls) < call:
            return
    raise AssertionError("more calls than thought")


async def doubt(shipper):
    for _ in range(DOUBTS_MAX - 1):
        with pytest.raises(Doubtful, match="asking again"):
            await shipper.ship_round()


@pytest.mark.parametrize("harm", ["missing", "replaced"])
async def test_what_the_cloud_lost_is_issued_anew_over_what_others_have_of_it(harm):
    site, cloud, reader = new_site(), MemoryCloud(), new_site(b"reader")
    site.put(b"k", b"1")
    await ship_all(new_shipper(site, cloud))
    site.put(b"lost", b"2")
    await ship_all(new_shipper(site, cloud))
    await pull(reader, cloud)
    name, origin = log_name(origin_of(site), 2), origin_of(site)
    if harm == "missing":
        del cloud.objects[name]
    else:
        cloud.objects[name] = b"something else"
    shipper = new_shipper(site, cloud)
    await doubt(shipper)
    await ship_all(shipper)
    assert origin_of(site) != origin
    assert [decode_change(data).item for data in site.own] == [b"lost"]
    await pull(reader, cloud)
    assert reader.visible() == site.visible()
    assert len(reader.visible()[1, b"lost"]) == 1, "one, under its new dot"


async def test_what_another_has_seen_and_the_bucket_has_not_is_no_dot_to_use_again():
    site, cloud, reader = new_site(), MemoryCloud(), new_site(b"reader")
    site.put(b"k", b"1")
    backup, origin = site.fork(), origin_of(site)
    await ship_all(new_shipper(site, cloud))
    await pull(reader, cloud)
    reader.put(b"r", b"saw it")
    await ship_all(new_shipper(reader, cloud))
    for name in [name for name in cloud.objects if origin[0].hex() in name]:
        del cloud.objects[name]
    shipper = new_shipper(backup, cloud)
    looks = Puller(backup, cloud, lambda: KEYRING, wall_ms=backup.wall_ms, own_log_ahead=shipper.look_again)
    assert (await looks.pull_round()).waits
    await doubt(shipper)
    await ship_all(shipper)
    assert origin_of(backup) != origin
    assert (await looks.pull_round()).changes == 1


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


async def test_a_closed_log_makes_another_site_of_who_comes_back():
    site, cloud = new_site(), MemoryCloud()
    site.put(b"k", b"1")
    origin = origin_of(site)
    closed = Batch(1, bytes(32), 1, (), closed=True)
    cloud.objects[log_name(origin, 1)] = encode_batch(KEYRING, origin, closed)
    cloud.objects[head_name(origin, 1)] = b""
    await ship_all(new_shipper(site, cloud))
    assert origin_of(site)[0] != origin[0]
    assert "closed" in site.reissues[0].reason
    assert sorted(await settle(cloud, site)) == [b"k"]


@pytest.mark.parametrize("is_ended", [False, True])
async def test_who_begins_a_new_incarnation_must_have_ended_the_former_log(is_ended):
    """As after a torn end of the log, which takes an incarnation without asking the bucket."""
    site, cloud = new_site(), MemoryCloud()
    site.put(b"k", b"1")
    await ship_all(new_shipper(site, cloud))
    former = origin_of(site)
    site.put(b"k", b"2")
    if is_ended:
        await close_log(cloud, KEYRING, former, 1)
    await site.issue_anew(Reissue(former, site.shipped(), 1, 2, former[0], b"torn----"))
    await ship_all(new_shipper(site, cloud))
    assert (origin_of(site)[0] != former[0]) == is_ended
    closing = decode_batch(KEYRING, former, 2, cloud.objects[log_name(former, 2)])
    assert successor_of(closing) == (None if is_ended else origin_of(site))
    assert len((await settle(cloud, site))[b"k"]) == 1


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
    await ship_all(new_shipper(site, cloud))
    assert "another machine" in site.reissues[0].reason
    shown = await settle(cloud, site, clone)
    assert len(shown[b"k"]) == 2, "a value and a delete that did not see it"


async def test_what_is_overwritten_and_collected_during_its_round_goes_without_its_value():
    cloud, site = MemoryCloud(), new_site()
    site.put(b"k", b"old" * 5000)
    find = site.unshipped_frames

    def find_and_lose(changes):
        site.unshipped_frames = find
        found = find(changes)
        site.put(b"k", b"new" * 5000)
        site.collect()
        return found

    site.unshipped_frames = find_and_lose
    done = await new_shipper(site, cloud, PACKED).ship_round()
    assert done.changes == 2
    batch = decode_batch(KEYRING, origin_of(site), 1, cloud.objects[log_name(origin_of(site), 1)])
    first, second = map(decode_change, batch.changes)
    assert (first.dead, first.refs) == (True, ())
    assert second.refs


async def test_what_should_be_here_and_is_not_is_told():
    site = new_site()
    site.put(b"k", b"old" * 5000)
    site.read_frame = lambda header: 1 / 0
    with pytest.raises(ZeroDivisionError):
        await new_shipper(site, MemoryCloud(), PACKED).ship_round()
