"""The door of IAM and STS by hand: what is a query call, what is verified of it, and that nothing is ever a 500."""

from __future__ import annotations

import time
from hashlib import sha256
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gateway.s3.sigv4 import ALGORITHM, canonicalise_request, derive_signing_key, sign_string, string_to_sign
from gateway.s3.times import format_basic
from tests.gateway.http.raw import Raw, build
from tests.gateway.http.server import ACCESS_KEY, SECRET

FORM = "application/x-www-form-urlencoded"
IDENTITY = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
LIST = {"Action": "ListUsers", "Version": "2010-05-08"}


def signed(
    raw: Raw, body: bytes, *, service="sts", now_s=None, secret=SECRET, path="/", payload="", **more: str
) -> dict[str, str]:
    """Headers as an SDK signs a query call: the body's hash is in the signature and in no header."""
    timestamp = format_basic(int(time.time()) if now_s is None else now_s)
    headers = {"host": raw.host, "content-type": FORM, "x-amz-date": timestamp, **more}
    names = ";".join(sorted(headers))
    scope = f"{timestamp[:8]}/us-east-1/{service}/aws4_request"
    canonical = canonicalise_request("POST", path, "", headers, names, payload or sha256(body).hexdigest())
    key = derive_signing_key(secret, timestamp[:8], "us-east-1", service)
    signature = sign_string(key, string_to_sign(timestamp, scope, canonical))
    headers["authorization"] = (
        f"{ALGORITHM} Credential={ACCESS_KEY}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return headers


def post(raw: Raw, body: bytes, headers: dict[str, str], path="/"):
    return raw.send(build("POST", path, headers, body), "POST")


def form(values: dict[str, str]) -> bytes:
    return urlencode(values).encode()


def test_a_signed_call_is_answered_with_its_id(raw):
    body = form(IDENTITY)
    answer = post(raw, body, signed(raw, body))
    assert answer.status == 200
    assert b"<GetCallerIdentityResponse" in answer.body
    assert answer.headers["x-amzn-requestid"].encode() in answer.body
    assert answer.headers["content-type"] == "text/xml"


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"secret": "wrong"}, 403, "SignatureDoesNotMatch"),
        ({"now_s": 0}, 403, "SignatureDoesNotMatch"),
        ({"service": "s3"}, 400, "IncompleteSignature"),
        ({"service": "iam"}, 400, "IncompleteSignature"),
        ({"x-amz-security-token": "x"}, 403, "InvalidClientTokenId"),
    ],
)
def test_what_is_signed_wrongly_is_refused(raw, change, status, code):
    body = form(IDENTITY)
    answer = post(raw, body, signed(raw, body, **change))
    assert (answer.status, answer.code) == (status, code)
    assert b"<ErrorResponse" in answer.body
    assert SECRET.encode() not in answer.body


def test_the_body_is_what_was_signed(raw):
    body = form(LIST)
    answer = post(raw, form({**LIST, "Action": "CreateUser", "UserName": "eve"}), signed(raw, body, service="iam"))
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
    headers = signed(raw, body, service="iam")
    headers["x-amz-meta-smuggled"] = "1"
    assert post(raw, body, headers).status == 403
    unsigned = "UNSIGNED-PAYLOAD"
    no_hash = signed(raw, body, service="iam", payload=unsigned, **{"x-amz-content-sha256": unsigned})
    assert post(raw, body, no_hash).code == "SignatureDoesNotMatch"


def test_an_s3_signature_opens_no_other_service_and_the_other_way_round(raw):
    body = form(IDENTITY)
    headers = raw.signed_headers("POST", "/", headers={"content-type": FORM}, payload=sha256(body).hexdigest())
    assert post(raw, body, headers).code == "IncompleteSignature"
    listing = signed(raw, b"")
    del listing["content-type"]
    assert raw.send(build("GET", "/", listing)).status in (400, 403)


@pytest.mark.parametrize(
    ("body", "headers", "status", "code"),
    [
        (b"", {}, 400, "InvalidAction"),
        (b"Action=GetUser", {}, 400, "InvalidAction"),
        (b"Action=GetUser&Version=2006-03-01", {}, 400, "InvalidAction"),
        (b"Action=&Version=2010-05-08", {}, 400, "InvalidAction"),
        (b"Action=GetUser&Version=2010-05-08", {}, 403, "MissingAuthenticationToken"),
        (b"Action=GetUser&Version=2010-05-08&Action=x", {}, 400, "MalformedInput"),
        (b"\xff\xfe", {}, 400, "MalformedInput"),
        (b"a=%", {}, 400, "MalformedInput"),
        (b"x" * (1 << 20) + b"y", {}, 400, "MalformedInput"),
        (b"Action=AssumeRoleWithWebIdentity&Version=2011-06-15", {}, 400, "ValidationError"),
        (b"Action=GetUser&Version=2010-05-08", {"content-md5": "AAAA"}, 400, None),
        (b"Action=GetUser&Version=2010-05-08", {"authorization": "AWS x:y"}, 400, None),
        (b"Action=GetUser&Version=2010-05-08", {"authorization": "Bearer x"}, 400, None),
    ],
)
def test_calls_that_are_none(raw, body, headers, status, code):
    answer = post(raw, body, {"host": raw.host, "content-type": FORM, **headers})
    assert answer.status == status
    assert code is None or answer.code == code
    assert b"<ErrorResponse" in answer.body


def test_a_form_to_a_bucket_is_no_query_call(raw):
    body = form(IDENTITY)
    answer = post(raw, body, {"host": raw.host, "content-type": FORM}, "/raw")
    assert b"<ErrorResponse" not in answer.body
    assert answer.status in (400, 403, 412)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["CreateUser", "PutUserPolicy", "CreateRole", "ListPolicies", "CreateOpenIDConnectProvider"]),
    st.dictionaries(
        st.sampled_from(
            [
                *(
                    "UserName",
                    "Path",
                    "PolicyName",
                    "PolicyDocument",
                    "RoleName",
                    "AssumeRolePolicyDocument",
                    "MaxItems",
                ),
                *("Marker", "Url", "ClientIDList.member.1", "ThumbprintList.member.1", "Tags.member.1.Key", "Scope"),
                *("Tags.member.x", "MaxSessionDuration", "PathPrefix", "Description", "OnlyAttached", "MaxItems"),
            ]
        ),
        st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
        | st.sampled_from(["/", "me", "{}", "99999999999", "true", '{"Statement":1}', "https://x.example/a"]),
        max_size=5,
    ),
)
def test_any_parameters_are_answered_or_refused_by_name(raw, action, values):
    body = form({**values, "Action": action, "Version": "2010-05-08"})
    answer = post(raw, body, signed(raw, body, service="iam"))
    assert answer.status == 200 or (400 <= answer.status < 500 and answer.code), answer
