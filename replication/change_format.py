"""ON DISK and ON WIRE: one change, as it stands in the site's change log and in the cloud's log batches, verbatim.

MessagePack array, in this order (version 1; fields may only ever be added at the end, with defaults):

    0  version    int    1; 2 for a purge that may be void, 3 for a doom: readers of less would apply them wrongly
    1  site       bin16  origin site
    2  incarnation bin8  origin incarnation
    3  seq        int    dense per (site, incarnation), from 1
    4  hlc        int    hybrid clock, 64 bits
    5  family     int    which keyspace the item is of; opaque here (gateway/store/item_format.py numbers them)
    6  item       bin    the item's key; opaque here
    7  dead       bool   a tombstone
    8  replaces   array of [site, incarnation, seq]
    9  refs       array of [kind, chunk id bin32, size]  chunks the value needs: kind 0 data, 1 page of further refs
    10 body       bin    the value; opaque here; empty when dead

Valid if: version is known, ids have their sizes, seq >= 1, hlc and seq fit 64 bits. A version above ``READER_VERSION``
is ``ChangeTooNew``: the reader stops applying that log and says so; it never skips.

Not here: how changes are batched, sealed or named (log_format, batch_format).
"""

from __future__ import annotations

from typing import Final

import msgspec

from replication.crdt import INCARNATION_SIZE, SITE_SIZE, Dot, Entry, Write, entry_of

READER_VERSION: Final = 3
CHUNK_ID_SIZE: Final = 32
REF_DATA: Final = 0
REF_PAGE: Final = 1


class ChangeInvalid(ValueError):
    """Bytes that are no change: the log or batch that holds them is damaged or was not written by Skerry."""


class ChangeTooNew(ChangeInvalid):
    """A change written by a newer Skerry: upgrade this site; nothing of that log is applied until then."""


class Ref(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A chunk that a value needs: its kind (data, or a page listing further refs), chunk id, and plaintext size in
    bytes.

    For a page, ``size`` is the plaintext size of everything below it, so that offsets can be found without reading it.
    """

    kind: int
    id: bytes
    size: int


class _Wire(msgspec.Struct, array_like=True, frozen=True, gc=False):
    version: int
    site: bytes
    incarnation: bytes
    seq: int
    hlc: int
    family: int
    item: bytes
    dead: bool
    replaces: tuple[tuple[bytes, bytes, int], ...]
    refs: tuple[Ref, ...]
    body: bytes


class Change(msgspec.Struct, frozen=True, gc=False):
    """Something that happened to one item: the unit of merge, of the log, and of replication."""

    dot: Dot
    hlc: int
    family: int
    item: bytes
    dead: bool = False
    replaces: tuple[Dot, ...] = ()
    refs: tuple[Ref, ...] = ()
    body: bytes = b""
    version: int = 1
    """The lowest reader version that may apply it."""

    def write(self) -> Write:
        """The change as the lattice sees it."""
        return Write(self.dot, self.hlc, self.dead, self.body)

    def entry(self) -> Entry:
        """The entry this change alone makes, ready for ``merge``."""
        return entry_of(self.write(), frozenset(self.replaces))


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Wire)


def encode_change(change: Change) -> bytes:
    """Bytes of one change."""
    dot = change.dot
    return _encoder.encode(
        (
            change.version,
            dot.site,
            dot.incarnation,
            dot.seq,
            change.hlc,
            change.family,
            change.item,
            change.dead,
            change.replaces,
            change.refs,
            change.body,
        )
    )


def decode_change(data: bytes | memoryview) -> Change:
    """The change in ``data``; raises ``ChangeInvalid`` or ``ChangeTooNew``."""
    try:
        wire = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ChangeInvalid(f"not a change: {error}") from error
    if wire.version > READER_VERSION:
        raise ChangeTooNew(f"change of version {wire.version}; this Skerry reads up to {READER_VERSION}: upgrade it")
    if wire.version < 1 or wire.seq < 1 or not 0 <= wire.hlc < 1 << 64:
        raise ChangeInvalid("a change's version, sequence or clock is out of range")
    dots = [Dot(wire.site, wire.incarnation, wire.seq), *(Dot(*dot) for dot in wire.replaces)]
    if any(len(dot.site) != SITE_SIZE or len(dot.incarnation) != INCARNATION_SIZE for dot in dots):
        raise ChangeInvalid("a change names a site or an incarnation of the wrong size")
    if any(len(ref.id) != CHUNK_ID_SIZE or ref.size < 0 or ref.kind not in (REF_DATA, REF_PAGE) for ref in wire.refs):
        raise ChangeInvalid("a change refers to a chunk by something that is no chunk id")
    replaces = tuple(dots[1:])
    return Change(
        *(dots[0], wire.hlc, wire.family, wire.item, wire.dead, replaces, wire.refs, wire.body), version=wire.version
    )
