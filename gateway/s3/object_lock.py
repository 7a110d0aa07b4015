"""Object Lock as bytes ↔ values, and its rules: bucket configuration, retention and legal hold of a version. Pure.

Source: AWS "Locking objects with Object Lock" (User Guide) and the API reference of Put/GetObjectLockConfiguration,
-Retention and -LegalHold. Who may bypass governance is decided where permissions are; this file only says that a change
needs it. The clock is an argument. Times are unix ms and shown as they are stored.

A bucket's configuration is kept in a form of ours, whose bytes compare as its safety does, so that a merge can choose
the safer of two siblings without knowing it:

    version u8 (1) | mode u8 (0 no default, 1 governance, 2 compliance) | days u32 (a year is 365) | years u32 (0: days)
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import lru_cache
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from gateway.s3.documents import children, fields_of, parse_document, text_of
from gateway.s3.errors import InvalidArgument, MalformedXML, invalid_argument
from gateway.s3.stored import stored
from gateway.s3.times import parse_http_date, parse_iso_ms

MODE_HEADER: Final = "x-amz-object-lock-mode"
UNTIL_HEADER: Final = "x-amz-object-lock-retain-until-date"
HOLD_HEADER: Final = "x-amz-object-lock-legal-hold"
BYPASS_HEADER: Final = "x-amz-bypass-governance-retention"
ENABLED_HEADER: Final = "x-amz-bucket-object-lock-enabled"
GOVERNANCE: Final = "GOVERNANCE"
COMPLIANCE: Final = "COMPLIANCE"
MODES: Final = ("", GOVERNANCE, COMPLIANCE)
"""Modes by the number they are stored as."""
LOCKED_WITHOUT_CHECKSUM: Final = (
    "Content-MD5 OR x-amz-checksum- HTTP header is required for Put Object requests with Object Lock parameters"
)
DAYS_MAX: Final = 36_500
YEARS_MAX: Final = 100
_DAY_MS: Final = 86_400_000
_CONFIGURATION: Final = struct.Struct(">BBII")
_FORMAT: Final = 1
_HEAD: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
_XMLNS: Final = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'


class LockConfiguration(NamedTuple):
    """A bucket with Object Lock. ``mode`` empty: no default retention; else exactly one of ``days`` and ``years``."""

    mode: str = ""
    days: int = 0
    years: int = 0


class Retention(NamedTuple):
    """Retention of a version: until then (unix ms) it cannot be deleted. ``mode`` empty: none."""

    mode: str = ""
    until_ms: int = 0


NO_RETENTION: Final = Retention()


class LockRequest(NamedTuple):
    """Object Lock by headers of a write. ``hold``: ON, OFF or empty; ``retention``: ``NO_RETENTION`` if not asked."""

    retention: Retention = NO_RETENTION
    hold: str = ""


class Verdict(Enum):
    """Whether something may be done to a locked version: by anyone, by who may bypass governance, by nobody."""

    ALLOWED = "allowed"
    NEEDS_BYPASS = "needs bypass"
    REFUSED = "refused"


# --- rules


def weigh_deletion(retention: Retention, hold: str, now_ms: int) -> Verdict:
    """Whether a version may be deleted for good now. A legal hold stands above everything."""
    if hold == "ON" or (retention.mode == COMPLIANCE and retention.until_ms > now_ms):
        return Verdict.REFUSED
    if retention.mode == GOVERNANCE and retention.until_ms > now_ms:
        return Verdict.NEEDS_BYPASS
    return Verdict.ALLOWED


def weigh_change(current: Retention, wanted: Retention, now_ms: int) -> Verdict:
    """Whether a version's retention may become ``wanted`` (``NO_RETENTION``: be removed). Longer is always allowed."""
    if not current.mode or current.until_ms <= now_ms:
        return Verdict.ALLOWED
    if wanted.mode == current.mode and wanted.until_ms >= current.until_ms:
        return Verdict.ALLOWED
    return Verdict.REFUSED if current.mode == COMPLIANCE else Verdict.NEEDS_BYPASS


def check_future(retention: Retention, now_ms: int) -> None:
    """``InvalidArgument`` for a retention that would already be over."""
    if retention.mode and retention.until_ms <= now_ms:
        raise invalid_argument(
            "The retain until date must be in the future!", UNTIL_HEADER, format_until(retention.until_ms)
        )


def default_retention(configuration: LockConfiguration, now_ms: int) -> Retention:
    """What the bucket's default gives a version written now. A year is a calendar year."""
    if not configuration.mode:
        return NO_RETENTION
    if configuration.days:
        return Retention(configuration.mode, now_ms + configuration.days * _DAY_MS)
    now = datetime.fromtimestamp(now_ms // 1000, UTC)
    year = min(now.year + configuration.years, 9999)
    try:
        until = now.replace(year=year)
    except ValueError:  # 29 February
        until = now.replace(year=year, month=3, day=1)
    return Retention(configuration.mode, int(until.timestamp()) * 1000 + now_ms % 1000)


# --- the bucket's configuration


def encode_configuration(configuration: LockConfiguration) -> bytes:
    """Bytes of a configuration; of two, the safer one's are greater (compliance, then the longer time)."""
    days = configuration.days or configuration.years * 365
    return _CONFIGURATION.pack(_FORMAT, MODES.index(configuration.mode), days, configuration.years)


@lru_cache(maxsize=1024)
@stored
def decode_configuration(body: bytes) -> LockConfiguration:
    """The configuration in ``body``; ``ValueError`` for what is none (so that a lock is never taken for no lock)."""
    if len(body) != _CONFIGURATION.size:
        raise ValueError("not an object lock configuration")
    version, mode, days, years = _CONFIGURATION.unpack(body)
    if version != _FORMAT or mode >= len(MODES):
        raise ValueError("an object lock configuration of a newer version: upgrade this site")
    return LockConfiguration(MODES[mode], 0 if years else days, years)


def parse_configuration(body: bytes) -> LockConfiguration:
    """The ObjectLockConfiguration document. Once enabled it cannot be disabled, so ``Enabled`` is all it may say."""
    document = parse_document(body, "ObjectLockConfiguration")
    enabled, configuration, seen = "", LockConfiguration(), set()
    for name, child in children(document, "ObjectLockEnabled", "Rule"):
        if name in seen:
            raise MalformedXML
        seen.add(name)
        if name == "ObjectLockEnabled":
            enabled = text_of(child).strip()
        else:
            configuration = _parse_rule(child)
    if enabled != "Enabled":
        raise MalformedXML
    return configuration


def _parse_rule(rule: Element) -> LockConfiguration:
    found = [child for _, child in children(rule, "DefaultRetention")]
    if len(found) != 1:
        raise MalformedXML
    fields = fields_of(found[0], "Mode", "Days", "Years")
    mode = fields.get("Mode", "").strip()
    if mode not in (GOVERNANCE, COMPLIANCE) or ("Days" in fields) == ("Years" in fields):
        raise MalformedXML
    if "Days" in fields:
        return LockConfiguration(mode, days=_parse_period(fields, "Days", DAYS_MAX))
    return LockConfiguration(mode, years=_parse_period(fields, "Years", YEARS_MAX))


def _parse_period(fields: Mapping[str, str], name: str, most: int) -> int:
    text = fields[name].strip()
    if not (text.isascii() and text.removeprefix("-").isdecimal()) or len(text) > 20:
        raise MalformedXML
    count = int(text)
    if count <= 0:
        raise InvalidArgument("Default retention period must be a positive integer value.", ArgumentName=name)
    if count > most:
        message = f"Default retention period too large, can be at most {most} {name.lower()}."
        raise InvalidArgument(message, ArgumentName=name)
    return count


def render_configuration(configuration: LockConfiguration) -> bytes:
    """The ObjectLockConfiguration document of a bucket with Object Lock."""
    rule = ""
    if configuration.mode:
        unit, count = ("Days", configuration.days) if configuration.days else ("Years", configuration.years)
        period = f"<Mode>{configuration.mode}</Mode><{unit}>{count}</{unit}>"
        rule = f"<Rule><DefaultRetention>{period}</DefaultRetention></Rule>"
    return (
        f"{_HEAD}<ObjectLockConfiguration{_XMLNS}><ObjectLockEnabled>Enabled</ObjectLockEnabled>{rule}"
        "</ObjectLockConfiguration>"
    ).encode()


# --- a version's retention and hold


def format_until(unix_ms: int) -> str:
    """``2030-01-01T00:00:00.000Z``, to the millisecond: who writes it back must not shorten it."""
    moment = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=unix_ms)
    return moment.strftime("%Y-%m-%dT%H:%M:%S") + f".{unix_ms % 1000:03}Z"


def _parse_until_ms(text: str) -> int | None:
    unix_ms = parse_iso_ms(text)
    if unix_ms is None and (unix_s := parse_http_date(text)) is not None:
        unix_ms = unix_s * 1000
    return unix_ms


def parse_retention(body: bytes) -> Retention:
    """The Retention document; an empty one asks for the retention to be removed."""
    fields = fields_of(parse_document(body, "Retention"), "Mode", "RetainUntilDate")
    if not fields:
        return NO_RETENTION
    mode, until_ms = fields.get("Mode", "").strip(), _parse_until_ms(fields.get("RetainUntilDate", "").strip())
    if mode not in (GOVERNANCE, COMPLIANCE) or until_ms is None:
        raise MalformedXML
    return Retention(mode, max(until_ms, 0))


def render_retention(retention: Retention) -> bytes:
    """The Retention document."""
    until = format_until(retention.until_ms)
    return (
        f"{_HEAD}<Retention{_XMLNS}><Mode>{retention.mode}</Mode><RetainUntilDate>{until}</RetainUntilDate></Retention>"
    ).encode()


def parse_hold(body: bytes) -> str:
    """The LegalHold document: ON or OFF."""
    status = fields_of(parse_document(body, "LegalHold"), "Status").get("Status", "").strip()
    if status not in ("ON", "OFF"):
        raise MalformedXML
    return status


def render_hold(hold: str) -> bytes:
    """The LegalHold document."""
    return f"{_HEAD}<LegalHold{_XMLNS}><Status>{hold}</Status></LegalHold>".encode()


# --- headers


def parse_lock_headers(headers: Mapping[str, str]) -> LockRequest | None:
    """What a write's headers ask for, None if nothing. ``InvalidArgument`` for half a retention or wrong words."""
    mode, until, hold = headers.get(MODE_HEADER), headers.get(UNTIL_HEADER), headers.get(HOLD_HEADER)
    if mode is None and until is None and hold is None:
        return None
    if hold is not None and hold not in ("ON", "OFF"):
        raise invalid_argument("Legal Hold must be either of 'ON' or 'OFF'", HOLD_HEADER, hold)
    if mode is None and until is None:
        return LockRequest(hold=hold or "")
    if mode is None or until is None:
        raise invalid_argument(
            f"{UNTIL_HEADER} and {MODE_HEADER} must both be supplied",
            MODE_HEADER if mode is None else UNTIL_HEADER,
            "null",
        )
    if mode not in (GOVERNANCE, COMPLIANCE):
        raise invalid_argument("Unknown wormMode directive.", MODE_HEADER, mode)
    until_ms = _parse_until_ms(until)
    if until_ms is None:
        raise invalid_argument("The retain until date must be provided in ISO 8601 format", UNTIL_HEADER, until)
    return LockRequest(Retention(mode, max(until_ms, 0)), hold or "")


def parse_bypass(headers: Mapping[str, str]) -> bool:
    """Whether the request asks to bypass governance."""
    return _parse_flag(headers, BYPASS_HEADER)


def parse_lock_enabled(headers: Mapping[str, str]) -> bool:
    """Whether CreateBucket asks for Object Lock."""
    return _parse_flag(headers, ENABLED_HEADER)


def _parse_flag(headers: Mapping[str, str], name: str) -> bool:
    text = headers.get(name, "false").lower()
    if text not in ("true", "false"):
        raise invalid_argument("Value must be true or false", name, headers[name])
    return text == "true"


def lock_headers(retention: Retention, hold: str) -> dict[str, str]:
    """The headers of a GET or HEAD answer."""
    found = {}
    if retention.mode:
        found = {MODE_HEADER: retention.mode, UNTIL_HEADER: format_until(retention.until_ms)}
    if hold:
        found[HOLD_HEADER] = hold
    return found
