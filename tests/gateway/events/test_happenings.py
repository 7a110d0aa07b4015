"""What each kind of change means to notifications."""

import pytest

from gateway.events.happenings import read_happenings
from gateway.s3.event_messages import EVENT_EXTRA, EXPIRED, EventFacts, encode_facts
from gateway.store.item_format import (
    FAMILY_DOCUMENT,
    FAMILY_NULL_SLOT,
    FAMILY_USER,
    FAMILY_VERSION,
    FAMILY_VERSION_DOCUMENT,
    document_item,
    null_slot_item,
    version_document_item,
    version_item,
)
from gateway.store.object_format import ObjectRecord, encode_object
from gateway.store.version_ids import NULL_VID
from replication.change_format import Change
from replication.clock import hlc_of
from replication.crdt import Dot

UID, VID, KEY = b"u" * 16, b"v" * 16, "k/ü".encode()
DOT = Dot(b"s" * 16, b"i" * 8, 1)
NOW_MS = 1_700_000_000_000


def change(family, item, body=b"", *, dead=False):
    return Change(DOT, hlc_of(NOW_MS), family, item, dead, (), (), body)


def written(kind, **fields):
    extra = {EVENT_EXTRA: encode_facts(EventFacts(kind, "p", "r", "a"))} if kind else {}
    return encode_object(ObjectRecord(size=5, etag="e", modified_ms=NOW_MS, extra=extra, **fields))


def names(found):
    return [happened.happening.name for happened in read_happenings(found)]


@pytest.mark.parametrize(
    ("item", "family", "version_id"),
    [
        (null_slot_item(UID, KEY), FAMILY_NULL_SLOT, "null"),
        (version_item(UID, VID, KEY), FAMILY_VERSION, VID.hex()),
    ],
)
def test_objects(item, family, version_id):
    (found,) = read_happenings(change(family, item, written("Copy")))
    happening = found.happening
    assert (found.uid, happening.key, happening.version_id) == (UID, KEY, version_id)
    assert (happening.name, happening.size, happening.etag) == ("ObjectCreated:Copy", 5, "e")
    assert (happening.facts.principal, happening.sequencer) == ("p", hlc_of(NOW_MS))
    assert names(change(family, item, written("DeleteMarkerCreated", marker=True))) == [
        "ObjectRemoved:DeleteMarkerCreated"
    ]
    assert names(change(family, item, written(EXPIRED, marker=True))) == ["LifecycleExpiration:DeleteMarkerCreated"]
    assert names(change(family, item, dead=True)) == ["ObjectRemoved:Delete"]
    assert names(change(family, item, written(""))) == []


def test_a_dropped_loser_is_no_event():
    assert names(change(FAMILY_NULL_SLOT, null_slot_item(UID, KEY), b"drop", dead=True)) == []


@pytest.mark.parametrize(
    ("name", "when_set", "when_removed"),
    [
        ("tags", ["ObjectTagging:Put"], ["ObjectTagging:Delete"]),
        ("acl", ["ObjectAcl:Put"], ["ObjectAcl:Put"]),
        ("restore", ["ObjectRestore:Post", "ObjectRestore:Completed"], ["ObjectRestore:Delete"]),
        ("storage", ["LifecycleTransition"], []),
        ("retention", [], []),
    ],
)
@pytest.mark.parametrize(("vid", "identity"), [(VID, b""), (NULL_VID, b"i" * 24)])
def test_documents_of_versions(name, when_set, when_removed, vid, identity):
    item = version_document_item(UID, vid, KEY, name)
    assert names(change(FAMILY_VERSION_DOCUMENT, item, identity + b"x")) == when_set
    assert names(change(FAMILY_VERSION_DOCUMENT, item, identity)) == when_removed
    assert names(change(FAMILY_VERSION_DOCUMENT, item, identity, dead=True)) == when_removed


def test_other_changes():
    (found,) = read_happenings(change(FAMILY_DOCUMENT, document_item(UID, "notification"), b"x"))
    assert (found.uid, found.happening) == (UID, None)
    assert read_happenings(change(FAMILY_DOCUMENT, document_item(UID, "notification"), dead=True)) == []
    assert read_happenings(change(FAMILY_DOCUMENT, document_item(UID, "policy"), b"x")) == []
    assert read_happenings(change(FAMILY_USER, b"me", b"x")) == []
