"""One verified request on its way to an operation, and the plain answers operations come back as.

A ``Call`` is made by ``app`` once signature and headers were checked; the handlers (``object_reads``,
``object_writes``, ``multipart_calls``, ``bucket_calls``) turn it into typed arguments, run the operation, and build
the response.
"""

from __future__ import annotations

from typing import Final

from aiohttp import web
from multidict import CIMultiDict

from gateway.http.body import RequestBody
from gateway.http.settings import HttpSettings
from gateway.operations.context import Context
from gateway.s3.errors import MalformedXML
from gateway.s3.names import Target
from gateway.s3.routing import Operation
from gateway.s3.uri import Query

SERVER: Final = "Skerry"
XML: Final = "application/xml"


class Call:
    """A verified request. ``headers``: folded, and merged with those a presigner moved into the query."""

    __slots__ = ("body", "context", "headers", "host_id", "operation", "query", "request", "settings", "target")

    def __init__(
        self,
        request: web.BaseRequest,
        operation: Operation,
        target: Target,
        query: Query,
        headers: dict[str, str],
        context: Context,
        body: RequestBody,
        host_id: str,
        settings: HttpSettings,
    ) -> None:
        self.request = request
        self.operation = operation
        self.target = target
        self.query = query
        self.headers = headers
        self.context = context
        self.body = body
        self.host_id = host_id
        self.settings = settings

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
        """What every answer carries."""
        return CIMultiDict({"Server": SERVER, "x-amz-request-id": self.context.request_id, "x-amz-id-2": self.host_id})

    def answer(self, status: int = 200, headers: dict[str, str] | None = None, body: bytes = b"") -> web.Response:
        """An answer with further headers; a body is XML unless they say otherwise."""
        merged = self.base_headers()
        if headers:
            merged.update(headers)
        if body:
            merged.setdefault("Content-Type", XML)
        return web.Response(status=status, headers=merged, body=body)

    async def read_document(self, bytes_max: int) -> bytes:
        """The whole body of a request whose body is a document, verified; ``MalformedXML`` above ``bytes_max``."""
        return await self.body.read_whole(bytes_max, MalformedXML)
