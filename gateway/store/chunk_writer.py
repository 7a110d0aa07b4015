"""One body's plaintext becomes staged chunks and pages: look up, encode, seal, append. Synchronous; one body, one
thread.

Stands between ``content`` (which feeds it from the event loop) and codec, frames, segments and staging. Invariants:
every ref it gives out names a chunk that is in the index (and protected by the writer's epoch) or staged for its
owner; a patch names only full frames that are on this site now. Not here: waiting, syncing, budgets.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from gateway.store.codec import DICTIONARY_MAX, PATCH_SIZE_MIN, join_bases
from gateway.store.errors import Damaged
from gateway.store.frames import FrameMaker, SealedFrame
from gateway.store.index_format import ChunkPlace
from gateway.store.local_frames import FindChunk, FrameAbsent, LocalFrames
from gateway.store.page_format import PageTree, encode_page, page_ref
from gateway.store.predecessor import Predecessor
from gateway.store.reserve import Reserve
from gateway.store.segments import Appender, write_error
from gateway.store.staging import INLINE, StagedChunk, Staging
from replication.change_format import REF_DATA, Ref
from replication.frame_format import BASES_MAX, CODEC_PATCH, KIND_DATA, KIND_PAGE, FrameName

INLINE_MAX: Final = 16 << 10
"""A body (or the only page of a splice) up to this size rides in the commit's log batch."""
FRUITLESS_MAX: Final = 3
"""After so many chunks in a row that resembled no base, only every eighth is compared."""
FRUITLESS_STEP: Final = 8
DEFERRED_MAX: Final = 8 << 20
"""Bytes of unknown chunks kept back, where something is replaced, until a match behind them tells where they belong."""


@dataclass(frozen=True)
class WriteTools:
    """What writers of one process share."""

    frames: FrameMaker
    local: LocalFrames
    find_chunk: FindChunk
    staging: Staging
    appender: Appender
    reserve: Reserve
    """Asked before every append."""


class _Deferred(NamedTuple):
    """A chunk that is not known and not written yet, and where the old content would have it, judged by what came
    before.
    """

    chunk_id: bytes
    plaintext: bytes | memoryview
    expected: int
    anchored: bool  # whether that is by a match, and not by the hint alone


class ChunkWriter:
    """Writes the chunks of one body, in order."""

    def __init__(
        self, tools: WriteTools, owner: Hashable, predecessor: Predecessor | None = None, *, local: bool = False
    ) -> None:
        self._tools, self._owner, self._predecessor, self._local = tools, owner, predecessor, local
        self._tree = PageTree()
        self._fruitless = 0
        self._deferred: list[_Deferred] = []
        self.must_sync = False
        """Whether chunks rely on appends that may not be on stable storage yet."""
        self.stored_bytes = 0
        """Bytes appended: what deduplication and encoding left over."""

    def write_chunk(self, plaintext: bytes | memoryview) -> None:
        """Take the body's next chunk."""
        chunk_id = self._tools.frames.chunk_id(plaintext, local=self._local)
        size = len(plaintext)
        known = self.is_known(chunk_id)
        if self._predecessor is None:
            if not known:
                self._append(self._tools.frames.seal(KIND_DATA, chunk_id, plaintext), ())
        elif known:
            self._settle(self._predecessor.match(chunk_id, size))
        else:
            anchored = self._predecessor.anchored
            self._defer(_Deferred(chunk_id, plaintext, self._predecessor.pass_by(size), anchored))
        self._add(Ref(REF_DATA, chunk_id, size), 0)

    @property
    def deferred_bytes(self) -> int:
        """Bytes of plaintext kept back."""
        return sum([len(waiting.plaintext) for waiting in self._deferred])

    def settle(self) -> None:
        """Write what is kept back, without waiting for a match."""
        self._settle(None)

    def write_inline(self, plaintext: bytes) -> tuple[Ref, ...]:
        """Take the only chunk of a small body: it is sealed and staged, to ride with the commit. The body's refs.

        Whether the site has it already is for the commit to find (it looks anyway, and then leaves this frame out):
        asking here, too, costs every new body a transaction, to spare known ones a few microseconds of sealing.
        """
        chunk_id = self._tools.frames.chunk_id(plaintext, local=self._local)
        self._stage_inline(self._tools.frames.seal(KIND_DATA, chunk_id, plaintext), ())
        return (Ref(REF_DATA, chunk_id, len(plaintext)),)

    def add_written(self, ref: Ref, level: int) -> None:
        """Take over a ref of a content that is already written: a chunk (level 0) or a page (its height)."""
        while (page := self._tree.close_below(level)) is not None:
            self._write_page(*page)
        if self._predecessor is not None:  # so that pages find those they resemble
            if level:
                self._predecessor.pass_by(ref.size)
            else:
                self._predecessor.match(ref.id, ref.size)
        self._add(ref, level)

    def close(self, *, inline_pages: bool = False) -> tuple[Ref, ...]:
        """Write the last pages: the refs of the whole body. Small pages ride with the commit if ``inline_pages``."""
        self._settle(None)
        while (page := self._tree.close()) is not None:
            self._write_page(*page, inline=inline_pages)
        return self._tree.root()

    def _add(self, ref: Ref, level: int) -> None:
        page = self._tree.add(ref, level)
        while page is not None:
            page = self._write_page(*page)

    def _write_page(self, level: int, refs: list[Ref], *, inline: bool = False) -> tuple[int, list[Ref]] | None:
        """Store a page and give its ref to the tree: the page that completes, if it does."""
        plaintext = encode_page(refs)
        chunk_id = self._tools.frames.chunk_id(plaintext, local=self._local)
        bases = self._predecessor.page_bases() if self._predecessor is not None and level == 1 else []
        if not self.is_known(chunk_id):
            names, base = self._load_bases(bases)
            frame = self._tools.frames.seal(KIND_PAGE, chunk_id, plaintext, names, base)
            if inline and len(plaintext) <= INLINE_MAX and frame.header.codec != CODEC_PATCH:
                self._stage_inline(frame, tuple(refs))
            else:
                self._append(frame, tuple(refs))
        return self._tree.add(page_ref(chunk_id, refs), level)

    def is_known(self, chunk_id: bytes) -> bool:
        """Whether a chunk can be referred to, and is: in the index, or staged (and from now on for this owner, too)."""
        place = self._tools.find_chunk(chunk_id)
        if place is not None and place.local and not place.condemned:
            return True
        staged = self._tools.staging.hold(chunk_id, self._owner)
        if staged is None:
            return False
        self.must_sync = self.must_sync or staged.number != INLINE
        return True

    def _defer(self, chunk: _Deferred) -> None:
        """Keep an unknown chunk back until the next match tells what lies before it; not more than ``DEFERRED_MAX``
        bytes.
        """
        self._deferred.append(chunk)
        while self.deferred_bytes > DEFERRED_MAX:
            first = self._deferred.pop(0)
            self._write_deferred(first, [first.expected])

    def _settle(self, match: int | None) -> None:
        """Write the chunks kept back. ``match`` is where the old content has the chunk behind them, if it has it."""
        behind = self.deferred_bytes
        waiting, self._deferred = self._deferred, []
        for at, chunk in enumerate(waiting):
            starts = [chunk.expected]
            if match is not None:
                shifted = abs(match - behind - chunk.expected) > len(chunk.plaintext) // 2
                between = at == 0 and chunk.anchored and shifted  # something was put in: one base from either side
                starts = [chunk.expected, match - behind] if between else [match - behind]
            behind -= len(chunk.plaintext)
            self._write_deferred(chunk, starts)

    def _write_deferred(self, chunk: _Deferred, starts: Sequence[int]) -> None:
        """Seal and append a chunk, as a patch if old chunks at one of ``starts`` help."""
        assert self._predecessor is not None
        frames, plaintext = self._tools.frames, chunk.plaintext
        if self.is_known(chunk.chunk_id):  # the same bytes came twice in this body
            return
        bases: list[Ref] = []
        if len(plaintext) >= PATCH_SIZE_MIN and (
            self._fruitless < FRUITLESS_MAX or self._fruitless % FRUITLESS_STEP == 0
        ):
            found = [self._predecessor.bases(start, len(plaintext)) for start in starts]
            bases = found[0] if len(found) == 1 else _interleave(*found)
        names, base = self._load_bases(bases)
        frame = frames.seal(KIND_DATA, chunk.chunk_id, plaintext, names, base)
        if names:
            self._fruitless = 0 if frame.header.codec == CODEC_PATCH else self._fruitless + 1
        self._append(frame, ())

    def _load_bases(self, refs: Sequence[Ref]) -> tuple[list[FrameName], bytes]:
        """Names and joined plaintext of the full local frames that stand for old chunks; what is not here is left
        out.
        """
        names: list[FrameName] = []
        plaintexts: list[bytes] = []
        for name in dict.fromkeys(name for ref in refs for name in self._base_names(ref.id)):
            if len(names) == BASES_MAX:
                break
            try:
                plaintext = self._tools.local.read_base(name)
            except (FrameAbsent, Damaged):
                continue  # a base is only a chance to save space: the scrub is what names damage
            if sum(map(len, plaintexts)) + len(plaintext) > DICTIONARY_MAX:
                break
            names.append(name)
            plaintexts.append(plaintext)
        return (names, join_bases(plaintexts)) if names else ([], b"")

    def _base_names(self, chunk_id: bytes) -> Sequence[FrameName]:
        """The full frames to patch against in place of an old chunk: its own, or all that it is itself a patch against.

        All: a chunk over the seam of two uploaded parts is a patch against one chunk from either side, and what starts
        or ends at that seam the next time resembles only one of them.
        """
        place = self._tools.find_chunk(chunk_id)
        if place is None or not place.local or place.condemned:
            return ()
        whole = [self._full_frame(base.chunk_id) for base in place.bases] or [self._full_frame(chunk_id)]
        return [name for name in whole if name is not None]

    def _full_frame(self, chunk_id: bytes) -> FrameName | None:
        """The full frame of a chunk as it lies here now. A patch that another site made may name one that never did."""
        place: ChunkPlace | None = self._tools.find_chunk(chunk_id)
        if place is None or not place.local or place.condemned or place.bases:
            return None
        return FrameName(chunk_id, place.segment, place.slot)

    def _append(self, frame: SealedFrame, children: tuple[Ref, ...]) -> None:
        size = len(frame.encoded_header) + len(frame.ciphertext)
        self._tools.reserve.check(size)
        try:
            number, offset = self._tools.appender.append([frame.encoded_header, frame.ciphertext])
        except OSError as error:
            raise write_error(error) from error
        staged = StagedChunk(frame.header, frame.encoded_header, number, offset, b"", children)
        self._tools.staging.add(staged, self._owner)
        self.must_sync = True
        self.stored_bytes += size

    def _stage_inline(self, frame: SealedFrame, children: tuple[Ref, ...]) -> None:
        self._tools.reserve.check(len(frame.encoded_header) + len(frame.ciphertext))
        staged = StagedChunk(frame.header, frame.encoded_header, INLINE, 0, frame.ciphertext, children)
        if self._tools.staging.add(staged, self._owner).number != INLINE:
            self.must_sync = True


def _interleave(before: Sequence[Ref], behind: Sequence[Ref]) -> list[Ref]:
    """Bases for a chunk between two matches: the old chunks behind the first and those before the second."""
    half = BASES_MAX // 2
    return list({ref.id: ref for ref in (*before[:half], *behind[-half:])}.values())
