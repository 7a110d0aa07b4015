"""``Graveyard`` of ``replication/collection_ports.py`` over the real store: what is dead, since when, and its end.

Stands beside ``holdings``. Looking is a snapshot of a few hundred keys; ending is a decision like any other, looked at
again under the lock, of ordinary own changes (``endings``). The horizon is a record of the log, so that a rebuilt index
has it, and a restart does not begin the wait anew. It reads no clock.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

from gateway.store.commit import Committer
from gateway.store.decision import Decision
from gateway.store.endings import dead_at, scan_dead
from gateway.store.horizon_rows import read_horizon
from gateway.store.log_format import StableCut
from gateway.store.views import ViewContext
from replication.collection_ports import Horizon, Tombstones

ENDINGS_AT_ONCE: Final = 500
"""How many changes a decision makes at most, but for those of one key."""


class StoreGraveyard:
    """Tombstones as one process' store knows them."""

    def __init__(self, open_view: Callable[[], ViewContext], committer: Committer) -> None:
        self._open_view, self._committer = open_view, committer

    def horizon(self) -> Horizon | None:
        """The one recorded last."""
        with self._open_view() as view:
            return read_horizon(view.transaction)

    async def record_horizon(self, horizon: Horizon) -> None:
        """Remember it in place of the one before."""
        cut, resting_on = (
            tuple((*origin, seq) for origin, seq in sorted(rows.items())) for rows in (horizon.cut, horizon.resting_on)
        )
        await self._committer.commit(lambda view: view.stage_record(StableCut(horizon.since_ms, cut, resting_on)))

    def find_tombstones(self, is_mine: Callable[[bytes], bool], after: bytes, count_max: int) -> Tombstones:
        """What is due among the next ``count_max`` keys and items."""
        due: list[bytes] = []
        kept: Counter[str] = Counter()
        changes = 0
        with self._open_view() as view:
            horizon = read_horizon(view.transaction)
            cut = horizon.cut if horizon is not None else {}
            for looked, (name, dead) in enumerate(scan_dead(view.transaction, cut, is_mine, after), 1):
                kept.update(dead.kept)
                if dead.endings:
                    due.append(name)
                    changes += len(dead.endings)
                if looked >= count_max or changes >= ENDINGS_AT_ONCE:
                    return Tombstones(due, kept, name)
        return Tombstones(due, kept, b"")

    async def end_tombstones(self, due: Sequence[bytes]) -> int:
        """End those that still can be ended."""

        def decide(view: Decision) -> int:
            horizon = read_horizon(view.transaction)
            if horizon is None:
                return 0
            count = 0
            for name in due:
                for ending in dead_at(view.transaction, name, horizon.cut).endings:
                    view.end_item(ending)
                    count += 1
            return count

        return await self._committer.commit(decide)
