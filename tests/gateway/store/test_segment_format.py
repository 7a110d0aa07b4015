"""Segment headers and names: golden bytes and refusals."""

from __future__ import annotations

from pathlib import Path

import google_crc32c
import pytest

from gateway.store.errors import FormatTooNew
from gateway.store.segment_format import (
    KIND_DATA,
    KIND_LOG,
    SEGMENT_HEADER_SIZE,
    SegmentHeader,
    SegmentInvalid,
    decode_segment_header,
    encode_segment_header,
    parse_segment_name,
    segment_name,
)

GOLDEN = Path(__file__).parents[2] / "golden" / "segment_header_1.hex"
HEADER = SegmentHeader(
    KIND_LOG, 7, 5, 123456, 1_700_000_000_000, bytes(range(16)), bytes(range(16, 32)), bytes(range(32, 48)), bytes(24)
)


def reseal(data: bytes) -> bytes:
    return data[:124] + google_crc32c.value(data[:124]).to_bytes(4, "little")


def test_golden_bytes() -> None:
    golden = bytes.fromhex(GOLDEN.read_text())
    assert encode_segment_header(HEADER) == golden
    assert decode_segment_header(golden + b"what follows") == HEADER
    assert len(golden) == SEGMENT_HEADER_SIZE


def test_every_changed_bit_is_noticed() -> None:
    golden = encode_segment_header(HEADER)
    for at in range(SEGMENT_HEADER_SIZE):
        with pytest.raises(SegmentInvalid):
            decode_segment_header(golden[:at] + bytes([golden[at] ^ 1]) + golden[at + 1 :])
    for size in (0, 4, 127):
        with pytest.raises(SegmentInvalid):
            decode_segment_header(golden[:size])


def test_newer_versions_and_wrong_kinds_are_told_apart() -> None:
    golden = encode_segment_header(HEADER)
    with pytest.raises(FormatTooNew):
        decode_segment_header(reseal(golden[:4] + b"\x02" + golden[5:]))
    with pytest.raises(SegmentInvalid):
        decode_segment_header(reseal(golden[:5] + b"\x00" + golden[6:]))  # data under an odd number


def test_names() -> None:
    assert segment_name(12, KIND_DATA) == "12.data"
    assert parse_segment_name("12.data") == (12, KIND_DATA)
    assert parse_segment_name("13.log") == (13, KIND_LOG)
    for name in ("12.log", "13.data", "013.log", "13.log.tmp", "-1.log", "4294967296.data", ".data", "x"):
        assert parse_segment_name(name) is None
