"""Signs requests by the cloud's clock where this machine's differs too much from it.

A bucket refuses a signature whose time is more than 15 minutes off (``RequestTimeTooSkewed``), whichever clock is
wrong, and names its own time in ``Date``. Replication must go on all the same, so from then on requests to that cloud
are signed with the difference added; nothing else in the process sees it. The signature still proves who asks: only
when it can be used is shifted, to where the cloud says it is now.

Source: AWS S3 API reference, "Error responses"; AWS Signature Version 4.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from botocore.auth import AUTH_TYPE_MAPS, SIGV4_TIMESTAMP, S3SigV4Auth

from replication.trusted_time import SkewMeter

_OFFSET: Final = "skerry_clock_offset_s"
_SENT: Final = "skerry_sent_ms"


class CloudClockAuth(S3SigV4Auth):  # type: ignore[misc] # botocore is untyped
    """Signature version 4 of S3 at the time that the request's context says."""

    def _modify_request_before_signing(self, request: Any) -> None:
        offset_s = request.context.get(_OFFSET, 0.0)
        if offset_s:
            now = datetime.now(UTC) + timedelta(seconds=offset_s)
            request.context["timestamp"] = now.strftime(SIGV4_TIMESTAMP)
        super()._modify_request_before_signing(request)


def sign_by(client: Any, offset_s: Callable[[], float]) -> None:
    """Let a client sign its requests so many seconds ahead of this machine's clock, as asked for each."""
    AUTH_TYPE_MAPS["s3v4"] = CloudClockAuth  # as botocore's own, wherever the context says nothing

    def note(request: Any, **_: Any) -> None:
        request.context[_OFFSET] = offset_s()

    client.meta.events.register("before-sign.s3", note)


def measure_by(client: Any, meter: SkewMeter) -> None:
    """Let every answer to a client tell a meter the cloud's time, an error too; pages of captive portals do not."""

    def begin(context: dict[str, Any], **_: Any) -> None:
        context[_SENT] = _now_ms()

    def end(context: dict[str, Any], parsed: Mapping[str, Any], **_: Any) -> None:
        headers = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {})
        if _SENT in context and not str(headers.get("content-type", "")).startswith("text/html"):
            meter.observe(str(headers.get("date", "")), context[_SENT], _now_ms())

    client.meta.events.register("before-call.s3", begin)
    client.meta.events.register("after-call.s3", end)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def seconds_ahead(headers: Mapping[str, str], now: datetime) -> float | None:
    """How far the cloud's clock is ahead of ``now`` (negative: behind), by an answer's headers; None if they do not
    say.
    """
    try:
        told = parsedate_to_datetime(headers["date"])
    except (KeyError, ValueError):
        return None
    return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp() - now.timestamp()
