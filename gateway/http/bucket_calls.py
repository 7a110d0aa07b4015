"""The bucket verbs and the listings: typed arguments in, responses out."""

from __future__ import annotations

from typing import Any, Final, cast

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.http.multipart_calls import shown_owner
from gateway.operations import buckets
from gateway.operations.listings import list_object_versions, list_objects
from gateway.s3 import list_requests
from gateway.s3.acl_headers import parse_acl_headers
from gateway.s3.bodies import parse_create_bucket, parse_versioning
from gateway.s3.documents import body_bytes_max
from gateway.s3.listing import encode_token
from gateway.s3.object_lock import parse_lock_enabled
from gateway.s3.ownership import parse_ownership_header
from gateway.s3.rendering import (
    render_list_buckets,
    render_list_v1,
    render_list_v2,
    render_list_versions,
    render_location,
    render_versioning,
)
from gateway.s3.restore_requests import render_restore_status
from gateway.s3.routing import Operation


async def create_bucket(call: Call) -> web.StreamResponse:
    """CreateBucket."""
    asked = parse_create_bucket(await call.read_document(body_bytes_max("CreateBucketConfiguration")))
    lock = parse_lock_enabled(call.headers)
    ownership, acl = parse_ownership_header(call.headers), parse_acl_headers(call.headers)
    bucket = await buckets.create_bucket(
        call.context, call.bucket, asked.location, object_lock=lock, ownership=ownership, acl=acl, tags=asked.tags
    )
    return call.answer(headers={"Location": "/" + bucket.name})


async def head_bucket(call: Call) -> web.StreamResponse:
    """HeadBucket."""
    bucket = buckets.head_bucket(call.context, call.bucket)
    headers = {
        "x-amz-bucket-region": buckets.bucket_region(call.context, bucket),
        "x-amz-access-point-alias": "false",
        "Content-Type": "application/xml",
    }
    return call.answer(headers=headers)


async def delete_bucket(call: Call) -> web.StreamResponse:
    """DeleteBucket."""
    await buckets.delete_bucket(call.context, call.bucket)
    return call.answer(204)


async def list_buckets(call: Call) -> web.StreamResponse:
    """ListBuckets."""
    parameters = list_requests.parse_list_buckets(call.query.params)
    page = buckets.list_buckets(
        call.context,
        prefix=parameters.prefix,
        after=parameters.after,
        count_max=parameters.buckets_max or 10_000,
        region=call.query.params.get("bucket-region", ""),
    )
    body = render_list_buckets(
        shown_owner(page.owner),
        [(b.name, b.record.created_ms, buckets.bucket_region(call.context, b)) for b in page.buckets],
        prefix=parameters.prefix,
        token=encode_token(page.next_after.encode(), is_prefix=False) if page.next_after else "",
    )
    return call.answer(body=body)


async def get_location(call: Call) -> web.StreamResponse:
    """GetBucketLocation."""
    return call.answer(body=render_location(buckets.get_location(call.context, call.bucket)))


async def get_versioning(call: Call) -> web.StreamResponse:
    """GetBucketVersioning."""
    return call.answer(body=render_versioning(buckets.get_versioning(call.context, call.bucket)))


async def put_versioning(call: Call) -> web.StreamResponse:
    """PutBucketVersioning."""
    status = parse_versioning(await call.read_document(body_bytes_max("VersioningConfiguration")))
    await buckets.put_versioning(call.context, call.bucket, status)
    return call.answer()


def _restore_elements(call: Call, restored: dict[tuple[bytes, str], int]) -> dict[tuple[bytes, str], str]:
    """RestoreStatus of a listing's entries, if it is asked for; of the values there is only that one (``headers``)."""
    if not restored or "x-amz-optional-object-attributes" not in call.headers:
        return {}
    now_ms = call.now_s * 1000
    return {name: render_restore_status(until_ms) for name, until_ms in restored.items() if until_ms > now_ms}


async def list_v1(call: Call) -> web.StreamResponse:
    """ListObjects."""
    parameters = list_requests.parse_list_v1(call.query.params)
    take_turn = call.shares.turns.take
    page = await list_objects(call.context, call.bucket, parameters.page, take_turn, with_owners=True)
    body = render_list_v1(
        call.bucket,
        parameters,
        cast("Any", page.listing),
        lambda user_id: shown_owner(page.owners[user_id]),
        _restore_elements(call, page.restored),
    )
    return call.answer(headers={"x-amz-bucket-region": buckets.bucket_region(call.context, page.bucket)}, body=body)


async def list_v2(call: Call) -> web.StreamResponse:
    """ListObjectsV2."""
    parameters = list_requests.parse_list_v2(call.query.params)
    take_turn, with_owners = call.shares.turns.take, parameters.fetch_owner
    page = await list_objects(call.context, call.bucket, parameters.page, take_turn, with_owners=with_owners)
    body = render_list_v2(
        call.bucket,
        parameters,
        cast("Any", page.listing),
        lambda user_id: shown_owner(page.owners[user_id]),
        _restore_elements(call, page.restored),
    )
    return call.answer(headers={"x-amz-bucket-region": buckets.bucket_region(call.context, page.bucket)}, body=body)


async def list_versions(call: Call) -> web.StreamResponse:
    """ListObjectVersions."""
    parameters = list_requests.parse_list_versions(call.query.params)
    take_turn, marker = call.shares.turns.take, parameters.version_id_marker
    page = await list_object_versions(call.context, call.bucket, parameters.page, marker, take_turn)
    body = render_list_versions(
        call.bucket,
        parameters,
        cast("Any", page.listing),
        lambda user_id: shown_owner(page.owners[user_id]),
        _restore_elements(call, page.restored),
    )
    return call.answer(headers={"x-amz-bucket-region": buckets.bucket_region(call.context, page.bucket)}, body=body)


HANDLERS: Final[dict[Operation, CallHandler]] = {
    Operation.CreateBucket: create_bucket,
    Operation.DeleteBucket: delete_bucket,
    Operation.GetBucketLocation: get_location,
    Operation.GetBucketVersioning: get_versioning,
    Operation.HeadBucket: head_bucket,
    Operation.ListBuckets: list_buckets,
    Operation.ListObjectVersions: list_versions,
    Operation.ListObjects: list_v1,
    Operation.ListObjectsV2: list_v2,
    Operation.PutBucketVersioning: put_versioning,
}
"""What this file answers."""
