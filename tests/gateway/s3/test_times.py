"""Times on the wire."""

from __future__ import annotations

from datetime import UTC, datetime
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.times import (
    format_basic,
    format_http_date,
    format_iso,
    parse_basic,
    parse_http_date,
    parse_iso_ms,
)

SECONDS = st.integers(0, 253402300799)


def test_known_times():
    assert format_iso(1255369830123) == "2009-10-12T17:50:30.000Z"
    assert format_http_date(1255369830) == "Mon, 12 Oct 2009 17:50:30 GMT"
    assert format_basic(1369353600) == "20130524T000000Z"


@given(seconds=SECONDS)
def test_formats_parse_back(seconds):
    assert parse_basic(format_basic(seconds)) == seconds
    assert parse_http_date(format_http_date(seconds)) == seconds
    assert format_http_date(seconds) == formatdate(seconds, usegmt=True)
    assert parse_iso_ms(format_iso(seconds * 1000)) == seconds * 1000
    assert format_iso(seconds * 1000) == datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


@pytest.mark.parametrize(
    "text",
    [
        "Sun, 06 Nov 1994 08:49:37 GMT",
        "Sunday, 06-Nov-94 08:49:37 GMT",
        "Sun Nov  6 08:49:37 1994",
        "Sun, 06 Nov 1994 09:49:37 +0100",
    ],
)
def test_all_three_forms_of_http_dates(text):
    assert parse_http_date(text) == 784111777


@pytest.mark.parametrize(
    "text", ["", "now", "1994", "Sun, 99 Nov 1994 08:49:37 GMT", "x" * 100, "Sun, 06 Nov 1994 25:49:37 GMT"]
)
def test_what_is_no_http_date(text):
    assert parse_http_date(text) is None


@pytest.mark.parametrize(
    "text", ["20130524", "20131324T000000Z", "20130524T240000Z", "20130524t000000z", "٢٠١٣٠٥٢٤T000000Z"]
)
def test_what_is_no_basic_time(text):
    assert parse_basic(text) is None


def test_iso_times():
    assert parse_iso_ms("1970-01-01T00:00:01.5Z") == 1500
    assert parse_iso_ms("1970-01-01T01:00:01+01:00") == 1000
    assert parse_iso_ms("1970-01-01T00:00:01") == 1000
    assert parse_iso_ms("1970-01-01") is None
    assert parse_iso_ms("1970-13-01T00:00:01Z") is None


@given(text=st.text(max_size=40))
def test_any_text_is_a_time_or_none(text):
    for parse in (parse_basic, parse_http_date, parse_iso_ms):
        assert parse(text) is None or isinstance(parse(text), int)
