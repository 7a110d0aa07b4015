"""A bucket in memory: the reference implementation of ``Cloud`` for tests, simulations and a first try without a cloud.

Strongly consistent, enforces conditional creation. Not durable, of course. Faults are wrapped around it in tests.
"""

from __future__ import annotations

from bisect import bisect_right

from replication.ports import CloudError, CloudExists, CloudMissing

LIST_COUNT_MAX = 1000


class MemoryCloud:
    """See ``ports.Cloud``. ``objects`` may be looked at, and tampered with, by tests."""

    def __init__(self) -> None:
        self.objects: dict[str, bytes] = {}

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """Create or replace."""
        if if_absent and name in self.objects:
            raise CloudExists(f"{name} exists")
        self.objects[name] = bytes(data)

    async def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """Bytes of an object or a range."""
        if name not in self.objects:
            raise CloudMissing(f"{name} is not there")
        if offset and offset >= len(self.objects[name]):
            raise CloudError(f"{name} has no byte at offset {offset}")
        data = self.objects[name][offset:] if length is None else self.objects[name][offset : offset + length]
        if length is not None and len(data) != length:
            raise CloudError(f"{name} has only {len(data)} of {length} bytes from offset {offset}")
        return data

    async def list(self, prefix: str, *, after: str = "", count_max: int = LIST_COUNT_MAX) -> list[str]:
        """Names under a prefix."""
        names = sorted(name for name in self.objects if name.startswith(prefix))
        begin = bisect_right(names, after)
        return names[begin : begin + min(count_max, LIST_COUNT_MAX)]

    async def delete(self, name: str) -> None:
        """Remove an object."""
        self.objects.pop(name, None)

    async def close(self) -> None:
        """Nothing to release."""
