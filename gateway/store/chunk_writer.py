"""One body's plaintext becomes staged chunks and pages: look up, encode, seal, append. Synchronous; one body, one
thread.

Stands between ``content`` (which feeds it from the event loop) and codec, frames, segments and staging. Invariants:
every ref it gives out names a chunk that is in the index (and protected by the writer's epoch) or staged for its
owner; a patch names only full frames that are on this site now. Not here: waiting, syncing, budgets.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Final

from gateway.store.codec import PATCH_SIZE_MIN, join_bases
from gateway.store.errors import Damaged
from gateway.store.frames import FrameMaker, SealedFrame
from gateway.store.index_format import ChunkPlace
from gateway.store.local_frames import FindChunk, FrameAbsent, LocalFrames
from gateway.store.page_format import PageTree, encode_page, page_ref
from gateway.store.predecessor import Predecessor
from gateway.store.segments import Appender, write_error
from gateway.store.staging import INLINE, StagedChunk, Staging
from replication.change_format import REF_DATA, Ref
from replication.frame_format import CODEC_PATCH, KIND_DATA, KIND_PAGE, FrameName

INLINE_MAX: Final = 16 << 10
"""A body (or the only page of a splice) up to this size rides in the commit's log batch."""
FRUITLESS_MAX: Final = 3
"""After so many chunks in a row that resembled no base, only every eighth is compared."""
FRUITLESS_STEP: Final = 8


@dataclass(frozen=True)
class WriteTools:
    """What writers of one process share."""

    frames: FrameMaker
    local: LocalFrames
    find_chunk: FindChunk
    staging: Staging
    appender: Appender
    before_append: Callable[[int], None]
    """Called with the bytes about to be appended; raises ``DiskFull`` or ``ReadOnlyStore``."""


class ChunkWriter:
    """Writes the chunks of one body, in order."""

    def __init__(self, tools: WriteTools, owner: Hashable, predecessor: Predecessor | None = None) -> None:
        self._tools, self._owner, self._predecessor = tools, owner, predecessor
        self._tree = PageTree()
        self._fruitless = 0
        self.must_sync = False
        """Whether chunks rely on appends that may not be on stable storage yet."""
        self.stored_bytes = 0
        """Bytes appended: what deduplication and encoding left over."""

    def write_chunk(self, plaintext: bytes | memoryview) -> None:
        """Take the body's next chunk."""
        tools = self._tools
        chunk_id = tools.frames.chunk_id(plaintext)
        ref = Ref(REF_DATA, chunk_id, len(plaintext))
        if self._is_known(chunk_id):
            if self._predecessor is not None:
                self._predecessor.matched(chunk_id, len(plaintext))
        else:
            self._append(self._seal_data(chunk_id, plaintext), ())
        self._add(ref, 0)

    def write_inline(self, plaintext: bytes) -> None:
        """Take the only chunk of a small body: it is sealed and staged, to ride with the commit."""
        chunk_id = self._tools.frames.chunk_id(plaintext)
        if not self._is_known(chunk_id):
            self._stage_inline(self._tools.frames.seal(KIND_DATA, chunk_id, plaintext), ())
        self._tree.add(Ref(REF_DATA, chunk_id, len(plaintext)))

    def add_written(self, ref: Ref, level: int) -> None:
        """Take over a ref of a content that is already written: a chunk (level 0) or a page (its height)."""
        while (page := self._tree.close_below(level)) is not None:
            self._write_page(*page)
        self._add(ref, level)

    def close(self, *, inline_pages: bool = False) -> tuple[Ref, ...]:
        """Write the last pages: the refs of the whole body. Small pages ride with the commit if ``inline_pages``."""
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
        chunk_id = self._tools.frames.chunk_id(plaintext)
        bases = self._predecessor.page_bases() if self._predecessor is not None and level == 1 else []
        if not self._is_known(chunk_id):
            names, base = self._load_bases(bases)
            frame = self._tools.frames.seal(KIND_PAGE, chunk_id, plaintext, names, base)
            if inline and len(plaintext) <= INLINE_MAX and frame.header.codec != CODEC_PATCH:
                self._stage_inline(frame, tuple(refs))
            else:
                self._append(frame, tuple(refs))
        return self._tree.add(page_ref(chunk_id, refs), level)

    def _is_known(self, chunk_id: bytes) -> bool:
        place = self._tools.find_chunk(chunk_id)
        if place is not None and place.local and not place.condemned:
            return True
        staged = self._tools.staging.hold(chunk_id, self._owner)
        if staged is None:
            return False
        self.must_sync = self.must_sync or staged.number != INLINE
        return True

    def _seal_data(self, chunk_id: bytes, plaintext: bytes | memoryview) -> SealedFrame:
        frames = self._tools.frames
        bases = self._predecessor.bases(len(plaintext)) if self._predecessor is not None else []
        tries = self._fruitless < FRUITLESS_MAX or self._fruitless % FRUITLESS_STEP == 0
        if not bases or len(plaintext) < PATCH_SIZE_MIN or not tries:
            self._fruitless += bool(bases)
            return frames.seal(KIND_DATA, chunk_id, plaintext)
        names, base = self._load_bases(bases)
        frame = frames.seal(KIND_DATA, chunk_id, plaintext, names, base)
        self._fruitless = 0 if frame.header.codec == CODEC_PATCH else self._fruitless + 1
        return frame

    def _load_bases(self, refs: Sequence[Ref]) -> tuple[list[FrameName], bytes]:
        """Names and joined plaintext of the full local frames that stand for old chunks; what is not here is left
        out.
        """
        names: list[FrameName] = []
        plaintexts: list[bytes] = []
        for ref in refs:
            found = self._base_name(ref.id)
            if found is None or found in names:
                continue
            try:
                plaintexts.append(self._tools.local.read_base(found))
            except (FrameAbsent, Damaged):
                continue  # a base is only a chance to save space: the scrub is what names damage
            names.append(found)
        return (names, join_bases(plaintexts)) if names else ([], b"")

    def _base_name(self, chunk_id: bytes) -> FrameName | None:
        """The full frame to patch against in place of an old chunk: its own, or what it is itself a patch against."""
        place: ChunkPlace | None = self._tools.find_chunk(chunk_id)
        if place is None or not place.local or place.condemned:
            return None
        return place.bases[0] if place.bases else FrameName(chunk_id, place.segment, place.slot)

    def _append(self, frame: SealedFrame, children: tuple[Ref, ...]) -> None:
        size = len(frame.encoded_header) + len(frame.ciphertext)
        self._tools.before_append(size)
        try:
            number, offset = self._tools.appender.append([frame.encoded_header, frame.ciphertext])
        except OSError as error:
            raise write_error(error) from error
        staged = StagedChunk(frame.header, frame.encoded_header, number, offset, b"", children)
        self._tools.staging.add(staged, self._owner)
        self.must_sync = True
        self.stored_bytes += size

    def _stage_inline(self, frame: SealedFrame, children: tuple[Ref, ...]) -> None:
        self._tools.before_append(len(frame.encoded_header) + len(frame.ciphertext))
        staged = StagedChunk(frame.header, frame.encoded_header, INLINE, 0, frame.ciphertext, children)
        if self._tools.staging.add(staged, self._owner).number != INLINE:
            self.must_sync = True
