"""What of a request is known before its body: its line, its headers, and the connection they came over.

aiohttp's request is a ``Head`` too, and is made for every request that is handled in the connection's task. A request
that is answered at once (``protocol``) needs none of what that costs: ``ParsedHead`` is the parser's message as it is,
and its body, if it has one, came with it and is at hand.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Protocol

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

    @property
    def content(self) -> Any:
        """The body: aiohttp's stream, or a ``BodyAtHand``."""

    @property
    def protocol(self) -> Any:
        """The connection."""


class BodyAtHand:
    """A body that has come whole: as much of aiohttp's stream as reading it needs."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def read_nowait(self) -> bytes:
        """All that was not read yet."""
        data, self._data = self._data, b""
        return data

    async def readany(self) -> bytes:
        """The same."""
        return self.read_nowait()

    def at_eof(self) -> bool:
        """Whether it was read."""
        return not self._data

    def is_eof(self) -> bool:
        """Nothing more will come."""
        return True

    def set_read_chunk_size(self, count: int) -> None:
        """Nothing is buffered beyond what is here."""


NO_BODY: Final = BodyAtHand(b"")


class ParsedHead:
    """A message of aiohttp's parser on its connection."""

    __slots__ = ("content", "method", "protocol", "raw_headers", "raw_path", "version")

    def __init__(self, message: RawRequestMessage, connection: RequestHandler, content: BodyAtHand = NO_BODY) -> None:
        self.method = message.method
        self.raw_path = message.path
        self.raw_headers = message.raw_headers
        self.version = message.version
        self.protocol = connection
        self.content = content

    @property
    def remote(self) -> str | None:
        """See ``Connection``."""
        peer = self.protocol.peername
        return str(peer[0]) if isinstance(peer, (tuple, list)) else peer

    @property
    def secure(self) -> bool:
        """See ``Connection``."""
        return self.protocol.ssl_context is not None

    @property
    def transport(self) -> Any:
        """See ``Connection``."""
        return self.protocol.transport
