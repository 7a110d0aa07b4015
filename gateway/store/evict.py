"""Giving up local copies of what the cloud has, and bringing them back for good: storage classes "in the cloud only".

Stands beside reading and collection, above the committer. Invariants: a chunk's local frame is given up only inside the
write transaction that logs it, and only if the cloud is verified to have the chunk with all it takes to open it, and
nothing but what the caller named needs it here (another version, an open upload, a patch against it). Space comes back
as always, by collection, which waits for readers. Deduplication finds only what is here, so an evicted chunk that is
written again is stored again, and not shipped again. Pages stay: they are a twenty-thousandth of what they list, and
letting their children go one day needs them.

It does not choose what to evict, nor when. A request that found a chunk here before it was evicted goes on: a reader
fetches it, a new version refers to it in the cloud, and only a patch made against it meanwhile has to be sent again.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from gateway.store.cloud_rows import is_in_cloud
from gateway.store.decision import Decision
from gateway.store.errors import ChunkUnavailable
from gateway.store.hydration import Hydrator
from gateway.store.local_frames import FindChunk, LocalFrames
from gateway.store.log_format import Evicted
from gateway.store.page_format import Leaf, LeafWalk
from gateway.store.reading import Reader
from gateway.store.reserve import Reserve
from gateway.store.shared import Shared
from replication.change_format import REF_DATA, Ref
from replication.frame_format import KIND_PAGE

COUNTED_AT_ONCE: Final = 1 << 16
"""Chunks whose needs are added up at a time: a chunk that comes again later in a huge object counts as shared."""
EVICTED_AT_ONCE: Final = 512
FETCHED_AT_ONCE: Final = 8
FETCHED_BYTES: Final = 16 << 20
_ATTEMPTS: Final = 3


@dataclass(frozen=True)
class EvictSetup:
    """What evicting needs of the store. ``commit`` runs a decision in the site's write transaction."""

    find_chunk: FindChunk
    local: LocalFrames
    reader: Reader
    hydrator: Hydrator
    shared: Shared
    reserve: Reserve
    executor: Executor
    commit: Callable[[Callable[[Decision], Any]], Awaitable[Any]]


class Evictor:
    """Evicts and fetches for one process, on its event loop."""

    def __init__(self, setup: EvictSetup) -> None:
        self._setup = setup

    async def evict(self, refs: Sequence[Ref]) -> int:
        """Give up local frames that nothing but ``refs`` needs: bytes of segments that are dead space now."""
        setup, loop = self._setup, asyncio.get_running_loop()
        token = setup.shared.enter()  # pages are read: they must not be collected meanwhile
        try:
            owned, freed = self._owned_leaves(refs), 0
            while wanted := await loop.run_in_executor(setup.executor, _count, owned):
                patches = [need for need in wanted if self._is_patch(need[0])]
                for group in (patches, wanted):  # a patch that goes lets its bases go, which may be among the rest
                    for at in range(0, len(group), EVICTED_AT_ONCE):
                        freed += await setup.commit(_evicting(group[at : at + EVICTED_AT_ONCE]))
            return freed
        finally:
            setup.shared.leave(token)

    async def fetch_local(self, refs: Sequence[Ref]) -> int:
        """Have every chunk of ``refs`` on this site: plaintext bytes that had to be fetched.

        Raises ``ChunkUnavailable``, ``Damaged``, ``DiskFull``, ``ReadOnlyStore``; what was fetched until then stays.
        """
        fetched = 0
        token = self._setup.shared.enter()
        try:
            absent: list[Ref] = []
            walk = LeafWalk(refs)
            while (found := walk.advance()) is not None:
                if not isinstance(found, Leaf):
                    walk.descend(await self._setup.reader.load_page(found))
                elif not self._is_here(found.ref):
                    absent.append(found.ref)
                    if len(absent) == FETCHED_AT_ONCE or sum([ref.size for ref in absent]) >= FETCHED_BYTES:
                        fetched += await self._fetch(absent)
                        absent = []
            return fetched + await self._fetch(absent)
        finally:
            self._setup.shared.leave(token)

    # evicting

    def _owned_leaves(self, refs: Sequence[Ref]) -> Iterator[tuple[bytes, int]]:
        """Chunks below ``refs``, and how often each is named in its place; what a shared page lists is left out.

        Runs on a thread: it reads pages.
        """
        for chunk_id, (ref, named) in _named(refs).items():
            if ref.kind == REF_DATA:
                yield chunk_id, named
                continue
            place = self._setup.find_chunk(chunk_id)
            if place is not None and place.local and place.refcount == named:
                yield from self._owned_leaves(self._setup.local.children(chunk_id, place))

    def _is_patch(self, chunk_id: bytes) -> bool:
        place = self._setup.find_chunk(chunk_id)
        return place is not None and bool(place.bases)

    # fetching

    async def _fetch(self, refs: Sequence[Ref]) -> int:
        """Fetch chunks until they are kept; why not, if they cannot be."""
        setup, waiting = self._setup, list({ref.id: ref for ref in refs}.values())
        fetched = sum([ref.size for ref in waiting])
        for _ in range(_ATTEMPTS):
            if not waiting:
                return fetched
            await asyncio.gather(*map(asyncio.shield, setup.hydrator.begin([ref.id for ref in waiting])))
            waiting = [ref for ref in waiting if not self._is_here(ref)]
        if waiting:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(setup.executor, setup.reserve.check, sum([ref.size for ref in waiting]))
            raise ChunkUnavailable(f"chunk {waiting[0].id.hex()} was fetched and could not be kept: try again")
        return fetched

    def _is_here(self, ref: Ref) -> bool:
        """Whether the chunk is on this site, or nothing needs it any more."""
        place = self._setup.find_chunk(ref.id)
        return place is None or place.local or not place.refcount


def evict_chunks(decision: Decision, wanted: Sequence[tuple[bytes, int]]) -> int:
    """Inside a decision: give up those of these chunks that have exactly so many needs and are safe in the cloud."""
    chunks = decision.edit_index().chunks
    evicted: list[tuple[bytes, bytes, int, int]] = []
    freed = 0
    for chunk_id, needs in wanted:
        row = chunks.get(chunk_id)
        if row is None or not row.local or row.refcount != needs or row.frame_kind == KIND_PAGE:
            continue
        if is_in_cloud(decision.transaction, chunk_id):
            evicted.append((chunk_id, row.segment, row.slot, row.raw_size))
            freed += row.header_size + row.stored_size
    if evicted:
        decision.stage_record(Evicted(tuple(evicted)))
    return freed


def _evicting(wanted: Sequence[tuple[bytes, int]]) -> Callable[[Decision], int]:
    return lambda decision: evict_chunks(decision, wanted)


def _named(refs: Sequence[Ref]) -> dict[bytes, tuple[Ref, int]]:
    counts = Counter([ref.id for ref in refs])
    return {ref.id: (ref, counts[ref.id]) for ref in refs}


def _count(owned: Iterator[tuple[bytes, int]]) -> list[tuple[bytes, int]]:
    """The next chunks of a walk, with what names them added up. [] at its end."""
    needs: Counter[bytes] = Counter()
    for chunk_id, named in islice(owned, COUNTED_AT_ONCE):
        needs[chunk_id] += named
    return list(needs.items())
