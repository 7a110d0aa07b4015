"""ON DISK and ON WIRE: a slice of a store's folded state, as one read transaction saw it.

Stands between ``state_export`` (which makes slices for a checkpoint), the change log (which keeps each as it came, in a
``Folded`` record) and ``state_fold`` (which joins them into the index). Replication carries them as opaque bytes.

    offset size field
     0     1    version       1: lowest reader version that may use it
     1     1    kind          1 marks, 2 items, 3 objects, 4 locations
     2     4    body size     little-endian
     6     ..   body          one zstd frame over a MessagePack array (fields may only ever be added at the end):

    marks      [dot 32, …]            changes that were replaced and have not been seen
    items      after, upto, rows      row: key (family u8 | item), [[order 40, dead, body], …] unreplaced
    objects    after, upto, rows      row: bucket uid | S3 key, greatest clock seen, null slot (nil: told elsewhere,
                                      else [[order, dead, body], …]), versions [[vid, [[order, body], …] values,
                                      [[order, purge], …]], …], at_least, at_most
    locations  names, rows            row: index of the object's name, offset, encoded frame header

A slice of items or objects tells everything there is of keys greater than ``after`` up to and including ``upto``
(both empty: no bound), so what it does not tell is not there. Of a key with very many versions a slice tells those
whose clock is within [at_least, at_most]; the one that begins it tells the null slot.

Valid if: it decodes, orders and dots have their sizes, keys ascend within the bounds.
"""

from __future__ import annotations

import struct
from itertools import pairwise
from typing import Final

import msgspec
import zstandard

from gateway.store.version_ids import ORDER_SIZE
from replication.change_format import ChangeInvalid, ChangeTooNew

SLICE_VERSION: Final = 1
KIND_MARKS: Final = 1
KIND_ITEMS: Final = 2
KIND_OBJECTS: Final = 3
KIND_LOCATIONS: Final = 4
CLOCK_MAX: Final = (1 << 64) - 1
RAW_BYTES_MAX: Final = 64 << 20
_DOT_SIZE: Final = 32
_LEVEL: Final = 1
_HEAD: Final = struct.Struct("<BBI")
HEAD_SIZE: Final = 6
assert _HEAD.size == HEAD_SIZE


class Sibling(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An unreplaced write of an item: its order (clock and dot), whether it is a tombstone, its body."""

    order: bytes
    dead: bool
    body: bytes


class FoldedVersion(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One version id: its unreplaced values and purges, each with its order."""

    vid: bytes
    values: tuple[tuple[bytes, bytes], ...]
    purges: tuple[tuple[bytes, bytes], ...] = ()


class FoldedKey(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One S3 key: ``key`` is bucket uid and key; versions are those with clocks in [at_least, at_most]."""

    key: bytes
    top_hlc: int
    nulls: tuple[Sibling, ...] | None
    versions: tuple[FoldedVersion, ...] = ()
    at_least: int = 0
    at_most: int = CLOCK_MAX


class FoldedItem(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One item of any other family: ``key`` is family and item."""

    key: bytes
    live: tuple[Sibling, ...]


class Marks(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Dots that some write replaced and that had not been seen."""

    dots: tuple[bytes, ...]


class Items(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A range of items."""

    after: bytes
    upto: bytes
    rows: tuple[FoldedItem, ...]


class Objects(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A range of keys."""

    after: bytes
    upto: bytes
    rows: tuple[FoldedKey, ...]


class Locations(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """Where frames lie in the cloud: (index in ``names``, offset, encoded header)."""

    names: tuple[str, ...]
    rows: tuple[tuple[int, int, bytes], ...]


Slice = Marks | Items | Objects | Locations
_KINDS: Final = {Marks: KIND_MARKS, Items: KIND_ITEMS, Objects: KIND_OBJECTS, Locations: KIND_LOCATIONS}
_decoders: Final = {number: msgspec.msgpack.Decoder(kind) for kind, number in _KINDS.items()}
_encoder = msgspec.msgpack.Encoder()


def encode_slice(content: Slice) -> bytes:
    """Bytes of a slice."""
    body = zstandard.ZstdCompressor(level=_LEVEL).compress(_encoder.encode(content))
    return _HEAD.pack(SLICE_VERSION, _KINDS[type(content)], len(body)) + body


def decode_slice(data: bytes) -> Slice:
    """The slice in ``data``; ``ChangeInvalid``, or ``ChangeTooNew``: upgrade this site."""
    if len(data) < HEAD_SIZE:
        raise ChangeInvalid("shorter than a slice of a checkpoint")
    version, kind, size = _HEAD.unpack_from(data)
    if version > SLICE_VERSION or kind not in _decoders:
        raise ChangeTooNew(f"a slice of a checkpoint of version {version}, kind {kind}: upgrade this site")
    if version < 1 or HEAD_SIZE + size != len(data):
        raise ChangeInvalid("a slice of a checkpoint does not fit its size")
    try:
        raw = zstandard.ZstdDecompressor().decompress(data[HEAD_SIZE:], max_output_size=RAW_BYTES_MAX)
        content: Slice = _decoders[kind].decode(raw)
    except (zstandard.ZstdError, msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ChangeInvalid(f"not a slice of a checkpoint: {error}") from error
    if not _is_valid(content):
        raise ChangeInvalid("a slice of a checkpoint names something by an id of the wrong size, or out of order")
    return content


def _is_valid(content: Slice) -> bool:
    if isinstance(content, Marks):
        return all(len(dot) == _DOT_SIZE for dot in content.dots)
    if isinstance(content, Locations):
        return all(0 <= name < len(content.names) and offset >= 0 for name, offset, _ in content.rows)
    keys = [row.key for row in content.rows]
    ascending = all(one < other for one, other in pairwise(keys))
    within = not keys or (keys[0] >= content.after and (not content.upto or keys[-1] <= content.upto))
    if isinstance(content, Items):
        orders = [sibling.order for row in content.rows for sibling in row.live]
        return ascending and within and all(len(order) == ORDER_SIZE for order in orders)
    return ascending and within and all(map(_is_valid_key, content.rows))


def _is_valid_key(row: FoldedKey) -> bool:
    for sibling in row.nulls or ():
        if len(sibling.order) != ORDER_SIZE:
            return False
    for version in row.versions:
        clock = int.from_bytes(version.vid[:8], "big")
        if len(version.vid) != 16 or not row.at_least <= clock <= row.at_most:
            return False
        if any(len(order) != ORDER_SIZE for order, _ in (*version.values, *version.purges)):
            return False
    return True
