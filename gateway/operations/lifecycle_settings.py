"""What the operator says of lifecycle: whether it runs, how fast, and (for tests only) how long a day is."""

from __future__ import annotations

from dataclasses import dataclass

from gateway.s3.lifecycle_rules import REAL, Calendar


@dataclass(frozen=True, slots=True)
class LifecycleSettings:
    """[lifecycle]: one pass when the server starts and one after every midnight UTC."""

    enabled: bool = True
    versions_per_s: int = 20_000  # looked at, at most; 0: as fast as it goes
    conflict_days: float = 30.0  # how long losers of collisions are kept; 0: until somebody decides
    debug_day_s: float = 0.0  # a lifecycle day lasts so long, for tests and demos; 0: a day

    @property
    def calendar(self) -> Calendar:
        """Days as the rules are to be read."""
        return Calendar(max(1, int(self.debug_day_s * 1000))) if self.debug_day_s else REAL
