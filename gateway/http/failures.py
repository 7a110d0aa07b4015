"""Every failure as an S3 error: the one total table, and the answer it becomes.

What is an S3 error already stays one; the store's errors have their line below; whatever else escapes is
``InternalError``, logged with the request id and the traceback of our own code, never with a header, a query string or
a body. This is the only place where errors become answers.
"""

from __future__ import annotations

import logging
import traceback
from typing import Final

from aiohttp import web

from gateway.http.answers import ReadyAnswer
from gateway.s3.errors import (
    IncompleteBody,
    InternalError,
    MethodNotAllowed,
    S3Error,
    ServiceUnavailable,
    SlowDown,
    StorageFull,
    to_xml,
)
from gateway.store.errors import (
    ChunkGone,
    ChunkLost,
    ChunkUnavailable,
    ClockWrong,
    Damaged,
    DiskFull,
    Overloaded,
    ReadOnlyStore,
)

log: Final = logging.getLogger("skerry.http")


class ClientGone(ConnectionError):
    """The client closed its connection, or the answer was cut short: there is nobody to answer."""


_ALLOW: Final = {"Allow": "HEAD, PUT, DELETE"}  # RFC 9110 §15.5.6


def _retry_after(seconds: int) -> dict[str, str]:
    return {"Retry-After": str(seconds)}


_TABLE: Final[tuple[tuple[type[BaseException], type[S3Error], str | None, int], ...]] = (
    # exception, S3 error, message (None: the error's own), seconds of Retry-After (0: none)
    (DiskFull, StorageFull, None, 0),
    (ReadOnlyStore, ServiceUnavailable, "The site takes no writes: a disk failed to sync. Reads go on.", 60),
    (ClockWrong, ServiceUnavailable, "The site takes no writes: its clock is wrong. Reads go on.", 60),
    (ChunkUnavailable, ServiceUnavailable, "The bytes are in the cloud only, and it cannot be reached now.", 10),
    (Overloaded, SlowDown, None, 1),
    (ChunkGone, ServiceUnavailable, "What the request built on changed meanwhile. Please try again.", 1),
    (ChunkLost, MethodNotAllowed, "The stored bytes of this object are lost.", 0),  # as of S3's reduced redundancy
    (Damaged, InternalError, "Stored bytes are damaged. The damage was recorded and is being repaired.", 0),
    (web.RequestPayloadError, IncompleteBody, None, 0),
)


def to_s3_error(error: BaseException, request_id: str) -> S3Error:
    """The S3 error that ``error`` is for a client. Total: what is not in the table is ``InternalError``, and logged."""
    if isinstance(error, S3Error):
        if error.status >= 500 and isinstance(error, InternalError):
            log.error("request %s: %s", request_id, error)
        return error
    for kind, answer, message, retry_s in _TABLE:
        if isinstance(error, kind):
            if answer.status >= 500:
                log.warning("request %s: %s: %s", request_id, type(error).__name__, error)
            headers = _ALLOW if answer is MethodNotAllowed else _retry_after(retry_s) if retry_s else None
            return answer(message, headers=headers)
    log.error("request %s failed", request_id, exc_info=error)
    return InternalError()


def release_frames(error: BaseException) -> None:
    """Let go what the frames that ``error`` came through hold: pieces of bodies, megabytes each.

    aiohttp keeps such errors in futures that these frames hold in turn; until Python looks for cycles, hundreds of
    clients that vanish in the middle of an answer would cost as many pieces.
    """
    link: BaseException | None = error
    while link is not None:
        traceback.clear_frames(link.__traceback__)
        link = link.__cause__ or link.__context__


def answer_error(
    error: S3Error,
    *,
    base_head: str,
    method: str = "",
    resource: str = "",
    request_id: str = "",
    host_id: str = "",
    close: bool = False,
) -> ReadyAnswer:
    """The answer of an S3 error. HEAD and 304 have no body; ``close`` ends the connection after it. ``base_head``: the
    header lines that all answers have.
    """
    lines = [f"{name}: {value}" for name, value in error.headers.items()]
    lines.append(f"x-amz-request-id: {request_id}")
    body = b""
    if method != "HEAD" and error.status != 304:
        lines.append("Content-Type: application/xml")
        body = to_xml(error, resource, request_id, host_id)
    answer = ReadyAnswer(error.status, base_head, lines, body)
    if close:
        answer.force_close()
    return answer
