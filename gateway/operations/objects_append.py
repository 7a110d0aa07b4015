"""PutObject with a write offset: the body is put behind what is there, which is neither read nor written again.

S3 has this in directory buckets (User Guide, "Appending data to objects"); an append-only store has it anywhere. The
offset must be the object's size when the write is decided; with 0 and nothing there it is an ordinary put. Where the
bucket keeps versions, each append makes one; they share their bytes.

Headers, metadata, tags and owner stay the object's. The ETag is new and is no MD5 of the content (``-N``, with the
count of appends). The checksum is the whole object's if the object's algorithm combines (the CRCs), else there is none
afterwards: nothing is read to make one. An object takes 10,000 parts and appends together; a copy starts at none.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import structs

from gateway.operations.bodies import Body, Received
from gateway.operations.conditions import check_comparison, check_write
from gateway.operations.context import Context, check_access, find_bucket
from gateway.operations.object_attributes import carried_attributes
from gateway.operations.object_encryption import find_wanted
from gateway.operations.objects_put import PutRequest, Written, place_record, put_object
from gateway.operations.storage_classes import check_active
from gateway.s3.attributes import NO_ATTRIBUTES
from gateway.s3.checksums import ALGORITHMS, FULL_OBJECT, combine_checksums, extend_etag
from gateway.s3.encryption import find_seal
from gateway.s3.errors import (
    EncryptionTypeMismatch,
    EntityTooLarge,
    InvalidRequest,
    InvalidWriteOffset,
    OperationAborted,
    PreconditionFailed,
    S3NotImplemented,
    TooManyParts,
)
from gateway.store.errors import ChunkGone
from gateway.store.item_format import is_local_uid
from gateway.store.object_format import ObjectRecord
from gateway.store.ports import Bucket, Content, ReadView, Version, WriteView

ATTEMPTS_MAX: Final = 5
COUNT_EXTRA: Final = "appends"
"""The attribute that counts an object's parts and appends."""


class AppendRequest(NamedTuple):
    """A put behind ``offset`` bytes."""

    put: PutRequest
    offset: int


class _Seen(NamedTuple):
    """What one snapshot has to append to."""

    bucket: Bucket
    version: Version | None


def find_appended(context: Context, request: AppendRequest) -> str:
    """Early refusal of an append, before its body is read; returns the algorithm to compute, empty for the default."""
    with context.store.view() as view:
        seen = _look(context, view, request)
    if seen.version is None:
        return ""
    record = seen.version.record
    return next(iter(record.checksums), "") if record.checksum_type == FULL_OBJECT else ""


async def append_object(context: Context, request: AppendRequest, body: Body) -> Written:
    """Append. Durable when it returns. Raises ``InvalidWriteOffset`` also if somebody else was quicker."""
    with context.store.view() as view:
        seen = _look(context, view, request)
    if seen.version is None:
        return await _create(context, request, body)
    async with context.store.writer(local=is_local_uid(seen.bucket.uid)) as writer:
        received = await body.pour(writer)
        tail = await writer.finish()
        for _ in range(ATTEMPTS_MAX):
            with context.store.view() as view:
                seen = _look(context, view, request)
            if seen.version is None:
                raise InvalidWriteOffset
            try:
                written = await _append_once(context, request, seen.bucket, seen.version, received, tail)
            except ChunkGone:
                continue  # it was replaced and collected meanwhile: look again
            if written is not None:
                return written
    raise OperationAborted


def _look(context: Context, view: ReadView, request: AppendRequest) -> _Seen:
    """The object to append to, if this request may and can append to it."""
    put = request.put
    bucket = find_bucket(context, view, put.bucket, "PutObject", put.key)
    check_comparison(context, view, bucket, put.key, put.conditions.if_match)
    current = view.current(bucket.uid, put.key)
    check_write(put.conditions, current)
    if current is None or current.record.marker:
        if request.offset:
            raise InvalidWriteOffset
        return _Seen(bucket, None)
    # What is answered (ETag, checksum, size) tells of what is there: as with AWS's sessions, who appends may read.
    check_access(context, view, bucket, "GetObject", put.key)
    record = current.record
    if record.size != request.offset:
        raise InvalidWriteOffset
    if put.metadata or put.attributes._replace(sse=None) != NO_ATTRIBUTES:
        raise InvalidRequest("Metadata, tags, ACL and lock of an object cannot be changed by appending to it.")
    check_active(view, bucket, current)
    _check_encryption(context, view, bucket, put, record)
    if _count_parts(record) >= context.settings.parts_max:
        raise TooManyParts
    return _Seen(bucket, current)


def _check_encryption(context: Context, view: ReadView, bucket: Bucket, put: PutRequest, record: ObjectRecord) -> None:
    """Only what the realm's own sealing protects can grow: a layer of its own is one stream of ciphertext."""
    seal, wanted = find_seal(record.extra), find_wanted(context, view, bucket, put.attributes.sse)
    if seal is None and wanted is None:
        return
    if seal is None or wanted is None or seal.method != wanted.method:
        raise EncryptionTypeMismatch
    raise S3NotImplemented("Appending to objects under SSE-C or SSE-KMS is not implemented")


def _count_parts(record: ObjectRecord) -> int:
    return int(record.extra.get(COUNT_EXTRA, b"0")) or max(record.part_count, 1)


async def _create(context: Context, request: AppendRequest, body: Body) -> Written:
    """Nothing is there: a put that must still find nothing."""
    put = request.put
    conditions = put.conditions._replace(if_none_match="*")
    try:
        return await put_object(context, put._replace(conditions=conditions), body)
    except PreconditionFailed:
        if put.conditions.if_none_match is not None:
            raise
        raise InvalidWriteOffset from None


async def _append_once(
    context: Context, request: AppendRequest, bucket: Bucket, seen: Version, received: Received, tail: Content
) -> Written | None:
    """One try on what one snapshot has; None if that is not what the commit finds."""
    put = request.put
    content = await context.store.splice([*seen.record.content, *tail.refs], replaces=seen.record.content)
    appended = _appended_record(context, seen.record, received, content)
    # What it was appended to travels with it, so that a merge can tell when another write came between.
    conditions = put.conditions._replace(if_match=put.conditions.if_match or f'"{seen.record.etag}"')

    def decide(view: WriteView) -> Written | None:
        now = _look(context, view, request)
        if now.version is None or now.version.order != seen.order:
            return None
        record = structs.replace(appended, extra={**carried_attributes(view, bucket, seen), **appended.extra})
        target = PutRequest(put.bucket, put.key, conditions=conditions)
        return place_record(context, view, bucket, target, record, "PutObject")

    return await context.store.commit(decide)


def _appended_record(context: Context, old: ObjectRecord, received: Received, content: Content) -> ObjectRecord:
    """The record of the whole, but for what is settled in the commit."""
    size = old.size + received.size
    if size > context.settings.object_bytes_max:
        raise EntityTooLarge(None, ProposedSize=size, MaxSizeAllowed=context.settings.object_bytes_max)
    count = _count_parts(old) + 1
    checksums = {}
    if old.checksum_type == FULL_OBJECT:
        checksums = {
            name: combine_checksums(name, ((value, old.size), (received.checksums[name], received.size)))
            for name, value in old.checksums.items()
            if name in received.checksums and ALGORITHMS[name].combine is not None
        }
    return structs.replace(
        old,
        size=size,
        etag=extend_etag(old.etag, received.md5, count),
        content=content.refs,
        checksums=checksums,
        checksum_type=FULL_OBJECT if checksums else "",
        part_count=0,
        parts=None,
        extra={COUNT_EXTRA: str(count).encode()},
    )
