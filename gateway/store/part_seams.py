"""Where parts meet: chunks that the borders of an upload's parts cut short are given up for the old content's own.

Stands between ``splicing`` and the old content's refs (``predecessor``). Every part is cut on its own, so the end of
one and the beginning of the next make chunks that the same bytes, uploaded with the borders elsewhere, would not have:
a KiB put in at the front of a large object moves every border by a KiB, and costs two patches for each. So a **run** of
chunks that the old content does not have, between two that it has, is compared with what the old content has between
those: if it is as long and otherwise cut, its bytes are read and hashed along the old cuts, and if all ids agree, the
old refs stand for it, and what was written for the run is dead before it was ever sent.

Invariants: a ref is replaced only by refs whose ids were computed from its very bytes and whose chunks are here; in any
doubt (a page between, bytes that are not here or do not open, a limit) the run stays. Order and sizes never change. It
deliberately does not look for what moved elsewhere, and cuts nothing anew.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from gateway.store.errors import ChunkUnavailable, Damaged
from gateway.store.local_frames import FrameAbsent
from gateway.store.page_format import Leaf
from gateway.store.predecessor import Predecessor
from replication.change_format import Ref

RUN_BYTES_MAX: Final = 32 << 20
"""A longer run stays: what is read for one is held at a time."""
READ_BYTES_MAX: Final = 2 << 30
"""So much is read for one content at most, some 1,000 borders: who completes an upload waits for it, about a second."""

HeightedRef = tuple[Ref, int]
"""A ref and how many pages it is above the data below it (0: a chunk)."""


class SeamMender:
    """Mends the seams of one content. Synchronous: it waits for the disk.

    ``read``: a chunk's plaintext, None if it is not here; ``has_id``: whether some plaintext has a chunk id;
    ``is_here``: whether a chunk can be referred to.
    """

    def __init__(
        self,
        predecessor: Predecessor,
        read: Callable[[bytes], bytes | None],
        has_id: Callable[[bytes, bytes], bool],
        is_here: Callable[[bytes], bool],
    ) -> None:
        self._predecessor = predecessor
        self._read, self._has_id, self._is_here = read, has_id, is_here
        self._bytes_left = READ_BYTES_MAX

    def mend(self, refs: Sequence[HeightedRef]) -> list[HeightedRef]:
        """The same content, with old refs for what runs between matches where they fit."""
        mended: list[HeightedRef] = []
        run: list[Ref] = []
        behind: int | None = 0  # where the old content goes on behind the last match; None: not known
        for ref, height in refs:
            match = None if height else self._predecessor.match(ref.id, ref.size)
            if height:
                self._predecessor.pass_by(ref.size)
            elif match is None:
                run.append(ref)
                continue
            mended += self._settle(run, behind, match)
            mended.append((ref, height))
            run, behind = [], None if match is None else match + ref.size
        return mended + self._settle(run, behind, self._predecessor.size)

    def _settle(self, run: Sequence[Ref], start: int | None, end: int | None) -> list[HeightedRef]:
        """What is to stand for a run that begins and ends where the old content has [start, end)."""
        kept = [(ref, 0) for ref in run]
        size = sum([ref.size for ref in run])
        if not run or start is None or end is None or end - start != size:
            return kept
        if size > min(RUN_BYTES_MAX, self._bytes_left):
            return kept
        old = self._predecessor.between(start, end)
        if not old or [leaf.ref.size for leaf in old] == [ref.size for ref in run]:
            return kept
        if not all(self._is_here(leaf.ref.id) for leaf in old) or not self._is_same(run, old):
            return kept
        return [(leaf.ref, 0) for leaf in old]

    def _is_same(self, run: Sequence[Ref], old: Sequence[Leaf]) -> bool:
        """Whether the run's bytes have the old chunks' ids, cut as those are. Stops at the first that has not."""
        held, ahead = b"", iter(run)
        for leaf in old:
            while len(held) < leaf.ref.size:
                ref = next(ahead)
                self._bytes_left -= ref.size
                try:
                    plaintext = self._read(ref.id)
                except (FrameAbsent, Damaged, ChunkUnavailable):
                    return False  # a seam is only a chance to save space: the scrub is what names damage
                if plaintext is None or len(plaintext) != ref.size:
                    return False
                held += plaintext
            if not self._has_id(held[: leaf.ref.size], leaf.ref.id):
                return False
            held = held[leaf.ref.size :]
        return True
