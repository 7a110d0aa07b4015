"""GetObject, HeadObject and what else tells of one object: typed arguments in, a response or a stream out.

A small object is one view (the one its signature was verified in), one read and one write; everything larger streams
pieces of at most 4 MiB, each authenticated by the store before it is sent. The first piece is fetched before the
status line goes out, so that damage and an unreachable cloud are answers; a failure later breaks the connection, so
that the client sees a short body and never a wrong one.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Final

from aiohttp import web

from gateway.http.answers import ReadyAnswer
from gateway.http.body import WindowBudget
from gateway.http.calls import Call, CallHandler
from gateway.http.failures import ClientGone, log
from gateway.operations.object_encryption import shown_encryption
from gateway.operations.objects_get import NO_CONTEST, Located, Selection, locate_in, select_part
from gateway.operations.opened_reads import open_small, read_plain
from gateway.operations.read_facts import NO_FACTS
from gateway.s3.checksums import ALGORITHMS, COMPOSITE
from gateway.s3.errors import InvalidRequest
from gateway.s3.object_headers import DEFAULT_CONTENT_TYPE, contest_headers
from gateway.s3.object_lock import lock_headers
from gateway.s3.ranges import holds_if_range, parse_range
from gateway.s3.requests import GetParameters, parse_get
from gateway.s3.restore_requests import format_expiration, format_restore
from gateway.s3.routing import Operation
from gateway.s3.sse_customer import KEY_MD5, parse_customer_key
from gateway.s3.times import format_http_date
from gateway.store.ports import ReadView

READS: Final = frozenset({Operation.GetObject, Operation.HeadObject})
_ONE_WRITE_MAX: Final = 1 << 20  # an answer up to this size goes out as one buffer
_SLICE: Final = 1 << 20
_PIECE_MAX: Final = 4 << 20  # the longest piece a reader yields
_BITE: Final = 128 << 10  # what a reader asks for at a time if the budget has no more
_CRUMB: Final = 16 << 10  # and if it has nothing
_WIRE_NAMES: Final = {
    "content-type": "Content-Type",
    "cache-control": "Cache-Control",
    "content-disposition": "Content-Disposition",
    "content-encoding": "Content-Encoding",
    "content-language": "Content-Language",
    "expires": "Expires",
}


ReadDescriber = Callable[[Call, Located, dict[str, str]], None]
"""Adds what one feature tells of an object to the headers of a GET or HEAD (also of a 304)."""


def _describe_tags(call: Call, located: Located, headers: dict[str, str]) -> None:
    if located.tag_count:
        headers["x-amz-tagging-count"] = str(located.tag_count)


def _describe_encryption(call: Call, located: Located, headers: dict[str, str]) -> None:
    key_md5 = call.headers.get(KEY_MD5, "")
    headers.update(shown_encryption(call.context.settings.region, located.version.record.extra, key_md5))


def _describe_facts(call: Call, located: Located, headers: dict[str, str]) -> None:
    facts = located.facts
    if facts is NO_FACTS:
        return
    headers.update(lock_headers(facts.retention, facts.hold))
    if facts.expiry is not None:
        headers["x-amz-expiration"] = format_expiration(facts.expiry.due_ms, facts.expiry.rule)
    if facts.storage_class not in ("", "STANDARD"):
        headers["x-amz-storage-class"] = facts.storage_class
    if facts.restored_until_ms > call.now_s * 1000:
        headers["x-amz-restore"] = format_restore(facts.restored_until_ms)


_ORDINARY: Final = shown_encryption("", {})
"""What the describers tell of a version without attributes."""
READ_DESCRIBERS: Final[tuple[ReadDescriber, ...]] = (_describe_tags, _describe_encryption, _describe_facts)


class _Streamed(web.StreamResponse):
    """A streamed answer whose headers leave together with its first piece."""

    _send_headers_immediately = False


def find_read(call: Call, view: ReadView) -> tuple[GetParameters, Located]:
    """What a GET or HEAD asks for, and the version it is of, in the snapshot the request was verified in."""
    parameters = parse_get(call.query.params, call.headers)
    if parameters.overrides and call.context.principal.is_anonymous:
        raise InvalidRequest("Request specific response headers cannot be used for anonymous GET requests.")
    head = call.operation is Operation.HeadObject
    located = locate_in(
        call.context,
        view,
        call.bucket,
        call.key,
        parameters.version_id,
        parameters.conditions,
        replication=head,
        customer=parse_customer_key(call.headers),
        content=not head,
    )
    return parameters, located


def object_headers(call: Call, located: Located, parameters: GetParameters) -> dict[str, str]:
    """The headers that GET and HEAD have in common, but for length, range and checksums."""
    bucket, version, replication = located.bucket, located.version, located.replication
    record = version.record
    headers = {
        "x-amz-request-id": call.request_id,
        "Accept-Ranges": "bytes",
        "Last-Modified": format_http_date(record.modified_ms // 1000),
        "ETag": f'"{record.etag}"',
        "Content-Type": DEFAULT_CONTENT_TYPE,
    }
    if call.context.facts.charged:
        headers["x-amz-request-charged"] = "requester"
    for name, value in record.headers.items():
        headers[_WIRE_NAMES.get(name, name)] = value
    for name, value in record.metadata.items():
        headers["x-amz-meta-" + name] = value
    if bucket.versioning or version.id.order:
        headers["x-amz-version-id"] = version.id.text
    if record.storage_class != "STANDARD":
        headers["x-amz-storage-class"] = record.storage_class
    if replication:
        headers["x-amz-replication-status"] = replication
    if located.facts is NO_FACTS and not record.extra and not located.documents:
        headers.update(_ORDINARY)
    else:
        for describe in READ_DESCRIBERS:
            describe(call, located, headers)
    if located.contest is not NO_CONTEST:
        headers.update(contest_headers(*located.contest))
    if parameters.overrides:
        headers.update(parameters.overrides)
    return headers


def _ready(
    call: Call, status: int, headers: dict[str, str], body: bytes = b"", *, length: int | None = None
) -> ReadyAnswer:
    """An answer of one write."""
    lines = [f"{name}: {value}" for name, value in headers.items()]
    return ReadyAnswer(status, call.base_head, lines, body, length=length)


def _add_checksums(headers: dict[str, str], located: Located, selection: Selection | None) -> None:
    """The stored checksum of what is sent: of the whole object, or of the one part; of other ranges none is known."""
    record = located.version.record
    if selection is None or selection.is_all:
        for name, value in record.checksums.items():
            headers[ALGORITHMS[name].header] = value
    elif selection.checksum and record.checksum_type == COMPOSITE:
        headers[ALGORITHMS[next(iter(record.checksums))].header] = selection.checksum
    else:
        return
    if record.checksum_type:
        headers["x-amz-checksum-type"] = record.checksum_type


def _select_range(located: Located, parameters: GetParameters) -> Selection | None:
    """The bytes a Range header asks for; None for all of them."""
    if parameters.range is None:
        return None
    record = located.version.record
    if parameters.if_range is not None and not holds_if_range(
        parameters.if_range, record.etag, record.modified_ms // 1000
    ):
        return None
    found = parse_range(parameters.range, record.size)
    return None if found is None else Selection(found[0], found[1] - found[0] + 1)


async def _select(call: Call, located: Located, parameters: GetParameters) -> Selection | None:
    """The bytes asked for; None for all of them."""
    if parameters.part_number is not None:
        return await select_part(call.context.store, located.version.record, parameters.part_number)
    return _select_range(located, parameters)


def _describe(
    call: Call, located: Located, parameters: GetParameters, selection: Selection | None
) -> tuple[int, dict[str, str], int]:
    """(status, headers, length) of a GET or HEAD that has an answer."""
    record = located.version.record
    headers = object_headers(call, located, parameters)
    if parameters.checksum_mode:
        _add_checksums(headers, located, selection)
    if selection is None:
        return call.ok_status, headers, record.size
    if parameters.part_number is not None and record.part_count:
        headers["x-amz-mp-parts-count"] = str(record.part_count)
    if not record.size:
        return 200, headers, 0
    last = selection.start + selection.length - 1
    headers["Content-Range"] = f"bytes {selection.start}-{last}/{record.size}"
    return 206, headers, selection.length


def _not_modified(call: Call, located: Located, parameters: GetParameters) -> ReadyAnswer:
    """304 with the headers RFC 9110 §15.4.5 asks for."""
    headers = object_headers(call, located, parameters)
    del headers["Content-Type"]
    return _ready(call, 304, headers)


def head_at_once(call: Call) -> ReadyAnswer | None:
    """HeadObject, unless a part's place must be looked up, which may wait."""
    assert call.read is not None
    parameters, located = call.read
    if located.not_modified:
        return _not_modified(call, located, parameters)
    if parameters.part_number is not None:
        return None
    status, headers, length = _describe(call, located, parameters, _select_range(located, parameters))
    return _ready(call, status, headers, length=length)


async def head_object(call: Call) -> web.StreamResponse:
    """HeadObject."""
    assert call.read is not None
    parameters, located = call.read
    answer = head_at_once(call)
    if answer is not None:
        return answer
    status, headers, length = _describe(call, located, parameters, await _select(call, located, parameters))
    return _ready(call, status, headers, length=length)


def get_at_once(call: Call) -> ReadyAnswer | None:
    """GetObject of what is small and at hand; None if a thread, the disk or the cloud must be waited for."""
    assert call.read is not None
    parameters, located = call.read
    if located.not_modified:
        return _not_modified(call, located, parameters)
    if parameters.part_number is not None:
        return None
    selection = _select_range(located, parameters)
    body = _read_at_once(call, located, selection)
    if body is None:
        return None
    status, headers, _ = _describe(call, located, parameters, selection)
    return _ready(call, status, headers, body)


def _read_at_once(call: Call, located: Located, selection: Selection | None) -> bytes | None:
    """The plaintext selected, if it can be had now."""
    record, store = located.version.record, call.context.store
    small = store.read_small(record.content) if len(record.content) <= 1 else None
    if small is not None and located.opening is not None:
        small = open_small(record, located.opening, small)
    if selection is None:
        return small
    if small is not None:
        return small[selection.start : selection.start + selection.length]
    return None if located.opening is not None else store.read_now(record.content, selection.start, selection.length)


async def get_object(call: Call) -> web.StreamResponse:
    """GetObject."""
    answer = get_at_once(call)
    if answer is not None:
        return answer
    assert call.read is not None
    parameters, located = call.read
    if parameters.part_number is None:
        return await _send(call, located, parameters)
    # A part's place must be looked up first, which may wait: an open read keeps the content from being collected.
    guard = call.context.store.read(located.version.record.content, 0, 0)
    try:
        return await _send(call, located, parameters)
    finally:
        await _close(guard)


async def _send(call: Call, located: Located, parameters: GetParameters) -> web.StreamResponse:
    """The answer of a GET that found its version, when its bytes have come."""
    selection = await _select(call, located, parameters)
    status, headers, length = _describe(call, located, parameters, selection)
    if not length:
        return _ready(call, status, headers)
    small = _read_at_once(call, located, selection) if parameters.part_number is not None else None
    if small is not None:
        return _ready(call, status, headers, small)
    pieces = _read_within(call, located, 0 if selection is None else selection.start, length)
    first = await anext(pieces)
    if len(first) == length and length <= _ONE_WRITE_MAX:
        answer = _ready(call, status, headers, first)
        try:
            await answer.prepare(call.request)  # what the client does not take yet is still the budget's
        finally:
            await _close(pieces)
        return answer
    streamed = call.base_headers()
    streamed.update(headers)
    streamed["Content-Length"] = str(length)
    begun = [first]
    del first  # who waits for a slow client holds no piece that was sent
    return await _stream(call, _Streamed(status=status, headers=streamed), begun, pieces)


async def _read_within(call: Call, located: Located, start: int, length: int) -> AsyncGenerator[bytes, None]:
    """The plaintext, in pieces as large as the budget has bytes left for: a slow client may hold each for minutes.

    Who gets little of the budget goes on in small pieces, each read for itself, and asks again with every one. Five
    eighths of the budget are left to bodies and small pieces, three to bodies alone.
    """
    store, record, budget = call.context.store, located.version.record, call.shares.budget
    guard = store.read(record.content, 0, 0)  # between small pieces, too, the content is not collected
    whole, end, taken = call.settings.body_budget_bytes, start + length, 0
    try:
        while start < end:
            began = start
            taken, asked = _take_piece(budget, end - start, whole)
            if not taken:
                await call.shares.crumbs.take(math.inf)
            pieces = read_plain(store, record, located.opening, start, asked)
            try:
                async for piece in pieces:
                    start += len(piece)
                    yield piece
                    del piece
            finally:
                await _close(pieces)
            if start == began:
                return  # there are fewer bytes than were told: the answer is cut short
            budget.give(taken)
            taken = 0
    finally:
        budget.give(taken)
        await _close(guard)


def _take_piece(budget: WindowBudget, left: int, whole: int) -> tuple[int, int]:
    """(bytes taken of the budget, bytes to read now) for an answer of which ``left`` bytes are to be sent."""
    if left > _BITE and budget.take(min(left, _PIECE_MAX), keep=whole * 5 // 8):
        return min(left, _PIECE_MAX), left  # to its end, a piece at a time
    if budget.take(min(left, _BITE), keep=whole * 3 // 8):
        return min(left, _BITE), min(left, _BITE)
    return 0, min(left, _CRUMB)


async def _stream(
    call: Call, response: web.StreamResponse, begun: list[bytes], pieces: AsyncIterator[bytes]
) -> web.StreamResponse:
    """Send an answer piece by piece; whatever fails once it began ends the connection, as does a client that takes
    none of it for too long (``protocol``).
    """
    try:
        await response.prepare(call.request)
        await _write(response, begun.pop())
        async for piece in pieces:
            await _write(response, piece)
            del piece
            if call.request.protocol.writing_paused:  # aiohttp lets some more pile up
                await call.request.writer.drain()
        return response
    except ConnectionError as error:
        raise ClientGone from error
    except asyncio.CancelledError:
        raise
    except Exception as error:
        log.error("request %s: answer cut short: %s: %s", call.context.request_id, type(error).__name__, error)
        raise ClientGone from error  # ends the connection: the length was told, so the client sees that it is short
    finally:
        await _close(pieces)


async def _close(pieces: AsyncIterator[bytes]) -> None:
    """End a read early or late: what it holds is let go now, not when it is collected."""
    close = getattr(pieces, "aclose", None)
    if close is not None:
        await close()


async def _write(response: web.StreamResponse, piece: bytes) -> None:
    """Write one piece, a slice at a time."""
    if len(piece) <= _SLICE:
        await response.write(piece)
        return
    view = memoryview(piece)
    for at in range(0, len(piece), _SLICE):
        await response.write(view[at : at + _SLICE])


HANDLERS: Final[dict[Operation, CallHandler]] = {
    Operation.GetObject: get_object,
    Operation.HeadObject: head_object,
}
"""What this file answers."""

AT_ONCE: Final[dict[CallHandler, Callable[[Call], ReadyAnswer | None]]] = {
    get_object: get_at_once,
    head_object: head_at_once,
}
"""Of a handler, what does the same if it need not wait, and gives None if it must."""
