"""The multipart verbs: typed arguments in, responses out."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.http.object_writes import copy_source, describe_written
from gateway.operations.context import Owner
from gateway.operations.lifecycle_facts import find_abort_of
from gateway.operations.listings import UploadsWanted, list_uploads
from gateway.operations.multipart import (
    CreateRequest,
    UploadName,
    abort_upload,
    begin_part,
    create_upload,
    list_parts,
    upload_encryption,
    upload_part,
    upload_part_copy,
)
from gateway.operations.multipart_complete import CompleteRequest, NamedPart, complete_upload
from gateway.s3 import list_requests, requests
from gateway.s3.bodies import parse_complete_upload
from gateway.s3.checksums import ALGORITHMS
from gateway.s3.documents import body_bytes_max
from gateway.s3.errors import invalid_argument
from gateway.s3.rendering import Owner as ShownOwner
from gateway.s3.rendering import (
    PartFields,
    UploadFields,
    render_complete_upload,
    render_copy,
    render_create_upload,
    render_list_parts,
    render_list_uploads,
)
from gateway.s3.restore_requests import abort_headers
from gateway.s3.routing import Operation
from gateway.s3.sse_customer import parse_customer_key
from gateway.s3.times import parse_http_date, parse_iso_ms
from gateway.store.document_format import UploadRecord


def shown_owner(owner: Owner) -> ShownOwner:
    """An owner as the renderer takes it."""
    return ShownOwner(owner.id, owner.name)


def _describe_abort(call: Call, upload: UploadRecord) -> dict[str, str]:
    """When lifecycle rules will abort the upload, if ever."""
    with call.context.store.view() as view:
        return abort_headers(find_abort_of(view, upload))


async def create_one(call: Call) -> web.StreamResponse:
    """CreateMultipartUpload."""
    parameters = requests.parse_create_upload(call.headers)
    stored, checksum = parameters.stored, parameters.checksum
    upload = await create_upload(
        call.context,
        CreateRequest(
            call.bucket,
            call.key,
            stored.headers,
            stored.metadata,
            stored.storage_class,
            checksum.algorithm,
            checksum.type,
            stored.attributes,
        ),
    )
    asked = stored.attributes.sse
    headers = dict(upload_encryption(call.context, upload, asked.customer if asked is not None else None, written=True))
    if checksum.algorithm:
        headers["x-amz-checksum-algorithm"] = checksum.algorithm
        headers["x-amz-checksum-type"] = upload.checksum_type
    headers.update(_describe_abort(call, upload))
    return call.answer(headers=headers, body=render_create_upload(call.bucket, call.key, upload.id))


async def put_part(call: Call) -> web.StreamResponse:
    """UploadPart."""
    parameters = requests.parse_upload_part(call.query.params, call.headers)
    name = UploadName(call.bucket, call.key, parameters.upload_id)
    claimed = [parameters.checksum.algorithm] if parameters.checksum.algorithm else []
    algorithm = begin_part(call.context, name, parameters.number, claimed)
    call.body.expect(
        parameters.content_md5, parameters.checksum, call.context.settings.part_bytes_max, compute=algorithm
    )
    customer = parse_customer_key(call.headers)
    part, encryption = await upload_part(call.context, name, parameters.number, call.body, customer)
    headers = {"ETag": f'"{part.etag}"', **encryption}
    headers.update({ALGORITHMS[algorithm].header: value for algorithm, value in part.checksums.items()})
    return call.answer(headers=headers)


async def copy_part(call: Call) -> web.StreamResponse:
    """UploadPartCopy."""
    call.body.expect_nothing()
    parameters = requests.parse_upload_part_copy(call.query.params, call.headers)
    name = UploadName(call.bucket, call.key, parameters.upload_id)
    copied = await upload_part_copy(
        call.context,
        name,
        parameters.number,
        copy_source(parameters.source),
        parameters.range,
        parse_customer_key(call.headers),
    )
    part = copied.part
    headers = dict(copied.encryption)
    if copied.source_version_id:
        headers["x-amz-copy-source-version-id"] = copied.source_version_id
    return call.answer(headers=headers, body=render_copy(part.etag, part.modified_ms, part.checksums, "", part=True))


async def complete_one(call: Call) -> web.StreamResponse:
    """CompleteMultipartUpload."""
    parameters = requests.parse_complete(call.query.params, call.headers)
    call.body.leave_checksum_to_operation()
    document = await call.read_document(body_bytes_max("CompleteMultipartUpload"))
    parts = [NamedPart(part.number, part.etag, part.checksums) for part in parse_complete_upload(document)]
    claim = parameters.checksum
    written = await complete_upload(
        call.context,
        CompleteRequest(
            UploadName(call.bucket, call.key, parameters.upload_id),
            parts,
            parameters.conditions,
            {claim.algorithm: claim.value} if claim.value else {},
            claim.type,
            parameters.object_bytes,
        ),
    )
    record = written.record
    scheme = "https" if call.head.secure else "http"
    location = f"{scheme}://{call.headers.get('host', '')}{call.target.raw_path}"
    body = render_complete_upload(location, call.bucket, call.key, record.etag, record.checksums, record.checksum_type)
    headers = {"x-amz-version-id": written.version_id} if written.version_id else {}
    describe_written(written, headers)
    return call.answer(headers=headers, body=body)


async def abort_one(call: Call) -> web.StreamResponse:
    """AbortMultipartUpload."""
    name = UploadName(call.bucket, call.key, requests.parse_abort(call.query.params))
    text = call.headers.get("x-amz-if-match-initiated-time")
    initiated_s = None
    if text is not None:
        initiated_s = parse_http_date(text)
        if initiated_s is None:
            unix_ms = parse_iso_ms(text)
            if unix_ms is None:
                raise invalid_argument("Invalid timestamp", "x-amz-if-match-initiated-time", text)
            initiated_s = unix_ms // 1000
    await abort_upload(call.context, name, initiated_s)
    return call.answer(204)


def _upload_fields(upload: UploadRecord) -> UploadFields:
    return UploadFields(
        upload.key,
        upload.id,
        upload.owner,
        upload.initiated_ms,
        upload.storage_class,
        upload.checksum_algorithm,
        upload.checksum_type if upload.checksum_algorithm else "",
    )


async def list_upload_parts(call: Call) -> web.StreamResponse:
    """ListParts."""
    parameters = list_requests.parse_list_parts(call.query.params)
    name = UploadName(call.bucket, call.key, parameters.upload_id)
    customer = parse_customer_key(call.headers)
    page = list_parts(call.context, name, after=parameters.after, count_max=parameters.parts_max, customer=customer)
    shown = page.upload.checksum_algorithm != ""
    body = render_list_parts(
        call.bucket,
        _upload_fields(page.upload),
        [
            PartFields(part.number, part.size, part.etag, part.modified_ms, part.checksums if shown else {})
            for part in page.parts
        ],
        lambda _: shown_owner(page.initiator),
        after=parameters.after,
        parts_max=parameters.parts_max,
        truncated=page.truncated,
        encoding=parameters.encoding,
    )
    return call.answer(headers=_describe_abort(call, page.upload), body=body)


async def list_open_uploads(call: Call) -> web.StreamResponse:
    """ListMultipartUploads."""
    parameters = list_requests.parse_list_uploads(call.query.params)
    page = list_uploads(
        call.context,
        call.bucket,
        UploadsWanted(
            parameters.prefix.encode(),
            parameters.delimiter.encode(),
            parameters.key_marker.encode(),
            parameters.upload_id_marker,
            parameters.uploads_max,
        ),
    )
    body = render_list_uploads(
        call.bucket,
        parameters,
        [_upload_fields(upload) for upload in page.uploads],
        page.prefixes,
        lambda user_id: shown_owner(page.owners[user_id]),
        truncated=page.truncated,
        next_key=page.next_key,
        next_id=page.next_id,
    )
    return call.answer(body=body)


HANDLERS: Final[dict[Operation, CallHandler]] = {
    Operation.AbortMultipartUpload: abort_one,
    Operation.CompleteMultipartUpload: complete_one,
    Operation.CreateMultipartUpload: create_one,
    Operation.ListMultipartUploads: list_open_uploads,
    Operation.ListParts: list_upload_parts,
    Operation.UploadPart: put_part,
    Operation.UploadPartCopy: copy_part,
}
"""What this file answers."""
