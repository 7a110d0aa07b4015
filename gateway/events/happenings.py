"""From changes of the site's log to what S3 calls events: which object, what happened, by whom as far as it is known.

Stands between the change log (own changes, in their order) and the rules of buckets. Pure. A write into a bucket that
had no notifications when it was written carries no facts and is no event, so a configuration speaks of nothing from
before it. Of removals nothing but the fact is in the log: they name no requester.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.s3.event_messages import EVENT_EXTRA, EXPIRED, Happening, decode_facts
from gateway.store.endings import is_ending
from gateway.store.item_format import (
    FAMILY_DOCUMENT,
    FAMILY_NULL_SLOT,
    FAMILY_VERSION,
    FAMILY_VERSION_DOCUMENT,
    split_document,
    split_null_slot,
    split_version,
    split_version_document,
)
from gateway.store.object_format import decode_object
from gateway.store.version_document_format import IDENTITY_SIZE
from gateway.store.version_ids import NULL_VID, VersionId
from replication.change_format import Change
from replication.clock import wall_ms_of

NOTIFICATION: Final = "notification"
# Documents of versions: (events when one is set, events when it is removed).
_DOCUMENTS: Final[dict[str, tuple[tuple[str, ...], tuple[str, ...]]]] = {
    "tags": (("ObjectTagging:Put",), ("ObjectTagging:Delete",)),
    "acl": (("ObjectAcl:Put",), ("ObjectAcl:Put",)),
    # What is restored can be read at once.
    "restore": (("ObjectRestore:Post", "ObjectRestore:Completed"), ("ObjectRestore:Delete",)),
    "storage": (("LifecycleTransition",), ()),
}


class Happened(NamedTuple):
    """An event in the bucket with this uid; ``happening`` None: its notifications were configured."""

    uid: bytes
    happening: Happening | None
    time_ms: int


def read_happenings(change: Change) -> list[Happened]:
    """What a change means to notifications, in order."""
    if is_ending(change):  # what it ends was told when it was removed
        return []
    if change.family == FAMILY_VERSION_DOCUMENT:
        return _read_document(change)
    found = _read_one(change)
    return [] if found is None else [found]


def _read_one(change: Change) -> Happened | None:
    if change.family == FAMILY_NULL_SLOT:
        uid, key = split_null_slot(change.item)
        return _read_object(change, uid, key, NULL_VID)
    if change.family == FAMILY_VERSION:
        uid, vid, key = split_version(change.item)
        return _read_object(change, uid, key, vid)
    if change.family == FAMILY_DOCUMENT and not change.dead:
        uid, name = split_document(change.item)
        return Happened(uid, None, wall_ms_of(change.hlc)) if name == NOTIFICATION else None
    return None


def _read_object(change: Change, uid: bytes, key: bytes, vid: bytes) -> Happened | None:
    version_id, time_ms = VersionId(vid).text, wall_ms_of(change.hlc)
    if change.dead:
        if change.body:  # a kept loser was dropped: nobody saw it as the object
            return None
        return Happened(uid, Happening("ObjectRemoved:Delete", time_ms, key, change.hlc, version_id), time_ms)
    record = decode_object(change.body)
    if EVENT_EXTRA not in record.extra:
        return None
    facts = decode_facts(record.extra[EVENT_EXTRA])
    if record.marker:
        event = "LifecycleExpiration" if facts.kind == EXPIRED else "ObjectRemoved"
        time_ms = record.modified_ms
        happening = Happening(f"{event}:DeleteMarkerCreated", time_ms, key, change.hlc, version_id, facts=facts)
        return Happened(uid, happening, time_ms)
    name = f"ObjectCreated:{facts.kind}"
    happening = Happening(name, record.modified_ms, key, change.hlc, version_id, record.size, record.etag, facts=facts)
    return Happened(uid, happening, record.modified_ms)


def _read_document(change: Change) -> list[Happened]:
    uid, vid, key, name = split_version_document(change.item)
    body = change.body[IDENTITY_SIZE:] if vid == NULL_VID else change.body
    when_set, when_removed = _DOCUMENTS.get(name, ((), ()))
    events = when_removed if change.dead or not body else when_set
    time_ms, version_id = wall_ms_of(change.hlc), VersionId(vid).text
    return [Happened(uid, Happening(event, time_ms, key, change.hlc, version_id), time_ms) for event in events]
