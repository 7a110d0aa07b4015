"""What is issued anew under a new incarnation brings nothing back that was replaced meanwhile."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.store.document_format import UserRecord, encode_record
from gateway.store.item_format import FAMILY_NULL_SLOT, FAMILY_USER, null_slot_item
from gateway.store.log_format import Imported
from gateway.store.logical_dump import logical_dump
from gateway.store.object_format import ObjectRecord, encode_object
from gateway.store.own_changes import take_incarnation
from replication.change_format import Change, decode_change, encode_change
from replication.crdt import Dot
from replication.ports import LogPosition, OwnLogAhead, PulledBatch
from tests.gateway.store.index_site import SITE_B, IndexSite
from tests.gateway.store.workload import replica_of

UID = b"u" * 16
THERE = (SITE_B, b"B-incarn")


@pytest.fixture
def site(tmp_path: Path):
    with IndexSite(tmp_path / "a") as opened:
        yield opened


def seen(site: IndexSite):
    with site.view() as view:
        return (
            [(version.key, version.record.etag, version.is_latest) for version in view.scan_versions(UID)],
            view.users(),
        )


async def replace_there(site: IndexSite) -> None:
    """Another site, which read our changes in the cloud although we never learned that they got there."""
    put, user = [decode_change(data) for data in replica_of(site).read_changes(0, 10, 1 << 20)]
    remote = [
        Change(
            *(Dot(*THERE, 1), put.hlc + 1, FAMILY_NULL_SLOT, null_slot_item(UID, b"k"), False, (put.dot,), ()),
            encode_object(ObjectRecord(etag="theirs")),
        ),
        Change(Dot(*THERE, 2), user.hlc + 1, FAMILY_USER, b"u", True, (user.dot,)),
    ]
    changes = tuple(encode_change(change) for change in remote)
    with pytest.raises(OwnLogAhead):
        await replica_of(site).record_pulled(PulledBatch(THERE, LogPosition(1, 2, b"c" * 32), changes))
    site.commit(lambda view: view.stage_record(Imported(*THERE, changes)))  # as a Skerry did that did not look


async def test_what_another_site_replaced_stays_replaced(site, tmp_path):
    site.put(UID, b"k", b"ours", modified_ms=1)
    site.commit(lambda view: view.put_user(UserRecord(id="u", name="ours")))
    await replace_there(site)
    before = seen(site)
    assert before == ([(b"k", "theirs", True)], [])
    site.commit(lambda view: take_incarnation(view, site.log, site.site))
    assert seen(site) == before
    replica = replica_of(site)
    assert replica.backlog().changes == 2
    sent = replica.sendable(replica.read_changes(0, 10, 1 << 20))
    assert replica.unshipped_frames(sent) == []
    with IndexSite(tmp_path / "c", b"C" * 16) as third:
        identity = replica.identity()
        position = LogPosition(1, 2, b"c" * 32)
        await replica_of(third).record_pulled(PulledBatch((identity.site, identity.incarnation), position, sent))
        await replace_there_too(third, site)
        assert seen(third) == before


async def replace_there_too(third: IndexSite, site: IndexSite) -> None:
    """The third site takes in the other's log as the first did."""
    record = next(
        record
        for number in site.log.segment_numbers()
        for batch in site.log.scan(number).batches
        for record in site.log.records(number, batch.offset)
        if type(record).__name__ == "Imported"
    )
    await replica_of(third).record_pulled(PulledBatch(THERE, LogPosition(1, 2, b"c" * 32), list(record.changes)))


def test_what_stands_is_issued_whole_and_replayed_alike(site, tmp_path):
    site.put(UID, b"k", b"first")
    site.put(UID, b"k", b"second")
    site.put(UID, b"gone", b"third")
    site.commit(lambda view: view.put_user(UserRecord(id="u", name="kept")))
    before = seen(site)
    site.commit(lambda view: take_incarnation(view, site.log, site.site))
    assert seen(site) == before
    assert encode_record(before[1][0])
    dump = list(logical_dump(site.index, site.open_pages))
    site.close()
    for file in (tmp_path / "a" / "index").iterdir():
        file.unlink()
    with IndexSite(tmp_path / "a") as again:
        assert list(logical_dump(again.index, again.open_pages)) == dump
