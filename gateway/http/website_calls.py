"""The websites of buckets: their configuration, and serving them where the host names a website.

    redirect of everything → routing rules → object (index document for a directory) → its own redirect → the object
                              └ nothing there: the directory's index? → rules for errors → error document → a page

Everybody is nobody here: no signature is read, only what is granted to everyone is served, by GET and HEAD alone.
Errors are pages, not XML. What is sent is sent by ``object_reads``, with ranges and preconditions as it does them.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.http.failures import to_s3_error
from gateway.http.object_reads import find_read, get_object, head_object
from gateway.operations.bucket_documents import WEBSITE, find_document
from gateway.operations.configurations import get_document, put_document
from gateway.s3.documents import body_bytes_max
from gateway.s3.errors import (
    AccessDenied,
    MethodNotAllowed,
    NoSuchBucket,
    NoSuchKey,
    NoSuchWebsiteConfiguration,
    S3Error,
)
from gateway.s3.names import check_key
from gateway.s3.routing import Operation
from gateway.s3.uri import EMPTY_QUERY, encode_path
from gateway.s3.website import (
    Redirect,
    Website,
    decode_website,
    error_headers,
    find_route,
    parse_website,
    render_error_page,
    render_location,
    render_website,
)
from gateway.store.ports import ReadView

_HTML: Final = "text/html; charset=utf-8"
_REDIRECT: Final = "x-amz-website-redirect-location"
# All that a browser may say of what it wants; the rest (customer keys, checksums) is S3's own and not a website's.
_ASKED: Final = frozenset(
    {
        "range",
        "if-range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "referer",
        "user-agent",
    }
)


async def put_website(call: Call) -> web.StreamResponse:
    """PutBucketWebsite. Nobody need vouch for the document: s3cmd does not, and AWS takes it."""
    website = parse_website(await call.read_document(body_bytes_max("WebsiteConfiguration")))
    await put_document(call.context, call.bucket, "PutBucketWebsite", WEBSITE, render_website(website))
    return call.answer()


async def get_website(call: Call) -> web.StreamResponse:
    """GetBucketWebsite."""
    document = get_document(call.context, call.bucket, "GetBucketWebsite", WEBSITE)
    if document is None:
        raise NoSuchWebsiteConfiguration(None, BucketName=call.bucket)
    return call.answer(body=document)


async def delete_website(call: Call) -> web.StreamResponse:
    """DeleteBucketWebsite: also where there is none."""
    await put_document(call.context, call.bucket, "DeleteBucketWebsite", WEBSITE, None)
    return call.answer(204)


async def serve_website(call: Call) -> web.StreamResponse:
    """GET or HEAD of a page. ``call``: nobody's. Never raises S3 errors: they are pages, too."""
    key = call.target.key or ""
    website = Website()
    try:
        if call.head.method not in ("GET", "HEAD"):
            raise MethodNotAllowed(None, Method=call.head.method, ResourceType="OBJECT")
        with call.context.store.view() as view:
            website = _find_website(view, call.bucket)
            response = _find_page(call, view, website, key)
        return await _send(call) if response is None else response
    except ConnectionError:
        raise
    except Exception as failure:
        error = to_s3_error(failure, call.request_id)
    return await _answer_error(call, website, key, error)


def _find_website(view: ReadView, name: str) -> Website:
    """The website of a bucket; ``NoSuchBucket``, ``NoSuchWebsiteConfiguration``."""
    bucket = view.bucket(name)
    if bucket is None:
        raise NoSuchBucket(None, BucketName=name)
    website = find_document(view, bucket.uid, WEBSITE, decode_website)
    if website is None:
        raise NoSuchWebsiteConfiguration(None, BucketName=name)
    return website


def _find_page(call: Call, view: ReadView, website: Website, key: str) -> web.StreamResponse | None:
    """Where a request for ``key`` is sent; None: it gets what ``call.read`` now is."""
    if website.everything is not None:
        query = f"?{call.query.raw}" if call.query.raw else ""
        return _redirect(call, website.everything.status, website.everything, key, query)
    route = find_route(website, key)
    if route is not None:
        return _redirect(call, *route)
    asked = {name: value for name, value in call.raw_headers.items() if name in _ASKED}
    is_directory = not key or key.endswith("/")
    try:
        _find_object(call, view, key + website.suffix if is_directory else key, asked)
    except (NoSuchKey, AccessDenied):
        if is_directory or not _is_there(call, view, f"{key}/{website.suffix}"):
            raise
        return call.answer(302, {"Location": f"/{encode_path(key)}/"})
    assert call.read is not None
    location = call.read[1].version.record.headers.get(_REDIRECT)
    return None if location is None else call.answer(301, {"Location": location})


def _find_object(call: Call, view: ReadView, key: str, headers: dict[str, str]) -> None:
    """Let ``call.read`` be a GET of ``key`` with ``headers``, as nobody. Raises S3 errors."""
    call.target = call.target._replace(key=check_key(key))
    call.query, call.headers = EMPTY_QUERY, headers
    call.read = find_read(call, view)


def _is_there(call: Call, view: ReadView, key: str) -> bool:
    """Whether everyone may read an object ``key``."""
    try:
        _find_object(call, view, key, {})
    except S3Error:
        return False
    return True


async def _send(call: Call) -> web.StreamResponse:
    return await (head_object if call.operation is Operation.HeadObject else get_object)(call)


def _redirect(call: Call, status: int, redirect: Redirect, key: str, query: str = "") -> web.StreamResponse:
    host, protocol = call.raw_headers.get("host", ""), "https" if call.head.secure else "http"
    return call.answer(status, {"Location": render_location(redirect, key, host=host, protocol=protocol) + query})


async def _answer_error(call: Call, website: Website, key: str, error: S3Error) -> web.StreamResponse:
    """What a browser gets instead: a redirect for this error, the site's error document, or a page of ours."""
    route = find_route(website, key, error.status)
    if route is not None:
        return _redirect(call, *route)
    if error.status == 304:
        return call.answer(304)
    call.add_headers(error_headers(error))
    nested = None
    if website.error_key and 400 <= error.status < 500 and error.status != 405:
        call.ok_status = error.status
        try:
            with call.context.store.view() as view:
                _find_object(call, view, website.error_key, {})
            return await _send(call)
        except ConnectionError:
            raise
        except Exception as failure:
            nested = to_s3_error(failure, call.request_id)
    page = render_error_page(error, call.request_id, call.host_id, nested)
    response = call.answer(error.status, {"Content-Type": _HTML, **error.headers}, page)
    if call.request.can_read_body:
        response.force_close()
    return response


HANDLERS: Final[dict[Operation, CallHandler]] = {
    Operation.DeleteBucketWebsite: delete_website,
    Operation.GetBucketWebsite: get_website,
    Operation.PutBucketWebsite: put_website,
}
"""What this file answers."""
