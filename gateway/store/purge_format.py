"""ON DISK and ON WIRE: what a permanent delete of a version saw, and whether it stands. Pure: one row of the table.

    change body of a dead VERSION change   b"": unconditional (before there were bodies, and for values never sent)
                                           else MessagePack array [1, array of lock names bin16, ascending]
    row of a tombstone (derived)           b"": unconditional; else MessagePack array [change body, order 40 and change
                                           body of the version that it hides] (both b"" while that did not arrive)

A **lock name** stands for one change of a version's ``retention`` or ``hold`` document: 16 bytes of BLAKE3 over its
clock, document name and value. Not its dot: a lock that is issued anew (after a fence) is the same lock.

Laws (``tests/gateway/store/test_purge.py``; V the values, P the purges, L the lock documents that nothing replaced):

* a purge replaces no value; it hides the value while it stands, so which of the two arrived first does not matter;
* ``is_removed(P, L)``: some purge of P is unconditional or had seen all of L (remove-wins among purges);
* a purge that had not seen some lock of L is **void**: concurrent, whatever the clocks say and whatever that lock says
  (a hold that is OFF may have replaced one that was ON). It stays void: whoever replaces that lock leaves another
  one which the purge had not seen either;
* purging again, having seen the lock, replaces the void purges and stands.
"""

from __future__ import annotations

from collections.abc import Iterable, Set
from typing import Final, NamedTuple

import blake3
import msgspec

from replication.change_format import ChangeInvalid, ChangeTooNew
from replication.crdt import Write

PURGE_VERSION: Final = 1
CHANGE_VERSION: Final = 2
"""Of a change with such a body: who would take it for unconditional must not apply it."""
LOCK_NAME_SIZE: Final = 16
UNCONDITIONAL: Final = b""
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[int, list[bytes]])
_row_decoder = msgspec.msgpack.Decoder(tuple[bytes, bytes, bytes])


class Hidden(NamedTuple):
    """A value that a purge hides: its order (40 bytes) and change body."""

    order: bytes
    body: bytes


class Tombstone(NamedTuple):
    """A purge as a row keeps it: its change body, and the value it hides, if that is known here."""

    purge: bytes
    hidden: Hidden | None


def lock_name(document: str, write: Write) -> bytes:
    """The name of one change of a version's lock: a function of what it says and when, not of who issued it how."""
    text = document.encode() + (b"\0-" if write.dead else b"\0+")
    return blake3.blake3(write.hlc.to_bytes(8, "big") + text + write.body).digest()[:LOCK_NAME_SIZE]


def encode_purge(saw: Iterable[bytes]) -> bytes:
    """Body of a purge that saw these locks (names)."""
    return _encoder.encode((PURGE_VERSION, sorted(saw)))


def decode_purge(body: bytes) -> frozenset[bytes] | None:
    """Names of the locks a purge had seen; None if it is unconditional. ``ChangeInvalid``, ``ChangeTooNew``."""
    if body == UNCONDITIONAL:
        return None
    try:
        version, saw = _decoder.decode(body)
    except msgspec.MsgspecError as error:
        raise ChangeInvalid(f"not a purge: {error}") from error
    if version != PURGE_VERSION:
        raise ChangeTooNew(f"purge of version {version}: upgrade this site")
    if any(len(name) != LOCK_NAME_SIZE for name in saw):
        raise ChangeInvalid("a purge names a lock by something that is no name")
    return frozenset(saw)


def is_removed(purges: Iterable[bytes], locks: Set[bytes]) -> bool:
    """Whether a version with these purges (bodies) and unreplaced locks (names) is removed for good."""
    return any((saw := decode_purge(purge)) is None or locks <= saw for purge in purges)


def encode_tombstone(tombstone: Tombstone) -> bytes:
    """Bytes of a tombstone's row."""
    if tombstone.purge == UNCONDITIONAL:
        return UNCONDITIONAL
    return _encoder.encode((tombstone.purge, *(tombstone.hidden or (b"", b""))))


def decode_tombstone(data: bytes) -> Tombstone:
    """The tombstone in a row; ``ChangeInvalid`` if there is none."""
    if data == UNCONDITIONAL:
        return Tombstone(UNCONDITIONAL, None)
    try:
        purge, order, body = _row_decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ChangeInvalid(f"not a tombstone: {error}") from error
    return Tombstone(purge, Hidden(order, body) if order else None)
