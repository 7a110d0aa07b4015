"""Counting what is asked of the bucket, by the kinds that a cloud's price list tells apart.

Stands between the cloud's client, which notes every request it sends (each page of a listing, each attempt: all are
billed), and whoever tells what a site costs. Totals, and the last two hours: a clock hour that has passed whole is what
a site asks in an hour; before there is one, what has passed since the beginning.

A tally of one process is here; one that all processes of a site share is the composition root's
(``gateway.cli.request_tally``). Prices: ``tariff``. Not here: bytes.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final, Protocol

import msgspec

KINDS: Final = ("put", "list", "get", "delete")
"""PUT, COPY and POST are one kind; HEAD is a GET. DELETE costs nothing at most clouds."""
HOUR_MS: Final = 3_600_000
_KIND_OF: Final = {"ListObjectsV2": "list", "GetObject": "get", "HeadObject": "get", "DeleteObject": "delete"}

SINCE, HOUR_BEGAN, TOTAL, THIS_HOUR, LAST_HOUR = 0, 1, 2, 2 + len(KINDS), 2 + 2 * len(KINDS)
SLOTS: Final = 2 + 3 * len(KINDS)
"""Numbers of a tally: since when (unix ms; 0: nothing was counted yet), when the current hour began, then for each kind
how many in all, in this hour, in the hour before it."""


Numbers = list[int] | memoryview


class CountedRequests(msgspec.Struct, frozen=True):
    """What a tally says at a moment. ``hour``: requests in ``hour_ms`` milliseconds, a whole hour if one has passed."""

    since_ms: int
    total: dict[str, int]
    hour: dict[str, int]
    hour_ms: int

    def per_hour(self) -> dict[str, float]:
        """At that pace."""
        return {kind: count * HOUR_MS / max(self.hour_ms, 1) for kind, count in self.hour.items()}


class RequestTally(Protocol):
    """Takes note of requests."""

    def note(self, kind: str) -> None:
        """One request of this kind (``KINDS``) is being sent."""


class OwnTally:
    """A tally of one process alone."""

    def __init__(self, wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000) -> None:
        self._numbers, self._wall_ms = [0] * SLOTS, wall_ms

    def note(self, kind: str) -> None:
        """See ``RequestTally``."""
        count_one(self._numbers, kind, self._wall_ms())

    def counted(self) -> CountedRequests:
        """What it says now."""
        return tell(self._numbers, self._wall_ms())


def count_one(numbers: Numbers, kind: str, now_ms: int) -> None:
    """Add a request to a tally's numbers. A clock that was set back, or far ahead, begins a new hour. Pure but for
    ``numbers``.
    """
    if not numbers[SINCE]:
        numbers[SINCE] = numbers[HOUR_BEGAN] = now_ms
    _turn_hours(numbers, now_ms)
    slot = KINDS.index(kind)
    numbers[TOTAL + slot] += 1
    numbers[THIS_HOUR + slot] += 1


def _turn_hours(numbers: Numbers, now_ms: int) -> None:
    passed_ms = now_ms - numbers[HOUR_BEGAN]
    if 0 <= passed_ms < HOUR_MS:
        return
    follows = HOUR_MS <= passed_ms < 2 * HOUR_MS
    for slot in range(len(KINDS)):
        numbers[LAST_HOUR + slot] = numbers[THIS_HOUR + slot] if follows else 0
        numbers[THIS_HOUR + slot] = 0
    numbers[HOUR_BEGAN] = numbers[HOUR_BEGAN] + HOUR_MS if follows else now_ms


def tell(numbers: Numbers, now_ms: int) -> CountedRequests:
    """What a tally's numbers say. Pure: the numbers stay as they are."""
    now = list(numbers)
    if now[SINCE]:
        _turn_hours(now, now_ms)

    def by_kind(first: int) -> dict[str, int]:
        return dict(zip(KINDS, now[first : first + len(KINDS)], strict=True))

    had_hour = any(now[LAST_HOUR : LAST_HOUR + len(KINDS)])
    hour_ms = HOUR_MS if had_hour else now_ms - now[HOUR_BEGAN]
    return CountedRequests(now[SINCE], by_kind(TOTAL), by_kind(LAST_HOUR if had_hour else THIS_HOUR), hour_ms)


def count_by(client: Any, tally: RequestTally) -> None:
    """Let an aiobotocore client, which tries nothing again by itself, note each request it sends."""

    def note(model: Any, **_: Any) -> None:
        tally.note(_KIND_OF.get(model.name, "put"))

    client.meta.events.register("before-call.s3", note)
