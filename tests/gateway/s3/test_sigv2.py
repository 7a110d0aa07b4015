"""URLs presigned with version 2: AWS's example, agreement with botocore, nothing believed that is not signed."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest
from botocore.auth import HmacV1QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from gateway.s3.errors import AccessDenied, InvalidRequest, InvalidToken, S3Error, SignatureDoesNotMatch
from gateway.s3.names import HostNames, Target, parse_target
from gateway.s3.sigv2 import is_version_2, parse_presigned, string_to_sign, verify_presigned
from gateway.s3.uri import parse_query

SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NOW_S = 1_175_000_000


def check(url: str, method: str = "GET", headers: dict[str, str] | None = None, secret: str = SECRET, **more: str):
    parts = urlsplit(url)
    query, headers = parse_query(parts.query), headers or {}
    target = parse_target(parts.path, parts.netloc, HostNames(("s3.example",)))
    claim = parse_presigned(query, headers)
    return verify_presigned(claim, secret, method, target, query, headers, NOW_S, **more)


def presign(method: str, url: str, headers: dict[str, str] | None = None, token: str | None = None) -> str:
    request = AWSRequest(method=method, url=url, headers=headers or {})
    signer = HmacV1QueryAuth(Credentials("AKIAIOSFODNN7EXAMPLE", SECRET, token), expires=600)
    signer._get_date = lambda: str(NOW_S + 600)
    signer.add_auth(request)
    assert isinstance(request.url, str)
    return request.url


def test_the_documented_example():
    url = (
        "http://johnsmith.s3.example/photos/puppy.jpg?AWSAccessKeyId=AKIAIOSFODNN7EXAMPLE"
        "&Signature=NpgCjnDzrM%2BWFzoENXmpNDUsSn8%3D&Expires=1175139620"
    )
    assert check(url).claim.access_key == "AKIAIOSFODNN7EXAMPLE"
    assert check(url).claim.presigned


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/bucket/key", {}),
        ("GET", "/bucket/a%20b/%C3%BC%2B?versionId=x&response-content-type=text%2Fplain", {}),
        ("PUT", "/bucket/key", {"Content-Type": "text/plain", "x-amz-acl": "private", "x-amz-meta-a": "b"}),
        ("PUT", "/bucket/key?partNumber=2&uploadId=abc", {}),
        ("GET", "/bucket/?acl", {}),
        ("GET", "/bucket/key?tagging", {}),
    ],
)
def test_botocore_agrees(method, path, headers):
    url = presign(method, "http://127.0.0.1:9000" + path, headers)
    sent = {name.lower(): value for name, value in headers.items()}
    assert check(url, method, sent)
    assert check(url, method), "what was moved into the URL need not be sent again"
    with pytest.raises(SignatureDoesNotMatch):
        check(url, method, secret="wrong")
    with pytest.raises(SignatureDoesNotMatch):
        check(url, "DELETE")
    with pytest.raises(SignatureDoesNotMatch):
        check(url, method, {"x-amz-copy-source": "/other/secret"})
    with pytest.raises(SignatureDoesNotMatch):
        check(url.replace("/bucket/", "/other/"), method)


@pytest.mark.parametrize("extra", ["prefix=a", "list-type=2", "marker=x", "uploadId=1", "x-amz-acl=public-read", "acl"])
def test_what_is_not_signed_is_not_believed(extra):
    with pytest.raises((InvalidRequest, SignatureDoesNotMatch)):
        check(presign("GET", "http://127.0.0.1/bucket/key") + "&" + extra)


def test_twice_the_same_parameter_is_refused():
    with pytest.raises(InvalidRequest):
        check(presign("GET", "http://127.0.0.1/bucket/key?versionId=a") + "&versionId=b")


def test_expiry_and_tokens():
    url = presign("GET", "http://127.0.0.1/bucket/key", token="the-token")
    assert check(url, session_token="the-token").claim.session_token == "the-token"
    for token in (None, "another"):
        with pytest.raises(InvalidToken):
            check(url, session_token=token)
    query = parse_query(urlsplit(url).query)
    claim = parse_presigned(query, {})
    with pytest.raises(AccessDenied):
        verify_presigned(claim, SECRET, "GET", Target("b", "k", "/b/k"), query, {}, NOW_S + 600)
    for bad in ("", "soon", "-1", "9" * 13):
        with pytest.raises(S3Error):
            check(f"http://127.0.0.1/b/k?AWSAccessKeyId=a&Signature=b&Expires={bad}")
    with pytest.raises(S3Error):
        check(url, headers={"authorization": "AWS a:b"})


def test_only_such_urls_are_taken_for_such():
    assert is_version_2(parse_query("AWSAccessKeyId=a&Signature=b"))
    assert not is_version_2(parse_query("X-Amz-Signature=a"))
    text = string_to_sign("GET", Target("b", None, "/", True), parse_query("Expires=1"), {})
    assert text == "GET\n\n\n1\n/b/"
