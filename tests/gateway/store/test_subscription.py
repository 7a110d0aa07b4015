"""A site that takes in some buckets is, as far as those go, the same as one that takes in all, also if it widens."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from gateway.store.document_format import BucketRecord
from gateway.store.item_format import FAMILY_VERSION_DOCUMENT
from gateway.store.logical_dump import logical_dump
from gateway.store.object_format import ObjectRecord
from gateway.store.rebuild import rebuild_index
from gateway.store.subscription_rows import SubscriptionRow, read_subscription
from replication.ports import StateNotReady
from replication.subscription import check_patterns, covers, covers_all, matches
from tests.gateway.store.index_site import IndexSite
from tests.gateway.store.recount import recount
from tests.gateway.store.test_state_fold import (
    Realm,
    content_of,
    export,
    join,
    make_realm,  # noqa: F401 - a fixture
    pull_some,
    state_of,
)
from tests.gateway.store.workload import replica_of


def test_names_and_beginnings_of_names():
    assert matches(("photos", "logs-*"), "logs-2026")
    assert matches(("*",), "anything")
    assert not matches(("photos", "logs-*"), "photos2")
    assert covers(("logs-*",), "logs-a*")
    assert covers(("logs-*",), "logs-a")
    assert not covers(("logs-a",), "logs-*")
    assert covers(("*",), "*")
    assert covers_all((), ("a", "b*"))
    assert not covers_all(("a",), ())
    assert check_patterns(("photos", "logs-*", "*")) is None
    assert "a*b" in str(check_patterns(("photos", "a*b")))


def uids_of(site: IndexSite, name: str) -> set[bytes]:
    with site.view() as view:
        return {
            key[-16:]
            for key, _ in view.transaction.scan(view.transaction.tables.names, name.encode() + b"\0")
            if key.startswith(name.encode() + b"\0")
        }


def restricted(site: IndexSite, uids: set[bytes]) -> dict[object, object]:
    """What a dump tells of buckets with these uids, and of everything that is no object."""
    found: dict[object, object] = {}
    for (table, key), value in content_of(
        site, tables=("items", "names", "marks", "counts", "conflicts", "heads", "versions")
    ).items():
        if (table, key) == ("counts", b""):
            continue
        of_object = table in ("counts", "conflicts", "heads", "versions")
        if table == "items" and key[0] == FAMILY_VERSION_DOCUMENT:
            of_object, key_uid = True, key[1:17]
        else:
            key_uid = key[:16]
        if not of_object or key_uid in uids:
            found[table, key] = value
    return found


def subscribe(site: IndexSite, *patterns: str) -> None:
    asyncio.run(state_of(site).subscribe(patterns))


def open_shop(realm: Realm, shop: IndexSite) -> None:
    """It takes in one bucket, and has heard of the names of all: those of unknown name would be taken in."""
    subscribe(shop, "one")
    asyncio.run(replica_of(shop).record_pulled(realm.logs[0][0]))


def full(realm: Realm) -> IndexSite:
    site = realm.fresh(b"R" * 16)
    realm.pull_all(site)
    return site


def check(realm: Realm, site: IndexSite, *names: str) -> None:
    whole = full(realm)
    uids = set().union(*[uids_of(whole, name) for name in names])
    assert restricted(site, uids) == restricted(whole, uids)
    heads = {key for (table, key) in content_of(site, tables=("heads",)) if table == "heads"}
    assert {key[:16] for key in heads} <= uids
    assert replica_of(site).pulled() == replica_of(whole).pulled()
    with site.view() as view, whole.view() as complete:
        assert [one.uid for one in view.buckets()] == [
            one.uid for one in complete.buckets() if one.record.name in names
        ]
        assert read_subscription(view.transaction).high == ()
    recount(site.index, site.open_pages)
    before = list(logical_dump(site.index, site.open_pages))
    site.committer.close()
    site.index.close()
    rebuild_index(site.directory, site.log, site.reader, site.open_pages, map_size=1 << 30)
    site.reopen_index()
    after = list(logical_dump(site.index, site.open_pages))
    assert [row for row in before if row not in after] == [row for row in after if row not in before] == []


@pytest.fixture
def realm(make_realm):  # noqa: F811
    def make(seed: int) -> Realm:
        made = make_realm(seed)
        for owner, name in itertools.product(("ann", "bob"), ("one", "two")):  # names are known before their objects
            made.sites[0].commit(
                lambda view, name=name, owner=owner: view.put_bucket(BucketRecord(name=name, owner=owner))
            )
        made.ship_all()
        for n, site in enumerate(made.sites):
            made.pull_all(site, n)
        return made

    return make


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("by_checkpoint", [False, True])
def test_some_buckets_only(realm, seed, by_checkpoint):
    realm = realm(seed)
    shop = realm.fresh(b"J" * 16)
    open_shop(realm, shop)
    realm.live(6)
    if by_checkpoint:
        vector, slices = export(realm.sites[0], lambda: realm.step(realm.rng.randrange(3)))
        realm.ship_all()
        join(shop, vector, slices)
    realm.live(2)
    realm.ship_all()
    realm.pull_all(shop)
    check(realm, shop, "one")


@pytest.mark.parametrize("seed", range(10, 16))
@pytest.mark.parametrize("by_checkpoint", [False, True])
def test_subscribing_later_loses_nothing(realm, seed, by_checkpoint):
    realm = realm(seed)
    rng = random.Random(seed)
    shop = realm.fresh(b"J" * 16)
    open_shop(realm, shop)
    realm.live(4)
    vector, slices = export(realm.sites[0], lambda: realm.step(realm.rng.randrange(3)))
    realm.ship_all()
    if rng.random() < 0.5:
        realm.pull_all(shop)
    else:
        pull_some(shop, realm.logs, rng, -1, 3)
    realm.live(2)
    realm.ship_all()
    pull_some(shop, realm.logs, rng, -1, rng.randrange(9))
    before = replica_of(shop).pulled()
    subscribe(shop, "one", "two")
    assert replica_of(shop).pulled() == {}
    assert replica_of(shop).heard() == before
    with shop.view() as view:  # half of it would pass for the whole
        assert view.bucket("two") is None
        assert {bucket.record.name for bucket in view.buckets()} <= {"one"}
    with pytest.raises(StateNotReady):
        state_of(shop).begin_export()
    if by_checkpoint:
        join(shop, vector, slices)
    realm.live(1)
    realm.ship_all()
    realm.pull_all(shop)
    check(realm, shop, "one", "two")
    assert state_of(shop).subscribed() == ("one", "two")


def test_what_a_rewind_hid_is_seen_when_it_is_over(realm):
    """By who looked all the while, too, although the last batch tells of no bucket."""
    realm = realm(7)
    shop = realm.fresh(b"J" * 16)
    open_shop(realm, shop)
    realm.pull_all(shop)
    uid = min(uids_of(realm.sites[0], "one"))
    record = ObjectRecord(size=0, etag="0" * 32, modified_ms=1)
    for n, site in enumerate(realm.sites):
        site.commit(lambda view: view.put_object(uid, b"the last", record, versioned=False))
        assert realm.ship(n, 100)
    realm.pull_all(shop)
    subscribe(shop, "one", "two")
    hidden = 0
    while read_row(shop).high:
        with shop.view() as view:
            assert view.bucket("two") is None
            hidden += 1
        pull_some(shop, realm.logs, realm.rng, -1, 1)
    assert hidden > 3
    with shop.view() as view:
        assert view.bucket("two") is not None


def read_row(site: IndexSite) -> SubscriptionRow:
    with site.view() as view:
        return read_subscription(view.transaction)


def test_a_narrower_subscription_hides_and_goes_on_taking_in(realm):
    realm = realm(3)
    shop = full(realm)
    realm.live(3)
    realm.ship_all()
    subscribe(shop, "two")
    positions = replica_of(shop).pulled()
    assert positions
    realm.pull_all(shop)
    with shop.view() as view:
        assert {bucket.record.name for bucket in view.buckets()} <= {"two"}
        assert view.bucket("one") is None
        assert view.is_elsewhere("one") is bool(uids_of(shop, "one"))
        assert not view.is_elsewhere("none")
    subscribe(shop)
    assert replica_of(shop).pulled() != {}
    with shop.view() as view:
        assert not view.is_elsewhere("one")


def test_a_checkpoint_says_what_it_holds(realm):
    realm = realm(5)
    shop = realm.fresh(b"J" * 16)
    subscribe(shop, "one")
    realm.pull_all(shop)
    assert state_of(shop).begin_export().holds == ("one",)
    assert state_of(realm.sites[0]).begin_export().holds == ()
