"""Walking every version of a site: how many bytes lie here and how many only in the cloud, and which are the coldest.

Stands beside lifecycle, above views; the tier's pass acts on what it finds. It reads in short views, a bounded number
of versions each, on a thread, and keeps no more than the coldest candidates it was asked for: memory does not grow with
the site. Resident bytes of a huge object are counted from its pages, which are always here unless another site wrote
it and nobody read it: then nothing of it is.

What may go: versions the cloud verifiably has whole (change and bytes), that no pinned prefix covers. Age is since
the last read or write here, as ``tier_touches`` knows it; what another site wrote counts as read a day earlier, since
that site has it, too. It changes nothing.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple

from gateway.store.errors import Damaged
from gateway.store.item_format import is_local_uid
from gateway.store.local_frames import FrameAbsent
from gateway.store.ports import Bucket, Version
from gateway.store.store import SiteStore
from gateway.store.tier_settings import TierSettings
from replication.change_format import REF_DATA, Ref

VERSIONS_AT_ONCE: Final = 256
CANDIDATES_MAX: Final = 50_000
FOREIGN_HEAD_START_S: Final = 86_400
"""What another site wrote is taken for colder by so much."""

Pace = Callable[[int], Awaitable[None]]
"""Called with how many versions were just looked at: waits as long as the walk is to be slowed down."""


class Candidate(NamedTuple):
    """A version that may be evicted. ``used_s``: its rank, when it was last used, unix s; ``touched_s``: last read."""

    used_s: int
    touched_s: int
    resident: int
    content: tuple[Ref, ...]


@dataclass
class Sums:
    """What a walk found, in bytes. ``resident_bytes``: ciphertext here; the others: plaintext of objects.

    A chunk that two versions share counts for both, so these are sums over versions, not of the disk.
    """

    versions: int = 0
    resident_bytes: int = 0
    remote_only_bytes: int = 0
    evictable_bytes: int = 0
    pinned_bytes: int = 0
    unreplicated_bytes: int = 0


class Coldest:
    """Keeps the coldest candidates whose resident bytes reach ``bytes_max``, and no more (nor than a fixed number)."""

    def __init__(self, bytes_max: int | None) -> None:
        self._bytes_max = bytes_max
        self._heap: list[tuple[int, int, Candidate]] = []
        self._order = itertools.count()
        self._bytes = 0

    def offer(self, candidate: Candidate) -> None:
        """Consider one."""
        heapq.heappush(self._heap, (-candidate.used_s, next(self._order), candidate))
        self._bytes += candidate.resident
        while self._heap and self._is_too_much():
            self._bytes -= heapq.heappop(self._heap)[2].resident

    def _is_too_much(self) -> bool:
        if len(self._heap) > CANDIDATES_MAX:
            return True
        return self._bytes_max is not None and self._bytes - self._heap[0][2].resident >= self._bytes_max

    def take(self) -> list[Candidate]:
        """Those that were kept, coldest first."""
        return sorted((candidate for _, _, candidate in self._heap), key=lambda candidate: candidate.used_s)


class Census:
    """One walk. ``bucket``, ``prefix``: only what lies there; ``coldest``: where candidates go."""

    def __init__(
        self,
        store: SiteStore,
        settings: TierSettings,
        coldest: Coldest | None = None,
        *,
        bucket: str = "",
        prefix: bytes = b"",
        pace: Pace | None = None,
    ) -> None:
        self._store, self._settings, self._coldest = store, settings, coldest
        self._bucket, self._prefix, self._pace = bucket, prefix, pace
        self.sums = Sums()

    async def take(self) -> Sums:
        """Walk. Raises the store's errors."""
        with self._store.view() as view:
            buckets = [bucket for bucket in view.buckets() if self._bucket in ("", bucket.name)]
        for bucket in buckets:
            last: Version | None = None
            while True:
                token = self._store.shared.enter()  # pages are read: they must not be collected meanwhile
                try:
                    last, count = await asyncio.to_thread(self._count_page, bucket, last)
                finally:
                    self._store.shared.leave(token)
                if last is None:
                    break
                if self._pace is not None:
                    await self._pace(count)
        return self.sums

    def _count_page(self, bucket: Bucket, last: Version | None) -> tuple[Version | None, int]:
        """Count some versions behind ``last``: the last of them, None at the end. Runs on a thread."""
        with self._store.view() as view:
            scan = view.scan_versions(bucket.uid, self._prefix)
            if last is not None:
                scan.seek(last.key, last.id)
            rows = [
                (version, view.is_replicated(version) and not is_local_uid(bucket.uid), view.is_replica(version))
                for version in islice(scan, VERSIONS_AT_ONCE)
                if version.key.startswith(self._prefix)
            ]
        for version, is_replicated, is_replica in rows:
            self._count(bucket, version, is_replicated, is_replica)
        return (rows[-1][0] if len(rows) == VERSIONS_AT_ONCE else None), len(rows)

    def _count(self, bucket: Bucket, version: Version, is_replicated: bool, is_replica: bool) -> None:
        sums, record = self.sums, version.record
        sums.versions += 1
        if not record.content:
            return
        here, absent = self._measure(record.content)
        sums.resident_bytes += here
        sums.remote_only_bytes += absent
        if not here:
            return
        if not is_replicated:
            sums.unreplicated_bytes += here
        elif self._settings.is_pinned(bucket.name, version.key):
            sums.pinned_bytes += here
        else:
            sums.evictable_bytes += here
            if self._coldest is not None:
                touched_s = self._store.touches.last_s(record.content[0].id)
                used_s = max(touched_s, record.modified_ms // 1000)
                if is_replica:  # when another site wrote it tells nothing of its use here
                    used_s = touched_s - FOREIGN_HEAD_START_S
                self._coldest.offer(Candidate(used_s, touched_s, here, record.content))

    def _measure(self, refs: Sequence[Ref]) -> tuple[int, int]:
        """(ciphertext bytes of data here, plaintext bytes that are not) below refs."""
        here = absent = 0
        for ref in refs:
            place = self._store.find_chunk(ref.id)
            if place is None or not place.local:
                absent += ref.size
            elif ref.kind == REF_DATA:
                here += place.stored_size
            else:
                try:
                    below = self._measure(self._store.local.children(ref.id, place))
                except (Damaged, FrameAbsent):  # for ``verify`` to name
                    continue
                here, absent = here + below[0], absent + below[1]
        return here, absent
