"""ON DISK and ON WIRE: bodies of a version's documents (tags, ACL, lock, restore state), and which of several applies.

    change body of a version with an id (family 7, ``item_format``)    value
    change body of a null-slot object                                  identity 24 | value
    identity 24    hybrid clock 8 | site 16 of the write it belongs to: the head of its order, which survives a re-issue
                   under a new incarnation; so what was said of an overwritten object never shows on the next one

A dead change is a removal: no value, the identity as above.

    name        value                                                    among siblings (concurrent changes)
    retention   mode byte (0 none, 1 governance, 2 compliance) |         the greatest (mode, until)
                until u64 big endian, unix ms
    hold        b"ON" or b"OFF"                                          ON
    others      theirs; b"" is the same as a removal                     the greatest order

The same names and values in ``ObjectRecord.extra`` are what a version began with. Pure; merging stores no verdict.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Final, NamedTuple

from gateway.store.item_format import split_version_document
from gateway.store.version_ids import NULL_VID
from replication.change_format import ChangeInvalid

IDENTITY_SIZE: Final = 24
NAME_BYTES_MAX: Final = 255
RETENTION: Final = "retention"
HOLD: Final = "hold"
HOLD_ON: Final = b"ON"
HOLD_OFF: Final = b"OFF"
MODE_NONE: Final = 0
MODE_GOVERNANCE: Final = 1
MODE_COMPLIANCE: Final = 2
_RETENTION: Final = struct.Struct(">BQ")
RETENTION_SIZE: Final = 9
assert _RETENTION.size == RETENTION_SIZE


class Retention(NamedTuple):
    """Object lock retention: a ``MODE_…`` and the unix ms until which it holds. Compares as merging does."""

    mode: int
    until_ms: int


def encode_retention(retention: Retention) -> bytes:
    """Bytes of a retention. ``struct.error`` for what does not fit."""
    return _RETENTION.pack(*retention)


def decode_retention(value: bytes) -> Retention:
    """The retention in ``value``; none at all in b"" (a removal). ``ChangeInvalid`` for anything else."""
    if not value:
        return Retention(MODE_NONE, 0)
    if len(value) != RETENTION_SIZE or value[0] > MODE_COMPLIANCE:
        raise ChangeInvalid("not a retention")
    return Retention(*_RETENTION.unpack(value))


def check_version_document(name: str, value: bytes) -> None:
    """``ChangeInvalid`` if a document of this name cannot have this value."""
    if not 0 < len(name.encode()) <= NAME_BYTES_MAX:
        raise ChangeInvalid(f"a document's name has 1 to {NAME_BYTES_MAX} bytes")
    if name == RETENTION:
        decode_retention(value)
    elif name == HOLD and value not in (HOLD_ON, HOLD_OFF, b""):
        raise ChangeInvalid("a legal hold is ON or OFF")


def check_version_document_item(item: bytes, body: bytes, *, dead: bool) -> None:
    """``ValueError`` if a change of family 7 (of another site) cannot have this item key and body."""
    _, vid, _, name = split_version_document(item)
    if vid == NULL_VID:
        if len(body) < IDENTITY_SIZE:
            raise ChangeInvalid("it does not say which object it belongs to")
        body = body[IDENTITY_SIZE:]
    check_version_document(name, b"" if dead else body)


def choose_value(name: str, values: Sequence[bytes]) -> bytes:
    """The one of some siblings' values that applies; greatest order first, at least one, b"" for a removal."""
    if len(values) == 1:
        return values[0]
    if name == RETENTION:
        return max(values, key=decode_retention)
    if name == HOLD and HOLD_ON in values:
        return HOLD_ON
    return values[0]
