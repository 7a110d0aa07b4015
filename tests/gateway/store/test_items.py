"""Buckets, documents, users, access keys and uploads on one site; what the caches may and may not show."""

from __future__ import annotations

import pytest

from gateway.store.document_format import AccessKeyRecord, BucketRecord, PartRecord, UploadRecord, UserRecord
from gateway.store.item_format import bucket_uid
from gateway.store.object_format import ObjectRecord
from gateway.store.release_queue import drain_release
from tests.gateway.store.index_site import IndexSite

UID = bucket_uid("bk", "ann")


@pytest.fixture
def site(tmp_path):
    with IndexSite(tmp_path / "a") as opened:
        opened.commit(lambda view: view.put_bucket(BucketRecord(name="bk", owner="ann")))
        yield opened


def test_buckets_by_name_and_owner(site):
    site.commit(lambda view: view.put_bucket(BucketRecord(name="aa", owner="bob", region="eu")))
    with site.view() as view:
        assert [bucket.name for bucket in view.buckets()] == ["aa", "bk"]
        assert [bucket.name for bucket in view.buckets("bob")] == ["aa"]
        assert view.bucket("aa").record.region == "eu"
        assert view.bucket("a") is None
        assert view.bucket("aa--00000000") is None
        assert view.is_bucket_empty(UID)


def test_the_generation_moves_with_configuration_and_not_with_objects(site):
    def generation():
        with site.view() as view:
            return view.generation

    before = generation()
    site.put(UID, b"k", b"x")
    assert generation() == before
    for change in (
        lambda view: view.put_document(UID, "policy", b"p"),
        lambda view: view.put_user(UserRecord(id="u")),
        lambda view: view.delete_user("u"),
        lambda view: view.put_access_key(AccessKeyRecord(id="K", user="u")),
        lambda view: view.delete_bucket(UID),
    ):
        site.commit(change)
        assert generation() > before
        before = generation()
    site.commit(lambda view: view.delete_user("nobody"))
    assert generation() == before


def test_a_view_never_shows_another_generation_than_its_own(site):
    with site.view() as old:
        assert old.user("u") is None
        site.commit(lambda view: view.put_user(UserRecord(id="u", name="new")))
        with site.view() as new:
            assert new.user("u").name == "new"
        assert old.user("u") is None
        assert old.users() == []
    with site.view() as view:
        assert view.users() == [UserRecord(id="u", name="new")]


def test_what_a_batch_changes_of_configuration_its_next_decision_sees(site):
    """Remembered values are those before the batch: a write must not go into a bucket that is deleted before it."""

    def decide(view):
        bucket = view.bucket("b")
        assert view.document(bucket.uid, "policy") == b"old"
        view.put_document(bucket.uid, "policy", b"new")
        changed = view.document(bucket.uid, "policy")
        view.delete_bucket(bucket.uid)
        return changed, view.bucket("b")

    bucket = site.commit(lambda view: view.put_bucket(BucketRecord(name="b", owner="root")))
    site.commit(lambda view: view.put_document(bucket.uid, "policy", b"old"))
    with site.view() as view:
        assert view.bucket("b") is not None
        assert view.document(bucket.uid, "policy") == b"old"
    assert site.commit(decide) == (b"new", None)


def test_configuration_that_was_refused_is_in_no_cache(site):
    def refuse(view):
        view.put_user(UserRecord(id="u", name="refused"))
        assert view.user("u").name == "refused"
        raise RuntimeError

    with pytest.raises(RuntimeError):
        site.commit(refuse)
    site.commit(lambda view: view.put_user(UserRecord(id="v")))  # the same generation, other content
    with site.view() as view:
        assert view.user("u") is None


def test_documents_versioning_and_keys_of_a_user(site):
    site.commit(lambda view: view.put_document(UID, "versioning", b"Enabled"))
    with site.view() as view:
        assert view.bucket("bk").versioning == "Enabled"
        assert view.document(UID, "versioning") == b"Enabled"
    site.commit(lambda view: view.put_document(UID, "versioning", None))
    for key_id in ("K2", "K1"):
        site.commit(lambda view, key_id=key_id: view.put_access_key(AccessKeyRecord(id=key_id, user="u")))
    with site.view() as view:
        assert view.bucket("bk").versioning == ""
        assert [key.id for key in view.access_keys("u")] == ["K1", "K2"]
        assert view.access_keys("other") == []
        assert view.access_key("K1").user == "u"


def open_upload(site, upload_id, key):
    site.commit(lambda view: view.open_upload(UploadRecord(id=upload_id, uid=UID, key=key, owner="ann")))


def test_uploads_are_listed_by_key_then_id_and_keep_a_bucket_from_being_empty(site):
    for upload_id, key in (("b", b"k"), ("a", b"k"), ("c", b"a"), ("d", b"k\0x"), ("e", b"kk")):
        open_upload(site, upload_id, key)
    with site.view() as view:
        assert [upload.id for upload in view.uploads(UID)] == ["c", "a", "b", "d", "e"]
        assert [upload.id for upload in view.uploads(UID, b"k", "a")] == ["b", "d", "e"]
        assert [upload.id for upload in view.uploads(UID, b"k")] == ["d", "e"]
        assert [upload.id for upload in view.uploads(UID, b"b", "z")] == ["a", "b", "d", "e"]
        assert not view.is_bucket_empty(UID)
        assert view.upload("nope") is None


def test_parts_are_replaced_listed_and_let_go(site):
    open_upload(site, "up", b"k")
    first = [site.stage(b"part %d" % number) for number in (1, 2)]
    again = site.stage(b"part 1 again")
    for number, ref in ((1, first[0]), (2, first[1]), (1, again)):
        part = PartRecord(number=number, size=ref.size, content=(ref,))
        site.commit(lambda view, part=part: view.put_part("up", part))
    with site.view() as view:
        assert [part.number for part in view.parts("up")] == [1, 2]
        assert [part.number for part in view.parts("up", after=1)] == [2]
        assert view.part("up", 1).content == (again,)
        assert view.part("up", 3) is None
        assert view.state().open_upload_bytes == again.size + first[1].size
        assert [view.chunk(ref.id).refcount for ref in (*first, again)] == [0, 1, 1]

    def complete(view):
        view.put_object(UID, b"k", ObjectRecord(content=(again, first[1])), versioned=False)
        view.close_upload("up")

    site.commit(complete)
    with site.view() as view:
        assert view.upload("up") is None
        assert list(view.parts("up")) == []
        assert view.part("up", 1) is None
        assert view.state().open_upload_bytes == 0
    site.commit(lambda view: drain_release(view.transaction, view.edit_index().chunks))
    with site.view() as view:
        assert view.chunk(first[0].id) is None
        assert [view.chunk(ref.id).refcount for ref in (again, first[1])] == [1, 1]


def test_a_part_needs_an_open_upload(site):
    with pytest.raises(KeyError):
        site.commit(lambda view: view.put_part("gone", PartRecord(number=1)))


def test_strangers_cannot_fill_the_cache_with_names_of_their_own(site):
    with site.view() as view:
        view.bucket("bk")
        before = len(view._values)
        for number in range(50):
            name = f"{number}-" + "x" * 300
            assert view.bucket(name) is None
            assert view.user(name) is None
            assert view.access_key(name) is None
            assert view.identity(name) is None
        assert len(view._values) == before
        assert view.document(UID, "policy") is None
        assert view.bucket("bk") is not None
