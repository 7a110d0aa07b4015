"""SSE-C by headers: the key a client brings with every request for its object, and what is wrong with one. Pure.

The same three headers stand on writes and reads (``x-amz-server-side-encryption-customer-*``) and, for the source of a
copy, with ``x-amz-copy-source-`` in front. Source: S3 User Guide, "Using server-side encryption with customer-provided
keys", and API reference, "Error responses". A ``CustomerKey`` is never logged and never stored; its ``repr`` hides it.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from hmac import compare_digest
from typing import Final

from gateway.s3.errors import invalid_argument

KEY_SIZE: Final = 32
ALGORITHM: Final = "AES256"
SOURCE: Final = "x-amz-copy-source-"
_PREFIX: Final = "server-side-encryption-customer-"
HEADERS: Final = ("x-amz-" + _PREFIX + "algorithm", "x-amz-" + _PREFIX + "key", "x-amz-" + _PREFIX + "key-md5")
SOURCE_HEADERS: Final = tuple([name.replace("x-amz-", SOURCE, 1) for name in HEADERS])
KEY_MD5: Final = HEADERS[2]
_WHO: Final = "Requests specifying Server Side Encryption with Customer provided keys must provide"


class CustomerKey:
    """A client's 256-bit key, checked to be whole."""

    __slots__ = ("key",)

    def __init__(self, key: bytes) -> None:
        assert len(key) == KEY_SIZE
        self.key = key

    @property
    def md5(self) -> str:
        """Base64 of the key's MD5: what answers show."""
        return b64encode(hashlib.md5(self.key, usedforsecurity=False).digest()).decode()

    def __repr__(self) -> str:
        return "CustomerKey(…)"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CustomerKey) and compare_digest(self.key, other.key)

    def __hash__(self) -> int:
        return hash(self.key)


def parse_customer_key(headers: Mapping[str, str], *, source: bool = False) -> CustomerKey | None:
    """The key of folded ``headers``, None without any of the three; ``source``: that of a copy's source.

    ``InvalidArgument`` with AWS's words for an algorithm, key or MD5 that is missing, malformed or does not fit.
    """
    names = SOURCE_HEADERS if source else HEADERS
    if names[0] not in headers and names[1] not in headers and names[2] not in headers:
        return None
    algorithm, key_text, md5_text = (headers.get(name) for name in names)
    if algorithm != ALGORITHM:
        raise invalid_argument(f"{_WHO} a valid encryption algorithm.", names[0], algorithm)
    if not key_text:
        raise invalid_argument(f"{_WHO} an appropriate secret key.", names[1], None)
    key = _decode(key_text)
    if key is None or len(key) != KEY_SIZE:
        raise invalid_argument("The secret key was invalid for the specified algorithm.", names[1], None)
    if not md5_text:
        raise invalid_argument(f"{_WHO} the client calculated MD5 of the secret key.", names[2], None)
    digest = _decode(md5_text)
    if digest is None or not compare_digest(digest, hashlib.md5(key, usedforsecurity=False).digest()):
        raise invalid_argument(
            "The calculated MD5 hash of the key did not match the hash that was provided.", names[2], md5_text
        )
    return CustomerKey(key)


def _decode(text: str) -> bytes | None:
    try:
        return b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, ValueError):
        return None
