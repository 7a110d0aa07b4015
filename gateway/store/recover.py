"""Recovery: taking batches of the log into the index that are not in it yet.

Stands between opening a store (or beginning a write transaction) and the log. Used in three places: by whoever holds
the write lock, for what a dead process left (``take_in_abandoned``); at opening, for what lies behind the indexed
lengths of the log segments (``recover_tail``); and by ``rebuild`` for everything (``chain_batches``,
``apply_batch``).

Rules: batches are applied whole and in dense order, each naming the hash of the one before; a torn tail is left where
it is; a gap with whole batches behind it, or a damaged batch with others behind it, is ``Damaged`` and never bridged;
nothing is applied from a segment that was not synced first, so that the index never knows what the log may lose.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gateway.store.apply import Applier
from gateway.store.chunk_rows import OpenPages, read_segment
from gateway.store.errors import Damaged
from gateway.store.index import Index, Transaction
from gateway.store.index_format import State
from gateway.store.log import FoundBatch, Log, SegmentTail
from gateway.store.log_format import Incarnation
from gateway.store.segment_format import KIND_LOG
from gateway.store.shared import AbandonedAppend, Shared
from replication.crdt import INCARNATION_SIZE
from replication.sealing import SealBroken


def apply_batch(applier: Applier, log: Log, batch: FoundBatch) -> None:
    """Apply one batch from the log: its inline frames, then its records, then its own place."""
    applier.chunks.now_ms = batch.header.time_ms
    try:
        records = log.records(batch.segment, batch.offset)
    except SealBroken as error:
        where = f"log segment {batch.segment}, offset {batch.offset}, batch {batch.header.number}"
        raise Damaged(f"{where}: {error}") from error
    for header, offset in log.inline_frames(batch):
        applier.place_logged(header, KIND_LOG, batch.segment, offset)
    for record in records:
        applier.apply_record(record, batch.header.time_ms)
    applier.finish_batch(batch.segment, batch.offset, batch.header.size, batch.hash, batch.header.time_ms)


FindBatches = Callable[[int], list[FoundBatch]]
"""The whole batches that carry a number: none, one, or several if appends failed."""


def chain_batches(
    find: FindBatches, last: int, after: int, hash_after: bytes, is_genuine: Callable[[FoundBatch], bool]
) -> Iterator[FoundBatch]:
    """The batches that follow number ``after``, up to ``last``, in order, each linked to the one before it.

    Two batches may carry one number if an append failed and was given up: the one that the next batch names is the
    log's. Raises ``Damaged`` where the chain ends although later batches exist.
    """
    number, previous = after + 1, hash_after
    while number <= last:
        linked = [batch for batch in find(number) if batch.header.previous == previous]
        named = {batch.header.previous for batch in find(number + 1)}
        # Torn batches of the same number may lie in older segments: the log's is the one that is named, or whole.
        linked.sort(key=lambda batch: (batch.hash in named, batch.frames_whole), reverse=True)
        if number == last and len(linked) > 1:  # no successor tells
            linked.sort(key=is_genuine, reverse=True)
        chosen = linked[0] if linked else None
        if chosen is None:
            raise Damaged(
                f"log batch {number} is missing or damaged, but batch {last} exists: "
                "the log's segments must be restored (or the site, from the cloud)"
            )
        if number == last and not chosen.frames_whole:
            return  # the newest batch was torn within its frames: it was never acknowledged
        yield chosen
        number, previous = number + 1, chosen.hash


def recover_tail(index: Index, log: Log, site: bytes, open_pages: OpenPages, *, from_disk: bool) -> int:
    """Take in whatever whole batches lie behind the index's committed end: how many there were.

    Nothing is taken in while the site is read-only (a sync failed, other processes live): ``from_disk`` says that
    this is the first process since, which may. Gives a new data directory its incarnation.
    """
    with index.begin_write() as transaction:
        if log.in_doubt and not from_disk:  # under the lock: it may have failed while we waited
            return 0
        state = transaction.load_state()
        tails = dict(_scan_tails(transaction, log))
        found: dict[int, list[FoundBatch]] = {}
        for batch in (batch for tail in tails.values() for batch in tail.batches):
            found.setdefault(batch.header.number, []).append(batch)
        last = max(found, default=0)
        applier = Applier(transaction, site, state, open_pages)
        count = 0

        def genuine(batch: FoundBatch) -> bool:
            return is_authentic(log, batch)

        for batch in chain_batches(lambda number: found.get(number, []), last, state.batch, state.batch_hash, genuine):
            if not genuine(batch):
                if last > batch.header.number:
                    raise Damaged(f"log batch {batch.header.number} in segment {batch.segment} does not authenticate")
                break
            apply_batch(applier, log, batch)
            count += 1
        for segment, tail in tails.items():
            if tail.broken:
                raise Damaged(f"log segment {segment} is damaged at offset {tail.end}: whole batches follow")
        if state.incarnation == bytes(INCARNATION_SIZE):
            begin_incarnation(applier, log, 0)
        transaction.claim(site)
        transaction.commit()
        log.settle()
        return count


def begin_incarnation(applier: Applier, log: Log, time_ms: int) -> None:
    """Write and apply a batch that gives the site a new random incarnation."""
    state = applier.state
    record = Incarnation(applier.site, os.urandom(INCARNATION_SIZE))
    appended = log.append(state.batch + 1, time_ms, state.batch_hash, [record], [])
    applier.apply_record(record)
    applier.finish_batch(appended.segment, appended.offset, appended.size, appended.hash, time_ms)


class TakenIn(NamedTuple):
    """What was found of dead processes' appends. ``appends`` are to be forgotten once the index has what they hold."""

    changed: bool
    appends: list[AbandonedAppend]


def take_in_abandoned(applier: Applier, log: Log, shared: Shared) -> TakenIn:
    """Under the write lock: take in what processes were appending when they died.

    Their announcements stay until the caller's transaction is committed: if it is not, the next holder of the lock has
    to take them in, or it would give their number to another batch.
    """
    changed, appends = False, shared.abandoned_appends()
    for abandoned in appends:
        state = applier.state
        if abandoned.batch == state.batch + 1 and abandoned.number in log.segment_numbers():
            log.settle_segment(abandoned.number)
            tail = log.scan(abandoned.number, abandoned.offset)
            for batch in tail.batches[:1]:
                linked = batch.header.number == state.batch + 1 and batch.header.previous == state.batch_hash
                if linked and batch.frames_whole and is_authentic(log, batch):
                    apply_batch(applier, log, batch)
                    changed = True
    return TakenIn(changed, appends)


def restore_state(state: State, saved: State) -> None:
    """Put back, in place, what a refused request changed."""
    for name in State.__struct_fields__:
        setattr(state, name, getattr(saved, name))


def _scan_tails(transaction: Transaction, log: Log) -> Iterator[tuple[int, SegmentTail]]:
    for segment in log.segment_numbers():
        row = read_segment(transaction, segment)
        length = row.length if row is not None else 0
        if log.segment_size(segment) > length:
            log.settle_segment(segment)
            yield segment, log.scan(segment, length)


def is_authentic(log: Log, batch: FoundBatch) -> bool:
    """Whether the batch's records can be opened: it was sealed by this realm for this very place."""
    try:
        log.records(batch.segment, batch.offset)
    except SealBroken:
        return False
    return True
