"""RenameObject on the wire."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import S3Error
from gateway.s3.rename_requests import parse_rename

SOURCE = "x-amz-rename-source"


@pytest.mark.parametrize(
    ("raw", "key"),
    [("k", "k"), ("/k", "k"), ("/b/k", "k"), ("b/k", "b/k"), ("/other/k", "other/k"), ("a%20%C3%BC%2F+", "a ü/+")],
)
def test_sources(raw, key):
    assert parse_rename({SOURCE: raw}, "b").source == key


def test_conditions_and_token():
    asked = parse_rename(
        {
            SOURCE: "k",
            "x-amz-rename-source-if-match": '"s"',
            "if-none-match": "*",
            "x-amz-client-token": "!" * 64,
        },
        "b",
    )
    assert (asked.source_conditions.if_match, asked.target_conditions.if_none_match) == ('"s"', "*")
    assert asked.token == "!" * 64


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({}, "InvalidArgument"),
        ({SOURCE: ""}, "InvalidArgument"),
        ({SOURCE: "/"}, "InvalidArgument"),
        ({SOURCE: "/b/"}, "InvalidArgument"),
        ({SOURCE: "%ff"}, "InvalidArgument"),
        ({SOURCE: "k" * 1025}, "KeyTooLongError"),
        ({SOURCE: "k", "if-none-match": '"e"'}, "NotImplemented"),
        ({SOURCE: "k", "x-amz-client-token": ""}, "InvalidRequest"),
        ({SOURCE: "k", "x-amz-client-token": "a b"}, "InvalidRequest"),
        ({SOURCE: "k", "x-amz-client-token": "x" * 65}, "InvalidRequest"),
    ],
)
def test_what_is_refused(headers, code):
    with pytest.raises(S3Error) as caught:
        parse_rename(headers, "b")
    assert caught.value.code == code


@given(st.text(max_size=40))
def test_any_source_is_parsed_or_a_typed_error(text):
    try:
        source = parse_rename({SOURCE: text}, "b").source
    except S3Error:
        return
    assert source
