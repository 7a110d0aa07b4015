"""Fetches frames that are known only in the cloud: ``ChunkFetcher`` over a ``Cloud``.

Neighbouring frames of one object come in one ranged GET, a frame that is being fetched is not fetched twice, and at
most ``concurrency_max`` requests run at once. Lengths are exact; authenticating what came is the store's. Frames are
not cached here: the store keeps them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final, NamedTuple

from replication.frame_format import decode_header
from replication.ports import Cloud, Frame, FrameLocation

GAP_BYTES_MAX: Final = 64 << 10
RANGE_BYTES_MAX: Final = 8 << 20


class FrameRange(NamedTuple):
    """A piece of a cloud object, and the frames in it."""

    object_name: str
    offset: int
    length: int
    frames: tuple[FrameLocation, ...]


class CloudFetcher:
    """See ``ports.ChunkFetcher``. Close it to drop what nobody waits for any more."""

    def __init__(self, cloud: Cloud, *, concurrency_max: int = 8) -> None:
        self._cloud = cloud
        self._gate = asyncio.Semaphore(concurrency_max)
        self._flights: dict[FrameLocation, asyncio.Task[dict[FrameLocation, Frame]]] = {}

    async def fetch(self, locations: Sequence[FrameLocation]) -> list[Frame]:
        """Frames in the order asked; ``CloudError`` if any of them cannot be had."""
        flights: dict[FrameLocation, asyncio.Task[dict[FrameLocation, Frame]]] = {}
        for location in locations:
            if location in self._flights:
                flights[location] = self._flights[location]
        for span in plan_ranges([location for location in locations if location not in flights]):
            flight = asyncio.create_task(self._load(span))
            flight.add_done_callback(partial(self._land, span))
            for location in span.frames:
                flights[location] = self._flights[location] = flight
        loaded = await asyncio.gather(*[asyncio.shield(flights[location]) for location in locations])
        return [frames[location] for frames, location in zip(loaded, locations, strict=True)]

    async def close(self) -> None:
        """Cancel what is in flight."""
        flights = set(self._flights.values())
        for flight in flights:
            flight.cancel()
        await asyncio.gather(*flights, return_exceptions=True)

    async def _load(self, span: FrameRange) -> dict[FrameLocation, Frame]:
        async with self._gate:
            data = await self._cloud.get(span.object_name, offset=span.offset, length=span.length)
        frames = {}
        for location in span.frames:
            begin = location.offset - span.offset
            stored = data[begin : begin + decode_header(location.header).stored_size]
            frames[location] = Frame(location.header, stored)
        return frames

    def _land(self, span: FrameRange, flight: asyncio.Task[dict[FrameLocation, Frame]]) -> None:
        for location in span.frames:
            self._flights.pop(location, None)
        if not flight.cancelled():
            flight.exception()  # whoever waited has been told; nobody waiting is no error


def plan_ranges(locations: Sequence[FrameLocation]) -> list[FrameRange]:
    """The ranges to ask for: frames of one object joined while gaps and sums stay small. Pure."""
    spans: list[FrameRange] = []
    for location in sorted(set(locations), key=lambda location: (location.object_name, location.offset)):
        end = location.offset + decode_header(location.header).stored_size
        last = spans[-1] if spans else None
        if (
            last
            and last.object_name == location.object_name
            and location.offset - (last.offset + last.length) <= GAP_BYTES_MAX
            and end - last.offset <= RANGE_BYTES_MAX
        ):
            length = max(last.length, end - last.offset)
            spans[-1] = FrameRange(last.object_name, last.offset, length, (*last.frames, location))
        else:
            spans.append(FrameRange(location.object_name, location.offset, end - location.offset, (location,)))
    return spans
