"""PutObject, CopyObject, DeleteObject, DeleteObjects: typed arguments in, responses out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.operations.objects_append import AppendRequest, append_object, find_appended
from gateway.operations.objects_copy import CopyRequest, CopySource, copy_object
from gateway.operations.objects_delete import Deletion, delete_object, delete_objects
from gateway.operations.objects_put import PutRequest, Written, put_object
from gateway.operations.objects_rename import RenameRequest, rename_object
from gateway.s3 import requests
from gateway.s3.bodies import parse_delete_objects
from gateway.s3.checksums import ALGORITHMS
from gateway.s3.delete_result import Deleted, render_delete_objects
from gateway.s3.documents import body_bytes_max
from gateway.s3.errors import S3Error
from gateway.s3.names import check_key
from gateway.s3.object_headers import require_checksum
from gateway.s3.object_lock import LOCKED_WITHOUT_CHECKSUM, parse_bypass
from gateway.s3.rename_requests import parse_rename
from gateway.s3.rendering import render_copy
from gateway.s3.restore_requests import format_expiration
from gateway.s3.routing import Operation

WriteDescriber = Callable[[Written, dict[str, str]], None]
"""Adds what one feature tells of an object that was just written to the answer's headers."""


def _describe_encryption(written: Written, headers: dict[str, str]) -> None:
    headers.update(written.encryption)


def _describe_expiry(written: Written, headers: dict[str, str]) -> None:
    if written.expiry is not None:
        headers["x-amz-expiration"] = format_expiration(written.expiry.due_ms, written.expiry.rule)


WRITE_DESCRIBERS: Final[tuple[WriteDescriber, ...]] = (_describe_encryption, _describe_expiry)


def describe_written(written: Written, headers: dict[str, str]) -> dict[str, str]:
    """``headers`` with what the features add: the part that all writes (put, copy, complete) have in common."""
    for describe in WRITE_DESCRIBERS:
        describe(written, headers)
    return headers


def written_headers(written: Written) -> dict[str, str]:
    """ETag, version id and checksums of what a write stored."""
    record = written.record
    headers = {"ETag": f'"{record.etag}"'}
    if written.version_id:
        headers["x-amz-version-id"] = written.version_id
    for name, value in record.checksums.items():
        headers[ALGORITHMS[name].header] = value
    if record.checksum_type:
        headers["x-amz-checksum-type"] = record.checksum_type
    return describe_written(written, headers)


async def put_one(call: Call) -> web.StreamResponse:
    """PutObject; with a write offset, an append."""
    parameters = requests.parse_put(call.headers)
    stored = parameters.stored
    if stored.attributes.lock is not None:
        require_checksum(call.headers, LOCKED_WITHOUT_CHECKSUM)
    request = PutRequest(
        call.bucket,
        call.key,
        stored.headers,
        stored.metadata,
        stored.storage_class,
        parameters.conditions,
        stored.attributes,
    )
    bytes_max = call.context.settings.put_bytes_max
    if parameters.offset is not None:
        append = AppendRequest(request, parameters.offset)
        algorithm = find_appended(call.context, append)
        call.body.expect(parameters.content_md5, parameters.checksum, bytes_max, compute=algorithm)
        written = await append_object(call.context, append, call.body)
        return call.answer(headers={**written_headers(written), "x-amz-object-size": str(written.record.size)})
    call.body.expect(parameters.content_md5, parameters.checksum, bytes_max)
    written = await put_object(call.context, request, call.body)
    return call.answer(headers=written_headers(written))


async def rename_one(call: Call) -> web.StreamResponse:
    """RenameObject."""
    call.body.expect_nothing()
    parameters = parse_rename(call.headers, call.bucket)
    version_id = await rename_object(
        call.context,
        RenameRequest(
            call.bucket,
            parameters.source.encode(),
            call.key,
            parameters.source_conditions,
            parameters.target_conditions,
            parameters.token,
        ),
    )
    return call.answer(headers={"x-amz-version-id": version_id} if version_id else None)


def copy_source(source: requests.CopySource) -> CopySource:
    """The source of a copy as the operations take it."""
    return CopySource(
        source.bucket,
        source.key.encode(),
        source.version_id,
        source.conditions,
        source.expected_owner or "",
        source.customer,
    )


async def copy_one(call: Call) -> web.StreamResponse:
    """CopyObject."""
    call.body.expect_nothing()
    parameters = requests.parse_copy(call.headers)
    stored = parameters.stored
    target = PutRequest(
        call.bucket,
        call.key,
        stored.headers,
        stored.metadata,
        stored.storage_class if parameters.storage_class_given else "",
        parameters.conditions,
        stored.attributes,
        event="Copy",
    )
    copied = await copy_object(
        call.context,
        CopyRequest(
            copy_source(parameters.source),
            target,
            parameters.replace,
            parameters.checksum.algorithm,
            parameters.replace_tags,
        ),
    )
    headers = {}
    if copied.written.version_id:
        headers["x-amz-version-id"] = copied.written.version_id
    if copied.source_version_id:
        headers["x-amz-copy-source-version-id"] = copied.source_version_id
    describe_written(copied.written, headers)
    record = copied.written.record
    body = render_copy(record.etag, record.modified_ms, record.checksums, record.checksum_type)
    return call.answer(headers=headers, body=body)


async def delete_one(call: Call) -> web.StreamResponse:
    """DeleteObject."""
    parameters = requests.parse_delete(call.query.params, call.headers)
    deletion = Deletion(call.key, parameters.version_id, parameters.conditions, parse_bypass(call.headers))
    deleted = await delete_object(call.context, call.bucket, deletion)
    headers = {}
    if deleted.version_id:
        headers["x-amz-version-id"] = deleted.version_id
    if deleted.marker:
        headers["x-amz-delete-marker"] = "true"
    return call.answer(204, headers)


async def delete_many(call: Call) -> web.StreamResponse:
    """DeleteObjects. The document must be vouched for by Content-MD5 or a checksum, as AWS demands."""
    require_checksum(call.headers)
    bypass = parse_bypass(call.headers)
    document = parse_delete_objects(await call.read_document(body_bytes_max("Delete")))
    failed: list[tuple[str, str | None, S3Error]] = []
    deletions: list[Deletion] = []
    for entry in document.entries:
        try:
            deletions.append(Deletion(check_key(entry.key).encode(), entry.version_id, entry.conditions, bypass))
        except S3Error as error:
            failed.append((entry.key, entry.version_id, error))
    deleted: list[Deleted] = []
    for deletion, result in zip(deletions, await delete_objects(call.context, call.bucket, deletions), strict=True):
        key = deletion.key.decode()
        if result.error is not None:
            failed.append((key, deletion.version_id, result.error))
            continue
        assert result.deleted is not None
        marker_id = result.deleted.version_id if result.deleted.marker else None
        deleted.append(Deleted(key, deletion.version_id, marker_id))
    return call.answer(body=render_delete_objects(deleted, failed, quiet=document.quiet))


HANDLERS: Final[dict[Operation, CallHandler]] = {
    Operation.CopyObject: copy_one,
    Operation.DeleteObject: delete_one,
    Operation.DeleteObjects: delete_many,
    Operation.PutObject: put_one,
    Operation.RenameObject: rename_one,
}
"""What this file answers."""

STORE_ALONE: Final[frozenset[CallHandler | None]] = frozenset({put_one, delete_one})
"""Handlers that wait for the store and nothing else, once the body is at hand, and whose answers are small."""
