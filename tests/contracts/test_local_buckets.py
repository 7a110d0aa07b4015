"""Buckets that stay on their site: others learn of the bucket, and nothing of what is in it; nor does the cloud."""

import pytest

from gateway.store.document_format import BucketRecord
from gateway.store.item_format import FAMILY_VOID, bucket_uid, is_local_uid
from gateway.store.object_format import ObjectRecord
from gateway.store.version_ids import NULL
from replication.change_format import decode_change
from replication.cloud_memory import MemoryCloud
from replication.offload import run_at_once
from replication.puller import Puller
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Shipper
from tests.gateway.store.store_site import KEYRING, StoreSite

SETTINGS = ReplicationSettings(limits=ShipLimits(inline_bytes_max=0))
CONTENT = bytes(range(256)) * 4000


async def write(site, uid, key, data, *, replaces=(), versioned=False):
    async with site.store.writer(replaces=replaces, local=is_local_uid(uid)) as writer:
        await writer.write(data)
        content = await writer.finish()
        record = ObjectRecord(size=len(data), etag="etag", content=content.refs)
        await site.store.commit(lambda view: view.put_object(uid, key, record, versioned=versioned))
    return content.refs


async def make_local(site, name="cctv"):
    record = BucketRecord(name=name, owner="me", created_ms=1)
    return (await site.store.commit(lambda view: view.put_bucket(record, local=True))).uid


def shipper_of(site, cloud):
    replica = site.store.replica
    wall_ms = lambda: 1_700_000_000_000  # noqa: E731
    return Shipper(replica, replica, cloud, lambda: KEYRING, SETTINGS, wall_ms=wall_ms, offload=run_at_once)


async def ship(site, cloud):
    shipper = shipper_of(site, cloud)
    while await shipper.ship_round():
        pass


async def pull(site, cloud):
    puller = Puller(site.store.replica, cloud, lambda: KEYRING, wall_ms=lambda: 1_700_000_000_000)
    return await puller.pull_round()


@pytest.fixture
async def site(tmp_path):
    async with StoreSite(tmp_path / "a") as site:
        yield site


async def test_nothing_of_a_local_object_is_shipped_and_others_know_the_bucket_only(site, tmp_path):
    cloud = MemoryCloud()
    uid = await make_local(site)
    refs = await write(site, uid, b"camera/1", CONTENT)
    await write(site, uid, b"camera/2", b"small", versioned=True)
    await site.store.commit(lambda view: view.remove_version(uid, b"camera/2", NULL))
    await write(site, site.uid, b"shared", b"for all")
    backlog = site.store.replica.backlog()
    assert backlog.bytes < 5000, "what never goes is no backlog"
    await ship(site, cloud)
    assert site.store.replica.backlog().changes == 0
    with site.store.view() as view:
        assert not any(site.store.replica.locate([ref.id]) for ref in refs)
        assert view.current(uid, b"camera/1") is not None
    changes = [decode_change(data) for data in site.store.replica.read_changes(0, 100, 1 << 20)]
    told = [change for change in changes if change.family == FAMILY_VOID]
    assert len(told) >= 2
    assert all((change.item, change.body, change.refs, change.dead) == (b"", b"", (), True) for change in told)
    async with StoreSite(tmp_path / "b", site=b"t" * 16) as other:
        done = await pull(other, cloud)
        assert (done.stopped, done.changes) == (0, len(changes))
        with other.store.view() as view:
            assert view.bucket("cctv").uid == uid
            assert view.is_bucket_empty(uid)
            assert view.current(site.uid, b"shared") is not None
            assert [key for key, _ in view.transaction.scan(view.transaction.tables.items, b"") if key[0] == 0] == []


async def test_the_border_is_kept_by_chunks_of_its_own(site):
    """The same bytes on both sides are two chunks, and a patch never rests on what must stay."""
    cloud = MemoryCloud()
    uid = await make_local(site)
    old = await write(site, uid, b"k", CONTENT)
    edited = CONTENT[:70_000] + b"edited" + CONTENT[70_000:]
    new = await write(site, uid, b"k", edited, replaces=old)
    shared = await write(site, site.uid, b"k", edited)
    assert not {ref.id for ref in shared} & {ref.id for ref in new}
    await ship(site, cloud)
    located = site.store.replica.locate([ref.id for ref in (*old, *new, *shared)])
    assert set(located) == {ref.id for ref in shared}


async def test_a_local_bucket_is_one_for_good_and_a_bucket_of_its_own(site):
    uid = await make_local(site)
    assert uid != bucket_uid("cctv", "me")
    assert is_local_uid(uid)
    assert not is_local_uid(bucket_uid("cctv", "me"))
    await write(site, uid, b"k", b"v")
    await site.store.commit(lambda view: view.remove_version(uid, b"k", NULL))
    await site.store.commit(lambda view: view.delete_bucket(uid))
    assert await make_local(site) == uid


async def test_events_and_rebuilds_see_local_changes_as_they_are(site, tmp_path):
    uid = await make_local(site)
    await write(site, uid, b"k", CONTENT)
    replica = site.store.replica
    verbatim = replica.read_changes(0, 100, 1 << 20, verbatim=True)
    assert any(decode_change(data).item == uid + b"k" for data in verbatim)
    assert not any(decode_change(data).item == uid + b"k" for data in replica.read_changes(0, 100, 1 << 20))
    assert (await site.store.verify()).sound, "its chunk ids are known for what they are"


async def test_a_checkpoint_carries_nothing_of_it(site):
    uid = await make_local(site)
    await write(site, uid, b"very-secret-key", CONTENT, versioned=True)
    await write(site, site.uid, b"shared-key", b"v")
    start = site.store.folded_state.begin_export()
    slices, cursor = list(start.slices), b""
    while True:
        data, cursor = site.store.folded_state.export_slice(cursor)
        slices.append(data)
        if not cursor:
            break
    told = b"".join(slices)
    assert b"shared-key" in told
    assert b"very-secret-key" not in told
