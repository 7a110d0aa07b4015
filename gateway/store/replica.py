"""The store as replication sees it: ``ChangeLog`` and ``FrameStore`` of ``replication/ports.py``.

Stands beside operations, above the committer: remote batches and cursor moves are decisions like any other, applied
by the same ``apply``. Reads take a snapshot and register the collection epoch, so that segments do not go away
underneath. Replication learns opaque items, encoded changes and sealed frames; nothing of S3.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import NamedTuple

import msgspec

from gateway.store.chunk_rows import OpenPages
from gateway.store.cloud_rows import (
    is_in_cloud,
    locate_chunk,
    locate_frame,
    scan_dooms,
)
from gateway.store.commit import Committer
from gateway.store.decision import Decision
from gateway.store.errors import Damaged, DamagedChunk
from gateway.store.index_format import State, decode_chunk
from gateway.store.item_format import FAMILY_MEMBER, FAMILY_NULL_SLOT, FAMILY_VOID, stays_here
from gateway.store.item_rows import check_value, scan_entries
from gateway.store.log import Log
from gateway.store.log_format import Imported, Located, Pulled, Shipped
from gateway.store.log_rows import read_backlog, read_origin, scan_former, scan_origins
from gateway.store.needed_frames import NeededFrames, is_held
from gateway.store.object_rows import DROP_BODY, is_standing
from gateway.store.own_changes import Stretch, issue_anew, read_on, read_own, restate, scan_trail, ship_total_at
from gateway.store.pulled_frames import stage_pulled_frames
from gateway.store.segments import SegmentReader
from gateway.store.shared import Shared
from gateway.store.subscription_rows import heard_logs, read_scope
from gateway.store.views import View, ViewContext
from gateway.store.written_sums import HeldSums, Progress, WrittenSums, sum_held, sum_written
from replication.change_format import Change, ChangeInvalid, decode_change, encode_change
from replication.collection_ports import DoomState
from replication.crdt import Dot
from replication.frame_format import FrameHeader, FrameInvalid, FrameName, decode_header
from replication.member_format import check_member_item
from replication.ports import (
    Backlog,
    Frame,
    FrameLocation,
    Identity,
    LogPosition,
    Origin,
    OwnLogAhead,
    PulledBatch,
    Reissue,
    RemoteLog,
    Statement,
)
from replication.sealing import Keyring, SealBroken, open_frame, reseal_frame


class Parting(NamedTuple):
    """A log of this machine that parted from the cloud's: which, when (unix ms), why, how much was issued anew."""

    site: bytes
    incarnation: bytes
    at_ms: int
    reason: str
    changes: int


class Replica:
    """``ChangeLog`` and ``FrameStore`` over one process' store."""

    def __init__(
        self,
        realm: bytes,
        site: bytes,
        open_view: Callable[[], ViewContext],
        committer: Committer,
        log: Log,
        reader: SegmentReader,
        shared: Shared,
        open_pages: OpenPages,
    ) -> None:
        self._realm, self._site = realm, site
        self._open_view, self._committer = open_view, committer
        self._log, self._reader, self._shared, self._open_pages = log, reader, shared, open_pages

    # ChangeLog

    def identity(self) -> Identity:
        """This site's realm, site and newest incarnation."""
        state = self._state()
        return Identity(self._realm, state.site or self._site, state.incarnation)

    def last_seq(self) -> int:
        """The sequence number of the newest own change of this incarnation; 0 if none."""
        return self._state().seq

    def shipped(self) -> LogPosition:
        """The confirmed cursor."""
        state = self._state()
        return LogPosition(state.shipped_n, state.shipped_seq, state.shipped_chain)

    def backlog(self) -> Backlog:
        """What the cloud does not have yet, from one snapshot."""
        with self._open_view() as view:
            return read_backlog(view.transaction, view.state())

    def read_changes(self, after_seq: int, count_max: int, bytes_max: int, *, verbatim: bool = False) -> list[bytes]:
        """Own encoded changes from ``after_seq + 1`` on; at least one if there is any.

        As others may know them: what stays on this site leaves its place in the order, and nothing else
        (``verbatim``: as they are, for this site's own purposes).
        """
        found: list[bytes] = []
        size = 0
        with self._snapshot() as view:
            for seq, record in read_own(view.transaction, self._log, view.state(), after_seq + 1):
                if found and (len(found) >= count_max or size + len(record.change) > bytes_max):
                    break
                if seq != after_seq + 1 + len(found):
                    raise Damaged(f"the log has no change {after_seq + 1 + len(found)} but has {seq}")
                found.append(record.change if verbatim else _tellable(record.change))
                size += len(record.change)
        return found

    def read_on(self, incarnation: bytes, after_seq: int, count_max: int) -> Stretch:
        """Own changes behind one of any incarnation of this machine, for who follows the log; see ``own_changes``."""
        with self._snapshot() as view:
            return read_on(view.transaction, self._log, view.state(), incarnation, after_seq, count_max)

    def sendable(self, changes: Sequence[bytes]) -> list[bytes]:
        """Own changes as they may be sent now: without their value where a later change ended it and its bytes are
        gone.

        Sent verbatim, such a change would show others an object without bytes until that later change arrives. What is
        sent in its place only replaces what it replaced.
        """
        with self._snapshot() as view:
            return [self._without_value(data) if self._is_value_gone(view, data) else data for data in changes]

    async def record_shipped(self, position: LogPosition, located: Sequence[FrameLocation]) -> None:
        """Advance the cursor and remember where the frames lie. ``ValueError`` if it would go back."""

        def decide(view: Decision) -> None:
            state = view.state()
            known = LogPosition(state.shipped_n, state.shipped_seq, state.shipped_chain)
            if position == known and not located:
                return
            if position.n < known.n or position.seq < known.seq or (position.n == known.n and position != known):
                raise ValueError(f"the cursor is at batch {known.n}, change {known.seq}: it does not go back")
            if position.seq > state.seq:
                raise ValueError(f"change {position.seq} was never made: the last is {state.seq}")
            total = ship_total_at(view.transaction, self._log, state, position.seq)
            view.stage_record(Shipped(position.n, position.seq, position.chain, _located(located), total))

        await self._committer.commit(decide)

    def pulled(self) -> Mapping[Origin, LogPosition]:
        """Every remote log and how far it was taken in."""
        with self._open_view() as view:
            return {origin: LogPosition(row.n, row.seq, row.chain) for origin, row in scan_origins(view.transaction)}

    def heard(self) -> Mapping[Origin, LogPosition]:
        """How far every remote log was ever taken in."""
        with self._open_view() as view:
            return heard_logs(view.transaction)

    async def record_pulled(self, batch: PulledBatch) -> None:
        """Merge a remote batch, whole or not at all. ``ValueError`` for a gap; ``ChangeInvalid`` for what is no
        change.
        """
        replaced = _check_batch(batch)

        def decide(view: Decision) -> None:
            state = view.state()
            own = (state.site or self._site, state.incarnation)
            if batch.origin == own:
                raise ValueError("a site does not take in its own log")
            known = read_origin(view.transaction, batch.origin)
            if batch.position.n <= known.n:
                return
            if batch.position.n != known.n + 1 or batch.position.seq != known.seq + len(batch.changes):
                found = f"batch {batch.position.n} up to change {batch.position.seq}"
                raise ValueError(f"{found} does not follow batch {known.n} up to change {known.seq}")
            seen = max([batch.acks.get(own, 0), *(dot.seq for dot in replaced if dot[:2] == own)])
            if seen > state.shipped_seq:
                raise OwnLogAhead(seen)
            scope, changes = read_scope(view.transaction), tuple(batch.changes)
            taken_in = changes if scope.everything else scope.pass_over(changes)
            if taken_in == changes or any(one == other for one, other in zip(changes, taken_in, strict=True)):
                stage_pulled_frames(view, batch.frames, self._log.keyring)
            site, incarnation = batch.origin
            if changes:
                view.stage_record(Imported(site, incarnation, taken_in))
            acks = tuple([(*origin, seq) for origin, seq in sorted(batch.acks.items())])
            position = batch.position
            view.stage_record(
                Pulled(
                    *(site, incarnation, position.n, position.seq, position.chain),
                    *(acks, batch.sent_ms, _located(batch.located), batch.closed, batch.status),
                )
            )

        await self._committer.commit(decide)

    def remote_logs(self) -> dict[Origin, RemoteLog]:
        """Every remote log with what its writer said of itself."""
        with self._open_view() as view:
            return {
                origin: RemoteLog(
                    LogPosition(row.n, row.seq, row.chain),
                    {(site, incarnation): seq for site, incarnation, seq in row.acks},
                    *(row.sent_ms, row.closed, row.status),
                )
                for origin, row in scan_origins(view.transaction)
            }

    def acks(self) -> dict[Origin, Mapping[Origin, int]]:
        """What each remote log's writer had applied of each origin, as its batches taken in here say."""
        return {origin: log.acks for origin, log in self.remote_logs().items()}

    def unsettled(self) -> dict[Origin, int]:
        """For each log with a doom that is not settled here the first such change."""
        found: dict[Origin, int] = {}
        with self._open_view() as view:
            for dot, row in scan_dooms(view.transaction):
                if row.state < DoomState.SETTLED.value:
                    origin = (dot.site, dot.incarnation)
                    found[origin] = min(dot.seq, found.get(origin, dot.seq))
        return found

    def statements(self) -> list[Statement]:
        """What is said of the realm's sites."""
        with self._open_view() as view:
            return [
                Statement(item, write.dot, write.hlc, write.dead, write.body)
                for item, entry in scan_entries(view.transaction, FAMILY_MEMBER)
                for write in entry.live
            ]

    async def state(self, item: bytes, body: bytes) -> None:
        """Say something of a site."""
        check_member_item(item, body, dead=False)
        await self._committer.commit(lambda view: view.put_member(item, body))

    def trail(self) -> Iterator[LogPosition]:
        """Cursors of the newest incarnation, newest first; the log is read for all but the first."""
        with self._snapshot() as view:
            state = view.state()
            if state.shipped_n:
                yield self.shipped()
                yield from scan_trail(view.transaction, self._log, state.batch)

    def former_logs(self) -> list[Origin]:
        """Logs that were this machine's own before, oldest first."""
        with self._open_view() as view:
            found = scan_former(view.transaction)
        return [(former.site or self._site, incarnation) for incarnation, former in found]

    def partings(self) -> list[Parting]:
        """When and why this machine went on under another incarnation or site id, oldest first."""
        with self._open_view() as view:
            found = scan_former(view.transaction)
        return [
            Parting(former.site or self._site, incarnation, former.at_ms, former.reason, former.anew)
            for incarnation, former in found
            if former.reason
        ]

    async def restate(self, changes: Sequence[bytes]) -> int:
        """Write own changes that still stand here again, whole or not at all: how many."""
        return await self._committer.commit(lambda view: restate(view, self._log, changes)) if changes else 0

    async def issue_anew(self, reissue: Reissue) -> int:
        """Go on under another incarnation or site id, whole or not at all: how many changes were issued anew."""
        return await self._committer.commit(lambda view: issue_anew(view, self._log, reissue), alone=True)

    # FrameStore

    def unshipped_frames(self, changes: Sequence[bytes]) -> list[bytes]:
        """Encoded headers of local frames that these changes need and the cloud lacks, bases first.

        ``DamagedChunk`` if a chunk they need is neither here nor in the cloud.
        """
        with self._snapshot() as view:
            return self._needed_frames(view).unshipped(changes)

    def absent_chunks(self, changes: Sequence[bytes], count_max: int) -> list[bytes]:
        """Chunks that these changes need, that are not here, and that lie in the cloud only where nobody relies on."""
        with self._snapshot() as view:
            return self._needed_frames(view).absent(changes, count_max)

    def read_frame(self, header: bytes) -> Frame:
        """The frame that this header names, authenticated; ``DamagedChunk`` if it is not here, or is not what was
        sealed.

        Sealed as it lies here now, or anew if its epoch is retired: epoch and salt may differ from the header's.
        """
        decoded = decode_header(header)
        try:
            return self._read_frame(decoded)
        except Damaged as error:
            raise DamagedChunk(str(error), decoded.chunk_id) from error

    def _read_frame(self, decoded: FrameHeader) -> Frame:
        with self._snapshot() as view:
            place = view.chunk(decoded.chunk_id)
            if place is None or not place.local or (place.segment, place.slot) != decoded.name[1:]:
                raise Damaged(f"the frame of chunk {decoded.chunk_id.hex()} is no longer on this site")
            size = place.header_size + place.stored_size
            data = self._reader.read(place.number, place.kind, place.offset, size)
        ciphertext = data[place.header_size :]
        where = f"segment {place.number}, offset {place.offset}"
        try:
            return _authenticate(self._log.keyring, data[: place.header_size], ciphertext, decoded.name)
        except (SealBroken, FrameInvalid) as error:
            raise Damaged(f"{where}: {error}") from error

    def locate(self, chunk_ids: Sequence[bytes]) -> dict[bytes, FrameLocation]:
        """Where chunks lie in the cloud, for those known; a full frame is preferred to a patch."""
        with self._open_view() as view:
            found = {chunk_id: locate_chunk(view.transaction, chunk_id) for chunk_id in chunk_ids}
        return {chunk_id: location for chunk_id, location in found.items() if location is not None}

    def locate_frame(self, chunk_id: bytes, segment: bytes, slot: int) -> FrameLocation | None:
        """Where exactly this frame lies in the cloud."""
        with self._open_view() as view:
            return locate_frame(view.transaction, FrameName(chunk_id, segment, slot))

    def remote_only(self, after: bytes, count_max: int) -> list[FrameLocation]:
        """Frames of chunks that something needs and that are only in the cloud, by chunk id, greater than ``after``."""
        return self._needed(after, count_max, here_too=False)

    def located(self, after: bytes, count_max: int) -> list[FrameLocation]:
        """Frames in the cloud of chunks that something needs, here as well or not, by chunk id, greater than
        ``after``.
        """
        return self._needed(after, count_max, here_too=True)

    def sum_written(self, progress: Progress = lambda done: None) -> WrittenSums:
        """What this site's own changes add up to; walks the log."""
        token = self._shared.enter()
        try:
            return sum_written(self._open_view, self._log, progress)
        finally:
            self._shared.leave(token)

    def sum_held(self) -> HeldSums:
        """What the chunks add up to that something needs now; walks the index."""
        return sum_held(self._open_view)

    def _needed(self, after: bytes, count_max: int, *, here_too: bool) -> list[FrameLocation]:
        found: list[FrameLocation] = []
        with self._open_view() as view:
            transaction = view.transaction
            for chunk_id, data in transaction.scan(transaction.tables.chunks, after + b"\0" if after else b""):
                row = decode_chunk(data)
                if row.refcount and (here_too or not row.local):
                    location = locate_chunk(transaction, chunk_id)
                    if location is not None:
                        found.append(location)
                        if len(found) == count_max:
                            break
        return found

    def _is_value_gone(self, view: View, data: bytes) -> bool:
        """Whether a later change ended this one, and some of its chunks were (or are being) collected unsent."""
        change = decode_change(data)
        for ref in change.refs:
            if not is_held(view.chunk(ref.id)) and not is_in_cloud(view.transaction, ref.id):
                return not is_standing(view.transaction, change)
        return False

    def _without_value(self, data: bytes) -> bytes:
        """The change without its value. It replaces itself, which no other change does: nothing is kept of it but what
        it replaced, and a copy of this machine that deleted with the same dot cannot pass for it.
        """
        change = decode_change(data)
        body = DROP_BODY if change.family == FAMILY_NULL_SLOT else b""
        itself = (*change.replaces, change.dot)
        return encode_change(msgspec.structs.replace(change, dead=True, refs=(), body=body, replaces=itself))

    def _needed_frames(self, view: View) -> NeededFrames:
        return NeededFrames(view, self._reader, self._open_pages)

    # shared

    @contextmanager
    def _snapshot(self) -> Iterator[View]:
        token = self._shared.enter()
        try:
            with self._open_view() as view:
                yield view
        finally:
            self._shared.leave(token)

    def _state(self) -> State:
        with self._open_view() as view:
            return view.state()


def _authenticate(keyring: Keyring, header: bytes, ciphertext: bytes, name: FrameName) -> Frame:
    """A frame as it may be sent: nothing leaves sealed under an epoch that is to end."""
    found = decode_header(header)
    if found.name != name:
        raise SealBroken(f"another frame lies where chunk {name.chunk_id.hex()} should be")
    if found.epoch in keyring.retired:
        return Frame(*reseal_frame(keyring, header, ciphertext))
    open_frame(keyring, found, ciphertext)
    return Frame(header, ciphertext)


def _tellable(data: bytes) -> bytes:
    """A change as other sites may know it."""
    change = decode_change(data)
    if not stays_here(change.family, change.item):
        return data
    return encode_change(Change(change.dot, change.hlc, FAMILY_VOID, b"", True, (change.dot,)))


def _located(located: Sequence[FrameLocation]) -> tuple[Located, ...]:
    return tuple([Located(place.header, place.object_name, place.offset) for place in located])


def _check_batch(batch: PulledBatch) -> set[Dot]:
    """Every change decodes, its value too (later it would fail whoever reads it), is of the batch's origin, and they
    are dense up to its position. What they replace.
    """
    replaced: set[Dot] = set()
    first = batch.position.seq - len(batch.changes) + 1
    for seq, data in enumerate(batch.changes, first):
        change = decode_change(data)
        if change.dot != (*batch.origin, seq):
            raise ChangeInvalid(f"change {change.dot.seq} stands where change {seq} of that log should be")
        check_value(change)
        replaced.update(change.replaces)
    return replaced
