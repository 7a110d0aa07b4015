"""A log that parted from the cloud's goes on under another site id: same state, same index after a rebuild, no dot of
the old log left in what is sent, conditions and documents that still find what they are about.
"""

from __future__ import annotations

import asyncio
import os
import random
from pathlib import Path

import pytest

from gateway.store.conflicts import count_conflicts
from gateway.store.document_format import UserRecord
from gateway.store.history import History
from gateway.store.logical_dump import logical_dump
from gateway.store.object_format import Condition, ObjectRecord, decode_object
from gateway.store.version_document_format import HOLD_ON
from replication.change_format import decode_change
from replication.ports import LogPosition, PulledBatch, Reissue
from tests.gateway.store.index_site import SITE_B, IndexSite
from tests.gateway.store.recount import recount
from tests.gateway.store.workload import Workload, replica_of

UID = b"u" * 16


@pytest.fixture
def site(tmp_path: Path):
    with IndexSite(tmp_path / "a") as opened:
        yield opened


def reissue_of(site: IndexSite, *, known_seq: int = 0, named_seq: int = 0, common=None) -> Reissue:
    identity = replica_of(site).identity()
    log = (identity.site, identity.incarnation)
    common = common or LogPosition(*((1, known_seq, b"c" * 32) if known_seq else (0, 0, bytes(32))))
    return Reissue(log, common, known_seq, named_seq, os.urandom(16), os.urandom(8), "told by a test")


async def part(site: IndexSite, **given) -> Reissue:
    reissue = reissue_of(site, **given)
    await replica_of(site).issue_anew(reissue)
    return reissue


def changes_of(site: IndexSite):
    return [decode_change(data) for data in replica_of(site).read_changes(0, 10_000, 1 << 30)]


def seen(site: IndexSite):
    with site.view() as view:
        return [
            (version.key, version.record.etag, version.is_latest, sorted(view.version_documents(UID, version).items()))
            for version in view.scan_versions(UID)
        ]


def dump_of(site: IndexSite) -> list:
    return list(logical_dump(site.index, site.open_pages))


def rebuilt_dump(site: IndexSite, path: Path) -> list:
    site.close()
    for file in (path / "index").iterdir():
        file.unlink()
    with IndexSite(path) as again:
        return dump_of(again)


@pytest.mark.parametrize("seed", range(6))
def test_a_random_site_is_the_same_afterwards_and_after_a_rebuild(site, tmp_path, seed):
    Workload(site, random.Random(seed)).run(60)
    replica, before = replica_of(site), None
    shipped = replica.shipped()
    with site.view() as view:
        before = [version.record for version in view.scan_versions(UID)], view.users(), count_conflicts(view).conflicts
    reissue = asyncio.run(part(site, known_seq=shipped.seq, common=shipped))
    with site.view() as view:
        assert (
            [version.record for version in view.scan_versions(UID)],
            view.users(),
            count_conflicts(view).conflicts,
        ) == before
    for change in changes_of(site):
        assert change.dot[:2] == (reissue.site, reissue.incarnation)
        for old in change.replaces:
            assert old[:2] != reissue.former or old.seq <= shipped.seq
    recount(site.index, site.open_pages)
    dump = dump_of(site)
    assert rebuilt_dump(site, tmp_path / "a") == dump


async def test_documents_and_conditions_go_with_what_they_are_about(site, tmp_path):
    null = site.put(UID, b"k", b"x")
    version = site.put(UID, b"v", b"x", versioned=True)
    for each in (null, version):
        for name, body in (("tags", b"<t/>"), ("hold", HOLD_ON)):
            site.commit(lambda view, each=each, name=name, body=body: view.put_version_document(UID, each, name, body))
    record = ObjectRecord(etag="second", condition=Condition("If-Match", null.order))
    site.commit(lambda view: view.put_object(UID, b"k", record, versioned=True))
    before = seen(site)
    await part(site)
    assert seen(site) == before
    with site.view() as view:
        orders = {(each.key, each.record.etag): each.order for each in view.scan_versions(UID)}
        assert count_conflicts(view).broken_conditions == 0
    conditions = [decode_object(change.body).condition for change in changes_of(site) if b"second" in change.body]
    assert conditions == [Condition("If-Match", orders[b"k", b"x".hex()])]
    with IndexSite(tmp_path / "b", SITE_B) as other:
        identity, sent = replica_of(site).identity(), replica_of(site).read_changes(0, 100, 1 << 20)
        position = LogPosition(1, len(sent), b"c" * 32)
        await replica_of(other).record_pulled(PulledBatch((identity.site, identity.incarnation), position, sent))
        assert seen(other) == before
        with other.view() as view:
            assert count_conflicts(view).broken_conditions == 0


async def test_what_stands_in_the_cloud_is_not_applied_twice(site):
    """Another site replaced it meanwhile, and its log happens to be taken in first."""
    put = site.put(UID, b"k", b"ours")
    await part(site, known_seq=1, common=LogPosition())
    replica = replica_of(site)
    former = replica.former_logs()[0]
    theirs = (SITE_B, b"B-incarn")
    with IndexSite(site.directory.path.parent / "b", SITE_B) as other:
        site_b = replica_of(other)
        own = next(site.log.records(*place) for place in places_of_own(site))[-1].change
        await site_b.record_pulled(PulledBatch(former, LogPosition(1, 1, b"c" * 32), [own]))
        other.put(UID, b"k", b"theirs")
        theirs = (site_b.identity().site, site_b.identity().incarnation)
        sent = site_b.read_changes(0, 9, 1 << 20)
    await replica.record_pulled(PulledBatch(theirs, LogPosition(1, 1, b"d" * 32), sent))
    await replica.record_pulled(PulledBatch(former, LogPosition(1, 1, b"c" * 32), [own]))
    assert [etag for _, etag, _, _ in seen(site)] == [b"theirs".hex()]
    assert put.order


def places_of_own(site: IndexSite):
    for number in site.log.segment_numbers():
        for batch in site.log.scan(number).batches:
            if any(type(record).__name__ == "Own" for record in site.log.records(number, batch.offset)):
                yield number, batch.offset


async def test_writes_that_wait_meanwhile_are_each_in_one_log(site):
    replica = replica_of(site)

    async def write(number: int) -> None:
        user = UserRecord(id=f"u{number:03}", name="n")
        await site.committer.commit(lambda view: view.put_user(user))

    reissue = reissue_of(site)
    tasks = [asyncio.create_task(write(number)) for number in range(100)]
    tasks.append(asyncio.create_task(replica.issue_anew(reissue)))
    tasks += [asyncio.create_task(write(number)) for number in range(100, 200)]
    await asyncio.gather(*tasks)
    changes = changes_of(site)
    assert [change.dot for change in changes] == [
        (reissue.site, reissue.incarnation, seq) for seq in range(1, len(changes) + 1)
    ]
    assert sorted(change.item for change in changes) == [b"u%03d" % number for number in range(200)]


async def test_who_follows_the_log_misses_nothing_and_reads_nothing_twice(site):
    replica = replica_of(site)
    first = replica.identity().incarnation
    for key in (b"a", b"b", b"c", b"d"):
        site.put(UID, key, key)
    await part(site, known_seq=2)
    site.put(UID, b"e", b"e")

    def follow(incarnation: bytes, seq: int) -> bytes:
        told = b""
        while (found := replica.read_on(incarnation, seq, 1)).changes:
            told += b"".join(decode_change(data).item[-1:] for data in found.changes)
            incarnation, seq = found.incarnation, found.after_seq + len(found.changes)
        return told

    assert [follow(first, seq) for seq in range(5)] == [b"abcde", b"bcde", b"cde", b"de", b"e"]
    assert follow(b"strange!", 7) == b"cde"


async def test_a_bucket_as_it_was_knows_one_of_each(site):
    site.put(UID, b"k", b"1")
    site.put(UID, b"gone", b"2")
    await part(site)
    site.put(UID, b"k", b"3")
    with site.view() as view:
        now = view.current(UID, b"gone")
    site.commit(lambda view: view.remove_version(UID, b"gone", now.id))
    history = History(site.view, site.log, site.shared)
    found = [(past.key, past.record.etag) for past in history.objects_at(UID, 1 << 45)]
    assert found == [(b"k", b"3".hex())]
