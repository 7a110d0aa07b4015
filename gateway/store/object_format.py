"""ON DISK and ON WIRE: what a version of an object is, as the body of a NULL_SLOT or VERSION change.

MessagePack array (version 1; fields are only ever added at the end, with defaults):

     0 version      int   1
     1 marker       bool  a delete marker: no content
     2 size         int   plaintext bytes
     3 etag         str   hex, with ``-N`` for multipart; no quotes
     4 modified_ms  int   unix milliseconds, Last-Modified
     5 content      array of Ref (at most ``REFS_DIRECT_MAX``; more are paged into page chunks)
     6 headers      map   system headers as the client gave them: content-type, cache-control, content-disposition,
                          content-encoding, content-language, expires, x-amz-website-redirect-location (lower case)
     7 metadata     map   user metadata, names lower case without ``x-amz-meta-``
     8 checksums    map   algorithm (CRC32, CRC32C, CRC64NVME, SHA1, SHA256) to base64 text
     9 checksum_type str  FULL_OBJECT, COMPOSITE or empty
    10 owner        str   user id of who wrote it
    11 part_count   int   0 if not multipart
    12 parts        Ref or nil   the part table (``PartEntry`` array, MessagePack), a data chunk of its own
    13 storage_class str  STANDARD unless asked
    14 condition    nil or [header, dot]   the precondition it was written under ("If-None-Match" or "If-Match") and the
                          order (40 bytes, or empty) of the version it saw: a merge finds conditions that did not hold
    15 extra        map   str to bytes: room for what later features add (lock, encryption names)
"""

from __future__ import annotations

from typing import Final

import msgspec

from replication.change_format import ChangeInvalid, ChangeTooNew, Ref

OBJECT_VERSION: Final = 1
REFS_DIRECT_MAX: Final = 8


class Condition(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """The precondition a write was made under: header name, and the order of the version it saw (empty: none)."""

    header: str
    saw: bytes


class PartEntry(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One part of a completed multipart object: its number, plaintext size and checksum (base64; empty if none).

    ``nonce``: 12 bytes where the object has an encryption layer of its own, else empty.
    """

    number: int
    size: int
    checksum: str = ""
    nonce: bytes = b""


class ObjectRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A version of an object, or a delete marker. Fields: the table in this module's docstring."""

    version: int = OBJECT_VERSION
    marker: bool = False
    size: int = 0
    etag: str = ""
    modified_ms: int = 0
    content: tuple[Ref, ...] = ()
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    checksums: dict[str, str] = {}
    checksum_type: str = ""
    owner: str = ""
    part_count: int = 0
    parts: Ref | None = None
    storage_class: str = "STANDARD"
    condition: Condition | None = None
    extra: dict[str, bytes] = {}

    def refs(self) -> tuple[Ref, ...]:
        """Every chunk the record needs: its content and its part table."""
        return (*self.content, self.parts) if self.parts is not None else self.content


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(ObjectRecord)
_parts_decoder = msgspec.msgpack.Decoder(list[PartEntry])


def encode_object(record: ObjectRecord) -> bytes:
    """Bytes of a record, current version."""
    return _encoder.encode(record)


def decode_object(data: bytes | memoryview) -> ObjectRecord:
    """The record in ``data``; ``ChangeInvalid`` or ``ChangeTooNew`` otherwise."""
    try:
        record = _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ChangeInvalid(f"not an object record: {error}") from error
    if record.version > OBJECT_VERSION:
        raise ChangeTooNew(f"object record of version {record.version}: upgrade this site")
    return record


def encode_parts(parts: list[PartEntry]) -> bytes:
    """Bytes of a part table."""
    return _encoder.encode(parts)


def decode_parts(data: bytes) -> list[PartEntry]:
    """The part table in ``data``; ``ChangeInvalid`` if it is none."""
    try:
        return _parts_decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ChangeInvalid(f"not a part table: {error}") from error
