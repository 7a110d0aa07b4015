"""The ACL of a version of an object: get and put, and the one a write gives it. See ``identity/authorize`` for its use.

The ACL is an attribute: changing it makes no new version. Where ACLs do not count the bucket's owner has full control,
whatever is stored.
"""

from __future__ import annotations

from gateway.identity.bucket_access import ACL, has_acls, owner_of_object
from gateway.operations.acl_grantees import ShownAcl, resolve_acl, show_acl
from gateway.operations.context import Context, shown_version_id
from gateway.operations.object_attributes import find_attribute
from gateway.operations.objects_get import locate_version
from gateway.operations.written_acl import refuse_public_acl
from gateway.s3.acl import Acl, decode_acl, default_acl, encode_acl
from gateway.s3.acl_headers import AclRequest
from gateway.s3.acl_xml import AclBody
from gateway.s3.errors import AccessControlListNotSupported, invalid_argument
from gateway.store.ports import Bucket, ReadView, Version, WriteView


def find_object_acl(view: ReadView, bucket: Bucket, version: Version) -> Acl:
    """The ACL in force."""
    body = find_attribute(view, bucket, version, ACL) if has_acls(view, bucket) else None
    return decode_acl(body) if body else default_acl(owner_of_object(view, bucket, version.record.owner))


def get_object_acl(context: Context, name: str, key: bytes, version_id: str | None) -> tuple[ShownAcl, str]:
    """GetObjectAcl, and the version's id as shown."""
    with context.store.view() as view:
        bucket, version = locate_version(context, view, name, key, version_id, "GetObjectAcl")
        return show_acl(view, find_object_acl(view, bucket, version)), shown_version_id(bucket, version.id)


async def put_object_acl(
    context: Context, name: str, key: bytes, version_id: str | None, asked: AclRequest | AclBody
) -> str:
    """PutObjectAcl. Returns the version's id as shown. ``AccessControlListNotSupported`` where ACLs do not count."""

    def decide(view: WriteView) -> str:
        bucket, version = locate_version(context, view, name, key, version_id, "PutObjectAcl", "PUT")
        if not has_acls(view, bucket):
            raise AccessControlListNotSupported
        if isinstance(asked, AclRequest) and asked.canned == "log-delivery-write":
            raise invalid_argument("The canned ACL is for buckets only", "x-amz-acl", asked.canned)
        owner = owner_of_object(view, bucket, version.record.owner)
        acl = resolve_acl(view, asked, owner, bucket.record.owner)
        refuse_public_acl(view, bucket, acl)
        view.put_version_document(bucket.uid, version, ACL, encode_acl(acl))
        return shown_version_id(bucket, version.id)

    return await context.store.commit(decide)
