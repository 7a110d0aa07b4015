"""The frames that a ship round takes along: which, in which packs, all in the bucket before its batch is.

Stands below ``shipper``, which orders packs → index → log batch; above the store's frames and the cloud. Invariant:
what ``upload_packs`` and ``put_pack`` return is confirmed by the bucket. A round that is tried again makes the same
packs of the same names, and those that were confirmed before are not sent again (``forget_sent``: a round is over).

Memory: O(pack) for each of ``uploads_max`` uploads. Not here: how much goes into a round (``plan``), indexes, batches.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Sequence

from replication.cloud_index_format import PackedFrames, packed_frames
from replication.offload import Offload
from replication.pack_format import Pack, encode_pack
from replication.plan import RoundPlan, plan_round
from replication.ports import Cloud, CloudUnreachable, Frame, FrameStore, Origin
from replication.sealing import Keyring
from replication.settings import ShipLimits

BROUGHT_AT_ONCE = 16


class Freight:
    """What one shipper sends besides changes. ``bring`` has the store fetch chunks and keep them."""

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

    async def bring_absent(self, changes: Sequence[bytes]) -> None:
        """What is to be sent anew and is only where a former log of ours told of it: nobody else may find it there."""
        before: list[bytes] = []
        while absent := await self._offload(lambda: self._frames.absent_chunks(changes, BROUGHT_AT_ONCE)):
            if self._bring is None or absent == before:
                raise CloudUnreachable(f"chunk {absent[0].hex()} is to be sent anew and could not be fetched")
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
