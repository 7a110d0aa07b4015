"""What the answer of a read tells of a version besides its record: its lock, when it will expire, whether it is archived.

Looked up in the snapshot the version was found in, by ``objects_get.locate_in``; whoever may not know of a lock is not
told of it. A version without attributes in a bucket without lifecycle costs one cached lookup.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.operations.context import Context, may_access
from gateway.operations.object_lock import read_hold, read_retention
from gateway.s3.object_lock import NO_RETENTION, Retention
from gateway.store.ports import Bucket, ReadView, Version


class ReadFacts(NamedTuple):
    """``retention``, ``hold``: the lock, as far as the caller may know of it (``NO_RETENTION``, empty: none)."""

    retention: Retention = NO_RETENTION
    hold: str = ""


NO_FACTS: Final = ReadFacts()


def find_read_facts(
    context: Context, view: ReadView, bucket: Bucket, version: Version, documents: Mapping[str, bytes]
) -> ReadFacts:
    """What there is to tell of a version whose documents are ``documents``."""
    extra = version.record.extra
    if not documents and not extra:
        return NO_FACTS
    attributes = {**extra, **documents} if documents else extra
    retention, hold = read_retention(attributes), read_hold(attributes)
    if retention.mode and not may_access(context, view, bucket, "GetObjectRetention", version.key):
        retention = NO_RETENTION
    if hold and not may_access(context, view, bucket, "GetObjectLegalHold", version.key):
        hold = ""
    return ReadFacts(retention, hold)
