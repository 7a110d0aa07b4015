"""Permanent deletes of versions against locks that they had not seen: the same on every site, in every order."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from gateway.store.conflicts import count_conflicts
from gateway.store.document_format import BucketRecord
from gateway.store.item_format import bucket_uid
from gateway.store.own_changes import take_incarnation
from gateway.store.purge_format import (
    LOCK_NAME_SIZE,
    UNCONDITIONAL,
    Hidden,
    Tombstone,
    decode_purge,
    decode_tombstone,
    encode_purge,
    encode_tombstone,
    is_removed,
    lock_name,
)
from gateway.store.version_document_format import (
    HOLD,
    HOLD_OFF,
    HOLD_ON,
    MODE_GOVERNANCE,
    RETENTION,
    Retention,
    encode_retention,
)
from replication.change_format import ChangeInvalid, ChangeTooNew, decode_change
from replication.crdt import Dot, Write
from tests.gateway.store.index_site import SITE_A, SITE_B, SITE_C, IndexSite
from tests.gateway.store.recount import recount
from tests.gateway.store.workload import replica_of, ship_some

UID = bucket_uid("bk", "ann")
KEY = b"k"
UNTIL = encode_retention(Retention(MODE_GOVERNANCE, 1_900_000_000_000))


@pytest.fixture
def sites(tmp_path):
    with IndexSite(tmp_path / "a") as a, IndexSite(tmp_path / "b", SITE_B) as b:
        b.clock = itertools.count(1_700_000_050_000)
        a.commit(lambda view: view.put_bucket(BucketRecord(name="bk", owner="ann")))
        exchange(a, b)
        yield a, b


def exchange(*sites):
    for source, target in itertools.permutations(sites, 2):
        while batch := asyncio.run(ship_some(source, 50)):
            asyncio.run(replica_of(target).record_pulled(batch))


def shown(site):
    with site.view() as view:
        return [(row.id.text, row.order, row.is_latest, row.record.metadata) for row in view.scan_versions(UID)]


def void(site):
    with site.view() as view:
        return count_conflicts(view).void_purges


def lock(site, version, name=HOLD, body=HOLD_ON):
    site.commit(lambda view: view.put_version_document(UID, version, name, body))


def purge(site, version):
    assert site.commit(lambda view: view.remove_version(UID, KEY, version.id)) is not None


@pytest.mark.parametrize(("name", "body"), [(HOLD, HOLD_ON), (RETENTION, UNTIL)])
def test_a_lock_wins_over_a_purge_that_had_not_seen_it(sites, name, body):
    a, b = sites
    version = a.put(UID, KEY, b"bytes", versioned=True, metadata={"of": "locked"})
    exchange(a, b)
    before = shown(a)
    lock(a, version, name, body)
    purge(b, version)  # later, by the clock, which plays no part
    assert shown(b) == []
    exchange(a, b)
    assert shown(a) == shown(b) == before
    assert void(a) == void(b) == 1
    for site in sites:
        with site.view() as view:
            found = view.version(UID, KEY, version.id)
            assert view.version_documents(UID, found) == {name: body}
            assert view.current(UID, KEY).order == version.order
        recount(site.index, site.open_pages)


def test_a_void_purge_stays_void_when_the_lock_is_lifted_and_a_new_one_stands(sites):
    a, b = sites
    version = a.put(UID, KEY, b"bytes", versioned=True)
    exchange(a, b)
    lock(a, version)
    purge(b, version)
    lock(a, version, HOLD, HOLD_OFF)  # before it heard of the purge
    exchange(a, b)
    assert shown(a) == shown(b) != []
    lock(b, version, HOLD, None)
    exchange(a, b)
    assert shown(a) == shown(b) != []
    purge(a, version)
    exchange(a, b)
    assert shown(a) == shown(b) == []
    assert void(a) == void(b) == 0
    for site in sites:
        with site.view() as view:
            assert view.is_bucket_empty(UID)
        recount(site.index, site.open_pages)


def test_a_purge_that_saw_the_lock_stands(sites):
    a, b = sites
    version = a.put(UID, KEY, b"bytes", versioned=True)
    lock(a, version, RETENTION, UNTIL)
    exchange(a, b)
    purge(b, version)  # governance, bypassed
    exchange(a, b)
    assert shown(a) == shown(b) == []
    assert void(a) == 0


def test_of_two_purges_the_one_that_saw_the_lock_counts(sites):
    a, b = sites
    version = a.put(UID, KEY, b"bytes", versioned=True)
    exchange(a, b)
    lock(a, version)
    purge(b, version)
    purge(a, version)
    exchange(a, b)
    assert shown(a) == shown(b) == []


def test_every_order_of_arrival_shows_the_same(tmp_path):
    with (
        IndexSite(tmp_path / "a") as a,
        IndexSite(tmp_path / "b", SITE_B) as b,
        IndexSite(tmp_path / "c", SITE_C) as c,
    ):
        a.commit(lambda view: view.put_bucket(BucketRecord(name="bk", owner="ann")))
        version = a.put(UID, KEY, b"bytes", versioned=True, metadata={"of": "locked"})
        logs = {"a": asyncio.run(ship_some(a, 50))}
        for site in (b, c):
            asyncio.run(replica_of(site).record_pulled(logs["a"]))
        lock(b, version)
        purge(c, version)
        c.put(UID, KEY, b"above", versioned=True)
        logs |= {name: asyncio.run(ship_some(site, 50)) for name, site in (("b", b), ("c", c))}
        seen = []
        for number, order in enumerate(itertools.permutations("abc")):
            with IndexSite(tmp_path / f"d{number}", bytes([number]) * 16) as d:
                for name in order:
                    asyncio.run(replica_of(d).record_pulled(logs[name]))
                seen.append((shown(d), void(d)))
                recount(d.index, d.open_pages)
        assert all(each == seen[0] for each in seen)
        assert [row[1] for row in seen[0][0]].count(version.order) == 1
        assert seen[0][1] == 1


def test_a_lock_issued_anew_is_the_lock_that_was_seen(sites):
    a, b = sites
    version = a.put(UID, KEY, b"bytes", versioned=True)
    exchange(a, b)
    lock(b, version)
    purge(b, version)
    b.commit(lambda view: take_incarnation(view, b.log, SITE_B))
    exchange(a, b)
    assert shown(a) == shown(b) == []


def test_a_purge_says_what_it_needs_of_its_reader(sites):
    a, _ = sites
    version = a.put(UID, KEY, b"bytes", versioned=True)
    purge(a, version)
    change = decode_change(replica_of(a).read_changes(0, 99, 1 << 20)[-1])
    assert (change.version, change.replaces, decode_purge(change.body)) == (2, (), frozenset())
    a.commit(lambda view: take_incarnation(view, a.log, SITE_A))
    assert shown(a) == []


# pure


def names(*letters):
    return frozenset(letter.encode() * LOCK_NAME_SIZE for letter in letters)


def test_laws():
    some, all_ = encode_purge(names("a")), encode_purge(names("a", "b"))
    assert not is_removed([], names())
    assert is_removed([encode_purge(())], names())
    assert is_removed([some], names("a"))
    assert not is_removed([some], names("a", "b"))
    assert not is_removed([some], names("b"))
    assert is_removed([some, all_], names("b"))
    assert is_removed([some, UNCONDITIONAL], names("a", "b", "c"))


def test_what_is_written_is_read():
    for saw in (frozenset(), names("x"), names(*"abcdefghijklmnopqrst")):
        assert decode_purge(encode_purge(saw)) == saw
        for hidden in (None, Hidden(b"o" * 40, b"body")):
            tombstone = Tombstone(encode_purge(saw), hidden)
            assert decode_tombstone(encode_tombstone(tombstone)) == tombstone
    assert decode_purge(UNCONDITIONAL) is None
    assert decode_tombstone(encode_tombstone(Tombstone(UNCONDITIONAL, None))) == Tombstone(UNCONDITIONAL, None)
    for bad in (b"drop", b"\x92\x01\x91\xc4\x01a", b"\x90"):
        with pytest.raises(ChangeInvalid):
            decode_purge(bad)
    with pytest.raises(ChangeTooNew):
        decode_purge(b"\x92\x02\x90")


def test_a_lock_is_named_by_what_it_says_and_when():
    write = Write(Dot(SITE_A, bytes(8), 1), 5, False, HOLD_ON)
    anew = Write(Dot(SITE_B, bytes(8), 7), 5, False, HOLD_ON)
    assert lock_name(HOLD, write) == lock_name(HOLD, anew)
    others = [
        lock_name(RETENTION, write),
        lock_name(HOLD, Write(write.dot, 6, False, HOLD_ON)),
        lock_name(HOLD, Write(write.dot, 5, True, HOLD_ON)),
        lock_name(HOLD, Write(write.dot, 5, False, HOLD_OFF)),
    ]
    assert len({lock_name(HOLD, write), *others}) == 5
