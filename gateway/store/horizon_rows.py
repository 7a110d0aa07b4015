"""ON DISK (derived, deletable): the horizon of tombstones (``replication/tombstones``), in the index table ``meta``.

    meta  b"horizon"        StableCut, MessagePack array

Stands between ``apply`` (the record ``StableCut``) and ``graveyard``.
"""

from __future__ import annotations

from typing import Final

import msgspec

from gateway.store.index import Transaction
from gateway.store.log_format import StableCut
from replication.collection_ports import Horizon

_HORIZON: Final = b"horizon"
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(StableCut)


def put_horizon(transaction: Transaction, record: StableCut) -> None:
    """Remember it in place of the one before."""
    transaction.put(transaction.tables.meta, _HORIZON, _encoder.encode(record))


def read_horizon(transaction: Transaction) -> Horizon | None:
    """The one recorded last."""
    data = transaction.get(transaction.tables.meta, _HORIZON)
    if data is None:
        return None
    record = _decoder.decode(data)
    cut, resting_on = (
        {(site, incarnation): seq for site, incarnation, seq in rows} for rows in (record.cut, record.resting_on)
    )
    return Horizon(cut, resting_on, record.since_ms)
