"""What the tables of chunks must say, counted from scratch: references, children held, queue, live bytes."""

from __future__ import annotations

from collections import Counter

from gateway.store.chunk_rows import RELEASE_CHUNK
from gateway.store.cloud_rows import locate_chunk
from gateway.store.document_format import PartRecord, decode_record
from gateway.store.index import Index
from gateway.store.index_format import (
    CHUNK_HOLDS,
    ChunkPlace,
    decode_chunk,
    decode_head,
    decode_segment_row,
)
from gateway.store.object_format import decode_object
from gateway.store.object_rows import rows_of_key
from replication.frame_format import KIND_PAGE


def recount(index: Index, open_pages) -> None:
    """Assert that counts, flags, the release queue and live bytes are what the records demand."""
    with index.begin_read() as transaction:
        tables = transaction.tables
        rows: dict[bytes, ChunkPlace] = {key: decode_chunk(data) for key, data in transaction.scan(tables.chunks)}
        needed: Counter[bytes] = Counter()
        for _, data in transaction.scan(tables.heads):
            for version in rows_of_key(transaction, decode_head(data).key_id):
                if not version.dead:
                    needed.update(ref.id for ref in decode_object(version.body).refs())
        closed: set[bytes] = set()  # needed by closed uploads: after a rebuild they may have been collected before
        for key, data in transaction.scan(tables.parts):
            refs = [ref.id for ref in decode_record(PartRecord, data).content]
            needed.update(refs)
            if transaction.get(tables.uploads, key[:-3]) is None:
                closed.update(refs)
        live: Counter[int] = Counter()
        pages = open_pages(rows.get)
        for chunk_id, row in rows.items():
            if row.local:
                needed.update(base.chunk_id for base in row.bases)
                live[row.number] += row.header_size + row.stored_size
            if row.flags & CHUNK_HOLDS:
                needed.update(ref.id for ref in pages.children(chunk_id, row))
        counted = {chunk_id: row.refcount for chunk_id, row in rows.items() if row.refcount}
        assert counted == dict(needed)
        queued = {key[1:] for key, _ in transaction.scan(tables.release, b"") if key.startswith(RELEASE_CHUNK)}
        for chunk_id, row in rows.items():
            if row.refcount:
                somewhere = row.local or locate_chunk(transaction, chunk_id) is not None or chunk_id in closed
                assert somewhere, "a chunk that is needed is nowhere"
                assert not (row.frame_kind == KIND_PAGE and row.local) or row.flags & CHUNK_HOLDS
            else:
                assert chunk_id in queued, "a chunk that nothing needs waits for nobody"
        for key, data in transaction.scan(tables.segments):
            assert decode_segment_row(data).live_bytes == live[int.from_bytes(key, "big")]
