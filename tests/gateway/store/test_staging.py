"""Chunks between being written and being committed."""

from __future__ import annotations

from gateway.store.staging import INLINE, StagedChunk, Staging
from replication.frame_format import FrameHeader


def staged(name: bytes, slot: int = 0) -> StagedChunk:
    header = FrameHeader(0, 0, 0, slot, 16, 0, bytes(16), bytes(24), name * 32, bytes(32))
    return StagedChunk(header, b"header", INLINE, 0, b"ciphertext")


def test_a_chunk_stays_while_anyone_holds_it() -> None:
    staging = Staging()
    chunk = staged(b"a")
    assert staging.add(chunk, "one") is chunk
    assert staging.hold(b"a" * 32, "two") is chunk
    staging.release("one")
    assert staging.get(b"a" * 32) is chunk
    staging.release("two")
    assert staging.get(b"a" * 32) is None
    assert staging.hold(b"a" * 32, "three") is None
    assert len(staging) == 0


def test_the_first_frame_of_a_chunk_wins() -> None:
    staging = Staging()
    first, second = staged(b"a", 1), staged(b"a", 2)
    staging.add(first, "one")
    assert staging.add(second, "two") is first
    staging.release("one")
    assert staging.get(b"a" * 32) is first


def test_releasing_twice_or_never_having_added_is_harmless() -> None:
    staging = Staging()
    staging.add(staged(b"a"), "one")
    staging.add(staged(b"a"), "one")
    staging.release("one")
    staging.release("one")
    staging.release("nobody")
    assert len(staging) == 0
