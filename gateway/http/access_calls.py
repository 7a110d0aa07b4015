"""Policies, ACLs, ownership, public access and who pays: typed arguments in, responses out."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.operations import bucket_acl, bucket_ownership, bucket_policy, object_acl, request_payment
from gateway.operations.acl_grantees import ShownAcl
from gateway.s3.acl_headers import AclRequest, parse_acl_headers
from gateway.s3.acl_xml import AclBody, parse_acl, render_acl
from gateway.s3.bucket_policies import POLICY_BYTES_MAX
from gateway.s3.documents import body_bytes_max
from gateway.s3.errors import MalformedPolicy, MissingSecurityHeader, UnexpectedContent
from gateway.s3.ownership import parse_ownership_controls, render_ownership_controls
from gateway.s3.public_access import parse_public_access_block, render_public_access_block
from gateway.s3.request_payment import parse_request_payment, render_request_payment
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


async def _asked_acl(call: Call) -> AclRequest | AclBody:
    """The ACL of a Put…Acl: by headers, or by its document, never both."""
    body = await call.read_document(body_bytes_max("AccessControlPolicy"))
    by_headers = parse_acl_headers(call.headers)
    if by_headers is None:
        if not body:
            raise MissingSecurityHeader(None, MissingHeaderName="x-amz-acl")
        return parse_acl(body)
    if body:
        raise UnexpectedContent
    return by_headers


async def put_bucket_acl(call: Call) -> web.StreamResponse:
    """PutBucketAcl."""
    await bucket_acl.put_bucket_acl(call.context, call.bucket, await _asked_acl(call))
    return call.answer()


async def put_object_acl(call: Call) -> web.StreamResponse:
    """PutObjectAcl."""
    version_id = parse_version_id(call.query.params)
    asked = await _asked_acl(call)
    shown_id = await object_acl.put_object_acl(call.context, call.bucket, call.key, version_id, asked)
    return call.answer(headers={"x-amz-version-id": shown_id} if shown_id else None)


async def get_ownership(call: Call) -> web.StreamResponse:
    """GetBucketOwnershipControls."""
    ownership = bucket_ownership.get_ownership(call.context, call.bucket)
    return call.answer(body=render_ownership_controls(ownership))


async def put_ownership(call: Call) -> web.StreamResponse:
    """PutBucketOwnershipControls."""
    ownership = parse_ownership_controls(await call.read_document(body_bytes_max("OwnershipControls")))
    await bucket_ownership.put_ownership(call.context, call.bucket, ownership)
    return call.answer()


async def delete_ownership(call: Call) -> web.StreamResponse:
    """DeleteBucketOwnershipControls."""
    await bucket_ownership.delete_ownership(call.context, call.bucket)
    return call.answer(204)


async def get_public_access_block(call: Call) -> web.StreamResponse:
    """GetPublicAccessBlock."""
    block = bucket_ownership.get_public_access_block(call.context, call.bucket)
    return call.answer(body=render_public_access_block(block))


async def put_public_access_block(call: Call) -> web.StreamResponse:
    """PutPublicAccessBlock."""
    document = await call.read_document(body_bytes_max("PublicAccessBlockConfiguration"))
    await bucket_ownership.put_public_access_block(call.context, call.bucket, parse_public_access_block(document))
    return call.answer()


async def delete_public_access_block(call: Call) -> web.StreamResponse:
    """DeletePublicAccessBlock."""
    await bucket_ownership.put_public_access_block(call.context, call.bucket, None)
    return call.answer(204)


async def get_request_payment(call: Call) -> web.StreamResponse:
    """GetBucketRequestPayment."""
    payer = request_payment.get_payer(call.context, call.bucket)
    return call.answer(body=render_request_payment(payer))


async def put_request_payment(call: Call) -> web.StreamResponse:
    """PutBucketRequestPayment."""
    payer = parse_request_payment(await call.read_document(body_bytes_max("RequestPaymentConfiguration")))
    await request_payment.put_payer(call.context, call.bucket, payer)
    return call.answer()


HANDLERS: Final[dict[Operation, CallHandler]] = {
    Operation.DeleteBucketOwnershipControls: delete_ownership,
    Operation.DeleteBucketPolicy: delete_policy,
    Operation.DeletePublicAccessBlock: delete_public_access_block,
    Operation.GetBucketAcl: get_bucket_acl,
    Operation.GetBucketOwnershipControls: get_ownership,
    Operation.GetBucketPolicy: get_policy,
    Operation.GetBucketPolicyStatus: get_policy_status,
    Operation.GetBucketRequestPayment: get_request_payment,
    Operation.GetObjectAcl: get_object_acl,
    Operation.GetPublicAccessBlock: get_public_access_block,
    Operation.PutBucketAcl: put_bucket_acl,
    Operation.PutBucketOwnershipControls: put_ownership,
    Operation.PutBucketPolicy: put_policy,
    Operation.PutBucketRequestPayment: put_request_payment,
    Operation.PutObjectAcl: put_object_acl,
    Operation.PutPublicAccessBlock: put_public_access_block,
}
"""What this file answers."""
