"""Verification in rotation: every log batch, every chunk on this disk and every value of the index is read back and
authenticated, a little at a time, for as long as the site lives.

Stands beside ``verify``, whose checks it uses a block at a time, and like it only reads; what is bad is fetched back
from the cloud at once. Where a rotation stands is a value (``ScrubState``) that the caller keeps: lost, the rotation
begins anew. How old the oldest byte can be that was not read back since is told by when the last whole rotation began.

Not here: how fast it goes and when the next rotation begins (the runner), reference counts (``verify``: they need one
long snapshot). A page that the kernel holds in memory is checked there; the disk's copy of it when it was let go.
"""

from __future__ import annotations

import asyncio
from concurrent.futures import Executor
from typing import Final

import msgspec

from gateway.store.hydration import Hydrator
from gateway.store.log_rows import scan_batches
from gateway.store.verify import INDEX_ROWS_AT_ONCE, LogPlace, RowPlace, Verifier, VerifySetup, mend
from gateway.store.views import View

BATCHES_AT_ONCE: Final = 64
CHUNKS_AT_ONCE: Final = 32
FINDINGS_MAX: Final = 1000


class ScrubState(msgspec.Struct, frozen=True):
    """Where a site's scrub stands. Times in unix ms, 0: never; ``first_ms``: when this site wrote for the first
    time. ``findings``: of this rotation or the last, what could not be mended; ``missing``: ids of chunks that were
    nowhere when they were looked for; at the end they are looked for again: news may tell where they are.
    """

    first_ms: int = 0
    begun_ms: int = 0
    whole_begun_ms: int = 0
    whole_ended_ms: int = 0
    log_number: int = 0
    log_hash: bytes = b""
    is_log_done: bool = False
    is_chunks_done: bool = False
    chunks_after: bytes = b""
    rows_table: int = 0
    rows_after: bytes = b""
    batches: int = 0
    chunks: int = 0
    frame_bytes: int = 0
    mended: int = 0
    missing: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()
    is_under_way: bool = False
    """Whether a rotation has begun and not ended."""

    def oldest_ms(self) -> int:
        """Every byte on this disk was read back, or written, at this moment or later; 0 if the scrub never began."""
        return self.whole_begun_ms or self.first_ms


class Scrubber:
    """The scrub of one store. ``state`` is where it stands after the last step."""

    def __init__(self, setup: VerifySetup, executor: Executor, hydrator: Hydrator, state: ScrubState) -> None:
        self._setup, self._executor, self._hydrator = setup, executor, hydrator
        self.state = state

    async def step(self, now_ms: int) -> int:
        """Look at the next few batches or chunks, or begin a rotation: about how many bytes were read.

        Raises nothing for damage: that is what ``state.findings`` tells.
        """
        if not self.state.is_under_way:
            self.state = ScrubState(
                first_ms=self.state.first_ms or await self._ask_first_write(now_ms),
                begun_ms=now_ms,
                is_under_way=True,
                whole_begun_ms=self.state.whole_begun_ms,
                whole_ended_ms=self.state.whole_ended_ms,
                mended=self.state.mended,
            )
        verifier = Verifier(self._setup, lambda what, done, total: None)
        if not self.state.is_log_done:
            work = self._check_batches
        else:
            work = self._check_rows if self.state.is_chunks_done else self._check_chunks
        following = await asyncio.get_running_loop().run_in_executor(self._executor, work, verifier, now_ms)
        self.state = await self._add_findings(following, verifier)
        return verifier.found.frame_bytes

    async def _ask_first_write(self, now_ms: int) -> int:
        def ask() -> int:
            with self._setup.view() as view:
                return min(first_write_ms(view) or now_ms, now_ms)

        return await asyncio.get_running_loop().run_in_executor(self._executor, ask)

    def _check_batches(self, verifier: Verifier, now_ms: int) -> ScrubState:
        state = self.state
        before = LogPlace(state.log_number, state.log_hash or None)
        after = verifier.check_batches(before, BATCHES_AT_ONCE)
        return msgspec.structs.replace(
            state,
            log_number=after.number,
            log_hash=after.hash or b"",
            is_log_done=after.number == before.number,
            batches=state.batches + verifier.found.batches,
        )

    def _check_chunks(self, verifier: Verifier, now_ms: int) -> ScrubState:
        state, found = self.state, verifier.found
        after = verifier.check_chunks(state.chunks_after, CHUNKS_AT_ONCE)
        verifier.name_objects()
        return msgspec.structs.replace(
            state,
            chunks_after=after or b"",
            is_chunks_done=after is None,
            chunks=state.chunks + found.chunks,
            frame_bytes=state.frame_bytes + found.frame_bytes,
        )

    def _check_rows(self, verifier: Verifier, now_ms: int) -> ScrubState:
        """The index' values; behind the last one the rotation ends."""
        state = self.state
        place = verifier.check_rows(RowPlace(state.rows_table, state.rows_after), INDEX_ROWS_AT_ONCE)
        if place is not None:
            return msgspec.structs.replace(state, rows_table=place.table, rows_after=place.after)
        for chunk_id in state.missing:  # once more: their own block, and no other
            verifier.check_chunks(bytes.fromhex(chunk_id), 1)
        verifier.check_headers()
        verifier.name_objects()
        return msgspec.structs.replace(state, whole_begun_ms=state.begun_ms, whole_ended_ms=now_ms, is_under_way=False)

    async def _add_findings(self, state: ScrubState, verifier: Verifier) -> ScrubState:
        """Mend what the cloud has; name the rest."""
        found, mended = [f"log: {reason}" for reason in verifier.found.bad_batches], 0
        found += [f"segment {reason}" for reason in verifier.found.bad_segments]
        found += [f"index: {reason}" for reason in verifier.found.bad_rows]
        missing = tuple(one.chunk_id for one in verifier.found.missing)
        if state.is_under_way:
            state = msgspec.structs.replace(state, missing=(*state.missing, *missing)[:FINDINGS_MAX])
        else:
            gone = [one for one in missing if one in state.missing]
            found += [f"chunk {one} is neither here nor in the cloud{_needed_by(verifier, one)}" for one in gone]
        for chunk_id, place, reason in verifier.found.bad_frames:
            if await mend(self._hydrator, chunk_id, reason):
                mended += 1
            else:
                where = f"chunk {chunk_id.hex()} in segment {place.number} at {place.offset}"
                found.append(f"{where}: {reason}{_needed_by(verifier, chunk_id.hex())}")
        if not (found or mended):
            return state
        findings = (*state.findings, *found)[:FINDINGS_MAX]
        return msgspec.structs.replace(state, findings=findings, mended=state.mended + mended)


def first_write_ms(view: View) -> int:
    """When a site wrote for the first time, as its log tells; 0 if it never did. What no scrub has read is that old."""
    return next((row.time_ms for _, row in scan_batches(view.transaction, 1) if row.time_ms), 0)


def _needed_by(verifier: Verifier, chunk_id: str) -> str:
    names = verifier.found.objects.get(bytes.fromhex(chunk_id), ())
    return f"; needed by {', '.join(names)}" if names else ""
