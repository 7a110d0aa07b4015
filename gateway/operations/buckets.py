"""Buckets: create, head, delete, list, location, versioning. One transaction each."""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import islice
from typing import NamedTuple

from gateway.identity.authorize import authorize
from gateway.identity.bucket_access import find_ownership
from gateway.operations.bucket_documents import ACL, TAGGING, VERSIONING
from gateway.operations.bucket_ownership import set_first_acl, settle_bucket
from gateway.operations.context import Context, Owner, check_access, check_not_elsewhere, find_bucket, find_owner
from gateway.operations.object_lock import check_versioning, enable_lock, find_lock
from gateway.s3.acl_headers import AclRequest
from gateway.s3.errors import (
    AccessDenied,
    BucketAlreadyExists,
    BucketAlreadyOwnedByYou,
    BucketNotEmpty,
    IllegalLocationConstraintException,
    IllegalVersioningConfigurationException,
    InvalidBucketState,
    InvalidLocationConstraint,
    TooManyBuckets,
    not_implemented_header,
)
from gateway.s3.names import check_bucket_name
from gateway.s3.tagging import encode_tags
from gateway.store.document_format import BucketRecord
from gateway.store.item_format import is_local_uid
from gateway.store.ports import Bucket, WriteView

LOCAL = "local"
"""The LocationConstraint of a bucket whose objects never leave the site they are written on."""
_CLASSIC_REGION = "us-east-1"
_REGION_ALIASES = {"EU": "eu-west-1"}  # LocationConstraint's valid values, CreateBucket, API reference
_REGION = re.compile(r"[a-z]{2}(-[a-z]{2,16}){1,2}-[1-9]")  # what could be another site's
_UPLOADS_CLOSED_MAX = 1000


class BucketPage(NamedTuple):
    """A page of ListBuckets: buckets by name, their owner, and the name to go on behind (empty: the end)."""

    owner: Owner
    buckets: list[Bucket]
    next_after: str


async def create_bucket(
    context: Context,
    name: str,
    location: str = "",
    *,
    object_lock: bool = False,
    ownership: str = "",
    acl: AclRequest | None = None,
    tags: Mapping[str, str] = {},
) -> Bucket:
    """Create a bucket owned by the caller; one's own again is ``BucketAlreadyOwnedByYou``, in us-east-1 a success
    unless it asks for what the bucket does not have.

    ``location`` is the LocationConstraint asked for: empty, this site's region, or ``local`` for a bucket whose objects
    never leave the site they are written on; ``object_lock``: with Object Lock
    (and versioning) from the start; ``ownership``: its object ownership, empty for the site's default; ``acl``: see
    ``settle_bucket``; ``tags``: its tags. Raises ``InvalidBucketName``, ``InvalidLocationConstraint`` for what is no
    region and ``IllegalLocationConstraintException`` for another,
    ``BucketAlreadyExists``, ``TooManyBuckets``.
    """
    _authorize_creation(context, name, location, object_lock=object_lock, ownership=ownership, acl=acl)
    if tags:
        authorize(context.principal, "TagResource", None, facts=context.facts, name=name)
    check_bucket_name(name)
    region = context.settings.region
    location = _REGION_ALIASES.get(location, location)
    local = location == LOCAL
    if location and location != region and not local:
        if not _REGION.fullmatch(location):
            raise InvalidLocationConstraint(None, LocationConstraint=location)
        raise IllegalLocationConstraintException(
            f"The {location} location constraint is incompatible for the region specific endpoint this request was "
            "sent to."
        )

    def decide(view: WriteView) -> Bucket:
        check_not_elsewhere(view, name)
        if not view.takes_in(name):
            raise InvalidBucketState("This site does not subscribe to buckets of this name.", BucketName=name)
        known = view.bucket(name)
        if known is not None:
            if known.record.owner != context.principal.id:
                raise BucketAlreadyExists(None, BucketName=name)
            as_asked = _is_as_asked(view, known, object_lock, ownership, tags) and is_local_uid(known.uid) == local
            if region != _CLASSIC_REGION or not as_asked:
                raise BucketAlreadyOwnedByYou(None, BucketName=name)
            if acl is not None or view.document(known.uid, ACL) is not None:  # it changes: what there is may forbid it
                check_access(context, view, known, "PutBucketAcl")
            set_first_acl(view, known, acl)
            return known
        if len(view.buckets(context.principal.id)) >= context.settings.buckets_per_user_max:
            raise TooManyBuckets
        made = view.put_bucket(
            BucketRecord(
                name=name, owner=context.principal.id, created_ms=view.now_ms, region="" if local else location
            ),
            local=local,
        )
        settle_bucket(context, view, made, ownership, acl)
        if object_lock:
            enable_lock(view, made.uid)
        if tags:
            view.put_document(made.uid, TAGGING, encode_tags(tags))
        return made

    return await context.store.commit(decide)


def _is_as_asked(view: WriteView, bucket: Bucket, object_lock: bool, ownership: str, tags: Mapping[str, str]) -> bool:
    """Whether a bucket that is there already has what its making asks for: a success must not pass any of it over."""
    return (
        not (object_lock and find_lock(view, bucket.uid) is None)
        and ownership in ("", find_ownership(view, bucket))
        and not (tags and view.document(bucket.uid, TAGGING) != encode_tags(tags))
    )


def _authorize_creation(
    context: Context, name: str, location: str, *, object_lock: bool, ownership: str, acl: AclRequest | None
) -> None:
    """``AccessDenied`` unless the caller may create the bucket, and everything it asks of it besides."""
    operations = ["CreateBucket"]
    if acl is not None:
        operations.append("PutBucketAcl")
    if ownership:
        operations.append("PutBucketOwnershipControls")
    if object_lock:
        operations += ["PutObjectLockConfiguration", "PutBucketVersioning"]
    if location:
        context.facts.more["s3:locationconstraint"] = (location,)
    for operation in operations:
        authorize(context.principal, operation, None, facts=context.facts, name=name)


async def delete_bucket(context: Context, name: str) -> None:
    """Delete an empty bucket; its open uploads are aborted with it. ``BucketNotEmpty`` if any version is left."""

    def decide(view: WriteView) -> None:
        bucket = find_bucket(context, view, name, "DeleteBucket")
        for upload in list(islice(view.uploads(bucket.uid), _UPLOADS_CLOSED_MAX)):
            view.close_upload(upload.id)
        if not view.is_bucket_empty(bucket.uid):
            raise BucketNotEmpty(None, BucketName=name)
        view.delete_bucket(bucket.uid)

    await context.store.commit(decide)


def head_bucket(context: Context, name: str) -> Bucket:
    """The bucket, if it is there and the caller may see it. Its region is told to everyone: clients look for it so."""
    with context.store.view() as view:
        try:
            return find_bucket(context, view, name, "HeadBucket")
        except AccessDenied as error:
            bucket = view.bucket(name)
            assert bucket is not None, "access to a bucket that is not there was denied"
            error.headers["x-amz-bucket-region"] = bucket_region(context, bucket)
            raise


def bucket_region(context: Context, bucket: Bucket) -> str:
    """The region a bucket answers for: the one it was made for, else this site's."""
    return bucket.record.region or context.settings.region


def get_location(context: Context, name: str) -> str:
    """LocationConstraint of a bucket: empty for us-east-1, as AWS has it; ``local`` for one that stays here."""
    with context.store.view() as view:
        bucket = find_bucket(context, view, name, "GetBucketLocation")
    if is_local_uid(bucket.uid):
        return LOCAL
    region = bucket_region(context, bucket)
    return "" if region == _CLASSIC_REGION else region


def list_buckets(
    context: Context, *, prefix: str = "", after: str = "", count_max: int = 10_000, region: str = ""
) -> BucketPage:
    """The caller's buckets by name, behind ``after``."""
    authorize(context.principal, "ListBuckets", None, facts=context.facts)
    with context.store.view() as view:
        found = [
            bucket
            for bucket in view.buckets(context.principal.id)
            if bucket.name.startswith(prefix)
            and bucket.name > after
            and (not region or bucket_region(context, bucket) == region)
        ]
        owner = find_owner(view, context.principal.id)
    page = found[:count_max]
    return BucketPage(owner, page, page[-1].name if page and len(found) > len(page) else "")


def get_versioning(context: Context, name: str) -> str:
    """``""``, ``Enabled`` or ``Suspended``."""
    with context.store.view() as view:
        return find_bucket(context, view, name, "GetBucketVersioning").versioning


async def put_versioning(context: Context, name: str, status: str, mfa_delete: str = "") -> None:
    """Enable or suspend versioning; it can never be switched off again."""
    if status not in ("Enabled", "Suspended"):
        raise IllegalVersioningConfigurationException(
            "The Versioning element must be specified as Enabled or Suspended"
        )
    if mfa_delete == "Enabled":
        raise not_implemented_header("x-amz-mfa")

    def decide(view: WriteView) -> None:
        bucket = find_bucket(context, view, name, "PutBucketVersioning")
        check_versioning(view, bucket.uid, status)
        if bucket.versioning != status:
            view.put_document(bucket.uid, VERSIONING, status.encode())

    await context.store.commit(decide)
