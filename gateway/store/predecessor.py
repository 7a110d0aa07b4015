"""What a new body replaces, as a source of patch bases: which old chunks lie where a new one lies now. Pure.

Stands beside ``chunk_writer``. The old content is known by its refs only. While the new chunks come, in order, the
*expected* position in the old content is followed: a chunk that deduplication found there sets it, any other moves it
on by its size. A chunk without a match resembles the old bytes behind the last match before it, or those before the
first match behind it, or, with no match at all, those around the place where the body is said to begin.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Sequence
from typing import Final

from gateway.store.page_format import Leaf, LeafWalk
from replication.change_format import ChangeInvalid, Ref
from replication.frame_format import BASES_MAX

LoadPage = Callable[[Ref], Sequence[Ref] | None]
"""What a page lists; None if it is not at hand."""

WINDOW: Final = 1 << 30
"""Bytes of the old content whose chunks are known at a time: some thousand refs."""
WINDOW_BEHIND: Final = 64 << 20
OVERLAP_MIN: Final = 128
"""A second base must lie below at least so much of the chunk."""


class Predecessor:
    """Follows a new body along the old content."""

    def __init__(self, refs: Sequence[Ref], load_page: LoadPage, offset_hint: int = 0) -> None:
        self._refs, self._load_page = refs, load_page
        self.size = sum([ref.size for ref in refs])
        """Bytes of the old content."""
        self.expected = offset_hint
        """Where in the old content the next new chunk is expected to lie."""
        self.anchored = False
        """Whether ``expected`` comes from a match rather than from the hint."""
        self._begin = self._page_start = offset_hint
        self._leaves: list[Leaf] = []
        self._offsets: list[int] = []
        self._pages: list[Leaf] = []
        self._by_id: dict[bytes, Leaf] = {}
        self._window = (0, 0)

    def rewind(self) -> None:
        """The new body comes once more from its beginning. What is known of the old content stays known."""
        self.expected = self._page_start = self._begin
        self.anchored = False

    def match(self, chunk_id: bytes, size: int) -> int | None:
        """The next new chunk is one that is known: where the old content has it (go on behind it), if it does."""
        self._look_around(self.expected)
        at = bisect_right(self._offsets, self.expected) - 1
        here = self._leaves[at] if at >= 0 else None
        leaf = here if here is not None and here.ref.id == chunk_id else self._by_id.get(chunk_id)
        if leaf is None:
            self.expected += size
            return None
        self.expected = leaf.offset + size
        self.anchored = True
        return leaf.offset

    def pass_by(self, size: int) -> int:
        """The next new chunk is not known: where it is expected; go on behind it."""
        start = self.expected
        self.expected += size
        return start

    def bases(self, start: int, size: int) -> list[Ref]:
        """Old chunks that overlap [start, start + size) most, in the old order; behind the old end, the last ones."""
        if start >= self.size:
            start = self.size - size
        self._look_around(max(start, 0))
        first = max(0, bisect_right(self._offsets, start) - 1)
        return _most_overlapping(self._leaves[first:], start, start + size)

    def between(self, start: int, end: int) -> list[Leaf]:
        """The old chunks that make up [start, end); empty if none begins or ends there, or they are not all at hand."""
        self._look_around(start)
        first = bisect_left(self._offsets, start)
        found, reached = [], start
        for leaf in self._leaves[first:]:
            if leaf.offset != reached or reached >= end:
                break
            found.append(leaf)
            reached += leaf.ref.size
        return found if reached == end else []

    def page_bases(self) -> list[Ref]:
        """Old pages that a page of the new chunks since the last call may resemble."""
        start, self._page_start = self._page_start, self.expected
        return _most_overlapping(self._pages, start, self.expected)

    def _look_around(self, offset: int) -> None:
        """Know the old chunks around an offset."""
        low, high = self._window
        if low <= offset < high or offset >= self.size:
            return
        low = max(0, offset - WINDOW_BEHIND)
        high = low + WINDOW
        self._window = (low, high)
        self._leaves, self._pages = [], []
        walk = LeafWalk(self._refs, low, high)
        try:
            while (found := walk.advance()) is not None:
                if isinstance(found, Leaf):
                    self._leaves.append(found)
                elif (children := self._load_page(found)) is not None:
                    self._pages.append(Leaf(walk.offset, found))
                    walk.descend(children)
                else:
                    break
        except ChangeInvalid:
            self._leaves = []
        self._offsets = [leaf.offset for leaf in self._leaves]
        self._by_id = {leaf.ref.id: leaf for leaf in reversed(self._leaves)}


def _most_overlapping(leaves: Sequence[Leaf], start: int, end: int) -> list[Ref]:
    """At most ``BASES_MAX`` refs by their overlap with [start, end), in their own order."""
    overlaps: list[tuple[int, Leaf]] = []
    for leaf in leaves:
        if leaf.offset >= end:
            break
        overlap = min(end, leaf.offset + leaf.ref.size) - max(start, leaf.offset)
        if overlap > 0:
            overlaps.append((overlap, leaf))
    overlaps.sort(key=lambda pair: pair[0], reverse=True)
    chosen = [leaf for at, (overlap, leaf) in enumerate(overlaps[:BASES_MAX]) if at == 0 or overlap >= OVERLAP_MIN]
    return [leaf.ref for leaf in sorted(chosen, key=lambda leaf: leaf.offset)]
