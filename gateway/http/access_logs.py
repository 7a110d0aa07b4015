"""Collects the lines of buckets whose requests are logged, and delivers them as objects now and then.

Each worker keeps its own lines in memory; no request waits for their delivery. Every few seconds the buckets that are
logged are looked up anew; lines leave after an interval, or when there are enough of them, and at a stop. As with AWS
delivery is best effort: what a killed worker held is lost, and beyond a bound new lines are dropped (and told).
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import ssl
import time
from collections.abc import Callable
from typing import Final
from urllib.parse import unquote

from gateway.http.calls import Call
from gateway.http.settings import HttpSettings
from gateway.identity.facts import NO_FACTS
from gateway.identity.principals import ANONYMOUS, Principal
from gateway.operations.access_logging import LoggedBucket, deliver_log, find_logged
from gateway.operations.context import Context
from gateway.s3.errors import S3Error
from gateway.s3.logging_format import EVENT_TIME, LogRecord, format_record, log_key, log_operation
from gateway.store.errors import StoreError
from gateway.store.ports import Store

LOOKUP_S: Final = 1.0
HELD_BYTES_MAX: Final = 16 << 20

log: Final = logging.getLogger("skerry.access_logs")


class _Pending:
    """Lines on their way to one object."""

    def __init__(self, logged: LoggedBucket, event_s: int, begun_s: float) -> None:
        self.logged, self.event_s, self.begun_s = logged, event_s, begun_s
        self.lines: list[bytes] = []
        self.size = 0


class AccessLogs:
    """One worker's. Lives on its event loop."""

    def __init__(self, store: Store, settings: HttpSettings) -> None:
        self._store, self._settings = store, settings
        self.logged: dict[str, LoggedBucket] = {}
        """Buckets whose requests are logged, by name: what every request looks itself up in."""
        self._generation = -1
        self._pending: dict[tuple[LoggedBucket, int], _Pending] = {}
        self._held = 0
        self._dropped = 0

    def observe(self, call: Call, status: int, sent: int, elapsed_us: int) -> None:
        """Take down one request, if its bucket is logged. Call only where ``logged`` has any."""
        target = getattr(call, "target", None)
        logged = self.logged.get(target.bucket) if target is not None else None
        if logged is None:
            return
        line = format_record(_record_of(call, logged, status, sent, elapsed_us)).encode("utf-8", "replace")
        if self._held + len(line) > HELD_BYTES_MAX:
            self._dropped += 1
            return
        day = call.now_s // 86_400 if logged.target.key_format == EVENT_TIME else 0
        pending = self._pending.get((logged, day))
        if pending is None:
            pending = self._pending[logged, day] = _Pending(logged, call.now_s, time.monotonic())
        pending.lines.append(line)
        pending.size += len(line)
        self._held += len(line)

    async def run(self) -> None:
        """Look up and deliver until cancelled."""
        interval_s = self._settings.log_delivery_s
        while True:
            try:
                self._look_up()
                await self._deliver(self._is_due)
            except Exception:
                log.exception("access logs cannot be delivered")
            await asyncio.sleep(min(LOOKUP_S, interval_s))

    def _is_due(self, pending: _Pending) -> bool:
        age_s = time.monotonic() - pending.begun_s
        return pending.size >= self._settings.log_delivery_bytes or age_s >= self._settings.log_delivery_s

    async def finish(self) -> None:
        """Deliver all that is held."""
        await self._deliver(lambda _: True)

    def _look_up(self) -> None:
        with self._store.view() as view:
            if view.generation != self._generation:
                self.logged = find_logged(view, self._settings.region)
                self._generation = view.generation

    async def _deliver(self, is_due: Callable[[_Pending], bool]) -> None:
        for name, pending in list(self._pending.items()):
            if not is_due(pending):
                continue
            del self._pending[name]
            self._held -= pending.size
            key = log_key(
                pending.logged.target,
                pending.logged.source,
                pending.event_s,
                int(time.time()),
                secrets.token_hex(8).upper(),
            )
            context = Context(ANONYMOUS, "", self._store, self._settings.operations, "", NO_FACTS)
            try:
                await deliver_log(context, pending.logged, key, b"".join(pending.lines))
            except (S3Error, StoreError) as error:
                bucket = pending.logged.source.bucket
                log.error("%d log lines of bucket %s cannot be delivered: %s", len(pending.lines), bucket, error)
        if self._dropped:
            log.error("%d log lines were dropped: too many are held", self._dropped)
            self._dropped = 0


def _record_of(call: Call, logged: LoggedBucket, status: int, sent: int, elapsed_us: int) -> LogRecord:
    request = call.head
    headers = call.raw_headers
    context: Context | None = getattr(call, "context", None)
    verified = getattr(call, "verified", None)
    transport = request.transport
    tls: ssl.SSLObject | None = transport.get_extra_info("ssl_object") if transport is not None else None
    cipher = tls.cipher() if tls is not None else None
    authentication = ""
    if verified is not None:
        authentication = "QueryString" if verified.claim.presigned else "AuthHeader"
    version_id = call.query.params.get("versionId", "")
    return LogRecord(
        owner=logged.shown_owner,
        bucket=logged.source.bucket,
        time_s=call.now_s,
        address=request.remote or "",
        requester=_requester(context.principal) if context is not None else "",
        request_id=call.request_id,
        operation=log_operation(call.operation, request.method),
        key=call.target.key or "",
        request_uri=f"{request.method} {_without_signature(request.raw_path)} HTTP/1.{request.version[1]}",
        status=status,
        error_code=call.error_code,
        sent_bytes=sent,
        object_bytes=_object_bytes(call),
        total_ms=elapsed_us // 1000,
        referer=headers.get("referer", ""),
        user_agent=headers.get("user-agent", ""),
        version_id=version_id,
        host_id=call.host_id,
        signature="" if verified is None else "SigV4" if verified.claim.signed_headers else "SigV2",
        cipher=cipher[0] if cipher is not None else "",
        authentication=authentication,
        host=headers.get("host", ""),
        tls_version=(tls.version() or "") if tls is not None else "",
    )


def _requester(principal: Principal) -> str:
    """The canonical id of an account, the ARN of a user or role in one; empty for nobody."""
    if principal.is_anonymous:
        return ""
    return principal.user.canonical_id if principal.is_account else principal.caller_arn


def _object_bytes(call: Call) -> int | None:
    """The size of the object a request read or wrote, as far as the request tells."""
    if call.read is not None:
        return call.read[1].version.record.size
    return call.received_bytes or None


_SECRETS: Final = frozenset(
    {"x-amz-signature", "x-amz-security-token", "signature", "x-amz-server-side-encryption-customer-key"}
    | {"x-amz-copy-source-server-side-encryption-customer-key"}
)


def _without_signature(target: str) -> str:
    """A request target without the secrets that a presigner puts into queries."""
    path, question, query = target.partition("?")
    if not question:
        return target
    words = [word for word in query.split("&") if unquote(word.partition("=")[0]).lower() not in _SECRETS]
    return f"{path}?{'&'.join(words)}" if words else path
