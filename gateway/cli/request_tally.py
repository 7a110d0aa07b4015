"""What all processes of a site ask of its bucket, in one tally: ``DATA/run/cloud.requests``.

Unsigned 64-bit numbers as ``replication.cloud_requests`` orders them, mapped by every process and added to under a file
lock. Not durable, and not a format that is kept: a file of another length is begun anew.
"""

from __future__ import annotations

import fcntl
import mmap
import time
from typing import Any, Final

from gateway.store.files import Files
from gateway.store.layout import DataDirectory
from replication.cloud_requests import SLOTS, CountedRequests, count_one, tell
from replication.tariff import HOURS_A_MONTH, Tariff

TALLY_NAME: Final = "cloud.requests"
TALLY_SIZE: Final = 8 * SLOTS
TOLD_AFTER_MS: Final = 300_000
"""A start asks more than an hour of rest does: less than this says nothing of an hour."""


class SharedTally:
    """See ``RequestTally``: one for all processes of a site."""

    def __init__(self, directory: DataDirectory) -> None:
        self._files: Files = directory.files
        self._fd = self._files.open_shared(directory.run / TALLY_NAME)
        if self._files.size(self._fd) != TALLY_SIZE:
            self._files.truncate(self._fd, 0)
            self._files.truncate(self._fd, TALLY_SIZE)
        self._map = mmap.mmap(self._fd, TALLY_SIZE)
        self._numbers = memoryview(self._map).cast("Q")

    def note(self, kind: str) -> None:
        """See ``RequestTally``. Nothing is waited for under the lock."""
        fcntl.flock(self._fd, fcntl.LOCK_EX)
        try:
            count_one(self._numbers, kind, _now_ms())
        finally:
            fcntl.flock(self._fd, fcntl.LOCK_UN)

    def counted(self) -> CountedRequests:
        """What all processes of the site asked so far."""
        return tell(self._numbers, _now_ms())

    def close(self) -> None:
        """Let go of the file."""
        self._numbers.release()
        self._map.close()
        self._files.close(self._fd)


def describe_requests(counted: CountedRequests, tariff: Tariff) -> dict[str, Any]:
    """As ``skerry status --json`` tells it; ``an_hour`` is None before it can be told, ``cost_a_month``, at that pace,
    without prices, too.
    """
    hourly = counted.per_hour() if counted.hour_ms >= TOLD_AFTER_MS else None
    price = tariff.requests(hourly["put"] + hourly["list"], hourly["get"]) * HOURS_A_MONTH if hourly else 0.0
    return {
        "since_ms": counted.since_ms or None,
        "total": counted.total,
        "an_hour": {kind: round(count, 1) for kind, count in hourly.items()} if hourly else None,
        "counted_s": round(counted.hour_ms / 1000) if counted.since_ms else None,
        "cost_a_month": round(price, 4) if tariff.is_told and hourly else None,
        "currency": tariff.currency if tariff.is_told else None,
    }


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
