"""What a batch may acknowledge: the writer's vector, in the one sense that collection can rely on.

    an ack in batch n says: every change that its writer made before it had applied that much stands in its log at or
    before batch n (and whatever else the acknowledged changes asked of it is done)

So a vector is looked at together with the last own change made by then, and told with the first batch that reaches
that change, not with those before it. While a backlog goes out in pieces, the pieces repeat what was told already:
acknowledged once is acknowledged, readers keep the greatest.

``limits`` hold back what this site has taken in and may not acknowledge yet: of an origin, the greatest sequence number
it may. (A doom is not acknowledged before what is still needed of the doomed objects was shipped again.)

Stands between the change log and the shipper; one per shipper. Not here: when to speak (service), the cut (membership).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from replication.ports import ChangeLog, Origin

AckLimits = Callable[[], Mapping[Origin, int]]
Settle = Callable[[], Awaitable[None]]


def doom_limits(log: ChangeLog) -> Mapping[Origin, int]:
    """What lies below the dooms that are not settled here."""
    return {origin: seq - 1 for origin, seq in log.unsettled().items()}


def no_limits() -> Mapping[Origin, int]:
    """Everything taken in may be acknowledged."""
    return {}


async def settle_nothing() -> None:
    """Nothing has to be said before an acknowledgement."""


class Acknowledging:
    """The vector to tell. ``settle`` makes the own changes that what was taken in asks for, before it is acknowledged
    (it is awaited after the vector was looked at, so what it finds covers the vector).
    """

    def __init__(self, log: ChangeLog, limits: AckLimits = no_limits, settle: Settle = settle_nothing) -> None:
        self._log = log
        self._limits = limits
        self._settle = settle
        self._waiting: tuple[int, dict[Origin, int]] | None = None
        self._sayable: Mapping[Origin, int] = {}

    def begin(self, told: Mapping[Origin, int]) -> None:
        """Start with a log whose newest batch told this (nothing, for a new one)."""
        self._waiting, self._sayable = None, told

    async def look(self) -> None:
        """Look at the vector, unless an earlier one still waits for changes to go. Before the round's are read."""
        if self._waiting is None or self._waiting[0] == self._log.last_seq():
            vector = self._vector()
            await self._settle()
            self._waiting = (self._log.last_seq(), vector)

    def tell(self, last_seq: int) -> Mapping[Origin, int]:
        """What a batch may acknowledge that reaches own change ``last_seq``."""
        if self._waiting is not None and last_seq >= self._waiting[0]:
            vector = self._waiting[1]
            self._sayable = {**vector, **{log: max(seq, vector.get(log, 0)) for log, seq in self._sayable.items()}}
            self._waiting = None
        return self._sayable

    def owes(self, told: Mapping[Origin, int]) -> bool:
        """Whether there is more to acknowledge than was told."""
        return any(seq > told.get(origin, 0) for origin, seq in self._vector().items())

    def _vector(self) -> dict[Origin, int]:
        vector = {origin: position.seq for origin, position in self._log.pulled().items()}
        limits = self._limits()  # after: what was taken in between must not be acknowledged without its limit
        return {origin: min(seq, limits.get(origin, seq)) for origin, seq in vector.items()}
