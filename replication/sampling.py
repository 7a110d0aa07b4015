"""A sample out of a stream, each element as likely as any other, and the same again for the same seed.

Bottom-k sampling: an element's place is a keyed hash of its name, and the lowest are kept. So no random numbers are
drawn, order and repetitions of the stream do not matter, and a run can be repeated by its seed alone.
"""

from __future__ import annotations

import heapq
from typing import Generic, TypeVar

import blake3

Value = TypeVar("Value")


class Sample(Generic[Value]):
    """The ``count_max`` (None: all) elements with the lowest hashes, O(log n) an element. ``seed``: any bytes."""

    def __init__(self, seed: bytes, count_max: int | None) -> None:
        self._key = blake3.blake3(b"skerry sample" + seed).digest()
        self._count_max = count_max
        self._kept: list[tuple[int, int, Value]] = []
        self.seen = 0
        """How many elements came by."""

    def add(self, name: bytes, value: Value) -> None:
        """An element came by; ``name`` tells it from all others."""
        self.seen += 1
        place = (-int.from_bytes(blake3.blake3(name, key=self._key).digest(16)), self.seen, value)
        if self._count_max is None or len(self._kept) < self._count_max:
            heapq.heappush(self._kept, place)
        elif self._count_max:
            heapq.heappushpop(self._kept, place)

    def values(self) -> list[Value]:
        """What was kept, in the order it came."""
        return [value for _, _, value in sorted(self._kept, key=lambda kept: kept[1])]
