"""Frame headers: golden bytes, round trips and refusals."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from replication.frame_format import (
    BASE_SIZE,
    BASES_MAX,
    CODEC_PATCH,
    FRAME_RAW_MAX,
    HEADER_SIZE,
    FrameHeader,
    FrameInvalid,
    FrameName,
    decode_header,
    encode_header,
    header_size_at,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "frame_header_1.hex"
BASES = (FrameName(bytes(range(32)), bytes(range(24)), 7), FrameName(bytes(range(32, 64)), bytes(24), 1 << 31))
PATCH = FrameHeader(
    *(CODEC_PATCH, 1, 0, 12, 516, 500, bytes(range(16)), bytes(range(16, 40))),
    *(bytes(range(40, 72)), bytes(range(72, 104)), BASES),
)
PLAIN = replace(PATCH, codec=1, kind=0, bases=())

headers = st.builds(
    FrameHeader,
    codec=st.integers(0, 1),
    kind=st.integers(0, 1),
    domain=st.integers(0, 255),
    slot=st.integers(0, (1 << 32) - 1),
    stored_size=st.integers(16, FRAME_RAW_MAX + 16),
    raw_size=st.integers(0, FRAME_RAW_MAX),
    epoch=st.binary(min_size=16, max_size=16),
    segment=st.binary(min_size=24, max_size=24),
    chunk_id=st.binary(min_size=32, max_size=32),
    salt=st.binary(min_size=32, max_size=32),
    bases=st.just(()),
)
names = st.builds(
    FrameName, st.binary(min_size=32, max_size=32), st.binary(min_size=24, max_size=24), st.integers(0, (1 << 32) - 1)
)


def test_golden_bytes() -> None:
    patch, plain = (bytes.fromhex(line) for line in GOLDEN.read_text().split())
    assert encode_header(PATCH) == patch
    assert encode_header(PLAIN) == plain
    assert decode_header(patch) == PATCH
    assert decode_header(plain) == PLAIN


@given(headers, st.lists(names, max_size=2), st.binary(max_size=10))
def test_round_trip(header: FrameHeader, bases: list[FrameName], behind: bytes) -> None:
    if bases:
        header = replace(header, codec=CODEC_PATCH, bases=tuple(bases))
    data = encode_header(header) + behind
    assert decode_header(data) == header
    assert decode_header(memoryview(data)) == header
    assert header_size_at(data) == header.header_size == HEADER_SIZE + BASE_SIZE * len(bases)
    assert header.name == (header.chunk_id, header.segment, header.slot)


def test_every_changed_byte_is_noticed() -> None:
    data = encode_header(PATCH)
    for at in range(len(data)):
        with pytest.raises(FrameInvalid):
            decode_header(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])


def test_what_is_cut_short_or_none_at_all_is_refused() -> None:
    data = encode_header(PATCH)
    for size in (0, 6, HEADER_SIZE - 1, HEADER_SIZE, len(data) - 1):
        with pytest.raises(FrameInvalid):
            decode_header(data[:size])
    with pytest.raises(FrameInvalid):
        header_size_at(b"SKF2" + data[4:])
    with pytest.raises(FrameInvalid):
        header_size_at(data[:5] + bytes((BASES_MAX + 1,)) + data[6:])


@pytest.mark.parametrize(
    "header",
    [
        replace(PLAIN, codec=3),
        replace(PLAIN, kind=2),
        replace(PLAIN, raw_size=FRAME_RAW_MAX + 1),
        replace(PLAIN, stored_size=15),
        replace(PLAIN, stored_size=FRAME_RAW_MAX + 17),
        replace(PLAIN, codec=CODEC_PATCH),
        replace(PATCH, codec=0),
    ],
)
def test_values_out_of_range_are_refused_even_with_a_good_checksum(header: FrameHeader) -> None:
    with pytest.raises(FrameInvalid, match="range"):
        decode_header(encode_header(header))
