"""A site in memory: the smallest thing that keeps the contracts of ``ChangeLog``, ``FrameStore`` and restore's port.

What it keeps is what a disk would keep: tests "crash" a site by making a new shipper and puller over the same object,
and copy its disk with ``fork``. Only ``fork`` and ``collect`` know more than the ports ask for: a copied disk is what a
cloned or rolled-back machine starts from, and collected bytes are why ``sendable`` exists.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress

import msgspec

from gateway.store.item_format import FAMILY_DOOM, FAMILY_MEMBER, FAMILY_VOID
from replication.change_format import REF_DATA, Change, Ref, decode_change, encode_change
from replication.clock import tick
from replication.collection_ports import Doom
from replication.crdt import EMPTY, Dot, Entry, Write, merge, winner
from replication.frame_format import CODEC_STORED, KIND_DATA, FrameHeader, FrameName, decode_header
from replication.member_format import check_member_item
from replication.ports import (
    Backlog,
    ChunkFetcher,
    CloudMissing,
    Frame,
    FrameLocation,
    Identity,
    JoinState,
    LogPosition,
    Origin,
    OwnLogAhead,
    PulledBatch,
    Reissue,
    RemoteLog,
    Statement,
)
from replication.sealing import Keyring, chunk_id, open_frame, reseal_frame, seal_frame
from tests.replication.memory_graveyard import MemoryGraveyard
from tests.replication.memory_holdings import MemoryHoldings
from tests.replication.memory_state import FoldedMemory
from tests.replication.memory_subscription import MemorySubscription

Item = tuple[int, bytes]


class FrameGone(Exception):
    """A frame was collected while a round was on its way: the next one asks ``sendable`` again."""


class MemorySite(MemoryHoldings, MemoryGraveyard, MemorySubscription, FoldedMemory):
    def __init__(self, keyring: Keyring, name: bytes, wall_ms: Callable[[], int], seed: int = 0) -> None:
        self.keyring = keyring
        self.wall_ms = wall_ms
        self._identity = Identity(
            keyring.realm, name.ljust(16, b"."), random.Random((seed, name).__repr__()).randbytes(8)
        )
        self.own: list[bytes] = []
        self.own_ms: list[int] = []
        self.clock = 0
        self.entries: dict[Item, Entry] = {}
        self.refs: dict[Dot, tuple[Ref, ...]] = {}
        self.applied: set[Dot] = set()
        self.folded_marks: frozenset[Dot] = frozenset()
        self.frames: dict[FrameName, Frame] = {}
        self.places: dict[FrameName, dict[str, FrameLocation]] = {}
        self.staged: dict[bytes, tuple[Ref, ...]] = {}
        self.doomed: dict[Dot, Doom] = {}
        self.awaited: set[str] = set()
        self.untold: set[str] = set()
        self.trusted = {self._identity.site: True}
        self.released: dict[bytes, int] = {}
        self.cursor = LogPosition()
        self.shipped_trail: list[LogPosition] = []
        self.former: dict[Origin, int] = {}
        """Logs that were this machine's own, and up to where their changes stand here."""
        self.reissues: list[Reissue] = []
        self.remotes: dict[Origin, RemoteLog] = {}
        self.join: JoinState | None = None
        self.fetcher: ChunkFetcher | None = None
        self._segment = self._identity.site[:12] + self._identity.incarnation + b"seg0"
        self._slot = 0

    # what a client does

    def put(self, item: bytes, content: bytes, *, siblings: bool = False) -> Change:
        """Overwrite an item: replaces the current write, or every sibling. Content is one chunk, deduplicated."""
        return self.write(1, item, b"v:" + chunk_id(self.keyring, content), (content,), self._seen(item, siblings))

    def remove(self, item: bytes) -> Change:
        return self.write(1, item, b"", replaces=self._seen(item, True), dead=True)

    def write(
        self,
        family: int,
        item: bytes,
        body: bytes,
        contents: Sequence[bytes] = (),
        replaces: Sequence[Dot] = (),
        *,
        dead: bool = False,
        refs: tuple[Ref, ...] = (),
    ) -> Change:
        """Any change of any family: its contents are one chunk each, deduplicated, behind ``refs`` of a copy, which
        need not be here; it replaces exactly ``replaces``.
        """
        refs = (*refs, *self._keep(contents))
        top = winner(self.entries.get((family, item), EMPTY))
        ticked = tick(self.clock, self.wall_ms(), top.hlc if top else 0)
        self.clock = ticked.own
        dot = self.next_dot()
        change = Change(dot, ticked.hlc, family, item, dead, tuple(replaces), refs, body)
        self.own.append(encode_change(change))
        self.own_ms.append(self.wall_ms())
        self._apply(change)
        return change

    def next_dot(self) -> Dot:
        """Of the own change that will be made next."""
        return Dot(self._identity.site, self._identity.incarnation, len(self.own) + 1)

    def stage(self, upload: bytes, contents: Sequence[bytes] = (), refs: tuple[Ref, ...] = ()) -> None:
        """Parts of an upload that is open here: needed, and known to nobody else before it is completed."""
        self.staged[upload] = (*self.staged.get(upload, ()), *refs, *self._keep(contents))

    def unstage(self, upload: bytes) -> tuple[Ref, ...]:
        """The upload is no more: it is completed with these refs at once, or given up."""
        refs = self.staged.pop(upload)
        for ref in refs:
            self.released[ref.id] = max(self.wall_ms(), self.released.get(ref.id, 0))
        return refs

    def is_held(self, refs: Sequence[Ref]) -> bool:
        """Whether a change may refer to these: all are here, or in the bucket to stay."""
        return all(self.frame_of(ref.id) is not None or self.is_in_cloud(ref.id) for ref in refs)

    def live(self, family: int, item: bytes) -> tuple[Write, ...]:
        """The unreplaced writes of an item, greatest order first."""
        return self.entries.get((family, item), EMPTY).live

    def read(self, chunk: bytes) -> bytes | None:
        """Plaintext of a chunk if its frame is local."""
        frame = self.frame_of(chunk)
        return frame and open_frame(self.keyring, decode_header(frame.header), frame.ciphertext)

    def frame_of(self, chunk: bytes) -> Frame | None:
        """The sealed frame of a chunk, if it is local."""
        for name, frame in self.frames.items():
            if name.chunk_id == chunk:
                return frame
        return None

    def visible(self) -> dict[Item, tuple[tuple[Dot, bytes], ...]]:
        """The state that must be equal everywhere: the unreplaced writes of every item, winner first."""
        return {
            item: tuple((write.dot, write.body) for write in entry.live)
            for item, entry in sorted(self.entries.items())
            if entry.live
        }

    def live_refs(self) -> list[Ref]:
        """Every chunk that something here needs."""
        return [ref for _, ref in self.live_dots()] + [ref for refs in self.staged.values() for ref in refs]

    def live_dots(self) -> list[tuple[Dot, Ref]]:
        """Every chunk that an unreplaced write needs, with the dot of that write."""
        return [
            (write.dot, ref) for entry in self.entries.values() for write in entry.live for ref in self.refs[write.dot]
        ]

    # what happens to a disk

    def fork(self) -> MemorySite:
        """The same disk once more: an image of a machine, or a backup."""
        other = copy.copy(self)
        for name, value in vars(self).items():
            if isinstance(value, (list, dict, set)):
                setattr(other, name, value.copy())
        other.places = {name: places.copy() for name, places in self.places.items()}
        return other

    def collect(self) -> int:
        """Drop frames that no unreplaced write needs, and those the bucket holds (they come back on demand), but for
        what writes refer to that the bucket does not know of yet.
        """
        live = {ref.id for ref in self.live_refs()}
        unsent = {ref.id for change in self.own[self.cursor.seq :] for ref in decode_change(change).refs}
        kept = {chunk for chunk in live if chunk in unsent or not self.is_in_cloud(chunk)}
        gone = [name for name in self.frames if name.chunk_id not in kept]
        for name in gone:
            del self.frames[name]
        return len(gone)

    # ChangeLog

    def identity(self) -> Identity:
        return self._identity

    def last_seq(self) -> int:
        return len(self.own)

    def shipped(self) -> LogPosition:
        return self.cursor

    def backlog(self) -> Backlog:
        unsent = self.own[self.cursor.seq :]
        frames = sum(decode_header(header).stored_size for header in self.unshipped_frames(unsent))
        oldest = self.own_ms[self.cursor.seq] if unsent else None
        return Backlog(len(unsent), frames + sum(map(len, unsent)), oldest, 0)

    def read_changes(self, after_seq: int, count_max: int, bytes_max: int) -> list[bytes]:
        taken: list[bytes] = []
        for change in self.own[after_seq : after_seq + count_max]:
            if taken and sum(map(len, taken)) + len(change) > bytes_max:
                break
            taken.append(change)
        return taken

    def sendable(self, changes: Sequence[bytes]) -> list[bytes]:
        here = {name.chunk_id for name in self.frames}
        return [self._bare(data) if self._lacks(data, here) else data for data in changes]

    async def record_shipped(self, position: LogPosition, located: Sequence[FrameLocation]) -> None:
        await asyncio.sleep(0)
        if position.n < self.cursor.n or position.seq < self.cursor.seq:
            raise ValueError("the cursor never goes back")
        self.cursor = position
        self.shipped_trail.append(position)
        self._locate(located)

    def pulled(self) -> Mapping[Origin, LogPosition]:
        return {origin: log.position for origin, log in self.remotes.items()}

    def remote_logs(self) -> Mapping[Origin, RemoteLog]:
        return dict(self.remotes)

    def statements(self) -> list[Statement]:
        return [
            Statement(item, write.dot, write.hlc, write.dead, write.body)
            for (family, item), entry in self.entries.items()
            if family == FAMILY_MEMBER
            for write in entry.live
        ]

    async def state(self, item: bytes, body: bytes) -> None:
        await asyncio.sleep(0)
        self.write(FAMILY_MEMBER, item, body, replaces=[write.dot for write in self.live(FAMILY_MEMBER, item)])

    def acks(self) -> Mapping[Origin, Mapping[Origin, int]]:
        return {origin: dict(log.acks) for origin, log in self.remotes.items()}

    async def record_pulled(self, batch: PulledBatch) -> None:
        await asyncio.sleep(0)
        known = self.remotes.get(batch.origin, RemoteLog(LogPosition()))
        if batch.position.n <= known.position.n:
            return
        if batch.position.n != known.position.n + 1:
            raise ValueError("a gap in a remote log")
        changes = [decode_change(data) for data in batch.changes]
        own = (self._identity.site, self._identity.incarnation)
        seen = max([batch.acks.get(own, 0), *(dot.seq for one in changes for dot in one.replaces if dot[:2] == own)])
        if seen > self.cursor.seq:
            raise OwnLogAhead(seen)
        for change in changes:
            if change.family == FAMILY_MEMBER:
                check_member_item(change.item, change.body, dead=change.dead)
        taken_in = self._pass_over(batch.changes)
        if taken_in == tuple(batch.changes) or set(taken_in) & set(batch.changes):
            self.frames |= {decode_header(frame.header).name: self._to_keep(frame) for frame in batch.frames}
        self._locate_told(batch.located, {batch.origin: batch.position.n})
        for change in map(decode_change, taken_in):
            self._apply(change)
        if (self._identity.site, self._identity.incarnation) in batch.acks:
            self.trusted[batch.origin[0]] = True
        self.trusted.setdefault(batch.origin[0], False)
        acks = {origin: max(seq, batch.acks.get(origin, 0)) for origin, seq in known.acks.items()}
        self.remotes[batch.origin] = RemoteLog(
            *(batch.position, {**batch.acks, **acks}, batch.sent_ms, batch.closed, batch.status or known.status)
        )
        self._settle_rewind()

    def trail(self) -> Iterator[LogPosition]:
        return (position for position in reversed(self.shipped_trail) if position.n <= self.cursor.n)

    def former_logs(self) -> Sequence[Origin]:
        return list(self.former)

    async def restate(self, changes: Sequence[bytes]) -> int:
        await asyncio.sleep(0)
        count = 0
        for former in map(decode_change, changes):
            if any(write.dot == former.dot for write in self.live(former.family, former.item)):
                replaces = (former.dot, *former.replaces)
                again = msgspec.structs.replace(former, dot=self.next_dot(), replaces=replaces)
                self.own.append(encode_change(again))
                self.own_ms.append(self.wall_ms())
                self._apply(again)
                count += 1
        return count

    async def issue_anew(self, reissue: Reissue) -> int:
        await asyncio.sleep(0)
        if reissue.former != (self._identity.site, self._identity.incarnation):
            return 0
        known = reissue.known_seq
        unsent = list(zip(self.own[known:], self.own_ms[known:], strict=True))
        last_known = max(known, reissue.named_seq)
        self.former[reissue.former] = last_known
        self.remotes[reissue.former] = RemoteLog(reissue.common)
        self.reissues.append(reissue)
        self._identity = Identity(self._identity.realm, reissue.site, reissue.incarnation)
        self.trusted = {**dict.fromkeys(self.trusted, False), reissue.site: reissue.site != reissue.former[0]}
        self.own, self.own_ms, self.cursor, self.shipped_trail = [], [], LogPosition(), []
        renamed: dict[Dot, Dot] = {}
        for data, made_ms in unsent:
            former = decode_change(data)
            renamed[former.dot] = Dot(reissue.site, reissue.incarnation, len(self.own) + 1)
            anew = self._anew(former, renamed, is_named=former.dot.seq <= reissue.named_seq)
            self.own.append(encode_change(anew))
            self.own_ms.append(made_ms)
            self._take_place(former, anew, is_known=former.dot.seq <= last_known)
            if anew.family == FAMILY_DOOM:
                self._apply_doom(anew)
        return len(unsent)

    # FrameStore

    def unshipped_frames(self, changes: Sequence[bytes]) -> list[bytes]:
        needed = {ref.id for data in changes for ref in decode_change(data).refs}
        lacking = {chunk for chunk in needed if not self.is_in_cloud(chunk)}
        return [frame.header for name, frame in self.frames.items() if name.chunk_id in lacking]

    def absent_chunks(self, changes: Sequence[bytes], count_max: int) -> list[bytes]:
        needed = {ref.id for data in changes for ref in decode_change(data).refs}
        absent = needed - {name.chunk_id for name in self.frames}
        return sorted(chunk for chunk in absent if not self.is_in_cloud(chunk) and self.locate([chunk]))[:count_max]

    def read_frame(self, header: bytes) -> Frame:
        frame = self.frames.get(decode_header(header).name)
        if frame is None:
            raise FrameGone(header.hex())
        return self._to_keep(frame)

    def set_keyring(self, keyring: Keyring) -> None:
        self.keyring = keyring
        self.frames = {name: self.read_frame(frame.header) for name, frame in self.frames.items()}

    # restore's port

    def remote_only(self, after: bytes, count_max: int) -> list[FrameLocation]:
        local = {name.chunk_id for name in self.frames}
        wanted = sorted({ref.id for ref in self.live_refs()} - local)
        return [self.locate([chunk])[chunk] for chunk in wanted if chunk > after][:count_max]

    async def bring(self, chunk_ids: Sequence[bytes]) -> int:
        assert self.fetcher is not None
        frames = [await self._fetch(chunk) for chunk in chunk_ids]
        for frame in frames:
            header = decode_header(frame.header)
            open_frame(self.keyring, header, frame.ciphertext)
            self.frames[header.name] = self._to_keep(frame)
        return sum(len(frame.ciphertext) for frame in frames)

    # within

    def _to_keep(self, frame: Frame) -> Frame:
        """The frame, sealed anew if its epoch is to end."""
        if decode_header(frame.header).epoch in self.keyring.retired:
            return Frame(*reseal_frame(self.keyring, frame.header, frame.ciphertext))
        return frame

    async def _fetch(self, chunk: bytes) -> Frame:
        known, best = self.keyring.epochs, self.locate([chunk])[chunk]
        places = sorted(
            self._places_of(chunk), key=lambda place: (decode_header(place.header).epoch not in known, place != best)
        )
        for place in places[:-1]:
            with suppress(CloudMissing):  # a doomed object may be gone already
                return (await self.fetcher.fetch([place]))[0]
        return (await self.fetcher.fetch(places[-1:]))[0]

    def _seen(self, item: bytes, siblings: bool) -> list[Dot]:
        live = self.live(1, item)
        return [write.dot for write in (live if siblings else live[:1])]

    def _lacks(self, data: bytes, here: set[bytes]) -> bool:
        """A place in an object that goes is none: nobody kept the bytes of what is dead when the doom was settled."""
        change = decode_change(data)
        replaced = all(write.dot != change.dot for write in self.live(change.family, change.item))
        return replaced and any(ref.id not in here and not self.is_in_cloud(ref.id) for ref in change.refs)

    def _bare(self, data: bytes) -> bytes:
        """The change without its value; the head of its body stays, for tests to know it by."""
        change = decode_change(data)
        itself = (*change.replaces, change.dot)
        return encode_change(msgspec.structs.replace(change, dead=True, refs=(), body=change.body[:8], replaces=itself))

    def _anew(self, former: Change, renamed: Mapping[Dot, Dot], *, is_named: bool) -> Change:
        """The change under its new dot: as ``ChangeLog.issue_anew`` says."""
        dot = renamed[former.dot]
        replaces = tuple([renamed.get(old, old) for old in former.replaces])
        if is_named:
            replaces = (former.dot, *replaces, *[old for old in former.replaces if old in renamed])
        if all(write.dot != former.dot for write in self.live(former.family, former.item)):
            return msgspec.structs.replace(former, dot=dot, replaces=(*replaces, dot), refs=())
        return msgspec.structs.replace(former, dot=dot, replaces=replaces)

    def _take_place(self, former: Change, anew: Change, *, is_known: bool) -> None:
        """In the state, too; no mark of the old dot stays, for it may be another change's elsewhere."""
        key = (former.family, former.item)
        entry = self.entries[key]
        self.entries[key] = Entry(
            tuple(write for write in entry.live if write.dot != former.dot),
            entry.marks if is_known else entry.marks - {former.dot},
        )
        if not is_known:
            self.applied.discard(former.dot)
        self._apply(anew)

    def _apply(self, change: Change) -> None:
        if change.dot in self.applied and change.dot not in change.replaces:
            return
        self.applied.add(change.dot)
        if change.family == FAMILY_VOID:  # passed over, perhaps not for the first time: what it once brought stays
            return
        key = (change.family, change.item)
        self.refs[change.dot] = change.refs
        before = self.entries.get(key, EMPTY)
        self.entries[key] = merge(before, change.entry())
        left = {write.dot for write in self.entries[key].live}
        for dot in {change.dot, *[write.dot for write in before.live]} - left:
            for ref in self.refs[dot]:
                self.released[ref.id] = max(self.wall_ms(), self.released.get(ref.id, 0))
        if change.family == FAMILY_DOOM:
            self._apply_doom(change)

    def _keep(self, contents: Sequence[bytes]) -> list[Ref]:
        return [Ref(REF_DATA, self._keep_chunk(content), len(content)) for content in contents]

    def _keep_chunk(self, content: bytes) -> bytes:
        chunk = chunk_id(self.keyring, content)
        if all(name.chunk_id != chunk for name in self.frames):
            header = FrameHeader(
                CODEC_STORED,
                KIND_DATA,
                0,
                self._slot,
                0,
                len(content),
                self.keyring.current,
                self._segment,
                chunk,
                bytes(32),
            )
            self._slot += 1
            encoded, ciphertext = seal_frame(self.keyring, header, content)
            self.frames[decode_header(encoded).name] = Frame(encoded, ciphertext)
        return chunk
