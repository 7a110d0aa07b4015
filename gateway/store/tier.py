"""The tier's pass: is this disk too full, and if so give up the coldest bytes that the cloud verifiably has.

Stands beside the collector, above ``evict``. Three figures decide: bytes of the file system in use, bytes of live
frames, and *dead* bytes that the collector is about to give back anyway (they count as free: what was evicted a moment
ago must not be evicted twice over). Between the marks nothing happens; above the upper one the coldest go until the
lower is reached, or nothing that may go is left, which is said (``short_bytes``).

It never decides what is safe: ``evict`` does, chunk by chunk, inside the write transaction (in the cloud with all it
takes to open it, needed by nothing else here, no base of a patch that is here). A read that comes between census and
eviction is seen at the last moment and spares its object; one that comes later fetches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from gateway.store.chunk_rows import scan_segments
from gateway.store.collect import LIVE_SHARE_MIN
from gateway.store.segment_format import KIND_DATA
from gateway.store.store import SiteStore
from gateway.store.tier_census import Candidate, Census, Coldest, Pace, Sums
from gateway.store.tier_settings import TierSettings

LOCAL_TO_SHARE: Final = 0.9
"""What eviction goes down to, of ``local_bytes_max``."""
VERSIONS_AT_ONCE: Final = 64
BYTES_AT_ONCE: Final = 256 << 20
ROUNDS_MAX: Final = 4
"""Chunks that several versions share go only with the last of them: what was counted twice takes another round."""


class DiskUse(NamedTuple):
    """Bytes: of the file system, in use on it, of live frames of this site, and dead ones about to be given back."""

    total: int
    used: int
    live: int
    dead: int


@dataclass
class TierSummary:
    """What a pass did. ``short_bytes``: what should have gone and could not; ``census``: what lies where."""

    census: Sums
    wanted_bytes: int = 0
    evicted_bytes: int = 0
    evicted_versions: int = 0
    short_bytes: int = 0


def measure_disk(store: SiteStore) -> DiskUse:
    """Where this site's disk stands now. Waits for the file system."""
    directory = store.directory
    total, free = directory.files.total_bytes(directory.path), directory.files.free_bytes(directory.path)
    with store.view() as view:
        rows = dict(scan_segments(view.transaction))
    live = sum([max(row.live_bytes, 0) for row in rows.values()])
    appended = store.shared.open_segments()
    dead = 0
    for number in directory.segment_numbers(KIND_DATA):
        row = rows.get(number)
        size = _file_size(directory.segment_path(number, KIND_DATA))
        alive = row.live_bytes if row is not None else 0
        if number not in appended and alive < LIVE_SHARE_MIN * size:
            dead += size - alive
    return DiskUse(total, max(total - free, 0), live, dead)


def find_excess(use: DiskUse, settings: TierSettings) -> int:
    """How many bytes must go: 0 below the upper marks, else down to the lower ones. Pure."""
    excess = 0
    used = max(use.used - use.dead, 0)
    if settings.evict_above_percent and used * 100 > settings.evict_above_percent * use.total:
        excess = int(used - settings.to_percent * use.total / 100)
    if settings.local_bytes_max and use.live > settings.local_bytes_max:
        excess = max(excess, use.live - int(LOCAL_TO_SHARE * settings.local_bytes_max))
    return excess


class TierPass:
    """One pass over a store. ``pace``: slows the census down. ``bucket``, ``prefix``: only what lies there."""

    def __init__(
        self,
        store: SiteStore,
        settings: TierSettings,
        *,
        bucket: str = "",
        prefix: bytes = b"",
        pace: Pace | None = None,
    ) -> None:
        self._store, self._settings, self._pace = store, settings, pace
        self._bucket, self._prefix = bucket, prefix

    async def run(self, bytes_wanted: int | None) -> TierSummary:
        """Evict the coldest until so many bytes were given up (None: all that may go). Raises the store's errors."""
        summary = TierSummary(Sums(), wanted_bytes=bytes_wanted or 0)
        for attempt in range(ROUNDS_MAX):
            left = None if bytes_wanted is None else bytes_wanted - summary.evicted_bytes
            if left is not None and left <= 0:
                break
            coldest = Coldest(left)
            census = await self._census(coldest)
            summary.census = census if not attempt else summary.census
            freed = await self._evict(coldest.take(), left, summary)
            if not freed:
                break
        if bytes_wanted is not None:
            summary.short_bytes = max(bytes_wanted - summary.evicted_bytes, 0)
        return summary

    async def look(self) -> Sums:
        """Only count."""
        return await self._census(None)

    async def _census(self, coldest: Coldest | None) -> Sums:
        census = Census(self._store, self._settings, coldest, bucket=self._bucket, prefix=self._prefix, pace=self._pace)
        return await census.take()

    async def _evict(self, candidates: Sequence[Candidate], left: int | None, summary: TierSummary) -> int:
        """Give up candidates, coldest first, some together: what only they share may go."""
        freed = 0
        for group in _grouped(candidates):
            if left is not None and freed >= left:
                break
            touches = self._store.touches
            still = [one for one in group if touches.last_s(one.content[0].id) == one.touched_s]
            gone = await self._store.evict([ref for one in still for ref in one.content])
            freed += gone
            summary.evicted_bytes += gone
            summary.evicted_versions += len(still) if gone else 0
            rate = self._settings.evict_bytes_per_s
            await asyncio.sleep(gone / rate if rate else 0)
        return freed


def _grouped(candidates: Sequence[Candidate]) -> Iterator[list[Candidate]]:
    """Candidates in order, a bounded number and amount at a time."""
    group: list[Candidate] = []
    for candidate in candidates:
        group.append(candidate)
        if len(group) == VERSIONS_AT_ONCE or sum([one.resident for one in group]) >= BYTES_AT_ONCE:
            yield group
            group = []
    if group:
        yield group


def _file_size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
