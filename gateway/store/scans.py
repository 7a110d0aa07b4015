"""Ordered walks over a bucket: current objects for listings, all versions for version listings.

Stands between ``views`` and the tables ``heads`` and ``versions``. A walk belongs to its view's transaction and ends
with it. Keys come in UTF-8 byte order, as S3 lists them. What is deleted still has rows, for weeks: a walk on behalf of
a client passes over so many of them at once, then pauses, so that others have their turn.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from gateway.store.index import CRC_OF_WHOLE, CRC_SIZE, Transaction, crc32c
from gateway.store.index_format import (
    HEAD_CONFLICT,
    HEAD_CURRENT,
    HEAD_FIXED,
    HEAD_MARKER,
    ROLE_NULL,
    HeadRow,
    VersionRow,
    decode_head,
)
from gateway.store.item_format import UID_SIZE
from gateway.store.object_format import decode_object
from gateway.store.object_rows import read_head, rows_of_key, rows_of_vid
from gateway.store.ports import Head, Version
from gateway.store.version_ids import NULL, NULL_VID, ORDER_SIZE, VersionId

_LISTED = HEAD_CURRENT | HEAD_MARKER
_new = tuple.__new__  # a named tuple's own costs three times as much


class HeadWalk:
    """A ``HeadScan`` over one bucket."""

    __slots__ = ("_check", "_cursor", "_items", "_passes_left", "_uid", "paused_at")

    def __init__(self, transaction: Transaction, uid: bytes, start: bytes, passes_max: int = 0) -> None:
        """``passes_max``: of keys that are not there any more, until it pauses; 0: never."""
        self._uid, self._check, self._passes_left = uid, transaction.check, passes_max
        self.paused_at: bytes | None = None
        self._cursor: Any = transaction.raw.cursor(transaction.tables.heads)
        self.seek(start)

    def seek(self, key: bytes) -> None:
        """Go on with the first key >= ``key``."""
        found = self._cursor.set_range(self._uid + key)
        self._items: Iterator[tuple[bytes, bytes]] = self._cursor.iternext(True, True) if found else iter(())

    def __iter__(self) -> Iterator[tuple[bytes, Head]]:
        return self

    def __next__(self) -> tuple[bytes, Head]:
        found = self.take(b"", 1)
        if not found:
            raise StopIteration
        return found[0]

    def take(self, prefix: bytes, count: int) -> list[tuple[bytes, Head]]:
        """The next objects, at most ``count`` (at least 1), up to the first key that does not begin with ``prefix``,
        which ends the walk.
        """
        of_bucket, unpack, texts_at = self._uid + prefix, HEAD_FIXED.unpack_from, HEAD_FIXED.size
        found: list[tuple[bytes, Head]] = []
        for key, data in self._items:
            if not key.startswith(of_bucket):
                self._items = iter(())
                break
            if crc32c(key + data) != CRC_OF_WHOLE:
                self._check(key, data)  # says what is wrong
            flags, nulls, _, _, size, modified, _ = unpack(data)
            if flags & _LISTED == HEAD_CURRENT:
                texts = data[texts_at + nulls * ORDER_SIZE : -CRC_SIZE].decode().split("\0", 3)
                found.append((key[UID_SIZE:], _new(Head, (size, modified, *texts))))
                if len(found) == count:
                    break
            elif self._passes_left:
                self._passes_left -= 1
                if not self._passes_left:
                    self.paused_at, self._items = key[UID_SIZE:] + b"\0", iter(())
                    break
        return found


class VersionWalk:
    """A ``VersionScan`` over one bucket: versions, delete markers and losers; tombstones are passed over."""

    __slots__ = ("_cursor", "_head", "_heads", "_key", "_passes_left", "_rows", "_transaction", "_uid", "paused_at")

    def __init__(self, transaction: Transaction, uid: bytes, start: bytes, passes_max: int = 0) -> None:
        """``passes_max``: of tombstones, until it pauses; 0: never."""
        self._transaction, self._passes_left = transaction, passes_max
        self._uid = uid
        self.paused_at: tuple[bytes, VersionId] | None = None
        self.seek(start)

    def seek(self, key: bytes, after: VersionId | None = None) -> None:
        """Go on with the first version of the first key >= ``key``; with ``after``, behind that version of ``key``."""
        transaction, uid = self._transaction, self._uid
        self._rows: Iterator[VersionRow] = iter(())
        start = uid + key
        if after is not None:
            start += b"\0"
            head = read_head(transaction, uid, key)
            order = order_of(transaction, head, after) if head is not None else None
            if head is not None and order is not None:
                self._key, self._head = key, head
                self._rows = rows_of_key(transaction, head.key_id, order)
        self._heads = transaction.scan(transaction.tables.heads, start, uid)

    def __iter__(self) -> Iterator[Version]:
        return self

    def __next__(self) -> Version:
        while True:
            for row in self._rows:
                if not row.dead:
                    return version_of(self._key, self._head, row)
                if self._passes_left:
                    self._passes_left -= 1
                    if not self._passes_left:
                        self.paused_at = self._key, VersionId(b"", row.order)
                        self._heads = iter(())
                        raise StopIteration
            key, data = next(self._heads)
            self._key, self._head = key[UID_SIZE:], decode_head(data)
            self._rows = rows_of_key(self._transaction, self._head.key_id)


def version_of(key: bytes, head: HeadRow, row: VersionRow) -> Version:
    """A visible row as operations see it."""
    if not row.role & ROLE_NULL:
        version_id = VersionId(row.vid)
    elif row.order == head.nulls[0]:
        version_id = NULL
    else:
        version_id = VersionId(b"", row.order)
    record, contested = decode_object(row.body), head.flags & HEAD_CONFLICT
    return _new(Version, (key, version_id, row.order, row.order == head.current, record, contested))


def order_of(transaction: Transaction, head: HeadRow, version_id: VersionId) -> bytes | None:
    """The order at which a version id stands (or stood, as far as its id tells) among the key's rows."""
    if version_id.order:
        return version_id.order
    if version_id.vid == NULL_VID:
        return head.nulls[0] if head.nulls else None
    found = [row.order for row in rows_of_vid(transaction, head.key_id, version_id.vid)]
    return min(found) if found else version_id.vid[:8] + bytes(ORDER_SIZE - 8)
