"""ON WIRE: a pack: the ciphertexts of many frames in one object, named by its BLAKE3.

    ciphertexts   one behind the other, from offset 0, in the trailer's order
    padding       keyed pseudo-random bytes, so that the whole object has a Padmé size
    trailer       envelope (PURPOSE_PACK; context = site | incarnation) over ``padded_format`` b"SKT1":
                  MessagePack array of frame headers
    footer        16 bytes: magic b"SKP1", version u32, trailer size u32, CRC-32C of the 12 bytes before; little-endian

The same frames under the same epoch for the same batch give the same bytes, hence the same name: a repeated upload
repeats itself. For another batch the name is another: once a pack was deleted, its name never comes back. So the
envelope's id and the padding are functions of the content under the realm's chunk-id key; nobody without it can tell
padding from ciphertext. A pack alone is enough to find its frames again: the index objects only save reading trailers.

Valid if: the footer's checksum holds, the trailer opens, frames and trailer fit. Not here: which frames go together
(plan).
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import blake3
import google_crc32c
import msgspec

from replication.batch_format import hash_object
from replication.cloud_names import pack_name
from replication.frame_format import FrameInvalid, decode_header
from replication.padded_format import CloudObjectInvalid, CloudObjectTooNew, decode_padded, encode_padded, padme_size
from replication.ports import Frame, FrameLocation, Origin
from replication.sealing import (
    ENVELOPE_OVERHEAD,
    PURPOSE_PACK,
    Keyring,
    open_envelope,
    seal_envelope,
)

PACK_VERSION: Final = 1
_MAGIC: Final = b"SKP1"
_TRAILER_MAGIC: Final = b"SKT1"
_FOOTER: Final = struct.Struct("<4sIII")
FOOTER_SIZE: Final = 16
_CRC_OFFSET: Final = 12
assert _FOOTER.size == FOOTER_SIZE

_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(tuple[bytes, ...])


@dataclass(frozen=True, slots=True)
class Pack:
    """A pack ready to be uploaded: its BLAKE3, name, bytes, and where its frames lie."""

    digest: bytes
    name: str
    data: bytes
    located: tuple[FrameLocation, ...]


def encode_pack(keyring: Keyring, origin: Origin, frames: Sequence[Frame], n: int = 0) -> Pack:
    """The pack of these frames for batch ``n``; a function of its arguments."""
    headers = _encoder.encode([frame.header for frame in frames])
    salt = n.to_bytes(8, "little") if n else b""
    seed = blake3.blake3(b"skerry pack" + origin[0] + origin[1] + headers + salt, key=keyring.chunk_key)
    trailer = seal_envelope(
        keyring,
        PURPOSE_PACK,
        origin[0] + origin[1],
        encode_padded(_TRAILER_MAGIC, PACK_VERSION, headers),
        identity=seed.digest(24),
    )
    size = sum([len(frame.ciphertext) for frame in frames]) + len(trailer) + FOOTER_SIZE
    padding = seed.digest(padme_size(size) - size, seek=64)
    data = b"".join([*[frame.ciphertext for frame in frames], padding, trailer, _encode_footer(len(trailer))])
    digest = hash_object(data)
    name = pack_name(origin, digest)
    located = _locate(name, [frame.header for frame in frames])
    return Pack(digest, name, data, tuple(located))


def decode_footer(footer: bytes) -> int:
    """The trailer's size, from the last ``FOOTER_SIZE`` bytes of a pack."""
    if len(footer) != FOOTER_SIZE:
        raise CloudObjectInvalid("shorter than a pack's footer")
    magic, version, size, crc = _FOOTER.unpack(footer)
    if magic != _MAGIC or google_crc32c.value(footer[:_CRC_OFFSET]) != crc:
        raise CloudObjectInvalid("not a pack, or its footer is damaged")
    if version > PACK_VERSION:
        raise CloudObjectTooNew(f"a pack of version {version}; this Skerry reads up to {PACK_VERSION}: upgrade it")
    if size < ENVELOPE_OVERHEAD:
        raise CloudObjectInvalid("a pack's trailer is too short to be one")
    return int(size)


def decode_pack(keyring: Keyring, origin: Origin, data: bytes) -> list[FrameLocation]:
    """Where each frame of a pack lies; ``CloudObjectInvalid``, ``CloudObjectTooNew`` or ``SealBroken``."""
    size = decode_footer(data[-FOOTER_SIZE:])
    begin = len(data) - FOOTER_SIZE - size
    if begin < 0:
        raise CloudObjectInvalid("a pack's trailer does not fit")
    plain = open_envelope(keyring, PURPOSE_PACK, origin[0] + origin[1], memoryview(data)[begin:-FOOTER_SIZE])
    try:
        headers = _decoder.decode(decode_padded(_TRAILER_MAGIC, PACK_VERSION, plain))
        located = _locate(pack_name(origin, hash_object(data)), headers)
        end = located[-1].offset + decode_header(headers[-1]).stored_size if located else 0
    except (msgspec.MsgspecError, FrameInvalid) as error:
        raise CloudObjectInvalid(f"a pack's trailer: {error}") from error
    if end > begin:
        raise CloudObjectInvalid("a pack's frames do not fit")
    return located


def _encode_footer(trailer_size: int) -> bytes:
    plain = _FOOTER.pack(_MAGIC, PACK_VERSION, trailer_size, 0)[:_CRC_OFFSET]
    crc: int = google_crc32c.value(plain)
    return plain + crc.to_bytes(4, "little")


def _locate(name: str, headers: Sequence[bytes]) -> list[FrameLocation]:
    located, offset = [], 0
    for header in headers:
        located.append(FrameLocation(header, name, offset))
        offset += decode_header(header).stored_size
    return located
