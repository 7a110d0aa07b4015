"""RestoreObject's document, and the headers that tell of an expiry, an abort or a restored copy. Pure.

Source: API reference of RestoreObject, PutObject (``x-amz-expiration``), CreateMultipartUpload (``x-amz-abort-date``)
and HeadObject (``x-amz-restore``). Select requests and output locations are not implemented.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from urllib.parse import quote

from gateway.s3.documents import children, fields_of, parse_document, text_of
from gateway.s3.errors import InvalidArgument, MalformedXML, MissingRequestBodyError, S3NotImplemented
from gateway.s3.times import format_http_date, format_iso

TIERS: Final = ("Standard", "Bulk", "Expedited")
_DAYS_MAX: Final = 2**31 - 1


class RestoreRequest(NamedTuple):
    """For how many days a copy is to be readable, and how urgently (which costs nothing here and changes nothing)."""

    days: int
    tier: str = "Standard"


def parse_restore(body: bytes) -> RestoreRequest:
    """The RestoreRequest document of an ordinary restore."""
    if not body.strip():
        raise MissingRequestBodyError
    days, tier, seen = None, "Standard", set()
    names = ("Days", "GlacierJobParameters", "Type", "Tier", "Description", "SelectParameters", "OutputLocation")
    for name, child in children(parse_document(body, "RestoreRequest"), *names):
        if name in seen:
            raise MalformedXML
        seen.add(name)
        if name in ("Type", "SelectParameters", "OutputLocation"):
            raise S3NotImplemented(f"The element {name} of RestoreRequest is not implemented")
        if name == "Days":
            days = _parse_days(text_of(child).strip())
        elif name == "GlacierJobParameters":
            tier = fields_of(child, "Tier").get("Tier", "").strip()
        elif name == "Tier":
            tier = text_of(child).strip()
    if days is None or tier not in TIERS:
        raise MalformedXML
    return RestoreRequest(days, tier)


def _parse_days(text: str) -> int:
    if not (text.isascii() and text.removeprefix("-").isdecimal()) or len(text) > 19:
        raise MalformedXML
    days = int(text)
    if not 1 <= days <= _DAYS_MAX:
        raise InvalidArgument("restoration days should be at least 1")
    return days


def format_restore(until_ms: int) -> str:
    """``x-amz-restore`` of an object whose copy can be read until then."""
    return f'ongoing-request="false", expiry-date="{format_http_date(until_ms // 1000)}"'


def render_restore_status(until_ms: int) -> str:
    """``RestoreStatus`` of an entry of a listing: an object whose copy can be read until then."""
    return (
        "<RestoreStatus><IsRestoreInProgress>false</IsRestoreInProgress>"
        f"<RestoreExpiryDate>{format_iso(until_ms)}</RestoreExpiryDate></RestoreStatus>"
    )


def format_expiration(due_ms: int, rule: str) -> str:
    """``x-amz-expiration``; the rule's id is percent-encoded."""
    return f'expiry-date="{format_http_date(due_ms // 1000)}", rule-id="{quote(rule, safe="")}"'


def abort_headers(abort: tuple[int, str] | None) -> dict[str, str]:
    """``x-amz-abort-date`` and ``x-amz-abort-rule-id``, if an upload will be aborted."""
    if abort is None:
        return {}
    due_ms, rule = abort
    return {"x-amz-abort-date": format_http_date(due_ms // 1000), "x-amz-abort-rule-id": quote(rule, safe="")}
