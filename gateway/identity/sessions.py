"""Temporary credentials: what a session token carries, sealed so that every site of the realm can open it. Stateless.

    salt   = 24 random bytes
    token  = base64url( 1 | salt | AES-256-GCM(key = BLAKE3("token" | salt, keyed), nonce = 12 zero bytes,
                                               payload = zlib(MessagePack(Session)), AAD = access key id) )
    secret = base64url( BLAKE3("secret" | salt | access key id, keyed) [:30] )             40 characters

The keying key is the realm's for this purpose, so any worker of any site verifies what another one issued, and nothing
has to be stored or replicated; a key is used for one payload only. The secret is not in the token: who sees only the
token learns neither it nor what is inside. What ends a session before its time is not in here, but what it is of: a
role or user that is gone or disabled (``session_principals``).
"""

from __future__ import annotations

import secrets
import zlib
from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final, NamedTuple

import blake3
import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from gateway.identity.users import new_unique_id
from gateway.s3.errors import InvalidToken

PURPOSE: Final = b"sts session 1"
"""What the realm's key is asked for."""
OF_ROLE: Final = "role"
OF_USER: Final = "user"
OF_FEDERATED: Final = "federated"
_VERSION: Final = 1
_SALT_SIZE: Final = 24
_NONCE: Final = bytes(12)
_TOKEN_CHARACTERS_MAX: Final = 32_768
_PAYLOAD_BYTES_MAX: Final = 262_144


class Session(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What a token says. ``kind``: ``OF_ROLE``, ``OF_USER`` or ``OF_FEDERATED``; ``subject``: the role's or user's id.

    ``policies``: session policies as documents, ``policy_arns``: as managed policies; both empty: not narrowed,
    but that a federated session then may nothing.
    ``issuer_key``: of a user's session, the key that asked for it. ``values``: condition keys (lower case) that the
    session brings along, such as who a web identity is and its tags. ``transitive``: names (lower case) of those of its
    tags that the sessions which come of it inherit.
    """

    version: int = _VERSION
    kind: str = OF_ROLE
    account: str = ""
    subject: str = ""
    role: str = ""
    name: str = ""
    issued_s: int = 0
    expires_s: int = 0
    policies: tuple[str, ...] = ()
    policy_arns: tuple[str, ...] = ()
    issuer_key: str = ""
    values: dict[str, str] = {}
    transitive: tuple[str, ...] = ()


class Credentials(NamedTuple):
    """Temporary credentials as they are handed out."""

    access_key: str
    secret: str
    token: str
    expires_s: int


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(Session)


class SessionMaker:
    """Issues and opens sessions. ``key``: 32 bytes, the realm's for ``PURPOSE``."""

    def __init__(self, key: bytes) -> None:
        self._key = key

    def issue(self, session: Session) -> Credentials:
        """Fresh credentials for a session."""
        access_key, salt = "ASIA" + new_unique_id("")[:16], secrets.token_bytes(_SALT_SIZE)
        payload = zlib.compress(_encoder.encode(session))
        sealed = AESGCM(self._derive(b"token", salt)).encrypt(_NONCE, payload, access_key.encode())
        token = urlsafe_b64encode(bytes((_VERSION,)) + salt + sealed).decode()
        return Credentials(access_key, self._secret(salt, access_key), token, session.expires_s)

    def open(self, access_key: str, token: str) -> tuple[Session, str]:
        """The session in a token and its secret; ``InvalidToken`` if it is none, or another access key's."""
        try:
            data = urlsafe_b64decode(token.encode("ascii")) if len(token) <= _TOKEN_CHARACTERS_MAX else b""
            if len(data) <= 1 + _SALT_SIZE or data[0] != _VERSION or urlsafe_b64encode(data).decode() != token:
                raise InvalidToken  # written in no other way: one session is remembered once
            salt = data[1 : 1 + _SALT_SIZE]
            key = self._derive(b"token", salt)
            payload = AESGCM(key).decrypt(_NONCE, data[1 + _SALT_SIZE :], access_key.encode())
            # Only what this realm sealed comes this far; the bound keeps even that small.
            session = _decoder.decode(zlib.decompressobj().decompress(payload, _PAYLOAD_BYTES_MAX))
        except (ValueError, InvalidTag, zlib.error, msgspec.MsgspecError):
            raise InvalidToken from None
        if session.version != _VERSION:
            raise InvalidToken
        return session, self._secret(salt, access_key)

    def _derive(self, purpose: bytes, rest: bytes) -> bytes:
        return blake3.blake3(purpose + b"\0" + rest, key=self._key).digest()

    def _secret(self, salt: bytes, access_key: str) -> str:
        return urlsafe_b64encode(self._derive(b"secret", salt + access_key.encode())[:30]).decode()
