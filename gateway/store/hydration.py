"""Bringing chunks that are only in the cloud to this site: fetch, verify, keep.

Stands between the reader (which misses a chunk) and the injected ``ChunkFetcher``. Invariants: nothing is handed on
that does not authenticate and have the chunk id asked for; what is kept is synced before the index points at it; one
chunk is fetched once however many wait for it. A full frame is kept verbatim; so is a patch whose bases are here in
full; any other is sealed anew as a full frame. That the cloud cannot be reached is *unknown* (``ChunkUnavailable``),
never absence.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final, Protocol

from msgspec import structs

from gateway.store.chunk_writer import WriteTools
from gateway.store.codec import join_bases
from gateway.store.content import SyncGate
from gateway.store.decision import Decision
from gateway.store.errors import (
    ChunkLost,
    ChunkUnavailable,
    Damaged,
    DamagedChunk,
    DiskFull,
    ReadOnlyStore,
    StoreError,
)
from gateway.store.frames import SealedFrame
from gateway.store.index_format import CHUNK_CONDEMNED, CHUNK_EVICTED
from gateway.store.local_frames import FrameAbsent
from gateway.store.segment_format import KIND_DATA
from gateway.store.segments import write_error
from gateway.store.shared import Shared
from replication.frame_format import FrameHeader, FrameInvalid, FrameName, decode_header, encode_header
from replication.ports import ChunkFetcher, CloudError, CloudMissing, Frame, FrameLocation

_NOWHERE: Final = "is neither on this site nor known to be in the cloud"


class Locate(Protocol):
    """Where frames lie in the cloud, as the index knows it."""

    def chunk(self, chunk_id: bytes) -> FrameLocation | None:
        """Some frame of a chunk, a full one if there is one."""

    def places(self, chunk_id: bytes) -> list[FrameLocation]:
        """Every place of every frame of a chunk, best first."""

    def is_lost(self, chunk_id: bytes) -> bool:
        """Whether it was accepted that the chunk is nowhere (``losses``)."""


@dataclass(frozen=True)
class HydrationSetup:
    """What fetching needs of the process. ``commit`` runs a decision in the site's write transaction."""

    tools: WriteTools
    shared: Shared
    locate: Locate
    gate: SyncGate
    executor: Executor
    commit: Callable[[Callable[[Decision], Any]], Any]


class Hydrator:
    """Fetches chunks for the readers of one process, on its event loop."""

    def __init__(self, setup: HydrationSetup, fetcher: ChunkFetcher | None) -> None:
        self._setup, self.fetcher = setup, fetcher
        self._running: dict[bytes, asyncio.Task[bytes]] = {}

    async def fetch_chunk(self, chunk_id: bytes) -> bytes:
        """Plaintext of a chunk, from the cloud; it is kept here on the way. ``ChunkUnavailable`` or ``Damaged``."""
        return await asyncio.shield(self.begin([chunk_id])[0])

    async def bring(self, chunk_ids: Sequence[bytes]) -> None:
        """Have these chunks here and whole, whatever lies here of them now.

        ``DamagedChunk`` if that cannot be: the cloud does not have one either, or was never heard to;
        ``ChunkUnavailable`` while it does not say.
        """
        absent: list[bytes] = []
        loop = asyncio.get_running_loop()
        for chunk_id in chunk_ids:
            place = self._setup.tools.find_chunk(chunk_id)
            if place is not None and place.local:
                if not await loop.run_in_executor(self._setup.executor, self.is_whole, chunk_id):
                    await self._replace(chunk_id, (place.number, place.offset))
            elif self._setup.locate.chunk(chunk_id) is None:
                raise self._name(_NOWHERE, chunk_id)
            else:
                absent.append(chunk_id)
        await asyncio.gather(*map(asyncio.shield, self.begin(absent)))

    async def _replace(self, chunk_id: bytes, damaged: tuple[int, int]) -> None:
        """Fetch a chunk in place of its frame there. Errors as of ``bring``."""
        if self._setup.locate.chunk(chunk_id) is None:
            await self._doubt(chunk_id, damaged)
            raise self._name("is damaged on this site and not known to be in the cloud", chunk_id)
        frame = (await self._fetch([chunk_id]))[0]
        try:
            if isinstance(frame, Exception):
                raise frame
            await self._open_and_keep(frame, chunk_id, damaged)
        except Damaged as error:
            await self._doubt(chunk_id, damaged)
            raise self._name(f"is damaged on this site, and in the cloud: {error}", chunk_id) from error

    async def _doubt(self, chunk_id: bytes, damaged: tuple[int, int]) -> None:
        """Let who writes this chunk again replace its damaged frame: nothing is deduplicated against it any more."""
        place = self._setup.tools.find_chunk(chunk_id)
        if place is not None and not place.condemned:
            with suppress(StoreError):  # then it stays as it is, and is met again
                await self._setup.commit(lambda decision: doubt_frame(decision, chunk_id, damaged))

    def _name(self, what: str, chunk_id: bytes) -> DamagedChunk:
        kind = ChunkLost if self._setup.locate.is_lost(chunk_id) else DamagedChunk
        return kind(f"chunk {chunk_id.hex()} {what}", chunk_id)

    async def mend_chunk(self, chunk_id: bytes, damage: Damaged) -> bytes:
        """Plaintext of a chunk whose local frame is damaged, from the cloud, which also replaces that frame.

        ``damage`` is raised if the cloud does not have it, or cannot be asked now.
        """
        place = self._setup.tools.find_chunk(chunk_id)
        damaged = (place.number, place.offset) if place is not None else None
        try:
            frame = (await self._fetch([chunk_id]))[0]
            if isinstance(frame, Exception):
                raise frame
            return await self._open_and_keep(frame, chunk_id, damaged)
        except (ChunkUnavailable, Damaged) as error:
            if damaged is not None:
                await self._doubt(chunk_id, damaged)
            raise damage from error

    def is_whole(self, chunk_id: bytes) -> bool:
        """Whether the chunk's local frame can be read now."""
        place = self._setup.tools.find_chunk(chunk_id)
        try:
            return place is not None and place.local and bool(self._setup.tools.local.read_plaintext(chunk_id, place))
        except (Damaged, FrameAbsent):
            return False

    def begin(self, chunk_ids: Sequence[bytes]) -> list[asyncio.Task[bytes]]:
        """Begin to fetch chunks, those that lie side by side together: a task for each, in order."""
        loop = asyncio.get_running_loop()
        fresh = [chunk_id for chunk_id in dict.fromkeys(chunk_ids) if chunk_id not in self._running]
        if fresh:
            frames = loop.create_task(self._fetch(fresh))
            for at, chunk_id in enumerate(fresh):
                task = loop.create_task(self._finish(frames, at, chunk_id))
                self._running[chunk_id] = task
                task.add_done_callback(self._forget(chunk_id))
        return [self._running[chunk_id] for chunk_id in chunk_ids]

    def _forget(self, chunk_id: bytes) -> Callable[[asyncio.Task[bytes]], None]:
        def forget(task: asyncio.Task[bytes]) -> None:
            self._running.pop(chunk_id, None)
            if not task.cancelled():
                task.exception()

        return forget

    async def _fetch(self, chunk_ids: Sequence[bytes]) -> list[Frame | Exception]:
        """The frames, or for each chunk what was wrong."""
        located = [self._find(chunk_id) for chunk_id in chunk_ids]
        found = [location for location in located if location is not None]
        try:
            frames = iter(await self._ask(found)) if found else iter(())
        except Damaged:  # one of them is not where it was: each is asked for alone, wherever it may be besides
            return [await self._fetch_anywhere(chunk_id) for chunk_id in chunk_ids]
        except ChunkUnavailable as error:
            return [
                error if location is not None else self._nowhere(id_)
                for location, id_ in zip(located, chunk_ids, strict=True)
            ]
        return [
            next(frames) if location is not None else self._nowhere(chunk_id)
            for location, chunk_id in zip(located, chunk_ids, strict=True)
        ]

    def _find(self, chunk_id: bytes) -> FrameLocation | None:
        """Where to ask first. A place that was told of may be sealed under an epoch that has ended: another, then."""
        best = self._setup.locate.chunk(chunk_id)
        if best is None or self._opens(best):
            return best
        return next(filter(self._opens, self._setup.locate.places(chunk_id)), best)

    def _opens(self, place: FrameLocation) -> bool:
        return decode_header(place.header).epoch in self._setup.tools.frames.keyring.epochs

    async def _fetch_anywhere(self, chunk_id: bytes) -> Frame | Exception:
        """A frame of a chunk from whichever of its places still is there: a doomed object may be gone already."""
        found: Exception = self._nowhere(chunk_id)
        for place in self._setup.locate.places(chunk_id):
            try:
                return (await self._ask([place]))[0]
            except (ChunkUnavailable, Damaged) as error:
                found = error
        return found

    def _nowhere(self, chunk_id: bytes) -> ChunkUnavailable | DamagedChunk:
        """Sites deduplicate against each other: that one's log came, which uses a chunk, says nothing yet of the log
        that brought it into the bucket. So with a cloud it is not known, which is not the same as lost (``verify``
        tells), unless somebody said so.
        """
        if self.fetcher is None or self._setup.locate.is_lost(chunk_id):
            return self._name(_NOWHERE, chunk_id)
        return ChunkUnavailable(f"chunk {chunk_id.hex()} {_NOWHERE}; another site's log may still tell")

    async def _ask(self, locations: Sequence[FrameLocation]) -> list[Frame]:
        if self.fetcher is None:
            raise ChunkUnavailable("the bytes are only in the cloud, and none is configured")
        try:
            return await self.fetcher.fetch(locations)
        except CloudMissing as error:
            raise Damaged(f"bytes that were in the cloud are missing there: {error}") from error
        except CloudError as error:
            raise ChunkUnavailable(f"the bytes are only in the cloud, which does not give them now: {error}") from error

    async def _finish(self, frames: asyncio.Task[list[Frame | Exception]], at: int, chunk_id: bytes) -> bytes:
        frame = (await asyncio.shield(frames))[at]
        try:
            if isinstance(frame, Exception):
                raise frame
            return await self._open_and_keep(frame, chunk_id)
        except DamagedChunk:
            raise
        except Damaged as error:
            raise self._name(f"cannot be had: {error}", chunk_id) from error

    async def _open_and_keep(self, frame: Frame, chunk_id: bytes, damaged: tuple[int, int] | None = None) -> bytes:
        """Authenticate, decode and check a frame from the cloud; keep it (or its chunk, sealed anew) here."""
        token = self._setup.shared.enter()  # what is appended must not be collected before the index knows it
        try:
            return await self._open_registered(frame, chunk_id, damaged)
        finally:
            self._setup.shared.leave(token)

    async def _open_registered(self, frame: Frame, chunk_id: bytes, damaged: tuple[int, int] | None) -> bytes:
        loop, executor = asyncio.get_running_loop(), self._setup.executor
        header = _header_of(frame, chunk_id)
        base, here = await self._load_bases(header)
        opener = self._setup.tools.frames
        plaintext = await loop.run_in_executor(executor, opener.open_foreign, header, frame.ciphertext, base)
        if here:
            kept = await loop.run_in_executor(executor, opener.take_over, header, frame.header, frame.ciphertext)
        else:
            kept = await loop.run_in_executor(executor, opener.seal, header.kind, chunk_id, plaintext)
        await self._keep(kept, damaged)
        return plaintext

    async def _load_bases(self, header: FrameHeader) -> tuple[bytes, bool]:
        """Joined plaintext of a patch's bases, and whether all are on this site as exactly the frames it names."""
        if not header.bases:
            return b"", True
        plaintexts: list[bytes] = []
        here = True
        loop = asyncio.get_running_loop()
        for name in header.bases:
            place = self._setup.tools.find_chunk(name.chunk_id)
            here = here and place is not None and place.local and (place.segment, place.slot) == name[1:]
            try:
                local = self._setup.tools.local.read_base
                plaintexts.append(await loop.run_in_executor(self._setup.executor, local, name))
            except (FrameAbsent, Damaged):
                plaintexts.append(await self._fetch_base(name))
        return join_bases(plaintexts), here

    async def _fetch_base(self, name: FrameName) -> bytes:
        """Plaintext of a patch's base, from any full frame of its chunk: the plaintext is the same, and checked."""
        found: Exception = Damaged(
            f"the base of a patch, chunk {name.chunk_id.hex()}, is neither here nor whole in the cloud"
        )
        for place in self._setup.locate.places(name.chunk_id):
            header = decode_header(place.header)
            if header.bases:
                continue
            try:
                frame = (await self._ask([place]))[0]
                opener, executor = self._setup.tools.frames.open_foreign, self._setup.executor
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(executor, opener, _header_of(frame, name.chunk_id), frame.ciphertext)
            except (Damaged, ChunkUnavailable) as error:  # a doomed object may be gone already, an epoch have ended
                found = error
        raise found

    async def _keep(self, frame: SealedFrame, damaged: tuple[int, int] | None) -> None:
        """Make the frame the chunk's local one. A full or read-only disk is no reason not to serve it."""
        loop = asyncio.get_running_loop()
        try:
            number, offset = await loop.run_in_executor(self._setup.executor, self._append, frame)
            await self._setup.gate.sync()
            await self._setup.commit(lambda decision: install_frame(decision, frame.header, number, offset, damaged))
        except (DiskFull, ReadOnlyStore):
            return

    def _append(self, frame: SealedFrame) -> tuple[int, int]:
        tools = self._setup.tools
        tools.reserve.check(len(frame.encoded_header) + len(frame.ciphertext))
        try:
            return tools.appender.append([frame.encoded_header, frame.ciphertext])
        except OSError as error:
            raise write_error(error) from error


def install_frame(
    decision: Decision, header: FrameHeader, number: int, offset: int, damaged: tuple[int, int] | None = None
) -> bool:
    """Point a chunk at a frame that is durable in a data segment: whether that was done.

    Not if the chunk has a good local frame or nothing needs it any more, nor if a patch's bases are not here.
    ``damaged`` is the place (number, offset) of a frame that could not be read and is to be replaced.
    """
    chunks = decision.edit_index().chunks
    row = chunks.get(header.chunk_id)
    if row is None or not row.refcount:
        return False
    for base in header.bases:
        held = chunks.get(base.chunk_id)
        if held is None or not held.local or held.condemned or (held.segment, held.slot) != base[1:]:
            return False
    if row.local:
        if (row.number, row.offset) != damaged:
            return False
        chunks.take_away(header.chunk_id, row)
    if row.flags & CHUNK_EVICTED:  # the log said that it is not here: it must also say that it is again
        decision.placed.append((number, offset, encode_header(header)))
    chunks.place(header, KIND_DATA, number, offset)
    return True


def doubt_frame(decision: Decision, chunk_id: bytes, damaged: tuple[int, int]) -> None:
    """A needed chunk's frame at this place (number, offset) is damaged: a frame that a writer brings takes its place.

    Not logged: whoever meets the damage again says it again.
    """
    chunks = decision.edit_index().chunks
    row = chunks.get(chunk_id)
    if row is not None and row.refcount and row.local and (row.number, row.offset) == damaged:
        chunks.put(chunk_id, structs.replace(row, flags=row.flags | CHUNK_CONDEMNED))


def _header_of(frame: Frame, chunk_id: bytes) -> FrameHeader:
    try:
        header = decode_header(frame.header)
    except FrameInvalid as error:
        raise Damaged(f"the cloud's frame of chunk {chunk_id.hex()} has no valid header: {error}") from error
    if header.chunk_id != chunk_id or header.stored_size != len(frame.ciphertext):
        raise Damaged(f"the cloud's frame of chunk {chunk_id.hex()} is another one")
    return header
