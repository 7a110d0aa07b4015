"""Preconditions: parsed from headers, evaluated or refused, never ignored. Pure.

``evaluate_read`` for GET, HEAD and copy sources; ``evaluate_write`` for PUT, copy destinations and
CompleteMultipartUpload; ``evaluate_delete`` for DELETE. Precedence is RFC 9110 §13.2.2's, which AWS documents for
GetObject: If-Match beats If-Unmodified-Since, If-None-Match beats If-Modified-Since. Dates compare in whole seconds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal, NamedTuple, get_args

from gateway.s3.errors import (
    NoSuchKey,
    NotModified,
    PreconditionFailed,
    S3Error,
    invalid_argument,
    not_implemented_header,
)
from gateway.s3.times import parse_http_date, parse_iso_ms


class Conditions(NamedTuple):
    """The four standard preconditions. ETags as sent; dates in unix seconds; None: not asked.

    ``prefix`` is the header family they came in, for error messages.
    """

    if_match: str | None = None
    if_none_match: str | None = None
    if_modified_since_s: int | None = None
    if_unmodified_since_s: int | None = None
    prefix: str = ""


NO_CONDITIONS: Final = Conditions()
_FAMILY: Final = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
Prefix = Literal["", "x-amz-copy-source-", "x-amz-rename-source-"]
_NAMES: Final = {prefix: frozenset({prefix + name for name in _FAMILY}) for prefix in get_args(Prefix)}


class DeleteConditions(NamedTuple):
    """The preconditions of a delete: ETag, last-modified time (unix seconds), size in bytes; None: not asked."""

    if_match: str | None = None
    modified_s: int | None = None
    size: int | None = None


NO_DELETE_CONDITIONS: Final = DeleteConditions()


def parse_conditions(headers: Mapping[str, str], prefix: Prefix = "") -> Conditions:
    """The preconditions in ``<prefix>if-*`` headers; a date that is none is ignored, as RFC 9110 demands."""
    if _NAMES[prefix].isdisjoint(headers):
        return NO_CONDITIONS
    match, none_match = headers.get(prefix + "if-match"), headers.get(prefix + "if-none-match")
    modified, unmodified = headers.get(prefix + "if-modified-since"), headers.get(prefix + "if-unmodified-since")
    return Conditions(
        match,
        none_match,
        parse_http_date(modified) if modified is not None else None,
        parse_http_date(unmodified) if unmodified is not None else None,
        prefix,
    )


def parse_delete_conditions(headers: Mapping[str, str]) -> DeleteConditions:
    """The preconditions of DeleteObject. Raises ``InvalidArgument`` for a time or size that is none."""
    for name in ("if-none-match", "if-modified-since", "if-unmodified-since"):
        if name in headers:
            raise not_implemented_header(name)
    time = headers.get("x-amz-if-match-last-modified-time")
    size = headers.get("x-amz-if-match-size")
    modified_s = None
    if time is not None:
        modified_s = parse_http_date(time)
        if modified_s is None:
            modified_ms = parse_iso_ms(time)
            if modified_ms is None:
                raise invalid_argument("Invalid timestamp", "x-amz-if-match-last-modified-time", time)
            modified_s = modified_ms // 1000
    if size is not None and not (size.isascii() and size.isdecimal() and len(size) <= 19):
        raise invalid_argument("Invalid size", "x-amz-if-match-size", size)
    return DeleteConditions(headers.get("if-match"), modified_s, int(size) if size is not None else None)


def matches_etag(condition: str, etag: str) -> bool:
    """Whether a list of entity tags (or ``*``) names ``etag`` (no quotes). Quotes are optional; weak equals."""
    if condition.strip() == "*":
        return True
    for candidate in condition.split(","):
        tag = candidate.strip().removeprefix("W/").strip('"')
        if tag == etag:
            return True
    return False


def _failed(conditions: Conditions, name: str) -> S3Error:
    return PreconditionFailed(None, Condition=conditions.prefix + name)


def evaluate_read(conditions: Conditions, etag: str, modified_s: int) -> None:
    """Whether a GET or HEAD may answer: returns, or raises ``PreconditionFailed`` (412) or ``NotModified`` (304)."""
    if conditions is NO_CONDITIONS:
        return
    if conditions.if_match is not None:
        if not matches_etag(conditions.if_match, etag):
            raise _failed(conditions, "If-Match")
    elif conditions.if_unmodified_since_s is not None and modified_s > conditions.if_unmodified_since_s:
        raise _failed(conditions, "If-Unmodified-Since")
    if conditions.if_none_match is not None:
        if matches_etag(conditions.if_none_match, etag):
            raise NotModified
    elif conditions.if_modified_since_s is not None and modified_s <= conditions.if_modified_since_s:
        raise NotModified


def evaluate_copy_source(conditions: Conditions, etag: str, modified_s: int) -> None:
    """As ``evaluate_read``, but what would be "not modified" is ``PreconditionFailed``, as CopyObject documents."""
    try:
        evaluate_read(conditions, etag, modified_s)
    except NotModified:
        name = "If-None-Match" if conditions.if_none_match is not None else "If-Modified-Since"
        raise _failed(conditions, name) from None


def refuse_unsupported_write(headers: Mapping[str, str]) -> None:
    """Preconditions that a write cannot have are refused, not ignored: If-Modified-Since has no meaning (RFC 9110: GET
    and HEAD only), and If-None-Match takes only ``*`` and never stands beside If-Match, as AWS has it.
    """
    if "if-modified-since" in headers:
        raise not_implemented_header("If-Modified-Since")
    if "if-none-match" in headers and (headers["if-none-match"].strip() != "*" or "if-match" in headers):
        raise not_implemented_header("If-None-Match", headers["if-none-match"])


def refuse_preconditions(headers: Mapping[str, str]) -> None:
    """For operations that S3 has no preconditions on: evaluated or refused, never ignored."""
    for name in ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since"):
        if name in headers:
            raise not_implemented_header(name)


def evaluate_write(conditions: Conditions, etag: str | None, modified_s: int = 0) -> None:
    """Whether a write may replace what is current: ``etag`` of the current object, None if there is none.

    Raises ``PreconditionFailed`` or, for If-Match without an object, ``NoSuchKey`` as AWS does.
    """
    if conditions is NO_CONDITIONS:
        return
    until_s = conditions.if_unmodified_since_s
    if conditions.if_match is not None:
        if etag is None:
            raise NoSuchKey
        if not matches_etag(conditions.if_match, etag):
            raise _failed(conditions, "If-Match")
    elif until_s is not None and etag is not None and modified_s > until_s:
        raise _failed(conditions, "If-Unmodified-Since")
    if conditions.if_none_match is not None and etag is not None and matches_etag(conditions.if_none_match, etag):
        raise _failed(conditions, "If-None-Match")


def evaluate_rename_target(conditions: Conditions, etag: str | None, modified_s: int = 0) -> None:
    """Whether RenameObject may put its object where ``etag`` is (None: nothing there); ``PreconditionFailed`` if not.

    If-Match and If-Modified-Since demand that something is there (API reference, "RenameObject").
    """
    since_s, until_s = conditions.if_modified_since_s, conditions.if_unmodified_since_s
    if conditions.if_match is not None and (etag is None or not matches_etag(conditions.if_match, etag)):
        raise _failed(conditions, "If-Match")
    if conditions.if_none_match is not None and etag is not None and matches_etag(conditions.if_none_match, etag):
        raise _failed(conditions, "If-None-Match")
    if since_s is not None and (etag is None or modified_s <= since_s):
        raise _failed(conditions, "If-Modified-Since")
    if until_s is not None and etag is not None and modified_s > until_s:
        raise _failed(conditions, "If-Unmodified-Since")


def evaluate_delete_of_nothing(conditions: DeleteConditions) -> None:
    """A conditional delete of what is not there: fine for time and size, ``PreconditionFailed`` for If-Match ``*``, and
    ``NoSuchKey`` for If-Match with an ETag (API reference, "DeleteObject"; User Guide, "Conditional deletes").
    """
    if conditions.if_match is None:
        return
    if conditions.if_match.strip() == "*":
        raise PreconditionFailed(None, Condition="If-Match")
    raise NoSuchKey


def evaluate_delete(conditions: DeleteConditions, etag: str, modified_s: int, size: int) -> None:
    """Whether a delete may remove the object it names; see ``evaluate_delete_of_nothing`` where there is none."""
    if conditions.if_match is not None and not matches_etag(conditions.if_match, etag):
        raise PreconditionFailed(None, Condition="If-Match")
    if conditions.modified_s is not None and conditions.modified_s != modified_s:
        raise PreconditionFailed(None, Condition="x-amz-if-match-last-modified-time")
    if conditions.size is not None and conditions.size != size:
        raise PreconditionFailed(None, Condition="x-amz-if-match-size")
