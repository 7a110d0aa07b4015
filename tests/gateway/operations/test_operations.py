"""What operations promise beyond what an SDK sees: races, what a record remembers, what is read and what is not."""

import hashlib

import pytest

from gateway.identity.principals import Principal
from gateway.identity.users import new_access_key, new_user
from gateway.operations import buckets, objects_delete
from gateway.operations.bodies import Received
from gateway.operations.context import Context, OperationSettings
from gateway.operations.digests import INLINE_MAX, Digester, digest_small
from gateway.operations.listings import UploadsWanted, list_uploads
from gateway.operations.multipart import CreateRequest, UploadName, create_upload, upload_part
from gateway.operations.multipart_complete import CompleteRequest, NamedPart, complete_upload
from gateway.operations.object_lock_verbs import put_lock_configuration
from gateway.operations.objects_copy import CopyRequest, CopySource, copy_object
from gateway.operations.objects_delete import Deletion, delete_object, delete_objects
from gateway.operations.objects_put import PutRequest, put_object
from gateway.s3 import errors
from gateway.s3.checksums import ALGORITHMS, compute_checksum
from gateway.s3.conditions import Conditions, DeleteConditions
from gateway.s3.object_lock import LockConfiguration
from gateway.store.errors import ChunkGone
from tests.gateway.operations.memory_store import MemoryStore


class Bytes:
    """A body that is at hand; ``then`` runs after it was poured, before the commit."""

    def __init__(self, data, then=None):
        self.data, self.then, self.poured = data, then, False

    async def pour(self, writer):
        self.poured = True
        await writer.write(self.data)
        if self.then is not None:
            await self.then()
        checksums = {"CRC64NVME": compute_checksum("CRC64NVME", self.data)}
        return Received(len(self.data), hashlib.md5(self.data).hexdigest(), checksums)


@pytest.fixture
async def context():
    store = MemoryStore()
    user = new_user("ann", now_ms=0)
    found = Context(
        Principal(user, new_access_key(user.id, now_ms=0)), "id", store, OperationSettings(part_bytes_min=1)
    )
    await store.commit(lambda view: view.put_user(user))
    await buckets.create_bucket(found, "bucket")
    return found


def current(context, key=b"k", bucket="bucket"):
    with context.store.view() as view:
        return view.current(view.bucket(bucket).uid, key)


async def test_a_refused_write_does_not_read_its_body(context):
    await put_object(context, PutRequest("bucket", b"k"), Bytes(b"1"))
    for request in (
        PutRequest("absent", b"k"),
        PutRequest("bucket", b"k", conditions=Conditions(if_none_match="*")),
        PutRequest("bucket", b"k", conditions=Conditions(if_match="other")),
    ):
        body = Bytes(b"2")
        with pytest.raises(errors.S3Error):
            await put_object(context, request, body)
        assert not body.poured


async def test_the_condition_that_counts_is_the_one_in_the_commit(context):
    async def somebody_else():
        await put_object(context, PutRequest("bucket", b"k"), Bytes(b"theirs"))

    request = PutRequest("bucket", b"k", conditions=Conditions(if_none_match="*"))
    with pytest.raises(errors.PreconditionFailed):
        await put_object(context, request, Bytes(b"mine", somebody_else))
    assert current(context).record.etag == hashlib.md5(b"theirs").hexdigest()


async def test_a_record_remembers_its_condition_and_what_it_saw(context):
    await put_object(context, PutRequest("bucket", b"k", conditions=Conditions(if_none_match="*")), Bytes(b"1"))
    first = current(context)
    assert (first.record.condition.header, first.record.condition.saw) == ("If-None-Match", b"")
    again = Conditions(if_match=first.record.etag)
    await put_object(context, PutRequest("bucket", b"k", conditions=again), Bytes(b"2"))
    second = current(context).record
    assert (second.condition.header, second.condition.saw) == ("If-Match", first.order)


async def test_a_bucket_deleted_meanwhile_takes_nothing(context):
    async def delete():
        await buckets.delete_bucket(context, "bucket")

    with pytest.raises(errors.NoSuchBucket):
        await put_object(context, PutRequest("bucket", b"k"), Bytes(b"x", delete))


async def test_a_bucket_that_is_anothers_by_now_takes_nothing(context):
    admin = new_user("root", now_ms=0, admin=True)
    theirs = context._replace(principal=Principal(admin, new_access_key(admin.id, now_ms=0)))

    async def replace():
        await buckets.delete_bucket(context, "bucket")
        await buckets.create_bucket(theirs, "bucket")

    with pytest.raises(errors.NoSuchBucket):
        await put_object(theirs, PutRequest("bucket", b"k"), Bytes(b"x", replace))
    assert current(context) is None


async def test_a_failed_commit_leaves_nothing(context):
    context.store.fail_next_commit = ChunkGone("gone")
    with pytest.raises(ChunkGone):
        await put_object(context, PutRequest("bucket", b"k"), Bytes(b"x"))
    assert current(context) is None


async def test_a_copy_moves_no_data_and_shares_its_refs(context):
    await put_object(context, PutRequest("bucket", b"k"), Bytes(b"x" * 100))
    chunks = dict(context.store.chunks)
    context.store.unavailable = True
    await copy_object(context, CopyRequest(CopySource("bucket", b"k"), PutRequest("bucket", b"copy", storage_class="")))
    assert current(context, b"copy").record.content == current(context).record.content
    assert context.store.chunks == chunks


async def test_a_copy_that_must_hash_looks_again_if_its_source_changed(context):
    await put_object(context, PutRequest("bucket", b"k"), Bytes(b"old"))
    read = context.store.read

    async def read_and_change(refs, start=0, length=None):
        async for piece in read(refs, start, length):
            yield piece
        context.store.read = read
        await put_object(context, PutRequest("bucket", b"k"), Bytes(b"new"))

    context.store.read = read_and_change
    request = CopyRequest(CopySource("bucket", b"k"), PutRequest("bucket", b"c", storage_class=""), algorithm="SHA256")
    copied = await copy_object(context, request)
    assert copied.written.record.etag == hashlib.md5(b"new").hexdigest()
    assert copied.written.record.checksums == {"SHA256": compute_checksum("SHA256", b"new")}


async def begin(context, *bodies, key=b"k"):
    upload = await create_upload(context, CreateRequest("bucket", key))
    name = UploadName("bucket", key, upload.id)
    stored = [await upload_part(context, name, number, Bytes(body)) for number, body in enumerate(bodies, 1)]
    parts = [one.part for one in stored]
    return name, [NamedPart(part.number, part.etag) for part in parts]


async def test_a_part_replaced_during_complete_is_seen(context):
    name, parts = await begin(context, b"one", b"two")
    splice = context.store.splice

    async def splice_late(refs, **more):
        context.store.splice = splice
        await upload_part(context, name, 2, Bytes(b"other"))
        return await splice(refs, **more)

    context.store.splice = splice_late
    with pytest.raises(errors.InvalidPart):
        await complete_upload(context, CompleteRequest(name, parts))
    assert current(context) is None


async def test_an_upload_aborted_during_complete_makes_nothing(context):
    name, parts = await begin(context, b"one")
    splice = context.store.splice

    async def splice_late(refs, **more):
        await context.store.commit(lambda view: view.close_upload(name.upload_id))
        return await splice(refs, **more)

    context.store.splice = splice_late
    with pytest.raises(errors.NoSuchUpload):
        await complete_upload(context, CompleteRequest(name, parts))
    assert current(context) is None


async def test_complete_reads_nothing_and_its_repeat_answers_the_same(context):
    name, parts = await begin(context, b"one", b"two")
    context.store.unavailable = True
    first = await complete_upload(context, CompleteRequest(name, parts))
    assert await complete_upload(context, CompleteRequest(name, parts)) == first
    with pytest.raises(errors.NoSuchUpload):
        await complete_upload(context, CompleteRequest(name, parts[:1]))
    context.store.unavailable = False
    await put_object(context, PutRequest("bucket", b"k"), Bytes(b"newer"))
    with pytest.raises(errors.NoSuchUpload):
        await complete_upload(context, CompleteRequest(name, parts))


async def test_complete_checks_what_is_claimed_of_the_whole(context):
    name, parts = await begin(context, b"one", b"two")
    for wrong in ({"size": 5}, {"checksums": {"CRC64NVME": "AAAAAAAAAAA="}}, {"checksum_type": "COMPOSITE"}):
        with pytest.raises(errors.S3Error):
            await complete_upload(context, CompleteRequest(name, parts, **wrong))
    right = {"CRC64NVME": compute_checksum("CRC64NVME", b"onetwo")}
    await complete_upload(context, CompleteRequest(name, parts, checksums=right, size=6))
    assert current(context).record.part_count == 2


async def test_many_parts_are_paged(context):
    name, parts = await begin(context, *(bytes([number]) * 10 for number in range(40)))
    record = (await complete_upload(context, CompleteRequest(name, parts))).record
    assert len(record.content) == 1
    pieces = [piece async for piece in context.store.read(record.content)]
    assert b"".join(pieces) == b"".join(bytes([number]) * 10 for number in range(40))


async def test_uploads_are_listed_by_key_and_id_and_rolled_up(context):
    for key in (b"a", b"a", b"b/1", b"b/2", b"b/3", b"c"):
        await begin(context, key=key)
    seen, wanted = [], UploadsWanted(delimiter=b"/", count_max=1)
    for _ in range(10):
        page = list_uploads(context, "bucket", wanted)
        seen += [upload.key for upload in page.uploads] + page.prefixes
        if not page.truncated:
            break
        wanted = wanted._replace(after_key=page.next_key, after_id=page.next_id)
    assert seen == [b"a", b"a", b"b/", b"c"]
    assert [upload.key for upload in list_uploads(context, "bucket", UploadsWanted(prefix=b"b/")).uploads] == [
        b"b/1", b"b/2", b"b/3",
    ]  # fmt: skip


async def test_one_failing_delete_keeps_no_other(context):
    for key in (b"a", b"b", b"c"):
        await put_object(context, PutRequest("bucket", key), Bytes(key))
    results = await delete_objects(
        context,
        "bucket",
        [Deletion(b"a"), Deletion(b"b", conditions=DeleteConditions("no")), Deletion(b"c", "nonsense"), Deletion(b"c")],
    )
    assert [type(result.error).__name__ for result in results] == [
        "NoneType", "PreconditionFailed", "InvalidArgument", "NoneType",
    ]  # fmt: skip
    assert [current(context, key) is None for key in (b"a", b"b", b"c")] == [True, False, True]


async def test_deletes_that_take_long_let_others_write_between_them(context, monkeypatch):
    keys = [b"a", b"b", b"c"]
    for key in keys:
        await put_object(context, PutRequest("bucket", key), Bytes(key))
    before = context.store.commits
    await delete_objects(context, "bucket", [Deletion(key) for key in keys[:2]])
    assert context.store.commits == before + 1
    monkeypatch.setattr(objects_delete, "COMMIT_S_MAX", 0)
    results = await delete_objects(context, "bucket", [Deletion(b"c"), Deletion(b"x", "nonsense"), Deletion(b"y")])
    assert context.store.commits == before + 4
    assert [result.error is None for result in results] == [True, False, True]
    assert current(context, b"c") is None


async def test_a_delete_marker_is_the_deleters(context):
    await put_object(context, PutRequest("bucket", b"k"), Bytes(b"x"))
    await buckets.put_versioning(context, "bucket", "Enabled")
    deleted = await delete_object(context, "bucket", Deletion(b"k"))
    marker = current(context)
    assert (deleted.marker_made, marker.record.marker, marker.record.owner) == (True, True, context.principal.id)
    assert deleted.version_id == marker.id.text


async def test_too_many_buckets(context):
    few = context._replace(settings=context.settings._replace(buckets_per_user_max=1))
    with pytest.raises(errors.TooManyBuckets):
        await buckets.create_bucket(few, "another")


@pytest.mark.parametrize("size", [0, 5, INLINE_MAX, INLINE_MAX + 1, 3 * INLINE_MAX + 17])
async def test_digests_do_not_depend_on_the_pieces(size):
    data = bytes(range(256)) * (size // 256 + 1)
    data = data[:size]
    for step in (1 + size // 3, INLINE_MAX + 9, size + 1):
        digester = Digester(("CRC32", "SHA1", "SHA256"), sha256=True)
        for at in range(0, size, step):
            await digester.update(memoryview(data)[at : at + step])
        digests = await digester.finish()
        assert digests.md5 == hashlib.md5(data).hexdigest()
        assert digests.sha256 == hashlib.sha256(data).hexdigest()
        assert digests.checksums == {name: compute_checksum(name, data) for name in ("CRC32", "SHA1", "SHA256")}


@pytest.mark.parametrize("sha256", [False, True])
async def test_a_small_body_has_the_digests_of_any_other(sha256):
    for size in (0, 1, 4096):
        data = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
        digester = Digester(tuple(ALGORITHMS), sha256=sha256)
        await digester.update(data)
        assert digest_small(data, tuple(ALGORITHMS), sha256=sha256) == await digester.finish()


async def test_what_a_bucket_adds_to_writes_is_added_from_the_next_write_on(context):
    await buckets.put_versioning(context, "bucket", "Enabled")
    await put_object(context, PutRequest("bucket", b"k"), Bytes(b"x"))
    assert current(context).record.extra == {}
    await put_lock_configuration(context, "bucket", LockConfiguration("GOVERNANCE", days=1))
    await put_object(context, PutRequest("bucket", b"k"), Bytes(b"x"))
    assert set(current(context).record.extra) == {"retention"}
    await put_lock_configuration(context, "bucket", LockConfiguration())
    with context.store.view() as view:
        uid = view.bucket("bucket").uid
    await context.store.commit(lambda view: view.put_document(uid, "notification", b"<NotificationConfiguration/>"))
    await put_object(context, PutRequest("bucket", b"k"), Bytes(b"x"))
    assert set(current(context).record.extra) == {"event"}
