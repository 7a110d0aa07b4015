"""The logical content of an index: everything that the log alone determines, in one order.

For tests, ``verify`` and ``rebuild-index``: a rebuilt index and the one that grew live must dump equally. Left out is
what is physical: where frames and batches lie, segments, how far the collector has come (its queue is drained first,
in a transaction that is taken back), key ids, and chunks that nothing references.
"""

from __future__ import annotations

from collections.abc import Iterator

from msgspec.structs import replace

from gateway.store.chunk_rows import ChunkRows, OpenPages
from gateway.store.cloud_rows import read_object, scan_dooms
from gateway.store.horizon_rows import read_horizon
from gateway.store.index import Index, Transaction
from gateway.store.index_format import decode_batch_row, decode_chunk, decode_head
from gateway.store.join_rows import read_join, read_slices
from gateway.store.losses import scan_accepted
from gateway.store.object_rows import rows_of_key
from gateway.store.release_queue import drain_release

Row = tuple[str, bytes, object]
"""Table, key, value."""


def logical_dump(index: Index, open_pages: OpenPages) -> Iterator[Row]:
    """Every logical row, by table and key. Holds the write lock while it runs; changes nothing."""
    with index.begin_write() as transaction:
        state = transaction.load_state()
        chunks = ChunkRows(transaction, state, open_pages)
        drain_release(transaction, chunks)
        state.next_object = state.next_key = 0
        yield "state", b"", state
        for name in ("items", "names", "counts", "marks", "conflicts", "seqs", "origins"):
            yield from _raw(transaction, name)
        for name in ("uploads", "bucket_uploads", "parts", "incarnations"):
            yield from _raw(transaction, name)
        yield "join", b"", (read_join(transaction), read_slices(transaction))
        yield "lost", b"", list(scan_accepted(transaction))
        yield "horizon", b"", read_horizon(transaction)
        yield from _objects(transaction)
        for key, data in transaction.scan(transaction.tables.chunks):
            row = decode_chunk(data)
            if row.refcount:
                yield "chunks", key, (row.refcount, row.frame_kind)
        for key, data in transaction.scan(transaction.tables.cloud):
            yield "cloud", key[:-4], (read_object(transaction, int.from_bytes(key[-4:], "big")), data)
        for dot, doom in scan_dooms(transaction):
            names = [read_object(transaction, number) for number in doom.numbers]
            yield "dooms", bytes(dot.site), (dot, doom.state, doom.applied_ms, names)
        yield from _raw(transaction, "trusted")
        for key, data in transaction.scan(transaction.tables.batches):
            yield "batches", key, decode_batch_row(data)[3:]


def _raw(transaction: Transaction, name: str) -> Iterator[Row]:
    for key, data in transaction.scan(getattr(transaction.tables, name)):
        yield name, key, data


def _objects(transaction: Transaction) -> Iterator[Row]:
    for key, data in transaction.scan(transaction.tables.heads):
        head = decode_head(data)
        yield "heads", key, replace(head, key_id=0)
        for row in rows_of_key(transaction, head.key_id):
            yield "versions", key + row.order, row
