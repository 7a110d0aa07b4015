"""ID tokens as bytes: whatever comes is a token or InvalidIdentityToken; what trust policies make of providers."""

from __future__ import annotations

import json
from base64 import urlsafe_b64encode
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.identity.providers import parse_issuer
from gateway.identity.web_identity import (
    Token,
    check_claims,
    condition_values,
    parse_token,
    trust_of_federated,
    verify_signature,
)
from gateway.s3.query_errors import ExpiredTokenException, InvalidIdentityToken, ValidationError
from gateway.store.identity_format import ProviderRecord

ARN = "arn:aws:iam::123456789012:oidc-provider/id.example"
PROVIDER = ProviderRecord(account="a", url="id.example", client_ids=("app", "other"))
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(max_size=3), children, max_size=3),
    max_leaves=5,
)


def encode(value):
    return urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=").decode()


def token_of(**claims):
    whole = {"iss": "https://id.example", "sub": "me", "aud": "app", "iat": 0, "exp": 10, **claims}
    return Token("RS256", None, whole, b"", b"")


@given(st.text(max_size=100))
def test_any_text_is_no_token(text):
    with pytest.raises(InvalidIdentityToken):
        parse_token(text)


@given(
    JSON, st.fixed_dictionaries({"alg": st.sampled_from(["RS256", "ES256", "none", "HS256"])}, optional={"kid": JSON})
)
def test_any_json_is_a_token_or_refused(claims, header):
    with suppress(InvalidIdentityToken):
        token = parse_token(f"{encode(header)}.{encode(claims)}.AAAA")
        assert token.algorithm in ("RS256", "ES256")
        with pytest.raises(InvalidIdentityToken):
            verify_signature(token, [{"kty": "RSA", "n": "AQAB", "e": "AQAB"}, {"kty": "EC", "crv": "P-256"}, {}])
        with pytest.raises((InvalidIdentityToken, ExpiredTokenException)):
            check_claims(token, PROVIDER, 1 << 40)


@given(st.dictionaries(st.sampled_from(["kty", "n", "e", "x", "y", "crv", "kid", "use", "alg"]), JSON))
def test_any_key_is_refused_and_nothing_else(key):
    for algorithm in ("RS256", "ES256"):
        token = Token(algorithm, None, {}, b"signed", b"s" * 64)
        with pytest.raises(InvalidIdentityToken):
            verify_signature(token, [key])


def test_claims_of_azp_come_before_those_of_aud():
    check_claims(token_of(), PROVIDER, 5)
    check_claims(token_of(aud=["x", "other"]), PROVIDER, 5)
    check_claims(token_of(aud="x", azp="app"), PROVIDER, 5)
    with pytest.raises(InvalidIdentityToken):
        check_claims(token_of(aud="app", azp="x"), PROVIDER, 5)
    assert condition_values(token_of(aud="x", azp="app"), PROVIDER) == {
        "id.example:sub": ("me",),
        "id.example:aud": ("app",),
        "id.example:oaud": ("x",),
        "id.example:app_id": ("app",),
    }


def test_a_token_is_good_until_it_expires_and_a_clock_may_be_a_little_ahead():
    check_claims(token_of(exp=6), PROVIDER, 5)
    with pytest.raises(ExpiredTokenException):
        check_claims(token_of(exp=5), PROVIDER, 5)
    check_claims(token_of(exp=10**400), PROVIDER, 5)
    for endless in (float("inf"), float("nan"), True, "9", None):
        with pytest.raises(InvalidIdentityToken):
            check_claims(token_of(exp=endless), PROVIDER, 5)
    check_claims(token_of(nbf=60), PROVIDER, 5)
    with pytest.raises(InvalidIdentityToken):
        check_claims(token_of(nbf=66), PROVIDER, 5)


@pytest.mark.parametrize(
    ("effect", "principal", "kept"),
    [
        ("Allow", {"Federated": ARN}, True),
        ("Allow", {"Federated": [ARN + "x", ARN]}, True),
        ("Allow", {"Federated": ARN + "x"}, False),
        ("Allow", {"AWS": ARN}, False),
        ("Allow", "*", False),
        ("Allow", {"AWS": "*"}, False),
        ("Deny", "*", True),
        ("Deny", {"Federated": ARN}, True),
        ("Deny", {"AWS": "arn:aws:iam::123456789012:root"}, False),
    ],
)
def test_which_statements_are_about_a_provider(effect, principal, kept):
    statement = {"Effect": effect, "Principal": principal, "Action": "sts:AssumeRoleWithWebIdentity"}
    policy = trust_of_federated(json.dumps({"Version": "2012-10-17", "Statement": [statement]}), ARN)
    assert bool(policy.statements) is kept


def test_issuers_are_urls_without_more():
    assert parse_issuer("https://ID.example/a/") == ("https", "id.example/a")
    assert parse_issuer("http://127.0.0.1:8080") == ("http", "127.0.0.1:8080")
    for wrong in (
        "id.example",
        "https://",
        "https://x/?a",
        "https://x#y",
        "https://u:p@x",
        "https://x/a b",
        "https://[::",
    ):
        with pytest.raises(ValidationError):
            parse_issuer(wrong)
