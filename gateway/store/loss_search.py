"""Bytes that replication waits for and that cannot be had: found, tried to be mended, named, and accepted as lost.

Stands beside ``verify``, for ``skerry lost``; may run while the site works. It looks at the two things that stop
shipping, or collection, until they can be had: what unsent own changes need (every frame of it is read and opened), and
pages that are needed, were never opened here, and have a place in the cloud. What is bad or absent is fetched from the
cloud, if that has it. What the cloud does not say is not lost but unknown, and is not accepted. What is accepted is
looked at once more under the lock, and logged.

It reads no other bytes: ``verify`` does.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace
from typing import Final

from gateway.store.chunk_rows import read_chunk
from gateway.store.cloud_rows import is_in_cloud, locate_chunk
from gateway.store.damaged_objects import NeedingObject, find_objects
from gateway.store.decision import Decision
from gateway.store.errors import ChunkLost, ChunkUnavailable, Damaged, DamagedChunk
from gateway.store.hydration import Hydrator
from gateway.store.index_format import CHUNK_HOLDS, ChunkPlace
from gateway.store.local_frames import FrameAbsent, LocalFrames
from gateway.store.log_format import Lost
from gateway.store.losses import scan_accepted
from gateway.store.needed_frames import is_held
from gateway.store.replica import Replica
from gateway.store.shared import Shared
from gateway.store.views import ViewContext
from replication.change_format import decode_change

CHANGES_AT_ONCE: Final = 256
BYTES_AT_ONCE: Final = 1 << 20


@dataclass(frozen=True)
class LostChunk:
    """A chunk that cannot be had, and why not. ``place``: its row as it was looked at; ``accepted``: somebody has said
    that it is lost; ``unknown``: the cloud may have it, and does not say now; ``objects``: some of those that need it.
    """

    chunk_id: bytes
    reason: str
    place: ChunkPlace
    accepted: bool = False
    unknown: bool = False
    objects: tuple[NeedingObject, ...] = ()


@dataclass(frozen=True)
class LossSearch:
    """Searches one store; runs on ``executor`` what waits for the disk."""

    replica: Replica
    shared: Shared
    local: LocalFrames
    hydrator: Hydrator
    executor: Executor
    view: Callable[[], ViewContext]

    async def find(self) -> list[LostChunk]:
        """Everything that cannot be had and what of it was accepted before; what can be mended is, and is not told."""
        loop = asyncio.get_running_loop()
        left = await loop.run_in_executor(self.executor, self._suspect)
        before = None
        while left != before:  # a base that came back makes what is patched against it whole
            before, left = left, [lost for suspect in left if (lost := await self._try(suspect)) is not None]
        return await loop.run_in_executor(self.executor, self._name, left)

    def _suspect(self) -> list[LostChunk]:
        found: dict[bytes, LostChunk] = {}
        token = self.shared.enter()
        try:
            seen: set[bytes] = set()
            for chunk_id in self._unsent():
                self._look_below(chunk_id, seen, found)
            with self.view() as view:
                transaction = view.transaction
                closed = [page for page, _ in transaction.scan(transaction.tables.closed)]
                named = [*[page for page in closed if locate_chunk(transaction, page)], *scan_accepted(transaction)]
                for chunk_id in named:
                    row = read_chunk(transaction, chunk_id)
                    if row is not None and row.refcount and not row.local:
                        found.setdefault(chunk_id, LostChunk(chunk_id, "", row))
            return list(found.values())
        finally:
            self.shared.leave(token)

    def _unsent(self) -> Iterator[bytes]:
        """Chunks that unsent changes refer to."""
        after = self.replica.shipped().seq
        while changes := self.replica.read_changes(after, CHANGES_AT_ONCE, BYTES_AT_ONCE):
            for data in self.replica.sendable(changes):
                yield from (ref.id for ref in decode_change(data).refs)
            after += len(changes)

    def _look_below(self, chunk_id: bytes, seen: set[bytes], found: dict[bytes, LostChunk]) -> None:
        waiting = [chunk_id]
        while waiting:
            current = waiting.pop()
            if current in seen:
                continue
            seen.add(current)
            with self.view() as view:
                row = read_chunk(view.transaction, current)
                if row is None or is_in_cloud(view.transaction, current):
                    continue
            if not is_held(row):
                found[current] = LostChunk(current, "", row)
                continue
            waiting.extend(base.chunk_id for base in row.bases)
            try:
                self.local.read_plaintext(current, row)
                if row.flags & CHUNK_HOLDS:
                    waiting.extend(ref.id for ref in self.local.children(current, row))
            except (Damaged, FrameAbsent) as error:
                found[current] = LostChunk(current, str(error), row)

    async def _try(self, suspect: LostChunk) -> LostChunk | None:
        """What is still to be said of it, now that the cloud was asked; None if it is here."""
        try:
            await self.hydrator.bring([suspect.chunk_id])
        except ChunkUnavailable as error:
            return replace(suspect, reason=str(error), unknown=True)
        except DamagedChunk as error:
            is_accepted = isinstance(error, ChunkLost) and not suspect.place.local
            return replace(suspect, reason=suspect.reason or str(error), accepted=is_accepted, unknown=False)
        return None

    def _name(self, lost: list[LostChunk]) -> list[LostChunk]:
        if not lost:
            return []
        with self.view() as view:
            objects = find_objects(view, self.local, [one.chunk_id for one in lost])
        return [replace(one, objects=objects.get(one.chunk_id, ())) for one in lost]


def accept_losses(decision: Decision, lost: Sequence[LostChunk]) -> int:
    """Inside a decision: say of those of these chunks that are as they were looked at that they are lost: how many."""
    chunks, frames = decision.edit_index().chunks, []
    for one in lost:
        row, place = chunks.get(one.chunk_id), one.place
        if row is None or not row.refcount or one.accepted or one.unknown:
            continue
        is_same = (row.local, row.number, row.offset) == (place.local, place.number, place.offset)
        if is_same and not is_in_cloud(decision.transaction, one.chunk_id):
            frames.append((one.chunk_id, row.segment, row.slot, row.raw_size))
    if frames:
        decision.stage_record(Lost(tuple(frames)))
    return len(frames)
