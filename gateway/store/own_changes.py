"""This site's own changes, read back from the log: for shipping, for the cursor's sums, and to issue them anew.

Stands between the log (with the index to find batches) and ``replica``. A site whose log parted from what the cloud
may know (its end was torn and rebuilt, or it was fenced as a clone) must never use a sequence number twice: it takes
a new random incarnation and issues what was not shipped anew, with the same clocks, items and values under new dots
(``renaming``). ``take_incarnation`` and ``issue_anew`` do that in one decision, so that it happens whole or not at all.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import msgspec

from gateway.store.decision import Decision
from gateway.store.errors import Damaged
from gateway.store.index import Transaction
from gateway.store.index_format import State
from gateway.store.item_format import FAMILY_NULL_SLOT, FAMILY_VERSION
from gateway.store.item_rows import read_entry
from gateway.store.log import Log
from gateway.store.log_format import Anew, Incarnation, Own, Parted, Record, Shipped
from gateway.store.log_rows import Former, batch_of_seq, read_batch_row, read_former, scan_batches
from gateway.store.object_rows import is_standing
from gateway.store.renaming import Renaming
from replication.change_format import Change, decode_change
from replication.crdt import INCARNATION_SIZE, Dot
from replication.ports import LogPosition, Reissue


def read_own(transaction: Transaction, log: Log, state: State, first_seq: int) -> Iterator[tuple[int, Own | Anew]]:
    """Own changes of the newest incarnation from ``first_seq`` on, with their sequence numbers."""
    return _read_incarnation(transaction, log, state.incarnation, first_seq)


def _read_incarnation(
    transaction: Transaction, log: Log, incarnation: bytes, first_seq: int
) -> Iterator[tuple[int, Own | Anew]]:
    """Own changes from ``first_seq`` of an incarnation on; of later ones, too, which count from 1 again."""
    number = batch_of_seq(transaction, incarnation, first_seq)
    if number is None:
        return
    for _, row in scan_batches(transaction, number):
        if row.own_count:
            yield from _owns_of(log, row.segment, row.offset, row.first_seq, first_seq)


class Stretch(NamedTuple):
    """Own changes behind ``after_seq`` of ``incarnation``, as they stand in the log."""

    incarnation: bytes
    after_seq: int
    changes: list[bytes]


def read_on(
    transaction: Transaction, log: Log, state: State, incarnation: bytes, after_seq: int, count: int
) -> Stretch:
    """At most ``count`` own changes behind one, whichever incarnation of this machine that was: what it is known for
    in the cloud first, then what followed it; what was read before and issued anew since is passed over.
    """
    while incarnation != state.incarnation:
        former = read_former(transaction, incarnation)
        if former is None:  # never ours
            incarnation, after_seq = state.incarnation, 0
            break
        if after_seq < former.last_seq:
            count = min(count, former.last_seq - after_seq)
            found = islice(_read_incarnation(transaction, log, incarnation, after_seq + 1), count)
            return Stretch(incarnation, after_seq, [record.change for _, record in found])
        incarnation, after_seq = _find_successor(transaction, log, former, after_seq)
    found = islice(read_own(transaction, log, state, after_seq + 1), count)
    return Stretch(incarnation, after_seq, [record.change for _, record in found])


def _find_successor(transaction: Transaction, log: Log, former: Former, read_seq: int) -> tuple[bytes, int]:
    """The incarnation that followed, and how many of its first changes were read under their former dots."""
    row = read_batch_row(transaction, former.batch)
    records = [] if row is None else log.records(row.segment, row.offset)
    for at, record in enumerate(records):
        if isinstance(record, Parted):
            return record.incarnation, sum([one.seq <= read_seq for one in records[at:] if isinstance(one, Anew)])
        if isinstance(record, Incarnation):
            return record.incarnation, former.last_seq - former.shipped_seq
    raise Damaged(f"log batch {former.batch} does not begin an incarnation")


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
    """Take a new random incarnation and issue anew, under it, every own change that was not shipped: its id.

    For a log whose end was torn: what others may have of it are these very changes, so each names its former self.
    """
    state = decision.state()
    unsent = list(read_own(decision.transaction, log, state, state.shipped_seq + 1))
    former, incarnation = state.incarnation, os.urandom(INCARNATION_SIZE)
    decision.stage_record(Incarnation(site, incarnation))
    renaming = Renaming((site, former), (site, incarnation))
    for old_seq, record in unsent:
        change = decode_change(record.change)
        stands = _is_standing(decision.transaction, change)
        anew = renaming.rename(change, stands=stands, is_named=True)
        decision.stage_anew(anew, record.ship_bytes - len(record.change))
        assert anew.dot.seq == renaming.count, f"change {old_seq} lost its place"
    return incarnation


def issue_anew(decision: Decision, log: Log, reissue: Reissue) -> int:
    """Go on as ``reissue`` says: how many changes were issued anew. Nothing may be staged in the batch before it.

    See ``ChangeLog.issue_anew``; 0 if the log is not the former one any more.
    """
    state, (site, incarnation) = decision.state(), reissue.former
    if (decision.site, state.incarnation) != (site, incarnation):
        return 0
    unsent = list(read_own(decision.transaction, log, state, reissue.known_seq + 1))
    if [seq for seq, _ in unsent] != list(range(reissue.known_seq + 1, state.seq + 1)):
        raise Damaged(f"the log does not have every change behind {reissue.known_seq} up to {state.seq}")
    common = reissue.common
    decision.stage_record(
        Parted(
            *(reissue.site, reissue.incarnation, common.n, common.seq, common.chain),
            *(reissue.known_seq, reissue.named_seq, reissue.reason),
        )
    )
    renaming = Renaming(reissue.former, (reissue.site, reissue.incarnation))
    for seq, record in unsent:
        change = decode_change(record.change)
        stands = _is_standing(decision.transaction, change)
        anew = renaming.rename(change, stands=stands, is_named=seq <= reissue.named_seq)
        decision.stage_anew(anew, record.ship_bytes - len(record.change), change.dot, stands=stands)
    return len(unsent)


def restate(decision: Decision, log: Log, changes: Sequence[bytes]) -> int:
    """Write those of these own changes of the newest incarnation again that still stand: see ``ChangeLog.restate``."""
    state, origin = decision.state(), (decision.site, decision.state().incarnation)
    own = [one for one in map(decode_change, changes) if one.dot[:2] == origin]
    standing = [one for one in own if _is_standing(decision.transaction, one)]
    for change in standing:
        _, record = next(read_own(decision.transaction, log, state, change.dot.seq))
        dot = Dot(*origin, decision.state().seq + 1)
        again = msgspec.structs.replace(change, dot=dot, replaces=(change.dot, *change.replaces))
        decision.stage_anew(again, record.ship_bytes - len(record.change))
    return len(standing)


def _is_standing(transaction: Transaction, change: Change) -> bool:
    """Whether nothing that was applied here has replaced an own change."""
    if change.family in (FAMILY_NULL_SLOT, FAMILY_VERSION):
        return is_standing(transaction, change)
    return any(write.dot == change.dot for write in read_entry(transaction, change.family, change.item).live)


def _owns_of(log: Log, segment: int, offset: int, seq: int, first_seq: int) -> Iterator[tuple[int, Own | Anew]]:
    for record in own_records(log.records(segment, offset)):
        if seq >= first_seq:
            yield seq, record
        seq += 1


def own_records(records: Sequence[Record]) -> list[Own | Anew]:
    """Own changes of a batch, of the incarnation that it ends with."""
    found: list[Own | Anew] = []
    for record in records:
        if isinstance(record, Incarnation | Parted):
            found.clear()
        elif isinstance(record, Own | Anew):
            found.append(record)
    return found


def scan_trail(transaction: Transaction, log: Log, batch: int) -> Iterator[LogPosition]:
    """Cursors that were recorded in the batches from number ``batch`` down, to where the incarnation began."""
    for number in range(batch, 0, -1):
        row = read_batch_row(transaction, number)
        records = [] if row is None else log.records(row.segment, row.offset)
        for record in reversed(records):
            if isinstance(record, Incarnation | Parted):
                return
            if isinstance(record, Shipped):
                yield LogPosition(record.n, record.seq, record.chain)
