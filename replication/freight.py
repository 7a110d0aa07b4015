"""The frames that a ship round takes along: which, in which packs, all in the bucket before its batch is.

Stands below ``shipper``, which orders packs → index → log batch; above the store's frames and the cloud. Invariant:
what ``upload_packs`` and ``put_pack`` return is confirmed by the bucket. A round that is tried again makes the same
packs of the same names, and those that were confirmed before are not sent again (``forget_sent``: a round is over).

Memory: O(pack) for each of ``uploads_max`` uploads. Not here: how much goes into a round (``plan``), indexes, batches.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from replication.cloud_index_format import PackedFrames, packed_frames
from replication.frame_format import decode_header
from replication.offload import Offload
from replication.pack_format import Pack, encode_pack
from replication.plan import RoundPlan, plan_round
from replication.ports import BytesLost, Cloud, CloudUnreachable, Frame, FrameStore, Origin
from replication.sealing import Keyring
from replication.settings import ShipLimits

BROUGHT_AT_ONCE = 16
ALL_CHUNKS = 1 << 62
DOUBTS_MAX = 5
"""How often in a row something must look wrong that may only have come wrong: some buckets say 404 for a while of what
they have, some lines flip bits. What opens under the realm's keys and is not ours fences at once.
"""


class Doubtful(CloudUnreachable):
    """Something looks like a fence, or lost, and may only have come wrong: it is asked for again."""


@dataclass(frozen=True, slots=True)
class Load:
    """What goes with the first ``changes`` of those that were to be sent: packs, each in the bucket, and inline frames.

    None of the changes: a piece of the first one's bytes.
    """

    changes: int = 0
    packs: tuple[PackedFrames, ...] = ()
    inline: tuple[Frame, ...] = ()


class Freight:
    """What one shipper sends besides changes. ``bring`` has the store fetch chunks, in place of damaged ones, too, and
    keep them: ``BytesLost`` if they cannot be had.
    """

    def __init__(
        self,
        frames: FrameStore,
        cloud: Cloud,
        uploads_max: int,
        *,
        offload: Offload,
        bring: Callable[[Sequence[bytes]], Awaitable[object]] | None,
    ) -> None:
        self._frames, self._cloud, self._uploads_max = frames, cloud, uploads_max
        self._offload, self._bring = offload, bring
        self._sent_packs: set[str] = set()
        self._doubts: Counter[bytes] = Counter()
        self.lost: BytesLost | None = None
        """What the first change that was not sent yet waits for, when it was asked for often enough."""

    async def load(
        self,
        keyring: Callable[[], Keyring],
        origin: Origin,
        n: int,
        changes: Sequence[bytes],
        limits: ShipLimits,
    ) -> Load:
        """Bring what these changes need, as many as fit, into the bucket or at hand for batch ``n``.

        A chunk that is damaged or gone is fetched in its place, if the bucket has it. If not, what stands before the
        first change that needs it goes without the rest: the log has an order, and no change is seen before its bytes.
        When nothing stands before it any more: ``Doubtful``, and in the end ``BytesLost``. Errors of cloud and store.
        """
        tried: set[bytes] = set()
        count = 1 if self.lost is not None else len(changes)
        while True:
            chosen = changes[:count]
            try:
                load = await self._load(keyring, origin, n, chosen, limits)
            except BytesLost as loss:
                if loss.chunk_id not in tried and self._bring is not None:
                    tried.add(loss.chunk_id)
                    with suppress(BytesLost):
                        await self._bring([loss.chunk_id])
                        continue
                count = await self._offload(partial(self._first_to_need, chosen, loss))
                if not count:
                    raise self._doubt(loss) from None
            else:
                self.lost = None
                self._doubts.clear()
                return load

    def _doubt(self, loss: BytesLost) -> Exception:
        self._doubts[loss.chunk_id] += 1
        if self._doubts[loss.chunk_id] < DOUBTS_MAX:
            return Doubtful(f"{loss}; asking again")
        self.lost = loss
        return loss

    def _first_to_need(self, changes: Sequence[bytes], loss: BytesLost) -> int:
        """How many of these changes stand before the first that needs the chunk."""
        for at, change in enumerate(changes):
            try:
                needed = {decode_header(header).chunk_id for header in self._frames.unshipped_frames([change])}
            except BytesLost:
                return at
            if loss.chunk_id in needed or loss.chunk_id in self._frames.absent_chunks([change], ALL_CHUNKS):
                return at
        return 0

    async def _load(
        self,
        keyring: Callable[[], Keyring],
        origin: Origin,
        n: int,
        changes: Sequence[bytes],
        limits: ShipLimits,
    ) -> Load:
        await self.bring_absent(changes)
        plan = await self._offload(lambda: self.plan(changes, limits))
        packs = await self.upload_packs(keyring, origin, n, plan)
        return Load(plan.changes, tuple(packs), await self._offload(lambda: self.read(plan.inline)))

    async def bring_absent(self, changes: Sequence[bytes]) -> None:
        """What is to be sent anew and is only where a former log of ours told of it: nobody else may find it there."""
        before: list[bytes] = []
        while absent := await self._offload(lambda: self._frames.absent_chunks(changes, BROUGHT_AT_ONCE)):
            if self._bring is None or absent == before:
                raise CloudUnreachable(f"chunk {absent[0].hex()} is to be sent anew and could not be kept here")
            await self._bring(absent)
            before = absent

    def plan(self, changes: Sequence[bytes], limits: ShipLimits) -> RoundPlan:
        """How many of these changes go in one round, and with which frames; the store's ``Damaged``."""
        return plan_round(self._needs(changes, limits), limits)

    def read(self, headers: Sequence[bytes]) -> tuple[Frame, ...]:
        """These frames, from here; the store's ``Damaged``."""
        return tuple(self._frames.read_frame(header) for header in headers)

    async def upload_packs(
        self, keyring: Callable[[], Keyring], origin: Origin, n: int, plan: RoundPlan
    ) -> list[PackedFrames]:
        """Put the packs of a round; on return each is confirmed. ``keyring`` is asked once a pack's frames are read: a
        pack is sealed under no older epoch than they are.
        """
        gate = asyncio.Semaphore(self._uploads_max)

        async def upload(headers: Sequence[bytes]) -> PackedFrames:
            async with gate:
                pack = await self._offload(lambda: self._build_pack(keyring, origin, n, headers))
                if pack.name not in self._sent_packs:  # confirmed before the round was interrupted
                    await self._cloud.put(pack.name, pack.data)
                    self._sent_packs.add(pack.name)
                return packed_frames(pack)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(upload(headers)) for headers in plan.packs]
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        return [task.result() for task in tasks]

    async def put_pack(self, keyring: Keyring, origin: Origin, n: int, frames: Sequence[Frame]) -> PackedFrames:
        """Put these frames as one pack of batch ``n``; on return it is confirmed."""
        pack = await self._offload(lambda: encode_pack(keyring, origin, frames, n))
        await self._cloud.put(pack.name, pack.data)
        return packed_frames(pack)

    def forget_sent(self) -> None:
        """The round is over: no pack of it is made again."""
        self._sent_packs.clear()

    def _needs(self, changes: Sequence[bytes], limits: ShipLimits) -> Iterator[Sequence[bytes]]:
        """For each change the headers it needs: asked for all at once, and one by one only if that is more than a
        round.
        """
        together = self._frames.unshipped_frames(changes)
        whole = plan_round([together], limits)
        if whole.changes:
            yield together
            yield from [()] * (len(changes) - 1)
        else:
            for change in changes:
                yield self._frames.unshipped_frames([change])

    def _build_pack(self, keyring: Callable[[], Keyring], origin: Origin, n: int, headers: Sequence[bytes]) -> Pack:
        frames = self.read(headers)
        return encode_pack(keyring(), origin, frames, n)
