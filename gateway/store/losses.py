"""ON DISK (derived, deletable): bytes that are lost, as an operator accepted, in the index table ``meta``.

    meta  b"lost" | chunk id 32      empty

Stands between ``apply`` (the record ``Lost``) and whoever meets a chunk that is nowhere. Where the bytes of an own
change are damaged or gone, on this site and in the cloud, the log stops in front of that change: its order has no gaps,
and a change is never seen elsewhere before its bytes. Accepting says of a chunk that there is nothing to wait for. Then
the damaged frame is given up (what is left of it is none any more, not for a rebuild either), and the change goes as it
is: every site shows the version and nobody has its bytes; reading them is ``ChunkLost`` here, unknown elsewhere.
Whatever brings the bytes, a client that writes them again or another site's log that locates them, makes them whole
wherever the chunk is needed.

A mark ends with the need for its chunk, or when a frame is here again: a later damage is another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.store.index import Transaction

_LOST: Final = b"lost"


def put_accepted(transaction: Transaction, chunk_id: bytes) -> None:
    """The loss of this chunk is accepted."""
    transaction.put(transaction.tables.meta, _LOST + chunk_id, b"")


def drop_accepted(transaction: Transaction, chunk_id: bytes) -> None:
    """It is here again, or needed no more."""
    transaction.delete(transaction.tables.meta, _LOST + chunk_id)


def is_accepted(transaction: Transaction, chunk_id: bytes) -> bool:
    """Whether the chunk's loss was accepted and no frame of it came since. (The cloud may have it by now.)"""
    return transaction.get(transaction.tables.meta, _LOST + chunk_id) is not None


def scan_accepted(transaction: Transaction) -> Iterator[bytes]:
    """Ids of the chunks whose loss was accepted."""
    for key, _ in transaction.scan(transaction.tables.meta, _LOST, _LOST):
        yield key[len(_LOST) :]
