"""The puller: nothing after a gap or damage, one bad log stops no other, resuming at every call."""

import pytest

from replication.batch_format import Batch, encode_batch
from replication.change_format import ChangeInvalid, ChangeTooNew
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import head_name, log_name
from replication.offload import run_at_once
from replication.ports import CloudRefused, CloudUnreachable
from replication.puller import Puller, StopReason
from replication.sealing import Keyring
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Shipper
from tests.replication.faulty_cloud import CRASH_AFTER, CRASH_BEFORE, LOST_REPLY, REFUSED, Crash, FaultyCloud
from tests.replication.fixed_realm import KEYRING
from tests.replication.memory_site import MemorySite

PACKED = ReplicationSettings(limits=ShipLimits(inline_bytes_max=0, pack_bytes_max=4096, changes_max=2))


def new_site(name, keyring=KEYRING):
    return MemorySite(keyring, name, lambda: 1_700_000_000_000)


def new_puller(site, cloud, **options):
    return Puller(site, cloud, lambda: site.keyring, wall_ms=site.wall_ms, **options)


def origin_of(site):
    return (site.identity().site, site.identity().incarnation)


async def ship(site, cloud, settings=PACKED):
    shipper = Shipper(site, site, cloud, lambda: site.keyring, settings, wall_ms=site.wall_ms, offload=run_at_once)
    while await shipper.ship_round():
        pass


@pytest.fixture
async def world():
    """Site a has shipped five changes in three packed batches, site b two; c has nothing yet."""
    cloud, a, b = MemoryCloud(), new_site(b"a"), new_site(b"b")
    for number in range(5):
        a.put(b"k%d" % number, bytes([number]) * 3000)
    for number in range(2):
        b.put(b"k%d" % number, bytes([100 + number]) * 3000)
    await ship(a, cloud)
    await ship(b, cloud)
    return cloud, a, b, new_site(b"c")


async def test_takes_in_everything_with_locations(world):
    cloud, a, b, c = world
    puller = new_puller(c, cloud)
    pulled = await puller.pull_round()
    assert (pulled.batches, pulled.changes, pulled.stopped) == (4, 7, 0)
    assert {origin_of(a): a.shipped(), origin_of(b): b.shipped()} == c.pulled()
    assert all(ref.id in c.locate([ref.id]) for ref in c.live_refs())
    assert (await puller.pull_round()).batches == 0
    assert puller.states[origin_of(a)].stopped == ""


async def test_own_log_is_not_pulled(world):
    cloud, a, _, _ = world
    await new_puller(a, cloud).pull_round()
    assert origin_of(a) not in a.pulled()


async def test_acks_are_carried(world):
    cloud, a, b, c = world
    await new_puller(a, cloud).pull_round()
    a.put(b"more", b"more")
    await ship(a, cloud)
    await new_puller(c, cloud).pull_round()
    assert c.acks()[origin_of(a)] == {origin_of(b): 2}


async def stopped_by(world, origin):
    cloud, _, b, c = world
    puller = new_puller(c, cloud)
    await puller.pull_round()
    assert c.pulled()[origin_of(b)] == b.shipped(), "another log must go on"
    return puller.states[origin].reason, c.pulled().get(origin)


async def test_gap_stops_that_log_only(world):
    cloud, a, _, c = world
    taken = cloud.objects.pop(log_name(origin_of(a), 2))
    reason, position = await stopped_by(world, origin_of(a))
    assert (reason, position.n, position.seq) == (StopReason.GAP, 1, 2)
    cloud.objects[log_name(origin_of(a), 2)] = taken
    puller = new_puller(c, cloud)
    assert (await puller.pull_round()).stopped == 0
    assert c.pulled()[origin_of(a)] == a.shipped()


@pytest.mark.parametrize("where", ["log/0000000000000002", "index/0000000000000002"])
async def test_damage_stops_before_it(world, where):
    cloud, a, _, _ = world
    name = next(name for name in cloud.objects if where in name and a.identity().site.hex() in name)
    for position in range(0, len(cloud.objects[name]), 97):
        kept = cloud.objects[name]
        damaged = bytearray(kept)
        damaged[position] ^= 1
        cloud.objects[name] = bytes(damaged)
        world = (cloud, a, world[2], new_site(b"c"))
        reason, applied = await stopped_by(world, origin_of(a))
        assert (reason, applied.n) in [(StopReason.DAMAGED, 1), (StopReason.UNKNOWN_KEY, 1)]
        cloud.objects[name] = kept


async def test_missing_index_stops_before_it(world):
    cloud, a, _, _ = world
    del cloud.objects[
        next(name for name in cloud.objects if "index/0000000000000002" in name and a.identity().site.hex() in name)
    ]
    reason, position = await stopped_by(world, origin_of(a))
    assert (reason, position.n) == (StopReason.GAP, 1)


async def test_log_rewritten_after_the_fact_is_noticed(world):
    cloud, a, _, c = world
    second = cloud.objects.pop(log_name(origin_of(a), 2))
    await new_puller(c, cloud).pull_round()
    other = MemoryCloud()
    twin = new_site(b"a")
    for number in range(5):
        twin.put(b"k%d" % number, bytes([number + 7]) * 3000)
    await ship(twin, other)
    cloud.objects |= {name: data for name, data in other.objects.items() if name not in cloud.objects}
    assert cloud.objects[log_name(origin_of(a), 2)] != second
    reason, position = await stopped_by(world, origin_of(a))
    assert (reason, position.n) == (StopReason.CHAIN, 1)


@pytest.mark.parametrize("head", [None, 1])
async def test_withheld_log_is_said(world, head):
    cloud, a, _, c = world
    await new_puller(c, cloud).pull_round()
    for name in [name for name in cloud.objects if name.startswith("heads/" + a.identity().site.hex())]:
        del cloud.objects[name]
    if head:
        cloud.objects[head_name(origin_of(a), head)] = b""
    reason, position = await stopped_by(world, origin_of(a))
    assert (reason, position) == (StopReason.WITHHELD, a.shipped())


async def test_newer_version_stops_with_advice(world, monkeypatch):
    cloud, _, _, _ = world
    d = new_site(b"d")
    with monkeypatch.context() as patch:
        patch.setattr("replication.batch_format.BATCH_VERSION", 2)
        cloud.objects[log_name(origin_of(d), 1)] = encode_batch(KEYRING, origin_of(d), Batch(1, bytes(32), 1, ()))
        cloud.objects[head_name(origin_of(d), 1)] = b""
    reason, position = await stopped_by(world, origin_of(d))
    assert (reason, position) == (StopReason.TOO_NEW, None)


async def test_foreign_changes_are_refused(world):
    cloud, a, _, _ = world
    d = new_site(b"d")
    forged = Batch(1, bytes(32), 1, tuple(a.own[:1]))
    cloud.objects[log_name(origin_of(d), 1)] = encode_batch(KEYRING, origin_of(d), forged)
    cloud.objects[head_name(origin_of(d), 1)] = b""
    reason, position = await stopped_by(world, origin_of(d))
    assert (reason, position) == (StopReason.DAMAGED, None)


async def test_unknown_epoch_is_fetched_or_said(world):
    cloud, _, _, c = world
    newer = Keyring(
        KEYRING.realm, KEYRING.chunk_key, {**KEYRING.epochs, b"epoch-two-------": bytes(32)}, b"epoch-two-------"
    )
    d = new_site(b"d", newer)
    d.put(b"k9", b"sealed anew")
    await ship(d, cloud)
    puller = new_puller(c, cloud)
    await puller.pull_round()
    assert puller.states[origin_of(d)].reason is StopReason.UNKNOWN_KEY

    async def refresh():
        c.keyring = newer

    puller = new_puller(c, cloud, refresh_keys=refresh)
    await puller.pull_round()
    assert c.pulled()[origin_of(d)] == d.shipped()


@pytest.mark.parametrize(
    ("error", "reason"), [(ChangeTooNew("newer"), StopReason.TOO_NEW), (ChangeInvalid("?"), StopReason.DAMAGED)]
)
async def test_values_the_store_does_not_know_stop_that_log_only(world, error, reason):
    cloud, a, b, c = world
    record = c.record_pulled

    async def picky(batch):
        if batch.origin == origin_of(a):
            raise error
        await record(batch)

    c.record_pulled = picky
    puller = new_puller(c, cloud)
    await puller.pull_round()
    assert puller.states[origin_of(a)].reason is reason
    assert c.pulled() == {origin_of(b): b.shipped()}


@pytest.mark.parametrize("fault", [CRASH_BEFORE, CRASH_AFTER, REFUSED, LOST_REPLY])
async def test_interrupted_at_each_call_and_resumed(world, fault):
    cloud, a, b, _ = world
    counting = FaultyCloud(cloud)
    await new_puller(new_site(b"c"), counting).pull_round()
    for call in range(1, len(counting.calls) + 1):
        c = new_site(b"c")
        with pytest.raises((CloudUnreachable, Crash)):
            await new_puller(c, FaultyCloud(cloud, script={call: fault})).pull_round()
        for origin, position in c.pulled().items():
            assert position.seq <= {origin_of(a): a, origin_of(b): b}[origin].shipped().seq
        assert (await new_puller(c, cloud).pull_round()).stopped == 0
        assert c.pulled() == {origin_of(a): a.shipped(), origin_of(b): b.shipped()}


async def test_refused_is_raised_not_recorded_as_damage(world):
    cloud, _, _, c = world

    class Refusing(MemoryCloud):
        async def get(self, name, *, offset=0, length=None):
            raise CloudRefused("AccessDenied")

    refusing = Refusing()
    refusing.objects = cloud.objects
    puller = new_puller(c, refusing)
    with pytest.raises(CloudRefused):
        await puller.pull_round()
    assert c.pulled() == {}


async def test_strangers_objects_do_no_harm(world):
    cloud, _, _, c = world
    cloud.objects |= {"heads/readme": b"?", "keys/readme": b"?", "sites/x": b"?", "heads/zz-1-2": b""}
    await new_puller(c, cloud).pull_round()
    assert len(c.pulled()) == 2
