"""What a collision says of one version, for who reads it: from the row of ``conflicts`` that its key has, if any.

Stands under ``views``; ``conflicts`` tells of whole collisions. Asked only where a key's head says that there is one.
"""

from __future__ import annotations

from gateway.store.index import Transaction
from gateway.store.object_format import decode_object
from gateway.store.object_rows import decode_conflict, read_head, read_row
from gateway.store.ports import Contest, Version


def read_contest(transaction: Transaction, uid: bytes, key: bytes, version: Version | None) -> Contest:
    """See ``ReadView.contest``."""
    data = transaction.get(transaction.tables.conflicts, uid + key)
    if data is None:
        return Contest()
    losers, broken = decode_conflict(data)
    if version is None:
        return Contest(losers)
    condition = version.record.condition
    header = condition.header if condition is not None and version.order in broken else ""
    return Contest(losers, _lost_to(transaction, uid, key) if version.id.order else "", header)


def _lost_to(transaction: Transaction, uid: bytes, key: bytes) -> str:
    """What has won the null slot of a key."""
    head = read_head(transaction, uid, key)
    winner = read_row(transaction, head.key_id, head.nulls[0]) if head is not None else None
    return "delete" if winner is None or winner.dead or decode_object(winner.body).marker else "write"
