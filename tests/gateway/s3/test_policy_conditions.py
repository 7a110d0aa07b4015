"""Condition operators, wildcards and variables, one line a rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.policy_conditions import holds, parse_conditions
from gateway.s3.policy_patterns import expand_text, match_pattern

VALUES = {"aws:username": "ann", "aws:userid": "a*d", "s3:prefix": "p/"}


def ask(operator, wanted, actual):
    (condition,) = parse_conditions({operator: {"k": wanted}})
    values = None if actual is None else tuple(actual) if isinstance(actual, list) else (actual,)
    return holds(condition, values, VALUES.get)


@pytest.mark.parametrize(
    ("operator", "wanted", "actual", "expected"),
    [
        ("StringEquals", "a", "a", True),
        ("StringEquals", "a", "A", False),
        ("StringEquals", ["a", "b"], "b", True),
        ("StringEquals", "a*", "ab", False),
        ("StringEquals", "a", None, False),
        ("stringequals", "a", "a", True),
        ("StringEquals", "${aws:username}", "ann", True),
        ("StringEquals", "${aws:nothing}", "", False),
        ("StringEquals", "${aws:nothing, 'x'}", "x", True),
        ("StringNotEquals", "a", "b", True),
        ("StringNotEquals", ["a", "b"], "b", False),
        ("StringNotEquals", "a", None, True),
        ("StringEqualsIgnoreCase", "AbC", "aBc", True),
        ("StringNotEqualsIgnoreCase", "AbC", "aBc", False),
        ("StringLike", "h?me/*", "home/x/y", True),
        ("StringLike", "h?me/*", "hme/x", False),
        ("StringLike", "*", "", True),
        ("StringLike", "${aws:userid}/*", "a*d/x", True),
        ("StringLike", "${aws:userid}/*", "abcd/x", False),
        ("StringLike", "${*}/x", "*/x", True),
        ("StringLike", "${*}/x", "a/x", False),
        ("StringNotLike", ["a*", "b*"], "c", True),
        ("StringNotLike", ["a*", "b*"], "bc", False),
        ("StringLikeIfExists", "a*", None, True),
        ("StringLikeIfExists", "a*", "b", False),
        ("NumericEquals", "10", "10.0", True),
        ("NumericNotEquals", 10, "10", False),
        ("NumericLessThan", "10", "9", True),
        ("NumericLessThan", "10", "10", False),
        ("NumericLessThanEquals", "10", "10", True),
        ("NumericGreaterThan", "10", "100", True),
        ("NumericGreaterThanEquals", "10", "9", False),
        ("NumericEquals", "10", "ten", False),
        ("NumericEquals", "10", None, False),
        ("NumericLessThanIfExists", "10", None, True),
        ("DateLessThan", "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", True),
        ("DateLessThanEquals", "2026-01-02", "2026-01-02T00:00:00Z", True),
        ("DateGreaterThan", "2026-01-02T00:00:00Z", "2026-01-01T00:00:00Z", False),
        ("DateGreaterThanEquals", "1767225600", "2026-01-01T00:00:00Z", True),
        ("DateEquals", "2026-01-01T00:00:00Z", "1767225600", True),
        ("DateNotEquals", "2026-01-01T00:00:00Z", "1767225601", True),
        ("Bool", "true", "true", True),
        ("Bool", True, "false", False),
        ("Bool", "false", None, False),
        ("BinaryEquals", "QmluYXJ5", "QmluYXJ5", True),
        ("BinaryEquals", "QmluYXJ5", "QmluYXJ4", False),
        ("IpAddress", "203.0.113.0/24", "203.0.113.7", True),
        ("IpAddress", "203.0.113.0/24", "203.0.114.7", False),
        ("IpAddress", "203.0.113.7", "203.0.113.7", True),
        ("IpAddress", "203.0.113.0/24", "::ffff:203.0.113.7", True),
        ("IpAddress", ["10.0.0.0/8", "2001:db8::/32"], "2001:db8::1", True),
        ("IpAddress", "0.0.0.0/0", "::1", False),
        ("NotIpAddress", "203.0.113.0/24", "203.0.113.7", False),
        ("NotIpAddress", "203.0.113.0/24", "8.8.8.8", True),
        ("ArnEquals", "arn:aws:iam::1*:role/x", "arn:aws:iam::12:role/x", True),
        ("ArnLike", "arn:aws:*:role/x", "arn:aws:iam::12:role/x", False),
        ("ArnLike", "arn:aws:iam::*:role/*", "arn:aws:iam::12:role/a/b", True),
        ("ArnNotLike", "arn:aws:iam::*:role/*", "arn:aws:iam::12:user/a", True),
        ("Null", "true", None, True),
        ("Null", "true", "", False),
        ("Null", "false", "x", True),
        ("Null", "false", None, False),
        ("ForAllValues:StringEquals", ["a", "b"], ["a"], True),
        ("ForAllValues:StringEquals", ["a", "b"], ["a", "c"], False),
        ("ForAllValues:StringEquals", ["a"], None, True),
        ("ForAnyValue:StringEquals", ["a", "b"], ["c", "b"], True),
        ("ForAnyValue:StringEquals", ["a", "b"], ["c"], False),
        ("ForAnyValue:StringEquals", ["a"], None, False),
        ("ForAllValues:StringNotEquals", ["a"], ["b", "c"], True),
        ("ForAllValues:StringNotEquals", ["a"], ["b", "a"], False),
        ("ForAnyValue:StringNotEquals", ["a"], ["a", "b"], True),
        ("ForAnyValue:StringNotLike", ["a*"], None, False),
        ("ForAnyValue:StringLikeIfExists", ["a*"], None, True),
    ],
)
def test_operators(operator, wanted, actual, expected):
    assert ask(operator, wanted, actual) is expected


def test_without_variables_they_are_plain_text():
    assert match_pattern("${aws:username}", "${aws:username}")
    assert not match_pattern("${aws:username}", "ann")
    assert expand_text("${aws:username}", None) == "${aws:username}"


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("", "", True),
        ("", "a", False),
        ("a", "a", True),
        ("a*", "a", True),
        ("*a", "ba", True),
        ("*a", "ab", False),
        ("a*a", "a", False),
        ("*a*a", "aa", True),
        ("*a*aa", "aa", False),
        ("a*b*c", "a-b-b-c-c", True),
        ("a?c*", "abc", True),
        ("?", "", False),
        ("**", "x", True),
        ("a.c*", "abc", False),
        ("[a]*", "a", False),
        ("[a]*\\", "[a]b\\", True),
        ("*", "line\nline", True),
    ],
)
def test_wildcards(pattern, text, expected):
    assert match_pattern(pattern, text) is expected


def slow_match(pattern, text):
    """Wildcards by definition."""
    if not pattern:
        return not text
    if pattern[0] == "*":
        return any(slow_match(pattern[1:], text[at:]) for at in range(len(text) + 1))
    return bool(text) and pattern[0] in ("?", text[0]) and slow_match(pattern[1:], text[1:])


@given(st.text("ab*?.", max_size=8), st.text("ab.", max_size=8))
def test_wildcards_are_what_they_are_defined_to_be(pattern, text):
    assert match_pattern(pattern, text) == slow_match(pattern, text)


def test_many_stars_take_no_time():
    assert not match_pattern("*a" * 200 + "b", "a" * 20_000)
