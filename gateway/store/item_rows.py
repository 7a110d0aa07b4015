"""Items that are entries of the lattice as such: buckets, documents, users, access keys; merged, and read.

Stands between ``apply`` and the tables ``items`` and ``names``. The stored entry is exactly what ``crdt.merge`` gives
(marks live in their own table, for all items together). The verdicts are derived when read:

* bucket: observed-remove: live if any sibling is, or if anything visible is left in it (concurrent writes revive it);
  two owners' buckets of one name: the earlier keeps the name, others are called ``<name>--<8 hex of uid>``;
* document: the greatest order; but among siblings ``versioning``: Enabled wins, and it is always where there is an
  ``object-lock`` (a site may suspend what another one locks meanwhile); ``object-lock``: the greatest body;
  ``public-access-block``: what either blocks; ``ownership``: BucketOwnerEnforced wins (ACLs off);
* user, access key: deleted wins, disabled wins;
* identity (roles, groups, policies, memberships …): deleted wins, else the greatest order;
* statements on sites: replication's to read (``member_format``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

import msgspec

from gateway.store.document_format import AccessKeyRecord, BucketRecord, UserRecord, decode_record
from gateway.store.doom_format import decode_doom
from gateway.store.identity_format import check_identity_item
from gateway.store.index import Transaction
from gateway.store.index_format import encode_dot
from gateway.store.item_format import (
    FAMILY_ACCESS_KEY,
    FAMILY_BUCKET,
    FAMILY_DOCUMENT,
    FAMILY_DOOM,
    FAMILY_IDENTITY,
    FAMILY_MEMBER,
    FAMILY_NULL_SLOT,
    FAMILY_USER,
    FAMILY_VERSION,
    FAMILY_VERSION_DOCUMENT,
    FAMILY_VOID,
    UID_SIZE,
    document_item,
    split_document,
)
from gateway.store.object_format import decode_object
from gateway.store.object_rows import count_visible
from gateway.store.purge_format import decode_purge
from gateway.store.version_document_format import check_version_document_item
from replication.change_format import Change, ChangeInvalid, ChangeTooNew
from replication.crdt import Dot, Entry, Write, is_removed, merge, winner
from replication.member_format import check_member_item

CONFIGURATION_FAMILIES: Final = frozenset(
    (FAMILY_BUCKET, FAMILY_DOCUMENT, FAMILY_USER, FAMILY_ACCESS_KEY, FAMILY_IDENTITY)
)
_FAMILIES: Final = CONFIGURATION_FAMILIES | {
    FAMILY_NULL_SLOT,
    FAMILY_VERSION,
    FAMILY_VERSION_DOCUMENT,
    FAMILY_MEMBER,
    FAMILY_DOOM,
}
VERSIONING: Final = "versioning"
OBJECT_LOCK: Final = "object-lock"
PUBLIC_ACCESS_BLOCK: Final = "public-access-block"
OWNERSHIP: Final = "ownership"
_BUCKET_NAME_MAX: Final = 63
_SUFFIX: Final = "--"
_SUFFIX_HEX: Final = 8
_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(list[tuple[bytes, bytes, int, int, bool, bytes]])


class NamedBucket(NamedTuple):
    """A live bucket: identity, the name it resolves by on this site, and its record."""

    uid: bytes
    name: str
    record: BucketRecord


def apply_item(transaction: Transaction, change: Change, is_applied: Callable[[Dot], bool]) -> None:
    """Merge one change into its item's entry."""
    stored = read_entry(transaction, change.family, change.item)
    marked = transaction.delete(transaction.tables.marks, encode_dot(change.dot))
    entry = Entry(stored.live, frozenset((change.dot,)) if marked else frozenset())
    merged = merge(entry, change.entry())
    for dot in change.replaces:
        if not is_applied(dot):  # also one that a checkpoint brought before its log: it must not come again
            transaction.put(transaction.tables.marks, encode_dot(dot), b"")
    put_entry(transaction, change.family, change.item, merged.live)


def put_entry(transaction: Transaction, family: int, item: bytes, live: tuple[Write, ...]) -> None:
    """Store the unreplaced writes of an item, greatest order first; a bucket is found by its name from then on. Of an
    item that only changes without a value were made of, nothing.
    """
    if not live:
        transaction.delete(transaction.tables.items, bytes((family,)) + item)
        return
    rows = [(*write.dot, write.hlc, write.dead, write.body) for write in live]
    transaction.put(transaction.tables.items, bytes((family,)) + item, _encoder.encode(rows))
    if family == FAMILY_BUCKET:
        name = decode_record(BucketRecord, live[0].body).name
        transaction.put(transaction.tables.names, name.encode() + b"\0" + item, b"")


def check_value(change: Change) -> None:
    """Whether this site understands what a change carries: ``ChangeTooNew`` or ``ChangeInvalid`` if not."""
    if change.family == FAMILY_VOID:
        if not change.dead or change.refs or change.item or change.body:
            raise ChangeInvalid(f"change {change.dot.seq} tells of something that was to stay where it is")
        return
    if change.family not in _FAMILIES:
        raise ChangeTooNew(f"change {change.dot.seq} is of family {change.family}: upgrade this site")
    if change.family == FAMILY_BUCKET:
        decode_record(BucketRecord, change.body)  # a tombstone keeps the record, too
    elif change.family == FAMILY_VERSION_DOCUMENT:
        try:
            check_version_document_item(change.item, change.body, dead=change.dead)
        except ValueError as error:  # UnicodeDecodeError among them
            raise ChangeInvalid(f"change {change.dot.seq} is no document of a version: {error}") from error
    elif change.family == FAMILY_IDENTITY:
        check_identity_item(change.item, change.body, dead=change.dead)
    elif change.family == FAMILY_MEMBER:
        check_member_item(change.item, change.body, dead=change.dead)
    elif change.dead and change.family == FAMILY_VERSION:
        decode_purge(change.body)
    elif change.dead:
        return
    elif change.family == FAMILY_DOOM:
        decode_doom(change.body)
    elif change.family in (FAMILY_NULL_SLOT, FAMILY_VERSION):
        decode_object(change.body)
    elif change.family == FAMILY_USER:
        decode_record(UserRecord, change.body)
    elif change.family == FAMILY_ACCESS_KEY:
        decode_record(AccessKeyRecord, change.body)


def read_entry(transaction: Transaction, family: int, item: bytes) -> Entry:
    """The entry of an item (its marks apart); the empty one if nobody wrote it."""
    data = transaction.get(transaction.tables.items, bytes((family,)) + item)
    return Entry() if data is None else decode_entry(data)


def scan_entries(transaction: Transaction, family: int, prefix: bytes = b"") -> Iterator[tuple[bytes, Entry]]:
    """Items of a family whose keys begin with ``prefix``, ascending."""
    start = bytes((family,)) + prefix
    for key, data in transaction.scan(transaction.tables.items, start, start):
        yield key[1:], decode_entry(data)


def read_bucket(transaction: Transaction, uid: bytes) -> BucketRecord | None:
    """The record of a bucket that is alive on this site."""
    return _read_bucket(transaction, uid, read_entry(transaction, FAMILY_BUCKET, uid))


def resolve_bucket(transaction: Transaction, name: str) -> NamedBucket | None:
    """The live bucket that this name stands for on this site."""
    claimants = _claimants(transaction, name)
    if claimants:
        return claimants[0]
    base, _, suffix = name.rpartition(_SUFFIX)
    if not base or len(suffix) != _SUFFIX_HEX:
        return None
    names = {base} if len(name) < _BUCKET_NAME_MAX else set(_names_beginning(transaction, base))
    found = [bucket for original in names for bucket in _claimants(transaction, original)[1:] if bucket.name == name]
    return min(found, default=None)


def scan_buckets(transaction: Transaction) -> list[NamedBucket]:
    """All live buckets, by the names they have on this site."""
    found = [bucket for name in _names_beginning(transaction, "") for bucket in _claimants(transaction, name)]
    return sorted(found, key=lambda bucket: bucket.name)


def read_document(transaction: Transaction, uid: bytes, name: str) -> bytes | None:
    """A bucket's document as it applies; None if there is none."""
    entry = read_entry(transaction, FAMILY_DOCUMENT, document_item(uid, name))
    if name == VERSIONING and (
        any(write.body == b"Enabled" and not write.dead for write in entry.live)
        or read_document(transaction, uid, OBJECT_LOCK) is not None
    ):
        return b"Enabled"
    if name == PUBLIC_ACCESS_BLOCK and len(entry.live) > 1:  # the names of switches: each that is on anywhere is on
        switches = {switch for write in entry.live if not write.dead for switch in write.body.split(b",")}
        return b",".join(sorted(switches - {b""})) if any(not write.dead for write in entry.live) else None
    if name == OWNERSHIP and any(write.body == b"BucketOwnerEnforced" and not write.dead for write in entry.live):
        return b"BucketOwnerEnforced"
    if name == OBJECT_LOCK:  # its bytes compare as its safety does
        return max([write.body for write in entry.live if not write.dead], default=None)
    newest = winner(entry)
    return None if newest is None or newest.dead else newest.body


def document_names(transaction: Transaction, uid: bytes) -> list[str]:
    """Names of a bucket's documents that have a live sibling."""
    entries = scan_entries(transaction, FAMILY_DOCUMENT, uid)
    return [split_document(item)[1] for item, entry in entries if any(not write.dead for write in entry.live)]


def read_user(transaction: Transaction, user_id: str) -> UserRecord | None:
    """A user who was not deleted; disabled if any sibling says so."""
    return _user_of(read_entry(transaction, FAMILY_USER, user_id.encode()))


def scan_users(transaction: Transaction) -> list[UserRecord]:
    """All users, by id."""
    found = [_user_of(entry) for _, entry in scan_entries(transaction, FAMILY_USER)]
    return [user for user in found if user is not None]


def read_access_key(transaction: Transaction, access_key_id: str) -> AccessKeyRecord | None:
    """An access key that was not deleted; disabled if any sibling says so."""
    return _access_key_of(read_entry(transaction, FAMILY_ACCESS_KEY, access_key_id.encode()))


def scan_access_keys(transaction: Transaction) -> list[AccessKeyRecord]:
    """All access keys, by id."""
    found = [_access_key_of(entry) for _, entry in scan_entries(transaction, FAMILY_ACCESS_KEY)]
    return [key for key in found if key is not None]


def read_identity(transaction: Transaction, name: str) -> bytes | None:
    """The body of an identity item that was not deleted."""
    return _identity_of(read_entry(transaction, FAMILY_IDENTITY, name.encode()))


def scan_identities(transaction: Transaction, prefix: str) -> list[tuple[str, bytes]]:
    """(name, body) of the identity items whose names begin with ``prefix``, by name."""
    found = [
        (item.decode(), _identity_of(entry))
        for item, entry in scan_entries(transaction, FAMILY_IDENTITY, prefix.encode())
    ]
    return [(name, body) for name, body in found if body is not None]


def derived_name(name: str, uid: bytes) -> str:
    """What a bucket is called where an earlier one of another owner has its name."""
    suffix = _SUFFIX + uid.hex()[:_SUFFIX_HEX]
    return name[: _BUCKET_NAME_MAX - len(suffix)] + suffix


def _claimants(transaction: Transaction, name: str) -> list[NamedBucket]:
    """Live buckets created under this name: the one that keeps it first, the others under their derived names."""
    prefix = name.encode() + b"\0"
    found: list[tuple[tuple[int, bytes, bytes, int], NamedBucket]] = []
    for key, _ in transaction.scan(transaction.tables.names, prefix, prefix):
        uid = key[-UID_SIZE:]
        if len(key) != len(prefix) + UID_SIZE:
            continue
        entry = read_entry(transaction, FAMILY_BUCKET, uid)
        record = _read_bucket(transaction, uid, entry)
        if record is not None:
            created = [write.order for write in entry.live if not write.dead] or [write.order for write in entry.live]
            found.append((min(created), NamedBucket(uid, name, record)))
    found.sort(key=lambda claim: claim[0])
    later = [bucket._replace(name=derived_name(name, bucket.uid)) for _, bucket in found[1:]]
    return [*(bucket for _, bucket in found[:1]), *later]


def _names_beginning(transaction: Transaction, base: str) -> Iterator[str]:
    last = None
    for key, _ in transaction.scan(transaction.tables.names, base.encode(), base.encode()):
        name = key[: -UID_SIZE - 1].decode()
        if name != last:
            yield name
        last = name


def _read_bucket(transaction: Transaction, uid: bytes, entry: Entry) -> BucketRecord | None:
    newest = next((write for write in entry.live if not write.dead), None)
    if newest is None:
        newest = winner(entry)
        if newest is None or not count_visible(transaction, uid):
            return None
    return decode_record(BucketRecord, newest.body)


def _user_of(entry: Entry) -> UserRecord | None:
    if not entry.live or is_removed(entry):
        return None
    records = [decode_record(UserRecord, write.body) for write in entry.live]
    disabled = any(record.disabled for record in records)
    return msgspec.structs.replace(records[0], disabled=disabled) if disabled else records[0]


def _access_key_of(entry: Entry) -> AccessKeyRecord | None:
    if not entry.live or is_removed(entry):
        return None
    records = [decode_record(AccessKeyRecord, write.body) for write in entry.live]
    disabled = any(record.disabled for record in records)
    return msgspec.structs.replace(records[0], disabled=disabled) if disabled else records[0]


def _identity_of(entry: Entry) -> bytes | None:
    return None if not entry.live or is_removed(entry) else entry.live[0].body


def decode_entry(data: bytes) -> Entry:
    """The entry in a stored value (its marks apart)."""
    rows = _decoder.decode(data)
    return Entry(tuple([Write(Dot(site, inc, seq), hlc, dead, body) for site, inc, seq, hlc, dead, body in rows]))
