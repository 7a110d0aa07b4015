"""Policies, ACLs, ownership, public access and who pays: typed arguments in, responses out."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.operations import bucket_acl, bucket_policy, object_acl
from gateway.operations.acl_grantees import ShownAcl
from gateway.s3.acl_xml import render_acl
from gateway.s3.bucket_policies import POLICY_BYTES_MAX
from gateway.s3.errors import MalformedPolicy
from gateway.s3.requests import parse_version_id
from gateway.s3.routing import Operation


async def get_policy(call: Call) -> web.StreamResponse:
    """GetBucketPolicy: the text as it was put."""
    body = bucket_policy.get_policy(call.context, call.bucket)
    return call.answer(headers={"Content-Type": "application/json"}, body=body)


async def put_policy(call: Call) -> web.StreamResponse:
    """PutBucketPolicy."""
    body = await call.body.read_whole(2 * POLICY_BYTES_MAX, MalformedPolicy)
    await bucket_policy.put_policy(call.context, call.bucket, body)
    return call.answer(204)


async def delete_policy(call: Call) -> web.StreamResponse:
    """DeleteBucketPolicy."""
    await bucket_policy.delete_policy(call.context, call.bucket)
    return call.answer(204)


async def get_policy_status(call: Call) -> web.StreamResponse:
    """GetBucketPolicyStatus."""
    is_public = bucket_policy.is_policy_public(call.context, call.bucket)
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n<PolicyStatus xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<IsPublic>{'true' if is_public else 'false'}</IsPublic></PolicyStatus>"
    )
    return call.answer(body=body.encode())


def _acl_body(shown: ShownAcl) -> bytes:
    return render_acl(shown.acl, lambda canonical_id: shown.names.get(canonical_id, ""))


async def get_bucket_acl(call: Call) -> web.StreamResponse:
    """GetBucketAcl."""
    return call.answer(body=_acl_body(bucket_acl.get_bucket_acl(call.context, call.bucket)))


async def get_object_acl(call: Call) -> web.StreamResponse:
    """GetObjectAcl."""
    version_id = parse_version_id(call.query.params)
    shown, shown_id = object_acl.get_object_acl(call.context, call.bucket, call.key, version_id)
    return call.answer(headers={"x-amz-version-id": shown_id} if shown_id else None, body=_acl_body(shown))


HANDLERS: Final[dict[Operation, CallHandler]] = {
    Operation.DeleteBucketPolicy: delete_policy,
    Operation.GetBucketAcl: get_bucket_acl,
    Operation.GetBucketPolicy: get_policy,
    Operation.GetBucketPolicyStatus: get_policy_status,
    Operation.GetObjectAcl: get_object_acl,
    Operation.PutBucketPolicy: put_policy,
}
"""What this file answers."""
