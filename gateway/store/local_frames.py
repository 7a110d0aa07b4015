"""Chunks that are on this site: from their row in the index to their plaintext.

Stands between segments and whoever needs bytes of a chunk: readers, patch bases, pages that the committer or the
collector must look into, replication. Invariants: what is returned was authenticated and is the frame the row names; a
patch is decoded only against full frames of the chunks it names. It never fetches: what is not here is None or
``FrameAbsent``.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from gateway.store.codec import join_bases
from gateway.store.errors import Damaged
from gateway.store.frames import FrameMaker, split_frame
from gateway.store.index_format import ChunkPlace
from gateway.store.page_format import decode_page
from gateway.store.segments import SegmentReader
from gateway.store.stretches import Stretches
from replication.change_format import Ref
from replication.frame_format import FrameHeader, FrameName

CACHE_BYTES_DEFAULT: Final = 32 << 20

FindChunk = Callable[[bytes], ChunkPlace | None]
"""Looks up a chunk's row in a fresh snapshot of the index."""


class FrameAbsent(Exception):
    """A frame that is needed is not on this site (or another frame of its chunk is): fetch it."""

    def __init__(self, name: FrameName) -> None:
        super().__init__(f"chunk {name.chunk_id.hex()} is not on this site")
        self.name = name


class ChunkCache:
    """Plaintexts of chunks used lately, bounded in bytes. Any thread."""

    def __init__(self, bytes_max: int = CACHE_BYTES_DEFAULT) -> None:
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self._chunks: OrderedDict[bytes, bytes] = OrderedDict()
        self._bytes = 0

    def get(self, chunk_id: bytes) -> bytes | None:
        """The plaintext, if it is at hand."""
        with self._lock:
            found = self._chunks.get(chunk_id)
            if found is not None:
                self._chunks.move_to_end(chunk_id)
            return found

    def put(self, chunk_id: bytes, plaintext: bytes) -> None:
        """Keep a plaintext; the least recently used go."""
        with self._lock:
            if chunk_id in self._chunks or len(plaintext) > self._bytes_max // 2:
                return
            self._chunks[chunk_id] = plaintext
            self._bytes += len(plaintext)
            self._keep_bound()

    def charge(self, count: int) -> None:
        """Keep so many bytes less from now on (more, if negative): something else needs them."""
        with self._lock:
            self._bytes_max -= count
            self._keep_bound()

    def _keep_bound(self) -> None:
        while self._chunks and self._bytes > self._bytes_max:
            self._bytes -= len(self._chunks.popitem(last=False)[1])


class LocalFrames:
    """Reads local frames. Any thread; every call may wait for the disk unless it says otherwise."""

    def __init__(self, segments: SegmentReader, frames: FrameMaker, find_chunk: FindChunk, cache: ChunkCache) -> None:
        self._segments, self._frames, self._find_chunk, self._cache = segments, frames, find_chunk, cache
        self._stretches = Stretches()

    def read_sealed(self, chunk_id: bytes, place: ChunkPlace) -> tuple[bytes, FrameHeader, memoryview]:
        """(encoded frame, header, ciphertext) at a place; ``Damaged`` if another frame or none lies there."""
        size = place.header_size + place.stored_size
        return self._check(chunk_id, place, self._segments.read(place.number, place.kind, place.offset, size))

    def read_plaintext(self, chunk_id: bytes, place: ChunkPlace) -> bytes:
        """Plaintext of the frame at a place. ``Damaged``; ``FrameAbsent`` if it is a patch and a base is not here."""
        _, header, ciphertext = self.read_sealed(chunk_id, place)
        base = join_bases([self.read_base(name) for name in header.bases]) if header.bases else b""
        return self._frames.open(header, ciphertext, base)

    def read_cached(self, chunk_id: bytes, place: ChunkPlace) -> bytes | None:
        """Plaintext of a full frame that the page cache holds; None if the disk or another frame would be needed."""
        if place.bases:
            return None
        size = place.header_size + place.stored_size
        data = self._segments.read_cached(place.number, place.kind, place.offset, size)
        if data is None:
            return None
        _, header, ciphertext = self._check(chunk_id, place, data)
        return self._frames.open(header, ciphertext)

    def read_stretch(self, chunk_id: bytes, place: ChunkPlace, first: int, last: int) -> bytes | None:
        """Plaintext [first, last) of the frame at a place without opening all of it; None if that cannot be, or not
        without waiting for the disk.
        """

        def read(offset: int, size: int) -> bytes | None:
            return self._segments.read_cached(place.number, place.kind, offset, size)

        return self._stretches.open(chunk_id, place, first, last, read)

    def read_chunk(self, chunk_id: bytes, *, in_part: bool = False) -> bytes | None:
        """Plaintext of a chunk by its id; None if no frame of it is here. ``in_part``: only a part of it is wanted, and
        others may be soon.
        """
        cached = self._cache.get(chunk_id)
        if cached is not None:
            return cached
        place = self._find_chunk(chunk_id)
        if place is None or not place.local:
            return None
        if not in_part or place.bases:
            return self.read_plaintext(chunk_id, place)
        _, header, ciphertext = self.read_sealed(chunk_id, place)
        plaintext = self._frames.open(header, ciphertext)
        self._stretches.learn(self._frames.keyring, header, plaintext)
        return plaintext

    def read_base(self, name: FrameName) -> bytes:
        """Plaintext of a patch's base; ``FrameAbsent`` if its chunk is not here as a full frame.

        Any full frame of the chunk has the bytes (and needs nothing else, so there are no cycles); that a patch keeps
        exactly the frame it names referenced is the business of commits and of replication.
        """
        place = self._find_chunk(name.chunk_id)
        if place is None or not place.local or place.bases:
            raise FrameAbsent(name)
        cached = self._cache.get(name.chunk_id)
        return self.read_plaintext(name.chunk_id, place) if cached is None else cached

    def children(self, chunk_id: bytes, place: ChunkPlace) -> tuple[Ref, ...]:
        """The refs that the page at a place lists."""
        return decode_page(self.read_plaintext(chunk_id, place))

    def _check(self, chunk_id: bytes, place: ChunkPlace, data: bytes) -> tuple[bytes, FrameHeader, memoryview]:
        where = f"segment {place.number}, offset {place.offset}"
        try:
            header, ciphertext = split_frame(data)
        except Damaged as error:
            raise Damaged(f"{where}: {error} (chunk {chunk_id.hex()})") from error
        if header.name != (chunk_id, place.segment, place.slot):
            raise Damaged(f"{where}: another frame lies where chunk {chunk_id.hex()} should be")
        return data, header, ciphertext
