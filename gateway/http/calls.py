"""One request on its way from the socket to an operation and back, and the plain answers operations come back as.

A ``Call`` is made when a request arrives and filled by ``app`` as it is verified; the handlers (``object_reads``,
``object_writes``, ``multipart_calls``, ``bucket_calls``) turn it into typed arguments, run the operation, and build
the response. A handler only ever sees a call whose signature holds.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from gateway.http.answers import ReadyAnswer
from gateway.http.body import RequestBody, WindowBudget
from gateway.http.heads import Head
from gateway.http.settings import HttpSettings
from gateway.http.turns import Turns
from gateway.identity.principals import PrincipalCache
from gateway.operations.context import Context, find_bucket
from gateway.operations.objects_get import Located
from gateway.s3.errors import MalformedXML
from gateway.s3.names import Target
from gateway.s3.payload import Payload
from gateway.s3.requests import GetParameters
from gateway.s3.routing import Operation
from gateway.s3.sigv4 import Verified
from gateway.s3.uri import Query

SERVER: Final = "Skerry"
XML: Final = "application/xml"
_STRANGERS_BYTES_MAX: Final = 256 << 10
_AT_ONCE_BYTES_MAX: Final = 64 << 10  # a document above this is parsed in a turn of its own


@dataclass(frozen=True, slots=True)
class Shares:
    """What the requests of one worker have together."""

    budget: WindowBudget
    turns: Turns = field(default_factory=Turns)
    """For long work on the loop."""
    crumbs: Turns = field(default_factory=lambda: Turns(32))
    """For pieces of answers that got nothing of the budget: thousands of them are under way at once."""


class Call:
    """A request. ``raw_headers``: folded; ``headers``: those, merged with what a presigner moved into the query.

    ``base_head``: header lines that all answers of this second share. ``read``: for GetObject and HeadObject only,
    their parameters and version, looked up in the snapshot in which the signature was verified; ``ok_status``: of their
    answer, where it is the whole object (a website's error document has another).
    """

    __slots__ = (
        "_body",
        "always",
        "base_head",
        "context",
        "error_code",
        "head",
        "headers",
        "host_id",
        "now_s",
        "ok_status",
        "operation",
        "payload",
        "principals",
        "query",
        "raw_headers",
        "read",
        "request_id",
        "resource",
        "settings",
        "shares",
        "target",
        "verified",
    )
    base_head: str
    context: Context
    headers: dict[str, str]
    payload: Payload
    principals: PrincipalCache
    query: Query
    raw_headers: dict[str, str]
    target: Target
    verified: Verified | None

    def __init__(
        self,
        head: Head,
        request_id: str,
        host_id: str,
        settings: HttpSettings,
        shares: Shares,
        now_s: int,
    ) -> None:
        self.head = head
        self.request_id = request_id
        self.host_id = host_id
        self.settings = settings
        self.shares = shares
        self.now_s = now_s
        self.operation: Operation | None = None
        self.resource = ""
        self.always: dict[str, str] = {}
        self.ok_status = 200
        self.error_code = ""
        self.read: tuple[GetParameters, Located] | None = None
        self._body: RequestBody | None = None

    @property
    def request(self) -> web.BaseRequest:
        """aiohttp's request: only where a call may be waited for."""
        assert isinstance(self.head, web.BaseRequest)
        return self.head

    @property
    def body(self) -> RequestBody:
        """The body, ready to be read once."""
        if self._body is None:
            self._body = RequestBody(
                self.head, self.raw_headers, self.payload, self.verified, self.shares.budget, self.settings
            )
        return self._body

    @property
    def received_bytes(self) -> int:
        """Bytes of the body that were read."""
        return self._body.bytes_read if self._body is not None else 0

    @property
    def was_continued(self) -> bool:
        """Whether the body was begun (and 100 Continue sent, if it was asked for)."""
        return self._body is not None and self._body.continued

    @property
    def bucket(self) -> str:
        """The bucket addressed; only for operations on one."""
        assert self.target.bucket is not None
        return self.target.bucket

    @property
    def key(self) -> bytes:
        """The key addressed; only for operations on an object."""
        return self.target.key_bytes

    def base_headers(self) -> CIMultiDict[str]:
        """What every streamed answer carries."""
        base = {"Server": SERVER, "x-amz-request-id": self.request_id, "x-amz-id-2": self.host_id}
        return CIMultiDict({**base, **self.always})

    def add_headers(self, headers: dict[str, str]) -> None:
        """Let every answer, an error too, carry ``headers`` (cross-origin rules, a website's error)."""
        self.always = {**self.always, **headers}
        self.base_head += "".join([f"{name}: {value}\r\n" for name, value in headers.items()])

    def answer(self, status: int = 200, headers: dict[str, str] | None = None, body: bytes = b"") -> web.StreamResponse:
        """An answer with further headers; a body is XML unless they say otherwise."""
        lines = [f"x-amz-request-id: {self.request_id}"]
        if headers:
            lines += [f"{name}: {value}" for name, value in headers.items()]
        if self.context.facts.charged:
            lines.append("x-amz-request-charged: requester")
        if body and not (headers and "Content-Type" in headers):
            lines.append(f"Content-Type: {XML}")
        return ReadyAnswer(status, self.base_head, lines, body)

    async def read_document(self, bytes_max: int) -> bytes:
        """The whole body of a request whose body is a document, verified; ``MalformedXML`` above ``bytes_max``."""
        if bytes_max > _STRANGERS_BYTES_MAX:  # nobody may make a worker hold and parse megabytes to be refused then
            assert self.operation is not None
            key = b"" if self.target.key is None else self.key
            with self.context.store.view() as view:
                find_bucket(self.context, view, self.bucket, self.operation, key)
        document = await self.body.read_whole(bytes_max, MalformedXML)
        if len(document) > _AT_ONCE_BYTES_MAX:
            await self.shares.turns.take()
        return document


CallHandler = Callable[[Call], Awaitable[web.StreamResponse]]
"""Answers one operation."""
