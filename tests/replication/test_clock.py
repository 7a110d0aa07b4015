"""The hybrid clock: always forward, above what is replaced, and not poisoned by one bad neighbour."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replication.clock import HLC_MAX, hlc_of, tick, wall_ms_of

clocks = st.integers(0, (1 << 63) - 1)
walls = st.integers(0, (1 << 47) - 1)


@given(clocks, walls, clocks)
def test_a_tick_is_above_everything_it_must_be_above(own, wall_ms, above):
    ticked = tick(own, wall_ms, above)
    assert ticked.hlc > above
    assert ticked.hlc > own
    assert ticked.own > own
    assert ticked.hlc >= hlc_of(wall_ms)


@given(clocks, walls, clocks)
def test_what_is_remembered_does_not_depend_on_what_was_replaced(own, wall_ms, above):
    assert tick(own, wall_ms, above).own == tick(own, wall_ms).own


def test_a_far_future_key_does_not_poison_the_next_write():
    poisoned = tick(hlc_of(1000), 1001, above=hlc_of(1 << 40))
    assert wall_ms_of(poisoned.hlc) == 1 << 40
    assert wall_ms_of(tick(poisoned.own, 1002).hlc) == 1002


def test_a_wall_clock_that_stands_still_or_falls_back_still_ticks():
    first = tick(0, 5000)
    second = tick(first.own, 5000)
    third = tick(second.own, 4000)
    assert first.hlc < second.hlc < third.hlc
    assert wall_ms_of(third.hlc) == 5000


def test_the_end_of_time_is_an_error():
    with pytest.raises(OverflowError):
        tick(0, 0, above=HLC_MAX)
