"""GetObjectAttributes: typed arguments in, a document out."""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.operations.context import shown_version_id
from gateway.operations.objects_get import get_attributes
from gateway.s3.object_attributes import AttributesFields, parse_attributes_request, render_attributes
from gateway.s3.routing import Operation
from gateway.s3.sse_customer import parse_customer_key
from gateway.s3.times import format_http_date


async def get_object_attributes(call: Call) -> web.StreamResponse:
    """GetObjectAttributes. The part table is only read where parts are asked for."""
    parameters = parse_attributes_request(call.query.params, call.headers)
    page = await get_attributes(
        call.context,
        call.bucket,
        call.key,
        parameters.version_id,
        after=parameters.after,
        count_max=parameters.parts_max,
        with_parts="ObjectParts" in parameters.wanted,
        customer=parse_customer_key(call.headers),
    )
    bucket, version = page.located.bucket, page.located.version
    record = version.record
    headers = {"Last-Modified": format_http_date(record.modified_ms // 1000)}
    version_id = shown_version_id(bucket, version.id)
    if version_id:
        headers["x-amz-version-id"] = version_id
    fields = AttributesFields(
        record.etag,
        record.size,
        page.located.facts.storage_class or record.storage_class,
        record.checksums,
        record.checksum_type,
        record.part_count,
        page.parts,
        page.truncated,
    )
    return call.answer(headers=headers, body=render_attributes(parameters, fields))


HANDLERS: Final[dict[Operation, CallHandler]] = {Operation.GetObjectAttributes: get_object_attributes}
"""What this file answers."""
