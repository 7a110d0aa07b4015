"""From a secret (a customer's key, a KMS key's material) to the keys of one object's own layer. Pure computation.

HKDF-SHA256 over the secret with the object's random salt gives three independent keys: for the cipher, for naming the
bytes (``etag``), and a check value that is stored to tell whether a secret is the right one. The check says nothing of
the secret or of the other two; secrets themselves are never stored.

The cipher is AES-256-CTR, so that any range can be opened: a key belongs to one object (or one upload), a nonce to one
part of it. It authenticates nothing: what lies beneath, the store's frames, does.
"""

from __future__ import annotations

import hmac
from hashlib import sha256
from typing import Final, NamedTuple

from cryptography.hazmat.primitives.ciphers import Cipher, CipherContext, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

KEY_SIZE: Final = 32
SALT_SIZE: Final = 32
NONCE_SIZE: Final = 12
WHOLE_NONCE: Final = bytes(NONCE_SIZE)
"""The nonce of an object written in one piece: its key is its own."""
_BLOCK: Final = 16
_INFO: Final = b"skerry object layer 1\0"


class LayerKeys(NamedTuple):
    """The keys of one object. Never logged, never stored but for ``check``."""

    cipher: bytes
    check: bytes
    name: bytes

    def __repr__(self) -> str:
        return "LayerKeys(…)"


def derive_keys(secret: bytes, salt: bytes, context: str = "") -> LayerKeys:
    """The keys of one object. ``context`` (SSE-KMS's encryption context) must be the same to get the same."""
    derived = HKDF(SHA256(), 3 * KEY_SIZE, salt, _INFO + context.encode()).derive(secret)
    return LayerKeys(derived[:KEY_SIZE], derived[KEY_SIZE : 2 * KEY_SIZE], derived[2 * KEY_SIZE :])


def start_cipher(keys: LayerKeys, nonce: bytes, offset: int = 0) -> CipherContext:
    """A running cipher from byte ``offset`` on; sealing and opening are the same."""
    counter = int.from_bytes(nonce + bytes(_BLOCK - NONCE_SIZE), "big") + offset // _BLOCK
    cipher = Cipher(algorithms.AES(keys.cipher), modes.CTR(counter.to_bytes(_BLOCK, "big"))).encryptor()
    cipher.update(bytes(offset % _BLOCK))
    return cipher


def layer_etag(keys: LayerKeys, md5: str) -> str:
    """The ETag of bytes with an MD5 (hex): 32 hex digits that tell nobody without the key what the bytes are.

    AWS: the ETag of an object under SSE-C or SSE-KMS is not the MD5 of its data.
    """
    return hmac.new(keys.name, bytes.fromhex(md5), sha256).hexdigest()[:32]
