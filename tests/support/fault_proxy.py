"""A TCP proxy between a site and its cloud whose line can be made bad while it runs.

It lives on an event loop in a thread of its own; ``set`` may be called from any thread and returns when the fault is in
force, for new connections and for those that are open. Counters tell what went over the wire, and count before they
pass on: who has received bytes finds them counted.

A connection that has swallowed bytes (black hole, captive portal) cannot be made whole again: it is reset when the
fault changes. It knows nothing of HTTP except the one page the captive portal answers with.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import threading
from dataclasses import dataclass
from enum import Enum
from types import TracebackType

PIECE_BYTES = 64 * 1024
RETRANSMIT_S = 0.2
"""The shortest time TCP waits before it sends a lost segment again."""
PORTAL_BODY = b"<html><head><title>Welcome aboard</title></head><body>Please accept the terms of use.</body></html>"
PORTAL = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nConnection: close\r\nContent-Length: "
    + str(len(PORTAL_BODY)).encode()
    + b"\r\n\r\n"
    + PORTAL_BODY
)


class Kind(Enum):
    """What is wrong with the line."""

    PASS = "pass"
    REFUSE = "refuse"  # nobody listens; open connections are reset
    BLACK_HOLE = "black hole"  # accepted, swallowed, never answered, never closed
    SLOW = "slow"  # so many bytes per second, each way
    LATENCY = "latency"  # every piece is held back for so many seconds
    RESET = "reset"  # RST after so many bytes of the answer
    TRUNCATE = "truncate"  # a clean end after so many bytes of the answer
    RESET_UP = "reset upwards"  # RST after so many bytes of the request: in the middle of an upload
    LOSSY = "lossy"  # each piece is held back for as long as TCP takes to send it again, by chance
    PORTAL = "captive portal"  # 200 and a page of HTML, whatever was asked


@dataclass(frozen=True)
class Fault:
    """A kind and its amount: bytes per second (slow), seconds (latency), bytes (reset, truncate)."""

    kind: Kind
    amount: float = 0.0


PASS = Fault(Kind.PASS)
REFUSE = Fault(Kind.REFUSE)
BLACK_HOLE = Fault(Kind.BLACK_HOLE)
CAPTIVE_PORTAL = Fault(Kind.PORTAL)


def slow(bytes_per_s: float) -> Fault:
    """A line of ``bytes_per_s`` each way, for each connection."""
    return Fault(Kind.SLOW, bytes_per_s)


def latency(seconds: float) -> Fault:
    """Every piece waits for ``seconds`` before it is passed on."""
    return Fault(Kind.LATENCY, seconds)


def reset(after_bytes: int) -> Fault:
    """Each connection is reset once ``after_bytes`` of answer went through."""
    return Fault(Kind.RESET, after_bytes)


def reset_up(after_bytes: int) -> Fault:
    """Each connection is reset once ``after_bytes`` went up."""
    return Fault(Kind.RESET_UP, after_bytes)


def lossy(share: float) -> Fault:
    """So many of all pieces are lost and sent again: what a lossy line is to those above TCP."""
    return Fault(Kind.LOSSY, share)


def truncate(after_bytes: int) -> Fault:
    """Each connection is closed, as if complete, once ``after_bytes`` of answer went through."""
    return Fault(Kind.TRUNCATE, after_bytes)


class _Link:
    """One client connection and, unless the fault forbids it, its connection upstream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self.number = number
        self.reader = reader
        self.writer = writer
        self.upstream: asyncio.StreamWriter | None = None
        self.answered = 0
        self.asked = 0
        self.is_spoiled = False  # swallowed bytes: cannot go on when the line is mended

    def abort(self) -> None:
        """Reset the client, drop the upstream."""
        raw = self.writer.get_extra_info("socket")
        with contextlib.suppress(OSError, AttributeError):
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        if self.upstream is not None:
            self.upstream.transport.abort()


class FaultProxy:
    """Listens on a loopback port of its own and passes bytes to ``127.0.0.1:upstream_port``. A context manager."""

    def __init__(self, upstream_port: int) -> None:
        self.upstream_port = upstream_port
        self.port = 0
        self.bytes_up = 0
        """Bytes passed on to the upstream so far."""
        self.bytes_down = 0
        """Bytes passed back to clients so far."""
        self.accepted = 0
        """Connections accepted so far."""
        self.tape: list[tuple[int, bool, bytes]] | None = None
        """Where it is a list: every piece that passes, as (number of the connection, whether it is an answer's, it)."""
        self._fault = PASS
        self._dice = random.Random(upstream_port)
        self._changed = asyncio.Event()
        self._links: set[_Link] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self._reservation = socket.socket()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fault-proxy", daemon=True)

    @property
    def endpoint(self) -> str:
        """The URL to give to a site."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def fault(self) -> Fault:
        """What is in force."""
        return self._fault

    def __enter__(self) -> FaultProxy:
        # A bound socket that never listens keeps the port ours while the line is cut; connections to it are refused.
        self._reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        self._reservation.bind(("127.0.0.1", 0))
        self.port = self._reservation.getsockname()[1]
        self._thread.start()
        self.set(PASS)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        asyncio.run_coroutine_threadsafe(self._shut_down(), self._loop).result(10)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
        self._reservation.close()

    def set(self, fault: Fault) -> None:
        """Put ``fault`` in force; returns when it is. From any thread but the proxy's own."""
        asyncio.run_coroutine_threadsafe(self._apply(fault), self._loop).result(10)

    async def _apply(self, fault: Fault) -> None:
        self._fault = fault
        self._changed.set()
        self._changed = asyncio.Event()
        for link in list(self._links):
            if link.is_spoiled or fault.kind in (Kind.REFUSE, Kind.PORTAL):
                link.abort()
        if fault.kind is Kind.REFUSE:
            await self._stop_listening()
        elif self._server is None:
            listener = socket.socket()
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            listener.bind(("127.0.0.1", self.port))
            self._server = await asyncio.start_server(self._accept, sock=listener, limit=4 * PIECE_BYTES)

    async def _stop_listening(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            await asyncio.sleep(0)

    async def _shut_down(self) -> None:
        await self._stop_listening()
        for task in list(self._tasks):
            task.cancel()
        for link in list(self._links):
            link.abort()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = self._loop.create_task(self._serve(_Link(reader, writer, self.accepted)))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, link: _Link) -> None:
        self._links.add(link)
        try:
            if self._fault.kind is Kind.REFUSE:
                return
            if self._fault.kind is Kind.PORTAL:
                await self._answer_portal(link)
                return
            if self._fault.kind is Kind.BLACK_HOLE:
                await self._swallow(link)
                return
            reader, link.upstream = await asyncio.open_connection(
                "127.0.0.1", self.upstream_port, limit=4 * PIECE_BYTES
            )
            up = asyncio.ensure_future(self._pump(link, link.reader, link.upstream, answers=False))
            down = asyncio.ensure_future(self._pump(link, reader, link.writer, answers=True))
            try:
                await asyncio.wait([up, down], return_when=asyncio.ALL_COMPLETED)
            finally:
                up.cancel()
                down.cancel()
                await asyncio.gather(up, down, return_exceptions=True)
        except (OSError, asyncio.IncompleteReadError):
            pass  # either side went away: the other is told by the abort below
        finally:
            self._links.discard(link)
            link.abort()

    async def _pump(
        self, link: _Link, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, answers: bool
    ) -> None:
        while piece := await reader.read(PIECE_BYTES):
            for part in self._split(piece):
                passed = await self._suffer(link, part, answers=answers)
                if passed is None:
                    return
                if answers:
                    self.bytes_down += len(passed)
                else:
                    self.bytes_up += len(passed)
                if self.tape is not None:
                    self.tape.append((link.number, answers, passed))
                writer.write(passed)
                await writer.drain()
        if link.is_spoiled or self._fault.kind is Kind.BLACK_HOLE:
            link.is_spoiled = True
            await self._changed.wait()  # a black hole says nothing, not even goodbye; _apply aborts the link
        elif writer.can_write_eof():
            writer.write_eof()

    def _split(self, piece: bytes) -> list[bytes]:
        """A slow line moves a tenth of a second's worth at a time; any other moves the piece as it is."""
        if self._fault.kind is not Kind.SLOW:
            return [piece]
        size = max(1, int(self._fault.amount / 10))
        return [piece[at : at + size] for at in range(0, len(piece), size)]

    async def _suffer(self, link: _Link, piece: bytes, *, answers: bool) -> bytes | None:
        """What the line does to a piece: later, shorter, nothing at all, or None when the connection is over."""
        fault = self._fault
        if fault.kind is Kind.BLACK_HOLE or link.is_spoiled:
            link.is_spoiled = True
            return b""
        if fault.kind is Kind.LATENCY:
            await asyncio.sleep(fault.amount)
        elif fault.kind is Kind.SLOW:
            with contextlib.suppress(TimeoutError):  # ends early when the fault changes
                async with asyncio.timeout(len(piece) / max(fault.amount, 1.0)):
                    await self._changed.wait()
        elif fault.kind is Kind.LOSSY and self._dice.random() < fault.amount:
            await asyncio.sleep(RETRANSMIT_S)
        elif not answers and fault.kind is Kind.RESET_UP and link.asked + len(piece) > int(fault.amount):
            link.abort()
            return None
        elif answers and fault.kind in (Kind.RESET, Kind.TRUNCATE):
            left = int(fault.amount) - link.answered
            if len(piece) >= left:
                await self._cut(link, piece[: max(left, 0)], clean=fault.kind is Kind.TRUNCATE)
                return None
        if answers:
            link.answered += len(piece)
        else:
            link.asked += len(piece)
        return piece

    async def _cut(self, link: _Link, last: bytes, *, clean: bool) -> None:
        """Pass on ``last`` and end the connection, as if all were said (``clean``) or with a reset."""
        self.bytes_down += len(last)
        link.writer.write(last)
        await link.writer.drain()
        if clean:
            link.writer.close()
            await link.writer.wait_closed()
        link.abort()

    async def _swallow(self, link: _Link) -> None:
        """Take what comes, say nothing; ends with the fault (``_apply`` aborts the link)."""
        link.is_spoiled = True
        while await link.reader.read(PIECE_BYTES):
            pass
        await self._changed.wait()

    async def _answer_portal(self, link: _Link) -> None:
        await link.reader.readuntil(b"\r\n\r\n")
        link.writer.write(PORTAL)
        await link.writer.drain()
        link.writer.close()
        await link.writer.wait_closed()
