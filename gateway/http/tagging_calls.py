"""The tagging verbs of objects and buckets: typed arguments in, responses out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.operations import object_tags
from gateway.s3.documents import body_bytes_max
from gateway.s3.requests import parse_version_id
from gateway.s3.routing import Operation
from gateway.s3.tagging import BUCKET_TAGS_MAX, OBJECT_TAGS_MAX, parse_tagging, render_tagging


def _tell_policies(call: Call, tags: Mapping[str, str], prefix: str, names: str) -> None:
    """The tags a body asks for, as policies may ask of them (``s3:RequestObjectTag/<key>``, ``aws:TagKeys`` …)."""
    more = call.context.facts.more
    more[names] = tuple(tags)
    more.update({f"{prefix}/{key.lower()}": (value,) for key, value in tags.items()})


def _version_header(version_id: str) -> dict[str, str]:
    return {"x-amz-version-id": version_id} if version_id else {}


async def get_object_tagging(call: Call) -> web.StreamResponse:
    """GetObjectTagging."""
    found = object_tags.get_object_tags(call.context, call.bucket, call.key, parse_version_id(call.query.params))
    return call.answer(headers=_version_header(found.version_id), body=render_tagging(found.tags))


async def put_object_tagging(call: Call) -> web.StreamResponse:
    """PutObjectTagging."""
    version_id = parse_version_id(call.query.params)
    tags = parse_tagging(await call.read_document(body_bytes_max("Tagging")), OBJECT_TAGS_MAX)
    _tell_policies(call, tags, "s3:requestobjecttag", "s3:requestobjecttagkeys")
    shown = await object_tags.put_object_tags(call.context, call.bucket, call.key, version_id, tags)
    return call.answer(headers=_version_header(shown))


async def delete_object_tagging(call: Call) -> web.StreamResponse:
    """DeleteObjectTagging."""
    version_id = parse_version_id(call.query.params)
    shown = await object_tags.delete_object_tags(call.context, call.bucket, call.key, version_id)
    return call.answer(204, _version_header(shown))


async def get_bucket_tagging(call: Call) -> web.StreamResponse:
    """GetBucketTagging."""
    return call.answer(body=render_tagging(object_tags.get_bucket_tags(call.context, call.bucket)))


async def put_bucket_tagging(call: Call) -> web.StreamResponse:
    """PutBucketTagging."""
    tags = parse_tagging(await call.read_document(body_bytes_max("Tagging")), BUCKET_TAGS_MAX)
    _tell_policies(call, tags, "aws:requesttag", "aws:tagkeys")
    await object_tags.put_bucket_tags(call.context, call.bucket, tags)
    return call.answer(204)


async def delete_bucket_tagging(call: Call) -> web.StreamResponse:
    """DeleteBucketTagging."""
    await object_tags.put_bucket_tags(call.context, call.bucket, {})
    return call.answer(204)


HANDLERS: Final[dict[Operation, CallHandler]] = {
    Operation.DeleteBucketTagging: delete_bucket_tagging,
    Operation.DeleteObjectTagging: delete_object_tagging,
    Operation.GetBucketTagging: get_bucket_tagging,
    Operation.GetObjectTagging: get_object_tagging,
    Operation.PutBucketTagging: put_bucket_tagging,
    Operation.PutObjectTagging: put_object_tagging,
}
"""What this file answers."""
