"""Documents of single versions: set, removed, gone with their version, merged from two sites."""

from __future__ import annotations

import pytest

from gateway.store.document_format import BucketRecord
from gateway.store.item_format import (
    FAMILY_VERSION_DOCUMENT,
    bucket_uid,
    split_version_document,
    version_document_item,
    version_documents_prefix,
)
from gateway.store.item_rows import check_value
from gateway.store.logical_dump import logical_dump
from gateway.store.object_format import ObjectRecord
from gateway.store.own_changes import take_incarnation
from gateway.store.version_document_format import (
    HOLD_OFF,
    HOLD_ON,
    MODE_COMPLIANCE,
    MODE_GOVERNANCE,
    MODE_NONE,
    Retention,
    choose_value,
    decode_retention,
    encode_retention,
)
from gateway.store.version_ids import NULL, VersionId
from replication.change_format import Change, ChangeInvalid, decode_change
from replication.crdt import Dot
from replication.ports import LogPosition, PulledBatch
from tests.gateway.store.index_site import SITE_A, SITE_B, SITE_C, IndexSite
from tests.gateway.store.workload import replica_of

UID = bucket_uid("bk", "ann")


@pytest.fixture
def site(tmp_path):
    with IndexSite(tmp_path / "a") as opened:
        opened.commit(lambda view: view.put_bucket(BucketRecord(name="bk", owner="ann")))
        yield opened


@pytest.fixture
def other(tmp_path):
    with IndexSite(tmp_path / "b", SITE_B) as opened:
        yield opened


def tag(site, version, name="tags", body=b"<t/>"):
    site.commit(lambda view: view.put_version_document(UID, version, name, body))


def documents(site, version):
    with site.view() as view:
        return view.version_documents(UID, version)


def rows(site):
    prefix = bytes((FAMILY_VERSION_DOCUMENT,))
    with site.view() as view:
        return len(list(view.transaction.scan(view.transaction.tables.items, prefix, prefix)))


@pytest.mark.parametrize("versioned", [False, True])
def test_documents_are_set_changed_and_removed(site, versioned):
    version = site.put(UID, b"k", b"x", versioned=versioned)
    longer = site.put(UID, b"kk", b"x", versioned=versioned)
    assert documents(site, version) == {}
    tag(site, version)
    tag(site, version, "acl", b"<a/>")
    tag(site, longer, "tags", b"<other/>")
    assert documents(site, version) == {"tags": b"<t/>", "acl": b"<a/>"}
    tag(site, version, body=b"<new/>")
    tag(site, version, "acl", None)
    assert documents(site, version) == {"tags": b"<new/>", "acl": b""}
    assert documents(site, longer) == {"tags": b"<other/>"}
    with site.view() as view:
        assert view.current(UID, b"k") == version


def test_a_removal_of_what_was_never_changed_shows(site):
    version = site.put(UID, b"k", b"x", extra={"tags": b"<initial/>"})
    tag(site, version, body=None)
    assert documents(site, version) == {"tags": b""}


def test_a_document_is_read_back_by_the_decision_that_set_it(site):
    def decide(view):
        version = view.put_object(UID, b"k", ObjectRecord(etag="e"), versioned=True)
        assert view.version_documents(UID, version) == {}
        view.put_version_document(UID, version, "tags", b"t")
        return version, view.version_documents(UID, version)

    version, found = site.commit(decide)
    assert found == documents(site, version) == {"tags": b"t"}


def test_what_was_refused_is_in_no_cache(site):
    version = site.put(UID, b"k", b"x")

    def refuse(view):
        view.put_version_document(UID, version, "tags", b"t")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        site.commit(refuse)
    assert documents(site, version) == {}
    tag(site, version)
    assert documents(site, version) == {"tags": b"<t/>"}


def test_an_open_view_sees_its_own_snapshot(site):
    version = site.put(UID, b"k", b"x")
    with site.view() as old:
        tag(site, version)
        assert documents(site, version) == {"tags": b"<t/>"}
        assert old.version_documents(UID, version) == {}
    assert documents(site, version) == {"tags": b"<t/>"}


def test_an_overwritten_null_object_leaves_no_documents_to_the_next(site):
    first = site.put(UID, b"k", b"1")
    tag(site, first)
    second = site.put(UID, b"k", b"2")
    assert documents(site, second) == {}
    with pytest.raises(KeyError):
        tag(site, first)
    tag(site, second, body=b"<second/>")
    assert documents(site, second) == {"tags": b"<second/>"}
    assert rows(site) == 1
    with site.view() as view:
        ((_, data),) = view.transaction.scan(view.transaction.tables.items, b"\x07", b"\x07")
        assert b"<t/>" not in data  # replaced, not only hidden


def test_documents_of_a_removed_version_stay_with_its_tombstone_out_of_sight(site):
    version = site.put(UID, b"k", b"x", versioned=True)
    kept = site.put(UID, b"k", b"y", versioned=True)
    for each in (version, kept):
        tag(site, each)
    site.commit(lambda view: view.remove_version(UID, b"k", version.id))
    assert rows(site) == 2
    assert documents(site, kept) == {"tags": b"<t/>"}
    with pytest.raises(KeyError):
        tag(site, version)


def test_bodies_that_a_name_cannot_have_are_refused(site):
    version = site.put(UID, b"k", b"x")
    for name, body in (("retention", b"1234"), ("retention", b"\x03" + bytes(8)), ("hold", b"MAYBE"), ("", b"x")):
        with pytest.raises(ValueError):
            tag(site, version, name, body)
    assert rows(site) == 0


def test_of_siblings_the_safer_value_applies():
    values = [Retention(MODE_GOVERNANCE, 99), Retention(MODE_COMPLIANCE, 7), Retention(MODE_COMPLIANCE, 8)]
    encoded = [encode_retention(value) for value in values]
    assert decode_retention(choose_value("retention", [b"", *encoded])) == (MODE_COMPLIANCE, 8)
    assert choose_value("retention", [b"", encode_retention(Retention(MODE_NONE, 0))]) in (b"", bytes(9))
    assert choose_value("hold", [HOLD_OFF, b"", HOLD_ON]) == HOLD_ON
    assert choose_value("hold", [b"", HOLD_OFF]) == b""
    assert choose_value("tags", [b"new", b"old"]) == b"new"


def test_golden_bytes():
    uid, vid = bytes(range(16)), bytes(range(16, 32))
    item = version_document_item(uid, vid, "kü".encode(), "tags")
    assert (
        item.hex()
        == "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f" + "0003" + "6bc3bc" + "74616773"
    )
    assert encode_retention(Retention(MODE_COMPLIANCE, 1_700_000_000_123)).hex() == "02" + "0000018bcfe5687b"


def test_item_keys():
    item = version_document_item(UID, b"v" * 16, b"k\xc3\xa9", "tags")
    assert split_version_document(item) == (UID, b"v" * 16, b"k\xc3\xa9", "tags")
    assert not version_document_item(UID, b"v" * 16, b"kk", "x").startswith(
        version_documents_prefix(UID, b"v" * 16, b"k")
    )
    for size in range(len(item) - len("tags") + 1):
        with pytest.raises(ValueError):
            split_version_document(item[:size])


def test_remote_documents_are_checked_before_they_are_merged():
    def check(body, *, dead=False, vid=b"v" * 16, name="retention", item=None):
        item = item or version_document_item(UID, vid, b"k", name)
        check_value(Change(Dot(SITE_B, b"i" * 8, 1), 1, FAMILY_VERSION_DOCUMENT, item, dead, (), (), body))

    check(encode_retention(Retention(MODE_COMPLIANCE, 5)))
    check(bytes(24), dead=True, vid=bytes(16))
    check(bytes(24) + b"ON", vid=bytes(16), name="hold")
    for body, options in (
        (b"short", {}),
        (b"short", {"vid": bytes(16), "name": "tags"}),
        (b"short", {"vid": bytes(16), "dead": True}),
        (b"x", {"item": UID}),
        (b"x", {"item": version_documents_prefix(UID, b"v" * 16, b"k") + b"\xff"}),
    ):
        with pytest.raises(ChangeInvalid):
            check(body, **options)


async def pull(source, target, changes=None):
    """What ``target`` has not seen of ``source``, as one batch."""
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


async def test_a_tag_change_and_a_hold_on_two_sites_converge_and_the_hold_wins(site, other):
    version = site.put(UID, b"k", versioned=True)
    await exchange(site, other)
    tag(site, version, "tags", b"<a/>")
    tag(site, version, "hold", HOLD_OFF)
    tag(site, version, "retention", encode_retention(Retention(MODE_GOVERNANCE, 900)))
    other.clock = iter(range(1, 1000))  # an old clock: greatest order is the first site's
    tag(other, version, "hold", HOLD_ON)
    tag(other, version, "retention", encode_retention(Retention(MODE_COMPLIANCE, 100)))
    tag(other, version, "acl", b"<b/>")
    await exchange(site, other)
    expected = {
        "tags": b"<a/>",
        "acl": b"<b/>",
        "hold": HOLD_ON,
        "retention": encode_retention(Retention(MODE_COMPLIANCE, 100)),
    }
    assert documents(site, version) == documents(other, version) == expected
    tag(site, version, "hold", HOLD_OFF)  # has seen both: a decision, no collision
    await exchange(site, other)
    assert documents(site, version)["hold"] == documents(other, version)["hold"] == HOLD_OFF


async def test_a_kept_loser_keeps_its_documents(site, other):
    await exchange(site, other)
    mine = site.put(UID, b"k", metadata={"of": "mine"})
    theirs = other.put(UID, b"k", metadata={"of": "theirs"})
    tag(site, mine, body=b"<mine/>")
    tag(other, theirs, body=b"<theirs/>")
    await exchange(site, other)
    for each in (site, other):
        with each.view() as view:
            current = view.version(UID, b"k", NULL)
            loser = view.version(UID, b"k", VersionId(b"", min(mine.order, theirs.order)))
        found = {v.record.metadata["of"]: documents(each, v)["tags"] for v in (current, loser)}
        assert found == {"mine": b"<mine/>", "theirs": b"<theirs/>"}
    tag(site, current, body=b"<again/>")
    await exchange(site, other)
    for each in (site, other):
        assert documents(each, current) == {"tags": b"<again/>"}
        assert documents(each, loser) == {"tags": b"<%s/>" % loser.record.metadata["of"].encode()}
    tag(other, loser, body=None)
    await exchange(site, other)
    assert documents(site, loser) == {"tags": b""}
    assert documents(site, current) == {"tags": b"<again/>"}


def merged_items(site):
    return [row for row in logical_dump(site.index, site.open_pages) if row[0] in ("items", "marks")]


@pytest.mark.parametrize("removed_first", [False, True])
async def test_a_document_of_a_version_removed_elsewhere_leaves_the_same_in_either_order(
    site, other, tmp_path, removed_first
):
    version = site.put(UID, b"k", versioned=True)
    await exchange(site, other)
    tag(site, version)
    other.commit(lambda view: view.remove_version(UID, b"k", version.id))
    with IndexSite(tmp_path / "c", SITE_C) as third:
        for source in (other, site) if removed_first else (site, other):
            await pull(source, third)
        await exchange(site, other)
        left = [merged_items(each) for each in (site, other, third)]
    assert left[0] == left[1] == left[2]
    assert rows(site) == rows(other) == 1  # the purge could yet turn out to be void
    for each in (site, other):
        with pytest.raises(KeyError):
            tag(each, version)


async def test_a_document_may_arrive_before_its_version(site, other, tmp_path):
    version = site.put(UID, b"k", versioned=True)
    await exchange(site, other)
    tag(other, version, body=b"<early/>")
    with IndexSite(tmp_path / "c", SITE_C) as third:
        await pull(other, third)
        await pull(site, third)
        assert documents(third, version) == {"tags": b"<early/>"}


async def test_documents_survive_a_new_incarnation(site):
    null = site.put(UID, b"k", b"x")
    version = site.put(UID, b"v", b"x", versioned=True)
    for each in (null, version):
        tag(site, each)
        tag(site, each, "hold", HOLD_ON)
    site.commit(lambda view: take_incarnation(view, site.log, SITE_A))
    with site.view() as view:
        again = view.current(UID, b"k")
    assert again.order != null.order
    for each in (again, version):
        assert documents(site, each) == {"tags": b"<t/>", "hold": HOLD_ON}
    changes = replica_of(site).read_changes(0, 100, 1 << 20)
    assert sum(decode_change(data).family == FAMILY_VERSION_DOCUMENT for data in changes) == 4
