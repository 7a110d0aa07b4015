"""Digests and checksums of bodies: streaming hashers, combination over parts, and which algorithm may be what. Pure.

Algorithms by AWS's names. A *full object* checksum is that of the bytes; a *composite* one is the checksum of the
parts' checksums, written with ``-N``. The CRCs of parts combine into the full object's without reading it again.
Source: "Checking object integrity in Amazon S3", User Guide.
"""

from __future__ import annotations

import binascii
import hashlib
from base64 import b64decode, b64encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple, Protocol

import awscrt.checksums
import google_crc32c

FULL_OBJECT: Final = "FULL_OBJECT"
COMPOSITE: Final = "COMPOSITE"


class Hasher(Protocol):
    """A running digest."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take more bytes."""

    def digest(self) -> bytes:
        """The digest so far, big endian for CRCs."""


class _Crc:
    """A running CRC as a ``Hasher``."""

    __slots__ = ("_extend", "_size", "_value")

    def __init__(self, extend: Callable[[Any, int], int], size: int) -> None:
        self._extend = extend
        self._size = size
        self._value = 0

    def update(self, data: bytes | memoryview, /) -> None:
        self._value = self._extend(data, self._value)

    def digest(self) -> bytes:
        return self._value.to_bytes(self._size, "big")


class _XXHash:
    """awscrt's xxHash as a ``Hasher``: its digest ends it, so the digest is kept."""

    __slots__ = ("_digest", "_hash")

    def __init__(self, make: Callable[[], Any]) -> None:
        self._hash = make()
        self._digest: bytes | None = None

    def update(self, data: bytes | memoryview, /) -> None:
        self._hash.update(bytes(data))  # it takes no memoryview

    def digest(self) -> bytes:
        if self._digest is None:
            self._digest = bytes(self._hash.finalize())
        return self._digest


def _extend_crc32c(data: bytes | memoryview, value: int) -> int:
    # google_crc32c takes bytes only; awscrt takes any buffer at the same speed once a body is large.
    if isinstance(data, bytes):
        return int(google_crc32c.extend(value, data))
    return int(awscrt.checksums.crc32c(data, value))


class Algorithm(NamedTuple):
    """One checksum algorithm: AWS's name, digest size in bytes, how to start it, which types a multipart object may
    have, and how CRCs of neighbours combine (first, second, length of the second).
    """

    name: str
    size: int
    start: Callable[[], Hasher]
    types: tuple[str, ...]
    combine: Callable[[int, int, int], int] | None = None

    @property
    def header(self) -> str:
        """Its request and response header."""
        return "x-amz-checksum-" + self.name.lower()

    @property
    def element(self) -> str:
        """Its XML element."""
        return "Checksum" + self.name


_BOTH = (COMPOSITE, FULL_OBJECT)
_crt = awscrt.checksums
ALGORITHMS: Final[Mapping[str, Algorithm]] = {
    algorithm.name: algorithm
    for algorithm in (
        Algorithm("CRC32", 4, lambda: _Crc(_crt.crc32, 4), _BOTH, _crt.combine_crc32),
        Algorithm("CRC32C", 4, lambda: _Crc(_extend_crc32c, 4), _BOTH, _crt.combine_crc32c),
        Algorithm("CRC64NVME", 8, lambda: _Crc(_crt.crc64nvme, 8), (FULL_OBJECT,), _crt.combine_crc64nvme),
        Algorithm("SHA1", 20, lambda: hashlib.sha1(usedforsecurity=False), (COMPOSITE,)),
        Algorithm("SHA256", 32, hashlib.sha256, (COMPOSITE,)),
        Algorithm("SHA512", 64, hashlib.sha512, (COMPOSITE,)),
        Algorithm("MD5", 16, lambda: hashlib.md5(usedforsecurity=False), (COMPOSITE,)),
        Algorithm("XXHASH64", 8, lambda: _XXHash(_crt.XXHash.new_xxhash64), (COMPOSITE,)),
        Algorithm("XXHASH3", 8, lambda: _XXHash(_crt.XXHash.new_xxhash3_64), (COMPOSITE,)),
        Algorithm("XXHASH128", 16, lambda: _XXHash(_crt.XXHash.new_xxhash3_128), (COMPOSITE,)),
    )
}
BY_HEADER: Final[Mapping[str, Algorithm]] = {algorithm.header: algorithm for algorithm in ALGORITHMS.values()}


def start_hasher(name: str) -> Hasher:
    """A new running digest of an algorithm by AWS's name."""
    return ALGORITHMS[name].start()


def start_md5() -> Hasher:
    """A new MD5, for ETags and Content-MD5."""
    return hashlib.md5(usedforsecurity=False)


def encode_digest(digest: bytes) -> str:
    """Base64 text of a digest."""
    return b64encode(digest).decode()


def decode_digest(text: str, size: int) -> bytes | None:
    """The digest of ``size`` bytes in base64 ``text``; None if it is not one, strictly."""
    if len(text) > 128:
        return None
    try:
        digest = b64decode(text.encode("ascii"), validate=True)
    except (binascii.Error, UnicodeEncodeError, ValueError):
        return None
    return digest if len(digest) == size and b64encode(digest).decode() == text else None


def compute_checksum(name: str, data: bytes | memoryview) -> str:
    """Base64 checksum of bytes that are all at hand."""
    hasher = start_hasher(name)
    hasher.update(data)
    return encode_digest(hasher.digest())


def default_type(name: str) -> str:
    """The type AWS gives a multipart upload that names the algorithm only."""
    return ALGORITHMS[name].types[0]


def compose_checksums(name: str, parts: Sequence[str]) -> str:
    """The composite checksum of an object from its parts' base64 checksums, with ``-N``."""
    algorithm = ALGORITHMS[name]
    hasher = algorithm.start()
    for part in parts:
        digest = decode_digest(part, algorithm.size)
        assert digest is not None, "stored checksums are valid"
        hasher.update(digest)
    return f"{encode_digest(hasher.digest())}-{len(parts)}"


def combine_checksums(name: str, parts: Iterable[tuple[str, int]]) -> str:
    """The full object checksum from its parts' base64 CRCs and lengths in bytes; O(parts), reading nothing again."""
    algorithm = ALGORITHMS[name]
    assert algorithm.combine is not None, f"{name} does not combine"
    total: int | None = None
    for checksum, length in parts:
        digest = decode_digest(checksum, algorithm.size)
        assert digest is not None, "stored checksums are valid"
        value = int.from_bytes(digest, "big")
        total = value if total is None else algorithm.combine(total, value, length)
    return encode_digest((total or 0).to_bytes(algorithm.size, "big"))


def extend_etag(etag: str, tail: str, count: int) -> str:
    """The ETag of an object that was appended to, from the one it had, the hex MD5 of the tail, and the count of its
    pieces: that of a multipart object for the first append, and a chain of such from there on.
    """
    whole = start_md5()
    whole.update(bytes.fromhex(etag.partition("-")[0]))
    whole.update(bytes.fromhex(tail))
    return f"{whole.digest().hex()}-{count}"


def compose_etag(parts: Iterable[str]) -> str:
    """The ETag of a multipart object from its parts' hex MD5s: MD5 of the MD5s, with ``-N``."""
    whole = start_md5()
    count = 0
    for part in parts:
        whole.update(bytes.fromhex(part))
        count += 1
    return f"{whole.digest().hex()}-{count}"
