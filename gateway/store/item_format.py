"""ON DISK and ON WIRE: the keys of items, by family. The one place that joins or slices them.

    family         item key
    0 VOID         nothing                                    what a site tells others of a change that stays there
    1 NULL_SLOT    bucket uid 16 | S3 key (UTF-8)             the unversioned object, or the ``null`` version
    2 VERSION      bucket uid 16 | version id 16 | S3 key     one version of a versioned bucket; never reused
    3 BUCKET       bucket uid 16                              uid = BLAKE3(name, 0, owner id)[:16]: the same owner
                                                              creating one name on two sites makes one bucket
    4 DOCUMENT     bucket uid 16 | document name              versioning, policy, …: one register each
    5 USER         user id
    6 ACCESS_KEY   access key id
    7 VERSION_DOCUMENT  bucket uid 16 | version id 16 (zeros: null) | S3 key length u16 big endian | S3 key | name
                                                              tags, ACL, lock of one version: version_document_format
    8 IDENTITY     kind | "/" | … (UTF-8)                     roles, groups, policies, who has them: identity_format
    9 MEMBER       kind | "/" | … (ASCII)                     what is said of sites: replication/member_format
   12 DOOM         hash of the body 16                        objects that leave the bucket: doom_format

A bucket that stays on its site ("local") has a uid that begins with ``LOCAL_PREFIX``, the rest of it 10 bytes of a hash
over the same: what its objects are is then plain from every key, whatever became of the bucket.

Numbers are never reused. Replication treats all of it as opaque bytes.
"""

from __future__ import annotations

from typing import Final

import blake3

from replication.change_format import ChangeInvalid

FAMILY_VOID: Final = 0
FAMILY_NULL_SLOT: Final = 1
FAMILY_VERSION: Final = 2
FAMILY_BUCKET: Final = 3
FAMILY_DOCUMENT: Final = 4
FAMILY_USER: Final = 5
FAMILY_ACCESS_KEY: Final = 6
FAMILY_VERSION_DOCUMENT: Final = 7
FAMILY_IDENTITY: Final = 8
FAMILY_MEMBER: Final = 9
FAMILY_DOOM: Final = 12

UID_SIZE: Final = 16
VID_SIZE: Final = 16
LOCAL_PREFIX: Final = b"\xfflocal"
_KEY_LENGTH_SIZE: Final = 2
_OBJECT_FAMILIES: Final = frozenset((FAMILY_NULL_SLOT, FAMILY_VERSION, FAMILY_VERSION_DOCUMENT))


def bucket_uid(name: str, owner: str, *, local: bool = False) -> bytes:
    """The identity of a bucket: 16 bytes, a function of its name, its owner's user id, and whether it is local."""
    digest = blake3.blake3(name.encode() + b"\0" + owner.encode()).digest()
    return (LOCAL_PREFIX + digest)[:UID_SIZE] if local else digest[:UID_SIZE]


def is_local_uid(uid: bytes) -> bool:
    """Whether the objects of this bucket never leave the site they were written on."""
    return uid.startswith(LOCAL_PREFIX)


def stays_here(family: int, item: bytes) -> bool:
    """Whether a change of this item is nobody else's to know: one of an object in a local bucket."""
    return family in _OBJECT_FAMILIES and item.startswith(LOCAL_PREFIX)


def null_slot_item(uid: bytes, key: bytes) -> bytes:
    """Item key of the one unversioned (``null``) slot of an S3 key."""
    return uid + key


def split_null_slot(item: bytes) -> tuple[bytes, bytes]:
    """(bucket uid, S3 key) of a null slot's item key."""
    return item[:UID_SIZE], item[UID_SIZE:]


def version_item(uid: bytes, vid: bytes, key: bytes) -> bytes:
    """Item key of one version."""
    return uid + vid + key


def split_version(item: bytes) -> tuple[bytes, bytes, bytes]:
    """(bucket uid, version id, S3 key) of a version's item key."""
    return item[:UID_SIZE], item[UID_SIZE : UID_SIZE + VID_SIZE], item[UID_SIZE + VID_SIZE :]


def document_item(uid: bytes, name: str) -> bytes:
    """Item key of a bucket's document."""
    return uid + name.encode()


def split_document(item: bytes) -> tuple[bytes, str]:
    """(bucket uid, document name) of a document's item key; ``ChangeInvalid`` if it is none."""
    return item[:UID_SIZE], _read_name(item[UID_SIZE:])


def version_documents_prefix(uid: bytes, vid: bytes, key: bytes) -> bytes:
    """What the item keys of all documents of one version begin with, and no other's."""
    return uid + vid + len(key).to_bytes(_KEY_LENGTH_SIZE, "big") + key


def version_document_item(uid: bytes, vid: bytes, key: bytes, name: str) -> bytes:
    """Item key of one document of one version."""
    return version_documents_prefix(uid, vid, key) + name.encode()


def split_version_document(item: bytes) -> tuple[bytes, bytes, bytes, str]:
    """(bucket uid, version id, S3 key, document name) of such an item key; ``ChangeInvalid`` if it is none."""
    start = UID_SIZE + VID_SIZE + _KEY_LENGTH_SIZE
    end = start + int.from_bytes(item[start - _KEY_LENGTH_SIZE : start], "big")
    if len(item) <= end:
        raise ChangeInvalid("the item key is cut short")
    return item[:UID_SIZE], item[UID_SIZE : UID_SIZE + VID_SIZE], item[start:end], _read_name(item[end:])


def place_of(family: int, item: bytes) -> tuple[bytes, bytes]:
    """(bucket uid, S3 key) that an item is of; empty for what is of no key."""
    if family == FAMILY_NULL_SLOT:
        return split_null_slot(item)
    if family == FAMILY_VERSION:
        uid, _, key = split_version(item)
        return uid, key
    if family == FAMILY_VERSION_DOCUMENT:
        uid, _, key, _ = split_version_document(item)
        return uid, key
    return b"", b""


def _read_name(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise ChangeInvalid("a document's name is not UTF-8") from None
