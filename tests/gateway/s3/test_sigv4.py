"""SigV4: AWS's published examples, agreement with botocore's signers, and every refusal."""

from __future__ import annotations

from contextlib import suppress
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import (
    AccessDenied,
    AuthorizationHeaderMalformed,
    AuthorizationQueryParametersError,
    InvalidArgument,
    InvalidRequest,
    InvalidToken,
    RequestTimeTooSkewed,
    S3Error,
    S3NotImplemented,
    SignatureDoesNotMatch,
)
from gateway.s3.headers import fold_headers
from gateway.s3.names import HostNames, parse_target
from gateway.s3.sigv4 import (
    EMPTY_SHA256,
    UNSIGNED_PAYLOAD,
    derive_signing_key,
    parse_claim,
    presign,
    sign_request,
)
from gateway.s3.uri import EMPTY_QUERY, parse_query, split_target
from tests.gateway.s3.signed import ACCESS_KEY, HOST, NOW_S, SECRET, check


def example(signed: str, signature: str, **headers: str) -> dict[str, str]:
    return {
        "host": HOST,
        "x-amz-date": "20130524T000000Z",
        "x-amz-content-sha256": EMPTY_SHA256,
        "authorization": f"AWS4-HMAC-SHA256 Credential={ACCESS_KEY}/20130524/us-east-1/s3/aws4_request,"
        f"SignedHeaders={signed},Signature={signature}",
        **{name.replace("_", "-"): value for name, value in headers.items()},
    }


PLAIN = "host;x-amz-content-sha256;x-amz-date"
GET_EXAMPLE = example(
    "host;range;x-amz-content-sha256;x-amz-date",
    "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
    range="bytes=0-9",
)
PUT_EXAMPLE = example(
    "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class",
    "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd",
    date="Fri, 24 May 2013 00:00:00 GMT",
    x_amz_storage_class="REDUCED_REDUNDANCY",
    x_amz_content_sha256="44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072",
)


@pytest.mark.parametrize(
    ("method", "target", "headers"),
    [
        ("GET", "/test.txt", GET_EXAMPLE),
        ("PUT", "/test$file.text", PUT_EXAMPLE),
        ("PUT", "/test%24file.text", PUT_EXAMPLE),
        (
            "GET",
            "/?lifecycle",
            example(PLAIN, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ),
        (
            "GET",
            "/?max-keys=2&prefix=J",
            example(PLAIN, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ),
    ],
)
def test_aws_examples_by_header(method, target, headers):
    assert check(method, target, headers, region="us-east-1").claim.access_key == ACCESS_KEY
    for wrong in ("OPTIONS", "DELETE"):
        with pytest.raises(SignatureDoesNotMatch):
            check(wrong, target, headers)
    with pytest.raises(SignatureDoesNotMatch):
        check(method, target + "x", headers)
    with pytest.raises(SignatureDoesNotMatch):
        check(method, target, headers, secret=SECRET + "x")


PRESIGNED = (
    "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F"
    "aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host"
    "&X-Amz-Signature=aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404"
)


def test_aws_example_by_query():
    verified = check("GET", PRESIGNED, {"host": HOST})
    assert verified.payload_hash == UNSIGNED_PAYLOAD
    assert verified.claim.presigned
    check("GET", PRESIGNED, {"host": HOST}, now_s=NOW_S + 86400)
    with pytest.raises(SignatureDoesNotMatch):
        check("PUT", PRESIGNED, {"host": HOST})
    with pytest.raises(SignatureDoesNotMatch):
        check("GET", PRESIGNED, {"host": "elsewhere"})


def test_a_mismatch_tells_what_was_signed_but_no_key():
    with pytest.raises(SignatureDoesNotMatch) as caught:
        check("GET", "/test.txt2", GET_EXAMPLE)
    assert caught.value.extra["AWSAccessKeyId"] == ACCESS_KEY
    assert caught.value.extra["CanonicalRequest"].startswith("GET\n/test.txt2\n")
    everything = str(caught.value) + repr(caught.value.extra)
    assert SECRET not in everything
    assert derive_signing_key(SECRET, "20130524", "us-east-1").hex() not in everything


# --- odd requests


@pytest.mark.parametrize(
    "raw_path",
    ["/b//k", "/b/./k", "/b/../k", "/b/a%2Fb", "/b/a%2fb", "/b/a+b", "/b/%E2%82%AC", "/b/a b", "/b/a!*'()", "/b/", "/"],
)
def test_odd_paths_are_signed_as_they_are(raw_path):
    headers = sign_request("GET", raw_path, EMPTY_QUERY, {"host": HOST}, access_key="AK", secret="s", now_s=NOW_S)
    check("GET", raw_path, headers, secret="s")
    other = raw_path.replace("//", "/").replace("/./", "/").replace("/../", "/")
    if other != raw_path:
        with pytest.raises(SignatureDoesNotMatch):
            check("GET", other, headers, secret="s")


@pytest.mark.parametrize(
    "raw_query",
    [
        "a=1&a=0",
        "a=0&a=1",
        "a",
        "a=",
        "b&a",
        "a=b=c",
        "prefix=a%20b",
        "prefix=a+b",
        "x=%e2%82%ac",
        "a-b=1&a=2",
        "%61=%62",
    ],
)
def test_odd_queries_are_signed_alike_however_they_are_written(raw_query):
    query = parse_query(raw_query)
    headers = sign_request("GET", "/b", query, {"host": HOST}, access_key="AK", secret="s", now_s=NOW_S)
    check("GET", f"/b?{raw_query}", headers, secret="s")
    shuffled = "&".join(reversed(raw_query.replace("+", "%20").split("&")))
    check("GET", f"/b?{shuffled}", headers, secret="s")
    with pytest.raises(SignatureDoesNotMatch):
        check("GET", f"/b?{raw_query}&z=1", headers, secret="s")


def test_repeated_headers_are_joined_in_order():
    headers = sign_request(
        "GET", "/b", EMPTY_QUERY, {"host": HOST, "x-amz-meta-a": "1,2"}, access_key="AK", secret="s", now_s=NOW_S
    )
    raw = [(name.encode(), value.encode()) for name, value in headers.items() if name != "x-amz-meta-a"]
    check("GET", "/b", fold_headers([*raw, (b"X-Amz-Meta-A", b" 1 "), (b"x-amz-meta-a", b"2")]), secret="s")
    with pytest.raises(SignatureDoesNotMatch):
        check("GET", "/b", fold_headers([*raw, (b"X-Amz-Meta-A", b"2"), (b"x-amz-meta-a", b"1")]), secret="s")


# --- refusals


@pytest.mark.parametrize(
    ("change", "error", "status"),
    [
        ({"x-amz-meta-evil": "1"}, AccessDenied, 403),
        ({"x-amz-acl": "public-read"}, AccessDenied, 403),
        ({"x-amz-copy-source": "/other/key"}, AccessDenied, 403),
        ({"x-amz-security-token": "t"}, InvalidToken, 400),
        ({"x-amz-date": "garbage"}, AccessDenied, 403),
        ({"x-amz-date": "20130525T000000Z"}, RequestTimeTooSkewed, 403),
        ({"x-amz-date": "20130523T235959Z"}, AuthorizationHeaderMalformed, 400),
        ({"x-amz-date": ""}, AccessDenied, 403),
        ({"x-amz-date": "19500707T213314Z"}, RequestTimeTooSkewed, 403),
        ({"x-amz-date": "99990707T213314Z"}, RequestTimeTooSkewed, 403),
        ({"x-amz-content-sha256": ""}, InvalidRequest, 400),
        ({"range": "bytes=0-10"}, SignatureDoesNotMatch, 403),
        ({"host": "other"}, SignatureDoesNotMatch, 403),
    ],
)
def test_changed_requests_are_refused(change, error, status):
    with pytest.raises(error) as caught:
        check("GET", "/test.txt", {**GET_EXAMPLE, **change})
    assert caught.value.status == status


@pytest.mark.parametrize("header", ["x-amz-copy-source", "x-amz-acl", "x-amz-meta-a", "x-amz-content-sha256"])
def test_a_presigned_url_takes_no_header_of_anybody(header):
    with pytest.raises(AccessDenied) as caught:
        check("GET", PRESIGNED, {"host": HOST, header: UNSIGNED_PAYLOAD})
    assert caught.value.extra["HeadersNotSigned"] == header


@pytest.mark.parametrize(("skew_s", "fine"), [(0, True), (900, True), (-900, True), (901, False), (-901, False)])
def test_the_clock_may_differ_by_fifteen_minutes(skew_s, fine):
    if fine:
        check("GET", "/test.txt", GET_EXAMPLE, now_s=NOW_S + skew_s)
        return
    with pytest.raises(RequestTimeTooSkewed) as caught:
        check("GET", "/test.txt", GET_EXAMPLE, now_s=NOW_S + skew_s)
    assert caught.value.extra["MaxAllowedSkewMilliseconds"] == "900000"


def test_a_presigned_url_expires_and_is_not_valid_early():
    with pytest.raises(AccessDenied, match="expired") as caught:
        check("GET", PRESIGNED, {"host": HOST}, now_s=NOW_S + 86401)
    assert caught.value.extra["X-Amz-Expires"] == "86400"
    with pytest.raises(AccessDenied, match="not yet valid"):
        check("GET", PRESIGNED, {"host": HOST}, now_s=NOW_S - 901)


def test_a_wrong_region_is_named():
    with pytest.raises(AuthorizationHeaderMalformed) as caught:
        check("GET", "/test.txt", GET_EXAMPLE, region="eu-west-1")
    assert caught.value.extra["Region"] == "eu-west-1"
    with pytest.raises(AuthorizationQueryParametersError):
        check("GET", PRESIGNED, {"host": HOST}, region="eu-west-1")


def test_header_and_query_together_are_refused():
    with pytest.raises(InvalidArgument) as caught:
        check("GET", PRESIGNED, {**GET_EXAMPLE})
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("authorization", "error"),
    [
        ("AWS AKIA:signature", InvalidRequest),
        ("Bearer x", InvalidArgument),
        ("AWS4-ECDSA-P256-SHA256 Credential=x", S3NotImplemented),
        ("AWS4-HMAC-SHA256", AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA256 nonsense", AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA256 Credential=a/20130524/r/s3/aws4_request, Signature=x", AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA256 Credential=a/20130524/r/s3/aws4_request, SignedHeaders=host", AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA256 Credential=CRED, SignedHeaders=host;host, Signature=x", AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA256 Credential=CRED, SignedHeaders=Host, Signature=x", AuthorizationHeaderMalformed),
        ("AWS4-HMAC-SHA256 Credential=CRED, SignedHeaders=x-amz-date, Signature=x", AccessDenied),
        (
            "AWS4-HMAC-SHA256 Credential=CRED, Credential=CRED, SignedHeaders=host, Signature=x",
            AuthorizationHeaderMalformed,
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20130524/r/ec2/aws4_request, SignedHeaders=host, Signature=x",
            AuthorizationHeaderMalformed,
        ),
        (
            "AWS4-HMAC-SHA256 Credential=a/20130524/r/s3/aws5_request, SignedHeaders=host, Signature=x",
            AuthorizationHeaderMalformed,
        ),
        (
            "AWS4-HMAC-SHA256 Credential=/20130524/r/s3/aws4_request, SignedHeaders=host, Signature=x",
            AuthorizationHeaderMalformed,
        ),
    ],
)
def test_malformed_authorization_headers(authorization, error):
    authorization = authorization.replace("CRED", "a/20130524/r/s3/aws4_request")
    with pytest.raises(error):
        parse_claim({"host": HOST, "x-amz-date": "20130524T000000Z", "authorization": authorization}, EMPTY_QUERY)


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("X-Amz-Expires=86400", "X-Amz-Expires=604801", AuthorizationQueryParametersError),
        ("X-Amz-Expires=86400", "X-Amz-Expires=0", AccessDenied),
        ("X-Amz-Expires=86400", "X-Amz-Expires=", AuthorizationQueryParametersError),
        ("X-Amz-Expires=86400", "X-Amz-Expires=1.5", AuthorizationQueryParametersError),
        ("X-Amz-Expires=86400", "X-Amz-Expires=-1", AuthorizationQueryParametersError),
        ("X-Amz-Expires=86400", "X-Amz-Expires=abc", AuthorizationQueryParametersError),
        ("X-Amz-Expires=86400", "X-Amz-Expires=9" + "9" * 40, AuthorizationQueryParametersError),
        ("X-Amz-Expires=86400", "X-Amz-Expires=86400&X-Amz-Expires=86400", AuthorizationQueryParametersError),
        ("&X-Amz-Expires=86400", "", AuthorizationQueryParametersError),
        ("&X-Amz-SignedHeaders=host", "", AuthorizationQueryParametersError),
        ("SignedHeaders=host", "SignedHeaders=range", AccessDenied),
        ("AWS4-HMAC-SHA256", "AWS4-HMAC-SHA1", AuthorizationQueryParametersError),
        ("AWS4-HMAC-SHA256", "AWS4-ECDSA-P256-SHA256", S3NotImplemented),
        ("Date=20130524T000000Z", "Date=20130524", AuthorizationQueryParametersError),
        ("Date=20130524T000000Z", "Date=20130525T000000Z", AuthorizationQueryParametersError),
        ("%2Fs3%2F", "%2Fec2%2F", AuthorizationQueryParametersError),
        ("aws4_request", "aws4", AuthorizationQueryParametersError),
    ],
)
def test_malformed_presigned_urls(old, new, error):
    assert old in PRESIGNED
    with pytest.raises(error):
        check("GET", PRESIGNED.replace(old, new), {"host": HOST})


def test_signature_version_2_is_refused_by_name():
    for target in ("/b?AWSAccessKeyId=AK&Signature=x&Expires=1",):
        with pytest.raises(InvalidRequest, match="AWS4-HMAC-SHA256"):
            parse_claim({"host": HOST}, parse_query(split_target(target)[1]))


def test_nobody():
    assert parse_claim({"host": HOST, "authorization": ""}, EMPTY_QUERY) is None
    assert parse_claim({"host": HOST, "x-amz-meta-a": "b"}, parse_query("prefix=a")) is None


def test_a_date_header_will_do():
    signed = sign_request("GET", "/b", EMPTY_QUERY, {"host": HOST}, access_key="AK", secret="s", now_s=NOW_S)
    headers = {name: value for name, value in signed.items() if name != "x-amz-date"}
    headers["date"] = "Fri, 24 May 2013 00:00:00 GMT"
    with pytest.raises(SignatureDoesNotMatch):  # x-amz-date was signed and is gone
        check("GET", "/b", headers, secret="s")
    headers["authorization"] = headers["authorization"].replace(";x-amz-date", "")
    claim = parse_claim(headers, EMPTY_QUERY)
    assert claim is not None
    assert claim.timestamp == "20130524T000000Z"


def test_session_tokens_must_match_those_of_the_key():
    signed = sign_request(
        "GET",
        "/b",
        EMPTY_QUERY,
        {"host": HOST, "x-amz-security-token": "tok"},
        access_key="AK",
        secret="s",
        now_s=NOW_S,
    )
    check("GET", "/b", signed, secret="s", token="tok")
    for token in (None, "other"):
        with pytest.raises(InvalidToken):
            check("GET", "/b", signed, secret="s", token=token)
    plain = sign_request("GET", "/b", EMPTY_QUERY, {"host": HOST}, access_key="AK", secret="s", now_s=NOW_S)
    with pytest.raises(InvalidToken):
        check("GET", "/b", plain, secret="s", token="tok")


def test_a_hoisted_payload_hash_counts():
    pairs = [("X-Amz-Content-Sha256", EMPTY_SHA256)]
    raw = presign("PUT", "/b/k", pairs, {"host": HOST}, access_key="AK", secret="s", now_s=NOW_S, expires_s=9)
    # Our presigner signs UNSIGNED-PAYLOAD; the verifier goes by what the URL says, so this one cannot hold.
    with pytest.raises(SignatureDoesNotMatch):
        check("PUT", f"/b/k?{raw}", {"host": HOST}, secret="s")


TEXT = st.text(max_size=40)


@given(
    authorization=TEXT | TEXT.map("AWS4-HMAC-SHA256 ".__add__), date=TEXT | st.just("20130524T000000Z"), raw_query=TEXT
)
def test_any_claim_is_parsed_or_a_typed_error(authorization, date, raw_query):
    with suppress(S3Error):
        parse_claim({"authorization": authorization, "x-amz-date": date}, parse_query(raw_query))


@given(credential=TEXT, signed=TEXT, signature=TEXT, expires=TEXT, date=TEXT, path=TEXT.map("/".__add__), value=TEXT)
def test_any_presigned_url_is_refused_with_a_typed_error(credential, signed, signature, expires, date, path, value):
    query = "&".join(
        f"{name}={quote(text)}"
        for name, text in [
            ("X-Amz-Algorithm", "AWS4-HMAC-SHA256"),
            ("X-Amz-Credential", credential + "/20130524/r/s3/aws4_request"),
            ("X-Amz-Date", date or "20130524T000000Z"),
            ("X-Amz-SignedHeaders", "host;" + signed.lower() if signed else "host"),
            ("X-Amz-Expires", expires or "60"),
            ("X-Amz-Signature", signature),
        ]
    )
    with pytest.raises(S3Error):
        check("GET", f"{quote(path)}?{query}", {"host": value})


@given(raw=st.binary(max_size=60))
def test_any_target_and_host_are_parsed_or_a_typed_error(raw):
    text = raw.decode("utf-8", "surrogateescape")
    with suppress(S3Error):
        path, query = split_target(text)
        parse_query(query)
        parse_target(path, text, HostNames(("example.com",)))
