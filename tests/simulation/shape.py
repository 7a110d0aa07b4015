"""What kind of world a seed gives: how many sites, how long, how much happens, how bad link and clocks are. Pure.

Most worlds are small, since small worlds find most and cost least; one in fifteen has up to eight sites, one in 250
forty.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from replication.settings import CollectSettings, ShipLimits
from tests.replication.faulty_cloud import (
    CONFLICT,
    CRASH_AFTER,
    CRASH_BEFORE,
    DAMAGED,
    DUPLICATE,
    LATE,
    LOST_REPLY,
    NOT_YET,
    PORTAL,
    REFUSED,
    SLOW_DOWN,
    STALE,
)
from tests.simulation.clocks import DAY_MS

RATES = {
    REFUSED: 0.04,
    LOST_REPLY: 0.05,
    DUPLICATE: 0.03,
    LATE: 0.04,
    CONFLICT: 0.03,
    SLOW_DOWN: 0.03,
    PORTAL: 0.006,
    NOT_YET: 0.01,
    STALE: 0.03,
    DAMAGED: 0.006,
    CRASH_BEFORE: 0.015,
    CRASH_AFTER: 0.015,
}
LIMITS = [
    ShipLimits(changes_max=3, inline_bytes_max=0, pack_bytes_max=600),
    ShipLimits(changes_max=50, inline_bytes_max=1000, pack_bytes_max=2000),
    ShipLimits(changes_max=4, inline_bytes_max=0, frame_bytes_max=500, pack_bytes_max=300),
    ShipLimits(changes_max=20, frames_max=3),
]
SIZES = [10, 90, 200]
DEEDS = ["write", "ship", "pull", "checkpoint", "tidy", "jump", "collect", "restart", "read"]
CHANCES = [45, 23, 17, 2, 6, 2, 2, 1, 2]
TIDY_CHANCES = [38, 15, 12, 1, 20, 1, 10, 1, 2]


@dataclass(frozen=True, slots=True)
class Shape:
    """``sites`` at the beginning; ``keys`` S3 keys in each of ``buckets``; ``troubles`` is how often a machine has a
    bad day (a disk lost, copied, rolled back, a site replaced), and ``cloned`` whether disks may be copied at all;
    ``chances`` of each of ``DEEDS``: in every third world there is much collection, in the bucket and on the disks.
    ``leaning``: clients copy, and keep uploads open.
    """

    sites: int
    steps: int
    keys: int
    buckets: int
    troubles: float
    cloned: bool
    rates: dict[str, float]
    silence: float
    chances: list[int]
    leaning: bool = False


def collecting_of(shape: Shape, seed: int) -> CollectSettings:
    """How the sites of a world collect in the bucket. Who was silent is trusted only where lists do not lie."""
    rng = random.Random(f"collecting {seed}")
    return CollectSettings(
        point_in_time_ms=rng.choice([0, 0, DAY_MS]),
        grace_ms=rng.choice([0, 0, 3_600_000, 3 * DAY_MS]),
        acquaint_ms=rng.choice([0, 3_600_000]) if STALE not in shape.rates else 1 << 60,
        live_share_min=rng.choice([0.5, 0.5, 0.9, 1.0]),
        objects_max=rng.choice([2, 16]),
    )


def shape_of(seed: int) -> Shape:
    """The same seed gives the same shape."""
    rng = random.Random(f"shape {seed}")
    if seed % 250 == 249:
        sites, steps = 40, 60
    elif seed % 15 == 14:
        sites, steps = rng.randint(4, 8), rng.randint(50, 90)
    else:
        sites, steps = rng.choice([2, 2, 2, 3]), rng.randint(20, 50)
    scale = rng.choice([0.0, 0.5, 1.0, 1.0, 2.0])
    return Shape(
        sites,
        steps,
        keys=rng.choice([1, 2, 3]),
        buckets=rng.choice([1, 1, 2]),
        troubles=rng.choice([0.0, 0.03, 0.08]),
        cloned=rng.random() < 0.6,
        rates={fault: rate * scale for fault, rate in RATES.items()} if scale else {},
        silence=rng.choice([0.02, 0.08]),
        chances=CHANCES if seed % 3 else TIDY_CHANCES,
    )
