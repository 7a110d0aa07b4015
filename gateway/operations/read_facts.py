"""What the answer of a read tells of a version besides its record: its lock, when it will expire, its archive.

Looked up in the snapshot the version was found in, by ``objects_get.locate_in``; whoever may not know of a lock is not
told of it. A version without attributes in a bucket without lifecycle costs one cached lookup.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.operations.bucket_documents import LIFECYCLE
from gateway.operations.context import Context, may_access
from gateway.operations.lifecycle_facts import find_expiry_of
from gateway.operations.object_lock import read_hold, read_retention
from gateway.operations.storage_classes import check_readable, class_of, restored_until_ms
from gateway.s3.lifecycle_rules import STANDARD, Action
from gateway.s3.object_lock import NO_RETENTION, Retention
from gateway.store.ports import Bucket, ReadView, Version


class ReadFacts(NamedTuple):
    """``retention``, ``hold``: the lock, as far as the caller may know of it (``NO_RETENTION``, empty: none);
    ``storage_class``: as in force, empty if as recorded; ``restored_until_ms``: 0 if it never was restored.
    """

    retention: Retention = NO_RETENTION
    hold: str = ""
    expiry: Action | None = None
    storage_class: str = ""
    restored_until_ms: int = 0


NO_FACTS: Final = ReadFacts()


def find_read_facts(
    context: Context,
    view: ReadView,
    bucket: Bucket,
    version: Version,
    documents: Mapping[str, bytes],
    *,
    content: bool = False,
) -> ReadFacts:
    """What there is to tell of a version whose documents are ``documents``. ``content``: its bytes are to be read, so
    ``InvalidObjectState`` if it is archived and not restored.
    """
    record = version.record
    plain = not documents and not record.extra and record.storage_class == STANDARD
    if plain and view.document(bucket.uid, LIFECYCLE) is None:
        return NO_FACTS  # what most reads are
    if content:
        check_readable(record, documents)
    expiry = find_expiry_of(view, bucket, version.key, record, documents) if version.is_latest else None
    extra = record.extra
    if not documents and not extra:
        return NO_FACTS if expiry is None else ReadFacts(expiry=expiry)
    attributes = {**extra, **documents} if documents else extra
    retention, hold = read_retention(attributes), read_hold(attributes)
    if retention.mode and not may_access(context, view, bucket, "GetObjectRetention", version.key):
        retention = NO_RETENTION
    if hold and not may_access(context, view, bucket, "GetObjectLegalHold", version.key):
        hold = ""
    storage_class = class_of(record, documents)
    return ReadFacts(retention, hold, expiry, storage_class, restored_until_ms(documents))
