"""Operating errors of the store: typed, raised, never logged and passed over."""

from __future__ import annotations

from replication.ports import BytesLost


class StoreError(Exception):
    """Something the store could not do. The message says what to do next where a person can do something."""


class DiskFull(StoreError):
    """The write was refused before it began (or cut back): free space is below the reserve. Reads and deletes go on."""


class ReadOnlyStore(StoreError):
    """Durability is in doubt (a sync failed): the whole site takes no writes until it is restarted and re-verified."""


class ClockWrong(StoreError):
    """The site's clock is further from the cloud's than the operator allows: no writes until it is right."""


class Damaged(StoreError):
    """Bytes on disk are not what was written: named segment and offset, or chunk."""


class DamagedChunk(Damaged, BytesLost):
    """The same of one chunk, where it matters which: the cloud does not have it either, as far as it was asked."""

    def __init__(self, message: str, chunk_id: bytes) -> None:
        BytesLost.__init__(self, message, chunk_id)


class ChunkLost(DamagedChunk):
    """The bytes are nowhere, and that was accepted (``losses``). A copy that turns up is taken all the same."""


class BeforeHistory(StoreError):
    """This site does not know what was then: it began with a checkpoint made later."""


class ChunkUnavailable(StoreError):
    """The bytes are only in the cloud and the cloud cannot be reached now: unknown, not absent; try again later."""


class ChunkGone(StoreError):
    """A decision named a chunk that nothing holds any more; the request must be tried again from its body."""


class Overloaded(StoreError):
    """Too much is waiting to be committed: try again later (S3: SlowDown)."""


class BadDataDirectory(StoreError):
    """The data directory cannot be used: not ours, of another owner, of another realm, or not a directory."""


class FormatTooNew(StoreError):
    """Written by a newer Skerry: upgrade before opening it; nothing was touched."""
