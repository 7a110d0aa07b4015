"""CopyObject: a new record over the same chunks. No data is moved.

The decision reads the source and writes the destination in one transaction, so what is copied is what is there, and
its chunks are referenced before anyone could let them go. Only a copy that asks for another checksum algorithm reads
the bytes first (to hash them, not to write them); if the source changed meanwhile it is read again.

The ETag stays the source's, a multipart one too (with its part table): it names the same bytes. Only where source or
target has an encryption layer of its own are the bytes read, ciphered and written again, unless both are under one KMS
key with one context: then the layer is copied, too.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import structs

from gateway.operations.conditions import check_comparison
from gateway.operations.context import Context, check_access, find_bucket, shown_version_id
from gateway.operations.digests import Digester
from gateway.operations.object_attributes import find_attribute
from gateway.operations.object_encryption import (
    Opening,
    Wanted,
    find_wanted,
    keeps_layer,
    make_sealing,
    open_layer,
    pour_sealed,
)
from gateway.operations.objects_get import locate_version
from gateway.operations.objects_put import PutRequest, Written, place_record
from gateway.operations.opened_reads import StoredBody, read_plain
from gateway.operations.storage_classes import check_active
from gateway.operations.written_tags import TAGS
from gateway.s3.checksums import FULL_OBJECT
from gateway.s3.conditions import NO_CONDITIONS, Conditions, evaluate_copy_source
from gateway.s3.encryption import SEAL_EXTRA
from gateway.s3.errors import (
    InvalidRequest,
    MethodNotAllowed,
    NoSuchKey,
    ObjectNotInActiveTierError,
    OperationAborted,
)
from gateway.s3.sse_customer import CustomerKey
from gateway.store.errors import ChunkGone
from gateway.store.item_format import is_local_uid
from gateway.store.object_format import ObjectRecord
from gateway.store.ports import Bucket, ReadView, Version, WriteView

ATTEMPTS_MAX: Final = 5
DEFAULT_ALGORITHM: Final = "CRC64NVME"
_SELF_COPY: Final = (
    "This copy request is illegal because it is trying to copy an object to itself without changing the object's "
    "metadata, storage class, website redirect location or encryption attributes."
)


class CopySource(NamedTuple):
    """What to copy, and the preconditions on it (``x-amz-copy-source-if-*``). ``expected_owner``: of its bucket;
    ``customer``: the key it is encrypted with.
    """

    bucket: str
    key: bytes
    version_id: str | None = None
    conditions: Conditions = NO_CONDITIONS
    expected_owner: str = ""
    customer: CustomerKey | None = None


class CopyRequest(NamedTuple):
    """A copy. With ``replace_metadata`` the target's headers and metadata are the request's, else the source's; so are
    its tags with ``replace_tags``.

    ``target.storage_class`` empty: none asked for. ``algorithm``: the checksum the copy is to have; empty: as the
    source.
    """

    source: CopySource
    target: PutRequest
    replace_metadata: bool = False
    algorithm: str = ""
    replace_tags: bool = False


class Copied(NamedTuple):
    """What a copy answers: what was written, and the source's version id as shown."""

    written: Written
    source_version_id: str


class Source(NamedTuple):
    """A copy's source as one snapshot has it."""

    bucket: Bucket
    version: Version


def locate_source(context: Context, view: ReadView, source: CopySource) -> Source:
    """The source version, if the caller may read it and its preconditions hold; a delete marker cannot be copied."""
    reader = context._replace(expected_owner=source.expected_owner)
    try:
        found = Source(*locate_version(reader, view, source.bucket, source.key, source.version_id, "GetObject"))
    except MethodNotAllowed:
        raise InvalidRequest(
            "The source of a copy request may not specifically refer to a delete marker by version id."
        ) from None
    except NoSuchKey as error:
        raise NoSuchKey(None, Key=source.key.decode()) from error
    record = found.version.record
    check_active(view, found.bucket, found.version, ObjectNotInActiveTierError)
    evaluate_copy_source(source.conditions, record.etag, record.modified_ms // 1000)
    return found


async def copy_object(context: Context, request: CopyRequest) -> Copied:
    """Copy one version to a key. Durable when it returns.

    Raises the source's and the target's errors, ``InvalidRequest`` for a copy to itself that changes nothing, and
    ``OperationAborted`` if the source kept changing.
    """
    _refuse_self_copy(request)
    for _ in range(ATTEMPTS_MAX):
        with context.store.view() as view:
            bucket = find_bucket(context, view, request.target.bucket, "PutObject", request.target.key)
            check_comparison(context, view, bucket, request.target.key, request.target.conditions.if_match)
            source = locate_source(context, view, request.source)
            opening = open_layer(context, view, source.version.record, request.source.customer)
            wanted = find_wanted(context, view, bucket, request.target.attributes.sse)
            kept = opening is not None and keeps_layer(opening.seal, wanted)
            body = None
            crosses = is_local_uid(bucket.uid) != is_local_uid(source.bucket.uid)
            if crosses or (not kept and (opening is not None or wanted is not None)):
                body = _stored_body(context, source.version.record, opening, request.algorithm)
        if body is not None:
            return await _copy_anew(context, request, bucket, source, body, wanted)
        checksums = await _new_checksums(context, source.version.record, opening, request.algorithm)

        def decide(
            view: WriteView,
            bucket: Bucket = bucket,
            seen: bytes = source.version.order,
            checksums: dict[str, str] | None = checksums,
            kept: bool = kept,
        ) -> Copied | None:
            now = locate_source(context, view, request.source)
            held = now.version.record.extra
            if is_local_uid(now.bucket.uid) != is_local_uid(bucket.uid):
                return None  # the source's bucket was made again meanwhile
            if now.version.order != seen and (checksums is not None or kept or SEAL_EXTRA in held):
                return None
            extra = {} if request.replace_tags else _copied_tags(context, view, request, now, bucket)
            if kept:
                extra = {**extra, SEAL_EXTRA: held[SEAL_EXTRA]}
            record = _copied_record(context, request, now.version.record, checksums, extra)
            written = place_record(context, view, bucket, request.target, record, "PutObject")
            return Copied(written, shown_version_id(now.bucket, now.version.id))

        try:
            copied = await context.store.commit(decide)
        except ChunkGone:  # it changed meanwhile; or its bytes are elsewhere only, on their way out for all one knows
            await context.store.fetch_local(source.version.record.refs())
            continue
        if copied is not None:
            return copied
    raise OperationAborted


def _stored_body(context: Context, record: ObjectRecord, opening: Opening | None, algorithm: str) -> StoredBody:
    """The source's plaintext, to be written again under another layer (or none)."""
    algorithm = algorithm or next(iter(record.checksums), DEFAULT_ALGORITHM)
    return StoredBody(context.store, record, opening, 0, record.size, algorithm)


async def _copy_anew(
    context: Context, request: CopyRequest, bucket: Bucket, source: Source, body: StoredBody, wanted: Wanted | None
) -> Copied:
    """A copy whose bytes change, since source or target has an encryption layer of its own: read, cipher, write.

    What is copied is the source as it was found; its parts become one.
    """
    sealing = await make_sealing(context, wanted)
    async with context.store.writer(local=is_local_uid(bucket.uid)) as writer:
        received = await pour_sealed(body, writer, sealing)
        content = await writer.finish()

        def decide(view: WriteView) -> Copied:
            extra = {} if request.replace_tags else _copied_tags(context, view, request, source, bucket)
            if sealing is not None:
                extra = {**extra, **sealing.extra}
            copied = _copied_record(context, request, source.version.record, received.checksums, extra)
            record = structs.replace(copied, etag=received.md5, content=content.refs, part_count=0, parts=None)
            written = place_record(context, view, bucket, request.target, record, "PutObject")
            return Copied(written, shown_version_id(source.bucket, source.version.id))

        return await context.store.commit(decide)


def _refuse_self_copy(request: CopyRequest) -> None:
    source, target = request.source, request.target
    changes = request.replace_metadata or target.storage_class or "x-amz-website-redirect-location" in target.headers
    changes = changes or target.attributes.sse is not None
    same = (source.bucket, source.key) == (target.bucket, target.key) and source.version_id is None
    if same and not changes:
        raise InvalidRequest(_SELF_COPY)


async def _new_checksums(
    context: Context, record: ObjectRecord, opening: Opening | None, algorithm: str
) -> dict[str, str] | None:
    """The checksum asked for, by reading the source; None if the source's own will do."""
    if not algorithm or (algorithm in record.checksums and record.checksum_type == FULL_OBJECT):
        return None
    digester = Digester((algorithm,), md5=False)
    async for piece in read_plain(context.store, record, opening):
        await digester.update(piece)
    return (await digester.finish()).checksums


def _copied_tags(
    context: Context, view: ReadView, request: CopyRequest, source: Source, target: Bucket
) -> dict[str, bytes]:
    """The source's tags in force, for the target's record; taking them along is reading them there and putting here."""
    tags = find_attribute(view, source.bucket, source.version, TAGS)
    if tags is None:
        return {}
    named = request.source
    check_access(context, view, source.bucket, "GetObjectTagging", named.key, named.version_id)
    check_access(context, view, target, "PutObjectTagging", request.target.key)
    return {TAGS: tags}


def _copied_record(
    context: Context,
    request: CopyRequest,
    source: ObjectRecord,
    checksums: dict[str, str] | None,
    extra: dict[str, bytes],
) -> ObjectRecord:
    """The target's record: the source's bytes; its headers and metadata, or the request's."""
    target = request.target
    headers = target.headers if request.replace_metadata else source.headers
    if not request.replace_metadata:
        redirect = "x-amz-website-redirect-location"
        headers = {name: value for name, value in headers.items() if name != redirect}
        if redirect in target.headers:
            headers[redirect] = target.headers[redirect]
    return ObjectRecord(
        size=source.size,
        etag=source.etag,
        content=source.content,
        headers=headers,
        metadata=target.metadata if request.replace_metadata else source.metadata,
        checksums=source.checksums if checksums is None else checksums,
        checksum_type=source.checksum_type if checksums is None else FULL_OBJECT,
        owner=context.principal.id,
        part_count=source.part_count,
        parts=source.parts,
        storage_class=target.storage_class or "STANDARD",
        extra=extra,
    )
