"""What the operator says of the tier: when cold bytes leave this disk for the cloud only, how fast, and what stays."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TierSettings:
    """[tier]: eviction of cold bytes that the cloud verifiably has. Nothing is evicted unless a limit is given."""

    evict_above_percent: float = 0.0  # of the data directory's file system in use; 0: no such limit
    evict_to_percent: float = 0.0  # what eviction goes down to; 0: ten points below
    local_bytes_max: int = 0  # bytes of live frames on this site; 0: no such limit (eviction goes down to 90 %)
    evict_bytes_per_s: int = 256 << 20  # how fast bytes are given up, at most; 0: as fast as it goes
    check_interval_s: float = 10.0
    census_interval_s: float = 3600.0  # how often all versions are walked just to say how many bytes lie where
    pinned: tuple[str, ...] = ()  # "bucket/prefix" ("bucket/": all of it): never evicted

    @property
    def enabled(self) -> bool:
        """Whether there is any limit to keep."""
        return bool(self.evict_above_percent or self.local_bytes_max)

    @property
    def to_percent(self) -> float:
        """The lower mark."""
        return self.evict_to_percent or max(self.evict_above_percent - 10.0, 0.0)

    def is_pinned(self, bucket: str, key: bytes) -> bool:
        """Whether a version of this key must stay."""
        path = bucket.encode() + b"/" + key
        return any(path.startswith(prefix.encode()) for prefix in self.pinned)


def check_prefixes(prefixes: tuple[str, ...]) -> str | None:
    """What is wrong with a list of ``bucket/prefix``; None if nothing is."""
    wrong = [prefix for prefix in prefixes if "/" not in prefix.strip("/") and not prefix.endswith("/")]
    wrong += [prefix for prefix in prefixes if prefix.startswith("/")]
    return f"must be BUCKET/ or BUCKET/PREFIX, not {wrong[0]!r}" if wrong else None
