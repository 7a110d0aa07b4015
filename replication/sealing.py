"""Sealing: frames (chunks) and envelopes (everything else) under AES-256-GCM with keys no two payloads share.

Keys (HKDF-SHA256; ``realm`` and all ids are in every info string or in the AAD):

    segment key = HKDF(epoch key, info = purpose | random 24-byte segment id)
    salt        = BLAKE3 keyed with the segment key, over AAD | payload       (stored beside the ciphertext; of a frame
                  whose payload is the plaintext itself over the AAD alone, whose chunk id stands for the payload)
    frame key   = BLAKE3 keyed with the segment key, over "skerry frame key" | salt
    nonce       = 12 zero bytes: the key is used for this one payload only

so that neither a cloned machine nor a rewritten slot can use a key and nonce for two payloads: the same payload under
the same AAD gives the same ciphertext, another payload another key. AAD binds magic, version, realm, epoch, kind, ids
and birth slot.

ENVELOPE, ON DISK and ON WIRE (log batches, cloud log, packs' trailers, cloud index):

     0  4  magic   b"SKE1"
     4  1  purpose (PURPOSE_*)
     5  3  zero
     8 16  epoch id
    24 24  random id, fresh for each envelope (or the segment's, with a counter in the context)
    48 32  salt
    80 ..  ciphertext and 16-byte tag, to the end

The caller's ``context`` bytes (names, numbers) are bound as AAD; they are not stored.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import blake3
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CTR
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from msgspec.structs import replace

from replication.frame_format import (
    CODEC_STORED,
    HEADER_SIZE,
    SALT_OFFSET,
    TAG_SIZE,
    FrameHeader,
    decode_header,
    encode_header,
    salt_header,
)

KEY_SIZE: Final = 32
EPOCH_ID_SIZE: Final = 16
ENVELOPE_MAGIC: Final = b"SKE1"
PURPOSE_FRAME: Final = 1
PURPOSE_LOCAL_LOG: Final = 2
PURPOSE_CLOUD_LOG: Final = 3
PURPOSE_PACK: Final = 4
PURPOSE_INDEX: Final = 5
PURPOSE_KEY: Final = 6
PURPOSE_CHECKPOINT: Final = 7
PURPOSE_STATUS: Final = 8

_ENVELOPE: Final = struct.Struct("<4sB3x16s24s32s")
ENVELOPE_SIZE: Final = 80
assert _ENVELOPE.size == ENVELOPE_SIZE
ENVELOPE_OVERHEAD: Final = ENVELOPE_SIZE + TAG_SIZE
_NONCE: Final = bytes(12)
_BLOCK_SIZE: Final = 16


class SealBroken(ValueError):
    """Ciphertext that does not authenticate: damaged, moved to another place, or sealed for another realm."""


class KeyUnknown(SealBroken):
    """Sealed under an epoch key this site does not have (yet): fetch the realm's keys."""


@dataclass(frozen=True, repr=False)
class Keyring:
    """The unwrapped keys of a realm: chunk-id key (never rotates), epoch keys by id, and the epoch new segments use.

    ``retired``: epochs whose end somebody asked for: what lies under them is sealed anew wherever it is met.
    """

    realm: bytes
    chunk_key: bytes
    epochs: Mapping[bytes, bytes]
    current: bytes
    retired: frozenset[bytes] = frozenset()

    def __repr__(self) -> str:
        """Names the realm only: keys never appear in logs or errors."""
        return f"Keyring(realm={self.realm.hex()}, epochs={len(self.epochs)})"

    def epoch_key(self, epoch: bytes) -> bytes:
        """The key of an epoch; ``KeyUnknown`` if this site does not have it."""
        try:
            return self.epochs[epoch]
        except KeyError:
            raise KeyUnknown(f"no key for epoch {epoch.hex()}") from None


def chunk_id(keyring: Keyring, plaintext: bytes | memoryview) -> bytes:
    """Keyed BLAKE3 of a chunk's plaintext: 32 bytes."""
    return blake3.blake3(plaintext, key=keyring.chunk_key).digest()


def chunking_seed(keyring: Keyring) -> int:
    """The realm-secret seed of content-defined chunking: 64 bits."""
    return int.from_bytes(blake3.blake3(b"skerry chunking seed", key=keyring.chunk_key).digest()[:8], "big")


def purpose_key(keyring: Keyring, purpose: bytes) -> bytes:
    """A secret of the realm for one purpose of its own, 32 bytes: the same wherever the realm is open, for good."""
    return HKDF(SHA256(), KEY_SIZE, None, b"skerry purpose " + purpose).derive(keyring.chunk_key)


@lru_cache(maxsize=4096)
def segment_key(epoch_key: bytes, purpose: int, segment: bytes) -> bytes:
    """The key of one segment (or envelope) for one purpose."""
    return HKDF(SHA256(), KEY_SIZE, None, b"skerry segment" + bytes([purpose]) + segment).derive(epoch_key)


def seal_frame(keyring: Keyring, header: FrameHeader, payload: bytes | memoryview) -> tuple[bytes, bytes]:
    """Seal an encoded payload: (encoded header, ciphertext).

    ``stored_size`` and ``salt`` of ``header`` are filled in here.
    """
    key = segment_key(keyring.epoch_key(header.epoch), PURPOSE_FRAME, header.segment)
    if header.stored_size != len(payload) + TAG_SIZE:
        header = replace(header, stored_size=len(payload) + TAG_SIZE)
    encoded = encode_header(header)
    aad = _frame_aad(keyring.realm, encoded)
    hasher = blake3.blake3(aad, key=key)
    if header.codec != CODEC_STORED:
        # A stored payload is what the chunk id in the AAD was made of: hashing it once more would add nothing but a
        # tenth to the cost of a large PUT.
        hasher.update(payload)
    salt = hasher.digest()
    sealed = AESGCM(_frame_key(key, salt)).encrypt(_NONCE, payload, aad)
    return salt_header(encoded, salt), sealed


def open_frame(keyring: Keyring, header: FrameHeader, ciphertext: bytes | memoryview) -> bytes:
    """The encoded payload of a frame; ``SealBroken`` if it does not authenticate."""
    key = segment_key(keyring.epoch_key(header.epoch), PURPOSE_FRAME, header.segment)
    aad = _frame_aad(keyring.realm, encode_header(header))
    try:
        return AESGCM(_frame_key(key, header.salt)).decrypt(_NONCE, ciphertext, aad)
    except InvalidTag:
        raise SealBroken(f"frame of chunk {header.chunk_id.hex()} does not authenticate") from None


def reseal_frame(keyring: Keyring, encoded: bytes, ciphertext: bytes | memoryview) -> tuple[bytes, bytes]:
    """A frame sealed anew under the current epoch: (encoded header, ciphertext); ``SealBroken`` if it does not open.

    Its payload, its sizes and its name stay: whoever named it (a patch, a location) still means this one. Wherever it
    is done, the same bytes come out. No key is used for two payloads: an epoch has segment keys of its own.
    """
    header = decode_header(encoded)
    payload = open_frame(keyring, header, ciphertext)
    return seal_frame(keyring, replace(header, epoch=keyring.current), payload)


def frame_key(keyring: Keyring, header: FrameHeader) -> bytes:
    """The key of one frame, for ``decrypt_stretch``; ``KeyUnknown`` without its epoch's."""
    return _frame_key(segment_key(keyring.epoch_key(header.epoch), PURPOSE_FRAME, header.segment), header.salt)


def decrypt_stretch(key: bytes, ciphertext: bytes, offset: int) -> bytes:
    """The encoded payload of a frame from ``offset`` (a multiple of 16) on, from that much of its ciphertext.

    NOT authenticated (the seal covers whole frames): only for callers that know the plaintext's digest from having
    opened the whole frame. GCM is counter mode from block 2 on (SP 800-38D, 7.1).
    """
    assert offset % _BLOCK_SIZE == 0
    counter = _NONCE + (2 + offset // _BLOCK_SIZE).to_bytes(4, "big")
    return Cipher(AES(key), CTR(counter)).decryptor().update(ciphertext)


def seal_envelope(
    keyring: Keyring, purpose: int, context: bytes, plaintext: bytes, *, identity: bytes | None = None
) -> bytes:
    """Seal bytes under the current epoch, with a fresh random id; ``context`` must be given again to open.

    A caller that needs the same bytes for the same content (packs are named by their hash) gives the 24-byte
    ``identity`` itself: the payload's key is bound to the payload by its salt, so that a repeated id repeats no key.
    """
    identity = os.urandom(24) if identity is None else identity
    head = _ENVELOPE.pack(ENVELOPE_MAGIC, purpose, keyring.current, identity, bytes(32))[:48]
    key = segment_key.__wrapped__(keyring.epoch_key(keyring.current), purpose, identity)
    aad = head + keyring.realm + context
    salt = blake3.blake3(aad, key=key).update(plaintext).digest()
    return head + salt + AESGCM(_frame_key(key, salt)).encrypt(_NONCE, plaintext, aad)


def open_envelope(keyring: Keyring, purpose: int, context: bytes, data: bytes | memoryview) -> bytes:
    """The plaintext of an envelope; ``SealBroken`` if it is none, of another purpose or context, or does not
    authenticate.
    """
    if len(data) < ENVELOPE_OVERHEAD:
        raise SealBroken("shorter than an envelope")
    magic, found, epoch, identity, salt = _ENVELOPE.unpack(data[:ENVELOPE_SIZE])
    if magic != ENVELOPE_MAGIC or found != purpose:
        raise SealBroken("not an envelope of this kind")
    key = segment_key.__wrapped__(keyring.epoch_key(epoch), purpose, identity)
    aad = bytes(data[:48]) + keyring.realm + context
    try:
        return AESGCM(_frame_key(key, salt)).decrypt(_NONCE, data[ENVELOPE_SIZE:], aad)
    except InvalidTag:
        raise SealBroken("the envelope does not authenticate: damaged, or of another realm or place") from None


def envelope_epoch(data: bytes | memoryview) -> bytes | None:
    """The epoch that an envelope's first bytes (``ENVELOPE_SIZE``) name; None if they are none's. Not authenticated."""
    if len(data) < ENVELOPE_SIZE or data[:4] != ENVELOPE_MAGIC:
        return None
    return bytes(data[8:24])


def _frame_key(segment: bytes, salt: bytes) -> bytes:
    return blake3.blake3(b"skerry frame key" + salt, key=segment).digest()


def _frame_aad(realm: bytes, encoded: bytes) -> bytes:
    """What a frame's header says, but for its salt and checksum."""
    return b"skerry frame 1" + realm + encoded[:SALT_OFFSET] + encoded[HEADER_SIZE:]
