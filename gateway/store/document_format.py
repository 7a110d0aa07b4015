"""ON DISK and ON WIRE: bodies of bucket, user and access key changes, and of local multipart records.

All are MessagePack arrays whose first element is a version; fields are only ever added at the end, with defaults.
A bucket's tombstone keeps its record as body, so that concurrent writes can revive the bucket with its owner.
"""

from __future__ import annotations

from typing import Final, TypeVar

import msgspec

from replication.change_format import ChangeInvalid, ChangeTooNew, Ref

DOCUMENT_VERSION: Final = 1


class BucketRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A bucket: name, owner's user id, creation time (unix ms), region it was asked for (empty: the default)."""

    version: int = DOCUMENT_VERSION
    name: str = ""
    owner: str = ""
    created_ms: int = 0
    region: str = ""
    extra: dict[str, bytes] = {}


class UserRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A user: id, name (display name), canonical id (64 hex), e-mail, whether admin (root) and whether disabled.

    ``account``: the user id of the account it was made in; empty: it is an account of its own. ``path``: as in IAM.
    """

    version: int = DOCUMENT_VERSION
    id: str = ""
    name: str = ""
    canonical_id: str = ""
    email: str = ""
    admin: bool = False
    disabled: bool = False
    created_ms: int = 0
    extra: dict[str, bytes] = {}
    account: str = ""
    path: str = "/"
    tags: dict[str, str] = {}


class AccessKeyRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An access key: its id, secret, the user it belongs to, whether disabled."""

    version: int = DOCUMENT_VERSION
    id: str = ""
    secret: str = ""
    user: str = ""
    disabled: bool = False
    created_ms: int = 0
    extra: dict[str, bytes] = {}


class UploadRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An open multipart upload: local to its site until Complete. ``headers``/``metadata`` as in ``ObjectRecord``."""

    version: int = DOCUMENT_VERSION
    id: str = ""
    uid: bytes = b""
    key: bytes = b""
    owner: str = ""
    initiated_ms: int = 0
    headers: dict[str, str] = {}
    metadata: dict[str, str] = {}
    checksum_algorithm: str = ""
    checksum_type: str = ""
    storage_class: str = "STANDARD"
    extra: dict[str, bytes] = {}


class PartRecord(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One stored part of an open upload. ``checksums``: algorithm to base64."""

    version: int = DOCUMENT_VERSION
    number: int = 0
    size: int = 0
    etag: str = ""
    modified_ms: int = 0
    content: tuple[Ref, ...] = ()
    checksums: dict[str, str] = {}
    extra: dict[str, bytes] = {}


Record = TypeVar("Record", BucketRecord, UserRecord, AccessKeyRecord, UploadRecord, PartRecord)
_encoder = msgspec.msgpack.Encoder()
_decoders: dict[type, msgspec.msgpack.Decoder[object]] = {
    kind: msgspec.msgpack.Decoder(kind)
    for kind in (BucketRecord, UserRecord, AccessKeyRecord, UploadRecord, PartRecord)
}


def encode_record(record: BucketRecord | UserRecord | AccessKeyRecord | UploadRecord | PartRecord) -> bytes:
    """Bytes of a record, current version."""
    return _encoder.encode(record)


def decode_record(kind: type[Record], data: bytes | memoryview) -> Record:
    """The record of ``kind`` in ``data``; ``ChangeInvalid`` or ``ChangeTooNew`` otherwise."""
    try:
        record = _decoders[kind].decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ChangeInvalid(f"not a {kind.__name__}: {error}") from error
    assert isinstance(record, kind)
    if record.version > DOCUMENT_VERSION:
        raise ChangeTooNew(f"{kind.__name__} of version {record.version}: upgrade this site")
    return record
