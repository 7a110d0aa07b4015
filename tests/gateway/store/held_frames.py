"""A fetcher over frames held in memory, filled from a site's replica: what the cloud is to the reader."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from replication.frame_format import decode_header
from replication.ports import CloudMissing, CloudUnreachable, Frame, FrameLocation, LogPosition, PulledBatch
from tests.gateway.store.store_site import StoreSite


class HeldFrames:
    """``ChunkFetcher``. ``asked`` records each call's chunk ids; ``reachable`` can be switched off."""

    def __init__(self) -> None:
        self.frames: dict[str, Frame] = {}
        self.asked: list[list[bytes]] = []
        self.reachable = True
        self.gate: asyncio.Event | None = None

    async def fetch(self, locations: Sequence[FrameLocation]) -> list[Frame]:
        self.asked.append([decode_header(location.header).chunk_id for location in locations])
        if self.gate is not None:
            await self.gate.wait()
        if not self.reachable:
            raise CloudUnreachable("no answer")
        try:
            return [self.frames[location.object_name] for location in locations]
        except KeyError as error:
            raise CloudMissing(str(error)) from None

    def take(self, frame: Frame) -> FrameLocation:
        name = decode_header(frame.header).name
        object_name = f"{name.chunk_id.hex()}-{name.segment.hex()}-{name.slot}"
        self.frames[object_name] = frame
        return FrameLocation(frame.header, object_name, 0)

    async def ship(self, source: StoreSite, target: StoreSite | None = None) -> None:
        """Hold every frame of a site's unsent changes; have ``target`` (or nobody) take the changes in."""
        replica = source.store.replica
        done = replica.shipped()
        changes = replica.read_changes(done.seq, 10_000, 1 << 30)
        located = [self.take(replica.read_frame(header)) for header in replica.unshipped_frames(changes)]
        position = LogPosition(done.n + 1, done.seq + len(changes), bytes([done.n + 1]) * 32)
        await replica.record_shipped(position, located)
        if target is not None:
            identity = replica.identity()
            origin = (identity.site, identity.incarnation)
            await target.store.replica.record_pulled(PulledBatch(origin, position, changes, (), located))
