"""Times on the S3 wire: ISO 8601, RFC 1123, HTTP dates and SigV4's basic format. Pure: the clock is an argument.

Unix seconds or milliseconds in, text out, and back. What repeats (a listing's timestamps) is cached by whole second.
"""

from __future__ import annotations

import re
from calendar import timegm
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_tz
from functools import lru_cache
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_BASIC: Final = re.compile(r"(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d)Z", re.ASCII)
_ISO: Final = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d(\.\d{1,9})?)?(Z|[+-]\d\d:?\d\d)?", re.ASCII)


def _at(seconds: int) -> datetime:
    return _EPOCH + timedelta(seconds=seconds)


@lru_cache(maxsize=65536)
def format_iso_second(seconds: int) -> str:
    """``format_iso`` of unix seconds, for loops that cannot afford a second call."""
    return _at(seconds).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def format_iso(unix_ms: int) -> str:
    """``2009-10-12T17:50:30.000Z``: whole seconds, as AWS lists, so that listings agree with Last-Modified."""
    return format_iso_second(unix_ms // 1000)


@lru_cache(maxsize=16384)
def format_http_date(unix_s: int) -> str:
    """``Wed, 12 Oct 2009 17:50:30 GMT`` (RFC 9110, IMF-fixdate)."""
    return format_datetime(_at(unix_s), usegmt=True)


@lru_cache(maxsize=4096)
def format_basic(unix_s: int) -> str:
    """``20130524T000000Z``: SigV4's timestamp."""
    return _at(unix_s).strftime("%Y%m%dT%H%M%SZ")


@lru_cache(maxsize=1024)
def parse_basic(text: str) -> int | None:
    """Unix seconds of SigV4's timestamp; None if it is not one."""
    found = _BASIC.fullmatch(text)
    if not found:
        return None
    year, month, day, hour, minute, second = map(int, found.groups())
    try:
        return timegm(datetime(year, month, day, hour, minute, second).timetuple())
    except ValueError:
        return None


@lru_cache(maxsize=1024)
def parse_http_date(text: str) -> int | None:
    """Unix seconds of an HTTP date in any of its three forms; None if it is not one (RFC 9110: ignore the header)."""
    if len(text) > 64 or not text.isascii():
        return None
    try:
        fields = parsedate_tz(text)
        if fields is None:
            return None
        year, month, day, hour, minute, second = fields[:6]
        return timegm(datetime(year, month, day, hour, minute, min(second, 59)).timetuple()) - (fields[9] or 0)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def parse_iso_ms(text: str) -> int | None:
    """Unix milliseconds of an ISO 8601 timestamp (UTC if it names no zone); None if it is not one."""
    if not _ISO.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return (moment - _EPOCH) // timedelta(milliseconds=1)
