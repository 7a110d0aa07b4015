"""This site's own changes, read back from the log: for shipping, for the cursor's sums, and to issue them anew.

Stands between the log (with the index to find batches) and ``replica``. A site whose log parted from what the cloud
may know (its end was torn and rebuilt, or it was fenced as a clone) must never use a sequence number twice: it takes
a new random incarnation and issues what was not shipped anew, with the same clocks, items and bodies under new dots,
each replacing its former self. ``take_incarnation`` does that in one decision, so that it happens whole or not at
all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import msgspec

from gateway.store.decision import Decision
from gateway.store.errors import Damaged
from gateway.store.index import Transaction
from gateway.store.index_format import State
from gateway.store.item_format import FAMILY_NULL_SLOT, FAMILY_VERSION
from gateway.store.item_rows import read_entry
from gateway.store.log import Log
from gateway.store.log_format import Incarnation, Own
from gateway.store.log_rows import batch_of_seq, read_batch_row, scan_batches
from gateway.store.object_rows import is_standing
from replication.change_format import Change, decode_change
from replication.crdt import INCARNATION_SIZE, Dot


def read_own(transaction: Transaction, log: Log, state: State, first_seq: int) -> Iterator[tuple[int, Own]]:
    """Own changes of the newest incarnation from ``first_seq`` on, with their sequence numbers."""
    number = batch_of_seq(transaction, state.incarnation, first_seq)
    if number is None:
        return
    for _, row in scan_batches(transaction, number):
        if row.own_count:
            yield from _owns_of(log, row.segment, row.offset, row.first_seq, first_seq)


def ship_total_at(transaction: Transaction, log: Log, state: State, seq: int) -> int:
    """Sum of ``ship_bytes`` of everything up to an own change of the newest incarnation."""
    if seq == state.seq:
        return state.ship_total
    if seq == state.shipped_seq:
        return state.shipped_total
    number = batch_of_seq(transaction, state.incarnation, seq)
    row = read_batch_row(transaction, number) if number is not None else None
    if row is None:
        raise Damaged(f"the log has no change {seq}")
    records = _owns_of(log, row.segment, row.offset, row.first_seq, row.first_seq)
    return row.ship_before + sum([record.ship_bytes for at, record in records if at <= seq])


def take_incarnation(decision: Decision, log: Log, site: bytes) -> bytes:
    """Take a new random incarnation and issue anew, under it, every own change that was not shipped: its id."""
    state = decision.state()
    unsent = list(read_own(decision.transaction, log, state, state.shipped_seq + 1))
    former, incarnation = state.incarnation, os.urandom(INCARNATION_SIZE)
    decision.stage_record(Incarnation(site, incarnation))
    renamed: dict[Dot, Dot] = {}
    for seq, (old_seq, record) in enumerate(unsent, 1):
        change = decode_change(record.change)
        dot, old = Dot(site, incarnation, seq), Dot(site, former, old_seq)
        renamed[old] = dot
        replaces = (old, *change.replaces, *[renamed[replaced] for replaced in change.replaces if replaced in renamed])
        anew = msgspec.structs.replace(change, dot=dot, replaces=replaces)
        if not _is_standing(decision.transaction, change):
            # Replaced by what may only have seen its former self (the cloud may have that, and another site read it):
            # it replaces itself, too, so that it takes its place in the log and comes back nowhere.
            anew = msgspec.structs.replace(anew, replaces=(*replaces, dot), refs=())
        decision.stage_anew(anew, record.ship_bytes - len(record.change))
    return incarnation


def _is_standing(transaction: Transaction, change: Change) -> bool:
    """Whether nothing that was applied here has replaced an own change."""
    if change.family in (FAMILY_NULL_SLOT, FAMILY_VERSION):
        return is_standing(transaction, change)
    return any(write.dot == change.dot for write in read_entry(transaction, change.family, change.item).live)


def _owns_of(log: Log, segment: int, offset: int, seq: int, first_seq: int) -> Iterator[tuple[int, Own]]:
    for record in log.records(segment, offset):
        if isinstance(record, Own):
            if seq >= first_seq:
                yield seq, record
            seq += 1
