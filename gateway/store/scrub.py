"""Verification in rotation: every log batch and every chunk on this disk is read back and authenticated, a little at a
time, for as long as the site lives.

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
from gateway.store.verify import LogPlace, Verifier, VerifySetup, mend

BATCHES_AT_ONCE: Final = 64
CHUNKS_AT_ONCE: Final = 32
FINDINGS_MAX: Final = 1000


class ScrubState(msgspec.Struct, frozen=True):
    """Where a site's scrub stands. Times in unix ms, 0: never; a rotation is under way while ``begun_ms`` is later than
    ``whole_begun_ms``. ``findings``: of this rotation or the last, what could not be mended; ``missing``: ids of
    chunks that were nowhere when they were looked for; at the end they are looked for again: news may tell where they
    are.
    """

    first_ms: int = 0
    begun_ms: int = 0
    whole_begun_ms: int = 0
    whole_ended_ms: int = 0
    log_number: int = 0
    log_hash: bytes = b""
    is_log_done: bool = False
    chunks_after: bytes = b""
    batches: int = 0
    chunks: int = 0
    frame_bytes: int = 0
    mended: int = 0
    missing: tuple[str, ...] = ()
    findings: tuple[str, ...] = ()

    @property
    def is_under_way(self) -> bool:
        """Whether a rotation has begun and not ended."""
        return self.begun_ms > self.whole_begun_ms

    def oldest_ms(self) -> int:
        """No byte on this disk was read back before this moment for the last time; 0 if the scrub never began."""
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
                first_ms=self.state.first_ms or now_ms,
                begun_ms=now_ms,
                whole_begun_ms=self.state.whole_begun_ms,
                whole_ended_ms=self.state.whole_ended_ms,
                mended=self.state.mended,
            )
        verifier = Verifier(self._setup, lambda what, done, total: None)
        work = self._check_chunks if self.state.is_log_done else self._check_batches
        following = await asyncio.get_running_loop().run_in_executor(self._executor, work, verifier, now_ms)
        self.state = await self._add_findings(following, verifier)
        return verifier.found.frame_bytes

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
        state = msgspec.structs.replace(
            state,
            chunks_after=after or b"",
            chunks=state.chunks + found.chunks,
            frame_bytes=state.frame_bytes + found.frame_bytes,
        )
        if after is None:
            state = msgspec.structs.replace(state, whole_begun_ms=state.begun_ms, whole_ended_ms=now_ms)
            for chunk_id in state.missing:  # once more: their own block, and no other
                verifier.check_chunks(bytes.fromhex(chunk_id), 1)
        return state

    async def _add_findings(self, state: ScrubState, verifier: Verifier) -> ScrubState:
        """Mend what the cloud has; name the rest."""
        found, mended = [f"log: {reason}" for reason in verifier.found.bad_batches], 0
        missing = tuple(one.chunk_id for one in verifier.found.missing)
        if state.is_under_way:
            state = msgspec.structs.replace(state, missing=(*state.missing, *missing)[:FINDINGS_MAX])
        else:
            found += [f"chunk {one} is neither here nor in the cloud" for one in missing if one in state.missing]
        for chunk_id, place, reason in verifier.found.bad_frames:
            if await mend(self._hydrator, chunk_id, reason):
                mended += 1
            else:
                found.append(f"chunk {chunk_id.hex()} in segment {place.number} at {place.offset}: {reason}")
        if not (found or mended):
            return state
        findings = (*state.findings, *found)[:FINDINGS_MAX]
        return msgspec.structs.replace(state, findings=findings, mended=state.mended + mended)
