"""``FoldedState`` of a site in memory: its state in slices of few items each, so that much happens beside a scan."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

import msgspec

from gateway.store.doom_format import decode_doom
from gateway.store.item_format import FAMILY_DOOM
from gateway.store.subscription_rows import Scope, SubscriptionRow
from replication import crdt
from replication.change_format import Ref
from replication.collection_ports import Doom, DoomState
from replication.crdt import EMPTY, Dot, Entry, Write
from replication.ports import (
    ExportStart,
    FrameLocation,
    JoinState,
    LogPosition,
    Origin,
    Reissue,
    RemoteLog,
    StateNotReady,
)

SLICE_KEYS = 3


class FoldedMemory:
    """Mixed into ``MemorySite``, whose attributes it uses."""

    entries: dict[tuple[int, bytes], Entry]
    join: JoinState | None
    folded_marks: frozenset[Dot]
    remotes: dict[Origin, RemoteLog]
    reissues: list[Reissue]
    subscription: SubscriptionRow
    subscribed: Callable[[], tuple[str, ...]]
    scope: Callable[[], Scope | None]
    _settle_rewind: Callable[[], None]

    # FoldedState: items by key, a few at a time, then where frames lie

    def begin_export(self) -> ExportStart:
        if self.join is not None:
            raise StateNotReady("joining itself")
        if self.subscription.high:
            raise StateNotReady("it takes in buckets that it has subscribed to since")
        vector = dict(self.remotes)
        if self.cursor.n:
            vector[(self._identity.site, self._identity.incarnation)] = RemoteLog(self.cursor)
        marks = {dot for entry in self.entries.values() for dot in entry.marks if not self._is_applied(dot)}
        for parted in self.reissues:  # who joins takes that log in from the common head on
            if parted.known_seq > self.remotes[parted.former].position.seq:
                raise StateNotReady("a former log of this site is to be taken in first")
            marks |= {Dot(*parted.former, seq) for seq in range(parted.known_seq + 1, parted.named_seq + 1)}
        return ExportStart(vector, (msgspec.msgpack.encode(("marks", sorted(marks))),), self.subscribed())

    def export_slice(self, cursor: bytes) -> tuple[bytes, bytes]:
        keys = sorted(self.entries)
        if cursor != b"located":
            after = msgspec.msgpack.decode(cursor, type=tuple[int, bytes]) if cursor else (0, b"")
            told = [key for key in keys if key > after][:SLICE_KEYS]
            last = not told or told[-1] == keys[-1]
            rows = [(key, [(*self._told(write),) for write in self.entries[key].live]) for key in told]
            following = b"located" if last else msgspec.msgpack.encode(told[-1])
            return msgspec.msgpack.encode(("items", after, None if last else told[-1], rows)), following
        every = [place for places in self.places.values() for place in places.values()]
        every = [place for place in every if place.object_name not in self.untold]
        places = [(place.header, place.object_name, place.offset) for place in every]
        return msgspec.msgpack.encode(("located", places)), b""

    def joining(self) -> JoinState | None:
        return self.join

    async def begin_join(self, join: JoinState) -> None:
        await asyncio.sleep(0)
        self.join = replace(join, slices=0, folded=False)
        self._await_objects({origin: log.position.n for origin, log in join.vector.items()})

    async def fold_slice(self, number: int, data: bytes) -> None:
        await asyncio.sleep(0)
        join = self.join
        if join is None or join.folded or number > join.slices:
            raise ValueError("a slice that follows nothing")
        if number < join.slices:
            return
        kind, *content = msgspec.msgpack.decode(data)
        if kind == "marks":
            self.folded_marks |= {Dot(*dot) for dot in content[0]}
        elif kind == "located":
            told = {origin: log.position.n for origin, log in join.vector.items()}
            self._locate_told([FrameLocation(*place) for place in content[0]], told)
        else:
            self._fold_items(join, *content)
        self.join = replace(join, slices=number + 1)

    def _fold_items(self, join: JoinState, after: list, upto: list | None, rows: list) -> None:
        def seen_there(dot: Dot) -> bool:
            known = join.vector.get((dot.site, dot.incarnation))
            return known is not None and dot.seq <= known.position.seq

        theirs: dict[tuple[int, bytes], Entry] = {}
        for (family, item), live in rows:
            writes = []
            for dot, hlc, dead, body, refs in live:
                writes.append(Write(Dot(*dot), hlc, dead, body))
                self.refs[writes[-1].dot] = tuple([Ref(*ref) for ref in refs])
            theirs[family, item] = Entry(tuple(writes), self.folded_marks)
        mine = {key for key in self.entries if key > tuple(after) and (upto is None or key <= tuple(upto))}
        scope = self.scope()
        for key in mine | theirs.keys():
            if scope is not None and not scope.takes_told(*key):
                continue
            known, told = self.entries.get(key, EMPTY), theirs.get(key, Entry((), self.folded_marks))
            seen_here = self._is_applied if scope is None else scope.seen_here(*key, self._is_applied)
            self.entries[key] = crdt.join(known, told, seen_here, seen_there)
            if key[0] == FAMILY_DOOM:
                self._join_doom(known, self.entries[key])

    def _join_doom(self, before: Entry, after: Entry) -> None:
        left = {write.dot for write in after.live}
        for write in before.live:
            if write.dot not in left:
                self.doomed.pop(write.dot, None)
        for write in after.live:
            if not write.dead and write.dot not in self.doomed:
                names = decode_doom(write.body)
                self.doomed[write.dot] = Doom(write.dot, self.wall_ms(), names, DoomState.APPLIED)

    async def end_join(self) -> None:
        await asyncio.sleep(0)
        assert self.join is not None
        me = (self._identity.site, self._identity.incarnation)
        for origin, log in self.join.vector.items():
            own = origin == me
            if not own and log.position.n > self.remotes.get(origin, RemoteLog(LogPosition())).position.n:
                self.remotes[origin] = log
        self.join = replace(self.join, folded=True)
        self.untold |= self.awaited
        self.awaited = set()
        self._settle_rewind()
        self.trusted |= {origin[0]: True for origin, log in self.remotes.items() if me in log.acks}

    async def finish_join(self) -> None:
        await asyncio.sleep(0)
        self.join, self.awaited = None, set()

    def _told(self, write: Write) -> tuple:
        return write.dot, write.hlc, write.dead, write.body, self.refs[write.dot]

    def _is_applied(self, dot: Dot) -> bool:
        known = self.remotes.get((dot.site, dot.incarnation))
        return dot in self.applied or (known is not None and dot.seq <= known.position.seq)
