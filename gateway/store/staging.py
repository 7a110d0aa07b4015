"""Chunks that are written but not yet committed: what a commit looks up when the index does not know a chunk.

Stands between the writers of content and the committer of the same process. Invariant: a staged chunk stays findable
while any writer that added or held it is open; after that it is in the index (committed) or garbage. Durability is the
writers' affair: what is staged with a segment number was appended, and was synced before its writer's ``finish``
returned.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable

import msgspec

from replication.change_format import Ref
from replication.frame_format import FrameHeader

INLINE: int = -1
"""``StagedChunk.number`` of a chunk that rides in the commit's log batch."""


class StagedChunk(msgspec.Struct, frozen=True, gc=False):
    """A sealed chunk on its way into the index."""

    header: FrameHeader
    encoded_header: bytes
    number: int  # data segment it was appended to; INLINE: none yet
    offset: int  # of the encoded header in that segment
    ciphertext: bytes  # only when INLINE
    children: tuple[Ref, ...] = ()  # what a page lists


class Staging:
    """The staged chunks of this process. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._chunks: dict[bytes, tuple[StagedChunk, set[Hashable]]] = {}
        self._owned: dict[Hashable, list[bytes]] = {}

    def add(self, chunk: StagedChunk, owner_token: Hashable) -> StagedChunk:
        """Stage a chunk for an owner. If the same chunk is staged already, that one is held and returned instead."""
        chunk_id = chunk.header.chunk_id
        with self._lock:
            staged, owners = self._chunks.setdefault(chunk_id, (chunk, set()))
            self._hold(chunk_id, owners, owner_token)
            return staged

    def hold(self, chunk_id: bytes, owner_token: Hashable) -> StagedChunk | None:
        """The staged chunk of this id, kept for this owner too; None if there is none."""
        with self._lock:
            found = self._chunks.get(chunk_id)
            if found is None:
                return None
            self._hold(chunk_id, found[1], owner_token)
            return found[0]

    def get(self, chunk_id: bytes) -> StagedChunk | None:
        """The staged chunk of this id, for a commit made while its owner is open; None if there is none."""
        with self._lock:
            found = self._chunks.get(chunk_id)
            return found[0] if found else None

    def release(self, owner_token: Hashable) -> None:
        """An owner is done: what nobody else holds is forgotten."""
        with self._lock:
            for chunk_id in self._owned.pop(owner_token, ()):
                owners = self._chunks[chunk_id][1]
                owners.discard(owner_token)
                if not owners:
                    del self._chunks[chunk_id]

    def __len__(self) -> int:
        return len(self._chunks)

    def _hold(self, chunk_id: bytes, owners: set[Hashable], owner_token: Hashable) -> None:
        if owner_token not in owners:
            owners.add(owner_token)
            self._owned.setdefault(owner_token, []).append(chunk_id)
