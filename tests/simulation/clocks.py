"""Virtual time: the world's true clock, and the wrong ones of its sites. Nothing here reads a real clock."""

from __future__ import annotations

import random

MINUTE_MS = 60_000
DAY_MS = 86_400_000
YEAR_MS = 365 * DAY_MS
SKEWS_MS = [0, 0, 0, 5, -MINUTE_MS, 3_600_000, -DAY_MS, YEAR_MS]
JUMPS_MS = [0, 1, -30_000, 3_600_000, -3_600_000, DAY_MS, -DAY_MS, -YEAR_MS]
PAUSES_MS = [0, 1, 1000, MINUTE_MS, MINUTE_MS, 3_600_000, DAY_MS, 5 * DAY_MS]


class TrueClock:
    """Unix milliseconds of the world; only ever goes on."""

    def __init__(self) -> None:
        self.started_ms = self.now_ms = 1_700_000_000_000

    def pass_time(self, rng: random.Random) -> None:
        self.now_ms += rng.choice(PAUSES_MS)

    @property
    def days(self) -> float:
        return (self.now_ms - self.started_ms) / DAY_MS


class SiteClock:
    """One machine's wall clock: wrong by ``skew_ms``, which an administrator or NTP may change at any moment."""

    def __init__(self, true: TrueClock, rng: random.Random) -> None:
        self._true = true
        self.skew_ms = rng.choice(SKEWS_MS)
        self.highest_ms = self.wall_ms()

    def wall_ms(self) -> int:
        now = self._true.now_ms + self.skew_ms
        self.highest_ms = max(now, getattr(self, "highest_ms", now))
        return now

    def jump(self, rng: random.Random) -> None:
        self.skew_ms = rng.choice(JUMPS_MS)
