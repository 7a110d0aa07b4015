"""Lines from many sites to one cloud on one event loop: each a port of its own, whose requests are counted by kind, and
which can be cut. What a site asks of its bucket is seen here from outside, whatever it says of it.

HTTP is read only as far as counting needs: the head of each request, and how long its body is.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from types import TracebackType
from typing import Final, cast

HEAD_BYTES_MAX: Final = 64 << 10
LISTING: Final = b"list-type=2"


class RequestReader:
    """Finds the requests in what a client sends, fed in pieces of any size; counts them by kind, and the bytes.

    Kinds are what a cloud's price list tells apart: ``PUT``, ``LIST``, ``GET``, ``DELETE``, and whatever else by its
    method. A body without a Content-Length is not understood (nothing in Skerry sends one): ``ValueError``.
    """

    def __init__(self, counts: Counter[str]) -> None:
        self._counts = counts
        self._head = b""
        self._body_left = 0

    def feed(self, piece: bytes) -> None:
        """The next bytes."""
        self._counts["bytes up"] += len(piece)
        while piece:
            if self._body_left:
                taken = min(self._body_left, len(piece))
                self._body_left -= taken
                piece = piece[taken:]
                continue
            head, end, rest = (self._head + piece).partition(b"\r\n\r\n")
            if not end:
                if len(head) > HEAD_BYTES_MAX:
                    raise ValueError("not the head of a request")
                self._head = head
                return
            self._head, piece = b"", rest
            self._note(head)

    def _note(self, head: bytes) -> None:
        first, *fields = head.split(b"\r\n")
        method, target, _ = first.split(b" ", 2)
        kind = "LIST" if method == b"GET" and LISTING in target else method.decode("ascii")
        self._counts[kind] += 1
        names = {name.strip().lower(): value.strip() for name, _, value in (field.partition(b":") for field in fields)}
        if b"transfer-encoding" in names:
            raise ValueError("a body of unknown length")
        self._body_left = int(names.get(b"content-length", b"0"))


class Line:
    """One site's line. ``counts``: requests by kind, ``bytes up``, ``bytes down``."""

    def __init__(self) -> None:
        self.port = 0
        self.counts: Counter[str] = Counter()
        self.is_cut = False
        self.open: set[_Near] = set()

    @property
    def endpoint(self) -> str:
        """The URL to give to the site."""
        return f"http://127.0.0.1:{self.port}"


class _Far(asyncio.Protocol):
    """The connection to the cloud: what comes goes to the site."""

    def __init__(self, near: _Near) -> None:
        self._near = near

    def data_received(self, data: bytes) -> None:
        self._near.line.counts["bytes down"] += len(data)
        self._near.transport.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self._near.transport.close()


class _Near(asyncio.Protocol):
    """A connection of a site; what comes before the cloud's end is open waits."""

    transport: asyncio.Transport

    def __init__(self, line: Line, upstream_port: int) -> None:
        self.line, self._upstream_port = line, upstream_port
        self._reader = RequestReader(line.counts)
        self._waiting: list[bytes] = []
        self._far: asyncio.Transport | None = None
        self._opening: asyncio.Task[None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        if self.line.is_cut:
            self.transport.abort()
            return
        self.line.open.add(self)
        self._opening = asyncio.ensure_future(self._open())

    async def _open(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            self._far, _ = await loop.create_connection(lambda: _Far(self), "127.0.0.1", self._upstream_port)
        except OSError:
            self.transport.abort()
            return
        for piece in self._waiting:
            self._far.write(piece)

    def data_received(self, data: bytes) -> None:
        self._reader.feed(data)
        if self._far is None:
            self._waiting.append(data)
        else:
            self._far.write(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.line.open.discard(self)
        if self._opening is not None:
            self._opening.cancel()
        if self._far is not None:
            self._far.close()


class Lines:
    """``count`` lines to ``127.0.0.1:upstream_port``. A context manager; runs in a thread of its own."""

    def __init__(self, count: int, upstream_port: int) -> None:
        self.lines = [Line() for _ in range(count)]
        self._upstream_port = upstream_port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="lines", daemon=True)
        self._servers: list[asyncio.Server] = []

    def __enter__(self) -> Lines:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self._listen(), self._loop).result(30)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._end(), self._loop).result(30)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def cut(self, line: Line) -> None:
        """Reset what is open on it and whatever comes, until ``mend``. Returns when it is so."""
        asyncio.run_coroutine_threadsafe(self._set_cut(line, True), self._loop).result(10)

    def mend(self, line: Line) -> None:
        """Let it pass again."""
        asyncio.run_coroutine_threadsafe(self._set_cut(line, False), self._loop).result(10)

    async def _set_cut(self, line: Line, is_cut: bool) -> None:
        line.is_cut = is_cut
        for near in list(line.open) if is_cut else ():
            near.transport.abort()

    async def _listen(self) -> None:
        for line in self.lines:
            accept = lambda line=line: _Near(line, self._upstream_port)  # noqa: E731
            server = await self._loop.create_server(accept, "127.0.0.1", 0)
            line.port = server.sockets[0].getsockname()[1]
            self._servers.append(server)

    async def _end(self) -> None:
        for server in self._servers:
            server.close()
        for line in self.lines:
            await self._set_cut(line, True)
        await asyncio.sleep(0)  # connections are told in the next turn of the loop
