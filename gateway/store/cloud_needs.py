"""What is still needed of what lies in the cloud: derived from the index whenever it is asked, never kept.

Stands between ``holdings`` and the rows of chunks and of the cloud. A chunk is **kept** if something on this site needs
it (any version, conflict loser, upload or page), or did until less than the point-in-time retention ago. A frame in an
object that leaves is needed if its chunk is kept and no copy of it stays elsewhere that can be opened, or if it is
full, a patch over its chunk is kept, and stays or goes along, and no full frame of the chunk stays elsewhere.

What pages list is only known once they were opened: the answers hold as long as no page is closed (``closed``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from gateway.store.chunk_rows import read_chunk, read_released
from gateway.store.cloud_rows import Place, contents_of, patches_over, places_of
from gateway.store.index import Transaction
from replication.frame_format import FrameName


class CloudNeeds:
    """Needs as of one transaction, when the objects with these numbers leave. ``since_ms``: see ``ports.Holdings``."""

    def __init__(self, transaction: Transaction, leaving: Collection[int], since_ms: int) -> None:
        self._transaction, self._leaving, self._since_ms = transaction, frozenset(leaving), since_ms

    def is_kept(self, chunk_id: bytes) -> bool:
        """Whether something needs the chunk, or did lately."""
        row = read_chunk(self._transaction, chunk_id)
        if row is not None and row.refcount:
            return True
        released_ms = read_released(self._transaction, chunk_id)
        return released_ms is not None and released_ms > self._since_ms

    def places_in(self, number: int) -> Iterator[Place]:
        """Every frame in a cloud object."""
        for chunk_id in contents_of(self._transaction, number):
            for place in places_of(self._transaction, chunk_id):
                if place.number == number:
                    yield place

    def is_live(self, place: Place) -> bool:
        """Whether the frame is of use to anyone, however many copies of it there are."""
        return self.is_kept(place.header.chunk_id) or any(self._kept_patches(place))

    def leaving_frames(self) -> Iterator[Place]:
        """Frames that must be put elsewhere before the objects go, each once."""
        seen: set[FrameName] = set()
        for number in sorted(self._leaving):
            for place in self.places_in(number):
                if place.header.name not in seen and self._must_stay(place):
                    seen.add(place.header.name)
                    yield place

    def _must_stay(self, place: Place) -> bool:
        chunk_id = place.header.chunk_id
        if self.is_kept(chunk_id) and not self._stays(chunk_id):
            return True
        if self._whole_stays(chunk_id):
            return False
        return any(
            self._is_left(patch) or not self._stays(patch.header.chunk_id) for patch in self._kept_patches(place)
        )

    def _kept_patches(self, base: Place) -> Iterator[Place]:
        """Located patches against the chunk of this full frame whose own chunks are kept."""
        if base.header.bases:
            return
        for chunk_id in patches_over(self._transaction, base.header.chunk_id):
            if self.is_kept(chunk_id):
                for place in places_of(self._transaction, chunk_id):
                    if any(name.chunk_id == base.header.chunk_id for name in place.header.bases):
                        yield place

    def _is_left(self, place: Place) -> bool:
        return place.usable and place.number not in self._leaving

    def _stays(self, chunk_id: bytes) -> bool:
        """Whether a copy of the chunk stays that can be opened."""
        return any(
            self._is_left(place) and all(self._whole_stays(base.chunk_id) for base in place.header.bases)
            for place in places_of(self._transaction, chunk_id)
        )

    def _whole_stays(self, chunk_id: bytes) -> bool:
        places = places_of(self._transaction, chunk_id)
        return any(self._is_left(place) and not place.header.bases for place in places)
