"""What thousands of connections cost a worker, taken from what it may hold for their bodies and answers.

A connection with a request parsed is some 9 KB of small objects. Of few that is nothing; of ten thousand it is as much
as all answers under way, and Python's allocator keeps most of it for a while after they have gone. So that a worker's
memory has one bound whatever comes, connections beyond ``CROWD`` are charged to the budgets, and what they were charged
is given back slowly.

Invariant: a quarter of what may be held stays whatever comes. It deliberately ends no connection: the cap on them does.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

CROWD: Final = 2048
"""Connections that cost nothing: within the base of every worker."""
EACH_BYTES: Final = 6 << 10
_CALM_DOWN: Final = 1 / 1024  # of what is charged too much, given back with each look, one or two a second


class Crowd:
    """The charge of one worker. ``charge`` is told how many bytes more (or, negative, less) are taken now."""

    def __init__(self, bytes_max: int, charge: Callable[[int], None]) -> None:
        self._bytes_max = bytes_max
        self._charge = charge
        self.bytes = 0
        """Charged now."""

    def meet(self, connections: int) -> None:
        """There are so many now: what is more than charged is charged at once."""
        self._set(max(self.bytes, self._cost(connections)))

    def calm_down(self, connections: int) -> None:
        """Some time went by with no more than so many."""
        cost = self._cost(connections)
        self._set(cost + int((self.bytes - cost) * (1 - _CALM_DOWN)) if self.bytes > cost else cost)

    def _cost(self, connections: int) -> int:
        return min(max(connections - CROWD, 0) * EACH_BYTES, self._bytes_max)

    def _set(self, count: int) -> None:
        if count != self.bytes:
            self._charge(count - self.bytes)
            self.bytes = count
