"""A site in memory: the smallest thing that keeps the contracts of ``ChangeLog``, ``FrameStore`` and restore's port.

What it keeps is what a disk would keep: tests "crash" a site by making a new shipper and puller over the same object,
and copy its disk with ``fork``. Only ``fork`` and ``collect`` know more than the ports ask for: a copied disk is what a
cloned or rolled-back machine starts from, and collected bytes are why ``sendable`` exists.
"""

from __future__ import annotations

import asyncio
import copy
import random
from collections.abc import Callable, Mapping, Sequence

import msgspec

from replication.change_format import REF_DATA, Change, Ref, decode_change, encode_change
from replication.clock import tick
from replication.crdt import EMPTY, Dot, Entry, Write, merge, winner
from replication.frame_format import CODEC_STORED, KIND_DATA, FrameHeader, FrameName, decode_header
from replication.ports import (
    Backlog,
    ChunkFetcher,
    Frame,
    FrameLocation,
    Identity,
    LogPosition,
    Origin,
    PulledBatch,
    RemoteLog,
)
from replication.sealing import Keyring, chunk_id, open_frame, seal_frame

Item = tuple[int, bytes]


class FrameGone(Exception):
    """A frame was collected while a round was on its way: the next one asks ``sendable`` again."""


class MemorySite:
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
        self.frames: dict[FrameName, Frame] = {}
        self.located: dict[FrameName, FrameLocation] = {}
        self.cursor = LogPosition()
        self.remotes: dict[Origin, RemoteLog] = {}
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
    ) -> Change:
        """Any change of any family: its contents are one chunk each, deduplicated; it replaces exactly ``replaces``."""
        refs = tuple([Ref(REF_DATA, self._keep_chunk(content), len(content)) for content in contents])
        top = winner(self.entries.get((family, item), EMPTY))
        ticked = tick(self.clock, self.wall_ms(), top.hlc if top else 0)
        self.clock = ticked.own
        dot = Dot(self._identity.site, self._identity.incarnation, len(self.own) + 1)
        change = Change(dot, ticked.hlc, family, item, dead, tuple(replaces), refs, body)
        self.own.append(encode_change(change))
        self.own_ms.append(self.wall_ms())
        self._apply(change)
        return change

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
        return [ref for _, ref in self.live_dots()]

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
        return other

    def collect(self) -> int:
        """Drop frames that no unreplaced write needs, and those the bucket holds (they come back on demand)."""
        live = {ref.id for ref in self.live_refs()}
        in_cloud = {name.chunk_id for name in self.located}
        gone = [name for name in self.frames if name.chunk_id not in live or name.chunk_id in in_cloud]
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
        local = {name.chunk_id for name in (*self.frames, *self.located)}
        return [self._bare(data) if self._lacks(data, local) else data for data in changes]

    async def record_shipped(self, position: LogPosition, located: Sequence[FrameLocation]) -> None:
        await asyncio.sleep(0)
        if position.n < self.cursor.n or position.seq < self.cursor.seq:
            raise ValueError("the cursor never goes back")
        self.cursor = position
        self.located |= {decode_header(place.header).name: place for place in located}

    def pulled(self) -> Mapping[Origin, LogPosition]:
        return {origin: log.position for origin, log in self.remotes.items()}

    def remote_logs(self) -> Mapping[Origin, RemoteLog]:
        return dict(self.remotes)

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
        self.frames |= {decode_header(frame.header).name: frame for frame in batch.frames}
        self.located |= {decode_header(place.header).name: place for place in batch.located}
        for change in changes:
            self._apply(change)
        acks = {origin: max(seq, batch.acks.get(origin, 0)) for origin, seq in known.acks.items()}
        self.remotes[batch.origin] = RemoteLog(
            *(batch.position, {**batch.acks, **acks}, batch.sent_ms, batch.closed, batch.status or known.status)
        )

    # FrameStore

    def unshipped_frames(self, changes: Sequence[bytes]) -> list[bytes]:
        needed = {ref.id for data in changes for ref in decode_change(data).refs}
        in_cloud = {name.chunk_id for name in self.located}
        return [frame.header for name, frame in self.frames.items() if name.chunk_id in needed - in_cloud]

    def read_frame(self, header: bytes) -> Frame:
        frame = self.frames.get(decode_header(header).name)
        if frame is None:
            raise FrameGone(header.hex())
        return frame

    def locate(self, chunk_ids: Sequence[bytes]) -> dict[bytes, FrameLocation]:
        return {name.chunk_id: place for name, place in self.located.items() if name.chunk_id in set(chunk_ids)}

    def locate_frame(self, chunk_id: bytes, segment: bytes, slot: int) -> FrameLocation | None:
        return self.located.get(FrameName(chunk_id, segment, slot))

    # restore's port

    def remote_only(self, after: bytes, count_max: int) -> list[FrameLocation]:
        local = {name.chunk_id for name in self.frames}
        wanted = sorted({ref.id for ref in self.live_refs()} - local)
        return [self.locate([chunk])[chunk] for chunk in wanted if chunk > after][:count_max]

    async def bring(self, chunk_ids: Sequence[bytes]) -> int:
        assert self.fetcher is not None
        frames = await self.fetcher.fetch([self.locate([chunk])[chunk] for chunk in chunk_ids])
        for frame in frames:
            header = decode_header(frame.header)
            open_frame(self.keyring, header, frame.ciphertext)
            self.frames[header.name] = frame
        return sum(len(frame.ciphertext) for frame in frames)

    # within

    def _seen(self, item: bytes, siblings: bool) -> list[Dot]:
        live = self.live(1, item)
        return [write.dot for write in (live if siblings else live[:1])]

    def _lacks(self, data: bytes, present: set[bytes]) -> bool:
        change = decode_change(data)
        replaced = all(write.dot != change.dot for write in self.live(change.family, change.item))
        return replaced and any(ref.id not in present for ref in change.refs)

    def _bare(self, data: bytes) -> bytes:
        """The change without its value; the head of its body stays, for tests to know it by."""
        change = decode_change(data)
        itself = (*change.replaces, change.dot)
        return encode_change(msgspec.structs.replace(change, dead=True, refs=(), body=change.body[:8], replaces=itself))

    def _apply(self, change: Change) -> None:
        if change.dot in self.applied:
            return
        self.applied.add(change.dot)
        key = (change.family, change.item)
        self.refs[change.dot] = change.refs
        self.entries[key] = merge(self.entries.get(key, EMPTY), change.entry())

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
