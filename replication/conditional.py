"""Does the bucket enforce ``If-None-Match: *``? And what is done where it does not.

The cloud log's only protection against two machines writing as one site is that a name is created once. A bucket that
ignores the header is refused, unless the operator vouches that there is a single writer: then creation is looked up
first, which tells a lost reply but not a race.
"""

from __future__ import annotations

from enum import Enum

from replication.cloud_names import probe_name
from replication.ports import Cloud, CloudExists, CloudRefused, Origin


class CreateOnce(Enum):
    """What the bucket does with a conditional create of a name that is taken."""

    ENFORCED = "enforced"
    IGNORED = "ignored: the bucket replaces what it was told not to"
    REFUSED = "refused: the bucket does not take the header"


async def probe_create_once(cloud: Cloud, origin: Origin) -> CreateOnce:
    """Try it under the site's own prefix.

    Raises ``CloudError`` if that cannot be told (also for want of permission).
    """
    name = probe_name(origin)
    await cloud.put(name, b"probe")
    try:
        await cloud.put(name, b"probe again", if_absent=True)
    except CloudExists:
        return CreateOnce.ENFORCED
    except CloudRefused:
        return CreateOnce.REFUSED
    return CreateOnce.IGNORED


class SingleWriterCloud:
    """Conditional creation by looking first; see ``ports.Cloud``.

    Only where one machine writes, as its operator vouched.
    """

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """Create or replace; with ``if_absent``, ``CloudExists`` if a listing shows the name."""
        if if_absent and name in await self._cloud.list(name, count_max=1):
            raise CloudExists(f"{name} exists")
        await self._cloud.put(name, data)

    async def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object or a range."""
        return await self._cloud.get(name, offset=offset, length=length)

    async def list(self, prefix: str, *, after: str = "", count_max: int = 1000) -> list[str]:
        """Names under a prefix."""
        return await self._cloud.list(prefix, after=after, count_max=count_max)

    async def delete(self, name: str) -> None:
        """Remove an object."""
        await self._cloud.delete(name)

    async def close(self) -> None:
        """Release connections."""
        await self._cloud.close()
