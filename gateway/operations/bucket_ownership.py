"""Ownership controls and public access block of a bucket, and what a new bucket begins with. See ``bucket_access``."""

from __future__ import annotations

from gateway.identity.bucket_access import (
    ACL,
    OWNERSHIP,
    PUBLIC_ACCESS_BLOCK,
    find_bucket_acl,
    find_ownership,
)
from gateway.operations.acl_grantees import resolve_acl
from gateway.operations.context import Context, find_bucket
from gateway.operations.written_acl import refuse_public_acl
from gateway.s3.acl import default_acl, encode_acl
from gateway.s3.acl_headers import AclRequest
from gateway.s3.errors import (
    InvalidBucketAclWithObjectOwnership,
    NoSuchPublicAccessBlockConfiguration,
    OwnershipControlsNotFoundError,
    S3Error,
)
from gateway.s3.ownership import ENFORCED, OBJECT_WRITER
from gateway.s3.public_access import (
    ALL_BLOCKED,
    PublicAccessBlock,
    decode_public_access_block,
    encode_public_access_block,
)
from gateway.store.ports import Bucket, WriteView


def _refuse_acl() -> S3Error:
    return InvalidBucketAclWithObjectOwnership(f"Bucket cannot have ACLs set with ObjectOwnership's {ENFORCED} setting")


def settle_bucket(context: Context, view: WriteView, bucket: Bucket, ownership: str, asked: AclRequest | None) -> None:
    """Give a bucket just made its ownership (empty: the site's default), public access block and ACL.

    Where ``ObjectWriter`` is the default, a bucket has no ownership controls until somebody sets them, as AWS's
    buckets of that time had none.

    Raises ``InvalidBucketAclWithObjectOwnership`` for an ACL where none count, ``AccessDenied`` for a public one where
    those are blocked.
    """
    settings = context.settings
    default = settings.object_ownership_default
    view.put_document(bucket.uid, OWNERSHIP, (ownership or ("" if default == OBJECT_WRITER else default)).encode())
    if settings.public_access_block_default:
        view.put_document(bucket.uid, PUBLIC_ACCESS_BLOCK, encode_public_access_block(ALL_BLOCKED))
    set_first_acl(view, bucket, asked)


def set_first_acl(view: WriteView, bucket: Bucket, asked: AclRequest | None) -> None:
    """The ACL that CreateBucket asks for; none is the default one, also for a bucket that had another."""
    owner = bucket.record.owner
    acl = default_acl(owner) if asked is None else resolve_acl(view, asked, owner, owner)
    if acl != default_acl(owner):
        if find_ownership(view, bucket) == ENFORCED:
            raise _refuse_acl()
        refuse_public_acl(view, bucket, acl)
        view.put_document(bucket.uid, ACL, encode_acl(acl))
    elif view.document(bucket.uid, ACL) is not None:
        view.put_document(bucket.uid, ACL, None)


def get_ownership(context: Context, name: str) -> str:
    """GetBucketOwnershipControls: the object ownership; ``OwnershipControlsNotFoundError`` if it was deleted."""
    with context.store.view() as view:
        bucket = find_bucket(context, view, name, "GetBucketOwnershipControls")
        if view.document(bucket.uid, OWNERSHIP) == b"":
            raise OwnershipControlsNotFoundError(None, BucketName=name)
        return find_ownership(view, bucket)


async def put_ownership(context: Context, name: str, ownership: str) -> None:
    """PutBucketOwnershipControls. ACLs cannot be switched off while the bucket's grants something to others."""

    def decide(view: WriteView) -> None:
        bucket = find_bucket(context, view, name, "PutBucketOwnershipControls")
        if ownership == ENFORCED and find_bucket_acl(view, bucket) != default_acl(bucket.record.owner):
            raise _refuse_acl()
        view.put_document(bucket.uid, OWNERSHIP, ownership.encode())

    await context.store.commit(decide)


async def delete_ownership(context: Context, name: str) -> None:
    """DeleteBucketOwnershipControls: ACLs count from now on, and objects are their writers'."""

    def decide(view: WriteView) -> None:
        bucket = find_bucket(context, view, name, "DeleteBucketOwnershipControls")
        view.put_document(bucket.uid, OWNERSHIP, b"")

    await context.store.commit(decide)


def get_public_access_block(context: Context, name: str) -> PublicAccessBlock:
    """GetPublicAccessBlock; ``NoSuchPublicAccessBlockConfiguration`` without one."""
    with context.store.view() as view:
        bucket = find_bucket(context, view, name, "GetPublicAccessBlock")
        body = view.document(bucket.uid, PUBLIC_ACCESS_BLOCK)
    if body is None:
        raise NoSuchPublicAccessBlockConfiguration(None, BucketName=name)
    return decode_public_access_block(body)


async def put_public_access_block(context: Context, name: str, block: PublicAccessBlock | None) -> None:
    """PutPublicAccessBlock, and DeletePublicAccessBlock (None)."""
    operation = "DeletePublicAccessBlock" if block is None else "PutPublicAccessBlock"
    body = None if block is None else encode_public_access_block(block)

    def decide(view: WriteView) -> None:
        bucket = find_bucket(context, view, name, operation)
        if view.document(bucket.uid, PUBLIC_ACCESS_BLOCK) != body:
            view.put_document(bucket.uid, PUBLIC_ACCESS_BLOCK, body)

    await context.store.commit(decide)
