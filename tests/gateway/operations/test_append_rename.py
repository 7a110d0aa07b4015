"""Appends and renames: races, limits, and what their records remember."""

import pytest

from gateway.operations.context import OperationSettings
from gateway.operations.multipart import CreateRequest, UploadName, create_upload, upload_part_copy
from gateway.operations.objects_append import AppendRequest, append_object, find_appended
from gateway.operations.objects_copy import CopyRequest, CopySource, copy_object
from gateway.operations.objects_delete import Deletion, delete_object
from gateway.operations.objects_put import PutRequest, put_object
from gateway.operations.objects_rename import RenameRequest, rename_object
from gateway.s3 import errors
from gateway.s3.attributes import Attributes
from gateway.s3.checksums import compute_checksum
from gateway.s3.conditions import Conditions
from gateway.store.object_format import Condition
from tests.gateway.operations.test_operations import Bytes, context, current

__all__ = ["context"]


def append(offset, **more):
    return AppendRequest(PutRequest("bucket", b"k", **more), offset)


async def content(context, key=b"k"):
    return b"".join([piece async for piece in context.store.read(current(context, key).record.content)])


async def test_an_append_refers_to_what_was_there(context):
    await put_object(context, PutRequest("bucket", b"k", metadata={"m": "1"}), Bytes(b"one"))
    old = current(context)
    assert find_appended(context, append(3)) == "CRC64NVME"
    written = await append_object(context, append(3), Bytes(b"two"))
    new = current(context).record
    assert await content(context) == b"onetwo"
    assert new.content[: len(old.record.content)] == old.record.content
    assert new.condition == Condition("If-Match", old.order)
    assert (new.metadata, new.size, written.record.etag) == ({"m": "1"}, 6, new.etag)
    assert new.checksums == {"CRC64NVME": compute_checksum("CRC64NVME", b"onetwo")}


async def test_who_comes_second_appends_nothing(context):
    await put_object(context, PutRequest("bucket", b"k"), Bytes(b"1"))

    async def somebody_else():
        await append_object(context, append(1), Bytes(b"theirs"))

    with pytest.raises(errors.InvalidWriteOffset):
        await append_object(context, append(1), Bytes(b"ours", somebody_else))
    assert await content(context) == b"1theirs"


async def test_what_was_replaced_by_as_many_bytes_is_appended_to(context):
    await put_object(context, PutRequest("bucket", b"k"), Bytes(b"old"))

    async def somebody_else():
        await put_object(context, PutRequest("bucket", b"k"), Bytes(b"new"))

    await append_object(context, append(3), Bytes(b"!", somebody_else))
    assert await content(context) == b"new!"


async def test_what_is_replaced_at_the_last_moment_is_looked_at_again(context, monkeypatch):
    await put_object(context, PutRequest("bucket", b"k"), Bytes(b"old"))
    splice = context.store.splice

    async def splice_late(refs, **more):
        monkeypatch.undo()
        await put_object(context, PutRequest("bucket", b"k"), Bytes(b"new"))
        return await splice(refs, **more)

    monkeypatch.setattr(context.store, "splice", splice_late)
    await append_object(context, append(3), Bytes(b"!"))
    assert await content(context) == b"new!"


async def test_what_is_gone_is_not_appended_to(context):
    await put_object(context, PutRequest("bucket", b"k"), Bytes(b"old"))

    async def somebody_else():
        await delete_object(context, "bucket", Deletion(b"k"))

    with pytest.raises(errors.InvalidWriteOffset):
        await append_object(context, append(3), Bytes(b"!", somebody_else))
    assert current(context) is None


async def test_two_creators_at_offset_zero(context):
    async def somebody_else():
        await append_object(context, append(0), Bytes(b"theirs"))

    with pytest.raises(errors.InvalidWriteOffset):
        await append_object(context, append(0), Bytes(b"ours", somebody_else))
    assert await content(context) == b"theirs"


async def test_an_object_takes_so_many_appends_and_its_copy_begins_anew(context):
    few = context._replace(settings=OperationSettings(parts_max=3))
    await append_object(few, append(0), Bytes(b"1"))
    for offset in (1, 2):
        await append_object(few, append(offset), Bytes(b"1"))
    body = Bytes(b"1")
    with pytest.raises(errors.TooManyParts):
        await append_object(few, append(3), body)
    assert not body.poured
    await copy_object(few, CopyRequest(CopySource("bucket", b"k"), PutRequest("bucket", b"copy", storage_class="")))
    await append_object(few, AppendRequest(PutRequest("bucket", b"copy"), 3), Bytes(b"1"))
    assert await content(few, b"copy") == b"1111"


async def test_an_object_never_grows_over_the_limit(context):
    small = context._replace(settings=OperationSettings(object_bytes_max=4))
    await append_object(small, append(0), Bytes(b"123"))
    with pytest.raises(errors.EntityTooLarge):
        await append_object(small, append(3), Bytes(b"45"))
    assert await content(small) == b"123"


async def test_an_append_is_refused_before_its_body_is_read(context):
    await put_object(context, PutRequest("bucket", b"k"), Bytes(b"1"))
    for request in (
        append(0),
        append(2),
        append(1, metadata={"m": "1"}),
        append(1, attributes=Attributes(tags={"t": "1"})),
        append(1, conditions=Conditions(if_match="other")),
        append(1, conditions=Conditions(if_none_match="*")),
    ):
        body = Bytes(b"2")
        with pytest.raises(errors.S3Error):
            await append_object(context, request, body)
        assert not body.poured


async def test_a_rename_remembers_its_precondition_and_leaves_nothing_behind(context):
    await put_object(context, PutRequest("bucket", b"a"), Bytes(b"1"))
    await put_object(context, PutRequest("bucket", b"b"), Bytes(b"2"))
    old, source = current(context, b"b"), current(context, b"a").record
    conditions = Conditions(if_match=old.record.etag)
    await rename_object(context, RenameRequest("bucket", b"a", b"b", target_conditions=conditions))
    new = current(context, b"b").record
    assert current(context, b"a") is None
    assert new.condition == Condition("If-Match", old.order)
    assert (new.modified_ms, new.content, new.owner) == (source.modified_ms, source.content, source.owner)


async def test_what_is_a_versions_own_is_not_carried_on(context):
    await put_object(context, PutRequest("bucket", b"a"), Bytes(b"1"))

    def attach(view):
        uid = view.bucket("bucket").uid
        for name, value in (("tags", b"t=1"), ("acl", b"x"), ("restore", b"y"), ("hold", b"OFF")):
            view.put_version_document(uid, view.current(uid, b"a"), name, value)

    await context.store.commit(attach)
    await append_object(context, AppendRequest(PutRequest("bucket", b"a"), 1), Bytes(b"2"))
    assert current(context, b"a").record.extra == {"tags": b"t=1", "acl": b"x", "appends": b"2"}
    await rename_object(context, RenameRequest("bucket", b"a", b"b", token="t"))
    await rename_object(context, RenameRequest("bucket", b"b", b"c"))
    assert current(context, b"c").record.extra == {"tags": b"t=1", "acl": b"x", "appends": b"2"}


async def test_a_token_is_forgotten_with_the_next_rename(context):
    await put_object(context, PutRequest("bucket", b"a"), Bytes(b"1"))
    await rename_object(context, RenameRequest("bucket", b"a", b"b", token="t"))
    await rename_object(context, RenameRequest("bucket", b"b", b"c"))
    assert "rename" not in current(context, b"c").record.extra


async def test_a_part_from_a_source_over_the_limit_is_refused(context):
    await put_object(context, PutRequest("bucket", b"k"), Bytes(b"12345"))
    small = context._replace(settings=OperationSettings(part_bytes_max=4))
    upload = await create_upload(small, CreateRequest("bucket", b"up"))
    name, source = UploadName("bucket", b"up", upload.id), CopySource("bucket", b"k")
    with pytest.raises(errors.InvalidRequest):
        await upload_part_copy(small, name, 1, source)
    assert (await upload_part_copy(small, name, 1, source, "bytes=0-3")).part.size == 4
