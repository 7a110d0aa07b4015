"""PutBucketLogging and GetBucketLogging."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.operations.access_logging import get_logging, put_logging
from gateway.operations.configurations import get_bucket
from gateway.s3.documents import body_bytes_max
from gateway.s3.logging_format import ROOT, parse_logging, render_logging
from gateway.s3.routing import Operation


async def put_status(call: Call) -> web.StreamResponse:
    """PutBucketLogging."""
    get_bucket(call.context, call.bucket, "PutBucketLogging")
    target = parse_logging(await call.read_document(body_bytes_max(ROOT)))
    await put_logging(call.context, call.bucket, target)
    return call.answer()


async def get_status(call: Call) -> web.StreamResponse:
    """GetBucketLogging."""
    return call.answer(body=render_logging(get_logging(call.context, call.bucket)))


HANDLERS: Final[dict[Operation, CallHandler]] = {
    Operation.GetBucketLogging: get_status,
    Operation.PutBucketLogging: put_status,
}
"""What this file answers."""
