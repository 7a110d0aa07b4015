"""What is kept with a version besides bytes, headers and metadata: tags, ACL, lock, encryption. Where all writes meet.

Two moments. *Written*: ``settle_attributes`` runs inside the commit of every write of an object (put, copy, complete,
form, append) and makes the record's ``extra`` map of what was asked for and what the bucket's defaults add. *Later*:
a version's documents (``ReadView.version_documents``) override what its record says; ``find_attribute`` is the one
reader of both. Names are those of ``gateway/store/version_document_format``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final

from gateway.operations.context import Context
from gateway.operations.object_lock import settle_lock
from gateway.operations.storage_classes import RESTORE
from gateway.operations.written_acl import settle_acl
from gateway.operations.written_tags import settle_tags
from gateway.s3.attributes import Attributes
from gateway.s3.event_messages import EVENT_EXTRA
from gateway.store.object_format import ObjectRecord
from gateway.store.ports import Bucket, ReadView, Version, WriteView
from gateway.store.version_document_format import HOLD, RETENTION

Settler = Callable[[Context, WriteView, Bucket, bytes, Attributes, Mapping[str, bytes]], Mapping[str, bytes]]
"""(context, view, bucket, key, what was asked, what is settled) → what one feature adds to the record's ``extra``; may
raise S3 errors (not permitted, not allowed by the bucket's settings). What is settled already stays: a completed upload
brings what was settled when it was created.
"""

_NOT_CARRIED: Final = frozenset({RETENTION, HOLD, RESTORE, EVENT_EXTRA, "upload", "rename"})

SETTLERS: Final[tuple[Settler, ...]] = (settle_tags, settle_acl, settle_lock)


def settle_attributes(
    context: Context, view: WriteView, bucket: Bucket, key: bytes, asked: Attributes, extra: dict[str, bytes]
) -> dict[str, bytes]:
    """The ``extra`` map of a version about to be written: ``extra`` and what every feature adds."""
    settled = dict(extra)
    for settle in SETTLERS:
        settled.update(settle(context, view, bucket, key, asked, settled))
    return settled


def find_attribute(view: ReadView, bucket: Bucket, version: Version, name: str) -> bytes | None:
    """The value in force: the version's document if there is one (b"" was removed: None), else its record's."""
    return attribute_of(view.version_documents(bucket.uid, version), version.record, name)


def carried_attributes(view: ReadView, bucket: Bucket, version: Version) -> dict[str, bytes]:
    """The attributes in force of a version that its content keeps when it is written anew (renamed, appended to): all
    but what is the version's own: its lock, its restored copy, the upload or event it came from.
    """
    found = {**version.record.extra, **view.version_documents(bucket.uid, version)}
    return {name: value for name, value in found.items() if value and name not in _NOT_CARRIED}


def attribute_of(documents: Mapping[str, bytes], record: ObjectRecord, name: str) -> bytes | None:
    """``find_attribute`` where the version's documents are at hand."""
    found = documents[name] if name in documents else record.extra.get(name)
    return found or None
