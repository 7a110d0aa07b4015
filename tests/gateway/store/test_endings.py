"""What is dead in the index, by kind: what is ended with it, what keeps it, and that nothing else is touched."""

from __future__ import annotations

import asyncio
import itertools

import pytest

from gateway.events.happenings import read_happenings
from gateway.store.document_format import BucketRecord, UserRecord
from gateway.store.graveyard import StoreGraveyard
from gateway.store.item_format import bucket_uid
from gateway.store.logical_dump import logical_dump
from gateway.store.object_format import ObjectRecord
from gateway.store.version_document_format import HOLD, HOLD_ON
from gateway.store.version_ids import NULL
from replication.change_format import decode_change
from replication.collection_ports import Horizon
from tests.gateway.store.index_site import SITE_A, SITE_B, IndexSite
from tests.gateway.store.recount import recount
from tests.gateway.store.workload import replica_of, ship_some

UID = bucket_uid("bk", "ann")
KEY = b"k"


@pytest.fixture
def sites(tmp_path):
    with IndexSite(tmp_path / "a") as a, IndexSite(tmp_path / "b", SITE_B) as b:
        b.clock = itertools.count(1_700_000_050_000)
        a.commit(lambda view: view.put_bucket(BucketRecord(name="bk", owner="ann")))
        exchange(a, b)
        yield a, b
        for site in (a, b):
            recount(site.index, site.open_pages)


def exchange(*sites):
    for source, target in itertools.permutations(sites, 2):
        while batch := asyncio.run(ship_some(source, 50)):
            asyncio.run(replica_of(target).record_pulled(batch))


def cut_of(site):
    """All that is here, as if everybody had it."""
    replica = replica_of(site)
    own = {(replica.identity().site, replica.identity().incarnation): replica.last_seq()}
    return {**{origin: position.seq for origin, position in replica.pulled().items()}, **own}


def end(site, cut=None):
    """End what can be: how much that was, and why the rest is kept."""
    graveyard = StoreGraveyard(site.view, site.committer)
    asyncio.run(graveyard.record_horizon(Horizon(cut_of(site) if cut is None else cut, {}, 1)))
    found = graveyard.find_tombstones(lambda site: True, b"", 1 << 30)
    return asyncio.run(graveyard.end_tombstones(found.due)), dict(found.kept)


def dump(site):
    return [
        row for row in logical_dump(site.index, site.open_pages) if row[0] in ("heads", "versions", "items", "marks")
    ]


def shown(site):
    with site.view() as view:
        return [(row.key, row.id.text, row.order, row.is_latest) for row in view.scan_versions(UID)]


def remove(site, version, key=KEY):
    assert site.commit(lambda view: view.remove_version(UID, key, version.id)) is not None


def say(site, version, name="tags", body=b"<t/>"):
    site.commit(lambda view: view.put_version_document(UID, version, name, body))


def test_a_purged_version_goes_with_its_value_and_its_documents(sites):
    a, b = sites
    before = dump(a)
    version = a.put(UID, KEY, b"bytes", versioned=True)
    say(a, version)
    exchange(a, b)
    remove(b, version)
    exchange(a, b)
    assert dump(a) != before
    assert end(b) == (1, {})
    exchange(a, b)
    assert dump(a) == dump(b) == before


def test_a_purge_of_one_version_leaves_the_others(sites):
    a, b = sites
    old, new = [a.put(UID, KEY, content, versioned=True) for content in (b"old", b"new")]
    remove(a, old)
    exchange(a, b)
    before = shown(a)
    assert end(a) == (1, {})
    exchange(a, b)
    assert shown(a) == shown(b) == before == [(KEY, new.id.text, new.order, True)]
    assert end(a) == (0, {})


def test_who_replays_in_any_order_never_sees_it_again(tmp_path):
    """The values are of one log, their removal and the end of that of another."""
    with IndexSite(tmp_path / "a") as a, IndexSite(tmp_path / "b", SITE_B) as b:
        version, null = a.put(UID, KEY, b"bytes", versioned=True), a.put(UID, b"null", b"bytes")
        logs = {"a": [asyncio.run(ship_some(a, 50))]}
        asyncio.run(replica_of(b).record_pulled(logs["a"][0]))
        remove(b, version)
        remove(b, null, b"null")
        logs["b"] = [asyncio.run(ship_some(b, 50))]
        assert end(b) == (2, {})
        logs["b"].append(asyncio.run(ship_some(b, 50)))
    for number, order in enumerate(sorted(set(itertools.permutations("abb")))):
        waiting = {name: list(batches) for name, batches in logs.items()}
        with IndexSite(tmp_path / f"d{number}", bytes([number]) * 16) as d:
            for name in order:
                asyncio.run(replica_of(d).record_pulled(waiting[name].pop(0)))
            assert shown(d) == []
            assert not [row for row in dump(d) if row[0] in ("heads", "versions", "marks")]
            recount(d.index, d.open_pages)


def test_a_purge_whose_value_did_not_arrive_yet_stays(sites, tmp_path):
    a, b = sites
    version = a.put(UID, KEY, b"bytes", versioned=True)
    value = asyncio.run(ship_some(a, 50))
    asyncio.run(replica_of(b).record_pulled(value))
    remove(b, version)
    purge = asyncio.run(ship_some(b, 50))
    with IndexSite(tmp_path / "c", b"C" * 16) as c:
        asyncio.run(replica_of(c).record_pulled(purge))
        assert end(c) == (0, {"beside_what_lives": 1})


def test_a_void_purge_stays_and_so_does_the_version(sites):
    a, b = sites
    version = a.put(UID, KEY, b"bytes", versioned=True)
    exchange(a, b)
    say(a, version, HOLD, HOLD_ON)
    remove(b, version)
    exchange(a, b)
    before = shown(a)
    assert before
    assert end(a) == end(b) == (0, {"beside_what_lives": 1})
    assert shown(a) == shown(b) == before


def test_a_lock_that_not_everybody_has_keeps_the_purge_that_saw_it(sites):
    a, b = sites
    version = a.put(UID, KEY, b"bytes", versioned=True)
    exchange(a, b)
    cut = cut_of(b)
    say(a, version, HOLD, HOLD_ON)
    exchange(a, b)
    remove(b, version)  # by somebody who may
    replica = replica_of(b)
    own = (replica.identity().site, replica.identity().incarnation)
    assert end(b, {**cut, own: replica.last_seq()}) == (0, {"not_yet_stable": 1})
    assert end(b) == (1, {})


def test_a_purged_marker_stays_as_long_as_anything_lives_below(sites):
    a, _ = sites
    version = a.put(UID, KEY, b"bytes", versioned=True)
    marker = a.commit(lambda view: view.expire_version(UID, version, ObjectRecord(marker=True, owner="ann")))
    remove(a, marker)
    assert end(a) == (0, {"beside_what_lives": 1})
    again = a.commit(lambda view: view.expire_version(UID, version, ObjectRecord(marker=True, owner="ann")))
    assert again.id != marker.id, "an id that was removed for good is not given again"
    remove(a, again)
    remove(a, version)
    assert end(a) == (3, {})
    assert not [row for row in dump(a) if row[0] in ("heads", "versions")]


def test_documents_of_a_null_object_go_with_it_and_not_before(sites):
    a, b = sites
    before = dump(a)
    version = a.put(UID, KEY, b"bytes")
    say(a, version)
    assert end(a) == (0, {})
    remove(a, version)
    exchange(a, b)
    assert end(a) == (2, {})
    exchange(a, b)
    assert dump(a) == dump(b) == before


def test_a_removed_document_of_a_version_that_lives_stays(sites):
    """It hides what the version began with."""
    a, _ = sites
    for versioned in (True, False):
        version = a.put(UID, KEY, b"bytes", versioned=versioned)
        say(a, version)
        say(a, version, body=None)
        assert end(a)[0] == 0
        with a.view() as view:
            assert view.version_documents(UID, view.current(UID, KEY)) == {"tags": b""}


def test_what_a_null_slot_began_beside_versions_stays(sites):
    a, _ = sites
    null = a.put(UID, KEY, b"null")
    remove(a, null)
    a.put(UID, KEY, b"version", versioned=True)
    assert end(a) == (0, {"beside_what_lives": 1})


def test_configuration_is_never_forgotten(sites):
    a, b = sites
    a.commit(lambda view: view.put_document(UID, "policy", b"{}"))
    a.commit(lambda view: view.put_document(UID, "policy", None))
    a.commit(lambda view: view.put_user(UserRecord(id="u", name="u")))
    a.commit(lambda view: view.delete_user("u"))
    a.commit(lambda view: view.put_identity("inline/u/p", b"{}"))
    a.commit(lambda view: view.put_identity("inline/u/p", None))
    a.commit(lambda view: view.delete_bucket(UID))
    exchange(a, b)
    assert end(a) == end(b) == (0, {"configuration": 4})


def test_a_deleted_bucket_is_revived_by_an_object_although_its_keys_were_forgotten(sites):
    a, b = sites
    remove(a, a.put(UID, b"dead", b"1"), b"dead")
    exchange(a, b)
    b.put(UID, KEY, b"unseen")
    a.commit(lambda view: view.delete_bucket(UID))
    assert end(a)[0] == 1
    exchange(a, b)
    for site in sites:
        with site.view() as view:
            assert view.bucket("bk").uid == UID
            assert view.current(UID, KEY) is not None


def test_an_ending_is_no_event(sites):
    a, _ = sites
    remove(a, a.put(UID, KEY, b"1", versioned=True))
    null = a.put(UID, b"null", b"1")
    say(a, null)
    remove(a, null, b"null")
    last = replica_of(a).last_seq()
    assert end(a) == (3, {})
    changes = [decode_change(data) for data in replica_of(a).read_changes(last, 99, 1 << 20)]
    assert len(changes) == 3
    assert [read_happenings(change) for change in changes] == [[], [], []]
    for change in changes:
        assert change.dead
        assert change.dot in change.replaces


def test_a_key_that_is_written_again_begins_anew(sites):
    a, b = sites
    remove(a, a.put(UID, KEY, b"1"))
    exchange(a, b)
    end(a)
    b.put(UID, KEY, b"2")  # has not heard of the end
    exchange(a, b)
    assert shown(a) == shown(b)
    assert len(shown(a)) == 1
    assert dump(a) == dump(b)


def test_a_second_look_under_the_lock(sites):
    """Between looking and ending somebody writes."""
    a, _ = sites
    remove(a, a.put(UID, KEY, b"1"))
    graveyard = StoreGraveyard(a.view, a.committer)
    asyncio.run(graveyard.record_horizon(Horizon(cut_of(a), {}, 1)))
    due = graveyard.find_tombstones(lambda site: site == SITE_A, b"", 99).due
    assert len(due) == 1
    a.put(UID, KEY, b"2")
    assert asyncio.run(graveyard.end_tombstones(due)) == 0
    with a.view() as view:
        assert view.current(UID, KEY).id == NULL
