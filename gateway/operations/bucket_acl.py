"""The ACL of a bucket: get and put. One snapshot or one commit each. What an ACL allows: ``identity/authorize``."""

from __future__ import annotations

from gateway.identity.bucket_access import ACL, find_bucket_acl, has_acls
from gateway.operations.acl_grantees import ShownAcl, resolve_acl, show_acl
from gateway.operations.context import Context, find_bucket
from gateway.operations.written_acl import refuse_public_acl
from gateway.s3.acl import encode_acl
from gateway.s3.acl_headers import AclRequest
from gateway.s3.acl_xml import AclBody
from gateway.s3.errors import AccessControlListNotSupported
from gateway.store.ports import WriteView


def get_bucket_acl(context: Context, name: str) -> ShownAcl:
    """GetBucketAcl: where ACLs do not count, its owner's full control."""
    with context.store.view() as view:
        return show_acl(view, find_bucket_acl(view, find_bucket(context, view, name, "GetBucketAcl")))


async def put_bucket_acl(context: Context, name: str, asked: AclRequest | AclBody) -> None:
    """PutBucketAcl. ``AccessControlListNotSupported`` where ACLs do not count; see ``resolve_acl`` for the rest."""

    def decide(view: WriteView) -> None:
        bucket = find_bucket(context, view, name, "PutBucketAcl")
        if not has_acls(view, bucket):
            raise AccessControlListNotSupported
        acl = resolve_acl(view, asked, bucket.record.owner, bucket.record.owner)
        refuse_public_acl(view, bucket, acl)
        view.put_document(bucket.uid, ACL, encode_acl(acl))

    await context.store.commit(decide)
