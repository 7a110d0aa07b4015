"""Lifecycle where other verbs meet it: when what they write, read or upload will expire, for the headers that say so.

A bucket without rules costs one cached lookup. Dates told are those of the calendar, also where days are shortened for
tests. Who acts on the rules is ``lifecycle_pass``.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.operations.bucket_documents import LIFECYCLE, find_document
from gateway.operations.storage_classes import class_of
from gateway.operations.written_tags import TAGS
from gateway.s3.lifecycle_document import decode_lifecycle
from gateway.s3.lifecycle_rules import Action, Facts, Lifecycle, find_abort, find_expiry
from gateway.s3.tagging import decode_tags
from gateway.store.document_format import UploadRecord
from gateway.store.object_format import ObjectRecord
from gateway.store.ports import Bucket, ReadView


def find_lifecycle(view: ReadView, uid: bytes) -> Lifecycle | None:
    """The rules of a bucket; None if it has none. Next to free."""
    return find_document(view, uid, LIFECYCLE, decode_lifecycle)


def make_facts(
    lifecycle: Lifecycle, bucket: Bucket, key: bytes, record: ObjectRecord, documents: Mapping[str, bytes]
) -> Facts:
    """What the rules ask of a current version; tags only if they look at tags."""
    tags: Mapping[str, str] = {}
    if lifecycle.uses_tags and not record.marker:
        stored = documents[TAGS] if TAGS in documents else record.extra.get(TAGS)
        tags = decode_tags(stored) if stored else {}
    return Facts(
        key=key.decode(),
        size=record.size,
        modified_ms=record.modified_ms,
        storage_class=class_of(record, documents),
        tags=tags,
        is_marker=record.marker,
        versioned=bucket.versioning != "",
    )


def find_expiry_of(
    view: ReadView, bucket: Bucket, key: bytes, record: ObjectRecord, documents: Mapping[str, bytes] = {}
) -> Action | None:
    """When a current version will expire, and by which rule; None if never."""
    lifecycle = find_lifecycle(view, bucket.uid)
    if lifecycle is None:
        return None
    return find_expiry(lifecycle, make_facts(lifecycle, bucket, key, record, documents))


def find_abort_of(view: ReadView, upload: UploadRecord) -> tuple[int, str] | None:
    """(when, rule) an open upload will be aborted; None if never."""
    lifecycle = find_lifecycle(view, upload.uid)
    return None if lifecycle is None else find_abort(lifecycle, upload.key.decode(), upload.initiated_ms)
