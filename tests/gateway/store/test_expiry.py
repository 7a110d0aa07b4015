"""Expiring a version on one site or on two at once: one marker, and nothing that was not seen is hidden or lost."""

from __future__ import annotations

import pytest

from gateway.s3.object_lock import LockConfiguration, encode_configuration
from gateway.store.document_format import BucketRecord
from gateway.store.item_format import bucket_uid
from gateway.store.object_format import ObjectRecord
from gateway.store.version_ids import NULL
from replication.ports import LogPosition, PulledBatch
from tests.gateway.store.index_site import SITE_B, SITE_C, IndexSite
from tests.gateway.store.workload import replica_of

UID = bucket_uid("bk", "ann")
KEY = b"k"


@pytest.fixture
def site(tmp_path):
    with IndexSite(tmp_path / "a") as opened:
        opened.commit(lambda view: view.put_bucket(BucketRecord(name="bk", owner="ann")))
        yield opened


@pytest.fixture
def other(tmp_path):
    with IndexSite(tmp_path / "b", SITE_B) as opened:
        yield opened


def rows(site):
    """(text of the id, marker, latest, name) of every version of the key."""
    with site.view() as view:
        return [
            (row.id.text, row.record.marker, row.is_latest, row.record.metadata.get("of", ""))
            for row in view.scan_versions(UID)
        ]


def expire(site, version, *, marked=True):
    marker = ObjectRecord(marker=True, modified_ms=5, owner="ann") if marked else None
    return site.commit(lambda view: view.expire_version(UID, version, marker))


async def pull(source, target):
    replica, into = replica_of(source), replica_of(target)
    origin = (source.site, replica.identity().incarnation)
    known = into.pulled().get(origin, LogPosition(0, 0))
    changes = replica.read_changes(known.seq, 1000, 1 << 24)
    if changes:
        position = LogPosition(known.n + 1, known.seq + len(changes), bytes(32))
        shipped = replica.shipped()
        if position.seq > shipped.seq:  # nobody has what was not shipped
            await replica.record_shipped(LogPosition(shipped.n + 1, position.seq, bytes(32)), [])
        await into.record_pulled(PulledBatch(origin, position, changes, [], [], {}, 0))


async def exchange(site, other):
    await pull(site, other)
    await pull(other, site)


@pytest.mark.parametrize("versioned", [True, False])
async def test_two_sites_make_one_marker(site, other, versioned):
    version = site.put(UID, KEY, b"x", versioned=versioned, metadata={"of": "victim"})
    await exchange(site, other)
    other.clock = iter(range(1, 1000))  # clocks play no part in it
    mine, theirs = expire(site, version), expire(other, version)
    assert mine.id == theirs.id != version.id
    await exchange(site, other)
    expected = [(mine.id.text, True, True, ""), (version.id.text, False, False, "victim")]
    assert rows(site) == rows(other) == expected


async def test_a_write_that_was_not_seen_stays_on_top(site, other):
    version = site.put(UID, KEY, b"x", versioned=True, metadata={"of": "victim"})
    await exchange(site, other)
    other.put(UID, KEY, b"y", versioned=True, metadata={"of": "new"})
    site.clock = iter(range(1_800_000_000_000, 1_800_000_001_000))  # expires long after, by its clock
    expire(site, version)
    await exchange(site, other)
    assert rows(site) == rows(other)
    assert [(marker, latest, name) for _, marker, latest, name in rows(site)] == [
        (False, True, "new"),
        (True, False, ""),
        (False, False, "victim"),
    ]


async def test_in_the_null_slot_a_write_that_was_not_seen_wins_and_nothing_is_a_conflict(site, other):
    version = site.put(UID, KEY, b"x", metadata={"of": "victim"})
    await exchange(site, other)
    other.put(UID, KEY, b"y", metadata={"of": "new"})
    site.clock = iter(range(1_800_000_000_000, 1_800_000_001_000))
    assert expire(site, version, marked=False).id == NULL
    assert rows(site) == []
    await exchange(site, other)
    assert rows(site) == rows(other) == [("null", False, True, "new")]


async def test_expired_on_two_sites_a_null_object_is_gone_and_can_come_again(site, other):
    version = site.put(UID, KEY, b"x", metadata={"of": "victim"})
    await exchange(site, other)
    expire(site, version, marked=False)
    expire(other, version, marked=False)
    await exchange(site, other)
    assert rows(site) == rows(other) == []
    site.put(UID, KEY, b"y", metadata={"of": "again"})
    await exchange(site, other)
    assert rows(site) == rows(other) == [("null", False, True, "again")]


async def test_a_kept_loser_does_not_come_back_when_the_winner_expires(site, other):
    await exchange(site, other)
    site.put(UID, KEY, b"x", metadata={"of": "mine"})
    other.put(UID, KEY, b"y", metadata={"of": "theirs"})
    await exchange(site, other)
    with site.view() as view:
        winner = view.current(UID, KEY)
    expire(site, winner, marked=False)
    await exchange(site, other)
    assert rows(site) == rows(other)
    assert [(name[:9], latest) for name, _, latest, _ in rows(site)] == [("conflict-", False)]


async def test_a_marker_that_was_removed_for_good_is_not_made_again(site, other, tmp_path):
    version = site.put(UID, KEY, b"x", versioned=True)
    await exchange(site, other)
    first = expire(site, version)
    site.commit(lambda view: view.remove_version(UID, KEY, first.id))
    await exchange(site, other)
    again, theirs = expire(site, version), expire(other, version)
    assert again.id == theirs.id != first.id
    await exchange(site, other)
    assert rows(site) == rows(other)
    assert [(row[0], row[2]) for row in rows(site)] == [(again.id.text, True), (version.id.text, False)]
    with IndexSite(tmp_path / "c", SITE_C) as third:
        await pull(other, third)  # the other order
        await pull(site, third)
        assert rows(third) == rows(site)


async def test_a_version_that_is_gone_or_replaced_is_not_expired(site):
    version = site.put(UID, KEY, b"x")
    site.put(UID, KEY, b"y", metadata={"of": "new"})
    assert expire(site, version, marked=False) is None
    assert expire(site, version) is None
    assert rows(site) == [("null", False, True, "new")]


async def test_a_rebuilt_index_is_equal(site):
    for versioned in (True, False):
        version = site.put(UID, KEY + bytes((versioned + 97,)), b"x", versioned=versioned)
        expire(site, version)
        expire(site, site.put(UID, KEY + b"z", b"x"), marked=False)
    before = rows(site)
    site.committer.close()
    site.index.close()
    for file in site.directory.index.parent.glob(site.directory.index.name + "*"):
        file.unlink() if file.is_file() else [child.unlink() for child in file.iterdir()]
    site.reopen_index()
    assert rows(site) == before


async def test_of_two_object_lock_configurations_the_safer_applies(site, other):
    bodies = [
        encode_configuration(LockConfiguration("COMPLIANCE", days=3)),
        encode_configuration(LockConfiguration("GOVERNANCE", years=3)),
    ]
    await exchange(site, other)
    site.commit(lambda view: view.put_document(UID, "object-lock", bodies[0]))
    other.clock = iter(range(1_800_000_000_000, 1_800_000_001_000))  # the weaker one is later
    other.commit(lambda view: view.put_document(UID, "object-lock", bodies[1]))
    await exchange(site, other)
    for each in (site, other):
        with each.view() as view:
            assert view.document(UID, "object-lock") == bodies[0]
    other.commit(lambda view: view.put_document(UID, "object-lock", bodies[1]))  # has seen both: a decision
    with other.view() as view:
        assert view.document(UID, "object-lock") == bodies[1]
