"""Making frames out of plaintext and plaintext out of frames, under the keys this process holds.

Stands between codec and sealing on one side and everything in the store that touches bytes of chunks on the other.
Every frame this process makes is born into one random *birth segment* of its own, drawn at start, with slots counted
up: births are unique in the realm, need no coordination, and say nothing about where a frame lies now. Not here: where
frames lie.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from functools import lru_cache

import blake3
import msgspec
from msgspec.structs import replace

from gateway.store.codec import Buffer, PayloadInvalid, decode_payload, encode_payload
from gateway.store.errors import ChunkUnavailable, Damaged
from replication.frame_format import (
    CODEC_PATCH,
    SALT_OFFSET,
    SALT_SIZE,
    SEGMENT_ID_SIZE,
    TAG_SIZE,
    FrameHeader,
    FrameInvalid,
    FrameName,
    decode_header,
)
from replication.sealing import Keyring, KeyUnknown, SealBroken, chunk_id, open_frame, reseal_frame, seal_frame

_NO_SALT = bytes(SALT_SIZE)


class SealedFrame(msgspec.Struct, frozen=True, gc=False):
    """A frame as it is written: its header, decoded and encoded, and the ciphertext."""

    header: FrameHeader
    encoded_header: bytes
    ciphertext: bytes


class FrameMaker:
    """Seals and opens frames. Any thread. ``keyring`` may be replaced by a newer one of the same realm at any time."""

    def __init__(self, keyring: Keyring) -> None:
        self.keyring = keyring
        self._segment = os.urandom(SEGMENT_ID_SIZE)
        self._slots = itertools.count()

    def chunk_id(self, plaintext: Buffer, *, local: bool = False) -> bytes:
        """The chunk id of a plaintext in this realm; another one in buckets that stay on their site (``local``).

        So nothing is deduplicated, or patched, across that border: what leaves never drags along what stays.
        """
        if local:
            return blake3.blake3(plaintext, key=_local_chunk_key(self.keyring.chunk_key)).digest()
        return chunk_id(self.keyring, plaintext)

    def has_id(self, plaintext: Buffer, claimed: bytes) -> bool:
        """Whether a chunk id is that of a plaintext, in any kind of bucket."""
        return claimed == self.chunk_id(plaintext) or claimed == self.chunk_id(plaintext, local=True)

    def seal(
        self, kind: int, identity: bytes, plaintext: Buffer, bases: Sequence[FrameName] = (), base: bytes = b""
    ) -> SealedFrame:
        """Encode and seal one chunk; a patch against ``bases`` (their joined plaintext: ``base``) if that helps."""
        codec, payload = encode_payload(plaintext, base)
        keyring = self.keyring
        header = FrameHeader(
            codec,
            kind,
            0,
            next(self._slots),
            len(payload) + TAG_SIZE,
            len(plaintext),
            keyring.current,
            self._segment,
            identity,
            _NO_SALT,
            tuple(bases) if codec == CODEC_PATCH else (),
        )
        encoded, ciphertext = seal_frame(keyring, header, payload)
        salt = encoded[SALT_OFFSET : SALT_OFFSET + SALT_SIZE]
        return SealedFrame(replace(header, salt=salt), encoded, ciphertext)

    def open(self, header: FrameHeader, ciphertext: Buffer, base: bytes = b"") -> bytes:
        """The plaintext of a frame, authenticated; ``Damaged`` if the frame is not what was sealed,
        ``ChunkUnavailable`` if this site lacks the epoch's key.

        The chunk id is not recomputed: the seal covers header and payload, so a frame that opens is the one made for
        it.
        """
        try:
            return decode_payload(header.codec, open_frame(self.keyring, header, ciphertext), header.raw_size, base)
        except KeyUnknown as error:
            raise ChunkUnavailable(f"chunk {header.chunk_id.hex()}: {error}; fetch the realm's keys") from error
        except (SealBroken, PayloadInvalid) as error:
            raise Damaged(f"chunk {header.chunk_id.hex()}: {error}") from error

    def take_over(self, header: FrameHeader, encoded: bytes, ciphertext: bytes) -> SealedFrame:
        """A frame that others made as it is kept here: verbatim, or sealed anew if its epoch is retired."""
        if header.epoch in self.keyring.retired:
            encoded, ciphertext = reseal_frame(self.keyring, encoded, ciphertext)
            header = decode_header(encoded)
        return SealedFrame(header, encoded, ciphertext)

    def open_foreign(self, header: FrameHeader, ciphertext: Buffer, base: bytes = b"") -> bytes:
        """As ``open``, and the plaintext is checked to have the chunk id the header claims: for frames others made."""
        plaintext = self.open(header, ciphertext, base)
        if not self.has_id(plaintext, header.chunk_id):
            raise Damaged(f"a frame claims to be chunk {header.chunk_id.hex()} and is not")
        return plaintext


@lru_cache(maxsize=4)
def _local_chunk_key(chunk_key: bytes) -> bytes:
    return blake3.blake3(b"skerry chunk ids of local buckets", key=chunk_key).digest()


def split_frame(data: bytes) -> tuple[FrameHeader, memoryview]:
    """Header and ciphertext of a whole encoded frame; ``Damaged`` if it is none or has another length."""
    try:
        header = decode_header(data)
    except FrameInvalid as error:
        raise Damaged(f"no frame where one should be: {error}") from error
    ciphertext = memoryview(data)[header.header_size :]
    if len(ciphertext) != header.stored_size:
        raise Damaged(f"frame of chunk {header.chunk_id.hex()} has another length than its header says")
    return header, ciphertext
