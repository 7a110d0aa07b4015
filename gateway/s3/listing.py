"""Listings as a pure fold over an ordered cursor: ListObjects V1 and V2, ListObjectVersions. No XML, no store.

The cursor is anything that gives ``(key, head)`` or versions in UTF-8 byte order and can ``seek``; a common prefix
costs one seek whatever lies under it, so a page costs O(max-keys) seeks and steps, and steps over what is deleted: a
cursor that has passed over enough of that pauses, and the fold goes on with another one. Semantics are AWS's: keys and
common prefixes count alike toward max-keys and come in one order; a page is truncated only if something follows; a
marker inside a common prefix lies behind all of it.

Continuation tokens are opaque, versioned and checked; they are positions, not secrets.
"""

from __future__ import annotations

import binascii
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from typing import Any, Final, Generic, NamedTuple, Protocol, TypeVar
from zlib import crc32

from gateway.s3.errors import S3Error, invalid_argument
from gateway.s3.names import KEY_BYTES_MAX

KEYS_MAX: Final = 1000
_TOKEN_VERSION: Final = 1

HeadT_co = TypeVar("HeadT_co", covariant=True)
HeadT = TypeVar("HeadT")
VersionT_co = TypeVar("VersionT_co", covariant=True, bound="AnyVersion")
VersionT = TypeVar("VersionT", bound="AnyVersion")


class AnyVersion(Protocol):
    """What the fold needs of a version; the renderer needs more."""

    @property
    def key(self) -> bytes:
        """Its key, UTF-8."""


class HeadCursor(Protocol[HeadT_co]):
    """Current objects in key order, from wherever ``seek`` last put it."""

    @property
    def paused_at(self) -> bytes | None:
        """The key to go on with, if it stopped because it had passed over too many that are not there any more."""

    def seek(self, key: bytes, /) -> None:
        """Go on with the first key >= ``key``."""

    def take(self, prefix: bytes, count: int, /) -> Sequence[tuple[bytes, HeadT_co]]:
        """The next objects, at most ``count``, up to the first key that does not begin with ``prefix``."""


class VersionCursor(Protocol[VersionT_co]):
    """Versions, keys ascending and newest first within a key."""

    @property
    def paused_at(self) -> tuple[bytes, Any] | None:
        """What to ``seek`` to go on, if it stopped because it had passed over too many that are not there any more."""

    def seek(self, key: bytes, after: Any = None, /) -> None:
        """Go on with the first version of the first key >= ``key``; with ``after``, behind that version of ``key``."""

    def __next__(self) -> VersionT_co: ...


class Page(NamedTuple):
    """What a listing asks for. Bytes are decoded UTF-8; ``after``: only keys greater than it; ``keys_max`` 0 to 1,000.

    ``after_prefix``: ``after`` is a common prefix that was returned, so everything under it is done.
    """

    prefix: bytes = b""
    delimiter: bytes = b""
    after: bytes = b""
    keys_max: int = KEYS_MAX
    after_prefix: bool = False


class Listing(NamedTuple, Generic[HeadT]):
    """A page: ``contents`` (key, head), ``prefixes``, whether more follows, the last entry.

    ``last`` is the greatest entry (key or common prefix); ``last_is_prefix`` tells which. Empty if there was none.
    """

    contents: list[tuple[bytes, HeadT]]
    prefixes: list[bytes]
    truncated: bool
    last: bytes
    last_is_prefix: bool


class VersionListing(NamedTuple, Generic[VersionT]):
    """A page of versions; ``last``: the last entry if that was a version, else ``last_prefix`` is."""

    versions: list[VersionT]
    prefixes: list[bytes]
    truncated: bool
    last: VersionT | None
    last_prefix: bytes


def bound(key: bytes) -> bytes:
    """A seek position equal to ``key`` for keys of at most 1,024 bytes, however long ``key`` is."""
    return key if len(key) <= KEY_BYTES_MAX else key[:KEY_BYTES_MAX] + b"\0"


def successor(prefix: bytes) -> bytes | None:
    """The least bytes greater than everything that starts with ``prefix``; None if there are none."""
    trimmed = prefix.rstrip(b"\xff")
    return trimmed[:-1] + bytes([trimmed[-1] + 1]) if trimmed else None


def _group(key: bytes, prefix: bytes, delimiter: bytes) -> bytes:
    """The common prefix ``key`` rolls up into, or empty."""
    at = key.find(delimiter, len(prefix)) if delimiter else -1
    return key[: at + len(delimiter)] if at >= 0 else b""


def _first(page: Page) -> bytes | None:
    """Where the scan begins; None if nothing can follow, or nothing is asked for."""
    after = page.after
    if page.keys_max <= 0 or len(page.prefix) > KEY_BYTES_MAX:
        return None
    if not after or after < page.prefix:
        return page.prefix
    group = after if page.after_prefix else b""
    if not group and after.startswith(page.prefix):
        group = _group(after, page.prefix, page.delimiter)
    return successor(group) if group else after + b"\0"


class HeadsFold(Generic[HeadT]):
    """One page of current objects, from as many cursors as it takes."""

    def __init__(self, page: Page) -> None:
        self._page, self._left = page, page.keys_max
        self._contents: list[tuple[bytes, HeadT]] = []
        self._prefixes: list[bytes] = []
        self._last, self._last_is_prefix = b"", False
        self._at = _first(page)

    def go_on(self, cursor: HeadCursor[HeadT]) -> Listing[HeadT] | None:
        """The page; None if the cursor paused: go on with one that is fresh."""
        if self._at is None:
            return self._end(truncated=False)
        cursor.seek(bound(self._at))
        truncated = self._take_groups(cursor) if self._page.delimiter else self._take_keys(cursor)
        if not truncated and cursor.paused_at is not None:
            self._at = cursor.paused_at
            return None
        return self._end(truncated=truncated)

    def _take_keys(self, cursor: HeadCursor[HeadT]) -> bool:
        found = cursor.take(self._page.prefix, self._left + 1)  # one more tells whether there is more
        taken = found[: self._left]
        self._contents += taken
        self._left -= len(taken)
        if taken:
            self._last = taken[-1][0]
        return len(found) > len(taken)

    def _take_groups(self, cursor: HeadCursor[HeadT]) -> bool:
        prefix, delimiter = self._page.prefix, self._page.delimiter
        while found := cursor.take(prefix, 1):
            if self._left == 0:
                return True
            self._left -= 1
            ((key, _),) = found
            group = _group(key, prefix, delimiter)
            self._last, self._last_is_prefix = group or key, bool(group)
            if not group:
                self._contents += found
                continue
            self._prefixes.append(group)
            beyond = successor(group)
            if beyond is None:
                break
            cursor.seek(bound(beyond))
        return False

    def _end(self, *, truncated: bool) -> Listing[HeadT]:
        return Listing(self._contents, self._prefixes, truncated, self._last, self._last_is_prefix)


class VersionsFold(Generic[VersionT]):
    """One page of versions, from as many cursors as it takes. ``page.after``: the key marker; ``after_version``: the
    version of it to go on behind.
    """

    def __init__(self, page: Page, after_version: Any = None) -> None:
        self._page, self._left = page, page.keys_max
        self._versions: list[VersionT] = []
        self._prefixes: list[bytes] = []
        self._last: VersionT | None = None
        self._last_prefix = b""
        self._at, self._after = _first(page), None
        if after_version is not None and page.after >= page.prefix and self._at == page.after + b"\0":
            self._at, self._after = page.after, after_version

    def go_on(self, cursor: VersionCursor[VersionT]) -> VersionListing[VersionT] | None:
        """The page; None if the cursor paused: go on with one that is fresh."""
        if self._at is None:
            return self._end(truncated=False)
        cursor.seek(bound(self._at), self._after)
        prefix, delimiter = self._page.prefix, self._page.delimiter
        while (version := next(cursor, None)) is not None and version.key.startswith(prefix):
            if self._left == 0:
                return self._end(truncated=True)
            self._left -= 1
            group = _group(version.key, prefix, delimiter)
            if not group:
                self._versions.append(version)
                self._last, self._last_prefix = version, b""
                continue
            self._prefixes.append(group)
            self._last, self._last_prefix = None, group
            beyond = successor(group)
            if beyond is None:
                break
            cursor.seek(bound(beyond))
        if cursor.paused_at is not None:
            self._at, self._after = cursor.paused_at
            return None
        return self._end(truncated=False)

    def _end(self, *, truncated: bool) -> VersionListing[VersionT]:
        return VersionListing(self._versions, self._prefixes, truncated, self._last, self._last_prefix)


def encode_token(last: bytes, *, is_prefix: bool) -> str:
    """The continuation token of a page that ended with ``last``."""
    body = bytes([_TOKEN_VERSION, is_prefix]) + last
    return urlsafe_b64encode(crc32(body).to_bytes(4, "big") + body).decode()


def decode_token(token: str) -> tuple[bytes, bool]:
    """(last entry, whether it was a common prefix) of a token; ``InvalidArgument`` if it is none of ours."""
    if not token.isascii() or len(token) > 2 * KEY_BYTES_MAX + 64:
        raise _bad_token(token)
    try:
        raw = urlsafe_b64decode(token)
    except (binascii.Error, ValueError):
        raise _bad_token(token) from None
    body = raw[4:]
    if len(body) < 3 or crc32(body).to_bytes(4, "big") != raw[:4] or body[0] != _TOKEN_VERSION or body[1] > 1:
        raise _bad_token(token)
    return body[2:], bool(body[1])


def _bad_token(token: str) -> S3Error:
    return invalid_argument("The continuation token provided is incorrect", "continuation-token", token[:256])
