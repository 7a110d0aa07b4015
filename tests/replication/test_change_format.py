"""Changes as bytes: golden samples kept forever, round trips, and refusal of everything else."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from replication.change_format import (
    READER_VERSION,
    REF_DATA,
    REF_PAGE,
    Change,
    ChangeInvalid,
    ChangeTooNew,
    Ref,
    decode_change,
    encode_change,
)
from replication.crdt import Dot

GOLDEN = Path(__file__).parents[1] / "golden" / "change_1.hex"
SAMPLE = Change(
    Dot(b"S" * 16, b"I" * 8, 7),
    0x0123_4567_89AB_CDEF,
    2,
    b"item\x00key",
    False,
    (Dot(b"T" * 16, b"J" * 8, 3),),
    (Ref(REF_DATA, b"c" * 32, 5), Ref(REF_PAGE, b"p" * 32, 1 << 42)),
    b"body",
)
dots = st.builds(Dot, st.binary(min_size=16, max_size=16), st.binary(min_size=8, max_size=8), st.integers(1, 1 << 63))
refs = st.builds(Ref, st.sampled_from((0, 1)), st.binary(min_size=32, max_size=32), st.integers(0, 1 << 45))
changes = st.builds(
    Change,
    dots,
    st.integers(0, (1 << 64) - 1),
    st.integers(1, 20),
    st.binary(max_size=40),
    st.booleans(),
    st.lists(dots, max_size=3).map(tuple),
    st.lists(refs, max_size=3).map(tuple),
    st.binary(max_size=40),
)


def test_golden_bytes_of_version_1():
    golden = bytes.fromhex(GOLDEN.read_text())
    assert encode_change(SAMPLE) == golden
    assert decode_change(golden) == SAMPLE


@given(changes)
def test_round_trip(change):
    assert decode_change(encode_change(change)) == change


def test_fields_added_at_the_end_by_a_later_minor_version_are_passed_over():
    fields = msgspec.msgpack.decode(encode_change(SAMPLE))
    assert decode_change(msgspec.msgpack.encode([*fields, "later"])) == SAMPLE


def test_a_newer_version_is_told_apart_from_rubbish():
    fields = msgspec.msgpack.decode(encode_change(SAMPLE))
    with pytest.raises(ChangeTooNew):
        decode_change(msgspec.msgpack.encode([READER_VERSION + 1, *fields[1:]]))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        (0, 0),
        (1, b"short"),
        (2, b"short"),
        (3, 0),
        (4, -1),
        (8, [[b"x", b"y", 1]]),
        (9, [[0, b"id", 1]]),
        (9, [[9, b"c" * 32, 1]]),
        (9, [[0, b"c" * 32, -1]]),
    ],
)
def test_out_of_range_fields_are_refused(field, value):
    fields = msgspec.msgpack.decode(encode_change(SAMPLE))
    fields[field] = value
    with pytest.raises(ChangeInvalid):
        decode_change(msgspec.msgpack.encode(fields))


@given(st.binary(max_size=60))
def test_arbitrary_bytes_never_decode_by_accident(data):
    with pytest.raises(ChangeInvalid):
        decode_change(data)
