"""Byte ranges."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import InvalidArgument, InvalidRange, S3Error
from gateway.s3.ranges import holds_if_range, parse_copy_range, parse_range


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        (None, None),
        ("", None),
        ("bytes=0-0", (0, 0)),
        ("bytes=0-", (0, 9)),
        ("bytes=5-", (5, 9)),
        ("bytes=0-9", (0, 9)),
        ("bytes=0-100", (0, 9)),
        ("bytes=9-9", (9, 9)),
        ("bytes=-1", (9, 9)),
        ("bytes=-10", (0, 9)),
        ("bytes=-100", (0, 9)),
        ("Bytes=2-3", (2, 3)),
        ("bytes=2-1", None),
        ("bytes=-", None),
        ("bytes=a-b", None),
        ("items=0-1", None),
        ("bytes 0-1", None),
        ("bytes=0-1,3-4", None),
        ("bytes=0-1,", None),
        ("bytes=٠-١", None),
        ("bytes=0-" + "9" * 30, None),
    ],
)
def test_ranges_of_ten_bytes(header, expected):
    assert parse_range(header, 10) == expected


@pytest.mark.parametrize(
    ("header", "size"), [("bytes=10-", 10), ("bytes=11-12", 10), ("bytes=-0", 10), ("bytes=0-", 0), ("bytes=-5", 0)]
)
def test_unsatisfiable_ranges(header, size):
    with pytest.raises(InvalidRange) as caught:
        parse_range(header, size)
    assert caught.value.headers == {"Content-Range": f"bytes */{size}"}
    assert caught.value.extra == {"ActualObjectSize": str(size), "RangeRequested": header}


@given(header=st.text("bytes=0123456789-, ", max_size=24), size=st.integers(0, 100))
def test_a_range_lies_inside_the_object(header, size):
    with suppress(InvalidRange):
        found = parse_range(header, size)
        assert found is None or 0 <= found[0] <= found[1] < size


def test_copy_ranges_must_be_exact():
    assert parse_copy_range("bytes=0-9", 10) == (0, 9)
    for header in ("bytes=0-10", "bytes=5-4", "bytes=5-", "bytes=-5", "0-5", "bytes=0-1,2-3", "", "bytes= 0-1"):
        with pytest.raises(InvalidArgument):
            parse_copy_range(header, 10)


@given(header=st.text(max_size=30) | st.text("bytes=0123456789-", max_size=24))
def test_any_copy_range_is_one_or_a_typed_error(header):
    with suppress(S3Error):
        first, last = parse_copy_range(header, 50)
        assert 0 <= first <= last < 50


@pytest.mark.parametrize(
    ("validator", "holds"),
    [
        ('"abc-2"', True),
        ("abc-2", True),
        ('W/"abc-2"', False),
        ('"abc"', False),
        ("*", False),
        ("", False),
        ("Tue, 14 Nov 2023 22:13:20 GMT", True),
        ("Tue, 14 Nov 2023 22:13:21 GMT", False),
        ("Tue, 14 Nov 2023 22:13:19 GMT", False),
    ],
)
def test_if_range(validator, holds):
    assert holds_if_range(validator, "abc-2", 1_700_000_000) is holds
