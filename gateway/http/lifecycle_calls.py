"""Lifecycle's verbs and RestoreObject: typed arguments in, responses out; and the headers that tell of expiry."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.operations import lifecycle_verbs as verbs
from gateway.operations.restore import restore_object
from gateway.s3.documents import body_bytes_max
from gateway.s3.lifecycle_document import SMALL_HEADER, parse_lifecycle, parse_small, render_lifecycle
from gateway.s3.lifecycle_rules import DAY_MS
from gateway.s3.object_headers import require_checksum
from gateway.s3.requests import parse_version_id
from gateway.s3.restore_requests import parse_restore
from gateway.s3.routing import Operation


async def put_lifecycle(call: Call) -> web.StreamResponse:
    """PutBucketLifecycleConfiguration."""
    require_checksum(call.headers)
    small = parse_small(call.headers.get(SMALL_HEADER))
    short_days = call.context.settings.lifecycle_day_ms != DAY_MS
    document = await call.read_document(body_bytes_max("LifecycleConfiguration"))
    await verbs.put_lifecycle(call.context, call.bucket, parse_lifecycle(document, small, short_days=short_days))
    return call.answer(headers={SMALL_HEADER: small})


async def get_lifecycle(call: Call) -> web.StreamResponse:
    """GetBucketLifecycleConfiguration."""
    lifecycle = verbs.get_lifecycle(call.context, call.bucket)
    return call.answer(headers={SMALL_HEADER: lifecycle.small}, body=render_lifecycle(lifecycle))


async def delete_lifecycle(call: Call) -> web.StreamResponse:
    """DeleteBucketLifecycle."""
    await verbs.delete_lifecycle(call.context, call.bucket)
    return call.answer(204)


async def restore_one(call: Call) -> web.StreamResponse:
    """RestoreObject: 202 for a restore that was begun, 200 for one whose time was set anew."""
    version_id = parse_version_id(call.query.params)
    wanted = parse_restore(await call.read_document(body_bytes_max("RestoreRequest")))
    begun = await restore_object(call.context, call.bucket, call.key, version_id, wanted)
    return call.answer(202 if begun else 200)


HANDLERS: Final[dict[Operation, CallHandler]] = {
    Operation.DeleteBucketLifecycle: delete_lifecycle,
    Operation.GetBucketLifecycleConfiguration: get_lifecycle,
    Operation.PutBucketLifecycleConfiguration: put_lifecycle,
    Operation.RestoreObject: restore_one,
}
"""What this file answers."""
