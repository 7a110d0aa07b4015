"""Lifecycle's rules as a table: rules × facts × now → what is due; and the stored form of a configuration."""

import pytest

from gateway.s3.errors import InvalidRequest
from gateway.s3.lifecycle_document import (
    decode_lifecycle,
    encode_lifecycle,
    parse_lifecycle,
    parse_small,
    render_lifecycle,
)
from gateway.s3.lifecycle_rules import (
    ALL_128K,
    BY_CLASS,
    DAY_MS,
    Calendar,
    Facts,
    Filter,
    Kind,
    Lifecycle,
    Rule,
    Transition,
    decide,
    find_abort,
    find_expiry,
    matches,
)
from gateway.s3.times import parse_iso_ms

CREATED = parse_iso_ms("2014-01-15T10:30:00Z")
MIDNIGHT = parse_iso_ms("2014-01-19T00:00:00Z")
BIG = 1 << 20


def one(**parts):
    return Lifecycle((Rule("r", True, **parts),))


def facts(**parts):
    return Facts(**{"key": "k", "size": BIG, "modified_ms": CREATED, **parts})


def due(lifecycle, facts, now_ms, **more):
    """(kind, class) of what is due; None."""
    action = decide(lifecycle, facts, now_ms, **more)
    return None if action is None else (action.kind, action.storage_class)


def test_days_end_at_the_midnight_after():
    """The example of the User Guide: created on 15 January at 10:30, three days: 19 January at midnight."""
    rules = one(expire_days=3)
    assert due(rules, facts(), MIDNIGHT - 1) is None
    assert due(rules, facts(), MIDNIGHT) == (Kind.EXPIRE, "")
    assert find_expiry(rules, facts()).due_ms == MIDNIGHT
    assert Calendar().due_ms(MIDNIGHT, 1) == MIDNIGHT + 2 * DAY_MS
    assert Calendar().due_ms(MIDNIGHT - 1, 1) == MIDNIGHT + DAY_MS
    assert Calendar(10_000).due_ms(CREATED, 3) == CREATED + 30_000


LATER = CREATED + 100 * DAY_MS
OLD = {"is_latest": False, "since_ms": CREATED + 50 * DAY_MS, "is_only": False, "versioned": True}
MARKER = {"is_marker": True, "size": 0, "versioned": True}


@pytest.mark.parametrize(
    ("rule", "version", "expected"),
    [
        ({"expire_days": 99}, {}, Kind.EXPIRE),
        ({"expire_days": 100}, {}, None),
        ({"expire_date_ms": LATER}, {}, Kind.EXPIRE),
        ({"expire_date_ms": LATER + 1}, {}, None),
        ({"expire_days": 1}, OLD, None),
        ({"expire_days": 1}, {"versioned": True}, Kind.EXPIRE),
        ({"noncurrent_days": 49}, OLD, Kind.REMOVE),
        ({"noncurrent_days": 50}, OLD, None),
        ({"noncurrent_days": 1}, {}, None),
        ({"noncurrent_days": 1, "noncurrent_newer": 2}, {**OLD, "newer": 1}, None),
        ({"noncurrent_days": 1, "noncurrent_newer": 2}, {**OLD, "newer": 2}, Kind.REMOVE),
        ({"noncurrent_days": 1}, {**OLD, "is_marker": True}, Kind.REMOVE),
        ({"expire_markers": True}, MARKER, Kind.REMOVE_MARKER),
        ({"expire_markers": False}, MARKER, None),
        ({"expire_markers": True}, {**MARKER, "is_only": False}, None),
        ({"expire_markers": True}, {"versioned": True}, None),
        ({"expire_days": 99}, MARKER, Kind.REMOVE_MARKER),
        ({"expire_days": 100}, MARKER, None),
        ({"expire_days": 1}, {**MARKER, "is_only": False}, None),
        ({"expire_date_ms": LATER}, MARKER, Kind.REMOVE_MARKER),
        ({"abort_days": 1}, {}, None),
    ],
)
def test_ends(rule, version, expected):
    found = due(one(**rule), facts(**version), LATER)
    assert (found and found[0]) == expected
    assert due(Lifecycle((Rule("off", False, **rule),)), facts(**version), LATER) is None


IA, ONE, TIERING, IR = "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"


def moves(*classes, days=1, newer=0):
    return tuple(Transition(name, days, newer=newer) for name in classes)


@pytest.mark.parametrize(
    ("rule", "version", "expected"),
    [
        ({"transitions": moves(IA, days=99)}, {}, IA),
        ({"transitions": moves(IA, days=100)}, {}, None),
        ({"transitions": (Transition(IA, date_ms=LATER),)}, {}, IA),
        ({"transitions": (Transition(IA, date_ms=LATER + 1),)}, {}, None),
        ({"transitions": moves(IA, "GLACIER")}, {}, "GLACIER"),
        ({"transitions": moves(IA, TIERING)}, {}, TIERING),
        ({"transitions": moves(ONE, TIERING)}, {}, TIERING),
        ({"transitions": moves(IA)}, {"storage_class": IA}, None),
        ({"transitions": moves(IA)}, {"storage_class": "GLACIER"}, None),
        ({"transitions": moves(IR)}, {"storage_class": ONE}, IR),
        ({"transitions": moves("DEEP_ARCHIVE")}, {"storage_class": "GLACIER"}, "DEEP_ARCHIVE"),
        ({"transitions": moves(IA)}, {"size": 131071}, None),
        ({"transitions": moves(IA)}, {"size": 131072}, IA),
        ({"transitions": moves(IA), "filter": Filter("ObjectSizeGreaterThan", size_above=5)}, {"size": 6}, IA),
        ({"transitions": moves(IA)}, OLD, None),
        ({"noncurrent_transitions": moves(IA, days=49)}, OLD, IA),
        ({"noncurrent_transitions": moves(IA, days=50)}, OLD, None),
        ({"noncurrent_transitions": moves(IA, newer=3)}, {**OLD, "newer": 2}, None),
        ({"noncurrent_transitions": moves(IA, newer=3)}, {**OLD, "newer": 3}, IA),
        ({"noncurrent_transitions": moves(IA)}, {}, None),
        ({"transitions": moves(IA)}, MARKER, None),
    ],
)
def test_moves(rule, version, expected):
    found = due(one(**rule), facts(**version), LATER)
    assert found == (None if expected is None else (Kind.TRANSITION, expected))


def test_small_objects_may_be_archived_where_it_is_said():
    rules = (Rule("r", True, transitions=moves("GLACIER", IA)),)
    small = facts(size=1)
    assert due(Lifecycle(rules), small, LATER) is None
    assert due(Lifecycle(rules, BY_CLASS), small, LATER) == (Kind.TRANSITION, "GLACIER")
    assert decide(Lifecycle(rules), small, LATER, Calendar(1000)).kind is Kind.TRANSITION  # days for tests


def test_conflicting_rules():
    both = {"expire_days": 60, "transitions": moves(IR, days=30)}
    assert due(one(**both), facts(), LATER) == (Kind.EXPIRE, "")  # for good comes first
    versioned = facts(versioned=True)
    assert due(one(**both), versioned, LATER) == (Kind.TRANSITION, IR)  # before a marker
    assert due(one(**both), versioned._replace(storage_class=IR), LATER) == (Kind.EXPIRE, "")
    two = Lifecycle((Rule("late", True, expire_days=60), Rule("early", True, expire_days=30)))
    assert decide(two, facts(), LATER).rule == find_expiry(two, facts()).rule == "early"
    assert find_expiry(two, facts(is_marker=True)) is None
    assert find_expiry(two, facts(is_latest=False)) is None


@pytest.mark.parametrize(
    ("parts", "version", "expected"),
    [
        ({"prefix": "k"}, {}, True),
        ({"prefix": "l"}, {}, False),
        ({"size_above": BIG}, {}, False),
        ({"size_above": BIG - 1}, {}, True),
        ({"size_below": BIG}, {}, False),
        ({"size_below": BIG + 1}, {}, True),
        ({"tags": (("a", "1"), ("b", "2"))}, {"tags": {"a": "1", "b": "2", "c": "3"}}, True),
        ({"tags": (("a", "1"), ("b", "2"))}, {"tags": {"a": "1", "b": "3"}}, False),
        ({"prefix": "k"}, MARKER, True),
        ({"tags": (("a", "1"),)}, {**MARKER, "tags": {"a": "1"}}, False),
        ({"size_below": 5}, MARKER, False),
    ],
)
def test_filters(parts, version, expected):
    assert matches(Filter("And", **parts), facts(**version)) is expected


def test_aborts():
    rules = Lifecycle(
        (
            Rule("a", True, Filter("Prefix", "k"), abort_days=3),
            Rule("b", True, Filter("Prefix", "other"), abort_days=1),
            Rule("c", False, abort_days=1),
            Rule("d", True, expire_days=1),
        )
    )
    assert find_abort(rules, "k", CREATED) == (MIDNIGHT, "a")
    assert find_abort(rules, "x", CREATED) is None


FULL = b"""<LifecycleConfiguration xmlns="http://s3.amazonaws.com/doc/2006-03-01/">
<Rule><ID>a &amp; b</ID><Filter><And><Prefix>p</Prefix><Tag><Key>k</Key><Value>v</Value></Tag></And></Filter>
<Status>Enabled</Status><Transition><Date>2030-01-01T00:00:00Z</Date><StorageClass>GLACIER_IR</StorageClass></Transition>
<NoncurrentVersionExpiration><NoncurrentDays>3</NoncurrentDays></NoncurrentVersionExpiration></Rule>
<Rule><Prefix></Prefix><Status>Disabled</Status><Expiration><Days>1</Days></Expiration></Rule>
</LifecycleConfiguration>"""


def test_documents_are_kept_as_they_were():
    parsed = parse_lifecycle(FULL, BY_CLASS)
    assert parsed.rules[0].id == "a & b"
    assert parse_lifecycle(render_lifecycle(parsed), BY_CLASS) == parsed  # the id that was given stays
    assert decode_lifecycle(encode_lifecycle(parsed)) == parsed
    assert parse_lifecycle(FULL, BY_CLASS) == parsed  # the same on every site
    with pytest.raises(ValueError, match="Expected"):
        decode_lifecycle(b"[]")


def test_which_small_objects():
    assert parse_small(None) == ALL_128K
    assert parse_small(BY_CLASS) == BY_CLASS
    with pytest.raises(InvalidRequest):
        parse_small("none")


def test_short_days_need_no_month_before_infrequent_access():
    document = FULL.replace(b"<Date>2030-01-01T00:00:00Z</Date>", b"<Days>1</Days>").replace(
        b"GLACIER_IR", b"STANDARD_IA"
    )
    assert parse_lifecycle(document, short_days=True).rules[0].transitions == (Transition("STANDARD_IA", 1),)
