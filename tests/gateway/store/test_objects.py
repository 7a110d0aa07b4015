"""What an object's history looks like on one site: puts, versions, deletes, listings, through a real commit."""

from __future__ import annotations

import pytest

from gateway.store.document_format import BucketRecord
from gateway.store.object_format import ObjectRecord
from gateway.store.version_ids import NULL, NULL_VID, VersionId, decode_order
from replication.clock import wall_ms_of
from tests.gateway.store.index_site import IndexSite


@pytest.fixture
def site(tmp_path):
    with IndexSite(tmp_path / "a") as opened:
        yield opened


@pytest.fixture
def uid(site):
    return site.commit(lambda view: view.put_bucket(BucketRecord(name="bk", owner="root"))).uid


def listed(site, uid):
    with site.view() as view:
        return [(key, head.etag) for key, head in view.scan_heads(uid)]


def versions(site, uid):
    with site.view() as view:
        return [(found.key, found.id.text, found.is_latest) for found in view.scan_versions(uid)]


def test_an_overwrite_leaves_one_version_and_frees_the_old_chunk(site, uid):
    first, second = site.put(uid, b"k", b"one"), site.put(uid, b"k", b"two")
    with site.view() as view:
        assert view.current(uid, b"k") == second
        assert view.version(uid, b"k", NULL) == second
        assert view.chunk(first.record.content[0].id).refcount == 0
        assert view.chunk(second.record.content[0].id).refcount == 1
        assert [found.id for found in view.scan_versions(uid)] == [NULL]
    assert second.order > first.order


def test_an_unversioned_delete_leaves_nothing_to_see_and_orders_what_follows(site, uid):
    put = site.put(uid, b"k", b"one")
    removed = site.commit(lambda view: view.remove_version(uid, b"k", NULL))
    assert removed == put
    with site.view() as view:
        assert view.current(uid, b"k") is None
        assert view.version(uid, b"k", NULL) is None
        assert view.is_bucket_empty(uid)
    assert listed(site, uid) == []
    assert site.commit(lambda view: view.remove_version(uid, b"k", NULL)) is None
    again = site.put(uid, b"k", b"two")
    assert decode_order(again.order)[0] > decode_order(put.order)[0] + 1  # above the tombstone between them
    assert listed(site, uid) == [(b"k", b"two".hex())]


def test_versions_delete_markers_and_their_removal(site, uid):
    one, two = site.put(uid, b"k", b"1", versioned=True), site.put(uid, b"k", b"2", versioned=True)
    marker = site.put(uid, b"k", versioned=True, marker=True)
    assert versions(site, uid) == [(b"k", marker.id.text, True), (b"k", two.id.text, False), (b"k", one.id.text, False)]
    assert listed(site, uid) == []
    with site.view() as view:
        assert view.current(uid, b"k") == marker
        assert view.version(uid, b"k", one.id)._replace(is_latest=True) == one
    site.commit(lambda view: view.remove_version(uid, b"k", marker.id))
    assert listed(site, uid) == [(b"k", b"2".hex())]
    assert site.commit(lambda view: view.remove_version(uid, b"k", marker.id)) is None
    for version in (two, one):
        site.commit(lambda view, version=version: view.remove_version(uid, b"k", version.id))
    with site.view() as view:
        assert view.is_bucket_empty(uid)
        assert view.current(uid, b"k") is None
        assert view.chunk(one.record.content[0].id).refcount == 0


def test_a_suspended_bucket_writes_the_null_version_among_the_others(site, uid):
    null, version = site.put(uid, b"k", b"n"), site.put(uid, b"k", b"v", versioned=True)
    assert versions(site, uid) == [(b"k", version.id.text, True), (b"k", "null", False)]
    newer = site.put(uid, b"k", b"m")
    assert versions(site, uid) == [(b"k", "null", True), (b"k", version.id.text, False)]
    assert newer.order > version.order > null.order
    site.commit(lambda view: view.remove_version(uid, b"k", NULL))
    assert listed(site, uid) == [(b"k", b"v".hex())]


def test_listing_order_seek_and_head_fields(site, uid):
    keys = sorted(["a", "a/", "a/b", "a0", "ä", "z\x00", "z", "中", "🚀"], key=str.encode)
    for key in reversed(keys):
        site.put(
            uid, key.encode(), b"x", modified_ms=77, owner="root", checksums={"CRC32": "q"}, checksum_type="FULL_OBJECT"
        )
    site.put(b"\xff" * 16, b"a", b"other bucket")
    with site.view() as view:
        scan = view.scan_heads(uid)
        assert [key.decode() for key, _ in scan] == keys
        scan.seek(b"a0")
        key, head = next(scan)
        assert (key, head) == (b"a0", (1, 77, b"x".hex(), "root", "CRC32:FULL_OBJECT", "STANDARD"))
        scan.seek(b"\xf4\xff")
        assert list(scan) == []


def test_version_scan_goes_on_behind_a_version(site, uid):
    made = [site.put(uid, b"k", bytes([n]), versioned=True) for n in range(4)]
    site.put(uid, b"l", b"x")
    ids = [version.id for version in reversed(made)]
    with site.view() as view:
        scan = view.scan_versions(uid)
        scan.seek(b"k", after=ids[1])
        assert [(found.key, found.id) for found in scan] == [(b"k", ids[2]), (b"k", ids[3]), (b"l", NULL)]
    site.commit(lambda view: view.remove_version(uid, b"k", ids[1]))
    with site.view() as view:  # the position is found by its clock though its version is gone
        scan = view.scan_versions(uid)
        scan.seek(b"k", after=ids[1])
        assert [found.id for found in scan] == [ids[2], ids[3], NULL]
        scan.seek(b"k", after=NULL)
        assert [found.key for found in scan] == [b"l"]


def test_keys_of_1024_bytes_and_prefixes_of_each_other(site, uid):
    long, longer = b"k" * 1023, b"k" * 1024
    for key in (longer, long, b"k"):
        site.put(uid, key, key[-3:], versioned=True)
    with site.view() as view:
        assert [key for key, _ in view.scan_heads(uid)] == [b"k", long, longer]
        assert view.current(uid, longer).record.size == 3


def test_a_write_is_above_what_it_replaces_even_if_that_is_from_the_future(site, uid):
    site.clock = iter([1 << 41, 1_700_000_000_000, 1_700_000_000_001])
    future = site.put(uid, b"k", b"future")
    later = site.put(uid, b"k", b"later")
    other = site.put(uid, b"other", b"x")
    assert later.order > future.order
    assert wall_ms_of(decode_order(later.order)[0]) == 1 << 41
    assert decode_order(other.order)[0] > decode_order(future.order)[0]  # one site's clock never goes back


def test_reading_what_was_staged_in_the_same_decision(site, uid):
    def decide(view):
        assert view.current(uid, b"k") is None
        first = view.put_object(uid, b"k", ObjectRecord(size=1), versioned=True)
        assert view.current(uid, b"k") == first
        second = view.put_object(uid, b"k", ObjectRecord(size=2), versioned=True)
        assert [found.id for found in view.scan_versions(uid)] == [second.id, first.id]
        return view.remove_version(uid, b"k", second.id)

    assert site.commit(decide).record.size == 2
    with site.view() as view:
        assert view.current(uid, b"k").record.size == 1


def test_version_ids_that_never_were(site, uid):
    put = site.put(uid, b"k", b"x")
    with site.view() as view:
        for version_id in (VersionId(b"v" * 16), VersionId(b"", put.order), VersionId(b"", b"o" * 40)):
            assert view.version(uid, b"k", version_id) is None
        assert view.version(uid, b"nokey", VersionId(NULL_VID)) is None
