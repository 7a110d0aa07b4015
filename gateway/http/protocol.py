"""The connection: aiohttp's low-level server with deadlines and a cap of its own, and errors in S3's words.

aiohttp parses (its C parser, asserted), writes and keeps alive; this module adds what it lacks: deadlines for request
headers that trickle in and for answers that nobody takes, a cap on connections (the idle give way to the new), and S3
XML instead of plain text where its parser refuses a request. It never logs what a client sent: aiohttp's own messages
would quote URLs with their signatures.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import sys
import termios
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import partial
from typing import Any, Final, TypeVar

import aiohttp
from aiohttp import http_parser, web, web_protocol
from aiohttp.http_exceptions import InvalidURLError, LineTooLong
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from gateway.http.answers import ReadyAnswer
from gateway.http.crowd import CROWD, Crowd
from gateway.http.failures import answer_error
from gateway.http.heads import NO_BODY, BodyAtHand, ParsedHead
from gateway.http.settings import HttpSettings
from gateway.http.unsent import WRITE_HIGH_BYTES, UnsentAnswers
from gateway.s3.errors import InternalError, InvalidRequest, InvalidURI, RequestHeaderSectionTooLarge, S3Error
from gateway.s3.times import format_http_date

log: Final = logging.getLogger("skerry.http")
_AIOHTTP_MIN: Final = (3, 14, 3)
_FULL: Final = (
    b"HTTP/1.1 503 Slow Down\r\nServer: Skerry\r\nConnection: close\r\nRetry-After: 5\r\n"
    b"Content-Type: application/xml\r\nContent-Length: 91\r\n\r\n"
    b"<Error><Code>SlowDown</Code><Message>Too many connections to this site.</Message></Error>\r\n"
)
_IDLE_MIN_S: Final = 5.0  # who has asked nothing for so long gives way to a new connection: what Retry-After promises
STALLED_MIN_S: Final = 5
"""Seconds after which a client that takes nothing of its answer gives way to others, if there are too many."""
_FULL_FOR_S: Final = 0.1  # how long it is believed that nobody gives way: looking costs a pass over all
_LISTED_MAX: Final = 2  # requests of one connection that are parsed before they are handled
_LISTED_IN_CROWD: Final = 1  # of each connection beyond a crowd: 3 KB less, some microseconds more a request
_DRAIN_STEP_S: Final = 0.02
_CANCEL_TIMEOUT_S: Final = 1.0  # for handlers that were told to stop after the drain
_AT_HAND_MAX: Final = 64 << 10  # a body up to this size that came with its head is handled with it
_BODILESS: Final = frozenset({"GET", "HEAD", "DELETE", "PUT"})  # asked for without a body often enough to try
Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
AnswerAtOnce = Callable[[ParsedHead], ReadyAnswer | Coroutine[Any, Any, web.StreamResponse] | None]
Result = TypeVar("Result")


def check_aiohttp() -> None:
    """Refuse to run on an aiohttp that is too old or has no C parser: its Python parser is slow and more lenient."""
    version = tuple(int(part) for part in aiohttp.__version__.split(".")[:3] if part.isdigit())
    if version < _AIOHTTP_MIN:
        raise RuntimeError(f"aiohttp {aiohttp.__version__} is too old: at least 3.14.3 is needed")
    if http_parser.HttpRequestParser is http_parser.HttpRequestParserPy:
        raise RuntimeError("aiohttp has no C parser here: install its binary wheel, unset AIOHTTP_NO_EXTENSIONS")


def _count_queued(transport: asyncio.Transport) -> int:
    """Bytes the kernel has taken of a transport and its client has not (SIOCOUTQ, tcp(7)); 0 if that is not known."""
    try:
        queued = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, AttributeError):
        return 0
    return int.from_bytes(queued, sys.byteorder)


class InlineLoop:
    """The event loop as a connection sees it: what aiohttp would make a task of for each request, and then await, is
    awaited right away in the connection's own task. A tenth of a small GET's time. From Python 3.12 on aiohttp starts
    that task eagerly, which saves as much, and the loop itself is used.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self.time, self.call_at, self.create_future = loop.time, loop.call_at, loop.create_future

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loop, name)

    def create_task(self, coroutine: Coroutine[Any, Any, Result]) -> Coroutine[Any, Any, Result]:
        """What is awaited in the task's place."""
        return coroutine


async def _after_others(handled: Coroutine[Any, Any, Result]) -> Result:
    """Let the rest of the loop have its turn first."""
    await asyncio.sleep(0)
    return await handled


def _take_at_hand(message: RawRequestMessage, payload: StreamReader) -> BodyAtHand | None:
    """The body of a request of a kind that may be answered at once, if it is here whole; it stays in its stream."""
    if payload is EMPTY_PAYLOAD:
        return NO_BODY if message.method in _BODILESS else None
    if message.method != "PUT" or not payload.is_eof() or payload.total_bytes > _AT_HAND_MAX:
        return None
    if payload.exception() is not None:
        return None
    return BodyAtHand(b"".join(payload._buffer))  # reading it would have aiohttp parse on for more of it


class _Listed(list[Any]):
    """Requests parsed and not handled: a few at most. A ``deque``, as aiohttp has, makes room for 64 at once."""

    __slots__ = ()

    def popleft(self) -> Any:
        """The first."""
        return self.pop(0)


class S3Connection(RequestHandler):
    """One client connection."""

    __slots__ = ("_has_followers", "_is_refused", "_partial_since_s", "_write")

    def __init__(self, manager: S3Server, **options: Any) -> None:
        super().__init__(manager, **options)
        self._messages = _Listed()  # type: ignore[assignment]
        self._partial_since_s = 0.0
        self._is_refused = False
        self._write: asyncio.Task[web.StreamResponse] | None = None  # begun at once, its answer is not there yet
        self._has_followers = False  # whether requests waited, parsed, behind the one handled last

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take a connection, or refuse it above the cap, in words an SDK retries on."""
        manager = self._manager
        assert isinstance(manager, S3Server)
        if manager.is_full and not manager.make_room():
            transport.write(_FULL)  # type: ignore[attr-defined] # uvloop's are no asyncio.Transport
            transport.close()
            self._manager = None
            return
        super().connection_made(transport)
        assert self.transport is not None
        manager.live[self] = self.transport
        manager.crowd.meet(len(manager.live))
        self.transport.set_write_buffer_limits(high=WRITE_HIGH_BYTES)
        if manager.inline_loop is not None:
            self._loop = manager.inline_loop  # type: ignore[assignment]

    def _handle_request(self, *arguments: Any) -> Coroutine[Any, Any, tuple[web.StreamResponse, bool]]:
        """As aiohttp's; pipelined requests behind each other do not keep other connections waiting."""
        handled = super()._handle_request(*arguments)
        waits, self._has_followers = self._has_followers, bool(self._messages)
        return _after_others(handled) if waits else handled

    def connection_lost(self, exc: BaseException | None) -> None:
        """The transport is gone for good."""
        if isinstance(self._manager, S3Server):
            self._manager.forget(self)
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """The client does not take what was written, for now."""
        super().pause_writing()
        manager, transport = self._manager, self.transport
        if isinstance(manager, S3Server) and transport is not None:
            manager.unsent.hold(self, transport.get_write_buffer_size(), self._loop.time())

    def resume_writing(self) -> None:
        """It took most of it."""
        if isinstance(self._manager, S3Server):
            self._manager.unsent.let_go(self)
        super().resume_writing()

    def abort(self) -> None:
        """End the connection at once: what was not sent is lost."""
        transport = self._manager.live.get(self) if isinstance(self._manager, S3Server) else None
        self.force_close()
        if transport is not None:
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """Feed the parser; remember since when the headers of a request have been incomplete.

        While the connection's task waits for a request, what comes is looked at before the task is woken: most small
        reads are answered right here, most small writes begun, and little else is ever made for them.
        """
        if self._manager is None or self._is_refused:
            return
        waiter = self._waiter
        if waiter is None or waiter.done():
            self._take(data)
        else:
            self._look(waiter, data)

    def _look(self, waiter: asyncio.Future[None], data: bytes | None) -> None:
        """Answer at once, or begin to, or wake the task. ``data`` None: nothing came, but a write was answered."""
        self._waiter = None
        try:
            if data is not None:
                self._take(data)
            answered = self._write is None and self._answer_at_once()
        finally:
            self._waiter = waiter
            if self._force_close or self._close:
                waiter.cancel()
        if waiter.done() or self._write is not None:
            return  # whatever came behind the write waits for its answer
        if self._messages:
            waiter.set_result(None)
        elif data and not answered and not self._partial_since_s:
            self._partial_since_s = self._loop.time()

    def _take(self, data: bytes) -> None:
        """Parse; of what is refused, nothing more."""
        super().data_received(data)
        if not self._messages:
            return
        self._partial_since_s = 0.0
        newest = self._messages[-1][0]
        if isinstance(newest, _ErrInfo):
            # Nothing behind it can be a request. Parsed on, each piece of a megabyte of rubbish would make an error of
            # its own, whose traceback holds that piece in a cycle: hundreds of megabytes until Python looks for them.
            self._is_refused = True
            newest.exc.__traceback__ = None

    def _answer_at_once(self) -> bool:
        """Answer the one request that has come if that needs no waiting, or begin to if the store alone must be waited
        for; whether it did.
        """
        manager, transport = self._manager, self.transport
        if len(self._messages) != 1 or self._paused or self._upgraded or transport is None or transport.is_closing():
            return False
        message, payload = self._messages[0]
        if isinstance(message, _ErrInfo) or message.should_close:
            return False
        body = _take_at_hand(message, payload)
        if body is None:
            return False
        assert isinstance(manager, S3Server)
        answer = manager.answer_at_once(ParsedHead(message, self, body))
        if answer is None:
            return False
        self._messages.popleft()
        if self._parser is not None:
            self._parser.message_consumed()
        if self._buffer_paused:  # in a crowd one request is enough for that
            self._resume_reading_if_drained()
        manager.requests_count += 1
        if isinstance(answer, ReadyAnswer):
            self._send(transport, message, answer)
        else:
            self._write = asyncio.get_running_loop().create_task(answer)
            self._write.add_done_callback(partial(self._end_write, message))
        return True

    def _end_write(self, message: RawRequestMessage, write: asyncio.Task[web.StreamResponse]) -> None:
        """Tell the client what came of its write, and go on with what it sent meanwhile."""
        self._write = None
        error = None if write.cancelled() else write.exception()
        if error is not None and not isinstance(error, ConnectionError):
            self.log_exception(exc_info=error)
        if write.cancelled() or error is not None:
            self.force_close()
            return
        answer, transport, waiter = write.result(), self.transport, self._waiter
        if transport is None or transport.is_closing():
            return
        assert isinstance(answer, ReadyAnswer)
        self._send(transport, message, answer)
        if waiter is not None and not waiter.done():
            self._look(waiter, None)

    def _send(self, transport: asyncio.Transport, message: RawRequestMessage, answer: ReadyAnswer) -> None:
        """Write an answer that was made without the connection's task; end the connection if it says so."""
        self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        answer.write_to(transport, message.method, is_old=message.version < (1, 1))
        if answer.keep_alive is False:
            self.force_close()

    def _process_keepalive(self) -> None:
        """The connection has been idle for long, unless a write is under way."""
        if self._write is not None:
            self._next_keepalive_close_time = self._loop.time() + self._keepalive_timeout
        super()._process_keepalive()

    def give_up(self) -> None:
        """Do not wait for a write under way any longer: nobody is told what comes of it."""
        if self._write is not None:
            self._write.cancel()

    @property
    def is_busy(self) -> bool:
        """Whether a request is being answered, or waits parsed."""
        return self._request_in_progress or self._write is not None or bool(self._messages)

    @property
    def has_followers(self) -> bool:
        """Whether further requests of the client wait, parsed, behind the one being handled."""
        return bool(self._messages)

    def gives_way(self, idle_since_s: float) -> bool:
        """Close a connection that has had no request since that loop time; whether it did."""
        if self.transport is None or self.is_busy:
            return False
        if self._next_keepalive_close_time - self._keepalive_timeout > idle_since_s:
            return False
        self.force_close()
        return True

    def close_if_late(self, started_before_s: float) -> bool:
        """Close a connection whose current request headers began before that loop time; whether it did."""
        waiter = self._waiter
        if not self._partial_since_s or waiter is None or waiter.done() or self._partial_since_s > started_before_s:
            return False
        self.force_close()
        return True

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """What the parser refused, in S3's words; aiohttp's message would quote the client's bytes."""
        if request.writer.output_size > 0:
            raise ConnectionError("the answer was already under way")
        error: S3Error
        if isinstance(exc, LineTooLong):
            error = RequestHeaderSectionTooLarge()
        elif isinstance(exc, InvalidURLError):
            error = InvalidURI()
        elif status < 500:
            error = InvalidRequest("The request is not well-formed HTTP.")
        else:
            if not isinstance(exc, ConnectionError):  # else the client is gone, which is its own affair
                log.error("a request failed outside of its handler: %s", type(exc).__name__)
            error = InternalError()
        base_head = f"Server: Skerry\r\nDate: {format_http_date(int(time.time()))}\r\n"
        return answer_error(error, base_head=base_head, close=True)

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Say that something failed, without aiohttp's text: that may hold a URL with its signature."""
        error = kw.get("exc_info")
        log.error("a connection failed: %s", type(error).__name__ if error else "unknown")


class S3Server(web.Server):
    """The factory of connections, with their cap and their sweep."""

    def __init__(
        self,
        handler: Handler,
        settings: HttpSettings,
        answer_at_once: AnswerAtOnce = lambda _: None,
        charges: Sequence[Callable[[int], None]] = (),
    ) -> None:
        """``charges`` take bytes, or with negative ones give them back, of what bodies, answers and caches may have."""
        super().__init__(
            handler,
            access_log=None,
            keepalive_timeout=settings.keepalive_timeout_s,
            lingering_time=settings.linger_timeout_s,
            max_line_size=settings.line_bytes_max,
            max_field_size=settings.line_bytes_max,
            max_headers=settings.headers_max,
            # Small until a body reader has drawn on the budget and asks for more (StreamReader.set_read_chunk_size).
            read_bufsize=32 << 10,
            auto_decompress=False,
            logger=log,
        )
        self.answer_at_once = answer_at_once
        self.live: dict[S3Connection, asyncio.Transport] = {}
        """Transports that are not lost yet, also those that are being closed."""
        self.unsent = UnsentAnswers(settings.unsent_bytes_max)
        self.crowd = Crowd(min(settings.unsent_bytes_max, settings.body_budget_bytes) * 3 // 4, self._charge)
        self._charges = (self.unsent.charge, *charges)
        self._closing: dict[S3Connection, tuple[int, float]] = {}  # bytes its kernel had left to send, and since when
        self._full_until_s = 0.0
        self.inline_loop = InlineLoop(self._loop) if sys.version_info < (3, 12) else None
        self.draining = False
        self._connections_max = settings.connections_max
        self._header_timeout_s = settings.header_timeout_s
        self._answer_timeout_s = settings.body_idle_timeout_s

    def __call__(self) -> RequestHandler:
        """A new connection's protocol."""
        # aiohttp's constant is read when the connection's parser is made.
        web_protocol.MAX_MSG_QUEUE_SIZE = _LISTED_MAX if len(self.live) < CROWD else _LISTED_IN_CROWD
        return S3Connection(self, loop=self._loop, **self._kwargs)

    @property
    def is_full(self) -> bool:
        """Whether another connection would be one too many."""
        return len(self.live) >= self._connections_max

    async def drain(self, timeout_s: float) -> None:
        """Take no more requests, let those in flight finish for ``timeout_s``, then end every connection for good.

        aiohttp's own ``shutdown`` stops reading at once, so that an upload under way could only fail: idle connections
        are closed here, busy ones end with their answer (``draining`` makes the handler say so).
        """
        self.draining = True
        deadline_s = self._loop.time() + timeout_s
        while True:
            busy = False
            for connection in list(self.live):
                if connection.is_busy:
                    busy = True
                else:
                    connection.force_close()
            if not busy or self._loop.time() >= deadline_s:
                break
            await asyncio.sleep(_DRAIN_STEP_S)
        for connection in list(self.live):
            connection.give_up()
        await self.shutdown(_CANCEL_TIMEOUT_S)
        for transport in list(self.live.values()):
            if not transport.get_write_buffer_size():
                transport.abort()  # TLS would otherwise wait for the client's goodbye beyond the life of the loop
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def make_room(self) -> bool:
        """End a connection that has been idle for a while, the oldest first, or takes nothing of its answer, for the
        sake of a new one; whether one was. (SDKs open a kept connection anew if it was closed meanwhile.)
        """
        now_s = self._loop.time()
        if now_s < self._full_until_s:
            return False
        for connection in self.live:
            if connection.gives_way(now_s - _IDLE_MIN_S):
                return True
        if self.end_stalled():
            return True
        self._full_until_s = now_s + _FULL_FOR_S
        return False

    def end_stalled(self) -> bool:
        """End the connection that has taken nothing for longest, if that is long enough, else one that takes nothing
        and asks for more; whether one was.
        """
        return self.unsent.abort_first(self._loop.time() - STALLED_MIN_S) or self.unsent.abort_greedy()

    def _charge(self, count: int) -> None:
        for charge in self._charges:
            charge(count)

    def forget(self, connection: S3Connection) -> None:
        """Its transport is gone."""
        self.live.pop(connection, None)
        self._closing.pop(connection, None)
        self.unsent.let_go(connection)

    async def sweep(self) -> None:
        """For ever: end connections whose request headers take too long, or that take none of their answer, not even
        the rest of it after which they are closed.
        """
        pause_s = min(1.0, self._header_timeout_s / 4, self._answer_timeout_s / 4)
        while True:
            await asyncio.sleep(pause_s)
            now_s = self._loop.time()
            for connection in self.connections:
                if isinstance(connection, S3Connection):
                    connection.close_if_late(now_s - self._header_timeout_s)
            self.crowd.calm_down(len(self.live))
            before = self.unsent.aborted
            self.unsent.abort_since(now_s - self._answer_timeout_s)
            self._abort_closing(now_s)
            if self.unsent.aborted > before:
                log.warning("%d connections ended: their clients took nothing", self.unsent.aborted - before)

    def _abort_closing(self, now_s: float) -> None:
        """A transport that is closed stays until its client has taken all: not if that takes nothing of it."""
        for connection, transport in list(self.live.items()):
            if not transport.is_closing():
                continue
            queued = _count_queued(transport)
            before, since_s = self._closing.get(connection, (queued + 1, now_s))
            if queued < before:
                self._closing[connection] = (queued, now_s)
            elif since_s <= now_s - self._answer_timeout_s:
                transport.abort()
