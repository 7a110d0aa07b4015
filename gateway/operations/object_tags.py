"""Tags of objects and buckets: get, put, delete. See ``written_tags`` for those that come with an object.

Tags of a version are an attribute of it: changing them makes no new version and leaves Last-Modified and ETag. Each
verb is one snapshot or one commit; whoever puts last wins, also between sites.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gateway.operations.bucket_documents import TAGGING, find_document
from gateway.operations.context import Context, find_bucket, shown_version_id
from gateway.operations.object_attributes import find_attribute
from gateway.operations.objects_get import locate_version
from gateway.operations.written_tags import TAGS
from gateway.s3.errors import NoSuchTagSet
from gateway.s3.tagging import decode_tags, encode_tags
from gateway.store.ports import WriteView


class Tagged(NamedTuple):
    """The tags of a version, and its id as shown (empty without versioning)."""

    tags: Mapping[str, str]
    version_id: str


def get_object_tags(context: Context, name: str, key: bytes, version_id: str | None) -> Tagged:
    """GetObjectTagging: the tags in force, empty if there are none."""
    operation = "GetObjectTagging" if version_id is None else "GetObjectVersionTagging"
    with context.store.view() as view:
        bucket, version = locate_version(context, view, name, key, version_id, operation)
        value = find_attribute(view, bucket, version, TAGS)
    return Tagged(decode_tags(value or b""), shown_version_id(bucket, version.id))


async def put_object_tags(
    context: Context, name: str, key: bytes, version_id: str | None, tags: Mapping[str, str]
) -> str:
    """PutObjectTagging: replace all tags of a version. Returns its id as shown."""
    operation = "PutObjectTagging" if version_id is None else "PutObjectVersionTagging"
    return await _set_tags(context, name, key, version_id, encode_tags(tags), operation, "PUT")


async def delete_object_tags(context: Context, name: str, key: bytes, version_id: str | None) -> str:
    """DeleteObjectTagging: no tags any more. Returns the version's id as shown."""
    operation = "DeleteObjectTagging" if version_id is None else "DeleteObjectVersionTagging"
    return await _set_tags(context, name, key, version_id, b"", operation, "DELETE")


async def _set_tags(
    context: Context, name: str, key: bytes, version_id: str | None, value: bytes, operation: str, method: str
) -> str:
    """One commit: the version as it is then gets ``value``; nothing is written if it has that already."""

    def decide(view: WriteView) -> str:
        bucket, version = locate_version(context, view, name, key, version_id, operation, method)
        if (find_attribute(view, bucket, version, TAGS) or b"") != value:
            view.put_version_document(bucket.uid, version, TAGS, value or None)
        return shown_version_id(bucket, version.id)

    return await context.store.commit(decide)


def get_bucket_tags(context: Context, name: str) -> Mapping[str, str]:
    """GetBucketTagging; ``NoSuchTagSet`` if the bucket has none."""
    with context.store.view() as view:
        bucket = find_bucket(context, view, name, "GetBucketTagging")
        tags = find_document(view, bucket.uid, TAGGING, decode_tags)
    if not tags:
        raise NoSuchTagSet(None, BucketName=name)
    return tags


async def put_bucket_tags(context: Context, name: str, tags: Mapping[str, str]) -> None:
    """PutBucketTagging, and with no tags DeleteBucketTagging."""
    operation = "PutBucketTagging" if tags else "DeleteBucketTagging"

    def decide(view: WriteView) -> None:
        bucket = find_bucket(context, view, name, operation)
        view.put_document(bucket.uid, TAGGING, encode_tags(tags) or None)

    await context.store.commit(decide)
