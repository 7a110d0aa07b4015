"""RenameObject on the wire: a source header, preconditions on both ends, a token. Pure. Source: API reference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from gateway.s3.conditions import Conditions, parse_conditions
from gateway.s3.errors import InvalidRequest, S3Error, invalid_argument, not_implemented_header
from gateway.s3.names import check_key
from gateway.s3.uri import decode_percent

_HEADER = "x-amz-rename-source"
_TOKEN = "x-amz-client-token"


class RenameParameters(NamedTuple):
    """What is asked for. ``source``: a key of the addressed bucket; ``token`` empty: none."""

    source: str
    source_conditions: Conditions
    target_conditions: Conditions
    token: str


def parse_rename(headers: Mapping[str, str], bucket: str) -> RenameParameters:
    """RenameObject. The source is a key, percent-encoded, or ``/bucket/key`` with the addressed bucket's name."""
    raw = headers.get(_HEADER, "")
    if not raw:
        raise invalid_argument(f"The {_HEADER} header is missing or empty", _HEADER, raw)
    try:
        source = decode_percent(raw)
    except S3Error:
        raise invalid_argument(f"The {_HEADER} header must be URL encoded UTF-8", _HEADER, raw) from None
    if source.startswith("/"):
        source = source.removeprefix("/").removeprefix(bucket + "/")
    if not source:
        raise invalid_argument(f"The {_HEADER} header names no object", _HEADER, raw)
    if headers.get("if-none-match", "*").strip() != "*":
        raise not_implemented_header("If-None-Match", headers["if-none-match"])
    token = headers.get(_TOKEN, "")
    if _TOKEN in headers and not (0 < len(token) <= 64 and all(33 <= ord(character) <= 126 for character in token)):
        raise InvalidRequest(f"The {_TOKEN} header must have 1 to 64 printable ASCII characters")
    return RenameParameters(
        check_key(source), parse_conditions(headers, "x-amz-rename-source-"), parse_conditions(headers), token
    )
