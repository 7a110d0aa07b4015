"""CompleteMultipartUpload: the parts become one object, by their refs, in one commit. No part is read again.

Checks: ascending numbers, each part there with that ETag and checksum, every part but the last at least 5 MiB, the
object's size and checksum if claimed. Then the content is spliced, the part table written, and the commit looks again:
the upload open, the same parts, the preconditions. A repeated Complete of an upload that became the current version
gets the same answer (the record remembers its upload).
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final, NamedTuple

from gateway.identity.facts import ASKED_EXTRA
from gateway.operations.context import Context, find_bucket, shown_version_id
from gateway.operations.multipart import UploadName, find_upload, upload_algorithm
from gateway.operations.object_encryption import shown_encryption
from gateway.operations.objects_put import PutRequest, Written, check_target, place_record
from gateway.s3.checksums import COMPOSITE, combine_checksums, compose_checksums, compose_etag
from gateway.s3.conditions import NO_CONDITIONS, Conditions
from gateway.s3.encryption import SEAL_EXTRA
from gateway.s3.errors import (
    BadDigest,
    EntityTooLarge,
    EntityTooSmall,
    InvalidPart,
    InvalidPartOrder,
    InvalidRequest,
    MalformedXML,
    NoSuchUpload,
)
from gateway.store.document_format import PartRecord, UploadRecord
from gateway.store.errors import ChunkGone
from gateway.store.item_format import is_local_uid
from gateway.store.object_format import ObjectRecord, PartEntry, encode_parts
from gateway.store.ports import Bucket, Content, ReadView, WriteView
from replication.change_format import Ref

UPLOAD_EXTRA: Final = "upload"
ATTEMPTS_MAX: Final = 3


class NamedPart(NamedTuple):
    """A part as the client lists it. ``checksums``: algorithm to base64, those it named."""

    number: int
    etag: str
    checksums: dict[str, str] = {}


class CompleteRequest(NamedTuple):
    """A Complete. ``checksums``: of the whole object, as claimed; ``size`` likewise; None or empty: not claimed."""

    upload: UploadName
    parts: list[NamedPart]
    conditions: Conditions = NO_CONDITIONS
    checksums: dict[str, str] = {}
    checksum_type: str = ""
    size: int | None = None


class _Plan(NamedTuple):
    """What is to be put, from one snapshot, and the record that it will replace."""

    bucket: Bucket
    upload: UploadRecord
    parts: list[PartRecord]
    record: ObjectRecord
    replaces: ObjectRecord | None


async def complete_upload(context: Context, request: CompleteRequest) -> Written:
    """Make the object. Durable when it returns. See the module's docstring for what is refused."""
    for attempt in range(ATTEMPTS_MAX):
        try:
            return await _complete_once(context, request)
        except ChunkGone:
            # A part was replaced between the snapshot and the commit: look at what is there now.
            if attempt + 1 == ATTEMPTS_MAX:
                raise
    raise AssertionError("unreachable")


async def _complete_once(context: Context, request: CompleteRequest) -> Written:
    name = request.upload
    with context.store.view() as view:
        try:
            bucket, upload = find_upload(context, view, name, "CompleteMultipartUpload")
        except NoSuchUpload:
            repeated = _find_completed(context, view, request)
            if repeated is None:
                raise
            return repeated
        check_target(context, view, name.bucket, name.key, request.conditions, "CompleteMultipartUpload")
        parts = _match_parts(context, view, upload, request.parts)
        current = view.current(bucket.uid, name.key)
    replaces = current.record if current is not None else None
    plan = _Plan(bucket, upload, parts, _describe(context, request, upload, parts), replaces)
    content = await context.store.splice(
        [ref for part in parts for ref in part.content], replaces=replaces.content if replaces is not None else ()
    )
    # One chunk whatever the count of parts: 10,000 entries stay far below a fixed chunk's 4 MiB.
    async with context.store.writer(fixed=True, replaces=_old_table(plan), local=is_local_uid(bucket.uid)) as writer:
        await writer.write(encode_parts(_part_table(upload, parts)))
        table = await writer.finish()
        assert len(table.refs) == 1
        return await context.store.commit(lambda view: _decide(context, request, plan, content, table, view))


def _decide(
    context: Context, request: CompleteRequest, plan: _Plan, content: Content, table: Content, view: WriteView
) -> Written:
    """The commit: the upload is still open and its parts are those that were spliced, then one put."""
    find_upload(context, view, request.upload, "CompleteMultipartUpload")
    if any(view.part(plan.upload.id, part.number) != part for part in plan.parts):
        raise ChunkGone("a part was replaced while its upload was being completed")
    target = PutRequest(request.upload.bucket, request.upload.key, conditions=request.conditions)
    draft = plan.record
    record = ObjectRecord(
        size=draft.size,
        etag=draft.etag,
        content=content.refs,
        headers=draft.headers,
        metadata=draft.metadata,
        checksums=draft.checksums,
        checksum_type=draft.checksum_type,
        owner=draft.owner,
        part_count=draft.part_count,
        parts=table.refs[0],
        storage_class=draft.storage_class,
        extra=draft.extra,
    )
    written = place_record(context, view, plan.bucket, target, record, "CompleteMultipartUpload")
    view.close_upload(plan.upload.id)
    return written


def _find_completed(context: Context, view: ReadView, request: CompleteRequest) -> Written | None:
    """The answer of the Complete that already happened, if its object is still current and the same was asked."""
    name = request.upload
    bucket = find_bucket(context, view, name.bucket, "CompleteMultipartUpload", name.key)
    current = view.current(bucket.uid, name.key)
    if current is None or current.record.extra.get(UPLOAD_EXTRA) != name.upload_id.encode():
        return None
    try:
        etag = compose_etag(part.etag for part in request.parts)
    except ValueError:
        return None
    if etag != current.record.etag:
        return None
    shown = shown_encryption(context.settings.region, current.record.extra, written=True)
    return Written(current.record, shown_version_id(bucket, current.id), shown)


def _match_parts(
    context: Context, view: ReadView, upload: UploadRecord, named: Sequence[NamedPart]
) -> list[PartRecord]:
    """The stored parts the client lists, checked: order, existence, ETag, checksum, size."""
    if not named or len(named) > context.settings.parts_max:
        raise MalformedXML
    if any(one.number >= other.number for one, other in pairwise(named)):
        raise InvalidPartOrder(None, UploadId=upload.id)
    algorithm = upload_algorithm(upload)
    parts = []
    for wanted in named:
        part = view.part(upload.id, wanted.number)
        if part is None or part.etag != wanted.etag:
            raise InvalidPart(None, UploadId=upload.id, PartNumber=wanted.number, ETag=wanted.etag)
        for name, checksum in wanted.checksums.items():
            if part.checksums.get(name, checksum if name != algorithm else "") != checksum:
                raise InvalidPart(None, UploadId=upload.id, PartNumber=wanted.number, ETag=wanted.etag)
        if upload.checksum_algorithm and upload.checksum_type == COMPOSITE and algorithm not in wanted.checksums:
            raise InvalidRequest(
                f"The upload was created using a {algorithm.lower()} checksum. The complete request must include the "
                f"checksum for each part. It was missing for part {wanted.number} in the request."
            )
        parts.append(part)
    for part in parts[:-1]:
        if part.size < context.settings.part_bytes_min:
            raise EntityTooSmall(
                None,
                ProposedSize=part.size,
                MinSizeAllowed=context.settings.part_bytes_min,
                PartNumber=part.number,
                ETag=part.etag,
            )
    return parts


def _describe(
    context: Context, request: CompleteRequest, upload: UploadRecord, parts: list[PartRecord]
) -> ObjectRecord:
    """The object's record but for its content; what the client claims of the whole is checked."""
    size = sum(part.size for part in parts)
    if request.size is not None and request.size != size:
        raise InvalidRequest(
            f"The provided 'x-amz-mp-object-size' header value {request.size} does not match what was computed: {size}"
        )
    if size > context.settings.object_bytes_max:
        raise EntityTooLarge(None, ProposedSize=size, MaxSizeAllowed=context.settings.object_bytes_max)
    algorithm = upload_algorithm(upload)
    if request.checksum_type and request.checksum_type != upload.checksum_type:
        raise BadDigest(
            f"The upload was created using the {upload.checksum_type} checksum mode. The complete request must use the "
            "same checksum mode."
        )
    if upload.checksum_type == COMPOSITE:
        checksum = compose_checksums(algorithm, [part.checksums[algorithm] for part in parts])
    else:
        checksum = combine_checksums(algorithm, ((part.checksums[algorithm], part.size) for part in parts))
    for name, claimed in request.checksums.items():
        if name != algorithm or claimed not in (checksum, checksum.partition("-")[0]):
            raise BadDigest(f"The {name.lower()} you specified did not match the calculated checksum.")
    return ObjectRecord(
        size=size,
        etag=compose_etag(part.etag for part in parts),
        headers=upload.headers,
        metadata=upload.metadata,
        checksums={algorithm: checksum},
        checksum_type=upload.checksum_type,
        owner=context.principal.id,
        part_count=len(parts),
        storage_class=upload.storage_class,
        extra={name: value for name, value in upload.extra.items() if name != ASKED_EXTRA}
        | {UPLOAD_EXTRA: upload.id.encode()},
    )


def _old_table(plan: _Plan) -> tuple[Ref, ...]:
    """The part table that the new one resembles, if little changed: its checksums are what a large one is made of.

    As with bodies, nothing rests on the other side of a customer's or KMS key.
    """
    old = plan.replaces
    if old is None or old.parts is None or SEAL_EXTRA in old.extra or SEAL_EXTRA in plan.upload.extra:
        return ()
    return (old.parts,)


def _part_table(upload: UploadRecord, parts: list[PartRecord]) -> list[PartEntry]:
    algorithm = upload_algorithm(upload)
    return [
        PartEntry(part.number, part.size, part.checksums[algorithm], part.extra.get(SEAL_EXTRA, b"")) for part in parts
    ]
