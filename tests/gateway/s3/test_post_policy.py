"""Policies of forms: read strictly, every field covered, every condition held."""

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import AccessDenied, EntityTooLarge, EntityTooSmall, S3Error, SignatureDoesNotMatch
from gateway.s3.form_fields import parse_form_claim, verify_form
from gateway.s3.post_policy import check_policy, parse_policy

SOON = "2099-01-01T00:00:00.000Z"
NOW_MS = 1_700_000_000_000
FAILED = "Policy Condition failed: "


def encode(document):
    text = document if isinstance(document, str) else json.dumps(document)
    return base64.b64encode(text.encode()).decode()


def policy(*conditions, expiration=SOON):
    return parse_policy(encode({"expiration": expiration, "conditions": list(conditions)}))


def denial(made, fields, bucket="b", now_ms=NOW_MS):
    """Why the policy denies these fields, empty if it does not."""
    try:
        check_policy(made, fields, bucket, now_ms)
    except AccessDenied as error:
        return error.text.removeprefix("Invalid according to Policy: ")
    return ""


@pytest.mark.parametrize(
    ("conditions", "fields", "expected"),
    [
        ([{"bucket": "b"}, {"key": "k"}], {"key": "k"}, ""),
        ([{"bucket": "b"}, ["eq", "$key", "k"]], {"key": "K"}, FAILED + '["eq", "$key", "k"]'),
        ([{"bucket": "b"}, {"key": "k"}], {}, FAILED + '["eq", "$key", "k"]'),
        ([{"bucket": "c"}, {"key": "k"}], {"key": "k"}, FAILED + '["eq", "$bucket", "c"]'),
        ([{"key": "k"}], {"key": "k"}, "Extra input fields: bucket"),
        ([{"bucket": "b"}], {"key": "k", "submit": ""}, "Extra input fields: key, submit"),
        ([{"bucket": "b"}], {"policy": "p", "x-amz-signature": "s", "x-ignore-me": "x", "awsaccesskeyid": "a"}, ""),
        ([{"bucket": "b"}], {"x-amz-date": "d"}, "Extra input fields: x-amz-date"),
        ([{"bUcKeT": "b"}, ["StArTs-WiTh", "$KeY", "u/"]], {"key": "u/x"}, ""),
        (
            [["starts-with", "$bucket", ""], ["starts-with", "$key", "u/"]],
            {"key": "v/x"},
            FAILED + '["starts-with", "$key", "u/"]',
        ),
        ([["starts-with", "$bucket", ""], ["starts-with", "$name", ""]], {}, FAILED + '["starts-with", "$name", ""]'),
        ([{"bucket": "b"}, ["starts-with", "$Content-Type", "image/"]], {"content-type": "image/a, image/b"}, ""),
        (
            [{"bucket": "b"}, ["starts-with", "$Content-Type", "image/"]],
            {"content-type": "image/a,text/b"},
            FAILED + '["starts-with", "$Content-Type", "image/"]',
        ),
        ([{"bucket": "b"}, ["starts-with", "$key", "a"]], {"key": "a,b"}, ""),
        (
            [{"bucket": "b"}, {"key": "k"}, ["starts-with", "$key", "x"]],
            {"key": "k"},
            FAILED + '["starts-with", "$key", "x"]',
        ),
    ],
)
def test_conditions(conditions, fields, expected):
    assert denial(policy(*conditions), fields) == expected


def test_expiration():
    made = policy({"bucket": "b"}, expiration="2023-11-14T22:13:20Z")
    assert denial(made, {}) == ""
    assert denial(made, {}, now_ms=NOW_MS + 1) == "Policy expired."


def test_escapes():
    text = '{"expiration": "2099-01-01T00:00Z", "conditions": [{"bucket": "b"}, {"key": "\\$a\\u0062\\v\\n\\\\$"}]}'
    made = parse_policy(encode(text))
    assert made.conditions[1].value == "$ab\x0b\n\\$"


def test_sizes():
    made = policy(["content-length-range", 2, "10"], ["Content-Length-Range", 1, 8], {"bucket": "b"})
    for size in (2, 8):
        made.check_size(size)
    with pytest.raises(EntityTooSmall):
        made.check_size(1)
    with pytest.raises(EntityTooLarge):
        made.check_size(9)
    assert denial(made, {}) == ""


@pytest.mark.parametrize(
    "document",
    [
        "",
        "x",
        "[]",
        '"a"',
        {},
        {"expiration": SOON},
        {"conditions": []},
        {"EXPIRATION": SOON, "conditions": []},
        {"expiration": SOON, "CONDITIONS": []},
        {"expiration": SOON, "conditions": {}},
        {"expiration": SOON, "conditions": [], "more": 1},
        {"expiration": "tomorrow", "conditions": []},
        {"expiration": 1, "conditions": []},
        {"expiration": "2099-13-01T00:00:00Z", "conditions": []},
        {"expiration": SOON, "conditions": [{}]},
        {"expiration": SOON, "conditions": [{"a": "b", "c": "d"}]},
        {"expiration": SOON, "conditions": [{"a": 1}]},
        {"expiration": SOON, "conditions": [{"a": None}]},
        {"expiration": SOON, "conditions": ["a"]},
        {"expiration": SOON, "conditions": [[]]},
        {"expiration": SOON, "conditions": [["eq", "$a"]]},
        {"expiration": SOON, "conditions": [["eq", "a", "b"]]},
        {"expiration": SOON, "conditions": [["eq", "$", "b"]]},
        {"expiration": SOON, "conditions": [["ne", "$a", "b"]]},
        {"expiration": SOON, "conditions": [["content-length-range", 1]]},
        {"expiration": SOON, "conditions": [["content-length-range", -1, 2]]},
        {"expiration": SOON, "conditions": [["content-length-range", "a", 2]]},
        {"expiration": SOON, "conditions": [["content-length-range", True, 2]]},
        {"expiration": SOON, "conditions": [["content-length-range", 0, 1.5]]},
        {"expiration": SOON, "conditions": [["content-length-range", 0, 10**20]]},
        '{"expiration": "2099-01-01T00:00:00Z", "conditions": [], "conditions": []}',
        '{"expiration": "2099-01-01T00:00:00Z", "conditions": [{"a": "b", "a": "c"}]}',
        '{"expiration": "2099-01-01T00:00:00Z", "conditions": [["content-length-range", 0, ' + "9" * 5000 + "]]}",
        "[" * 15_000,
    ],
)
def test_what_is_no_policy(document):
    with pytest.raises(S3Error) as caught:
        parse_policy(encode(document))
    assert (caught.value.code, caught.value.status) == ("InvalidPolicyDocument", 400)


def test_base64_is_strict_but_for_line_ends():
    encoded = encode({"expiration": SOON, "conditions": []})
    assert parse_policy("\r\n".join([encoded[:20], encoded[20:]])) == parse_policy(encoded)
    for wrong in (encoded + "!", encoded[:-1], base64.b64encode(b"\xff").decode()):
        with pytest.raises(S3Error):
            parse_policy(wrong)


WORDS = ['{"', '"', ":", "[", "]", "}", ",", "expiration", "conditions", SOON, "eq", "$key", "\\", "$", "1"]


@given(st.one_of(st.text(max_size=60), st.lists(st.sampled_from(WORDS), max_size=30).map("".join)), st.booleans())
def test_anything_is_a_policy_or_a_typed_error(text, wrapped):
    try:
        made = parse_policy(encode(text) if wrapped else text)
    except S3Error as error:
        made, status = None, error.status
    assert denial(made, {"key": "k"}) if made is not None else status == 400


# "Examples: Browser-based upload using HTTP POST (using AWS signature version 4)": policy lines end with CR LF.
DOCUMENTED = "\r\n".join(
    (
        '{ "expiration": "2015-12-30T12:00:00.000Z",',
        '  "conditions": [',
        '    {"bucket": "sigv4examplebucket"},',
        '    ["starts-with", "$key", "user/user1/"],',
        '    {"acl": "public-read"},',
        '    {"success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html"},',
        '    ["starts-with", "$Content-Type", "image/"],',
        '    {"x-amz-meta-uuid": "14365123651274"},',
        '    {"x-amz-server-side-encryption": "AES256"},',
        '    ["starts-with", "$x-amz-meta-tag", ""],',
        "",
        '    {"x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request"},',
        '    {"x-amz-algorithm": "AWS4-HMAC-SHA256"},',
        '    {"x-amz-date": "20151229T000000Z" }',
        "  ]",
        "}",
    )
)


def test_aws_example_of_a_form():
    fields = {
        "key": "user/user1/photo.png",
        "acl": "public-read",
        "success_action_redirect": "http://sigv4examplebucket.s3.amazonaws.com/successful_upload.html",
        "content-type": "image/jpeg",
        "x-amz-meta-uuid": "14365123651274",
        "x-amz-server-side-encryption": "AES256",
        "x-amz-credential": "AKIAIOSFODNN7EXAMPLE/20151229/us-east-1/s3/aws4_request",
        "x-amz-algorithm": "AWS4-HMAC-SHA256",
        "x-amz-date": "20151229T000000Z",
        "x-amz-meta-tag": "",
        "policy": encode(DOCUMENTED),
        "x-amz-signature": "8afdbf4008c03f22c2cd3cdb72e4afbb1f6a588f3255ac628749a66d7f09699e",
    }
    claim = parse_form_claim(fields)
    verify_form(claim, "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
    with pytest.raises(SignatureDoesNotMatch):
        verify_form(claim, "another")
    made = parse_policy(fields["policy"])
    before_ms = 1_451_347_200_000  # 2015-12-29
    assert denial(made, fields, "sigv4examplebucket", before_ms) == ""
    assert denial(made, {**fields, "key": "user/user2/x"}, "sigv4examplebucket", before_ms) != ""
    assert denial(made, fields, "sigv4examplebucket", before_ms + 2 * 86_400_000) != ""
