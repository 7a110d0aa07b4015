"""ON DISK (derived, deletable): how far a join by checkpoint is, in the index table ``meta``.

    meta  b"join"           JoinRow, MessagePack array
    meta  b"join slices"    slices joined so far u64

Stands between ``state_fold`` (which writes it as records are applied) and whoever asks: the replication that goes on
with a join, and whoever must not rely on what this site knows before it has caught up.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.store.index import Transaction
from gateway.store.index_format import pack_u64, unpack_u64
from gateway.store.log_format import VectorRow

_JOIN: Final = b"join"
_SLICES: Final = b"join slices"


class JoinRow(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A join: whose checkpoint and which, when it was made, its vector, how far each log must be taken in besides
    before the join is over, and whether all slices are joined.
    """

    site: bytes
    incarnation: bytes
    n: int
    made_ms: int
    vector: tuple[VectorRow, ...]
    targets: tuple[tuple[bytes, bytes, int], ...] = ()
    folded: bool = False


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(JoinRow)


def read_join(transaction: Transaction) -> JoinRow | None:
    """The join that is not over; None if there is none."""
    data = transaction.get(transaction.tables.meta, _JOIN)
    return None if data is None else _decoder.decode(data)


def put_join(transaction: Transaction, row: JoinRow) -> None:
    """Remember a join."""
    transaction.put(transaction.tables.meta, _JOIN, _encoder.encode(row))


def read_slices(transaction: Transaction) -> int:
    """How many slices of the join's checkpoint are joined."""
    data = transaction.get(transaction.tables.meta, _SLICES)
    return 0 if data is None else unpack_u64(data)


def put_slices(transaction: Transaction, count: int) -> None:
    """Set how many slices are joined."""
    transaction.put(transaction.tables.meta, _SLICES, pack_u64(count))


def drop_join(transaction: Transaction) -> None:
    """The join is over."""
    transaction.delete(transaction.tables.meta, _JOIN)
    transaction.delete(transaction.tables.meta, _SLICES)
