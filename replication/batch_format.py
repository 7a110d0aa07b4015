"""ON WIRE: one batch of a site's cloud log, the only commit point of a ship round.

    offset size field
     0     4    magic          b"SKL1"; b"SKL2": sealed anew under a later epoch, where it lay
     4     4    envelope size  little-endian
     8     ..   envelope       PURPOSE_CLOUD_LOG; context = site | incarnation | n u64 LE; ``padded_format`` b"SKB1"
    ..     ..   tail           ciphertexts of inline frames, one behind the other, then random bytes up to a Padmé size

The envelope's body is a MessagePack array (version 1; fields may only ever be added at the end, with defaults):

    0 n          int     dense from 1
    1 chain      bin32   BLAKE3 of the whole object of batch n-1; zeros for n = 1
    2 first_seq  int     of ``changes``; if there are none, of the next change to come
    3 changes    array   encoded changes, verbatim, dense in seq
    4 acks       array   of [site, incarnation, seq]: what the writer had applied of each other log
    5 sent_ms    int     the writer's wall clock
    6 index      bin     hash in the name of the index object this batch needs; empty: none
    7 frames     array   headers of the inline frames in the tail's order
    8 tail       bin32   BLAKE3 of the tail; zeros if there is none
    9 closed     bool    the log ends here: nothing will follow, whoever still wants to write it is fenced
   10 status     bin     what the writer tells of itself (``site_status_format``); empty: nothing

Inline ciphertexts lie outside the envelope because they are sealed already: so they can be fetched by range later.
Of a log that has ended what never leaves the bucket (``log_compaction``) is sealed anew in its place when its epoch is
to end (``rekeying``). Such an object says the same, without frames and index; its tail is the BLAKE3 that it first had,
which stays what ``chain`` names, and is bound into the envelope's context behind n.

A batch without changes may carry frames or an index: the bytes of a huge object go ahead of its change.
Valid if: the envelope opens in its place, n and sizes fit, frames fill the tail, the tail has its hash.

Not here: whether chain, n and seq follow what the reader has (puller), what changes mean.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Final

import blake3
import msgspec

from replication.cloud_names import INDEX_HASH_SIZE, log_name
from replication.crdt import INCARNATION_SIZE, SITE_SIZE
from replication.frame_format import FrameInvalid, decode_header
from replication.padded_format import CloudObjectInvalid, decode_padded, encode_padded, padme_size
from replication.ports import Frame, FrameLocation, Origin
from replication.sealing import PURPOSE_CLOUD_LOG, Keyring, SealBroken, open_envelope, seal_envelope

BATCH_VERSION: Final = 1
HASH_SIZE: Final = 32
_MAGIC: Final = b"SKL1"
_RESEALED_MAGIC: Final = b"SKL2"
_BODY_MAGIC: Final = b"SKB1"
_HEAD: Final = struct.Struct("<4sI")
HEAD_SIZE: Final = 8
assert _HEAD.size == HEAD_SIZE


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch; fields as in the table, inline frames with their ciphertexts."""

    n: int
    chain: bytes
    first_seq: int
    changes: tuple[bytes, ...]
    acks: Mapping[Origin, int] = field(default_factory=dict)
    sent_ms: int = 0
    index: bytes = b""
    frames: tuple[Frame, ...] = ()
    closed: bool = False
    status: bytes = b""

    @property
    def last_seq(self) -> int:
        """The sequence number of the last change; that before ``first_seq`` if there is none."""
        return self.first_seq + len(self.changes) - 1


class _Wire(msgspec.Struct, array_like=True, frozen=True, gc=False):
    n: int
    chain: bytes
    first_seq: int
    changes: tuple[bytes, ...]
    acks: tuple[tuple[bytes, bytes, int], ...]
    sent_ms: int
    index: bytes
    frames: tuple[bytes, ...]
    tail: bytes
    closed: bool = False
    status: bytes = b""


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Wire)


def hash_object(data: bytes) -> bytes:
    """BLAKE3 of a whole cloud object: what the next batch's ``chain`` must say."""
    return blake3.blake3(data).digest()


def chain_of(keyring: Keyring, origin: Origin, n: int, data: bytes) -> bytes:
    """What the batch behind this object must name. Of one that was sealed anew: what it was, if that is authentic."""
    if data[: len(_MAGIC)] == _RESEALED_MAGIC:
        with suppress(ValueError):
            decode_batch(keyring, origin, n, data)
            return data[-HASH_SIZE:]
    return hash_object(data)


def reseal_batch(keyring: Keyring, origin: Origin, n: int, data: bytes) -> bytes:
    """The object of a batch as it says the same under the current epoch, without inline frames and index: for what
    everybody has taken in. Errors as of ``decode_batch``.
    """
    batch, kept = decode_batch(keyring, origin, n, data), chain_of(keyring, origin, n, data)
    plain = encode_padded(
        _BODY_MAGIC, BATCH_VERSION, _encoder.encode(_wire_of(replace(batch, frames=(), index=b""), b""))
    )
    envelope = seal_envelope(keyring, PURPOSE_CLOUD_LOG, _context(origin, n) + kept, plain)
    return _HEAD.pack(_RESEALED_MAGIC, len(envelope)) + envelope + kept


def encode_batch(keyring: Keyring, origin: Origin, batch: Batch) -> bytes:
    """The sealed object of a batch."""
    tail = b"".join([frame.ciphertext for frame in batch.frames])
    tail += os.urandom(padme_size(len(tail)) - len(tail))
    body = encode_padded(_BODY_MAGIC, BATCH_VERSION, _encoder.encode(_wire_of(batch, tail)))
    envelope = seal_envelope(keyring, PURPOSE_CLOUD_LOG, _context(origin, batch.n), body)
    return _HEAD.pack(_MAGIC, len(envelope)) + envelope + tail


def decode_batch(keyring: Keyring, origin: Origin, n: int, data: bytes) -> Batch:
    """Batch ``n`` of ``origin``'s log; ``CloudObjectInvalid``, ``CloudObjectTooNew`` or ``SealBroken``
    (``KeyUnknown``).
    """
    begin, context = tail_offset(data), _context(origin, n)
    if data[: len(_MAGIC)] == _RESEALED_MAGIC:
        if len(data) != begin + HASH_SIZE:
            raise CloudObjectInvalid("a batch sealed anew has another length than its hash")
        context, data = context + data[begin:], data[:begin]
    body = open_envelope(keyring, PURPOSE_CLOUD_LOG, context, memoryview(data)[HEAD_SIZE:begin])
    try:
        wire = _decoder.decode(decode_padded(_BODY_MAGIC, BATCH_VERSION, body))
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise CloudObjectInvalid(f"not a batch: {error}") from error
    _check(wire, n)
    acks = {(site, incarnation): seq for site, incarnation, seq in wire.acks}
    frames = _read_tail(wire, data, begin)
    return Batch(
        *(wire.n, wire.chain, wire.first_seq, wire.changes, acks, wire.sent_ms, wire.index, frames),
        *(wire.closed, wire.status),
    )


def locate_inline(origin: Origin, batch: Batch, data: bytes) -> list[FrameLocation]:
    """Where the inline frames of a batch lie, given its object ``data``."""
    name, offset, located = log_name(origin, batch.n), tail_offset(data), []
    for frame in batch.frames:
        located.append(FrameLocation(frame.header, name, offset))
        offset += len(frame.ciphertext)
    return located


def tail_offset(data: bytes) -> int:
    """Where the tail of a batch's object begins; ``CloudObjectInvalid`` if ``data`` is none."""
    if len(data) < HEAD_SIZE:
        raise CloudObjectInvalid("shorter than a log batch")
    magic, size = _HEAD.unpack_from(data)
    if magic not in (_MAGIC, _RESEALED_MAGIC) or HEAD_SIZE + size > len(data):
        raise CloudObjectInvalid("not a log batch")
    return HEAD_SIZE + int(size)


def _wire_of(batch: Batch, tail: bytes) -> _Wire:
    return _Wire(
        batch.n,
        batch.chain,
        batch.first_seq,
        batch.changes,
        tuple(sorted((*who, seq) for who, seq in batch.acks.items())),
        batch.sent_ms,
        batch.index,
        tuple(frame.header for frame in batch.frames),
        hash_object(tail) if tail else bytes(HASH_SIZE),
        batch.closed,
        batch.status,
    )


def _check(wire: _Wire, n: int) -> None:
    if wire.n != n or len(wire.chain) != HASH_SIZE or wire.first_seq < 1 or len(wire.tail) != HASH_SIZE:
        raise CloudObjectInvalid("a batch's number, chain or sequence is out of range")
    if len(wire.index) not in (0, INDEX_HASH_SIZE) or (wire.closed and wire.changes):
        raise CloudObjectInvalid("a batch's index or end is out of range")
    for site, incarnation, seq in wire.acks:
        if len(site) != SITE_SIZE or len(incarnation) != INCARNATION_SIZE or seq < 0:
            raise CloudObjectInvalid("a batch acknowledges something that is no log")


def _read_tail(wire: _Wire, data: bytes, begin: int) -> tuple[Frame, ...]:
    tail = memoryview(data)[begin:]
    if (blake3.blake3(tail).digest() if len(tail) else bytes(HASH_SIZE)) != wire.tail:
        raise SealBroken("a batch's inline frames are not those it was sealed with")
    frames, offset = [], 0
    for header in wire.frames:
        try:
            size = decode_header(header).stored_size
        except FrameInvalid as error:
            raise CloudObjectInvalid(f"a batch's inline frame: {error}") from error
        if offset + size > len(tail):
            raise CloudObjectInvalid("a batch's inline frames do not fit its tail")
        frames.append(Frame(header, bytes(tail[offset : offset + size])))
        offset += size
    return tuple(frames)


def _context(origin: Origin, n: int) -> bytes:
    return origin[0] + origin[1] + n.to_bytes(8, "little")
