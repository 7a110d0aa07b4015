"""SigV4: what botocore's signers sign is verified here, and what is signed here is what they would sign."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest import mock
from urllib.parse import quote

import pytest
from botocore import auth as botocore_auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import AccessDenied, SignatureDoesNotMatch
from gateway.s3.headers import fold_headers
from gateway.s3.sigv4 import presign, sign_request
from gateway.s3.uri import parse_query, split_target
from tests.gateway.s3.signed import ACCESS_KEY, HOST, NOW_S, SECRET, check

SEGMENTS = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=12)
PATHS = st.lists(SEGMENTS, min_size=1, max_size=4).map(lambda parts: "/bucket/" + "/".join(parts))
QUERIES = st.dictionaries(
    SEGMENTS.filter(lambda name: "X-Amz-" not in name and name != "AWSAccessKeyId"),
    st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=8),
    max_size=4,
)
HEADER_NAMES = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=10).map("x-amz-meta-".__add__)
HEADERS = st.dictionaries(
    HEADER_NAMES,
    st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=20) | st.just("a  b   c"),
    max_size=3,
)
MOMENT = datetime(2013, 5, 24, 0, 0, 0, tzinfo=UTC)


def sign_with_botocore(signer: type, request: AWSRequest, **more: int) -> str:
    """Sign as of ``MOMENT``; the target that goes on the wire."""
    names = [name for name in ("get_current_datetime", "datetime") if hasattr(botocore_auth, name)]
    with mock.patch.object(botocore_auth, names[0]) as clock:
        if names[0] == "datetime":
            clock.datetime.utcnow.return_value = MOMENT.replace(tzinfo=None)
        else:
            clock.return_value = MOMENT
        signer(Credentials(ACCESS_KEY, SECRET), "s3", "us-east-1", **more).add_auth(request)
    prepared = request.prepare()
    return prepared.url.partition("://example.com")[2] or "/"


def received(request: AWSRequest) -> dict[str, str]:
    pairs = [
        (name.encode(), value if isinstance(value, bytes) else value.encode())
        for name, value in request.prepare().headers.items()
    ]
    folded = fold_headers(pairs)
    folded.setdefault("host", "example.com")
    return folded


@given(path=PATHS, params=QUERIES, headers=HEADERS)
def test_what_botocore_signs_by_header_verifies(path, params, headers):
    url = "https://example.com" + quote(path, safe="/~")
    request = AWSRequest(method="PUT", url=url, params=params, headers=headers, data=b"body")
    target = sign_with_botocore(botocore_auth.S3SigV4Auth, request)
    assert check("PUT", target, received(request)).claim.access_key == ACCESS_KEY
    with pytest.raises(SignatureDoesNotMatch):
        check("PUT", target, received(request), secret="wrong")


@given(path=PATHS, params=QUERIES, headers=HEADERS)
def test_what_botocore_presigns_verifies(path, params, headers):
    url = "https://example.com" + quote(path, safe="/~")
    request = AWSRequest(method="GET", url=url, params=params, headers=headers)
    target = sign_with_botocore(botocore_auth.S3SigV4QueryAuth, request, expires=60)
    assert check("GET", target, received(request)).claim.expires_s == 60


@given(path=PATHS, params=QUERIES, headers=HEADERS)
def test_our_signer_agrees_with_botocores(path, params, headers):
    raw_path = quote(path, safe="/~")
    request = AWSRequest(method="GET", url="https://example.com" + raw_path, params=params, headers=headers)
    theirs = sign_with_botocore(botocore_auth.S3SigV4Auth, request)
    query = parse_query(split_target(theirs)[1])
    sent = received(request)
    ours = sign_request(
        "GET", raw_path, query, {"host": "example.com", **headers}, access_key=ACCESS_KEY, secret=SECRET, now_s=NOW_S
    )
    assert ours["authorization"] == sent["authorization"]


@given(path=PATHS, params=QUERIES, expires_s=st.integers(1, 604800))
def test_what_we_presign_verifies(path, params, expires_s):
    raw_path = quote(path)
    raw = presign(
        "GET",
        raw_path,
        params.items(),
        {"host": HOST},
        access_key=ACCESS_KEY,
        secret=SECRET,
        now_s=NOW_S,
        expires_s=expires_s,
    )
    check("GET", f"{raw_path}?{raw}", {"host": HOST}, now_s=NOW_S + expires_s)
    with pytest.raises(AccessDenied):
        check("GET", f"{raw_path}?{raw}", {"host": HOST}, now_s=NOW_S + expires_s + 1)
