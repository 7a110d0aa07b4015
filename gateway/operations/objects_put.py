"""PUT of an object: refuse early, take the body in, decide in the commit.

Order: bucket and permission (before a byte is read, so that 100 Continue is not sent in vain) → body into a writer,
verified whole → commit, where bucket, versioning and preconditions are looked at again, in the transaction that
counts. Nothing is stored if any of it fails: an uncommitted writer's chunks are nobody's and are collected.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from msgspec.structs import replace

from gateway.operations.bodies import Body, Received
from gateway.operations.bucket_documents import LIFECYCLE, NOTIFICATION, OBJECT_LOCK
from gateway.operations.conditions import check_comparison, check_write
from gateway.operations.context import Context, find_bucket, shown_version_id
from gateway.operations.lifecycle_facts import find_expiry_of
from gateway.operations.notifications import note_event
from gateway.operations.object_attributes import settle_attributes
from gateway.operations.object_encryption import find_wanted, make_sealing, pour_sealed, shown_encryption
from gateway.operations.storage_classes import place_class
from gateway.operations.written_acl import written_owner
from gateway.s3.attributes import NO_ATTRIBUTES, Attributes
from gateway.s3.checksums import FULL_OBJECT
from gateway.s3.conditions import NO_CONDITIONS, Conditions
from gateway.s3.errors import NoSuchBucket
from gateway.s3.lifecycle_rules import Action
from gateway.store.item_format import is_local_uid
from gateway.store.object_format import ObjectRecord
from gateway.store.ports import Bucket, Content, ReadView, Version, WriteView
from replication.change_format import Ref

_ADD_TO_WRITES: Final = frozenset({LIFECYCLE, NOTIFICATION, OBJECT_LOCK})
"""The documents of a bucket that put something into every object's record, or into the answer."""


class PutRequest(NamedTuple):
    """Where an object goes and what it carries besides its bytes. ``event``: ``Copy`` for a copy, as events tell it."""

    bucket: str
    key: bytes
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    storage_class: str = "STANDARD"
    conditions: Conditions = NO_CONDITIONS
    attributes: Attributes = NO_ATTRIBUTES
    event: str = ""


class Written(NamedTuple):
    """What a write answers: the record as stored and its version id as shown (empty without versioning).

    ``encryption``: the headers that tell of it; ``expiry``: when lifecycle rules will let it expire.
    """

    record: ObjectRecord
    version_id: str
    encryption: Mapping[str, str] = {}
    expiry: Action | None = None


def check_target(
    context: Context, view: ReadView, name: str, key: bytes, conditions: Conditions, operation: str
) -> tuple[Bucket, tuple[Ref, ...]]:
    """Early refusal of a write, and the refs of what it would replace (patch bases). Authoritative only in a commit."""
    bucket = find_bucket(context, view, name, operation, key)
    check_comparison(context, view, bucket, key, conditions.if_match)
    current = view.current(bucket.uid, key)
    check_write(conditions, current)
    return bucket, () if current is None else current.record.content


def place_record(
    context: Context, view: WriteView, bucket: Bucket, request: PutRequest, record: ObjectRecord, operation: str
) -> Written:
    """The decision of every write of an object, inside the commit: still the same bucket? preconditions? then put.

    ``record.modified_ms`` and ``record.condition`` are set here. Raises ``NoSuchBucket`` if the bucket was deleted (or
    replaced by another owner's) since the request began.
    """
    now = find_bucket(context, view, request.bucket, operation, request.key)
    if now.uid != bucket.uid:
        raise NoSuchBucket(None, BucketName=request.bucket)
    place_class(view, now, record.storage_class)
    condition = None
    if request.conditions is not NO_CONDITIONS:  # spares the lookup where there is nothing to evaluate
        condition = check_write(request.conditions, view.current(bucket.uid, request.key))
    is_simple = request.attributes is NO_ATTRIBUTES and _ADD_TO_WRITES.isdisjoint(now.documents)
    extra = record.extra
    if not is_simple:
        extra = settle_attributes(context, view, now, request.key, request.attributes, extra)
        event = request.event or (operation if operation == "CompleteMultipartUpload" else "")
        extra.update(note_event(context, view, now, event))
    owner = written_owner(view, now, record.owner, extra)
    final = replace(record, modified_ms=view.now_ms, owner=owner, condition=condition, extra=extra)
    version: Version = view.put_object(bucket.uid, request.key, final, versioned=now.versioning == "Enabled")
    expiry = None if is_simple else find_expiry_of(view, now, request.key, final)
    return Written(final, shown_version_id(now, version.id), _shown(context, request, final), expiry)


def _shown(context: Context, request: PutRequest, record: ObjectRecord) -> Mapping[str, str]:
    asked = request.attributes.sse
    key_md5 = asked.customer.md5 if asked is not None and asked.customer is not None else ""
    return shown_encryption(context.settings.region, record.extra, key_md5, written=True)


def record_of(
    context: Context, request: PutRequest, received: Received, content: Content, extra: dict[str, bytes]
) -> ObjectRecord:
    """The record of an object put in one piece; ``extra``: what its encryption keeps."""
    return ObjectRecord(
        size=received.size,
        etag=received.md5,
        content=content.refs,
        headers=request.headers,
        metadata=request.metadata,
        checksums=received.checksums,
        checksum_type=FULL_OBJECT if received.checksums else "",
        owner=context.principal.id,
        storage_class=request.storage_class,
        extra=extra,
    )


async def put_object(context: Context, request: PutRequest, body: Body) -> Written:
    """Store one object. Durable when it returns. Raises S3 errors and the store's; then nothing is stored."""
    with context.store.view() as view:
        bucket, replaces = check_target(context, view, request.bucket, request.key, request.conditions, "PutObject")
        wanted = find_wanted(context, view, bucket, request.attributes.sse)
    sealing = await make_sealing(context, wanted) if wanted is not None else None
    async with context.store.writer(
        replaces=replaces if sealing is None else (), local=is_local_uid(bucket.uid)
    ) as writer:
        received = await pour_sealed(body, writer, sealing)
        extra = sealing.extra if sealing is not None else {}
        record = record_of(context, request, received, await writer.finish(), extra)
        return await context.store.commit(
            lambda view: place_record(context, view, bucket, request, record, "PutObject")
        )
