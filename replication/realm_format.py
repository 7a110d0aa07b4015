"""ON DISK and ON WIRE: the ``realm`` object, wrapped keys, and the text of a printed key.

REALM, plain, immutable, 56 bytes, the same in the bucket and in the site's key directory:

    offset size field
     0     4    magic       b"SKR1"
     4     1    version     1
     5     1    derivation  0 the provider gives the 32-byte root key, 1 scrypt of a passphrase
     6     1    scrypt log2 N
     7     1    scrypt r
     8     1    scrypt p
     9     3    zero
    12    16    realm id
    28    16    scrypt salt (zeros if derivation is 0)
    44     8    created, unix ms
    52     4    CRC-32C of bytes 0..51

It is not authenticated, and need not be: the realm id is bound into every seal, and parameters that somebody changed
give a root key that unwraps nothing. They are bounded, so that they cannot exhaust memory.

WRAPPED KEY: envelope (PURPOSE_KEY; epoch id = fingerprint of the wrapping key; context = key id) over

     0     1    kind        1 chunk-id key, 2 epoch key, 3 wrapping key (itself wrapped by root and by recovery key)
     1     7    zero
     8     8    created, unix ms
    16    32    the key

PRINTED KEY: ``skerry-realm-key-1 <64 hex> <8 hex checksum>`` or ``skerry-recovery-key-1 …``; the checksum is the
beginning of BLAKE3(label | key).

Not here: where keys come from (root_keys), which are needed (keys).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

import blake3
import google_crc32c

from replication.padded_format import CloudObjectInvalid, CloudObjectTooNew
from replication.sealing import KEY_SIZE, PURPOSE_KEY, Keyring, open_envelope, seal_envelope

REALM_VERSION: Final = 1
REALM_ID_SIZE: Final = 16
KEY_ID_SIZE: Final = 16
DERIVATION_NONE: Final = 0
DERIVATION_SCRYPT: Final = 1
SCRYPT_LOG2_N_MAX: Final = 20
KEY_CHUNK: Final = 1
KEY_EPOCH: Final = 2
KEY_WRAPPING: Final = 3
REALM_KEY_LABEL: Final = "skerry-realm-key-1"
RECOVERY_KEY_LABEL: Final = "skerry-recovery-key-1"

_MAGIC: Final = b"SKR1"
_REALM: Final = struct.Struct("<4sBBBBB3x16s16sQI")
REALM_SIZE: Final = 56
_CRC_OFFSET: Final = 52
assert _REALM.size == REALM_SIZE
_KEY: Final = struct.Struct("<B7xQ32s")
KEY_RECORD_SIZE: Final = 48
assert _KEY.size == KEY_RECORD_SIZE


@dataclass(frozen=True, slots=True)
class KeyDerivation:
    """How the root key comes from what the provider gives; scrypt's cost is ``2**log2_n * r * 128`` bytes of memory."""

    scrypt: bool = False
    log2_n: int = 0
    r: int = 0
    p: int = 0
    salt: bytes = bytes(16)


@dataclass(frozen=True, slots=True)
class Realm:
    """The realm object's fields."""

    id: bytes
    derivation: KeyDerivation
    created_ms: int


@dataclass(frozen=True, repr=False)
class KeyRecord:
    """An unwrapped key: its id, kind (``KEY_*``), creation time and bytes."""

    id: bytes
    kind: int
    created_ms: int
    key: bytes

    def __repr__(self) -> str:
        """Never the key."""
        return f"KeyRecord(id={self.id.hex()}, kind={self.kind})"


def encode_realm(realm: Realm) -> bytes:
    """The realm object."""
    how = realm.derivation
    fields = (int(how.scrypt), how.log2_n, how.r, how.p, realm.id, how.salt, realm.created_ms)
    plain = _REALM.pack(_MAGIC, REALM_VERSION, *fields, 0)[:_CRC_OFFSET]
    crc: int = google_crc32c.value(plain)
    return plain + crc.to_bytes(4, "little")


def decode_realm(data: bytes) -> Realm:
    """The realm in ``data``; ``CloudObjectInvalid`` or ``CloudObjectTooNew``."""
    if len(data) < 5 or data[:4] != _MAGIC:
        raise CloudObjectInvalid("not a realm object")
    if data[4] > REALM_VERSION:
        raise CloudObjectTooNew(f"a realm of version {data[4]}; this Skerry reads up to {REALM_VERSION}: upgrade it")
    if len(data) != REALM_SIZE:
        raise CloudObjectInvalid("a realm object of the wrong size")
    _, version, derivation, log2_n, r, p, realm, salt, created, crc = _REALM.unpack(data)
    if google_crc32c.value(data[:_CRC_OFFSET]) != crc or version < 1:
        raise CloudObjectInvalid("the realm object's checksum does not hold")
    if derivation not in (DERIVATION_NONE, DERIVATION_SCRYPT):
        raise CloudObjectTooNew("the realm's key is derived in a way this Skerry does not know: upgrade it")
    scrypt = derivation == DERIVATION_SCRYPT
    if scrypt and not (1 <= log2_n <= SCRYPT_LOG2_N_MAX and 1 <= r <= 16 and 1 <= p <= 16):
        raise CloudObjectInvalid("the realm's scrypt parameters are out of range")
    return Realm(realm, KeyDerivation(scrypt, log2_n, r, p, salt), created)


def fingerprint(realm: bytes, key: bytes) -> bytes:
    """The public name of a wrapping key, 16 bytes: says nothing of the key to who does not have it."""
    return blake3.blake3(b"skerry wrapping key" + realm, key=key).digest()[:KEY_ID_SIZE]


def wrap_key(realm: bytes, wrapping: bytes, record: KeyRecord) -> bytes:
    """The object that holds ``record`` wrapped by the key ``wrapping``."""
    plain = _KEY.pack(record.kind, record.created_ms, record.key)
    return seal_envelope(_ring(realm, wrapping), PURPOSE_KEY, record.id, plain)


def unwrap_key(realm: bytes, wrapping: bytes, key_id: bytes, data: bytes) -> KeyRecord:
    """The key in a wrapped key object; ``SealBroken`` (``KeyUnknown`` if another key wrapped it),
    ``CloudObjectInvalid``.
    """
    plain = open_envelope(_ring(realm, wrapping), PURPOSE_KEY, key_id, data)
    if len(plain) != KEY_RECORD_SIZE:
        raise CloudObjectInvalid("a wrapped key of the wrong size")
    kind, created, key = _KEY.unpack(plain)
    if kind not in (KEY_CHUNK, KEY_EPOCH, KEY_WRAPPING):
        raise CloudObjectTooNew("a wrapped key of a kind this Skerry does not know: upgrade it")
    return KeyRecord(key_id, kind, created, key)


class KeyTextInvalid(ValueError):
    """A line that is no realm or recovery key: says why, never what it held."""


def encode_key_text(label: str, key: bytes) -> str:
    """A key as people keep it: label, hex, checksum."""
    return f"{label} {key.hex()} {_checksum(label, key)}"


def decode_key_text(text: str) -> bytes:
    """The 32-byte key in one line of text (realm or recovery key); ``KeyTextInvalid``, which does not repeat it."""
    words = text.split()
    if len(words) != 3 or words[0] not in (REALM_KEY_LABEL, RECOVERY_KEY_LABEL):
        raise KeyTextInvalid(f"not a key text: it should read '{REALM_KEY_LABEL} <64 hex digits> <checksum>'")
    try:
        key = bytes.fromhex(words[1])
    except ValueError:
        raise KeyTextInvalid("a key text whose key is not hexadecimal") from None
    if len(key) != KEY_SIZE or words[2] != _checksum(words[0], key):
        raise KeyTextInvalid("a key text whose checksum does not hold: mistyped or cut off")
    return key


def _checksum(label: str, key: bytes) -> str:
    return blake3.blake3(label.encode() + key).digest()[:4].hex()


def _ring(realm: bytes, wrapping: bytes) -> Keyring:
    name = fingerprint(realm, wrapping)
    return Keyring(realm, b"", {name: wrapping}, name)
