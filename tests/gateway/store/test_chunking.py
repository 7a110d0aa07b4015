"""Cutting: boundaries are a function of bytes and seed alone, and are frozen."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pyfastcdc import FastCDC

from gateway.store.chunking import CHUNK_AVERAGE, CHUNK_MAX, CHUNK_MIN, Cutter, make_cutter

SEED = 0xFEDCBA9876543210
RANDOM = random.Random(1).randbytes(24 << 20)
FROZEN = [1091898, 1850125, 659698, 1306011, 1639854, 1013040]


def cut(cutter: Cutter, data: bytes, feeds: list[int]) -> list[bytes]:
    """Cut ``data`` fed in pieces of the given sizes, over and over."""
    chunks: list[bytes] = []
    at = turn = 0
    while at < len(data):
        size = feeds[turn % len(feeds)]
        chunks += [bytes(chunk) for chunk in cutter.feed(memoryview(data)[at : at + size])]
        assert cutter.held < CHUNK_MAX
        at, turn = at + size, turn + 1
    return chunks + [bytes(chunk) for chunk in cutter.flush()]


def whole(data: bytes, seed: int = SEED) -> list[bytes]:
    cdc = FastCDC(CHUNK_AVERAGE, min_size=CHUNK_MIN, max_size=CHUNK_MAX, seed=seed >> 1)
    return [bytes(chunk.data) for chunk in cdc.cut_buf(data)]


bodies = st.one_of(
    st.integers(0, 9 << 20).map(lambda size: RANDOM[:size]),
    st.integers(0, 9 << 20).map(bytes),  # nothing to find a boundary in
    st.tuples(st.integers(0, 5 << 20), st.integers(0, 5 << 20)).map(
        lambda p: bytes(p[0]) + RANDOM[: p[1]] + bytes(p[0])
    ),
)


@settings(max_examples=25, deadline=None)
@given(
    bodies, st.lists(st.sampled_from([1 << 16, 100_003, 1 << 20, 3_333_333, 4 << 20, 9 << 20]), min_size=1, max_size=4)
)
def test_boundaries_do_not_depend_on_how_bytes_are_fed(data: bytes, feeds: list[int]) -> None:
    assert cut(make_cutter(SEED, fixed=False), data, feeds) == whole(data)


def test_sizes_are_within_bounds_and_what_is_small_is_one_chunk() -> None:
    chunks = cut(make_cutter(SEED, fixed=False), RANDOM, [1 << 20])
    assert b"".join(chunks) == RANDOM
    assert all(CHUNK_MIN <= len(chunk) <= CHUNK_MAX for chunk in chunks[:-1])
    assert (512 << 10) < len(RANDOM) / len(chunks) < (2 << 20)
    assert len(cut(make_cutter(SEED, fixed=False), RANDOM[: 128 << 10], [1000])) == 1
    assert cut(make_cutter(SEED, fixed=False), b"", [1]) == []


def test_boundaries_come_back_after_an_insertion() -> None:
    before = set(cut(make_cutter(SEED, fixed=False), RANDOM, [1 << 20]))
    after = cut(make_cutter(SEED, fixed=False), b"inserted" + RANDOM, [1 << 20])
    assert sum(len(chunk) for chunk in after if chunk not in before) < 2 * CHUNK_MAX


def test_another_seed_cuts_elsewhere() -> None:
    first = cut(make_cutter(SEED, fixed=False), RANDOM, [1 << 20])
    second = cut(make_cutter(1, fixed=False), RANDOM, [1 << 20])
    assert [len(chunk) for chunk in first] != [len(chunk) for chunk in second]


def test_boundaries_are_frozen() -> None:
    """Other boundaries than those of old data would end deduplication against it."""
    sizes = [len(chunk) for chunk in cut(make_cutter(SEED, fixed=False), RANDOM, [1 << 20])]
    assert sizes[:6] == FROZEN


@pytest.mark.parametrize("feeds", [[1 << 20], [100_003, 5 << 20], [9 << 20]])
def test_fixed_chunks_are_all_alike(feeds: list[int]) -> None:
    data = RANDOM[: (9 << 20) + 5]
    chunks = cut(make_cutter(SEED, fixed=True), data, feeds)
    assert [len(chunk) for chunk in chunks] == [CHUNK_MAX, CHUNK_MAX, (1 << 20) + 5]
    assert b"".join(chunks) == data


@pytest.mark.parametrize("fixed", [True, False])
def test_flushing_early_costs_only_a_boundary(fixed: bool) -> None:
    cutter = make_cutter(SEED, fixed=fixed)
    chunks = [*cutter.feed(RANDOM[: 1 << 20]), *cutter.flush()]
    assert cutter.held == 0
    chunks += [*cutter.feed(RANDOM[1 << 20 : 7 << 20]), *cutter.flush()]
    assert b"".join(chunks) == RANDOM[: 7 << 20]
