"""Open multipart uploads and their parts in the index: local to the site, never shipped.

Stands between ``apply`` and the tables ``uploads``, ``bucket_uploads`` and ``parts``. Invariant: a part's chunks are
referenced while its row exists. Closing an upload takes bounded time: its parts stay as rows, invisible, until the
collector lets them go (``drop_parts``) from the ``release`` queue.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from gateway.store.chunk_rows import NEVER, RELEASE_UPLOAD, ChunkRows
from gateway.store.document_format import PartRecord, UploadRecord, decode_record, encode_record
from gateway.store.index import Transaction
from gateway.store.index_format import State, pack_u64, part_key, unpack_u64, upload_prefix
from gateway.store.item_format import UID_SIZE

_BYTES_SIZE = 8


def open_upload(transaction: Transaction, record: UploadRecord) -> None:
    """Store a new upload."""
    tables = transaction.tables
    transaction.put(tables.uploads, record.id.encode(), pack_u64(0) + encode_record(record))
    transaction.put(tables.bucket_uploads, upload_prefix(record.uid, record.key) + record.id.encode(), b"")


def put_part(transaction: Transaction, state: State, chunks: ChunkRows, upload_id: str, record: PartRecord) -> None:
    """Store or replace a part of an open upload (``KeyError`` if it is not open)."""
    tables = transaction.tables
    upload = transaction.get(tables.uploads, upload_id.encode())
    if upload is None:
        raise KeyError(upload_id)
    chunks.reference_all(record.content)
    replaced = read_part(transaction, upload_id, record.number)
    if replaced is not None:
        chunks.dereference_all(replaced.content, NEVER)
    grown = record.size - (replaced.size if replaced is not None else 0)
    transaction.put(tables.parts, part_key(upload_id, record.number), encode_record(record))
    total = pack_u64(unpack_u64(upload) + grown)
    transaction.put(tables.uploads, upload_id.encode(), total + upload[_BYTES_SIZE:])
    state.open_upload_bytes += grown


def close_upload(transaction: Transaction, state: State, upload_id: str) -> None:
    """Forget an upload; its parts wait for the collector. No effect if it is not open."""
    tables = transaction.tables
    upload = transaction.pop(tables.uploads, upload_id.encode())
    if upload is None:
        return
    record = decode_record(UploadRecord, upload[_BYTES_SIZE:])
    transaction.delete(tables.bucket_uploads, upload_prefix(record.uid, record.key) + record.id.encode())
    transaction.put(tables.release, RELEASE_UPLOAD + upload_id.encode(), b"")
    state.open_upload_bytes -= unpack_u64(upload)


def drop_parts(transaction: Transaction, chunks: ChunkRows, upload_id: str, count_max: int) -> bool:
    """Let go up to ``count_max`` parts of a closed upload; whether none is left."""
    tables = transaction.tables
    prefix = upload_id.encode() + b"\0"
    keys = list(islice(transaction.scan(tables.parts, prefix, prefix), count_max))
    for key, data in keys:
        chunks.dereference_all(decode_record(PartRecord, data).content, NEVER)
        transaction.delete(tables.parts, key)
    if len(keys) < count_max:
        transaction.delete(tables.release, RELEASE_UPLOAD + upload_id.encode())
        return True
    return False


def read_upload(transaction: Transaction, upload_id: str) -> UploadRecord | None:
    """An open upload."""
    data = transaction.get(transaction.tables.uploads, upload_id.encode()) if upload_id else None
    return None if data is None else decode_record(UploadRecord, data[_BYTES_SIZE:])


def read_part(transaction: Transaction, upload_id: str, number: int) -> PartRecord | None:
    """One part of an upload, be it open or not."""
    data = transaction.get(transaction.tables.parts, part_key(upload_id, number))
    return None if data is None else decode_record(PartRecord, data)


def scan_parts(transaction: Transaction, upload_id: str, after: int) -> Iterator[PartRecord]:
    """Parts of an upload by number, greater than ``after``."""
    prefix = upload_id.encode() + b"\0"
    for _, data in transaction.scan(transaction.tables.parts, part_key(upload_id, after + 1), prefix):
        yield decode_record(PartRecord, data)


def scan_uploads(transaction: Transaction, uid: bytes, after_key: bytes, after_id: str) -> Iterator[UploadRecord]:
    """Open uploads of a bucket by key, then id, behind a position (an empty id: behind all of ``after_key``)."""
    if after_key and not after_id:
        start = upload_prefix(uid, after_key) + b"\xff"
    elif after_key:
        start = upload_prefix(uid, after_key) + after_id.encode() + b"\0"
    else:
        start = uid
    for key, _ in transaction.scan(transaction.tables.bucket_uploads, start, uid):
        record = read_upload(transaction, key[key.rindex(b"\0\0", UID_SIZE) + 2 :].decode())
        if record is not None:
            yield record


def has_uploads(transaction: Transaction, uid: bytes) -> bool:
    """Whether a bucket has open uploads."""
    return next(transaction.scan(transaction.tables.bucket_uploads, uid, uid), None) is not None
