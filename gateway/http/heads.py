"""What of a request is known before its body: its line, its headers, and the connection they came over.

aiohttp's request is a ``Head`` too, and is made for every request that is handled in the connection's task. A request
that is answered at once (``protocol``) needs none of what that costs: ``ParsedHead`` is the parser's message as it is.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from aiohttp.http_parser import RawRequestMessage
from aiohttp.web_protocol import RequestHandler

from gateway.identity.facts import Connection


class Head(Connection, Protocol):
    """A request without its body, as ``app``, policies' conditions and logs need it."""

    @property
    def method(self) -> str:
        """The method, as it came."""

    @property
    def raw_path(self) -> str:
        """The request target, as it came."""

    @property
    def raw_headers(self) -> Iterable[tuple[bytes, bytes]]:
        """The header fields, as they came, in order."""

    @property
    def version(self) -> Any:
        """(major, minor) of HTTP."""


class ParsedHead:
    """A message of aiohttp's parser on its connection."""

    __slots__ = ("_connection", "method", "raw_headers", "raw_path", "version")

    def __init__(self, message: RawRequestMessage, connection: RequestHandler) -> None:
        self.method = message.method
        self.raw_path = message.path
        self.raw_headers = message.raw_headers
        self.version = message.version
        self._connection = connection

    @property
    def remote(self) -> str | None:
        """See ``Connection``."""
        peer = self._connection.peername
        return str(peer[0]) if isinstance(peer, (tuple, list)) else peer

    @property
    def secure(self) -> bool:
        """See ``Connection``."""
        return self._connection.ssl_context is not None

    @property
    def transport(self) -> Any:
        """See ``Connection``."""
        return self._connection.transport
