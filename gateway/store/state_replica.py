"""The store's whole state as replication sees it: ``FoldedState`` of ``replication/ports.py``.

Stands beside ``replica``, above ``state_export`` (out of the index) and the committer (into it): a slice that is joined
is a decision like any other, logged as it came.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.store.commit import Committer
from gateway.store.decision import Decision
from gateway.store.join_rows import read_join, read_slices
from gateway.store.log_format import Folded, JoinBegun, JoinDone, JoinOver, Subscribed, VectorRow
from gateway.store.state_export import StateExport
from gateway.store.subscription_rows import read_subscription
from gateway.store.views import ViewContext
from replication.ports import ExportStart, JoinState, LogPosition, RemoteLog
from replication.subscription import ALL


class StateReplica:
    """``FoldedState`` over one process' store."""

    def __init__(self, site: bytes, open_view: Callable[[], ViewContext], committer: Committer) -> None:
        self._open_view, self._committer = open_view, committer
        self._export = StateExport(open_view, site)

    def begin_export(self) -> ExportStart:
        """Take the vector; ``StateNotReady`` if the site must take in something first."""
        return self._export.begin()

    def export_slice(self, cursor: bytes) -> tuple[bytes, bytes]:
        """The next slice and the cursor behind it."""
        return self._export.next(cursor)

    def joining(self) -> JoinState | None:
        """The join that is not over."""
        with self._open_view() as view:
            row = view.join()
            if row is None:
                return None
            vector = {
                entry.origin: RemoteLog(
                    LogPosition(entry.n, entry.seq, entry.chain),
                    {(site, incarnation): seq for site, incarnation, seq in entry.acks},
                    *(entry.sent_ms, entry.closed, entry.status),
                )
                for entry in row.vector
            }
            targets = {(site, incarnation): n for site, incarnation, n in row.targets}
            slices = read_slices(view.transaction)
        return JoinState((row.site, row.incarnation), row.n, row.made_ms, vector, slices, row.folded, targets)

    def subscribed(self) -> tuple[str, ...]:
        """Which buckets the site takes in."""
        with self._open_view() as view:
            taken = read_subscription(view.transaction).taken
        return () if taken == ALL else taken

    async def subscribe(self, patterns: tuple[str, ...]) -> None:
        """Take in these buckets from now on."""
        with self._open_view() as view:
            if read_subscription(view.transaction).shown == (patterns or ALL):
                return
        await self._committer.commit(lambda view: view.stage_record(Subscribed(patterns)))

    async def begin_join(self, join: JoinState) -> None:
        """Join a checkpoint from its first slice on."""
        vector = tuple(
            VectorRow(
                *(*origin, entry.position.n, entry.position.seq, entry.position.chain, entry.sent_ms),
                *(tuple((*who, seq) for who, seq in sorted(entry.acks.items())), entry.closed, entry.status),
            )
            for origin, entry in sorted(join.vector.items())
        )
        targets = tuple((*origin, n) for origin, n in sorted(join.targets.items()))
        record = JoinBegun(*join.origin, join.n, join.made_ms, vector, targets)
        await self._committer.commit(lambda view: view.stage_record(record))

    async def fold_slice(self, number: int, data: bytes) -> None:
        """Join slice ``number``; one that is joined already is passed over, one too far is ``ValueError``."""

        def decide(view: Decision) -> None:
            row, known = read_join(view.transaction), read_slices(view.transaction)
            if row is None or row.folded or number > known:
                raise ValueError(f"slice {number} of a checkpoint does not follow what was joined")
            if number == known:
                view.stage_record(Folded(number, data))

        await self._committer.commit(decide)

    async def end_join(self) -> None:
        """All slices are joined."""

        def decide(view: Decision) -> None:
            row = read_join(view.transaction)
            if row is not None and not row.folded:
                view.stage_record(JoinDone())

        await self._committer.commit(decide)

    async def finish_join(self) -> None:
        """It is over, or given up."""

        def decide(view: Decision) -> None:
            if read_join(view.transaction) is not None:
                view.stage_record(JoinOver())

        await self._committer.commit(decide)
