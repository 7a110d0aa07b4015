"""Storage classes of versions: which can be asked for, which one is in force, and what an archived object refuses.

A version is written with a class (its record's); a transition gives it another as an attribute, since records do not
change. Classes but the archives are recorded and told, nothing else: the bytes stay. An object in an archive (GLACIER,
DEEP_ARCHIVE) is not read before it was restored, and lies in the cloud only, once the cloud verifiably has it. A site
without a cloud keeps the bytes: there is nowhere else for them to be.

Attributes: ``storage`` the class, ASCII; ``restore`` unix ms until which a restored copy may be read, u64 big endian.
Bucket document ``cold``: whether any version there got a class later, or was written into an archive: who lists or
sweeps looks at attributes only then.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

from gateway.s3.errors import InvalidObjectState, S3Error
from gateway.s3.lifecycle_rules import ARCHIVES
from gateway.store.object_format import ObjectRecord
from gateway.store.ports import Bucket, ReadView, Version, WriteView

STORAGE: Final = "storage"
RESTORE: Final = "restore"
COLD: Final = "cold"
_YES: Final = b"1"
_UNTIL_SIZE: Final = 8


def class_of(record: ObjectRecord, documents: Mapping[str, bytes]) -> str:
    """The storage class in force of a version."""
    later = documents.get(STORAGE) or record.extra.get(STORAGE)
    return later.decode() if later else record.storage_class


def encode_until(until_ms: int) -> bytes:
    """The value of the attribute ``restore``."""
    return until_ms.to_bytes(_UNTIL_SIZE, "big")


def restored_until_ms(documents: Mapping[str, bytes]) -> int:
    """Until when a restored copy may be read, unix ms; 0 if it never was (or that was taken back)."""
    return int.from_bytes(documents.get(RESTORE, b""), "big")


def is_readable(record: ObjectRecord, documents: Mapping[str, bytes], now_ms: int) -> bool:
    """Whether a version's bytes may be read now: not archived, or restored."""
    return class_of(record, documents) not in ARCHIVES or restored_until_ms(documents) > now_ms


def check_readable(
    record: ObjectRecord, documents: Mapping[str, bytes], error: type[S3Error] = InvalidObjectState
) -> None:
    """``error`` for an archived object that is not restored."""
    if not documents and not record.extra and record.storage_class not in ARCHIVES:
        return
    if not is_readable(record, documents, time.time_ns() // 1_000_000):
        storage_class = class_of(record, documents)
        raise error(None, StorageClass=storage_class)


def check_active(view: ReadView, bucket: Bucket, version: Version, error: type[S3Error] = InvalidObjectState) -> None:
    """``check_readable`` of a version whose documents are not at hand."""
    check_readable(version.record, view.version_documents(bucket.uid, version), error)


def place_class(view: WriteView, bucket: Bucket, storage_class: str) -> None:
    """Inside the commit of a write: remember where archives are."""
    if storage_class in ARCHIVES:
        mark_cold(view, bucket)


def mark_cold(view: WriteView, bucket: Bucket) -> None:
    """Remember that the bucket has versions whose class must be looked up."""
    if view.document(bucket.uid, COLD) is None:
        view.put_document(bucket.uid, COLD, _YES)


def is_cold(view: ReadView, bucket: Bucket) -> bool:
    """Whether the bucket has (or had) versions whose class must be looked up."""
    return view.document(bucket.uid, COLD) is not None
