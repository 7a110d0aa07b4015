"""Preconditions: RFC 9110's precedence, AWS's errors."""

from __future__ import annotations

import pytest

from gateway.s3.conditions import (
    NO_CONDITIONS,
    NO_DELETE_CONDITIONS,
    DeleteConditions,
    evaluate_copy_source,
    evaluate_delete,
    evaluate_delete_of_nothing,
    evaluate_read,
    evaluate_rename_target,
    evaluate_write,
    matches_etag,
    parse_conditions,
    parse_delete_conditions,
    refuse_unsupported_write,
)
from gateway.s3.errors import InvalidArgument, NoSuchKey, NotModified, PreconditionFailed, S3NotImplemented
from gateway.s3.times import format_http_date

ETAG = "d41d8cd98f00b204e9800998ecf8427e"
MODIFIED_S = 1_700_000_000
OLDER, SAME, NEWER = (format_http_date(MODIFIED_S + shift) for shift in (-1, 0, 1))
YES, NO = f'"{ETAG}"', '"other"'


@pytest.mark.parametrize(
    ("headers", "outcome"),
    [
        ({}, None),
        ({"if-match": YES}, None),
        ({"if-match": ETAG}, None),
        ({"if-match": "*"}, None),
        ({"if-match": f'"a", {YES}'}, None),
        ({"if-match": NO}, PreconditionFailed),
        ({"if-none-match": NO}, None),
        ({"if-none-match": YES}, NotModified),
        ({"if-none-match": f"W/{YES}"}, NotModified),
        ({"if-none-match": "*"}, NotModified),
        ({"if-modified-since": OLDER}, None),
        ({"if-modified-since": SAME}, NotModified),
        ({"if-modified-since": NEWER}, NotModified),
        ({"if-modified-since": "no date"}, None),
        ({"if-unmodified-since": OLDER}, PreconditionFailed),
        ({"if-unmodified-since": SAME}, None),
        ({"if-unmodified-since": NEWER}, None),
        ({"if-unmodified-since": "no date"}, None),
        # The pairs AWS documents for GetObject.
        ({"if-match": YES, "if-unmodified-since": OLDER}, None),
        ({"if-none-match": YES, "if-modified-since": OLDER}, NotModified),
        ({"if-none-match": NO, "if-modified-since": NEWER}, None),
        ({"if-match": NO, "if-none-match": YES}, PreconditionFailed),
        ({"if-match": YES, "if-none-match": YES}, NotModified),
    ],
)
def test_reads(headers, outcome):
    conditions = parse_conditions(headers)
    if outcome is None:
        evaluate_read(conditions, ETAG, MODIFIED_S)
    else:
        with pytest.raises(outcome):
            evaluate_read(conditions, ETAG, MODIFIED_S)
    copied = parse_conditions(
        {"x-amz-copy-source-" + name: value for name, value in headers.items()}, "x-amz-copy-source-"
    )
    if outcome is None:
        evaluate_copy_source(copied, ETAG, MODIFIED_S)
    else:
        with pytest.raises(PreconditionFailed) as caught:
            evaluate_copy_source(copied, ETAG, MODIFIED_S)
        assert caught.value.extra["Condition"].startswith("x-amz-copy-source-If-")


@pytest.mark.parametrize(
    ("headers", "etag", "outcome"),
    [
        ({"if-none-match": "*"}, None, None),
        ({"if-none-match": "*"}, ETAG, PreconditionFailed),
        ({"if-none-match": NO}, ETAG, None),
        ({"if-none-match": YES}, ETAG, PreconditionFailed),
        ({"if-match": YES}, ETAG, None),
        ({"if-match": "*"}, ETAG, None),
        ({"if-match": NO}, ETAG, PreconditionFailed),
        ({"if-match": YES}, None, NoSuchKey),
        ({"if-match": "*"}, None, NoSuchKey),
        ({"if-unmodified-since": OLDER}, ETAG, PreconditionFailed),
        ({"if-unmodified-since": SAME}, ETAG, None),
        ({"if-unmodified-since": OLDER}, None, None),
        ({"if-unmodified-since": format_http_date(0)}, ETAG, PreconditionFailed),
    ],
)
def test_writes(headers, etag, outcome):
    conditions = parse_conditions(headers)
    if outcome is None:
        evaluate_write(conditions, etag, MODIFIED_S)
        return
    with pytest.raises(outcome):
        evaluate_write(conditions, etag, MODIFIED_S)


def test_nothing_asked():
    assert parse_conditions({"range": "x"}) is NO_CONDITIONS
    evaluate_write(NO_CONDITIONS, None)
    assert parse_delete_conditions({}) == NO_DELETE_CONDITIONS


@pytest.mark.parametrize("headers", [{"if-modified-since": SAME}, {"if-none-match": YES}, {"if-none-match": ""}])
def test_what_a_write_cannot_be_conditional_on_is_refused_not_ignored(headers):
    with pytest.raises(S3NotImplemented):
        refuse_unsupported_write(headers)


def test_what_a_write_can_be_conditional_on():
    refuse_unsupported_write({"if-none-match": "*", "if-unmodified-since": SAME})
    refuse_unsupported_write({"if-match": YES, "if-unmodified-since": SAME})


@pytest.mark.parametrize(
    ("headers", "etag", "holds"),
    [
        ({}, None, True),
        ({}, ETAG, True),
        ({"if-match": YES}, ETAG, True),
        ({"if-match": NO}, ETAG, False),
        ({"if-match": YES}, None, False),
        ({"if-none-match": "*"}, None, True),
        ({"if-none-match": "*"}, ETAG, False),
        ({"if-none-match": NO}, ETAG, True),
        ({"if-modified-since": OLDER}, ETAG, True),
        ({"if-modified-since": SAME}, ETAG, False),
        ({"if-modified-since": OLDER}, None, False),
        ({"if-unmodified-since": OLDER}, ETAG, False),
        ({"if-unmodified-since": SAME}, ETAG, True),
        ({"if-unmodified-since": OLDER}, None, True),
        ({"if-match": YES, "if-unmodified-since": OLDER}, ETAG, False),
    ],
)
def test_the_target_of_a_rename(headers, etag, holds):
    conditions = parse_conditions(headers)
    if holds:
        evaluate_rename_target(conditions, etag, MODIFIED_S)
    else:
        with pytest.raises(PreconditionFailed):
            evaluate_rename_target(conditions, etag, MODIFIED_S)


def test_deletes_of_nothing():
    evaluate_delete_of_nothing(DeleteConditions(None, MODIFIED_S, 7))
    with pytest.raises(PreconditionFailed):
        evaluate_delete_of_nothing(DeleteConditions("*"))
    with pytest.raises(NoSuchKey):
        evaluate_delete_of_nothing(DeleteConditions(YES, MODIFIED_S))


def test_deletes():
    iso = "2023-11-14T22:13:20Z"
    for time in (SAME, iso):
        headers = {"if-match": YES, "x-amz-if-match-last-modified-time": time, "x-amz-if-match-size": "7"}
        conditions = parse_delete_conditions(headers)
        assert conditions == DeleteConditions(YES, MODIFIED_S, 7)
        evaluate_delete(conditions, ETAG, MODIFIED_S, 7)
        for etag, modified_s, size in (("x", MODIFIED_S, 7), (ETAG, MODIFIED_S + 1, 7), (ETAG, MODIFIED_S, 8)):
            with pytest.raises(PreconditionFailed):
                evaluate_delete(conditions, etag, modified_s, size)
    for name, value in (("x-amz-if-match-last-modified-time", "x"), ("x-amz-if-match-size", "-1")):
        with pytest.raises(InvalidArgument):
            parse_delete_conditions({name: value})
    for name in ("if-none-match", "if-modified-since", "if-unmodified-since"):
        with pytest.raises(S3NotImplemented):
            parse_delete_conditions({name: "x"})


def test_etags_do_not_match_by_part():
    assert not matches_etag('"abc"', "ab")
    assert not matches_etag("", "ab")
    assert not matches_etag('"ab-2"', "ab")
