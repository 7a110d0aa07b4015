"""ON WIRE: a checkpoint: a manifest, and part objects with the folded state of a realm as one site had it.

Manifest: envelope (PURPOSE_CHECKPOINT; context = site | incarnation | n u64 LE | b"manifest") over ``padded_format``
b"SKC1", whose body is a MessagePack array (version 1; fields may only ever be added at the end, with defaults):

    0 made_ms   int     the writer's wall clock when the scan was done
    1 vector    array   of [site, incarnation, n, seq, chain bin32, sent_ms, acks]: how far the writer had taken in each
                        log *before* the scan began (of its own log: what is verified to be in the cloud); ``acks`` as
                        in that log's batch n: array of [site, incarnation, seq]
    2 parts     array   of [BLAKE3 bin32, size, slices]: the part objects in order
    3 counts    array   of int: keys, rows of versions, other items, frames in the cloud

Part: envelope (same purpose; context = site | incarnation | n u64 LE | b"part") over ``padded_format`` b"SKC2", whose
body is a MessagePack array of **slices**: bin, opaque here (the store's: ``gateway/store/checkpoint_slice_format.py``).
A slice is what one read transaction of the writer saw of one range of keys, and says as of which vector; it is taken in
as one record. The manifest is written last and names its parts by their hashes: what it does not name does not count.

Valid if: the envelope opens in its place, ids have their sizes, numbers are not negative, a part is what its hash says
and has as many slices as the manifest says.

Not here: what slices mean, which checkpoint to take (``checkpoint_reader``), when to write one (``checkpoint_writer``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from replication.batch_format import HASH_SIZE, hash_object
from replication.crdt import INCARNATION_SIZE, SITE_SIZE
from replication.padded_format import CloudObjectInvalid, decode_padded, encode_padded
from replication.ports import LogPosition, Origin
from replication.sealing import PURPOSE_CHECKPOINT, Keyring, open_envelope, seal_envelope

CHECKPOINT_VERSION: Final = 1
_MANIFEST_MAGIC: Final = b"SKC1"
_PART_MAGIC: Final = b"SKC2"


@dataclass(frozen=True, slots=True)
class VectorEntry:
    """How far one log was taken in: its position, and of that batch the writer's wall clock and its acks."""

    position: LogPosition
    sent_ms: int = 0
    acks: tuple[tuple[bytes, bytes, int], ...] = ()


Vector = Mapping[Origin, VectorEntry]


@dataclass(frozen=True, slots=True)
class PartEntry:
    """A part object: the BLAKE3 it is named by, its size in bytes, and how many slices it holds."""

    digest: bytes
    size: int
    slices: int


@dataclass(frozen=True, slots=True)
class Counts:
    """What a checkpoint holds: object keys, rows of their versions, other items, frames in the cloud."""

    keys: int = 0
    rows: int = 0
    items: int = 0
    frames: int = 0

    def __add__(self, other: Counts) -> Counts:
        """The sum of both."""
        return Counts(
            self.keys + other.keys, self.rows + other.rows, self.items + other.items, self.frames + other.frames
        )


@dataclass(frozen=True, slots=True)
class Manifest:
    """A checkpoint's manifest; fields as in the table."""

    made_ms: int
    vector: Vector
    parts: tuple[PartEntry, ...]
    counts: Counts = Counts()

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)

    @property
    def slices(self) -> int:
        """Slices of all parts."""
        return sum(part.slices for part in self.parts)


class _Wire(msgspec.Struct, array_like=True, frozen=True, gc=False):
    made_ms: int
    vector: tuple[tuple[bytes, bytes, int, int, bytes, int, tuple[tuple[bytes, bytes, int], ...]], ...]
    parts: tuple[tuple[bytes, int, int], ...]
    counts: tuple[int, int, int, int]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Wire)
_slices_decoder = msgspec.msgpack.Decoder(list[bytes])


def encode_manifest(keyring: Keyring, origin: Origin, n: int, manifest: Manifest) -> bytes:
    """The sealed manifest of the writer's checkpoint ``n``."""
    vector = []
    for who, entry in sorted(manifest.vector.items()):
        position = entry.position
        vector.append((*who, position.n, position.seq, position.chain, entry.sent_ms, entry.acks))
    parts = tuple((part.digest, part.size, part.slices) for part in manifest.parts)
    counts = manifest.counts
    numbers = (counts.keys, counts.rows, counts.items, counts.frames)
    body = _encoder.encode(_Wire(manifest.made_ms, tuple(vector), parts, numbers))
    padded = encode_padded(_MANIFEST_MAGIC, CHECKPOINT_VERSION, body)
    return seal_envelope(keyring, PURPOSE_CHECKPOINT, _context(origin, n, b"manifest"), padded)


def decode_manifest(keyring: Keyring, origin: Origin, n: int, data: bytes) -> Manifest:
    """The manifest in ``data``; ``CloudObjectInvalid``, ``CloudObjectTooNew`` or ``SealBroken`` (``KeyUnknown``)."""
    body = open_envelope(keyring, PURPOSE_CHECKPOINT, _context(origin, n, b"manifest"), data)
    try:
        wire = _decoder.decode(decode_padded(_MANIFEST_MAGIC, CHECKPOINT_VERSION, body))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CloudObjectInvalid(f"not a checkpoint's manifest: {error}") from error
    vector: dict[Origin, VectorEntry] = {}
    for site, incarnation, at, seq, chain, sent_ms, acks in wire.vector:
        logs = [(site, incarnation, seq), *acks]
        if any(len(who) != SITE_SIZE or len(life) != INCARNATION_SIZE or last < 0 for who, life, last in logs):
            raise CloudObjectInvalid("a checkpoint's vector names something that is no log")
        if at < 1 or len(chain) != HASH_SIZE:
            raise CloudObjectInvalid("a checkpoint's vector has a position that cannot be")
        vector[(site, incarnation)] = VectorEntry(LogPosition(at, seq, chain), sent_ms, acks)
    if any(len(digest) != HASH_SIZE or size < 1 or slices < 1 for digest, size, slices in wire.parts):
        raise CloudObjectInvalid("a checkpoint names a part that cannot be")
    return Manifest(wire.made_ms, vector, tuple(PartEntry(*part) for part in wire.parts), Counts(*wire.counts))


def encode_part(keyring: Keyring, origin: Origin, n: int, slices: Sequence[bytes]) -> tuple[PartEntry, bytes]:
    """A sealed part of checkpoint ``n``: its entry in the manifest, and its bytes."""
    padded = encode_padded(_PART_MAGIC, CHECKPOINT_VERSION, _encoder.encode(list(slices)))
    data = seal_envelope(keyring, PURPOSE_CHECKPOINT, _context(origin, n, b"part"), padded)
    return PartEntry(hash_object(data), len(data), len(slices)), data


def decode_part(keyring: Keyring, origin: Origin, n: int, entry: PartEntry, data: bytes) -> list[bytes]:
    """The slices of the part that the manifest's ``entry`` names; errors as ``decode_manifest``."""
    if hash_object(data) != entry.digest:
        raise CloudObjectInvalid("a checkpoint's part is not what its manifest names")
    body = open_envelope(keyring, PURPOSE_CHECKPOINT, _context(origin, n, b"part"), data)
    try:
        slices = _slices_decoder.decode(decode_padded(_PART_MAGIC, CHECKPOINT_VERSION, body))
    except msgspec.MsgspecError as error:
        raise CloudObjectInvalid(f"not a checkpoint's part: {error}") from error
    if len(slices) != entry.slices:
        raise CloudObjectInvalid("a checkpoint's part has not as many slices as its manifest says")
    return slices


def _context(origin: Origin, n: int, what: bytes) -> bytes:
    return origin[0] + origin[1] + n.to_bytes(8, "little") + what
