"""ON DISK and ON WIRE: a page, the chunk that lists further chunks of a long content; and the tree pages make. Pure.

A page's plaintext is a MessagePack array (version 1; fields are only ever added at the end):

    0 version int  1
    1 refs    array of Ref [kind, chunk id bin32, size], 1..``PAGE_REFS_MAX``

A content has at most ``REFS_DIRECT_MAX`` refs in its record; when there are more, the refs are put into pages, the
pages' refs into pages again, until few enough are left: 4,096 per page hold 5 TiB of the smallest chunks at depth
three. Where a page ends is decided by the ids of the refs themselves (about every 1,024th ends one), so that a change
at the front of a huge object changes the pages it touches and not all that follow. A page's ref carries the plaintext
size of all below it, so that an offset is found by walking down, without reading what lies beside.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

import msgspec

from gateway.store.object_format import REFS_DIRECT_MAX
from replication.change_format import CHUNK_ID_SIZE, REF_DATA, REF_PAGE, ChangeInvalid, ChangeTooNew, Ref

PAGE_VERSION: Final = 1
PAGE_REFS_MAX: Final = 4096
PAGE_REFS_MIN: Final = 256
PAGE_END_MASK: Final = 1023
DEPTH_MAX: Final = 8


class _Page(msgspec.Struct, array_like=True, frozen=True, gc=False):
    version: int
    refs: tuple[Ref, ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Page)


def encode_page(refs: Sequence[Ref]) -> bytes:
    """Plaintext of the page that lists these refs."""
    return _encoder.encode((PAGE_VERSION, refs))


def decode_page(data: bytes) -> tuple[Ref, ...]:
    """The refs a page lists; ``ChangeInvalid`` or ``ChangeTooNew`` otherwise."""
    try:
        page = _decoder.decode(data)
    except msgspec.MsgspecError as error:
        raise ChangeInvalid(f"not a page: {error}") from error
    if page.version > PAGE_VERSION:
        raise ChangeTooNew(f"page of version {page.version}: upgrade this site")
    if not 1 <= len(page.refs) <= PAGE_REFS_MAX or any(
        len(ref.id) != CHUNK_ID_SIZE or ref.size < 0 or ref.kind not in (REF_DATA, REF_PAGE) for ref in page.refs
    ):
        raise ChangeInvalid("a page's refs are out of range")
    return page.refs


class PageTree:
    """Collects the refs of one content as its chunks come, and says which pages to write. Memory O(depth · page).

    The caller stores each page it is handed (``encode_page``) and gives its ref back with ``add(ref, level)``.
    """

    def __init__(self) -> None:
        self._levels: list[list[Ref]] = [[]]

    def add(self, ref: Ref, level: int = 0) -> tuple[int, list[Ref]] | None:
        """Take the next ref of a level: (level of the page's own ref, its refs) if that completes a page."""
        while level >= len(self._levels):
            self._levels.append([])
        refs = self._levels[level]
        refs.append(ref)
        ends = len(refs) >= PAGE_REFS_MIN and int.from_bytes(ref.id[:4], "little") & PAGE_END_MASK == 0
        return self._take(level) if ends or len(refs) == PAGE_REFS_MAX else None

    def close_below(self, level: int) -> tuple[int, list[Ref]] | None:
        """Something of this level comes next: the next page to store so that everything before it is at or above it."""
        for below, refs in enumerate(self._levels[:level]):
            if refs:
                return self._take(below)
        return None

    def close(self) -> tuple[int, list[Ref]] | None:
        """No more refs come: the next page to store, lowest first; None when ``root`` is ready."""
        for level, refs in enumerate(self._levels):
            above = any(self._levels[level + 1 :])
            if refs and (above or len(refs) > REFS_DIRECT_MAX):
                return self._take(level)
        return None

    def root(self) -> tuple[Ref, ...]:
        """The refs that stand for the whole content, at most ``REFS_DIRECT_MAX``. After ``close`` gave None."""
        return next((tuple(refs) for refs in self._levels if refs), ())

    def _take(self, level: int) -> tuple[int, list[Ref]]:
        refs, self._levels[level] = self._levels[level], []
        return level + 1, refs


def page_ref(chunk_id: bytes, refs: Sequence[Ref]) -> Ref:
    """The ref of a stored page."""
    return Ref(REF_PAGE, chunk_id, sum([ref.size for ref in refs]))


class Leaf(NamedTuple):
    """A data chunk of a content, and where it begins in the content's plaintext."""

    offset: int
    ref: Ref


class LeafWalk:
    """Finds the data chunks that overlap the byte range [start, end) of a content, in order, with no I/O of its own.

    ``advance`` gives the next leaf, or the ref of a page whose children it needs: load it and ``descend`` into them.
    Pages beside the range are never asked for. Memory O(depth).
    """

    def __init__(self, refs: Sequence[Ref], start: int = 0, end: int | None = None) -> None:
        self._start, self._end = start, end
        self._offset = 0
        self._stack: list[Iterator[Ref]] = [iter(refs)]
        self._page: Ref | None = None

    @property
    def offset(self) -> int:
        """Where the page asked for begins in the content."""
        return self._offset

    def advance(self) -> Leaf | Ref | None:
        """The next leaf; a page to load and ``descend`` into; None at the end of the range."""
        assert self._page is None, "the page asked for was not given"
        while self._stack and (self._end is None or self._offset < self._end):
            ref = next(self._stack[-1], None)
            if ref is None:
                self._stack.pop()
                continue
            offset = self._offset
            self._offset += ref.size
            if self._offset <= self._start:
                continue
            if ref.kind == REF_DATA:
                return Leaf(offset, ref)
            self._offset = offset
            self._page = ref
            return ref
        return None

    def descend(self, children: Sequence[Ref], ends: Sequence[int] | None = None) -> None:
        """Go on in the children of the page asked for; ``ChangeInvalid`` if they are not what its ref says.

        ``ends``: where each child ends in the page's plaintext, if that is known: what lies before the range is passed
        over at once then, however many they are.
        """
        page = self._page
        assert page is not None, "no page was asked for"
        if (sum([child.size for child in children]) if ends is None else ends[-1] if ends else 0) != page.size:
            raise ChangeInvalid(f"page {page.id.hex()} does not hold the bytes its ref names")
        if len(self._stack) > DEPTH_MAX:
            raise ChangeInvalid("pages nest too deeply")
        self._page = None
        if ends is not None and self._offset < self._start:
            first = bisect_right(ends, self._start - self._offset)
            if first:
                self._offset += ends[first - 1]
                children = children[first:]
        self._stack.append(iter(children))


def leaves(
    refs: Sequence[Ref], load_page: Callable[[Ref], Sequence[Ref]], start: int = 0, end: int | None = None
) -> Iterator[Leaf]:
    """The leaves of a range (see ``LeafWalk``) where pages can be loaded by a plain call."""
    walk = LeafWalk(refs, start, end)
    while (found := walk.advance()) is not None:
        if isinstance(found, Leaf):
            yield found
        else:
            walk.descend(load_page(found))
