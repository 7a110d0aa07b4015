"""What the tests of signatures share: AWS's example credentials, and a request parsed and verified as one does."""

from __future__ import annotations

from gateway.s3.sigv4 import Verified, parse_claim, verify
from gateway.s3.times import parse_basic
from gateway.s3.uri import parse_query, split_target

ACCESS_KEY = "AKIAIOSFODNN7EXAMPLE"
SECRET = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"
NOW_S = 1369353600
assert parse_basic("20130524T000000Z") == NOW_S
HOST = "examplebucket.s3.amazonaws.com"


def check(
    method: str,
    target: str,
    headers: dict[str, str],
    *,
    now_s: int = NOW_S,
    secret: str = SECRET,
    region: str | None = None,
    token: str | None = None,
) -> Verified:
    path, raw_query = split_target(target)
    query = parse_query(raw_query)
    claim = parse_claim(headers, query)
    assert claim is not None
    return verify(claim, secret, method, path, query, headers, now_s, region=region, session_token=token)
