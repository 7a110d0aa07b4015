"""The S3 listener of one worker: aiohttp's low-level server around one function, from request to response.

    raw target and headers → target, query, operation → verified principal, payload plan → headers known → handler

Everything before the handler is synchronous and in this order on purpose: nothing is read of a body, and nothing is
said about buckets, before the signature holds. Failures of every kind leave through ``failures``. Nothing secret is
logged: the access log names operation, bucket and key, never a query string.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import socket
import ssl
import time
from base64 import b64encode
from collections.abc import Callable, Coroutine
from typing import Any, Final

from aiohttp import web

from gateway.http.access_logs import AccessLogs
from gateway.http.answers import ReadyAnswer
from gateway.http.auth import admit
from gateway.http.body import WindowBudget
from gateway.http.calls import SERVER, Call, CallHandler, Shares
from gateway.http.cors_calls import find_cors_headers
from gateway.http.dispatch import HANDLERS, OWN_DOORS
from gateway.http.failures import answer_error, release_frames, to_s3_error
from gateway.http.handshakes import TlsDoor
from gateway.http.heads import Head
from gateway.http.iam_calls import IamDoor, is_query_call
from gateway.http.metrics import RequestMetrics
from gateway.http.object_reads import AT_ONCE, READS, find_read
from gateway.http.object_writes import STORE_ALONE
from gateway.http.protocol import STALLED_MIN_S, S3Server, check_aiohttp
from gateway.http.settings import HttpSettings
from gateway.http.website_calls import serve_website
from gateway.identity.facts import Facts
from gateway.identity.principals import ANONYMOUS, Principal
from gateway.identity.session_principals import SessionPrincipals
from gateway.identity.sessions import PURPOSE, SessionMaker
from gateway.operations.context import Context
from gateway.s3.errors import InvalidRequest, SlowDown
from gateway.s3.headers import fold_headers, merge_query_headers, refuse_unknown
from gateway.s3.names import HostNames, parse_target
from gateway.s3.payload import UNSIGNED
from gateway.s3.routing import Operation, refuse, route, scope_of
from gateway.s3.sigv2 import is_version_2
from gateway.s3.sigv4 import parse_claim
from gateway.s3.times import format_http_date
from gateway.s3.uri import parse_query, split_target
from gateway.store.ports import Store

access_log: Final = logging.getLogger("skerry.access")
LISTINGS: Final = frozenset(
    {
        Operation.ListObjects,
        Operation.ListObjectsV2,
        Operation.ListObjectVersions,
        Operation.ListMultipartUploads,
        Operation.ListParts,
    }
)
"""What is walked and rendered in one go, milliseconds long."""
_LINGER_BYTES_MAX: Final = 1 << 20  # more than this left of a body: the connection ends with the answer


class Gateway:
    """Handles the requests of one worker. Lives on one event loop."""

    def __init__(self, store: Store, settings: HttpSettings, metrics: RequestMetrics | None = None) -> None:
        self._store = store
        self._settings = settings
        self._metrics = metrics or RequestMetrics()
        self._principals = SessionPrincipals(SessionMaker(store.realm_key(PURPOSE)))
        self._iam = IamDoor(store, self._principals, settings.region)
        self._hosts = HostNames(settings.domains, settings.website_domains, custom=settings.custom_domains)
        self._shares = Shares(WindowBudget(settings.body_budget_bytes))
        self.logs = AccessLogs(store, settings)
        self._id_prefix = os.urandom(4).hex().upper()
        self._id_count = 0
        self.host_id = b64encode(os.urandom(24)).decode()
        self.is_draining: Callable[[], bool] = lambda: False
        self.end_stalled: Callable[[], bool] = lambda: False
        self.charge = self._shares.budget.charge
        self._in_flight = 0
        self._head_s = -1
        self._head = ""

    def _next_request_id(self) -> str:
        """16 hex digits, unique for this worker's life and unlikely to meet another's."""
        self._id_count += 1
        return f"{self._id_prefix}{self._id_count & 0xFFFFFFFF:08X}"

    def _base_head(self, now_s: int) -> str:
        """The header lines that all answers of one second share."""
        if now_s != self._head_s:
            self._head_s = now_s
            self._head = f"Server: {SERVER}\r\nDate: {format_http_date(now_s)}\r\nx-amz-id-2: {self.host_id}\r\n"
        return self._head

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request. Raises only ``ConnectionError`` (nobody to answer) and cancellation."""
        started_ns = time.perf_counter_ns()
        return await self._answer(self._begin(request), None, started_ns)

    async def _answer(self, call: Call, handler: CallHandler | None, started_ns: int) -> web.StreamResponse:
        """As ``handle``. ``handler``: of a request that was admitted; None: nothing of it was looked at yet."""
        response: web.StreamResponse
        self._in_flight += 1
        ill_framed = _is_ill_framed(call.head)
        try:
            if ill_framed:
                raise InvalidRequest("Transfer codings are of a later version of HTTP than this request.")
            if self._in_flight > self._settings.requests_max and not self.end_stalled():
                raise SlowDown(None, headers={"Retry-After": str(STALLED_MIN_S)})
            if handler is None:
                handler = self._admit(call, self._choose(call))
            if call.operation in LISTINGS:
                await self._shares.turns.take()
            response = await handler(call)
        except ConnectionError as error:
            release_frames(error)
            self._count(call, 499, 0, started_ns)
            raise
        except Exception as error:
            close = (not call.head.content.is_eof() and self._must_close(call)) or self._is_flood(call.head, error)
            response = self._fail(call, error, close=close or ill_framed)
        finally:
            self._in_flight -= 1
        if self.is_draining():
            response.force_close()
        sent = response.sent_bytes if isinstance(response, ReadyAnswer) else response.content_length or 0
        self._count(call, response.status, sent, started_ns)
        return response

    def answer_at_once(self, head: Head) -> ReadyAnswer | Coroutine[Any, Any, web.StreamResponse] | None:
        """The answer to a request whose body is at hand, or what gives it if the store alone is waited for: what
        ``handle`` would say, since it is found by the same functions. None: let ``handle`` do it, from the beginning.
        """
        if self._in_flight >= self._settings.requests_max or self.is_draining() or _is_ill_framed(head):
            return None
        started_ns = time.perf_counter_ns()
        call = self._begin(head)
        try:
            handler = self._choose(call)
            if handler in STORE_ALONE:
                return self._answer(call, self._admit(call, handler), started_ns)
            answer_now = AT_ONCE.get(handler) if handler is not None else None
            if answer_now is None:
                return None
            self._admit(call, handler)
            answer = answer_now(call)
            if answer is None:
                return None
        except Exception as error:
            answer = self._fail(call, error)
        self._count(call, answer.status, answer.sent_bytes, started_ns)
        return answer

    def _begin(self, head: Head) -> Call:
        now_s = int(time.time())
        call = Call(head, self._next_request_id(), self.host_id, self._settings, self._shares, now_s)
        call.base_head = self._base_head(now_s)
        return call

    def _fail(self, call: Call, error: Exception, *, close: bool = False) -> ReadyAnswer:
        """The answer that a failure is; ``close``: the connection ends with it."""
        failure = to_s3_error(error, call.request_id)
        call.error_code = failure.code
        return answer_error(
            failure,
            base_head=call.base_head,
            method=call.head.method,
            resource=call.resource,
            request_id=call.request_id,
            host_id=self.host_id,
            close=close,
        )

    def _choose(self, call: Call) -> CallHandler | None:
        """Read a request's target: the handler for it, nothing of it believed yet. None: its operation has none."""
        head = call.head
        method = head.method
        headers = call.raw_headers = fold_headers(head.raw_headers)
        host = headers.get("host", "")
        raw_path, raw_query = split_target(head.raw_path, host)
        call.resource = raw_path
        query = call.query = parse_query(raw_query)
        target = call.target = parse_target(raw_path, host, self._hosts)
        if "origin" in headers and target.bucket is not None and method != "OPTIONS":
            call.add_headers(find_cors_headers(self._store, target.bucket, headers, method))
        if target.website and method != "OPTIONS":
            call.operation = Operation.HeadObject if method == "HEAD" else Operation.GetObject
            return serve_website
        if target.bucket is None and is_query_call(method, headers, query):
            return self._iam.handle
        call.operation = route(method, scope_of(target), query.params, headers)
        return HANDLERS.get(call.operation)

    def _admit(self, call: Call, handler: CallHandler | None) -> CallHandler:
        """Everything else that comes before the handler, which it returns. Raises S3 errors."""
        operation, query, headers = call.operation, call.query, call.raw_headers
        if operation is None or handler is serve_website or operation in OWN_DOORS:
            return self._admit_own_door(call, handler)
        by_version_2 = self._settings.signature_v2_presigned and is_version_2(query)
        if handler is None and not by_version_2 and parse_claim(headers, query) is None:
            raise refuse(operation)
        with self._store.view() as view:
            admitted = admit(
                view,
                self._principals,
                operation,
                call.head.method,
                call.resource,
                query,
                headers,
                call.now_s,
                target=call.target if by_version_2 else None,
            )
            if handler is None:
                raise refuse(operation)
            call.payload, call.verified = admitted.payload, admitted.verified
            merged = call.headers = merge_query_headers(headers, query)
            refuse_unknown(operation, merged)
            call.context = self.make_context(call, admitted.principal)
            if operation in READS:
                call.read = find_read(call, view)
        return handler

    def _admit_own_door(self, call: Call, handler: CallHandler | None) -> CallHandler:
        """A request that its handler verifies: until then it is nobody's, and its body unsigned."""
        if handler is None:
            assert call.operation is not None
            raise refuse(call.operation)
        call.headers, call.payload, call.principals = call.raw_headers, UNSIGNED, self._principals
        call.verified = None
        call.context = self.make_context(call, ANONYMOUS)
        return handler

    def make_context(self, call: Call, principal: Principal) -> Context:
        """What the operations get of a request."""
        headers, settings = call.headers, self._settings
        expected = headers.get("x-amz-expected-bucket-owner", "")
        facts = Facts(headers, call.query.params, call.head, call.now_s, call.verified, settings.region)
        return Context(principal, call.request_id, self._store, settings.operations, expected, facts)

    @staticmethod
    def _must_close(call: Call) -> bool:
        """Whether an early answer ends its connection: if what is left of the body is long, or may never come."""
        if "Expect" in call.request.headers and not call.was_continued:
            return True
        length = call.request.content_length
        return length is None or length - call.received_bytes > _LINGER_BYTES_MAX

    @staticmethod
    def _is_flood(head: Head, error: Exception) -> bool:
        """Whether requests wait behind one that is told to slow down: refusing each would cost more than the first."""
        return isinstance(error, SlowDown) and getattr(head.protocol, "has_followers", False)

    def _count(self, call: Call, status: int, sent: int, started_ns: int) -> None:
        """Metrics, and the access log if it is on."""
        elapsed_us = (time.perf_counter_ns() - started_ns) // 1000
        received = call.received_bytes
        if call.head.method == "HEAD":
            sent = 0
        self._metrics.observe(call.operation, status, elapsed_us, received, sent)
        if self.logs.logged:
            self.logs.observe(call, status, sent, elapsed_us)
        if self._settings.access_log:
            line = {
                "time_ms": time.time_ns() // 1_000_000,
                "request_id": call.request_id,
                "remote": call.head.remote,
                "method": call.head.method,
                "path": call.resource,
                "operation": call.operation.value if call.operation is not None else None,
                "status": status,
                "received_bytes": received,
                "sent_bytes": sent,
                "elapsed_us": elapsed_us,
            }
            access_log.info(json.dumps(line, ensure_ascii=True))


def _is_ill_framed(head: Head) -> bool:
    """Whether nobody can be sure where the request ends: a transfer coding in HTTP/1.0 (RFC 9112, section 6.1)."""
    return head.version[1] == 0 and any(name.lower() == b"transfer-encoding" for name, _ in head.raw_headers)


async def serve_gateway(
    store: Store,
    settings: HttpSettings,
    sock: socket.socket,
    *,
    ssl_context: ssl.SSLContext | None = None,
    stop: asyncio.Event,
    metrics: RequestMetrics | None = None,
    on_ready: Callable[[], None] | None = None,
    charge: Callable[[int], None] | None = None,
) -> None:
    """Serve S3 on ``sock`` (bound, perhaps shared by other workers) until ``stop``; then let requests in flight finish.

    ``on_ready`` is called once connections are taken; ``charge`` when they cost so many bytes more or less than before,
    for whoever else holds memory that can be spared. Raises ``RuntimeError`` for an unfit aiohttp.
    """
    check_aiohttp()
    gateway = Gateway(store, settings, metrics)
    charges = (gateway.charge, *([] if charge is None else [charge]))
    server = S3Server(gateway.handle, settings, gateway.answer_at_once, charges)
    gateway.is_draining, gateway.end_stalled = lambda: server.draining, server.end_stalled
    sweep = asyncio.create_task(server.sweep())
    logs = asyncio.create_task(gateway.logs.run())
    try:
        door = await _open_door(server, settings, sock, ssl_context)
        try:
            if on_ready is not None:
                on_ready()
            await stop.wait()
        finally:
            door.close()
            await server.drain(settings.drain_timeout_s)
    finally:
        sweep.cancel()
        logs.cancel()
        await asyncio.gather(logs, return_exceptions=True)
        await gateway.logs.finish()


async def _open_door(
    server: S3Server, settings: HttpSettings, listener: socket.socket, context: ssl.SSLContext | None
) -> asyncio.Server | TlsDoor:
    """Take connections from now on, until what is returned is closed."""
    if context is None:
        return await asyncio.get_running_loop().create_server(server, sock=listener, backlog=1024)
    door = TlsDoor(server, listener, context, settings.header_timeout_s)
    door.open()
    return door
