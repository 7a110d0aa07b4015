"""ON WIRE: an index object: where the frames that one ship round packed lie.

Envelope (PURPOSE_INDEX; context = site | incarnation | n u64 LE) over ``padded_format`` b"SKI1", whose body is a
MessagePack array of packs: ``[pack BLAKE3 bin32, [[frame header bin, offset int], …]]``. Packs are of the same log: an
index cannot point anywhere else. Its name carries the beginning of its BLAKE3, and the batch that needs it names that.

Not here: inline frames, which their batch locates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from replication.batch_format import HASH_SIZE, hash_object
from replication.cloud_names import INDEX_HASH_SIZE, index_name, pack_name
from replication.frame_format import FrameInvalid, decode_header
from replication.pack_format import Pack
from replication.padded_format import CloudObjectInvalid, decode_padded, encode_padded
from replication.ports import FrameLocation, Origin
from replication.sealing import PURPOSE_INDEX, Keyring, open_envelope, seal_envelope

INDEX_VERSION: Final = 1
_MAGIC: Final = b"SKI1"


@dataclass(frozen=True, slots=True)
class IndexObject:
    """An index ready to be uploaded: what the batch says of it, its name and its bytes."""

    digest: bytes
    name: str
    data: bytes


class PackedFrames(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One pack of an index: its BLAKE3, and each frame's header and offset."""

    digest: bytes
    frames: tuple[tuple[bytes, int], ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[PackedFrames, ...])


def packed_frames(pack: Pack) -> PackedFrames:
    """What an index says of a pack."""
    return PackedFrames(pack.digest, tuple((place.header, place.offset) for place in pack.located))


def encode_index(keyring: Keyring, origin: Origin, n: int, packs: Sequence[PackedFrames]) -> IndexObject:
    """The sealed index of ship round ``n``."""
    body = encode_padded(_MAGIC, INDEX_VERSION, _encoder.encode(packs))
    data = seal_envelope(keyring, PURPOSE_INDEX, _context(origin, n), body)
    digest = hash_object(data)[:INDEX_HASH_SIZE]
    return IndexObject(digest, index_name(origin, n, digest), data)


def decode_index(keyring: Keyring, origin: Origin, n: int, data: bytes) -> list[FrameLocation]:
    """Where the frames lie; ``CloudObjectInvalid``, ``CloudObjectTooNew`` or ``SealBroken``."""
    plain = open_envelope(keyring, PURPOSE_INDEX, _context(origin, n), data)
    try:
        packs = _decoder.decode(decode_padded(_MAGIC, INDEX_VERSION, plain))
        for pack in packs:
            if len(pack.digest) != HASH_SIZE or any(offset < 0 for _, offset in pack.frames):
                raise CloudObjectInvalid("an index names a pack or an offset that cannot be")
            for header, _ in pack.frames:
                decode_header(header)
    except (msgspec.MsgspecError, FrameInvalid) as error:
        raise CloudObjectInvalid(f"not an index: {error}") from error
    return locate_packed(origin, packs)


def locate_packed(origin: Origin, packs: Sequence[PackedFrames]) -> list[FrameLocation]:
    """The locations that an index's packs spell."""
    return [
        FrameLocation(header, pack_name(origin, pack.digest), offset)
        for pack in packs
        for header, offset in pack.frames
    ]


def _context(origin: Origin, n: int) -> bytes:
    return origin[0] + origin[1] + n.to_bytes(8, "little")
