"""The site's clock against the cloud's: measured from answers, forgotten in time, and acted on only if told to."""

from __future__ import annotations

from email.utils import formatdate

import pytest

from replication.trusted_time import KNOWN_FOR_S, SkewMeter, is_too_far

NOW = 1_700_000_000_000


def date_of(ms):
    return formatdate(ms / 1000, usegmt=True)


def test_the_median_of_the_last_answers_is_the_measure():
    meter = SkewMeter(lambda: 0.0)
    assert meter.skew_ms is None
    for skew_ms in (0, 0, 0, 3_600_000, 0):
        meter.observe(date_of(NOW - skew_ms), NOW, NOW + 20)
    assert abs(meter.skew_ms) <= 1_000
    for _ in range(9):
        meter.observe(date_of(NOW - 3_600_000), NOW, NOW + 20)
    assert abs(meter.skew_ms - 3_600_000) <= 1_000
    for _ in range(5):
        meter.observe(date_of(NOW), NOW, NOW + 20)  # somebody set it right
    assert abs(meter.skew_ms) <= 1_000


@pytest.mark.parametrize(
    ("date", "sent_ms", "received_ms"),
    [("", NOW, NOW), ("yesterday", NOW, NOW), (date_of(NOW), NOW, NOW + 60_000), (date_of(NOW), NOW, NOW - 1)],
)
def test_what_says_nothing_is_left_out(date, sent_ms, received_ms):
    meter = SkewMeter()
    meter.observe(date, sent_ms, received_ms)
    assert meter.skew_ms is None


def test_an_island_is_not_held_to_what_the_cloud_said_before():
    now_s = [0.0]
    meter = SkewMeter(lambda: now_s[0])
    meter.observe(date_of(NOW - 3_600_000), NOW, NOW)
    assert is_too_far(meter.skew_ms, 60)
    now_s[0] = KNOWN_FOR_S + 1
    assert meter.skew_ms is None
    assert not is_too_far(meter.skew_ms, 60)


def test_nothing_is_too_far_without_a_limit():
    assert not is_too_far(10**9, 0)
    assert not is_too_far(59_000, 60)
    assert is_too_far(-61_000, 60)
