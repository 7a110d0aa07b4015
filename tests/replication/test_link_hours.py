"""Hours of the week: days, midnight, summer time; what is no entry says why."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from replication.link_hours import HoursInvalid, Limit, LinkHours, LinkLimits, read_limit

PLAIN = LinkLimits(Limit(1000), Limit(2000))
PAUSED = Limit(paused=True)


def at(text, zone="UTC"):
    """A unix time in ms of a local time."""
    return int(datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone)).timestamp() * 1000)


@pytest.mark.parametrize(
    ("entry", "moment", "up"),
    [
        ("mon-fri 08:00-18:00 up=64k", "2026-11-30T08:00", Limit(65536)),  # a Monday
        ("mon-fri 08:00-18:00 up=64k", "2026-11-30T07:59", PLAIN.up),
        ("mon-fri 08:00-18:00 up=64k", "2026-11-30T18:00", PLAIN.up),
        ("mon-fri 08:00-18:00 up=64k", "2026-11-29T12:00", PLAIN.up),
        ("sat,sun 00:00-24:00 up=pause", "2026-11-29T23:59", PAUSED),
        ("fri 22:00-06:00 up=full", "2026-11-28T05:59", Limit()),  # a Saturday: the night that began on Friday
        ("fri 22:00-06:00 up=full", "2026-11-27T05:59", PLAIN.up),
        ("sun 22:00-06:00 up=full", "2026-11-30T01:00", Limit()),
        ("sat-mon 10:00-11:00 up=1.5M", "2026-11-29T10:30", Limit(1572864)),
        ("daily 10:00-11:00 down=1k", "2026-11-29T10:30", PLAIN.up),
    ],
)
def test_what_holds_when(entry, moment, up):
    assert LinkHours([entry]).at(at(moment), PLAIN).up == up


def test_the_first_entry_that_holds_counts_and_leaves_the_other_way_alone():
    hours = LinkHours(["daily 12:00-13:00 down=pause", "daily 00:00-24:00 up=1k down=1k"])
    assert hours.at(at("2026-11-29T12:30"), PLAIN) == LinkLimits(PLAIN.up, PAUSED)
    assert hours.at(at("2026-11-29T13:00"), PLAIN) == LinkLimits(Limit(1024), Limit(1024))


def test_local_time_keeps_summer_time():
    hours = LinkHours(["daily 08:00-09:00 up=pause"], "Europe/Oslo")
    for day in ("2026-07-01", "2026-12-01"):
        assert hours.at(at(f"{day}T08:30", "Europe/Oslo"), PLAIN).up == PAUSED
        assert hours.at(at(f"{day}T09:00", "Europe/Oslo"), PLAIN).up == PLAIN.up


@pytest.mark.parametrize(
    "entry",
    [
        *(
            "",
            "daily",
            "daily 08:00-18:00",
            "daily 8:00-18:00 up=1k",
            "daily 08:00-18:00 up=fast",
            "moon 08:00-09:00 up=1k",
        ),
        *("daily 08:00-08:00 up=1k", "daily 25:00-26:00 up=1k", "daily 08:60-09:00 up=1k", "daily 24:00-01:00 up=1k"),
        *(
            "daily 08:00-09:00 up=1k up=2k",
            "daily 08:00-09:00 left=1k",
            "daily 08:00-09:00 up=0",
            "mon- 08:00-09:00 up=1k",
        ),
    ],
)
def test_what_is_no_entry_is_refused_with_what_it_is(entry):
    with pytest.raises(HoursInvalid, match=r"."):
        LinkHours([entry])


def test_a_time_zone_must_be_one():
    for name in ("Mars/Olympus", "../etc/passwd", ""):
        with pytest.raises(HoursInvalid, match="time zone"):
            LinkHours([], name)


@given(st.text(max_size=40))
def test_any_text_is_an_entry_or_refused(text):
    try:
        LinkHours([text]).at(0, PLAIN)
        read_limit(text)
    except HoursInvalid:
        pass
