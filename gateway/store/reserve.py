"""The guard before every write of content: is the site writable, and does the disk keep its reserve?

Stands before appends of object bytes only: deletes, remote changes, acknowledgements, collection and the index live
on the reserve. Free space is asked of the file system now and then, not at every append.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from gateway.store.errors import DiskFull, ReadOnlyStore
from gateway.store.index import Index
from gateway.store.layout import DataDirectory
from gateway.store.shared import Shared

ASK_EVERY_S: Final = 0.25
ASK_EVERY_BYTES: Final = 16 << 20
BATCH_ROOM_BYTES: Final = 8 << 20
"""What a batch of the log and its share of the index may need at most, nearly always."""
MAP_ROOM_BYTES: Final = 64 << 20


class Reserve:
    """Refuses writes that would go below ``reserve_bytes`` of free space. Any thread (an estimate needs no lock)."""

    def __init__(self, directory: DataDirectory, shared: Shared, reserve_bytes: int) -> None:
        self._directory, self._shared, self._reserve_bytes = directory, shared, reserve_bytes
        self._asked_s = float("-inf")
        self._left = 0

    def is_fresh(self, size: int) -> bool:
        """Whether ``check`` needs no system call, now or a moment later: else ``ask`` where waiting is allowed."""
        return self._left >= size and time.monotonic() - self._asked_s < ASK_EVERY_S / 2

    def check(self, size: int) -> None:
        """Raise ``ReadOnlyStore`` or ``DiskFull`` rather than let ``size`` more bytes be written."""
        self.check_writable()
        self._left -= size
        if self._left < 0 or time.monotonic() - self._asked_s > ASK_EVERY_S:
            self.ask(size)

    def ask(self, size: int) -> None:
        """Ask the file system now. Raises ``DiskFull`` if ``size`` bytes have no room: no more is written then."""
        free = self._directory.files.free_bytes(self._directory.segments)
        self.learn(free - size)
        if free - size < self._reserve_bytes:
            raise DiskFull(
                f"only {free >> 20} MiB are free, and {self._reserve_bytes >> 20} MiB are kept for deletes and "
                "recovery: free space, delete objects, or lower the reserve"
            )

    def learn(self, free_bytes: int) -> None:
        """Somebody asked: so many bytes are free now."""
        self._asked_s = time.monotonic()
        self._left = min(ASK_EVERY_BYTES, max(0, free_bytes - self._reserve_bytes))

    def check_writable(self) -> None:
        """Raise ``ReadOnlyStore`` if the site takes no writes at all."""
        if self._shared.read_only:
            raise ReadOnlyStore("a sync of the disk failed: no writes until the site is restarted and verified")


class Room:
    """Refuses any batch, deletes too, where log or index could not take it: an index that fails behind the log makes
    the site read-only, which is worse than a refusal. Writer thread only; asks now and then, and so often that those
    who watch the reserve, whom it tells (``tell``), need not ask themselves while there are batches.
    """

    def __init__(self, directory: DataDirectory, index: Index) -> None:
        self._directory, self._index = directory, index
        self._asked_s = float("-inf")
        self.tell: Callable[[int], None] = lambda free_bytes: None

    def check(self) -> None:
        """Raise ``DiskFull`` if the file system or the index' map is full to the brim."""
        now_s = time.monotonic()
        if now_s - self._asked_s <= ASK_EVERY_S / 4:
            return
        free = self._directory.files.free_bytes(self._directory.segments)
        self.tell(free)
        if free < BATCH_ROOM_BYTES:
            raise DiskFull(f"only {free >> 10} KiB are free: nothing can be written, not even deletes; free space")
        if self._index.map_size - self._index.size_bytes() < MAP_ROOM_BYTES:
            raise DiskFull("the index has filled its map: restart with a larger map_size_bytes")
        self._asked_s = now_s

    def ask_again(self) -> None:
        """Do not rely on the last answer."""
        self._asked_s = float("-inf")
