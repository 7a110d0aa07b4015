"""The ACL a write gives its object, and whose the object is. Called by ``object_attributes`` and ``objects_put``.

An object is its writer's, unless ACLs do not count in the bucket (then the bucket owner's), or its writer hands it
over: where the ownership is BucketOwnerPreferred, by the canned ACL bucket-owner-full-control. The ACL names the
owner, so that an upload completed later is whose it was when it was begun.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.identity.bucket_access import ACL, find_ownership, find_public_access_block, has_acls
from gateway.identity.principals import ANONYMOUS_ID
from gateway.operations.acl_grantees import resolve_acl
from gateway.operations.context import Context
from gateway.s3.acl import Acl, canned_acl, decode_acl, default_acl, encode_acl, is_public_acl
from gateway.s3.attributes import Attributes
from gateway.s3.errors import AccessControlListNotSupported, AccessDenied, invalid_argument
from gateway.s3.ownership import ENFORCED, PREFERRED
from gateway.store.ports import Bucket, ReadView

_HANDED_OVER = "bucket-owner-full-control"


def refuse_public_acl(view: ReadView, bucket: Bucket, acl: Acl) -> None:
    """``AccessDenied`` for a public ACL in a bucket that blocks those."""
    if is_public_acl(acl) and find_public_access_block(view, bucket).block_acls:
        raise AccessDenied("Public ACLs are blocked by the BlockPublicAcls setting of the bucket")


def settle_acl(
    context: Context, view: ReadView, bucket: Bucket, key: bytes, asked: Attributes, settled: Mapping[str, bytes]
) -> Mapping[str, bytes]:
    """A ``Settler``: the ACL that the request asks for. ``AccessControlListNotSupported`` where ACLs do not count, but
    for one that gives the bucket owner full control, which it has anyway.
    """
    if asked.acl is None:
        return {}
    bucket_owner = bucket.record.owner
    ownership = find_ownership(view, bucket)
    if ownership == ENFORCED:
        idle = default_acl(bucket_owner)
        is_idle = asked.acl.canned == _HANDED_OVER or (
            bool(asked.acl.grants) and resolve_acl(view, asked.acl, bucket_owner, bucket_owner) == idle
        )
        if not is_idle:
            raise AccessControlListNotSupported
        return {}
    if asked.acl.canned == "log-delivery-write":
        raise invalid_argument("The canned ACL is for buckets only", "x-amz-acl", asked.acl.canned)
    owner = context.principal.id or ANONYMOUS_ID
    if ownership == PREFERRED and asked.acl.canned == _HANDED_OVER:
        acl = canned_acl("private", bucket_owner, bucket_owner)
    else:
        acl = resolve_acl(view, asked.acl, owner, bucket_owner)
    refuse_public_acl(view, bucket, acl)
    return {ACL: encode_acl(acl)}


def written_owner(view: ReadView, bucket: Bucket, writer: str, extra: Mapping[str, bytes]) -> str:
    """The owner of a version about to be written by ``writer`` (empty: nobody who signed) with ``extra`` settled."""
    if bucket.is_plain or not has_acls(view, bucket):
        return bucket.record.owner
    body = extra.get(ACL)
    return decode_acl(body).owner if body else writer or ANONYMOUS_ID
