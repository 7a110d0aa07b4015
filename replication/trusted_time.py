"""How far this site's clock is from the cloud's, by the ``Date`` of its answers (RFC 9110, 6.6.1; whole seconds).

Fed by the cloud client with every answer of the bucket, also one that refuses a request because the clock is wrong;
over TLS or not, since a wrong measure can do no more than warn, or refuse writes where the operator wants that. The
measure is the median of the last few, so that neither one slow answer nor one liar on the line moves it; an answer that
took long says little and is left out. An hour after the last answer nothing is known any more: an island whose clock
was put right must not be held to what the cloud said before.

Not here: what follows. Receivers never judge a change by its clock; a wrong one poisons the keys it wrote, no others
(``clock``). Where writes are issued the site may be told to refuse them (``[clock] refuse_skew_s``).
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC
from email.utils import parsedate_to_datetime
from statistics import median
from typing import Final

MEASURES: Final = 9
ROUND_TRIP_MS_MAX: Final = 2_000
RESOLUTION_MS: Final = 1_000
KNOWN_FOR_S: Final = 3_600.0


@dataclass(frozen=True, slots=True)
class ClockSettings:
    """[clock]: what a difference from the cloud's clock brings. 0: nothing."""

    warn_skew_s: float = 60.0
    refuse_skew_s: float = 0.0


class SkewMeter:
    """The clock of one site against one cloud's. Any number of clients feed it."""

    def __init__(self, monotonic_s: Callable[[], float] = time.monotonic) -> None:
        self._monotonic_s = monotonic_s
        self._measured: deque[tuple[float, int]] = deque(maxlen=MEASURES)

    def observe(self, date: str, sent_ms: int, received_ms: int) -> None:
        """An answer with this ``Date`` to a request sent and answered at these times of the own clock (unix ms)."""
        if not 0 <= received_ms - sent_ms <= ROUND_TRIP_MS_MAX:
            return
        try:
            told = parsedate_to_datetime(date)
        except ValueError:
            return
        told = told if told.tzinfo else told.replace(tzinfo=UTC)
        cloud_ms = int(told.timestamp() * 1000) + RESOLUTION_MS // 2
        self._measured.append((self._monotonic_s(), (sent_ms + received_ms) // 2 - cloud_ms))

    @property
    def skew_ms(self) -> int | None:
        """The site's clock less the cloud's (> 0: it is ahead); None if it is not known. A second of it may be the
        measure's.
        """
        now_s = self._monotonic_s()
        recent = [skew_ms for at_s, skew_ms in self._measured if now_s - at_s <= KNOWN_FOR_S]
        return int(median(recent)) if recent else None


def is_too_far(skew_ms: int | None, limit_s: float) -> bool:
    """Whether a clock is off by more than is allowed; never if it is not known, or there is no limit (0)."""
    return skew_ms is not None and limit_s > 0 and abs(skew_ms) > limit_s * 1000
