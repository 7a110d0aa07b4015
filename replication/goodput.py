"""How fast bytes get through to the cloud, and so how large a piece may be before a cut costs too much of it.

A pack that a reset or a time-out takes away must be sent again from its beginning, for a bucket keeps no half of an
object. So what is sent at once shrinks with the link: as much as it carried in ``PIECE_S`` lately, halved by each
failure and at most doubled by each success; never below one frame, which is the finest piece there is (at most 4 MiB).

Not here: measuring (throttle), planning a round (plan).
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from replication.settings import ShipLimits

PIECE_S: Final = 30.0
ROUND_PIECES: Final = 16
PIECE_BYTES_MIN: Final = 64 << 10
FIRST_BYTES_PER_S: Final = 128 << 10
SLOWEST_BYTES_PER_S: Final = 2 << 10
SMALL_BYTES: Final = 32 << 10
PATIENCE: Final = 4


class Goodput:
    """An estimate in bytes per second, and the piece that follows from it."""

    def __init__(self) -> None:
        self.bytes_per_s = float(FIRST_BYTES_PER_S)
        self._piece = self._fitting()

    def note_success(self, size: int, seconds: float) -> None:
        """So many bytes took so long. Small ones tell latency, not rate."""
        if size < SMALL_BYTES:
            return
        self.bytes_per_s = (self.bytes_per_s + size / max(seconds, 1e-3)) / 2
        self._piece = min(2 * self._piece, max(self._fitting(), PIECE_BYTES_MIN))

    def note_failure(self, size: int) -> None:
        """Such a piece did not arrive."""
        if size < SMALL_BYTES:
            return
        self.bytes_per_s = max(self.bytes_per_s / 2, SLOWEST_BYTES_PER_S)
        self._piece = max(min(self._piece, size) // 2, PIECE_BYTES_MIN)

    def deadline_s(self, size: int, least_s: float) -> float:
        """How long a piece may take before it is given up."""
        return least_s + PATIENCE * size / self.bytes_per_s

    def fit(self, limits: ShipLimits) -> ShipLimits:
        """The limits of a round on this link."""
        piece = min(limits.pack_bytes_max, int(self._piece))
        return replace(limits, pack_bytes_max=piece, frame_bytes_max=min(limits.frame_bytes_max, ROUND_PIECES * piece))

    def _fitting(self) -> float:
        return self.bytes_per_s * PIECE_S
