"""The log as the index knows it: where batches lie, what of it was shipped, and what was taken in of others' logs.

Stands between ``apply``/``replica`` and the tables ``batches``, ``seqs``, ``origins`` and ``incarnations``.
Cumulative sums in the batch rows and in the cursor make the backlog exact and O(log n), whatever the length of the
log.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from gateway.store.index import Transaction
from gateway.store.index_format import (
    BatchRow,
    OriginRow,
    State,
    decode_batch_row,
    encode_batch_row,
    pack_u64,
    unpack_u64,
)
from replication.crdt import INCARNATION_SIZE, SITE_SIZE, Dot
from replication.ports import Backlog, Origin

Acks = tuple[tuple[bytes, bytes, int], ...]

_encoder = msgspec.msgpack.Encoder()
_origin_decoder = msgspec.msgpack.Decoder(OriginRow)


def put_batch(transaction: Transaction, number: int, row: BatchRow, incarnation: bytes) -> None:
    """Remember where a batch lies, and which own changes it holds (of this incarnation, the last it began with)."""
    transaction.put(transaction.tables.batches, pack_u64(number), encode_batch_row(row))
    if row.own_count:
        transaction.put(transaction.tables.seqs, incarnation + pack_u64(row.first_seq), pack_u64(number))


def move_batch(transaction: Transaction, number: int, before: tuple[int, int], after: tuple[int, int, int]) -> None:
    """A batch that lay at ``before`` (segment, offset), if it still does, lies at ``after`` (segment, offset, size)."""
    row = read_batch_row(transaction, number)
    if row is not None and (row.segment, row.offset) == before:
        segment, offset, size = after
        moved = row._replace(segment=segment, offset=offset, length=size)
        transaction.put(transaction.tables.batches, pack_u64(number), encode_batch_row(moved))


def read_batch_row(transaction: Transaction, number: int) -> BatchRow | None:
    """Where a batch lies."""
    data = transaction.get(transaction.tables.batches, pack_u64(number))
    return None if data is None else decode_batch_row(data)


def scan_batches(transaction: Transaction, first: int) -> Iterator[tuple[int, BatchRow]]:
    """Batches from number ``first`` on."""
    for key, data in transaction.scan(transaction.tables.batches, pack_u64(first)):
        yield unpack_u64(key), decode_batch_row(data)


def batch_of_seq(transaction: Transaction, incarnation: bytes, seq: int) -> int | None:
    """The number of the batch that holds an own change; None if there is no such change."""
    found = transaction.last_below(transaction.tables.seqs, incarnation + pack_u64(seq + 1))
    if found is None or not found[0].startswith(incarnation):
        return None
    number = unpack_u64(found[1])
    row = read_batch_row(transaction, number)
    assert row is not None, "a sequence number points at no batch"
    return number if row.first_seq <= seq < row.first_seq + row.own_count else None


def read_backlog(transaction: Transaction, state: State) -> Backlog:
    """What the cloud lacks, from the log's sums and the cursor of one snapshot."""
    changes = state.seq - state.shipped_seq
    oldest_ms = None
    if changes:
        number = batch_of_seq(transaction, state.incarnation, state.shipped_seq + 1)
        row = read_batch_row(transaction, number) if number is not None else None
        oldest_ms = row.time_ms if row is not None else None
    return Backlog(changes, state.ship_total - state.shipped_total, oldest_ms, state.open_upload_bytes)


def read_origin(transaction: Transaction, origin: Origin) -> OriginRow:
    """How far a remote log was taken in; zeros if it is not known."""
    data = transaction.get(transaction.tables.origins, origin[0] + origin[1])
    return OriginRow() if data is None else _origin_decoder.decode(data)


def join_acks(known: Acks, told: Acks) -> Acks:
    """The greatest of each: acknowledged once is acknowledged, also where a batch does not say it again."""
    joined: dict[Origin, int] = {}
    for site, incarnation, seq in (*known, *told):
        joined[site, incarnation] = max(seq, joined.get((site, incarnation), 0))
    return tuple([(*origin, seq) for origin, seq in sorted(joined.items())])


def put_origin(transaction: Transaction, origin: Origin, row: OriginRow) -> None:
    """Set how far a remote log was taken in."""
    transaction.put(transaction.tables.origins, origin[0] + origin[1], _encoder.encode(row))


def scan_origins(transaction: Transaction) -> Iterator[tuple[Origin, OriginRow]]:
    """Every remote log that was taken in."""
    for key, data in transaction.scan(transaction.tables.origins):
        yield (key[:SITE_SIZE], key[SITE_SIZE : SITE_SIZE + INCARNATION_SIZE]), _origin_decoder.decode(data)


class Former(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A log that was this machine's own: the last of its changes that stand here, the last of those that the cloud is
    known to hold, under which site id it was written, and when (batch, unix ms) and why it parted. No ``site``: what an
    older Skerry kept.
    """

    last_seq: int
    shipped_seq: int
    site: bytes = b""
    batch: int = 0
    at_ms: int = 0
    reason: str = ""
    anew: int = 0


_former_decoder = msgspec.msgpack.Decoder(Former)


def put_former(transaction: Transaction, incarnation: bytes, former: Former) -> None:
    """Close a log of this machine."""
    value = pack_u64(former.last_seq) + pack_u64(former.shipped_seq) + _encoder.encode(former)
    transaction.put(transaction.tables.incarnations, incarnation, value)


def read_former(transaction: Transaction, incarnation: bytes) -> Former | None:
    """What is known of a former incarnation of this machine; None if it is none."""
    data = transaction.get(transaction.tables.incarnations, incarnation)
    return None if data is None else _decode_former(data)


def scan_former(transaction: Transaction) -> list[tuple[bytes, Former]]:
    """Former incarnations of this machine, oldest first."""
    found = [(key, _decode_former(data)) for key, data in transaction.scan(transaction.tables.incarnations)]
    return sorted(found, key=lambda one: one[1].batch)


def _decode_former(data: bytes) -> Former:
    if len(data) == 16:
        return Former(unpack_u64(data), unpack_u64(data[8:]))
    return _former_decoder.decode(data[16:])


def is_applied(transaction: Transaction, site: bytes, state: State, dot: Dot) -> bool:
    """Whether the change with this dot was applied here already (each is applied exactly once)."""
    if dot.incarnation == state.incarnation and dot.site == site:
        return dot.seq <= state.seq
    if dot.seq <= read_origin(transaction, (dot.site, dot.incarnation)).seq:
        return True
    former = read_former(transaction, dot.incarnation)
    return former is not None and former.site in (b"", dot.site) and dot.seq <= former.last_seq


def is_shipped(transaction: Transaction, site: bytes, state: State, dot: Dot) -> bool:
    """Whether the cloud is verified to hold the change: it came from there, or the cursor is past it."""
    if dot.incarnation == state.incarnation and dot.site == site:
        return dot.seq <= state.shipped_seq
    former = read_former(transaction, dot.incarnation)
    if former is None or former.site not in (b"", dot.site) or dot.seq <= former.shipped_seq:
        return True
    return dot.seq <= read_origin(transaction, (dot.site, dot.incarnation)).seq
