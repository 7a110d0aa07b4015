"""Which frames the bucket must have before some changes may be seen there: derived from the index whenever it is asked.

Stands under ``replica``, over the rows of chunks and of the cloud, in one snapshot. A change needs its chunks, what its
pages list, and the bases of patches. Invariants: bases and children come before what needs them, so that what lies in
the cloud is closed downwards; a chunk that is neither here nor in the cloud is ``DamagedChunk``, wherever in the tree
it stands, unless its loss was accepted (``losses``): nothing is left out in silence.

It reads headers of frames and pages, no other bytes: whether those are sound is found when they are sent.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.store.chunk_rows import OpenPages, read_chunk
from gateway.store.cloud_rows import (
    is_frame_in_cloud,
    is_in_cloud,
    is_whole_in_cloud,
    locate_chunk,
    untrusted_sites,
)
from gateway.store.errors import Damaged, DamagedChunk
from gateway.store.index_format import CHUNK_HOLDS, ChunkPlace
from gateway.store.local_frames import FrameAbsent
from gateway.store.losses import is_accepted
from gateway.store.segments import SegmentReader
from gateway.store.views import View
from replication.change_format import decode_change
from replication.frame_format import KIND_PAGE, FrameName


class NeededFrames:
    """What changes need, as of one snapshot."""

    def __init__(self, view: View, reader: SegmentReader, open_pages: OpenPages) -> None:
        self._view, self._transaction = view, view.transaction
        self._reader, self._open_pages = reader, open_pages

    def unshipped(self, changes: Sequence[bytes]) -> list[bytes]:
        """See ``FrameStore.unshipped_frames``."""
        found: dict[FrameName, bytes] = {}
        for data in changes:
            for ref in decode_change(data).refs:
                self._collect(ref.id, found)
        return list(found.values())

    def absent(self, changes: Sequence[bytes], count_max: int) -> list[bytes]:
        """See ``FrameStore.absent_chunks``."""
        found: dict[bytes, None] = {}
        if not untrusted_sites(self._transaction):
            return []
        waiting = [ref.id for data in changes for ref in decode_change(data).refs]
        while waiting and len(found) < count_max:
            chunk_id = waiting.pop()
            row = read_chunk(self._transaction, chunk_id)
            if row is None or not is_held(row):
                if is_in_cloud(self._transaction, chunk_id) or is_accepted(self._transaction, chunk_id):
                    continue
                if locate_chunk(self._transaction, chunk_id) is not None:
                    found[chunk_id] = None
            elif not self._is_shipped(FrameName(chunk_id, row.segment, row.slot), exactly=False):
                waiting.extend(self.children(chunk_id, row))
        return list(found)

    def children(self, chunk_id: bytes, row: ChunkPlace) -> list[bytes]:
        """What a page that is here lists; nothing for other chunks."""
        if not row.flags & CHUNK_HOLDS:
            return []
        try:
            return [ref.id for ref in self._open_pages(self._view.chunk).children(chunk_id, row)]
        except (Damaged, FrameAbsent) as error:
            raise DamagedChunk(f"page {chunk_id.hex()} cannot be decoded: {error}", chunk_id) from error

    def _collect(self, chunk_id: bytes, found: dict[FrameName, bytes]) -> None:
        """Add a chunk's frame, and before it what it needs: iterative, for pages may list thousands and nest."""
        waiting: list[tuple[bytes, FrameName | None, bool]] = [(chunk_id, None, False)]
        while waiting:
            current, wanted, opened = waiting.pop()
            row = read_chunk(self._transaction, current)
            if row is None or not is_held(row):
                self._check_absent(current)
                continue
            name = FrameName(current, row.segment, row.slot)
            if wanted is not None and wanted != name:
                # The named base lies here as another frame (mended from the cloud): any full one of the chunk will do.
                if row.bases or is_whole_in_cloud(self._transaction, current):
                    continue
                wanted = name
            if name in found:
                continue
            if opened:
                found[name] = self._read_header(current, row)
            elif not self._is_shipped(name, exactly=wanted is not None):
                waiting.append((current, wanted, True))
                waiting.extend((base.chunk_id, base, False) for base in row.bases)
                waiting.extend((child, None, False) for child in self.children(current, row))

    def _check_absent(self, chunk_id: bytes) -> None:
        if locate_chunk(self._transaction, chunk_id) is None and not is_accepted(self._transaction, chunk_id):
            raise DamagedChunk(f"chunk {chunk_id.hex()} is to be sent and is neither here nor in the cloud", chunk_id)

    def _read_header(self, chunk_id: bytes, row: ChunkPlace) -> bytes:
        try:
            return self._reader.read(row.number, row.kind, row.offset, row.header_size)
        except Damaged as error:
            raise DamagedChunk(f"{error} (chunk {chunk_id.hex()})", chunk_id) from error

    def _is_shipped(self, name: FrameName, *, exactly: bool) -> bool:
        if exactly:  # a patch's base: no other frame of the chunk will do
            return is_frame_in_cloud(self._transaction, name)
        row = read_chunk(self._transaction, name.chunk_id)
        if row is not None and row.frame_kind == KIND_PAGE and untrusted_sites(self._transaction):
            return False  # what it lists may lie in objects of others than the page
        return is_in_cloud(self._transaction, name.chunk_id)


def is_held(row: ChunkPlace | None) -> bool:
    """Whether a chunk is here to stay for now: something needs it, or nobody collects it yet."""
    return row is not None and row.local and (row.refcount > 0 or not row.condemned)
