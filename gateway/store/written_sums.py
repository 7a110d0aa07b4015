"""What this site's own writes added up to, and what is left of it: the figures behind ``skerry savings``.

Stands beside ``replica``: reads the site's log and its chunk rows, in short snapshots, a block at a time. Everything is
counted from what is durable, so it is the same beside a running server and without one. It changes nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Final

from gateway.store.cloud_rows import is_in_cloud
from gateway.store.index_format import decode_chunk
from gateway.store.item_format import FAMILY_NULL_SLOT, FAMILY_VERSION
from gateway.store.log import Log
from gateway.store.log_format import Anew, Own
from gateway.store.own_changes import read_own
from gateway.store.views import ViewContext
from replication.change_format import decode_change

AT_ONCE: Final = 1000
_OBJECTS: Final = frozenset((FAMILY_NULL_SLOT, FAMILY_VERSION))


@dataclass(frozen=True, slots=True)
class WrittenSums:
    """Own changes of the newest incarnation: how many, the plaintext bytes that applications put into objects with
    them, and the bytes that the cloud gets for all of it (ciphertext of new frames, and the changes).
    """

    changes: int
    object_writes: int
    written_bytes: int
    ship_bytes: int


@dataclass(frozen=True, slots=True)
class HeldSums:
    """Chunks that something needs, each counted once: plaintext, ciphertext on this disk, plaintext only in the
    cloud, and plaintext that the cloud has.
    """

    chunks: int
    raw_bytes: int
    local_bytes: int
    remote_only_bytes: int
    cloud_bytes: int


Progress = Callable[[int], None]


def sum_written(open_view: Callable[[], ViewContext], log: Log, progress: Progress = lambda done: None) -> WrittenSums:
    """Walk the own changes from the first; ``progress`` is told how many are done. Raises the store's ``Damaged``."""
    changes = writes = written = shipped = 0
    while block := _read_block(open_view, log, changes + 1):
        for record in block:
            change = decode_change(record.change)
            if change.family in _OBJECTS and not change.dead:
                writes += 1
                written += sum([ref.size for ref in change.refs])
            shipped += record.ship_bytes
        changes += len(block)
        progress(changes)
    return WrittenSums(changes, writes, written, shipped)


def _read_block(open_view: Callable[[], ViewContext], log: Log, first_seq: int) -> list[Own | Anew]:
    with open_view() as view:
        own: Iterator[tuple[int, Own | Anew]] = read_own(view.transaction, log, view.state(), first_seq)
        return [record for _, record in islice(own, AT_ONCE)]


def sum_held(open_view: Callable[[], ViewContext]) -> HeldSums:
    """Walk the chunks that something needs now."""
    chunks = raw = local = remote_only = in_cloud = 0
    after = b""
    while True:
        with open_view() as view:
            transaction = view.transaction
            rows = list(islice(transaction.scan(transaction.tables.chunks, after), AT_ONCE))
            for chunk_id, data in rows:
                row = decode_chunk(data)
                if not row.refcount:
                    continue
                chunks, raw = chunks + 1, raw + row.raw_size
                local += row.stored_size if row.local else 0
                remote_only += 0 if row.local else row.raw_size
                in_cloud += row.raw_size if is_in_cloud(transaction, chunk_id) else 0
        if len(rows) < AT_ONCE:
            return HeldSums(chunks, raw, local, remote_only, in_cloud)
        after = rows[-1][0] + b"\0"
