"""ON DISK and ON WIRE: the body of a doom (family DOOM): which objects of the bucket their owner is about to delete.

MessagePack array of object names, relative to the realm's prefix, each under ``sites/``; 1 to ``NAMES_MAX`` of them.
The item key is the beginning of the BLAKE3 of the body: one item for each doom. A tombstone (the doom is ended: the
objects are gone, and every batch that told of them is, too) has no body.

A doom is a change of version 3: a site that does not know it must stop at it, or it would go on relying on those
objects. Not here: when objects are doomed and deleted (``replication/collector``), what a doom does to the index
(``cloud_rows``).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import blake3
import msgspec

from replication.change_format import ChangeInvalid
from replication.cloud_names import SITES_PREFIX

CHANGE_VERSION: Final = 3
NAMES_MAX: Final = 256
_ITEM_SIZE: Final = 16
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[str, ...])


def encode_doom(names: Sequence[str]) -> bytes:
    """The body that dooms these objects."""
    return _encoder.encode(tuple(names))


def decode_doom(body: bytes) -> tuple[str, ...]:
    """The objects a body dooms; ``ChangeInvalid``."""
    try:
        names = _decoder.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ChangeInvalid(f"not a doom: {error}") from error
    if not 1 <= len(names) <= NAMES_MAX or not all(name.startswith(SITES_PREFIX) for name in names):
        raise ChangeInvalid("a doom names no objects, too many, or some that are no site's")
    return names


def doom_item(body: bytes) -> bytes:
    """Item key of the doom with this body."""
    return blake3.blake3(body).digest()[:_ITEM_SIZE]
