"""PutBucketNotificationConfiguration and GetBucketNotificationConfiguration."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.operations.configurations import get_bucket
from gateway.operations.notifications import get_notification, put_notification
from gateway.s3.documents import body_bytes_max
from gateway.s3.errors import invalid_argument
from gateway.s3.notification import ROOT, parse_notification, render_notification
from gateway.s3.routing import Operation

_SKIP: Final = "x-amz-skip-destination-validation"


async def put_configuration(call: Call) -> web.StreamResponse:
    """PutBucketNotificationConfiguration. Each destination that it names is sent a test event, later."""
    skip = call.headers.get(_SKIP, "false").lower()
    if skip not in ("true", "false"):
        raise invalid_argument("The value must be true or false", _SKIP, skip)
    get_bucket(call.context, call.bucket, "PutBucketNotificationConfiguration")
    body = await call.read_document(body_bytes_max(ROOT))
    rules = parse_notification(body, None if skip == "true" else call.context.settings.destinations)
    await put_notification(call.context, call.bucket, rules)
    return call.answer()


async def get_configuration(call: Call) -> web.StreamResponse:
    """GetBucketNotificationConfiguration."""
    return call.answer(body=render_notification(get_notification(call.context, call.bucket)))


HANDLERS: Final[dict[Operation, CallHandler]] = {
    Operation.GetBucketNotificationConfiguration: get_configuration,
    Operation.PutBucketNotificationConfiguration: put_configuration,
}
"""What this file answers."""
