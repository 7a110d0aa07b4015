"""The bucket of a world, as one who forgets nothing saw it: batches and indexes that were deleted are remembered.

What was acknowledged is told from every batch that ever stood there; what may be deleted is judged when it is deleted,
by ``on_leaving``.
"""

from __future__ import annotations

from collections.abc import Callable

from replication.cloud_memory import MemoryCloud
from replication.cloud_names import split_index_name, split_log_name


class RememberedBucket(MemoryCloud):
    def __init__(self) -> None:
        super().__init__()
        self.left: dict[str, bytes] = {}
        """Batches and indexes that are gone."""
        self.on_leaving: Callable[[str], None] = lambda name: None
        self.on_any_leaving: Callable[[str], None] = lambda name: None

    async def delete(self, name: str) -> None:
        if name in self.objects:
            self.on_any_leaving(name)
        if name in self.objects and (split_log_name(name) or split_index_name(name)):
            self.on_leaving(name)
            self.left[name] = self.objects[name]
        await super().delete(name)

    def whole(self) -> MemoryCloud:
        """The bucket as if no log had ever been cut."""
        cloud = MemoryCloud()
        cloud.objects = {**self.left, **self.objects}
        return cloud
