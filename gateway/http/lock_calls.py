"""Object Lock's verbs: typed arguments in, responses out."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.operations import object_lock_verbs as verbs
from gateway.s3 import object_lock
from gateway.s3.documents import body_bytes_max
from gateway.s3.object_headers import require_checksum
from gateway.s3.requests import parse_version_id
from gateway.s3.routing import Operation


async def _read(call: Call, root: str) -> bytes:
    """A document that must be vouched for, as AWS demands of Object Lock's."""
    require_checksum(call.headers)
    return await call.read_document(body_bytes_max(root))


async def get_configuration(call: Call) -> web.StreamResponse:
    """GetObjectLockConfiguration."""
    return call.answer(body=object_lock.render_configuration(verbs.get_lock_configuration(call.context, call.bucket)))


async def put_configuration(call: Call) -> web.StreamResponse:
    """PutObjectLockConfiguration."""
    configuration = object_lock.parse_configuration(await _read(call, "ObjectLockConfiguration"))
    await verbs.put_lock_configuration(call.context, call.bucket, configuration)
    return call.answer()


async def get_retention(call: Call) -> web.StreamResponse:
    """GetObjectRetention."""
    version_id = parse_version_id(call.query.params)
    retention = verbs.get_retention(call.context, call.bucket, call.key, version_id)
    return call.answer(body=object_lock.render_retention(retention))


async def put_retention(call: Call) -> web.StreamResponse:
    """PutObjectRetention."""
    version_id, bypass = parse_version_id(call.query.params), object_lock.parse_bypass(call.headers)
    wanted = object_lock.parse_retention(await _read(call, "Retention"))
    call.context.facts.tell_lock(wanted.mode, wanted.until_ms)
    await verbs.put_retention(call.context, call.bucket, call.key, version_id, wanted, bypass=bypass)
    return call.answer()


async def get_hold(call: Call) -> web.StreamResponse:
    """GetObjectLegalHold."""
    version_id = parse_version_id(call.query.params)
    return call.answer(body=object_lock.render_hold(verbs.get_hold(call.context, call.bucket, call.key, version_id)))


async def put_hold(call: Call) -> web.StreamResponse:
    """PutObjectLegalHold."""
    version_id = parse_version_id(call.query.params)
    hold = object_lock.parse_hold(await _read(call, "LegalHold"))
    call.context.facts.tell_lock("", 0, hold)
    await verbs.put_hold(call.context, call.bucket, call.key, version_id, hold)
    return call.answer()


HANDLERS: Final[dict[Operation, CallHandler]] = {
    Operation.GetObjectLegalHold: get_hold,
    Operation.GetObjectLockConfiguration: get_configuration,
    Operation.GetObjectRetention: get_retention,
    Operation.PutObjectLegalHold: put_hold,
    Operation.PutObjectLockConfiguration: put_configuration,
    Operation.PutObjectRetention: put_retention,
}
"""What this file answers."""
