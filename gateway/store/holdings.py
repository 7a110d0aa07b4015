"""``Holdings`` of ``replication/collection_ports.py`` over the real store: what the bucket holds, what of it is needed.

Stands beside ``replica``. Reads are snapshots of a few objects each, so that no transaction lasts; what a site does
about a doom is a decision like any other and stands in the log. It never touches the bucket.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Final

from gateway.store.cloud_needs import CloudNeeds
from gateway.store.cloud_rows import OBJECT_DOOMED, find_object, read_object, scan_dooms, scan_objects, untrusted_sites
from gateway.store.commit import Committer
from gateway.store.decision import Decision
from gateway.store.errors import Damaged
from gateway.store.log_format import DoomStep, Trusted
from gateway.store.losses import is_accepted
from gateway.store.views import ViewContext
from replication.collection_ports import Doom, DoomState, HeldObject
from replication.crdt import Dot
from replication.ports import Frame, FrameLocation

FRAMES_AT_ONCE: Final = 8192
"""After so many frames a snapshot ends."""


class StoreHoldings:
    """What the bucket holds, as one process' store knows it."""

    def __init__(
        self,
        open_view: Callable[[], ViewContext],
        committer: Committer,
        read_frame: Callable[[bytes], Frame],
        count_sealed: Callable[[], Mapping[bytes, int]],
    ) -> None:
        self._open_view, self._committer, self._read_frame = open_view, committer, read_frame
        self._count_sealed = count_sealed

    def held_objects(self, prefix: str, after: str, count_max: int, since_ms: int) -> list[HeldObject]:
        """Objects under ``prefix``, by name, greater than ``after``; fewer if they hold much."""
        found: list[HeldObject] = []
        looked = 0
        with self._open_view() as view:
            needs = CloudNeeds(view.transaction, (), since_ms)
            for name, number in scan_objects(view.transaction, prefix, after):
                frames = size = live = 0
                epochs: set[bytes] = set()
                for place in needs.places_in(number):
                    frames += 1
                    epochs.add(place.header.epoch)
                    size += place.header.stored_size
                    live += place.header.stored_size if needs.is_live(place) else 0
                flags, _ = read_object(view.transaction, number)
                found.append(HeldObject(name, frames, size, live, bool(flags & OBJECT_DOOMED), frozenset(epochs)))
                looked += frames
                if len(found) >= count_max or looked >= FRAMES_AT_ONCE:
                    break
        return found

    def closed_pages(self, count_max: int) -> list[bytes]:
        """Pages that something needs and that were not opened here yet."""
        with self._open_view() as view:
            closed = (chunk_id for chunk_id, _ in view.transaction.scan(view.transaction.tables.closed))
            return list(islice((page for page in closed if not is_accepted(view.transaction, page)), count_max))

    def leaving_frames(
        self, names: Sequence[str], since_ms: int, count_max: int, bytes_max: int
    ) -> list[FrameLocation]:
        """What must be put elsewhere before these objects go: bases first."""
        chosen: list[FrameLocation] = []
        patches: list[FrameLocation] = []
        size = 0
        with self._open_view() as view:
            numbers = [number for name in names if (number := find_object(view.transaction, name)) is not None]
            for place in CloudNeeds(view.transaction, numbers, since_ms).leaving_frames():
                if (chosen or patches) and (
                    len(chosen) + len(patches) >= count_max or size + place.header.stored_size > bytes_max
                ):
                    break
                (patches if place.header.bases else chosen).append(place.location)
                size += place.header.stored_size
        return chosen + patches

    def local_frame(self, header: bytes) -> Frame | None:
        """The frame that this header names if it is on this site, and sound."""
        try:
            return self._read_frame(header)
        except Damaged:
            return None

    def sealed_here(self) -> Mapping[bytes, int]:
        """How much in the segments is sealed under each epoch."""
        return self._count_sealed()

    def dooms(self) -> list[Doom]:
        """Every doom that is not ended."""
        with self._open_view() as view:
            return [
                Doom(
                    *(dot, row.applied_ms),
                    tuple(read_object(view.transaction, number)[1] for number in row.numbers),
                    DoomState(row.state),
                )
                for dot, row in scan_dooms(view.transaction)
            ]

    async def doom(self, names: Sequence[str]) -> None:
        """Make the own change that dooms these objects."""
        await self._committer.commit(lambda decision: decision.doom(names))

    async def end_dooms(self, dots: Sequence[Dot]) -> None:
        """Make the own changes that end these dooms, whose objects are gone."""
        await self._committer.commit(lambda decision: decision.end_dooms(dots))

    def untrusted(self) -> list[bytes]:
        """Sites that may not know of this site's log yet."""
        with self._open_view() as view:
            return untrusted_sites(view.transaction)

    async def trust(self, sites: Sequence[bytes]) -> None:
        """These sites wait for this site's log before they delete anything."""
        await self._committer.commit(lambda decision: decision.stage_record(Trusted(tuple(sites))))

    async def record_doom(self, dot: Dot, state: DoomState) -> None:
        """A doom has come so far here."""

        def decide(decision: Decision) -> None:
            decision.stage_record(DoomStep(*dot, state.value))

        await self._committer.commit(decide)
