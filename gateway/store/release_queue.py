"""The work that waits for the collector, done at once: only where nobody reads and nobody writes.

Stands between the row modules and whoever owns an index alone: a rebuild, before anyone may use it, and the logical
dump, in a transaction that is taken back. It condemns nothing and waits for nobody; the live site's way is ``collect``.
"""

from __future__ import annotations

from itertools import islice
from typing import Final

from gateway.store import upload_rows
from gateway.store.chunk_rows import RELEASE_CHUNK, ChunkRows
from gateway.store.index import Transaction

PARTS_AT_ONCE: Final = 1000


def drain_some(transaction: Transaction, chunks: ChunkRows, count_max: int) -> bool:
    """Let go of up to ``count_max`` chunks or closed uploads of the queue: whether there was any."""
    work = list(islice(chunks.released(), count_max))
    for item in work:
        if item.startswith(RELEASE_CHUNK):
            chunks.drop(item[1:])
        else:
            while not upload_rows.drop_parts(transaction, chunks, item[1:].decode(), PARTS_AT_ONCE):
                pass
    return bool(work)


def drain_release(transaction: Transaction, chunks: ChunkRows) -> None:
    """Let go of everything in the queue, and of what that sets free."""
    while drain_some(transaction, chunks, PARTS_AT_ONCE):
        pass
