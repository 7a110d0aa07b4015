"""ON WIRE: a checkpoint: a manifest, and part objects with the folded state of a realm as one site had it.

Manifest: envelope (PURPOSE_CHECKPOINT; context = site | incarnation | n u64 LE | b"manifest") over ``padded_format``
b"SKC1", whose body is a MessagePack array (version 1; fields may only ever be added at the end, with defaults):

    0 made_ms   int     the writer's wall clock when the scan was done
    1 vector    array   of [site, incarnation, n, seq, chain bin32, sent_ms, acks, closed, status]: how far the writer
                        had taken in each log *before* the scan began, and what their writers had said, as in their
                        batches (of its own log: what was in the cloud); acks: of [site, incarnation, seq]
    2 reached   array   of [site, incarnation, n]: how far it had taken them in when the scan was done
    3 parts     array   of [BLAKE3 bin32, size, slices]: the part objects in order
    4 holds     array   of str: which buckets (``subscription``) the writer takes in; empty: all of the realm

Part: envelope (same purpose; context = site | incarnation | n u64 LE | b"part") over ``padded_format`` b"SKC2", whose
body is a MessagePack array of **slices**: bin, opaque here (the store's: ``gateway/store/slice_format.py``). A slice is
what one read transaction of the writer saw of one range of keys, not older than the vector. The manifest is written
last and names its parts by their hashes: what it does not name does not count.

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
from replication.ports import LogPosition, Origin, RemoteLog, Vector
from replication.sealing import PURPOSE_CHECKPOINT, Keyring, open_envelope, seal_envelope

CHECKPOINT_VERSION: Final = 1
_MANIFEST_MAGIC: Final = b"SKC1"
_PART_MAGIC: Final = b"SKC2"


@dataclass(frozen=True, slots=True)
class PartEntry:
    """A part object: the BLAKE3 it is named by, its size in bytes, and how many slices it holds."""

    digest: bytes
    size: int
    slices: int


@dataclass(frozen=True, slots=True)
class Manifest:
    """A checkpoint's manifest; fields as in the table."""

    made_ms: int
    vector: Vector
    reached: Mapping[Origin, int]
    parts: tuple[PartEntry, ...]
    holds: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all parts."""
        return sum(part.size for part in self.parts)

    @property
    def slices(self) -> int:
        """Slices of all parts."""
        return sum(part.slices for part in self.parts)


class _Log(msgspec.Struct, array_like=True, frozen=True, gc=False):
    site: bytes
    incarnation: bytes
    n: int
    seq: int
    chain: bytes
    sent_ms: int
    acks: tuple[tuple[bytes, bytes, int], ...]
    closed: bool = False
    status: bytes = b""


class _Wire(msgspec.Struct, array_like=True, frozen=True, gc=False):
    made_ms: int
    vector: tuple[_Log, ...]
    reached: tuple[tuple[bytes, bytes, int], ...]
    parts: tuple[tuple[bytes, int, int], ...]
    holds: tuple[str, ...] = ()


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Wire)
_slices_decoder = msgspec.msgpack.Decoder(list[bytes])


def encode_manifest(keyring: Keyring, origin: Origin, n: int, manifest: Manifest) -> bytes:
    """The sealed manifest of the writer's checkpoint ``n``."""
    vector = []
    for who, log in sorted(manifest.vector.items()):
        acks = tuple((*other, seq) for other, seq in sorted(log.acks.items()))
        at = log.position
        vector.append(_Log(*who, at.n, at.seq, at.chain, log.sent_ms, acks, log.closed, log.status))
    reached = tuple((*who, at) for who, at in sorted(manifest.reached.items()))
    parts = tuple((part.digest, part.size, part.slices) for part in manifest.parts)
    body = _encoder.encode(_Wire(manifest.made_ms, tuple(vector), reached, parts, manifest.holds))
    padded = encode_padded(_MANIFEST_MAGIC, CHECKPOINT_VERSION, body)
    return seal_envelope(keyring, PURPOSE_CHECKPOINT, _context(origin, n, b"manifest"), padded)


def decode_manifest(keyring: Keyring, origin: Origin, n: int, data: bytes) -> Manifest:
    """The manifest in ``data``; ``CloudObjectInvalid``, ``CloudObjectTooNew`` or ``SealBroken`` (``KeyUnknown``)."""
    body = open_envelope(keyring, PURPOSE_CHECKPOINT, _context(origin, n, b"manifest"), data)
    try:
        wire = _decoder.decode(decode_padded(_MANIFEST_MAGIC, CHECKPOINT_VERSION, body))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CloudObjectInvalid(f"not a checkpoint's manifest: {error}") from error
    vector: dict[Origin, RemoteLog] = {}
    for log in wire.vector:
        who = (log.site, log.incarnation)
        if not all(map(_is_log, (*log.acks, (*who, log.seq)))) or log.n < 1 or len(log.chain) != HASH_SIZE:
            raise CloudObjectInvalid("a checkpoint's vector has a position that cannot be")
        acks = {(site, incarnation): seq for site, incarnation, seq in log.acks}
        vector[who] = RemoteLog(LogPosition(log.n, log.seq, log.chain), acks, log.sent_ms, log.closed, log.status)
    if not all(map(_is_log, wire.reached)):
        raise CloudObjectInvalid("a checkpoint's writer reached something that is no log")
    if any(len(digest) != HASH_SIZE or size < 1 or slices < 1 for digest, size, slices in wire.parts):
        raise CloudObjectInvalid("a checkpoint names a part that cannot be")
    reached = {(site, incarnation): at for site, incarnation, at in wire.reached}
    return Manifest(wire.made_ms, vector, reached, tuple(PartEntry(*part) for part in wire.parts), wire.holds)


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


def _is_log(entry: tuple[bytes, bytes, int]) -> bool:
    site, incarnation, seq = entry
    return len(site) == SITE_SIZE and len(incarnation) == INCARNATION_SIZE and seq >= 0


def _context(origin: Origin, n: int, what: bytes) -> bytes:
    return origin[0] + origin[1] + n.to_bytes(8, "little") + what
