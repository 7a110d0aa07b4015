"""The contract of a log that parts from the cloud's: one suite over the site in memory and the real store."""

import os

import msgspec
import pytest

from replication.change_format import decode_change, encode_change
from replication.cloud_memory import MemoryCloud
from replication.crdt import Dot
from replication.ports import CloudUnreachable, LogPosition, OwnLogAhead, PulledBatch, Reissue
from replication.restore import close_log
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Shipper
from tests.contracts.real_site import RealSite
from tests.contracts.test_collection import holdings_of
from tests.contracts.test_replica import (
    BOTH,
    KEYRING,
    PACKED,
    make_site,  # noqa: F401 - a fixture
    new_shipper,
    noise,
    origin_of,
    pull,
    ship,
)


async def settle(cloud, *sites, settings):
    for _ in range(3):
        for site in sites:
            await ship(site, cloud, settings)
        for site in sites:
            await pull(site, cloud)
    shown = sites[0].visible()
    for site in sites:
        assert site.visible() == shown
        assert site.replica.backlog().changes == site.replica.backlog().bytes == 0
        before = site.dump()
        site.rebuild()
        assert site.dump() == before, "the log alone gives the same index"


@BOTH
async def test_two_copies_of_a_disk_converge_with_everything(make_site, settings):  # noqa: F811
    cloud, site = MemoryCloud(), make_site(b"a")
    await site.put(b"old", noise(3000))
    await ship(site, cloud, settings)
    await site.put(b"shared", noise(5000, 1))
    copy = make_site(b"copy", copy_of=site)
    for number in range(4):
        await site.put(b"of-the-first-%d" % number, noise(9000, 10 + number))
        await copy.put(b"of-the-copy-%d" % number, noise(9000, 20 + number))
    await site.put(b"old", noise(2000, 2))
    await copy.put(b"old", noise(2000, 3))
    await copy.remove(b"of-the-copy-3")
    await site.remove(b"shared")
    await settle(cloud, site, copy, settings=settings)
    assert origin_of(site)[0] != origin_of(copy)[0]
    for one in (site, copy):
        assert await one.read(b"of-the-first-3") == noise(9000, 13)
        assert await one.read(b"of-the-copy-2") == noise(9000, 22)
        assert await one.read(b"old") in (noise(2000, 2), noise(2000, 3))
    third = make_site(b"third")
    await pull(third, cloud)
    assert third.visible() == site.visible()
    assert await third.read(b"of-the-copy-0") == noise(9000, 20)


async def test_what_lies_in_own_packs_is_sent_again_until_the_former_log_is_read(make_site):  # noqa: F811
    """The copy, which wrote as this site, may have deleted any of it (world 423648)."""
    cloud, site = MemoryCloud(), make_site(b"a")
    await site.put(b"old", noise(3000))
    await ship(site, cloud)
    copy = make_site(b"copy", copy_of=site)
    await copy.put(b"of-the-copy", noise(100, 1))
    await ship(copy, cloud)
    await site.put(b"new", noise(3000))
    former, me = origin_of(site), origin_of(site)[0]
    rounds = await ship(site, cloud)
    assert origin_of(site) != former
    assert origin_of(site)[0] == me
    assert sum(one.frames for one in rounds) == 1, "although the bucket has it"
    assert holdings_of(site).untrusted() == [me]
    await site.put(b"soon", noise(3000))
    assert sum(one.frames for one in await ship(site, cloud)) == 0, "the new log tells of it"
    await pull(site, cloud)
    assert holdings_of(site).untrusted() == [], "the former log has ended, and is read to its end"
    await site.put(b"again", noise(3000))
    assert sum(one.frames for one in await ship(site, cloud)) == 0


@BOTH
async def test_a_restored_backup_gets_back_what_it_forgot_and_keeps_what_is_new(make_site, settings):  # noqa: F811
    cloud, site = MemoryCloud(), make_site(b"a")
    await site.put(b"k", noise(3000))
    await ship(site, cloud, settings)
    await site.put(b"unsent then", noise(3000, 5))
    backup = make_site(b"backup", copy_of=site)
    await site.put(b"k", noise(3000, 1))
    await site.put(b"since", noise(20_000, 2))
    await site.remove(b"unsent then")
    await ship(site, cloud, settings)
    former = origin_of(site)
    await backup.put(b"new", noise(3000, 3))
    await settle(cloud, backup, settings=settings)
    assert origin_of(backup)[0] == former[0]
    assert backup.replica.former_logs() == [former]
    assert await backup.read(b"k") == noise(3000, 1)
    assert await backup.read(b"since") == noise(20_000, 2)
    assert await backup.read(b"new") == noise(3000, 3)
    assert [change.item[-3:] for change in backup.own_changes()] == [b"new"], "only what the bucket had not"
    backup.restart()
    assert origin_of(backup)[1] != former[1]


@BOTH
async def test_a_replaced_machine_goes_on_as_another_site(make_site, settings):  # noqa: F811
    cloud, site, other = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await site.put(b"k", noise(3000))
    await ship(site, cloud, settings)
    former = origin_of(site)
    await close_log(cloud, KEYRING, former, 1)
    await site.put(b"late", noise(9000, 1))
    await site.put(b"k", noise(3000, 2))
    clock = site.own_changes()[-1].hlc
    await settle(cloud, site, other, settings=settings)
    assert origin_of(site)[0] != former[0]
    assert site.own_changes()[-1].hlc == clock, "the same clocks"
    assert await other.read(b"late") == noise(9000, 1)
    await site.put(b"k", noise(3000, 4))
    await settle(cloud, site, other, settings=settings)
    assert await other.read(b"k") == noise(3000, 4)
    site.restart()
    assert origin_of(site)[0] != former[0]


async def test_what_has_seen_more_than_was_shipped_is_not_applied(make_site):  # noqa: F811
    """Acknowledged or replaced: it names dots that may mean other changes here. (Acks lag behind a backlog.)"""
    site = make_site(b"a")
    await site.put(b"k", b"v")
    other, own = (b"o" * 16, b"i" * 8), site.own_changes()[-1]
    saw = msgspec.structs.replace(own, dot=Dot(*other, 1), hlc=own.hlc + 1, replaces=(own.dot,), dead=True, refs=())
    saw = msgspec.structs.replace(saw, body=b"")
    position = LogPosition(1, 1, bytes(32))
    acknowledged = PulledBatch(other, LogPosition(1, 0, bytes(32)), [], acks={origin_of(site): own.dot.seq})
    for batch in (acknowledged, PulledBatch(other, position, [encode_change(saw)])):
        with pytest.raises(OwnLogAhead) as ahead:
            await site.replica.record_pulled(batch)
        assert ahead.value.seq == own.dot.seq
    assert site.replica.pulled() == {}
    await site.replica.record_shipped(LogPosition(1, own.dot.seq, bytes(32)), [])
    await site.replica.record_pulled(PulledBatch(other, position, [encode_change(saw)]))
    assert site.replica.pulled() == {other: position}


async def test_issuing_anew_happens_once_and_counts_from_one(make_site):  # noqa: F811
    site = make_site(b"a")
    await site.put(b"k", b"v")
    await site.put(b"k", b"w")
    reissue = Reissue(origin_of(site), LogPosition(), 0, 0, os.urandom(16), os.urandom(8), "told")
    changes = site.replica.last_seq()
    before = site.visible()
    assert await site.replica.issue_anew(reissue) == changes
    assert await site.replica.issue_anew(reissue) == 0
    assert origin_of(site) == (reissue.site, reissue.incarnation)
    assert [change.dot.seq for change in site.own_changes()] == list(range(1, changes + 1))
    assert site.replica.backlog().changes == changes
    assert len(site.visible()) == len(before)
    assert site.replica.pulled() == {reissue.former: LogPosition()}
    assert reissue.former not in {decode_change(data).dot[:2] for data in site.replica.read_changes(0, 99, 1 << 20)}


async def test_what_is_issued_anew_and_only_in_the_bucket_is_fetched_first(tmp_path):
    cloud = MemoryCloud()
    a, b = RealSite(tmp_path / "a", KEYRING, b"a"), RealSite(tmp_path / "b", KEYRING, b"b")
    await a.put(b"big", noise(300_000))
    await ship(a, cloud, PACKED)
    for one, other in ((b, a), (a, b)):  # they hear of one another: what either has in the bucket is relied on
        await pull(one, cloud)
        await one.put(b"of-" + one.path.name.encode(), b"x")
        await ship(one, cloud, PACKED)
        await pull(other, cloud)
    with b.store.view() as view:
        uid, record = view.bucket("bucket").uid, view.current(view.bucket("bucket").uid, b"big").record
    await b.store.commit(lambda view: view.put_object(uid, b"copy", record, versioned=False))
    shipped = b.replica.shipped()
    assert b.replica.absent_chunks(b.replica.read_changes(shipped.seq, 9, 1 << 30), 16) == []
    reissue = Reissue(origin_of(b), shipped, shipped.seq, 0, os.urandom(16), os.urandom(8), "told")
    assert await b.replica.issue_anew(reissue) == 1
    changes = b.replica.read_changes(0, 9, 1 << 30)
    assert b.replica.absent_chunks(changes, 16)
    with pytest.raises(CloudUnreachable, match="sent anew"):
        await new_shipper(b, cloud, PACKED).ship_round()
    shipper = Shipper(*(b.replica, b.replica, cloud, lambda: KEYRING, PACKED), wall_ms=b.wall_ms, bring=b.bring)
    await shipper.ship_round()
    assert b.replica.absent_chunks(changes, 16) == []
    for name in [name for name in cloud.objects if a.directory.site.hex() in name and "/packs/" in name]:
        del cloud.objects[name]
    third = RealSite(tmp_path / "third", KEYRING, b"third")
    await pull(third, cloud)
    assert await third.read(b"copy") == noise(300_000)
    for site in (a, b, third):
        site.close()


@pytest.mark.parametrize("parts", [False, True], ids=["the log is the same", "the logs part"])
async def test_what_only_a_copy_had_overwritten_is_not_lost_to_it(make_site, parts):  # noqa: F811
    """World 302202: the copy overwrote an unsent value, collected it, sent the change without, and was lost."""
    cloud, site, third = MemoryCloud(), make_site(b"a"), make_site(b"third")
    await site.put(b"k", noise(3000))
    await ship(site, cloud)
    await site.put(b"k", noise(5000, 1))
    clock = site.own_changes()[-1].hlc
    copy = make_site(b"copy", copy_of=site)
    if parts:
        await copy.put(b"of the copy", noise(5000, 2))
        await site.put(b"of the original", noise(5000, 3))
    await copy.put(b"k", noise(5000, 4))
    copy.collect()
    few = ReplicationSettings(limits=ShipLimits(changes_max=1 + parts))
    assert await new_shipper(copy, cloud, few).ship_round()
    former = origin_of(site)
    await settle(cloud, site, third, settings=few)
    assert (origin_of(site) != former) == parts
    assert await site.read(b"k") == await third.read(b"k") == noise(5000, 1)
    assert site.own_changes()[-1].hlc == clock, "written again, with the clock it had"
    if parts:
        assert await site.read(b"of the copy") == noise(5000, 2)
        assert await third.read(b"of the original") == noise(5000, 3)
    joined = make_site(b"joined")
    await pull(joined, cloud)
    assert joined.visible() == site.visible()


async def test_a_value_that_was_overwritten_in_the_same_log_is_not_written_again(make_site):  # noqa: F811
    cloud, site = MemoryCloud(), make_site(b"a")
    await site.put(b"k", noise(5000, 1))
    backup = make_site(b"backup", copy_of=site)
    await site.put(b"k", noise(5000, 2))
    site.collect()
    await ship(site, cloud)
    await settle(cloud, backup, settings=ReplicationSettings())
    assert await backup.read(b"k") == noise(5000, 2)
    assert len(backup.visible()) == 1, "no version beside it"
