"""What is dead in the index and may be forgotten, and the changes that end it. Reads rows; changes nothing.

Stands between the tables and ``graveyard`` (which asks) and ``decision`` (which stages). An **ending** is a dead change
that replaces the tombstone, what that hides, and itself (``replication/tombstones`` says when, and why nothing shows
again): nothing is left of it wherever it is applied, in older releases, too. By kind, with every dot up to the cut:

    null slot   deletes only, and no row that lives at the key: a kept loser would become current, a conditional write
                above the delete would be compared with another one                                   body b"drop"
    version     purges that stand, with the value they hide and its documents; not before the value arrived (it would
                show), not a purge of a marker while anything lives at the key (the marker's id derives from what it
                hid: made again, it would have the same)                                              body b""
    document    of a null-slot object that is gone: it never shows again, and nobody replaces it      body 24 zeros
    doom        one that is over                                                                      body b""

Kept for ever, and counted: what deleted buckets, their documents, users, keys, identity items. Kept, too, are purges
without conditions (of before there were any): the value they hide is not known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from gateway.store.index import Transaction
from gateway.store.index_format import ROLE_NULL, ROLE_VERSION, HeadRow, VersionRow, decode_head
from gateway.store.item_format import (
    FAMILY_DOOM,
    FAMILY_NULL_SLOT,
    FAMILY_VERSION,
    FAMILY_VERSION_DOCUMENT,
    UID_SIZE,
    null_slot_item,
    split_version_document,
    version_documents_prefix,
    version_item,
)
from gateway.store.item_rows import CONFIGURATION_FAMILIES, decode_entry, read_entry, scan_entries
from gateway.store.object_format import decode_object
from gateway.store.object_rows import DROP_BODY, read_head, rows_of_key
from gateway.store.purge_format import UNCONDITIONAL
from gateway.store.version_document_format import IDENTITY_SIZE
from gateway.store.version_ids import NULL_VID, decode_order
from gateway.store.version_state import read_state
from replication.change_format import Change
from replication.crdt import Dot, Write
from replication.ports import Origin

WAITS: Final = "not_yet_stable"
BESIDE: Final = "beside_what_lives"
OTHERS: Final = "of_other_sites"
CONFIGURATION: Final = "configuration"
NO_OBJECT: Final = bytes(IDENTITY_SIZE)
_OBJECT, _ITEM = b"o", b"i"
Cut = Mapping[Origin, int]
IsMine = Callable[[bytes], bool]


class Ending(NamedTuple):
    """A change to be made: of which item, what it replaces besides itself, above which clock, its body."""

    family: int
    item: bytes
    replaces: tuple[Dot, ...]
    above: int
    body: bytes


class Dead(NamedTuple):
    """What is dead at one key or item: what ends it, and why the rest is kept (tombstones by reason)."""

    endings: list[Ending]
    kept: Counter[str]


def is_ending(change: Change) -> bool:
    """Whether a change only ends tombstones: to people, nothing happened."""
    if not change.dead or change.dot not in change.replaces:
        return False
    return change.body in ((NO_OBJECT,) if change.family == FAMILY_VERSION_DOCUMENT else (b"", DROP_BODY))


def scan_dead(transaction: Transaction, cut: Cut, is_mine: IsMine, after: bytes) -> Iterator[tuple[bytes, Dead]]:
    """Every key and item behind ``after``, each with a name for ``dead_at`` and for going on behind it."""
    if after[:1] != _ITEM:
        start = after[1:] + b"\0" if after else b""
        for key, data in transaction.scan(transaction.tables.heads, start):
            yield _OBJECT + key, _dead_at_key(transaction, key, decode_head(data), cut, is_mine)
    start = after[1:] + b"\0" if after[:1] == _ITEM else b""
    for key, data in transaction.scan(transaction.tables.items, start):
        yield _ITEM + key, _dead_at_item(transaction, key[0], key[1:], decode_entry(data).live, cut, is_mine)


def dead_at(transaction: Transaction, name: bytes, cut: Cut) -> Dead:
    """What is dead there now, whosever it is."""
    if name[:1] == _ITEM:
        live = read_entry(transaction, name[1], name[2:]).live
        return _dead_at_item(transaction, name[1], name[2:], live, cut, _anybody)
    head = read_head(transaction, name[1 : 1 + UID_SIZE], name[1 + UID_SIZE :])
    return Dead([], Counter()) if head is None else _dead_at_key(transaction, name[1:], head, cut, _anybody)


def _anybody(site: bytes) -> bool:
    return True


def _dead_at_key(transaction: Transaction, uid_key: bytes, head: HeadRow, cut: Cut, is_mine: IsMine) -> Dead:
    rows = list(rows_of_key(transaction, head.key_id))
    dead = [row for row in rows if row.dead]
    result = Dead([], Counter())
    if not dead:
        return result
    is_empty = len(dead) == len(rows)
    is_stable = _are_stable([decode_order(row.order)[1] for row in rows], cut)
    markers_stay = BESIDE if not is_empty else "" if is_stable else WAITS
    uid, key = uid_key[:UID_SIZE], uid_key[UID_SIZE:]
    nulls = [row for row in dead if row.role & ROLE_NULL]
    if nulls:
        reason = "" if is_empty else BESIDE
        dots = [decode_order(row.order)[1] for row in nulls]
        body = (FAMILY_NULL_SLOT, null_slot_item(uid, key), dots, head.top_hlc, DROP_BODY)
        _judge(result, len(nulls), reason, cut, is_mine, *body)
    by_vid: dict[bytes, list[VersionRow]] = {}
    for row in rows:
        if row.role & ROLE_VERSION:
            by_vid.setdefault(row.vid, []).append(row)
    for vid, group in by_vid.items():
        purges = sum(row.dead for row in group)
        if purges:
            reason, dots = _weigh_version(transaction, uid, vid, key, group, cut, markers_stay)
            body = (FAMILY_VERSION, version_item(uid, vid, key), dots, head.top_hlc, UNCONDITIONAL)
            _judge(result, purges, reason, cut, is_mine, *body)
    return result


def _weigh_version(
    transaction: Transaction, uid: bytes, vid: bytes, key: bytes, group: list[VersionRow], cut: Cut, markers_stay: str
) -> tuple[str, list[Dot]]:
    """Why the purges of a version are kept ("": nothing speaks for it but their own dots), and what ends with them."""
    state = read_state(group)
    dots = [decode_order(order)[1] for order in (*state.purges, *state.values)]
    if any(not row.dead for row in group) or not state.values or UNCONDITIONAL in state.purges.values():
        return BESIDE, dots
    marker = any(decode_object(body).marker for body in state.values.values())
    if marker and markers_stay:
        return markers_stay, dots
    prefix = version_documents_prefix(uid, vid, key)
    entries = [entry for _, entry in scan_entries(transaction, FAMILY_VERSION_DOCUMENT, prefix)]
    documents = [write.dot for entry in entries for write in entry.live]
    return "" if _are_stable(documents, cut) else WAITS, dots


def _dead_at_item(
    transaction: Transaction, family: int, item: bytes, live: tuple[Write, ...], cut: Cut, is_mine: IsMine
) -> Dead:
    result = Dead([], Counter())
    dead = sum(write.dead for write in live)
    dots, above = [write.dot for write in live], live[0].hlc if live else 0
    if family in CONFIGURATION_FAMILIES:
        if dead:
            result.kept[CONFIGURATION] += dead
    elif family == FAMILY_VERSION_DOCUMENT:
        uid, vid, key, _ = split_version_document(item)
        if vid == NULL_VID and live:
            reason = _weigh_slot(transaction, uid, key, cut)
            if reason != BESIDE:
                _judge(result, len(live), reason, cut, is_mine, family, item, dots, above, NO_OBJECT)
    elif family == FAMILY_DOOM and dead:
        reason = "" if dead == len(live) else BESIDE
        _judge(result, dead, reason, cut, is_mine, family, item, dots, above, b"")
    return result


def _weigh_slot(transaction: Transaction, uid: bytes, key: bytes, cut: Cut) -> str:
    """Why documents of a key's null-slot objects are kept."""
    head = read_head(transaction, uid, key)
    nulls = [row for row in rows_of_key(transaction, head.key_id) if row.role & ROLE_NULL] if head is not None else []
    if any(not row.dead for row in nulls):
        return BESIDE
    return "" if _are_stable([decode_order(row.order)[1] for row in nulls], cut) else WAITS


def _judge(
    result: Dead,
    count: int,
    reason: str,
    cut: Cut,
    is_mine: IsMine,
    family: int,
    item: bytes,
    dots: list[Dot],
    above: int,
    body: bytes,
) -> None:
    """``dots``: of tombstones, and of what ends with them; the first one's site is who ends them."""
    if not reason and not _are_stable(dots, cut):
        reason = WAITS
    if not reason and not is_mine(dots[0].site):
        reason = OTHERS
    if reason:
        result.kept[reason] += count
    else:
        result.endings.append(Ending(family, item, tuple(dots), above, body))


def _are_stable(dots: Iterable[Dot], cut: Cut) -> bool:
    return all(dot.seq <= cut.get((dot.site, dot.incarnation), 0) for dot in dots)
