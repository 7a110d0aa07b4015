"""Reading content: from refs and a byte range to authenticated plaintext, piece by piece.

Stands between the operations and local frames, or the cloud where a chunk is not here. Invariants: a piece is yielded
only after its whole chunk authenticated; never wrong or fewer bytes; memory is a few chunks per reader, whatever the
object; the collection epoch is registered from the call of ``read`` until the iterator is closed or dropped, so that
nothing the refs name is collected in between. What the page cache has is read inline while small; all else on
threads, one to two chunks ahead of the consumer.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import Executor
from functools import partial
from itertools import accumulate
from typing import Final, NamedTuple

from gateway.store.errors import Damaged
from gateway.store.hydration import Hydrator
from gateway.store.local_frames import ChunkCache, FindChunk, FrameAbsent, LocalFrames
from gateway.store.page_format import Leaf, LeafWalk, decode_page
from gateway.store.shared import Shared
from gateway.store.tier_touches import Touches
from replication.change_format import REF_DATA, ChangeInvalid, Ref

SMALL_MAX: Final = 64 << 10
"""A chunk up to this size may be read and opened on the event loop if the page cache has it."""
STRETCH_MAX: Final = 160 << 10
"""A part of a chunk up to this size may be read on the event loop if it is known how to open it alone."""
AHEAD: Final = 2
AHEAD_BYTES_MAX: Final = 24 << 20
"""Bytes that all readers of a process have under way beyond the chunk each is about to yield."""
WHOLE_AT_ONCE: Final = 8
"""Chunks read on threads and not yet taken over by the event loop, whatever the number of readers: when hundreds begin
at once, the threads are faster than the loop."""
AHEAD_ABSENT: Final = 8
"""Chunks asked of the cloud at a time, and the bytes they may have."""
AHEAD_ABSENT_BYTES: Final = 8 << 20
PAGES_KEPT: Final = 64

_Piece = bytes | asyncio.Future[bytes]


class Page(NamedTuple):
    """What a page lists, and where each of it ends in the page's plaintext."""

    children: tuple[Ref, ...]
    ends: tuple[int, ...]


class Reader:
    """Reads content for one process, on its event loop."""

    def __init__(
        self,
        local: LocalFrames,
        find_chunk: FindChunk,
        cache: ChunkCache,
        shared: Shared,
        executor: Executor,
        hydrator: Hydrator,
        touches: Touches,
    ) -> None:
        self._local, self._find_chunk, self._cache = local, find_chunk, cache
        self._touch = touches.touch
        self._shared, self._executor, self._hydrator = shared, executor, hydrator
        self._pages: OrderedDict[bytes, Page] = OrderedDict()
        self._whole = asyncio.Semaphore(WHOLE_AT_ONCE)
        self.ahead_bytes = 0
        """Bytes of chunks that readers have begun to read and not yielded yet."""

    def read_small(self, refs: Sequence[Ref]) -> bytes | None:
        """See ``ports.Store.read_small``."""
        if not refs:
            return b""
        ref = refs[0]
        if len(refs) > 1 or ref.kind != REF_DATA or ref.size > SMALL_MAX:
            return None
        self._touch(ref.id)
        # A lookup, a system call and a decryption for every read of a hot object are a third of what serving it costs.
        cached = self._cache.get(ref.id)
        if cached is not None:
            return cached
        place = self._find_chunk(ref.id)
        if place is None or not place.local:
            return None
        try:
            data = self._local.read_cached(ref.id, place)
        except Damaged:
            return None  # ``read`` will say so, or mend it from the cloud
        if data is not None:
            self._cache.put(ref.id, data)
        return data

    def read(self, refs: Sequence[Ref], start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """See ``ports.Store.read``."""
        if refs:
            self._touch(refs[0].id)
        size = sum([ref.size for ref in refs])
        end = size if length is None else min(size, start + length)
        return _Reading(self, self._shared, refs, start, end)

    def read_now(self, refs: Sequence[Ref], start: int, length: int) -> bytes | None:
        """See ``ports.Store.read_now``."""
        if length > STRETCH_MAX:
            return None
        end = start + length
        walk, pieces = LeafWalk(refs, start, end), []
        while (found := walk.advance()) is not None:
            if not isinstance(found, Leaf):
                page = self._known_page(found)
                if page is None:
                    return None
                walk.descend(*page)
                continue
            piece = self.read_part(found.ref, max(0, start - found.offset), min(found.ref.size, end - found.offset))
            if piece is None:
                return None
            pieces.append(piece)
        if refs:
            self._touch(refs[0].id)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    async def load_page(self, ref: Ref) -> tuple[Ref, ...]:
        """What a page lists; fetched if it is not here. ``Damaged``, ``ChunkUnavailable``."""
        return (await self.load_whole_page(ref)).children

    async def load_whole_page(self, ref: Ref) -> Page:
        """As ``load_page``, with where each of it ends."""
        found = self._known_page(ref)
        if found is not None:
            return found
        piece = self.begin(ref)
        try:
            children = decode_page(await finished(piece))
        except ChangeInvalid as error:
            raise Damaged(f"page {ref.id.hex()}: {error}") from error
        page = Page(children, tuple(accumulate([child.size for child in children])))
        if page.ends[-1] == ref.size:  # else whoever walks it says so
            self._pages[ref.id] = page
        if len(self._pages) > PAGES_KEPT:
            self._pages.popitem(last=False)
        return page

    def _known_page(self, ref: Ref) -> Page | None:
        """A page that was read lately, and holds the bytes its ref names."""
        found = self._pages.get(ref.id)
        if found is None or found.ends[-1] != ref.size:
            return None
        self._pages.move_to_end(ref.id)
        return found

    def is_local(self, ref: Ref) -> bool:
        """Whether a frame of the chunk is on this site."""
        place = self._find_chunk(ref.id)
        return place is not None and place.local

    def read_part(self, ref: Ref, first: int, last: int) -> bytes | None:
        """Plaintext [first, last) of a chunk if it can be had now, without the rest of the chunk."""
        if last - first > STRETCH_MAX:
            return None
        cached = self._cache.get(ref.id)
        if cached is not None:
            return cached[first:last] if len(cached) == ref.size else None
        place = self._find_chunk(ref.id)
        if place is None or not place.local or place.raw_size != ref.size:
            return None
        return self._local.read_stretch(ref.id, place, first, last)

    def begin(self, ref: Ref, *, in_part: bool = False) -> _Piece:
        """A chunk's plaintext, or something to await for it that is already on its way."""
        cached = self._cache.get(ref.id)
        if cached is not None:
            return cached
        place = self._find_chunk(ref.id)
        if place is None or not place.local:
            return self._hydrator.begin([ref.id])[0]
        if place.stored_size <= SMALL_MAX:
            try:
                data = self._local.read_cached(ref.id, place)
            except Damaged:
                data = None
            if data is not None:
                return data
        return asyncio.ensure_future(self._read_or_fetch(ref.id, in_part))

    def begin_absent(self, refs: Sequence[Ref]) -> None:
        """Ask the cloud for several chunks at once."""
        self._hydrator.begin([ref.id for ref in refs])

    def keep(self, ref: Ref, plaintext: bytes) -> None:
        """Keep the plaintext of a chunk of which only a part was wanted: the next range is often beside it."""
        self._cache.put(ref.id, plaintext)

    async def _read_or_fetch(self, chunk_id: bytes, in_part: bool) -> bytes:
        """From the disk; if that cannot be, from the cloud. Damage that the cloud cannot mend is what is raised."""
        loop = asyncio.get_running_loop()
        try:
            read = partial(self._local.read_chunk, chunk_id, in_part=in_part)
            async with self._whole:
                found = await loop.run_in_executor(self._executor, read)
        except FrameAbsent:
            found = None
        except Damaged as damage:
            return await self._hydrator.mend_chunk(chunk_id, damage)
        return found if found is not None else await self._hydrator.fetch_chunk(chunk_id)


class _Reading:
    """One read under way: an async iterator that holds the epoch until it ends, is closed, or is dropped."""

    def __init__(self, reader: Reader, shared: Shared, refs: Sequence[Ref], start: int, end: int) -> None:
        self._token: int | None = None
        self._next: deque[tuple[Leaf, _Piece, bool]] = deque()  # the last says: it is the part that is wanted, no more
        self._peeked: deque[Leaf] = deque()
        self._reader, self._shared = reader, shared
        self._start, self._end = start, end
        self._walk = LeafWalk(refs, start, end)
        self._ended = start >= end
        self._token = shared.enter()

    def __aiter__(self) -> _Reading:
        return self

    async def __anext__(self) -> bytes:
        try:
            await self._look_ahead()
            if not self._next:
                raise StopAsyncIteration
            leaf, piece, is_part = self._next.popleft()
            self._reader.ahead_bytes -= leaf.ref.size
            plaintext = await finished(piece)
            if is_part:
                return plaintext
            if len(plaintext) != leaf.ref.size:
                raise Damaged(f"chunk {leaf.ref.id.hex()} has another size than its ref")
            first, last = self._wanted(leaf)
            if first == 0 and last == leaf.ref.size:
                return plaintext
            self._reader.keep(leaf.ref, plaintext)
            return plaintext[first:last]
        except BaseException:
            self._close()
            raise

    async def aclose(self) -> None:
        """End early."""
        self._close()

    def __del__(self) -> None:
        self._close()

    def _close(self) -> None:
        for leaf, piece, _ in self._next:
            self._reader.ahead_bytes -= leaf.ref.size
            if isinstance(piece, asyncio.Future):
                piece.add_done_callback(_mark_retrieved)
        self._next.clear()
        if self._token is not None:
            self._shared.leave(self._token)
            self._token = None

    async def _look_ahead(self) -> None:
        """Have the next chunk under way, and one or two behind it (more where they come from the cloud)."""
        reader = self._reader
        while not self._next or (len(self._next) <= AHEAD and reader.ahead_bytes < AHEAD_BYTES_MAX):
            leaf = await self._next_leaf()
            if leaf is None:
                return
            first, last = self._wanted(leaf)
            in_part = last - first < leaf.ref.size
            part = reader.read_part(leaf.ref, first, last) if in_part else None
            if part is None and not self._next and not reader.is_local(leaf.ref):
                await self._ask_ahead(leaf)
            piece = reader.begin(leaf.ref, in_part=in_part) if part is None else part
            self._next.append((leaf, piece, part is not None))
            reader.ahead_bytes += leaf.ref.size

    def _wanted(self, leaf: Leaf) -> tuple[int, int]:
        """The part of a chunk's plaintext that lies in the range."""
        return max(0, self._start - leaf.offset), min(leaf.ref.size, self._end - leaf.offset)

    async def _ask_ahead(self, leaf: Leaf) -> None:
        """A chunk is only in the cloud: ask for it together with those behind it that are, too."""
        absent, size = [leaf.ref], leaf.ref.size
        while len(absent) < AHEAD_ABSENT and size < AHEAD_ABSENT_BYTES:
            if len(self._peeked) < len(absent):
                following = await self._advance()
                if following is None:
                    break
                self._peeked.append(following)
            ref = self._peeked[len(absent) - 1].ref
            if self._reader.is_local(ref):
                break
            absent.append(ref)
            size += ref.size
        self._reader.begin_absent(absent)

    async def _next_leaf(self) -> Leaf | None:
        return self._peeked.popleft() if self._peeked else await self._advance()

    async def _advance(self) -> Leaf | None:
        if self._ended:
            return None
        while (found := self._walk.advance()) is not None:
            if isinstance(found, Leaf):
                return found
            page = await self._reader.load_whole_page(found)
            try:
                self._walk.descend(*page)
            except ChangeInvalid as error:
                raise Damaged(str(error)) from error
        self._ended = True
        return None


async def finished(piece: _Piece) -> bytes:
    """The plaintext, when it is there. Whoever waits may be cancelled: others may wait for the same bytes."""
    return piece if isinstance(piece, bytes) else await asyncio.shield(piece)


def _mark_retrieved(task: asyncio.Future[bytes]) -> None:
    if not task.cancelled():
        task.exception()
