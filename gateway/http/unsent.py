"""Answers that clients have not taken: how many bytes of them a worker holds, and whose go when it is too many.

Stands beside the connections, which tell it when their transport cannot pass bytes on (``pause_writing``) and when it
can again. A transport below its high-water mark is not counted: that mark is small. Streams hold little by themselves
(``object_reads`` sizes their pieces by a budget); this is the bound behind it, for answers of every kind.

Invariants: the connections held have at most ``bytes_max`` bytes together; the one that has taken nothing for the
longest goes first. It deliberately does not judge who is slow: whoever takes a piece stands last in the row again.
"""

from __future__ import annotations

from typing import Final, Protocol

WRITE_HIGH_BYTES: Final = 16 << 10
"""High-water mark of a transport: what a connection may hold without being counted."""


class Stalled(Protocol):
    """A connection whose client does not take what was written to it."""

    @property
    def has_followers(self) -> bool:
        """Whether its client has sent further requests already."""

    def abort(self) -> None:
        """End it at once; what was not sent is lost."""


class UnsentAnswers:
    """The stalled connections of one worker, those that stalled first in front. Lives on its event loop."""

    def __init__(self, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self._held: dict[Stalled, tuple[int, float]] = {}
        self.bytes = 0
        self.aborted = 0
        """Connections ended because their client took nothing."""

    def hold(self, connection: Stalled, count: int, now_s: float) -> None:
        """``connection`` waits for its client to take ``count`` bytes; may end it, or others, to keep the bound."""
        self.let_go(connection)
        self._held[connection] = (count, now_s)
        self.bytes += count
        self._keep_bound()

    def charge(self, count: int) -> None:
        """Hold so many bytes less from now on (more, if negative): something else has them."""
        self._bytes_max -= count
        self._keep_bound()

    def let_go(self, connection: Stalled) -> None:
        """It takes bytes again, or is gone."""
        held = self._held.pop(connection, None)
        if held is not None:
            self.bytes -= held[0]

    def abort_since(self, before_s: float) -> None:
        """End all that have taken nothing since that loop time."""
        for connection in [each for each, (_, since_s) in self._held.items() if since_s <= before_s]:
            self._abort(connection)

    def abort_first(self, before_s: float) -> bool:
        """End the one that has taken nothing for longest, if since that loop time; whether one was."""
        for connection, (_, since_s) in self._held.items():
            if since_s > before_s:
                return False
            self._abort(connection)
            return True
        return False

    def abort_greedy(self) -> bool:
        """End the first that takes nothing and has asked for more all the same, as no SDK does; whether one was."""
        for connection in self._held:
            if connection.has_followers:
                self._abort(connection)
                return True
        return False

    def _keep_bound(self) -> None:
        while self._held and self.bytes > self._bytes_max:
            self._abort(next(iter(self._held)))

    def _abort(self, connection: Stalled) -> None:
        self.let_go(connection)
        self.aborted += 1
        connection.abort()
