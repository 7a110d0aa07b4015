"""An answer whose bytes are made here and go out in one write: what all small answers are.

aiohttp's own response copies headers into a mapping, completes it, and serialises it again: a third of what a 4 KiB
GET costs. This one joins lines. It stands in for a ``StreamResponse`` towards aiohttp's protocol (``prepare``,
``write_eof``, ``keep_alive``) and for nothing else. Streams are ordinary aiohttp responses.

Invariant: no header value can end its line. The count of lines is checked over the finished head, so that a value
with a line break (which no request could have brought in) is an error and never a second header.
"""

from __future__ import annotations

import asyncio
from http import HTTPStatus
from typing import Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

_STATUS_LINES: Final = {
    status.value: f"HTTP/1.1 {status.value} {status.phrase}" for status in HTTPStatus if status.value >= 200
}
_JOINED_MAX: Final = 128 << 10  # a body up to this size is copied behind its head: cheaper than a second piece


class ReadyAnswer(web.StreamResponse):
    """``base``: whole header lines of our own making, with their ends; ``lines``: further ones, without.

    Content-Length and Connection are added. ``length``: of the body a HEAD only tells of.
    """

    def __init__(
        self,
        status: int,
        base: str,
        lines: list[str],
        body: bytes = b"",
        *,
        length: int | None = None,
    ) -> None:
        # Not aiohttp's: nothing of its state is used, and it would cost as much as the answer itself.
        self._status = status
        self._base = base
        self._lines = lines
        self._answer_body = body
        self._length = len(body) if length is None else length
        self._keep_alive = None
        self._is_sent = False

    @property
    def sent_bytes(self) -> int:
        """Bytes of the body."""
        return self._length

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        """Write all of it, once; returns when the client has taken most of it."""
        if self._is_sent:
            return None
        if self._keep_alive is None:
            self._keep_alive = request.keep_alive
        transport = request.transport
        if transport is None or transport.is_closing():
            raise ConnectionResetError("the client is gone")
        self.write_to(transport, request.method, is_old=request.version < (1, 1))
        if request.protocol.writing_paused:
            await request.writer.drain()
        return None

    def write_to(self, transport: asyncio.WriteTransport, method: str, *, is_old: bool = False) -> None:
        """Hand all of it to the transport of a request; ``is_old``: one of HTTP/1.0. The connection stays unless
        ``force_close`` was called.
        """
        self._is_sent = True
        lines = self._lines
        if self._status not in (204, 304):  # these have no body, and a length would be a lie about one
            lines.append(f"Content-Length: {self._length}")
        if self._keep_alive is False:
            lines.append("Connection: close")
        elif is_old:
            lines.append("Connection: keep-alive")
        further = "\r\n".join(lines)
        if further.count("\n") != len(lines) - 1 or further.count("\r") != len(lines) - 1:
            raise ValueError("a header value holds a line break")
        raw = f"{_STATUS_LINES[self._status]}\r\n{self._base}{further}\r\n\r\n".encode("utf-8", "surrogateescape")
        body, self._answer_body = self._answer_body, b""
        if method == "HEAD" or not body:
            transport.write(raw)
        elif len(body) <= _JOINED_MAX:
            transport.write(raw + body)
        else:
            transport.writelines((raw, body))

    async def write_eof(self, data: bytes = b"") -> None:
        """Nothing is left to write."""
