"""Collisions that people must see: kept losers, broken conditions, two owners of one name, safer values."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from gateway.store.conflicts import count_conflicts, scan_conflicts
from gateway.store.document_format import AccessKeyRecord, BucketRecord, UserRecord
from gateway.store.item_format import bucket_uid
from gateway.store.object_format import Condition
from gateway.store.version_ids import NULL
from tests.gateway.store.index_site import SITE_B, IndexSite
from tests.gateway.store.workload import replica_of, ship_some

UID = bucket_uid("bk", "ann")


@pytest.fixture
def sites(tmp_path):
    with IndexSite(tmp_path / "a") as a, IndexSite(tmp_path / "b", SITE_B) as b:
        b.clock = itertools.count(1_700_000_050_000)  # what B does comes later
        a.commit(lambda view: view.put_bucket(BucketRecord(name="bk", owner="ann")))
        exchange(a, b)
        yield a, b


def exchange(*sites):
    async def ship(source, target):
        while batch := await ship_some(source, 50):
            await replica_of(target).record_pulled(batch)

    for source, target in itertools.permutations(sites, 2):
        asyncio.run(ship(source, target))


def both(sites, read):
    found = []
    for site in sites:
        with site.view() as view:
            found.append(read(view))
    assert found[0] == found[1]
    return found[0]


def test_a_collision_is_listed_with_both_values_until_the_loser_goes(sites):
    a, b = sites
    lost, won = a.put(UID, b"k", b"from a"), b.put(UID, b"k", b"from b")
    exchange(a, b)
    conflict = both(sites, lambda view: list(scan_conflicts(view)))[0]
    assert (conflict.bucket, conflict.key) == ("bk", b"k")
    assert conflict.winner._replace(contested=0) == won, "which had met nobody yet"
    assert [loser.order for loser in conflict.losers] == [lost.order]
    assert conflict.losers[0].record == lost.record
    assert both(sites, count_conflicts) == (1, 0, 0, 0)
    a.put(UID, b"k", b"newer")  # a later write replaces the winner; the loser stays
    exchange(a, b)
    assert [loser.order for loser in both(sites, lambda view: list(scan_conflicts(view)))[0].losers] == [lost.order]
    a.commit(lambda view: view.remove_version(UID, b"k", NULL))  # and does not come up when the key is deleted
    exchange(a, b)
    assert both(sites, lambda view: view.current(UID, b"k")) is None
    assert both(sites, lambda view: view.is_bucket_empty(UID)) is False
    assert both(sites, lambda view: [version.is_latest for version in view.scan_versions(UID)]) == [False]
    a.commit(lambda view: view.remove_version(UID, b"k", conflict.losers[0].id))
    exchange(a, b)
    assert both(sites, count_conflicts) == (0, 0, 0, 0)
    assert both(sites, lambda view: view.is_bucket_empty(UID)) is True


def test_a_delete_against_an_overwrite_keeps_whichever_is_later_and_no_value_is_lost(sites):
    a, b = sites
    a.put(UID, b"k", b"old")
    exchange(a, b)
    rewritten = a.put(UID, b"k", b"new")
    b.commit(lambda view: view.remove_version(UID, b"k", NULL))  # later, and unaware of it
    exchange(a, b)
    assert both(sites, lambda view: view.current(UID, b"k")) is None
    assert [loser.order for loser in both(sites, lambda view: next(scan_conflicts(view))).losers] == [rewritten.order]


def test_two_exclusive_creators_break_one_condition(sites):
    a, b = sites
    condition = Condition("If-None-Match", b"")
    a.put(UID, b"k", b"1", versioned=True, condition=condition)
    later = b.put(UID, b"k", b"2", versioned=True, condition=condition)
    exchange(a, b)
    found = both(sites, lambda view: next(scan_conflicts(view)))
    assert [(broken.header, broken.version.order) for broken in found.broken] == [("If-None-Match", later.order)]
    assert found.losers == ()
    assert both(sites, count_conflicts) == (0, 1, 0, 0)
    b.commit(lambda view: view.remove_version(UID, b"k", later.id))
    exchange(a, b)
    assert both(sites, count_conflicts) == (0, 0, 0, 0)


def test_conditions_that_held_are_not_reported(sites):
    a, b = sites
    first = a.put(UID, b"k", b"1", condition=Condition("If-None-Match", b""))
    exchange(a, b)
    second = b.put(UID, b"k", b"2", condition=Condition("If-Match", first.order))
    exchange(a, b)
    a.put(UID, b"k", b"3", condition=Condition("If-Match", second.order))
    a.commit(lambda view: view.remove_version(UID, b"k", NULL))
    a.put(UID, b"k", b"4", condition=Condition("If-None-Match", b""))
    version = a.put(UID, b"v", b"1", versioned=True)
    a.commit(lambda view: view.remove_version(UID, b"v", version.id))
    a.put(UID, b"v", b"2", versioned=True, condition=Condition("If-None-Match", b""))
    exchange(a, b)
    assert both(sites, count_conflicts) == (0, 0, 0, 0)


def test_an_if_match_that_raced_with_a_write_is_reported(sites):
    a, b = sites
    seen = a.put(UID, b"k", b"1")
    exchange(a, b)
    a.put(UID, b"k", b"2")
    guarded = b.put(UID, b"k", b"3", condition=Condition("If-Match", seen.order))
    exchange(a, b)
    found = both(sites, lambda view: next(scan_conflicts(view)))
    assert [broken.version.order for broken in found.broken] == [guarded.order]


def test_two_owners_of_one_name(sites):
    a, b = sites
    a.commit(lambda view: view.put_bucket(BucketRecord(name="same", owner="ann")))
    b.commit(lambda view: view.put_bucket(BucketRecord(name="same", owner="bob")))
    b.put(bucket_uid("same", "bob"), b"k", b"bob's")
    exchange(a, b)
    names = {
        bucket.record.owner: bucket.name for bucket in both(sites, lambda view: view.buckets()) if "same" in bucket.name
    }
    derived = "same--" + bucket_uid("same", "bob").hex()[:8]
    assert names == {"ann": "same", "bob": derived}
    assert both(sites, lambda view: view.bucket(derived)).uid == bucket_uid("same", "bob")
    assert both(sites, lambda view: view.bucket("same")).record.owner == "ann"
    a.commit(lambda view: view.delete_bucket(bucket_uid("same", "ann")))
    exchange(a, b)
    assert both(sites, lambda view: view.bucket("same")).record.owner == "bob"
    assert both(sites, lambda view: view.bucket(derived)) is None


def test_long_names_are_cut_to_63(sites):
    name = "n" * 63
    for site, owner in zip(sites, ("ann", "bob"), strict=True):
        site.commit(lambda view, owner=owner: view.put_bucket(BucketRecord(name=name, owner=owner)))
    exchange(*sites)
    derived = next(bucket.name for bucket in both(sites, lambda view: view.buckets("bob")))
    assert len(derived) == 63
    assert both(sites, lambda view: view.bucket(derived)).record.owner == "bob"


def test_a_deleted_bucket_comes_back_with_its_documents_if_it_was_written_to_meanwhile(sites):
    a, b = sites
    a.commit(lambda view: view.put_document(UID, "policy", b"P"))
    exchange(a, b)
    a.commit(lambda view: view.delete_bucket(UID))
    with a.view() as view:
        assert view.bucket("bk") is None
    written = b.put(UID, b"k", b"meanwhile")
    exchange(a, b)
    assert both(sites, lambda view: view.bucket("bk")).uid == UID
    assert both(sites, lambda view: view.document(UID, "policy")) == b"P"
    assert both(sites, lambda view: view.current(UID, b"k")) == written
    a.commit(lambda view: view.remove_version(UID, b"k", NULL))
    exchange(a, b)
    assert both(sites, lambda view: view.bucket("bk")) is None  # empty again: the delete holds
    b.commit(lambda view: view.put_bucket(BucketRecord(name="bk", owner="ann")))
    exchange(a, b)
    assert both(sites, lambda view: view.document(UID, "policy")) is None  # made anew: without its old documents


def test_public_access_stays_blocked_and_acls_stay_off(sites):
    a, b = sites
    for name, ones, others, result in (
        ("public-access-block", b"BlockPublicAcls", b"IgnorePublicAcls", b"BlockPublicAcls,IgnorePublicAcls"),
        ("public-access-block", b"BlockPublicAcls", None, b"BlockPublicAcls"),
        ("public-access-block", b"BlockPublicAcls", b"", b"BlockPublicAcls"),
        ("ownership", b"BucketOwnerEnforced", b"ObjectWriter", b"BucketOwnerEnforced"),
        ("ownership", b"BucketOwnerEnforced", None, b"BucketOwnerEnforced"),
        ("ownership", b"ObjectWriter", b"BucketOwnerPreferred", b"BucketOwnerPreferred"),
    ):
        a.commit(lambda view, name=name: view.put_document(UID, name, b"before"))
        exchange(a, b)
        a.commit(lambda view, name=name, body=ones: view.put_document(UID, name, body))
        b.commit(lambda view, name=name, body=others: view.put_document(UID, name, body))  # later, concurrent
        exchange(a, b)
        assert both(sites, lambda view, name=name: view.document(UID, name)) == result
        b.commit(lambda view, name=name: view.put_document(UID, name, None))  # having seen both: on purpose
        exchange(a, b)
        assert both(sites, lambda view, name=name: view.document(UID, name)) is None


def test_the_safer_value_wins(sites):
    a, b = sites
    a.commit(lambda view: view.put_document(UID, "versioning", b"Enabled"))
    b.commit(lambda view: view.put_document(UID, "versioning", b"Suspended"))  # later, concurrent
    a.commit(lambda view: view.put_document(UID, "policy", b"earlier"))
    b.commit(lambda view: view.put_document(UID, "policy", b"later"))
    for site in sites:
        site.commit(lambda view: view.put_user(UserRecord(id="u", name="U")))
        site.commit(lambda view: view.put_access_key(AccessKeyRecord(id="K", user="u", secret="s")))
    exchange(a, b)
    assert both(sites, lambda view: view.bucket("bk")).versioning == "Enabled"
    assert both(sites, lambda view: view.document(UID, "policy")) == b"later"
    a.commit(lambda view: view.put_user(UserRecord(id="u", name="U", disabled=True)))
    a.commit(lambda view: view.delete_access_key("K"))
    b.commit(lambda view: view.put_user(UserRecord(id="u", name="renamed")))
    b.commit(lambda view: view.put_access_key(AccessKeyRecord(id="K", user="u", secret="rotated")))
    exchange(a, b)
    assert both(sites, lambda view: view.user("u").disabled) is True
    assert both(sites, lambda view: view.access_key("K")) is None
    b.commit(lambda view: view.put_user(UserRecord(id="u", name="again")))  # having seen both: enabled on purpose
    exchange(a, b)
    assert both(sites, lambda view: view.user("u")) == UserRecord(id="u", name="again")


def test_versions_are_kept_where_one_site_locks_what_another_suspends(sites):
    a, b = sites
    a.commit(lambda view: view.put_document(UID, "versioning", b"Enabled"))
    exchange(a, b)
    a.commit(lambda view: view.put_document(UID, "versioning", b"Suspended"))
    b.commit(lambda view: view.put_document(UID, "object-lock", b"\1\2locked"))
    exchange(a, b)
    assert both(sites, lambda view: view.bucket("bk").versioning) == "Enabled"
    assert both(sites, lambda view: view.document(UID, "versioning")) == b"Enabled"
