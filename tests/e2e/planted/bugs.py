"""One-line faults of the kind that happens; each breaks a promise of DESIGN §1 and must be noticed by a test."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from gateway.store import object_rows, replica
from gateway.store.files import Files
from replication import crdt
from replication.batch_format import hash_object
from replication.ports import Backlog, LogPosition
from replication.shipper import Shipper


def drop_the_loser() -> None:
    """Promise 3: a merge keeps only the winner."""

    def merge(a: crdt.Entry, b: crdt.Entry) -> crdt.Entry:
        merged = crdt.merge(a, b)
        return crdt.Entry(merged.live[:1], merged.marks)

    object_rows.merge = merge  # type: ignore[attr-defined]


def advance_the_cursor_before_the_upload() -> None:
    """Promise 6: changes count as safe when they are about to be sent."""
    real: Any = Shipper._commit

    async def commit(self: Shipper, attempt: Any) -> Any:
        position = LogPosition(attempt.batch.n, attempt.batch.last_seq, hash_object(attempt.data))
        await self._log.record_shipped(position, (*attempt.packed, *attempt.inline))
        return await real(self, attempt)

    Shipper._commit = commit  # type: ignore[method-assign]


def count_the_backlog_in_memory() -> None:
    """Promise 6: a process that has just started knows of no unsent change."""
    replica.read_backlog = lambda *_: Backlog(0, 0, None, 0)  # type: ignore[attr-defined]


def skip_the_file_sync() -> None:
    """Promise 1: the log is written, not synced."""
    Files.fdatasync = lambda self, fd: None  # type: ignore[method-assign]


def skip_the_directory_sync() -> None:
    """Promise 1: a new segment's name is not synced (what MinIO does)."""
    Files.sync_directory = lambda self, path: None  # type: ignore[method-assign]


BUGS: dict[str, Callable[[], None]] = {
    bug.__name__: bug
    for bug in (
        drop_the_loser,
        advance_the_cursor_before_the_upload,
        count_the_backlog_in_memory,
        skip_the_file_sync,
        skip_the_directory_sync,
    )
}
