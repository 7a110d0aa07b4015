"""Documents of single versions in the index: what was changed of a version's tags, ACL and lock after it was written.

Stands beside ``item_rows`` (they are items of family VERSION_DOCUMENT, merged like any other), between ``apply`` and
the table ``items``. All documents of one version lie side by side: reading them is one short walk. The rows of a
version stay while a purge of it could turn out to be void (``purge_format``): it would come back with them; those of
one removed unconditionally are dropped, and what arrives for it later is not kept: ids are never reused. Those
of a null-slot object carry its identity instead, so they stop showing when it is overwritten, and are replaced by the
next document of that name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from gateway.store.index import Transaction
from gateway.store.index_format import encode_dot
from gateway.store.item_format import (
    FAMILY_VERSION_DOCUMENT,
    split_version_document,
    version_document_item,
    version_documents_prefix,
)
from gateway.store.item_rows import apply_item, read_entry, scan_entries
from gateway.store.object_rows import read_head, rows_of_vid
from gateway.store.ports import Version
from gateway.store.purge_format import UNCONDITIONAL, lock_name
from gateway.store.version_document_format import HOLD, IDENTITY_SIZE, RETENTION, choose_value
from gateway.store.version_ids import NULL_VID
from replication.change_format import Change
from replication.crdt import Dot, Write

LOCKS: Final = frozenset((RETENTION, HOLD))
"""Documents that make a purge void which had not seen them."""
ACKNOWLEDGED: Final = "condition-acknowledged"
"""Document of a version whose condition turned out not to have held, once somebody has dealt with it."""
_FAMILY = bytes((FAMILY_VERSION_DOCUMENT,))


def apply_version_document(transaction: Transaction, change: Change, is_applied: Callable[[Dot], bool]) -> bool:
    """Merge one change; whether its bucket had none before (so that what was cached about it is void)."""
    uid, vid, key, _ = split_version_document(change.item)
    if vid != NULL_VID and is_removed_for_good(transaction, uid, vid, key):
        transaction.delete(transaction.tables.marks, encode_dot(change.dot))
        return False
    first = not has_version_documents(transaction, uid)
    apply_item(transaction, change, is_applied)
    return first


def drop_version_documents(transaction: Transaction, uid: bytes, vid: bytes, key: bytes) -> None:
    """A version was removed for good: its rows go."""
    prefix = _FAMILY + version_documents_prefix(uid, vid, key)
    for item in [item for item, _ in transaction.scan(transaction.tables.items, prefix, prefix)]:
        transaction.delete(transaction.tables.items, item)


def read_locks(transaction: Transaction, uid: bytes, vid: bytes, key: bytes) -> frozenset[bytes]:
    """Names (``purge_format``) of the unreplaced locks of a version with an id: what a purge made now has seen."""
    entries = [
        (name, read_entry(transaction, FAMILY_VERSION_DOCUMENT, version_document_item(uid, vid, key, name)))
        for name in sorted(LOCKS)
    ]
    return frozenset(lock_name(name, write) for name, entry in entries for write in entry.live)


def is_acknowledged(transaction: Transaction, uid: bytes, vid: bytes, key: bytes, order: bytes) -> bool:
    """Whether somebody acknowledged that the condition of this version (or of this null-slot write) broke."""
    item = version_document_item(uid, vid, key, ACKNOWLEDGED)
    identity = order[:IDENTITY_SIZE] if vid == NULL_VID else b""
    live = read_entry(transaction, FAMILY_VERSION_DOCUMENT, item).live
    return any(not write.dead and write.body.startswith(identity) for write in live)


def has_version_documents(transaction: Transaction, uid: bytes) -> bool:
    """Whether any version of a bucket has (or had) a document of its own."""
    return next(transaction.scan(transaction.tables.items, _FAMILY + uid, _FAMILY + uid), None) is not None


def read_version_documents(transaction: Transaction, uid: bytes, version: Version) -> dict[str, bytes]:
    """What applies of each document of a version that was ever changed; b"" for one that was removed."""
    vid, identity = _owner(version)
    prefix = version_documents_prefix(uid, vid, version.key)
    found = {}
    for item, entry in scan_entries(transaction, FAMILY_VERSION_DOCUMENT, prefix):
        values = [_value(write, identity) for write in entry.live if write.body.startswith(identity)]
        if values:
            name = item[len(prefix) :].decode()
            found[name] = choose_value(name, values)
    return found


def locate_version_document(
    transaction: Transaction, uid: bytes, version: Version, name: str
) -> tuple[bytes, bytes, tuple[Write, ...], tuple[Dot, ...]]:
    """For a change of a document: its item key, what its body begins with, the siblings that apply now, and all that
    the change replaces (documents of overwritten objects among them; never those of a kept loser).
    """
    vid, identity = _owner(version)
    item = version_document_item(uid, vid, version.key, name)
    live = read_entry(transaction, FAMILY_VERSION_DOCUMENT, item).live
    if not identity:
        return item, identity, live, tuple([write.dot for write in live])
    head = read_head(transaction, uid, version.key)
    others = {order[:IDENTITY_SIZE] for order in head.nulls} - {identity} if head is not None else set()
    replaced = tuple([write.dot for write in live if write.body[:IDENTITY_SIZE] not in others])
    return item, identity, tuple([write for write in live if write.body.startswith(identity)]), replaced


def _owner(version: Version) -> tuple[bytes, bytes]:
    """The version id its documents lie under, and their identity (none for versions with an id)."""
    if version.id.order or version.id.vid == NULL_VID:
        return NULL_VID, version.order[:IDENTITY_SIZE]
    return version.id.vid, b""


def _value(write: Write, identity: bytes) -> bytes:
    return b"" if write.dead else write.body[len(identity) :]


def is_removed_for_good(transaction: Transaction, uid: bytes, vid: bytes, key: bytes) -> bool:
    """Whether a version is removed unconditionally: nothing brings it back."""
    head = read_head(transaction, uid, key)
    rows = rows_of_vid(transaction, head.key_id, vid) if head is not None else ()
    return any(row.dead and row.body == UNCONDITIONAL for row in rows)
