"""The write side of a view: what one request stages inside the site's write transaction.

Stands between ``commit`` (which runs one ``Decision`` per request in a nested transaction) and ``apply``. Everything
staged is applied to the index at once, so the request and those behind it in the batch read it; what goes into the
log is collected in ``records``, ``placed`` and ``inline``. If the request raises, ``commit`` forgets all of it. It
writes no files.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence

import blake3

from gateway.store import item_rows
from gateway.store.apply import Applier
from gateway.store.cloud_rows import is_in_cloud, untrusted_sites
from gateway.store.document_format import (
    AccessKeyRecord,
    BucketRecord,
    PartRecord,
    UploadRecord,
    UserRecord,
    encode_record,
)
from gateway.store.doom_format import CHANGE_VERSION as DOOM_VERSION
from gateway.store.doom_format import doom_item, encode_doom
from gateway.store.endings import Ending
from gateway.store.errors import ChunkGone
from gateway.store.index_format import CHUNK_CONDEMNED, CHUNK_LOCAL, ChunkPlace, State
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
    bucket_uid,
    document_item,
    null_slot_item,
    version_item,
)
from gateway.store.log_format import Anew, Own, PartStored, Placed, Record, UploadClosed, UploadOpened
from gateway.store.object_format import ObjectRecord, encode_object
from gateway.store.object_rows import DROP_BODY, read_head, read_row, rows_of_vid
from gateway.store.ports import Bucket, Version
from gateway.store.purge_format import CHANGE_VERSION, encode_purge
from gateway.store.scans import version_of
from gateway.store.segment_format import KIND_DATA, KIND_LOG
from gateway.store.staging import INLINE, StagedChunk, Staging
from gateway.store.version_document_format import IDENTITY_SIZE, check_version_document
from gateway.store.version_documents import locate_version_document, read_locks
from gateway.store.version_ids import NULL, NULL_VID, VersionId, decode_order, encode_order, make_vid
from gateway.store.views import ConfigurationCache, Value, View
from replication.change_format import Change, Ref, encode_change
from replication.clock import tick
from replication.crdt import Dot
from replication.frame_format import CODEC_PATCH, FrameName

PROVISIONAL = 0
"""Segment number of an inline frame until its batch is appended."""


class Decision(View):
    """``WriteView``: reads what is staged, stages changes. One per request."""

    __slots__ = (
        *("_applier", "_base_generation", "_chunks", "_now_ms", "_staging", "_state"),
        *("edited", "inline", "log_bytes", "placed", "records"),
    )

    def __init__(
        self, applier: Applier, staging: Staging, now_ms: int, cache: ConfigurationCache, base_generation: int
    ) -> None:
        super().__init__(applier.transaction, applier.site, cache)
        self._applier, self._chunks, self._state = applier, applier.chunks, applier.state
        self._staging, self._now_ms, self._base_generation = staging, now_ms, base_generation
        self.records: list[Record] = []
        self.placed: list[tuple[int, int, bytes]] = []
        self.inline: list[StagedChunk] = []
        self.edited = False
        self.log_bytes = 0
        """About how many bytes the records will take in the log."""

    @property
    def now_ms(self) -> int:
        """The commit's wall clock, unix ms."""
        return self._now_ms

    @property
    def generation(self) -> int:
        """The generation, with what is staged."""
        return self._state.generation

    def _cached(self, kind: str, name: object, read: Callable[[], Value], *, misses: bool = True) -> Value:
        if self._state.generation != self._base_generation:
            return read()  # staged configuration is nobody else's to see
        return super()._cached(kind, name, read, misses=misses)

    def chunk(self, chunk_id: bytes) -> ChunkPlace | None:
        """A chunk's row, with what is staged."""
        return self._chunks.get(chunk_id)

    def state(self) -> State:
        """The writer's state, with what is staged. Not to be changed."""
        return self._state

    def edit_index(self) -> Applier:
        """For the store's own housekeeping: change derived rows without a record in the log (places, collection)."""
        self.edited = True
        return self._applier

    def log_records(self) -> list[Record]:
        """What the request adds to the batch: places first, for whoever replays it."""
        return [Placed(tuple(self.placed)), *self.records] if self.placed else self.records

    # objects

    def put_object(self, uid: bytes, key: bytes, record: ObjectRecord, *, versioned: bool) -> Version:
        """A new current version: a fresh version id if ``versioned``, else into the null slot."""
        head = self._applier.objects.find_head(uid, key)
        hlc, dot = self._tick(head.top_hlc if head is not None else 0)
        refs = record.refs()
        self._need(refs)
        order = encode_order(hlc, dot)
        replaces: tuple[Dot, ...] = ()
        if versioned:
            version_id = VersionId(make_vid(hlc, os.urandom(8)))
            item, family = version_item(uid, version_id.vid, key), FAMILY_VERSION
        else:
            version_id, item, family = NULL, null_slot_item(uid, key), FAMILY_NULL_SLOT
            replaces = self._replaced_nulls(head.key_id, head.nulls) if head is not None else ()
        change = Change(dot, hlc, family, item, False, replaces, refs, encode_object(record))
        self._stage(change, record)
        return Version(key, version_id, order, True, record)

    def remove_version(self, uid: bytes, key: bytes, version_id: VersionId) -> Version | None:
        """Remove one version for good. None if absent."""
        head = read_head(self.transaction, uid, key)
        if head is None:
            return None
        body = b""
        replaces: tuple[Dot, ...]
        if version_id.order:
            order = version_id.order if version_id.order in head.nulls[1:] else None
            row = read_row(self.transaction, head.key_id, order) if order is not None else None
            replaces = (decode_order(version_id.order)[1],)
            item, family, body = null_slot_item(uid, key), FAMILY_NULL_SLOT, DROP_BODY
        elif version_id.vid == NULL_VID:
            row = read_row(self.transaction, head.key_id, head.nulls[0]) if head.nulls else None
            replaces = self._replaced_nulls(head.key_id, head.nulls)
            item, family = null_slot_item(uid, key), FAMILY_NULL_SLOT
        else:
            rows = list(rows_of_vid(self.transaction, head.key_id, version_id.vid))
            row = next((found for found in rows if not found.dead), None)
            replaces = tuple([decode_order(found.order)[1] for found in rows if found.dead])  # void purges
            item, family = version_item(uid, version_id.vid, key), FAMILY_VERSION
            body = encode_purge(read_locks(self.transaction, uid, version_id.vid, key))
        if row is None or row.dead:
            return None
        removed = version_of(key, head, row)
        hlc, dot = self._tick(head.top_hlc)
        version = CHANGE_VERSION if family == FAMILY_VERSION else 1
        self._stage(Change(dot, hlc, family, item, True, replaces, (), body, version))
        return removed

    def expire_version(self, uid: bytes, version: Version, marker: ObjectRecord | None = None) -> Version | None:
        """End one version: everything made here stands right above it, whatever the clock, and derives from it."""
        key = version.key
        head, found = read_head(self.transaction, uid, key), self.version(uid, key, version.id)
        if head is None or found is None or found.order != version.order:
            return None
        if marker is None and (version.id.order or version.id.vid != NULL_VID):
            return self.remove_version(uid, key, version.id)
        above, dot = decode_order(version.order)[0] + 1, self._tick(0)[1]
        if marker is None:
            replaces = self._replaced_nulls(head.key_id, head.nulls)
            self._stage(Change(dot, above, FAMILY_NULL_SLOT, null_slot_item(uid, key), True, replaces))
            return found
        attempt = 0
        while list(rows_of_vid(self.transaction, head.key_id, vid := derive_marker_vid(version, above, attempt))):
            attempt += 1  # that marker was here and was removed for good
        self._stage(
            Change(dot, above, FAMILY_VERSION, version_item(uid, vid, key), False, (), (), encode_object(marker)),
            marker,
        )
        return Version(key, VersionId(vid), encode_order(above, dot), True, marker)

    def put_version_document(self, uid: bytes, version: Version, name: str, body: bytes | None) -> None:
        """Set a document of one version; None removes it. ``KeyError`` if the version is not there."""
        check_version_document(name, body or b"")
        found = self.version(uid, version.key, version.id)
        if found is None or found.order[:IDENTITY_SIZE] != version.order[:IDENTITY_SIZE]:
            raise KeyError(f"version {version.id.text} is not there")
        item, identity, live, replaces = locate_version_document(self.transaction, uid, found, name)
        hlc, dot = self._tick(live[0].hlc if live else 0)
        self._stage(Change(dot, hlc, FAMILY_VERSION_DOCUMENT, item, not body, replaces, (), identity + (body or b"")))

    def _replaced_nulls(self, key_id: int, nulls: tuple[bytes, ...]) -> tuple[Dot, ...]:
        """What a write to the slot replaces: its winner, and tombstones that lost; kept losers stay."""
        if not nulls:
            return ()
        replaced = [decode_order(nulls[0])[1]]
        for order in nulls[1:]:
            row = read_row(self.transaction, key_id, order)
            if row is not None and row.dead:
                replaced.append(decode_order(order)[1])
        return tuple(replaced)

    # buckets and their documents

    def put_bucket(self, record: BucketRecord, *, local: bool = False) -> Bucket:
        """Create (or revive, with documents cleared) the bucket of this name and owner."""
        uid = bucket_uid(record.name, record.owner, local=local)
        if item_rows.read_bucket(self.transaction, uid) is None:
            for name in item_rows.document_names(self.transaction, uid):
                self.put_document(uid, name, None)
        self._put_item(FAMILY_BUCKET, uid, encode_record(record))
        for bucket in self.buckets():
            if bucket.uid == uid:
                return bucket
        raise AssertionError("a bucket that was just created is not there")

    def delete_bucket(self, uid: bytes) -> None:
        """Remove a bucket (which the caller found empty). Its record stays in the tombstone, to be revived with."""
        record = item_rows.read_bucket(self.transaction, uid)
        if record is not None:
            self._put_item(FAMILY_BUCKET, uid, encode_record(record), dead=True)

    def put_document(self, uid: bytes, name: str, body: bytes | None) -> None:
        """Set a bucket document; None removes it."""
        self._set_item(FAMILY_DOCUMENT, document_item(uid, name), body)

    # users and keys

    def put_user(self, record: UserRecord) -> None:
        """Create or change a user."""
        self._set_item(FAMILY_USER, record.id.encode(), encode_record(record))

    def delete_user(self, user_id: str) -> None:
        """Remove a user. No effect if there is none."""
        self._set_item(FAMILY_USER, user_id.encode(), None)

    def put_access_key(self, record: AccessKeyRecord) -> None:
        """Create or change an access key."""
        self._set_item(FAMILY_ACCESS_KEY, record.id.encode(), encode_record(record))

    def delete_access_key(self, access_key_id: str) -> None:
        """Remove an access key. No effect if there is none."""
        self._set_item(FAMILY_ACCESS_KEY, access_key_id.encode(), None)

    def put_identity(self, name: str, body: bytes | None) -> None:
        """Set an identity item; None removes it."""
        self._set_item(FAMILY_IDENTITY, name.encode(), body)

    def put_member(self, item: bytes, body: bytes) -> None:
        """Say something of a site (``replication/member_format``)."""
        self._put_item(FAMILY_MEMBER, item, body)

    def _set_item(self, family: int, item: bytes, body: bytes | None) -> None:
        if body is not None:
            self._put_item(family, item, body)
        elif any(not write.dead for write in item_rows.read_entry(self.transaction, family, item).live):
            self._put_item(family, item, b"", dead=True)

    def _put_item(self, family: int, item: bytes, body: bytes, *, dead: bool = False, version: int = 1) -> None:
        live = item_rows.read_entry(self.transaction, family, item).live
        hlc, dot = self._tick(live[0].hlc if live else 0)
        replaces = tuple([write.dot for write in live])
        self._stage(Change(dot, hlc, family, item, dead, replaces, (), body, version))

    # objects of the bucket that go

    def doom(self, names: Sequence[str]) -> None:
        """Say that these objects of this site will be deleted from the bucket."""
        body = encode_doom(names)
        self._put_item(FAMILY_DOOM, doom_item(body), body, version=DOOM_VERSION)

    def end_dooms(self, dots: Sequence[Dot]) -> None:
        """Say of dooms that nothing is left of their objects. Of no others."""
        wanted = set(dots)
        for item, entry in list(item_rows.scan_entries(self.transaction, FAMILY_DOOM)):
            if any(write.dot in wanted and not write.dead for write in entry.live):
                self._put_item(FAMILY_DOOM, item, b"", dead=True, version=DOOM_VERSION)

    def end_item(self, ending: Ending) -> None:
        """Make the change that ends what is dead at an item; it replaces itself, so nothing is left of it."""
        hlc, dot = self._tick(ending.above)
        version = DOOM_VERSION if ending.family == FAMILY_DOOM else 1
        replaces = (*ending.replaces, dot)
        self._stage(Change(dot, hlc, ending.family, ending.item, True, replaces, (), ending.body, version))

    # uploads

    def open_upload(self, record: UploadRecord) -> None:
        """Begin a multipart upload."""
        self.stage_record(UploadOpened(encode_record(record)))

    def put_part(self, upload_id: str, record: PartRecord) -> None:
        """Store or replace a part. ``KeyError`` if the upload is not open."""
        self._need(record.content)
        self.stage_record(PartStored(upload_id, encode_record(record)))

    def close_upload(self, upload_id: str) -> None:
        """Forget an upload and its parts. No effect if it is not open."""
        if self.upload(upload_id) is not None:
            self.stage_record(UploadClosed(upload_id))

    # staging

    def _tick(self, above: int) -> tuple[int, Dot]:
        ticked = tick(self._state.clock, self._now_ms, above)
        self._state.clock = ticked.own
        return ticked.hlc, Dot(self._site, self._state.incarnation, self._state.seq + 1)

    def _stage(self, change: Change, record: ObjectRecord | None = None) -> None:
        encoded = encode_change(change)
        ship_bytes = self._applier.apply_own(change, record) + len(encoded)
        self._state.ship_total += ship_bytes
        self.records.append(Own(encoded, ship_bytes))
        self.log_bytes += len(encoded)

    def stage_anew(self, change: Change, frame_bytes: int, former: Dot | None = None, *, stands: bool = True) -> None:
        """Stage a change made before, under a new dot; ``frame_bytes`` is what it still adds to the backlog besides
        itself. ``former``: whose place it takes here, if that ``stands``, without naming it to others.
        """
        self._state.clock = tick(self._state.clock, self._now_ms).own  # as it will when the log is replayed
        encoded = encode_change(change)
        self.log_bytes += len(encoded)
        ship_bytes = frame_bytes + len(encoded)
        if former is None:
            self._applier.apply_own(change)
            self.records.append(Own(encoded, ship_bytes))
        else:
            record = Anew(encoded, ship_bytes, *former, stands)
            self._applier.apply_anew(record, change)
            self.records.append(record)
        self._state.ship_total += ship_bytes

    def stage_record(self, record: Record) -> None:
        """Apply a record that is no own change, and log it."""
        self._applier.apply_record(record, self._now_ms)
        self.records.append(record)

    def _need(self, refs: tuple[Ref, ...]) -> None:
        """Everything named must be here, known to stay in the cloud, or staged, in which case it is placed."""
        for ref in refs:
            row = self._chunks.get(ref.id)
            if row is not None and row.flags & CHUNK_LOCAL and not row.flags & CHUNK_CONDEMNED:
                continue
            staged = self._staging.get(ref.id)
            if staged is not None:  # rather than what is condemned: its frame may be known to be damaged
                self._place(staged, row)
            elif row is not None and row.local:
                continue  # a reference pardons it
            elif not _is_usable(row):
                raise ChunkGone(f"chunk {ref.id.hex()} is no longer held by anything: send the body again")
            elif not is_in_cloud(self.transaction, ref.id) or (ref.kind and untrusted_sites(self.transaction)):
                raise ChunkGone(f"chunk {ref.id.hex()} is only in the cloud, and perhaps not for long: fetch it first")

    def _need_base(self, base: FrameName) -> None:
        """A patch's base must be here as exactly the frame it names."""
        row = self._chunks.get(base.chunk_id)
        if row is not None and row.local and (row.segment, row.slot) == base[1:]:
            return
        staged = self._staging.get(base.chunk_id)
        if staged is None or staged.header.name != base or (row is not None and row.local and not row.condemned):
            raise ChunkGone(f"the base of a patch, chunk {base.chunk_id.hex()}, is gone: send the body again")
        self._place(staged, row)

    def _place(self, staged: StagedChunk, row: ChunkPlace | None) -> None:
        """Place a staged chunk, whose row is ``row``."""
        header = staged.header
        if header.codec == CODEC_PATCH:
            for base in header.bases:
                self._need_base(base)
        if staged.children:
            self._need(staged.children)
            self._chunks.known_children[header.chunk_id] = staged.children
        if header.bases or staged.children:  # what was placed for it may have changed its row
            row = self._chunks.get(header.chunk_id)
        if staged.number == INLINE:
            self._chunks.place_over(row, header, KIND_LOG, PROVISIONAL, 0)
            self.inline.append(staged)
        else:
            self._chunks.place_over(row, header, KIND_DATA, staged.number, staged.offset)
            self.placed.append((staged.number, staged.offset, staged.encoded_header))


def derive_marker_vid(version: Version, hlc: int, attempt: int = 0) -> bytes:
    """The id of the marker that expires a version: the same on every site. ``attempt``: after removed ones."""
    # A version with an id is known by it; one in the null slot by its order, but for what a re-issue changes.
    known = version.id.vid if version.id.vid != NULL_VID else version.order[:IDENTITY_SIZE]
    return make_vid(hlc, blake3.blake3(known + attempt.to_bytes(4, "big")).digest()[:8])


def _is_usable(row: ChunkPlace | None) -> bool:
    """Whether a row alone vouches for a chunk: held by something, or lying here.

    Even if it was condemned since the writer found it: it is dropped only under this lock, and not once referenced.
    """
    return row is not None and (row.refcount > 0 or bool(row.flags & CHUNK_LOCAL))
