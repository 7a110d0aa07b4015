"""When the link may be used how much: hours of the week with limits of their own. Pure; times are given.

An entry is ``DAYS HH:MM-HH:MM up=RATE down=RATE``:

    DAYS   daily, or days and ranges of days: mon-fri   sat,sun   mon,wed-fri
    hours  local time; past midnight (22:00-06:00) they belong to the day they begin on; 24:00 is an end
    RATE   bytes per second (64k, 1.5M: powers of 1,024), ``full`` (no limit), ``pause``; one left out stays as it is

The first entry that holds counts. ``pause`` means: nothing but what is urgent goes up, no news is taken in; bytes that
a reader asks for are still fetched. Not here: what the limits are applied to (throttle, service).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

_DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_DAY_MINUTES: Final = 24 * 60
_ENTRY: Final = re.compile(r"(\S+) +(\d\d):(\d\d)-(\d\d):(\d\d)((?: +(?:up|down)=\S+)+)")
_RATE: Final = re.compile(r"(\d+(?:\.\d+)?)([kMG]?)")
_UNITS: Final = {"": 1, "k": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class HoursInvalid(ValueError):
    """An entry that says nothing a link could keep to."""


@dataclass(frozen=True, slots=True)
class Limit:
    """One direction's limit: bytes per second (0: none), or nothing at all for now."""

    bytes_per_s: int = 0
    paused: bool = False

    def __str__(self) -> str:
        """For a person."""
        return "paused" if self.paused else f"{self.bytes_per_s} bytes/s" if self.bytes_per_s else "no limit"


@dataclass(frozen=True, slots=True)
class LinkLimits:
    """What holds now, both ways."""

    up: Limit = Limit()
    down: Limit = Limit()

    def __str__(self) -> str:
        """For a person."""
        return f"up {self.up}, down {self.down}"


@dataclass(frozen=True, slots=True)
class _Entry:
    days: frozenset[int]
    begin: int  # minutes from midnight
    end: int  # likewise; above a day's minutes if past midnight
    up: Limit | None
    down: Limit | None

    def holds(self, weekday: int, minute: int) -> bool:
        if weekday in self.days and self.begin <= minute < self.end:
            return True
        return (weekday - 1) % 7 in self.days and minute + _DAY_MINUTES < self.end


class LinkHours:
    """The hours of one site. ``HoursInvalid`` for entries or a time zone that mean nothing."""

    def __init__(self, entries: Sequence[str] = (), time_zone: str = "UTC") -> None:
        self._zone = read_zone(time_zone)
        self._entries = tuple(_read_entry(entry) for entry in entries)

    def at(self, now_ms: int, otherwise: LinkLimits) -> LinkLimits:
        """What holds at a unix time in ms; ``otherwise`` where no entry says anything."""
        local = (datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=now_ms)).astimezone(self._zone)
        weekday, minute = local.weekday(), local.hour * 60 + local.minute
        for entry in self._entries:
            if entry.holds(weekday, minute):
                return LinkLimits(entry.up or otherwise.up, entry.down or otherwise.down)
        return otherwise


def read_zone(name: str) -> ZoneInfo:
    """The IANA time zone of this name; ``HoursInvalid`` if there is none."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise HoursInvalid(f"no time zone is named {name!r}; names are such as Europe/Oslo, UTC") from None


def read_limit(text: str) -> Limit:
    """``full``, ``pause``, or bytes per second such as ``64k``; ``HoursInvalid``."""
    if text in ("full", "pause"):
        return Limit(paused=text == "pause")
    found = _RATE.fullmatch(text)
    size = int(float(found[1]) * _UNITS[found[2]]) if found else 0
    if not size:
        raise HoursInvalid(f"{text!r} is no rate: use full, pause, or bytes per second such as 64k or 1.5M")
    return Limit(size)


def _read_entry(text: str) -> _Entry:
    found = _ENTRY.fullmatch(text.strip())
    if found is None:
        raise HoursInvalid(f"{text!r} must be DAYS HH:MM-HH:MM up=RATE down=RATE, as in mon-fri 08:00-18:00 up=64k")
    begin, end = _read_minutes(found[2], found[3]), _read_minutes(found[4], found[5])
    if begin in (end, _DAY_MINUTES):
        raise HoursInvalid(f"{text!r}: no time passes between its hours")
    rates: dict[str, Limit] = {}
    for part in found[6].split():
        way, _, rate = part.partition("=")
        if way in rates:
            raise HoursInvalid(f"{text!r} says {way} twice")
        rates[way] = read_limit(rate)
    end += _DAY_MINUTES if end < begin else 0
    return _Entry(_read_days(found[1]), begin, end, rates.get("up"), rates.get("down"))


def _read_minutes(hours: str, minutes: str) -> int:
    minute = int(hours) * 60 + int(minutes)
    if minute > _DAY_MINUTES or int(minutes) > 59:
        raise HoursInvalid(f"{hours}:{minutes} is no time of day")
    return minute


def _read_days(text: str) -> frozenset[int]:
    if text == "daily":
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.partition("-")
        last = last if dash else first
        if first not in _DAYS or last not in _DAYS:
            raise HoursInvalid(f"{part!r} is no day: use daily, or mon, tue, … and ranges such as mon-fri")
        span = (_DAYS.index(last) - _DAYS.index(first)) % 7
        days |= {(_DAYS.index(first) + step) % 7 for step in range(span + 1)}
    return frozenset(days)
