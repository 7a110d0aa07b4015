"""What the bucket holds, as a site in memory knows it: its part of ``Holdings``, beside ``memory_site``."""

from __future__ import annotations

import asyncio
import dataclasses
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence

from gateway.store.doom_format import decode_doom, doom_item, encode_doom
from gateway.store.item_format import FAMILY_DOOM
from replication.change_format import Change, Ref
from replication.cloud_names import log_of
from replication.collection_ports import Doom, DoomState, HeldObject
from replication.crdt import Dot, Entry, Write
from replication.frame_format import FrameName, decode_header
from replication.ports import Frame, FrameLocation, Identity, LogPosition, Origin


class MemoryHoldings:
    """The half of a site in memory that knows the bucket."""

    wall_ms: Callable[[], int]
    identity: Callable[[], Identity]
    entries: dict[tuple[int, bytes], Entry]
    frames: dict[FrameName, Frame]
    places: dict[FrameName, dict[str, FrameLocation]]
    doomed: dict[Dot, Doom]
    awaited: set[str]
    """Objects that the checkpoint that is being joined is to tell of."""
    untold: set[str]
    """Those of which one did not tell: they may be gone."""
    heard: Callable[[], Mapping[Origin, LogPosition]]
    shipped: Callable[[], LogPosition]
    trusted: dict[bytes, bool]
    released: dict[bytes, int]
    live: Callable[[int, bytes], tuple[Write, ...]]
    live_refs: Callable[[], list[Ref]]
    write: Callable[..., Change]

    def unsettled(self) -> Mapping[Origin, int]:
        found: dict[Origin, int] = {}
        for dot, doom in self.doomed.items():
            if doom.state < DoomState.SETTLED:
                origin = (dot.site, dot.incarnation)
                found[origin] = min(dot.seq, found.get(origin, dot.seq))
        return found

    def held_objects(self, prefix: str, after: str, count_max: int, since_ms: int) -> list[HeldObject]:
        names = {name for places in self.places.values() for name in places} | self.doomed_names()
        found = []
        for name in sorted(name for name in names if name.startswith(prefix) and name > after)[:count_max]:
            held = [frame for frame, places in self.places.items() if name in places]
            sizes = {frame: decode_header(self.places[frame][name].header).stored_size for frame in held}
            live = sum(size for frame, size in sizes.items() if self._is_kept(frame.chunk_id, since_ms))
            epochs = frozenset(decode_header(self.places[frame][name].header).epoch for frame in held)
            found.append(HeldObject(name, len(held), sum(sizes.values()), live, name in self.doomed_names(), epochs))
        return found

    def closed_pages(self, count_max: int) -> list[bytes]:
        return []

    def leaving_frames(
        self, names: Sequence[str], since_ms: int, count_max: int, bytes_max: int
    ) -> list[FrameLocation]:
        leaving = set(names)
        found = [
            places[name]
            for frame, places in self.places.items()
            for name in sorted(leaving & places.keys())[:1]
            if self._is_kept(frame.chunk_id, since_ms) and not self.is_in_cloud(frame.chunk_id, leaving)
        ]
        return found[:count_max]

    def local_frame(self, header: bytes) -> Frame | None:
        return self.frames.get(decode_header(header).name)

    def sealed_here(self) -> Mapping[bytes, int]:
        return Counter(decode_header(frame.header).epoch for frame in self.frames.values())

    def dooms(self) -> list[Doom]:
        return [self.doomed[dot] for dot in sorted(self.doomed)]

    async def doom(self, names: Sequence[str]) -> None:
        await asyncio.sleep(0)
        body = encode_doom(names)
        seen = [write.dot for write in self.live(FAMILY_DOOM, doom_item(body))]
        self.write(FAMILY_DOOM, doom_item(body), body, replaces=seen)

    async def end_dooms(self, dots: Sequence[Dot]) -> None:
        await asyncio.sleep(0)
        for (family, item), entry in list(self.entries.items()):
            if family == FAMILY_DOOM and any(write.dot in set(dots) and not write.dead for write in entry.live):
                self.write(family, item, b"", replaces=[write.dot for write in entry.live], dead=True)

    def untrusted(self) -> list[bytes]:
        return [site for site, known in self.trusted.items() if not known]

    async def trust(self, sites: Sequence[bytes]) -> None:
        await asyncio.sleep(0)
        self.trusted |= dict.fromkeys(sites, True)

    async def record_doom(self, dot: Dot, state: DoomState) -> None:
        await asyncio.sleep(0)
        known = self.doomed.get(dot)
        if known is None or state <= known.state:
            return
        self.doomed[dot] = dataclasses.replace(known, state=state)
        if state is DoomState.DISCARDED:
            self._forget_contents(known.names)

    def _apply_doom(self, change: Change) -> None:
        for dot in change.replaces:
            ended = self.doomed.pop(dot, None)
            if ended is not None and change.dead:
                self._forget_contents(ended.names)
        if not change.dead:
            self.doomed[change.dot] = Doom(change.dot, self.wall_ms(), decode_doom(change.body), DoomState.APPLIED)

    def _forget_contents(self, names: Sequence[str]) -> None:
        for frame in list(self.places):
            for name in names:
                self.places[frame].pop(name, None)
            if not self.places[frame]:
                del self.places[frame]

    def _locate(self, located: Sequence[FrameLocation]) -> None:
        for place in located:
            self.places.setdefault(decode_header(place.header).name, {})[place.object_name] = place
            self.awaited.discard(place.object_name)
            self.untold.discard(place.object_name)

    def _heard_own_too(self) -> Mapping[Origin, LogPosition]:
        me = self.identity()
        return {**self.heard(), (me.site, me.incarnation): self.shipped()}

    def _known_objects(self) -> set[str]:
        return {name for places in self.places.values() for name in places} | self.doomed_names()

    def _locate_told(self, located: Sequence[FrameLocation], told: Mapping[Origin, int]) -> None:
        """Take in what whoever had heard logs up to ``told`` says: what is not known any more of a log that was heard
        as far here was ended.
        """
        heard, known = self._heard_own_too(), self._known_objects()
        nothing = LogPosition()
        self._locate(
            [
                place
                for place in located
                if place.object_name in known
                or (log := log_of(place.object_name)) is None
                or told.get(log, 0) > heard.get(log, nothing).n
            ]
        )

    def _await_objects(self, told: Mapping[Origin, int]) -> None:
        """A checkpoint that goes further than was heard here is to tell of these again."""
        heard, nothing = self._heard_own_too(), LogPosition()
        skipped = {log for log, n in told.items() if n > heard.get(log, nothing).n}
        self.awaited = {name for name in self._known_objects() if log_of(name) in skipped}

    def doomed_names(self) -> set[str]:
        return {name for doom in self.doomed.values() for name in doom.names}

    def doubtful_names(self) -> set[str]:
        """Objects that go, or may be gone."""
        return self.doomed_names() | self.awaited | self.untold

    def _places_of(self, chunk: bytes) -> list[FrameLocation]:
        return [place for name, places in self.places.items() if name.chunk_id == chunk for place in places.values()]

    def is_trusted(self, object_name: str) -> bool:
        log, me = log_of(object_name), self.identity()
        return log is None or log == (me.site, me.incarnation) or self.trusted.get(log[0], False)

    def relies_on(self, name: str) -> bool:
        """Whether what lies in an object is not sent again, and may be given up here."""
        return self.is_trusted(name) and name not in self.doubtful_names()

    def is_in_cloud(self, chunk: bytes, leaving: Collection[str] = ()) -> bool:
        return any(
            self.relies_on(place.object_name) and place.object_name not in leaving for place in self._places_of(chunk)
        )

    def _is_kept(self, chunk: bytes, since_ms: int) -> bool:
        return self.released.get(chunk, 0) > since_ms or any(ref.id == chunk for ref in self.live_refs())

    def _best(self, places: Sequence[FrameLocation]) -> FrameLocation | None:
        doubtful = self.doubtful_names()
        return min(
            places,
            key=lambda place: (place.object_name in doubtful, not self.relies_on(place.object_name)),
            default=None,
        )

    def placed(self) -> list[FrameLocation]:
        """Every place of every frame that was told of."""
        return [place for places in self.places.values() for place in places.values()]

    def locate(self, chunk_ids: Sequence[bytes]) -> dict[bytes, FrameLocation]:
        found = {chunk: self._best(self._places_of(chunk)) for chunk in chunk_ids}
        return {chunk: place for chunk, place in found.items() if place is not None}

    def locate_frame(self, chunk_id: bytes, segment: bytes, slot: int) -> FrameLocation | None:
        return self._best(list(self.places.get(FrameName(chunk_id, segment, slot), {}).values()))
