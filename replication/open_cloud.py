"""Builds the cloud of a configuration: client, what the link may carry, single-writer rule, retries, one around the
other.

The client's library takes longer to import than all else does together. It is imported and its client made with the
first request, unless told otherwise, so that what never asks the cloud pays for neither.
"""

from __future__ import annotations

import asyncio

from replication.cloud_requests import RequestTally
from replication.conditional import SingleWriterCloud
from replication.link import Debts, Link, configured_link
from replication.ports import Cloud
from replication.retry import RetryingCloud
from replication.settings import CloudSettings, LinkSettings
from replication.throttle import Pacer, ThrottledCloud
from replication.trusted_time import SkewMeter


class DeferredCloud:
    """See ``ports.Cloud``: a bucket whose client is made with the first request, which raises ``CloudRefused`` if the
    settings cannot work at all; the next one tries anew.
    """

    def __init__(
        self, settings: CloudSettings, meter: SkewMeter | None = None, tally: RequestTally | None = None
    ) -> None:
        self._settings, self._meter, self._tally = settings, meter, tally
        self._cloud: Cloud | None = None
        self._connecting = asyncio.Lock()

    async def connect(self) -> Cloud:
        """The bucket itself, made if it was not yet. Takes half a second of the event loop where the library is new."""
        async with self._connecting:
            if self._cloud is None:
                from replication.cloud_s3 import open_s3

                self._cloud = await open_s3(self._settings, self._meter, self._tally)
            return self._cloud

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """See ``ports.Cloud``."""
        await (await self.connect()).put(name, data, if_absent=if_absent)

    async def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See ``ports.Cloud``."""
        return await (await self.connect()).get(name, offset=offset, length=length)

    async def list(self, prefix: str, *, after: str = "", count_max: int = 1000) -> list[str]:
        """See ``ports.Cloud``."""
        return await (await self.connect()).list(prefix, after=after, count_max=count_max)

    async def delete(self, name: str) -> None:
        """See ``ports.Cloud``."""
        await (await self.connect()).delete(name)

    async def close(self) -> None:
        """Release connections, if there were any."""
        if self._cloud is not None:
            await self._cloud.close()


async def open_cloud(
    settings: CloudSettings,
    link: Link | None = None,
    debts: Debts | None = None,
    meter: SkewMeter | None = None,
    tally: RequestTally | None = None,
    *,
    at_once: bool = False,
) -> RetryingCloud:
    """The cloud, ready to use; close it. Sends nothing yet.

    ``link``: what it may carry (else what ``settings`` says); ``debts``: shared with the site's other processes;
    ``meter``: told the cloud's time with every answer; ``tally``: told every request; ``at_once``: make the client now,
    and raise ``CloudRefused`` now if the settings cannot work at all, instead of with the first request.
    """
    link = link or configured_link(settings, LinkSettings())
    client = DeferredCloud(settings, meter, tally)
    if at_once:
        await client.connect()
    throttled = ThrottledCloud(client, Pacer(link, debts), least_s=settings.read_timeout_s)
    cloud: Cloud = SingleWriterCloud(throttled) if settings.single_writer else throttled
    return RetryingCloud(cloud, settings.retry, goodput=throttled.goodput)
