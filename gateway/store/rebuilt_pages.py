"""Pages as a rebuild reads them: one that was accepted as lost, later in the log, is no reason to give up.

Stands between ``rebuild`` and ``local_frames``. The log is replayed from its beginning, so a page is referenced, and
opened, before the record comes that says it is lost (``losses``). Any other page that is damaged ends the rebuild, as
ever: what it lists would be taken for dead. The log is looked through for such records only when a page is damaged.
"""

from __future__ import annotations

from collections.abc import Callable

from gateway.store.chunk_rows import OpenPages, PageReader
from gateway.store.errors import Damaged
from gateway.store.found_frames import Findings
from gateway.store.index import Index
from gateway.store.index_format import ChunkPlace
from gateway.store.local_frames import FrameAbsent
from gateway.store.log import Log
from gateway.store.log_format import BatchInvalid, Lost
from replication.change_format import Ref
from replication.frame_format import FrameName
from replication.sealing import SealBroken

FindChunk = Callable[[bytes], ChunkPlace | None]


class RebuiltPages:
    """``OpenPages`` over another, for one rebuild."""

    def __init__(self, open_pages: OpenPages, log: Log, findings: Findings, index: Index) -> None:
        self._open_pages, self._log, self._findings, self._index = open_pages, log, findings, index
        self._lost: frozenset[bytes] | None = None

    def __call__(self, find_chunk: FindChunk) -> PageReader:
        """A reader of pages whose rows ``find_chunk`` finds."""
        return _ButLost(self._open_pages(find_chunk), self)

    def is_lost(self, chunk_id: bytes) -> bool:
        """Whether some batch of the log says that the chunk is lost."""
        if self._lost is None:
            self._lost = frozenset(self._find_lost())
        return chunk_id in self._lost

    def _find_lost(self) -> set[bytes]:
        found: set[bytes] = set()
        with self._index.begin_read() as transaction:
            for number in range(1, self._findings.last_batch(transaction) + 1):
                for batch in self._findings.find_batches(transaction, number):
                    try:
                        records = self._log.records(batch.segment, batch.offset)
                    except (BatchInvalid, SealBroken, Damaged):
                        continue  # a copy that does not count: whoever applies the log says so
                    lost = [record for record in records if isinstance(record, Lost)]
                    found |= {frame[0] for record in lost for frame in record.frames}
        return found


class _ButLost:
    """See ``chunk_rows.PageReader``."""

    def __init__(self, inner: PageReader, pages: RebuiltPages) -> None:
        self._inner, self._pages = inner, pages

    def children(self, chunk_id: bytes, place: ChunkPlace) -> tuple[Ref, ...]:
        """The refs that the page at a place lists; one that is lost is absent."""
        try:
            return self._inner.children(chunk_id, place)
        except Damaged:
            if not self._pages.is_lost(chunk_id):
                raise
            raise FrameAbsent(FrameName(chunk_id, place.segment, place.slot)) from None
