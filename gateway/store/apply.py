"""The one function that turns records of the log into rows of the index: used alike by commit, recovery and rebuild.

Stands between the log (``log_format``) and the row modules. Invariants: it is deterministic (the same batches in the
same order give the same logical index, wherever their frames lie); each dot is applied once; whatever changes users,
keys, buckets or their documents moves ``state.generation``. It reads no clock and writes no files.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from gateway.store import item_rows, upload_rows
from gateway.store.chunk_rows import ChunkRows, OpenPages, put_segment, read_segment
from gateway.store.cloud_rows import dooms_by_name, read_doom
from gateway.store.document_format import PartRecord, UploadRecord, decode_record
from gateway.store.doom_format import decode_doom, doom_item, encode_doom
from gateway.store.errors import Damaged
from gateway.store.horizon_rows import put_horizon
from gateway.store.index import Transaction
from gateway.store.index_format import BatchRow, OriginRow, SegmentRow, State, encode_dot
from gateway.store.item_format import (
    FAMILY_BUCKET,
    FAMILY_DOOM,
    FAMILY_NULL_SLOT,
    FAMILY_VERSION,
    FAMILY_VERSION_DOCUMENT,
    FAMILY_VOID,
    UID_SIZE,
    split_version,
    split_version_document,
    stays_here,
)
from gateway.store.log_format import (
    Anew,
    DoomStep,
    Evicted,
    Folded,
    Imported,
    Incarnation,
    JoinBegun,
    JoinDone,
    JoinOver,
    Lost,
    Own,
    Parted,
    PartStored,
    Placed,
    Pulled,
    Record,
    Shipped,
    StableCut,
    Subscribed,
    Trusted,
    UploadClosed,
    UploadOpened,
)
from gateway.store.log_rows import (
    Acks,
    Former,
    is_applied,
    join_acks,
    put_batch,
    put_former,
    put_origin,
    read_former,
    read_origin,
    scan_origins,
)
from gateway.store.object_format import ObjectRecord, decode_object
from gateway.store.object_rows import ObjectRows
from gateway.store.purge_format import UNCONDITIONAL
from gateway.store.segment_format import KIND_DATA, KIND_LOG
from gateway.store.slice_format import FoldedKey
from gateway.store.state_fold import StateFold
from gateway.store.subscription_rows import apply_subscribed, settle_rewind
from gateway.store.told_objects import ToldObjects
from gateway.store.version_documents import (
    ACKNOWLEDGED,
    LOCKS,
    apply_version_document,
    drop_version_documents,
    is_acknowledged,
    is_removed_for_good,
    read_locks,
)
from gateway.store.version_ids import NULL_VID
from replication.change_format import Change, decode_change
from replication.clock import tick
from replication.collection_ports import DoomState
from replication.crdt import Dot, winner
from replication.frame_format import FrameHeader, FrameName, decode_header

_OBJECT_FAMILIES = frozenset((FAMILY_NULL_SLOT, FAMILY_VERSION))


FramePlace = tuple[int, int, int]
"""Segment kind, segment number, offset of the frame's header."""
Relocate = Callable[[FrameName, FramePlace], FramePlace | None]
"""Where a frame lies that the log placed somewhere once; None if it is gone."""


class Applier:
    """Applies records within one write transaction. ``state`` is the writer's and is changed in place.

    ``hold``: see ``ChunkRows``; a batch is written when it is finished.
    """

    def __init__(
        self, transaction: Transaction, site: bytes, state: State, open_pages: OpenPages, *, hold: bool = False
    ) -> None:
        self.transaction = transaction
        self._first_site = site
        self.state = state
        self.chunks = ChunkRows(transaction, state, open_pages, hold=hold)
        self.cloud = self.chunks.cloud
        self.told = ToldObjects(transaction, self.cloud, site, state)
        self.objects = ObjectRows(
            *(transaction, state, self.chunks, self.is_applied, self._touch_bucket),
            *(partial(read_locks, transaction), partial(is_acknowledged, transaction)),
        )

        self.relocate: Relocate = lambda name, place: place
        self.begin_batch()

    @property
    def site(self) -> bytes:
        """The site id of own changes: that of the data directory, until this machine had to go on as another."""
        return self.state.site or self._first_site

    def begin_batch(self) -> None:
        """What follows, up to ``finish_batch``, is one batch."""
        state = self.state
        self._before = (state.incarnation, state.seq, state.ship_total)

    def finish_batch(self, segment: int, offset: int, size: int, batch_hash: bytes, time_ms: int) -> None:
        """The batch lies there: remember it, and save the state as it is after it."""
        state = self.state
        incarnation, seq, ship_before = self._before
        first_seq = seq + 1 if incarnation == state.incarnation else 1
        state.batch += 1
        state.batch_hash = batch_hash
        row = BatchRow(segment, offset, size, first_seq, state.seq + 1 - first_seq, ship_before, time_ms)
        put_batch(self.transaction, state.batch, row, state.incarnation)
        self.chunks.flush()
        known = read_segment(self.transaction, segment) or SegmentRow(KIND_LOG, 0, 0, 0)
        put_segment(self.transaction, segment, known._replace(length=max(known.length, offset + size)))
        self.transaction.save_state(state)
        self.begin_batch()

    def is_applied(self, dot: Dot) -> bool:
        """Whether the change with this dot was applied here."""
        return is_applied(self.transaction, self.site, self.state, dot)

    def apply_record(self, record: Record, time_ms: int = 0) -> None:
        """Apply one record as it stands in a batch; ``time_ms`` is the batch's."""
        if isinstance(record, Own | Anew):
            self._apply_replayed(record, time_ms)
        elif isinstance(record, Placed):
            for number, offset, header in record.frames:
                self.place_logged(decode_header(header), KIND_DATA, number, offset)
        elif isinstance(record, Imported):
            self._apply_imported(record)
        elif isinstance(record, Pulled):
            self._apply_pulled(record)
        elif isinstance(record, Shipped):
            self._apply_shipped(record)
        elif isinstance(record, UploadOpened):
            upload_rows.open_upload(self.transaction, decode_record(UploadRecord, record.record))
        elif isinstance(record, PartStored):
            part = decode_record(PartRecord, record.record)
            upload_rows.put_part(self.transaction, self.state, self.chunks, record.upload_id, part)
        elif isinstance(record, UploadClosed):
            upload_rows.close_upload(self.transaction, self.state, record.upload_id)
        elif isinstance(record, Incarnation):
            self._apply_incarnation(record)
        elif isinstance(record, Parted):
            self._apply_parted(record, time_ms)
        elif isinstance(record, Evicted):
            for chunk_id, segment, slot, size in record.frames:
                self.chunks.evict(FrameName(chunk_id, segment, slot), size)
        elif isinstance(record, Lost):
            for chunk_id, segment, slot, size in record.frames:
                self.chunks.lose(FrameName(chunk_id, segment, slot), size)
        elif isinstance(record, DoomStep):
            self.cloud.step_doom(Dot(record.site, record.incarnation, record.seq), DoomState(record.state))
        elif isinstance(record, Trusted):
            for site in record.sites:
                self.cloud.trust(site)
        elif isinstance(record, StableCut):
            put_horizon(self.transaction, record)
        elif isinstance(record, Subscribed):
            apply_subscribed(self.transaction, record)
            self.state.generation += 1
        else:
            self._apply_join(record)

    def place_logged(self, header: FrameHeader, kind: int, number: int, offset: int) -> None:
        """Replay: the log says that the frame became its chunk's local one; ``relocate`` knows where it lies now."""
        place = self.relocate(header.name, (kind, number, offset))
        if place is not None:
            self.chunks.place(header, *place, queue=True, replace=True)

    def apply_own(self, change: Change, record: ObjectRecord | None = None) -> int:
        """Apply a change this site is making: how many ciphertext bytes it adds to the backlog (the change apart)."""
        self._advance(change)
        self._apply_change(change, False, record)
        if not change.refs or stays_here(change.family, change.item):
            return 0
        return self.chunks.count_for_shipping(change.refs)

    def apply_anew(self, record: Anew, change: Change) -> None:
        """Apply an own change that takes the place of its former self."""
        self.apply_own(replace_former(record, change))
        former = Dot(record.site, record.incarnation, record.seq)
        if not self.is_applied(former):  # no mark stays of it: elsewhere the dot may be another change's
            self.transaction.delete(self.transaction.tables.marks, encode_dot(former))

    def _apply_replayed(self, record: Own | Anew, time_ms: int) -> None:
        change = decode_change(record.change)
        if change.dot.incarnation != self.state.incarnation or change.dot.seq != self.state.seq + 1:
            raise Damaged(f"own change {change.dot.seq} follows {self.state.seq}: the log has a gap")
        self.state.clock = tick(self.state.clock, time_ms).own  # as it ticked when the change was made
        if isinstance(record, Anew):
            self.apply_anew(record, change)
        else:
            self.apply_own(change)
        self.state.ship_total += record.ship_bytes

    def _advance(self, change: Change) -> None:
        self.state.seq = change.dot.seq

    def _apply_imported(self, record: Imported) -> None:
        origin = (record.site, record.incarnation)
        row = read_origin(self.transaction, origin)
        former = read_former(self.transaction, record.incarnation)
        stands_here = former.last_seq if former is not None and former.site in (b"", record.site) else 0
        for data in record.changes:
            change = decode_change(data)
            if change.dot != Dot(*origin, row.seq + 1):
                raise Damaged(f"imported change {change.dot.seq} follows {row.seq}: the log has a gap")
            row = msgspec.structs.replace(row, seq=change.dot.seq)
            put_origin(self.transaction, origin, row)
            # Of what was this machine's own log, only what it went on with without us is news, and a value taken back.
            if change.dot.seq > stands_here or change.dot in change.replaces:
                self._apply_change(change, True, None)

    def _apply_pulled(self, record: Pulled) -> None:
        origin = (record.site, record.incarnation)
        self.told.locate(record.located, {origin: record.n})
        known = read_origin(self.transaction, origin)
        status = record.status or known.status  # written by a site that does not tell any, or that had no time to
        acks = join_acks(known.acks, record.acks)
        row = OriginRow(record.n, record.seq, record.chain, record.sent_ms, acks, record.closed, status)
        put_origin(self.transaction, origin, row)
        self._settle_rewind()
        self._get_to_know(record.site, record.acks)

    def _settle_rewind(self) -> None:
        if settle_rewind(self.transaction, self.is_applied):
            self.state.generation += 1  # views cache what is shown

    def _get_to_know(self, site: bytes, acks: Acks) -> None:
        """Who acknowledged the current own log waits for it from then on: a copy in this site's name, too."""
        self.cloud.meet(site)
        if any((of, incarnation) == (self.site, self.state.incarnation) for of, incarnation, _ in acks):
            self.cloud.trust(site)

    def _apply_shipped(self, record: Shipped) -> None:
        self.cloud.locate(record.located)
        state = self.state
        state.shipped_n, state.shipped_seq, state.shipped_chain = record.n, record.seq, record.chain
        state.shipped_total = record.ship_total

    def _apply_incarnation(self, record: Incarnation) -> None:
        state = self.state
        if record.site != self.site:
            raise Damaged(f"the log belongs to site {record.site.hex()}")
        if state.incarnation != bytes(8):
            former = Former(state.seq, state.shipped_seq, self.site, state.batch + 1)
            put_former(self.transaction, state.incarnation, former)
            shipped = OriginRow(state.shipped_n, state.shipped_seq, state.shipped_chain)
            put_origin(self.transaction, (self.site, state.incarnation), shipped)
        self._begin_log(record.incarnation)

    def _apply_parted(self, record: Parted, time_ms: int) -> None:
        state = self.state
        last, issued = max(record.known_seq, record.named_seq), state.seq - record.known_seq
        former = Former(last, record.known_seq, self.site, state.batch + 1, time_ms, record.reason, issued)
        put_former(self.transaction, state.incarnation, former)
        put_origin(self.transaction, (self.site, state.incarnation), OriginRow(record.n, record.seq, record.chain))
        may_be_copied = record.site == self.site
        state.site = record.site
        self._begin_log(record.incarnation, may_be_copied=may_be_copied)

    def _begin_log(self, incarnation: bytes, *, may_be_copied: bool = False) -> None:
        state = self.state
        state.incarnation, state.seq = incarnation, 0
        self.cloud.trust_own(self.site, incarnation, only=may_be_copied)
        state.shipped_n, state.shipped_seq, state.shipped_chain = 0, 0, bytes(32)
        state.shipped_total = state.ship_total

    def _apply_join(self, record: JoinBegun | Folded | JoinDone | JoinOver) -> None:
        """Join what another site's checkpoint tells."""
        own = (self.site, self.state.incarnation)
        fold = StateFold(
            *(self.transaction, self.objects, self.told, self.is_applied, self._item_joined, self._key_joined),
            lambda origin: origin == own,
        )
        if isinstance(record, JoinBegun):
            fold.begin(record)
        elif isinstance(record, Folded):
            fold.fold(record)
        elif isinstance(record, JoinDone):
            fold.end()
            self._settle_rewind()
            for (site, _), row in list(scan_origins(self.transaction)):
                self._get_to_know(site, row.acks)
        else:
            fold.finish()

    def _item_joined(self, family: int, item: bytes) -> None:
        """An item is not as it was: what hangs on it."""
        if family == FAMILY_VERSION_DOCUMENT:
            self.state.generation += 1  # views cache which buckets have none
            uid, vid, key, _ = split_version_document(item)
            if vid != NULL_VID and is_removed_for_good(self.transaction, uid, vid, key):
                drop_version_documents(self.transaction, uid, vid, key)
            self._weigh_document(item)
        elif family == FAMILY_DOOM:
            self._join_doom(item)
        elif family in item_rows.CONFIGURATION_FAMILIES:
            self.state.generation += 1

    def _join_doom(self, item: bytes) -> None:
        live = item_rows.read_entry(self.transaction, FAMILY_DOOM, item).live
        for dot, names in list(dooms_by_name(self.transaction)):
            if doom_item(encode_doom(names)) == item and all(write.dot != dot for write in live):
                self.cloud.end_doom(dot)
        for write in live:
            if not write.dead and read_doom(self.transaction, write.dot) is None:
                self.chunks.uncount(self.cloud.doom(write.dot, decode_doom(write.body), self.chunks.now_ms))

    def _key_joined(self, row: FoldedKey) -> None:
        for version in row.versions:
            if any(purge == UNCONDITIONAL for _, purge in version.purges):
                uid, key = row.key[:UID_SIZE], row.key[UID_SIZE:]
                drop_version_documents(self.transaction, uid, version.vid, key)

    def _weigh_document(self, item: bytes) -> None:
        """A document of a version was changed that purges or conditions hang on."""
        uid, vid, key, name = split_version_document(item)
        if name in LOCKS and vid != NULL_VID:
            self.objects.weigh_purges(uid, vid, key)
        elif name == ACKNOWLEDGED:
            self.objects.weigh_conditions(uid, key)

    def _apply_change(self, change: Change, remote: bool, record: ObjectRecord | None) -> None:
        if change.family == FAMILY_VOID:
            return
        if change.family in _OBJECT_FAMILIES:
            if record is None and not change.dead:
                record = decode_object(change.body)
            self.objects.apply(change, remote=remote, record=record)
            if change.dead and change.family == FAMILY_VERSION and change.body == UNCONDITIONAL:
                drop_version_documents(self.transaction, *split_version(change.item))
        elif change.family == FAMILY_VERSION_DOCUMENT:
            if apply_version_document(self.transaction, change, self.is_applied):
                self.state.generation += 1  # views cache which buckets have none
            self._weigh_document(change.item)
        else:
            item_rows.apply_item(self.transaction, change, self.is_applied)
            if change.family == FAMILY_DOOM:
                self._apply_doom(change)
            if change.family in item_rows.CONFIGURATION_FAMILIES:
                self.state.generation += 1

    def _apply_doom(self, change: Change) -> None:
        for dot in change.replaces:
            if change.dead:
                self.cloud.end_doom(dot)
            else:
                self.cloud.supersede_doom(dot)
        if not change.dead and change.dot not in change.replaces:
            self.chunks.uncount(self.cloud.doom(change.dot, decode_doom(change.body), self.chunks.now_ms))

    def _touch_bucket(self, uid: bytes) -> None:
        """The bucket's last visible row went, or its first one came: that may end or revive a deleted bucket."""
        newest = winner(item_rows.read_entry(self.transaction, FAMILY_BUCKET, uid))
        if newest is not None and newest.dead:
            self.state.generation += 1


def replace_former(record: Anew, change: Change) -> Change:
    """A change issued anew as it is applied on this site: over its former self, if that stands."""
    if not record.stands:
        return change
    former = Dot(record.site, record.incarnation, record.seq)
    return msgspec.structs.replace(change, replaces=(*change.replaces, former))
