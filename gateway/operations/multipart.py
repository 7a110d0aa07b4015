"""Multipart uploads: create, abort, list; a part from a body or from another object. See also ``multipart_complete``.

An upload and its parts are this site's own until Complete makes one put of them. A part is durable when its upload
answers; replacing a part is one more commit. Limits and orders are AWS's ("Multipart upload limits", User Guide).
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final, NamedTuple

import msgspec

from gateway.identity.facts import ASKED_EXTRA, remember_asked
from gateway.identity.principals import ANONYMOUS_ID
from gateway.operations.bodies import Body, Received
from gateway.operations.context import Context, Owner, find_bucket, find_owner, shown_version_id
from gateway.operations.object_attributes import settle_attributes
from gateway.operations.object_encryption import (
    Sealing,
    continue_sealing,
    find_wanted,
    make_sealing,
    may_tell_parts,
    open_layer,
    pour_sealed,
    shown_encryption,
)
from gateway.operations.objects_copy import CopySource, locate_source
from gateway.operations.opened_reads import StoredBody
from gateway.operations.storage_classes import place_class
from gateway.s3.attributes import NO_ATTRIBUTES, Attributes
from gateway.s3.checksums import COMPOSITE, default_type
from gateway.s3.errors import InvalidRequest, NoSuchUpload, PreconditionFailed, invalid_argument
from gateway.s3.ranges import parse_copy_range
from gateway.s3.sse_customer import CustomerKey
from gateway.store.document_format import PartRecord, UploadRecord
from gateway.store.item_format import is_local_uid
from gateway.store.ports import Bucket, ContentWriter, ReadView, WriteView
from replication.change_format import Ref

DEFAULT_ALGORITHM: Final = "CRC64NVME"


class CreateRequest(NamedTuple):
    """A new upload. ``algorithm`` and ``checksum_type`` empty: AWS's default, CRC64NVME over the full object."""

    bucket: str
    key: bytes
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    storage_class: str = "STANDARD"
    algorithm: str = ""
    checksum_type: str = ""
    attributes: Attributes = NO_ATTRIBUTES


class UploadName(NamedTuple):
    """How a request names an upload: all three must agree."""

    bucket: str
    key: bytes
    upload_id: str


class PartsPage(NamedTuple):
    """A page of ListParts."""

    upload: UploadRecord
    initiator: Owner
    parts: list[PartRecord]
    next_after: int
    truncated: bool


class CopiedPart(NamedTuple):
    """What UploadPartCopy answers: the part, and the source's version id as shown."""

    part: PartRecord
    source_version_id: str
    encryption: Mapping[str, str] = {}


class StoredPart(NamedTuple):
    """What UploadPart answers: the part, and the headers that tell of its encryption."""

    part: PartRecord
    encryption: Mapping[str, str]


def check_part_number(context: Context, number: int) -> int:
    """``number`` if it may be a part's; ``InvalidArgument`` otherwise."""
    if not 1 <= number <= context.settings.parts_max:
        raise invalid_argument(
            f"Part number must be an integer between 1 and {context.settings.parts_max}, inclusive",
            "partNumber",
            number,
        )
    return number


def find_upload(context: Context, view: ReadView, name: UploadName, operation: str) -> tuple[Bucket, UploadRecord]:
    """The open upload and its bucket; ``NoSuchUpload`` also if it is of another key or bucket."""
    bucket = find_bucket(context, view, name.bucket, operation, name.key)
    upload = view.upload(name.upload_id)
    if upload is None or upload.uid != bucket.uid or upload.key != name.key:
        raise NoSuchUpload(None, UploadId=name.upload_id)
    return bucket, upload


async def create_upload(context: Context, request: CreateRequest) -> UploadRecord:
    """Open an upload. Durable when it returns."""
    algorithm = request.algorithm
    checksum_type = request.checksum_type or default_type(algorithm or DEFAULT_ALGORITHM)
    asked = request.attributes.sse
    with context.store.view() as view:
        bucket = find_bucket(context, view, request.bucket, "CreateMultipartUpload", request.key)
        wanted = find_wanted(context, view, bucket, asked)
    sealing = await make_sealing(context, wanted)
    extra = sealing.extra if sealing is not None else {}
    remembered = remember_asked(context.facts.headers)
    asked_of_parts = {ASKED_EXTRA: remembered} if remembered else {}

    def decide(view: WriteView) -> UploadRecord:
        bucket = find_bucket(context, view, request.bucket, "CreateMultipartUpload", request.key)
        place_class(view, bucket, request.storage_class)
        upload = UploadRecord(
            id=f"{view.now_ms:012x}{secrets.token_hex(18)}",  # listed in the order of their begin
            uid=bucket.uid,
            key=request.key,
            owner=context.principal.id or ANONYMOUS_ID,
            initiated_ms=view.now_ms,
            headers=request.headers,
            metadata=request.metadata,
            checksum_algorithm=algorithm,
            checksum_type=checksum_type,
            storage_class=request.storage_class,
            extra=settle_attributes(context, view, bucket, request.key, request.attributes, extra) | asked_of_parts,
        )
        view.open_upload(upload)
        return upload

    return await context.store.commit(decide)


def upload_algorithm(upload: UploadRecord) -> str:
    """The algorithm whose checksum every part of an upload gets: the one asked for, else the default."""
    return upload.checksum_algorithm or DEFAULT_ALGORITHM


def begin_part(context: Context, name: UploadName, number: int, claimed: Sequence[str]) -> str:
    """Early refusal of a part, before its body is read; returns the algorithm to compute.

    ``claimed``: algorithms the client sends a checksum of. ``InvalidRequest`` if the upload was made for another, or
    composes its checksum of those of its parts and there is none.
    """
    check_part_number(context, number)
    with context.store.view() as view:
        _, upload = find_upload(context, view, name, "UploadPart")
    asked = upload.checksum_algorithm
    is_missing = not claimed and upload.checksum_type == COMPOSITE
    if asked and (is_missing or any(other != asked for other in claimed)):
        raise InvalidRequest(
            f"Checksum Type mismatch occurred, expected checksum Type: {asked.lower()}, "
            f"actual checksum Type: {claimed[0].lower() if claimed else 'null'}"
        )
    return upload_algorithm(upload)


def upload_encryption(
    context: Context, upload: UploadRecord, customer: CustomerKey | None, *, written: bool = False
) -> Mapping[str, str]:
    """The headers that tell of an upload's encryption. ``customer``: the key that came with the request."""
    key_md5 = customer.md5 if customer is not None else ""
    return shown_encryption(context.settings.region, upload.extra, key_md5, written=written)


async def upload_part(
    context: Context, name: UploadName, number: int, body: Body, customer: CustomerKey | None = None
) -> StoredPart:
    """Store one part from a body. Durable when it returns; a part of that number is replaced."""
    check_part_number(context, number)
    with context.store.view() as view:
        bucket, upload = find_upload(context, view, name, "UploadPart")
        sealing = continue_sealing(context, view, upload, customer)
        replaces, offset = _predecessor(view, bucket, upload, number) if sealing is None else ((), 0)
    async with context.store.writer(replaces=replaces, offset_hint=offset, local=is_local_uid(bucket.uid)) as writer:
        received = await pour_sealed(body, writer, sealing)
        part = await _keep_part(context, name, number, received, writer, sealing)
    return StoredPart(part, upload_encryption(context, upload, customer))


def _predecessor(view: ReadView, bucket: Bucket, upload: UploadRecord, number: int) -> tuple[tuple[Ref, ...], int]:
    """What the part will replace in the key's current version, and about where: parts are taken to be of one size."""
    current = view.current(bucket.uid, upload.key)
    if current is None or not current.record.content:
        return (), 0
    first = view.part(upload.id, 1)
    size = first.size if first is not None else 8 << 20
    return current.record.content, (number - 1) * size


async def _keep_part(
    context: Context, name: UploadName, number: int, received: Received, writer: ContentWriter, sealing: Sealing | None
) -> PartRecord:
    """Commit a part whose bytes are written."""
    content = await writer.finish()

    def decide(view: WriteView) -> PartRecord:
        _, upload = find_upload(context, view, name, "UploadPart")
        part = PartRecord(
            number=number,
            size=received.size,
            etag=received.md5,
            modified_ms=view.now_ms,
            content=content.refs,
            checksums=received.checksums,
            extra=sealing.part_extra if sealing is not None else {},
        )
        view.put_part(upload.id, part)
        return part

    return await context.store.commit(decide)


async def upload_part_copy(
    context: Context,
    name: UploadName,
    number: int,
    source: CopySource,
    byte_range: str | None = None,
    customer: CustomerKey | None = None,
) -> CopiedPart:
    """Store one part from an object, or from a range of it (``bytes=first-last``, within the source)."""
    check_part_number(context, number)
    with context.store.view() as view:
        bucket, upload = find_upload(context, view, name, "UploadPart")
        found = locate_source(context, view, source)
        opening = open_layer(context, view, found.version.record, source.customer)
        sealing = continue_sealing(context, view, upload, customer)
        replaces, offset = _predecessor(view, bucket, upload, number) if sealing is None else ((), 0)
    record = found.version.record
    start, length = 0, record.size
    if byte_range is not None:
        start, last = parse_copy_range(byte_range, record.size)
        length = last - start + 1
    if length > context.settings.part_bytes_max:
        raise InvalidRequest(
            "The specified copy source is larger than the maximum allowable size for a copy source: "
            f"{context.settings.part_bytes_max}"
        )
    body = StoredBody(context.store, record, opening, start, length, upload_algorithm(upload))
    async with context.store.writer(replaces=replaces, offset_hint=offset, local=is_local_uid(bucket.uid)) as writer:
        received = await pour_sealed(body, writer, sealing)
        part = await _keep_part(context, name, number, received, writer, sealing)
    shown = upload_encryption(context, upload, customer)
    return CopiedPart(part, shown_version_id(found.bucket, found.version.id), shown)


async def abort_upload(context: Context, name: UploadName, initiated_s: int | None = None) -> None:
    """Forget an upload and its parts. ``initiated_s``: only if it was initiated in that second."""

    def decide(view: WriteView) -> None:
        _, upload = find_upload(context, view, name, "AbortMultipartUpload")
        if initiated_s is not None and upload.initiated_ms // 1000 != initiated_s:
            raise PreconditionFailed(None, Condition="x-amz-if-match-initiated-time")
        view.close_upload(upload.id)

    await context.store.commit(decide)


def list_parts(
    context: Context, name: UploadName, *, after: int = 0, count_max: int = 1000, customer: CustomerKey | None = None
) -> PartsPage:
    """Parts by number, behind ``after``; without checksums of what the ``customer``'s key is missing to."""
    with context.store.view() as view:
        _, upload = find_upload(context, view, name, "ListMultipartUploadParts")
        parts = list(islice(view.parts(upload.id, after), count_max + 1))
        if not may_tell_parts(context, view, upload, customer):
            parts = [msgspec.structs.replace(part, checksums={}) for part in parts]
        initiator = find_owner(view, upload.owner)
    page = parts[:count_max]
    return PartsPage(upload, initiator, page, page[-1].number if page else after, 0 < len(page) < len(parts))
