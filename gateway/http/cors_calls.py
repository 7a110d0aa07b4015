"""A bucket's cross-origin rules: put, get, delete, preflights, and the headers every answer to an Origin carries.

A preflight is nobody's request: it is answered from the bucket's rules alone, as with AWS. ``find_cors_headers`` runs
before anything is verified, so that a browser may read errors too; requests without Origin never get here.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.operations.bucket_documents import CORS
from gateway.operations.configurations import get_document, put_document
from gateway.s3.cors import answer_origin, answer_preflight, parse_cors, parse_preflight, render_cors
from gateway.s3.documents import body_bytes_max
from gateway.s3.errors import NoSuchCORSConfiguration
from gateway.s3.object_headers import require_checksum
from gateway.s3.routing import Operation
from gateway.store.ports import ReadView, Store


async def put_cors(call: Call) -> web.StreamResponse:
    """PutBucketCors."""
    require_checksum(call.headers)
    rules = parse_cors(await call.read_document(body_bytes_max("CORSConfiguration")))
    await put_document(call.context, call.bucket, "PutBucketCors", CORS, render_cors(rules))
    return call.answer()


async def get_cors(call: Call) -> web.StreamResponse:
    """GetBucketCors."""
    document = get_document(call.context, call.bucket, "GetBucketCors", CORS)
    if document is None:
        raise NoSuchCORSConfiguration(None, BucketName=call.bucket)
    return call.answer(body=document)


async def delete_cors(call: Call) -> web.StreamResponse:
    """DeleteBucketCors: also where there are no rules."""
    await put_document(call.context, call.bucket, "DeleteBucketCors", CORS, None)
    return call.answer(204)


async def preflight(call: Call) -> web.StreamResponse:
    """PreflightRequest (OPTIONS)."""
    asked = parse_preflight(call.raw_headers)
    exists, document = False, None
    if call.target.bucket is not None:
        with call.context.store.view() as view:
            exists, document = _find_rules(view, call.target.bucket)
    kind = "BUCKET" if call.target.key is None else "OBJECT"
    headers = answer_preflight(asked, document, exists=exists, resource_type=kind)
    return call.answer(200, headers)


def _find_rules(view: ReadView, name: str) -> tuple[bool, bytes | None]:
    """(whether there is such a bucket, its rules)."""
    bucket = view.bucket(name)
    return bucket is not None, None if bucket is None else view.document(bucket.uid, CORS)


def find_cors_headers(store: Store, bucket: str, headers: dict[str, str], method: str) -> dict[str, str]:
    """The cross-origin headers of the answer to a request with an Origin, whatever the answer is."""
    with store.view() as view:
        return answer_origin(_find_rules(view, bucket)[1], headers, method)


HANDLERS: Final[dict[Operation, CallHandler]] = {
    Operation.DeleteBucketCors: delete_cors,
    Operation.GetBucketCors: get_cors,
    Operation.PreflightRequest: preflight,
    Operation.PutBucketCors: put_cors,
}
"""What this file answers."""
