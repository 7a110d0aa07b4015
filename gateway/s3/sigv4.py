"""AWS Signature Version 4, by header and by query: claim → verified, and signing for tests and benchmarks. Pure.

The way in: ``parse_claim`` says who claims to ask (None: nobody, anonymous); the caller finds the secret; ``verify``
checks dates, scope, that everything that matters is signed, and the signature, in constant time. Then
``payload.plan_payload`` says how the body is protected. The canonical path comes from the raw target, decoded once and
never normalised.

It does not look up keys, does not know operations, and refuses Signature Version 2 and 4A by name.
Source: "Authenticating Requests (AWS Signature Version 4)", Amazon S3 API reference.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from hashlib import sha256
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Any, Final

import msgspec

from gateway.s3.errors import (
    AccessDenied,
    AuthorizationHeaderMalformed,
    AuthorizationQueryParametersError,
    InvalidRequest,
    InvalidToken,
    RequestTimeTooSkewed,
    S3Error,
    S3NotImplemented,
    SignatureDoesNotMatch,
    invalid_argument,
)
from gateway.s3.times import format_basic, format_iso, parse_basic, parse_http_date
from gateway.s3.uri import Query, canonicalise_path, canonicalise_query, encode_component

ALGORITHM: Final = "AWS4-HMAC-SHA256"
UNSIGNED_PAYLOAD: Final = "UNSIGNED-PAYLOAD"
EMPTY_SHA256: Final = sha256(b"").hexdigest()
SKEW_MAX_S: Final = 15 * 60
EXPIRES_MAX_S: Final = 7 * 24 * 3600
_INNER_PAD: Final = bytes(byte ^ 0x36 for byte in range(256))
_OUTER_PAD: Final = bytes(byte ^ 0x5C for byte in range(256))
_FIELDS_LENGTH_MAX: Final = 1024  # of what is remembered of an Authorization header
_SPACES: Final = re.compile(r"[ \t]+")
_HEX64: Final = re.compile(r"[0-9a-f]{64}")
_QUERY_PARAMETERS: Final = (
    "X-Amz-Algorithm",
    "X-Amz-Credential",
    "X-Amz-Signature",
    "X-Amz-Date",
    "X-Amz-SignedHeaders",
    "X-Amz-Expires",
)


class Claim(msgspec.Struct, frozen=True, gc=False):
    """Who a request claims to come from, and how it is signed. Nothing of it is verified yet.

    ``date``, ``region``, ``service``: the credential scope; ``timestamp``: as signed, ``time_s``: unix seconds of it;
    ``presigned``: by query; ``expires_s``: only then. ``session_token``: as sent.
    """

    access_key: str
    date: str
    region: str
    service: str
    timestamp: str
    time_s: int
    signed_headers: str
    signature: str
    presigned: bool = False
    expires_s: int = 0
    session_token: str | None = None

    @property
    def scope(self) -> str:
        """The credential scope, without the access key."""
        return f"{self.date}/{self.region}/{self.service}/aws4_request"


class Verified(msgspec.Struct, frozen=True, gc=False):
    """A request whose signature holds: what chunk signatures go on from, and the payload hash it was signed with."""

    claim: Claim
    signing_key: bytes
    payload_hash: str


def parse_claim(headers: Mapping[str, str], query: Query, service: str = "s3") -> Claim | None:
    """The claim of a request, or None if it is anonymous. ``headers``: folded, not merged with the query's.

    ``service``: the one whose credential scope is taken.
    """
    authorization = headers.get("authorization") or None  # an empty one is nobody's, as with AWS
    params = query.params
    by_query = "X-Amz-Signature" in params or "X-Amz-Algorithm" in params or "X-Amz-Credential" in params
    version_2 = "AWSAccessKeyId" in params and "Signature" in params
    if authorization is None:
        if version_2:
            raise _unsupported_mechanism()
        return _parse_query_claim(query, service) if by_query else None
    if by_query or version_2:
        raise invalid_argument(
            "Only one auth mechanism allowed; only the X-Amz-Algorithm query parameter, Signature query string "
            "parameter or the Authorization header should be specified",
            "Authorization",
            authorization.partition(" ")[0],
        )
    return _parse_header_claim(authorization, headers, service)


@lru_cache(maxsize=1024)
def _parse_scope(fields: str, service: str) -> tuple[tuple[str, str, str, str], str] | None:
    """The credential and signed headers in ``AWS4-HMAC-SHA256 Credential=…, SignedHeaders=…,``, which a client repeats
    with every request of a day; None if it is anything but well-formed. (Some write no spaces.)
    """
    algorithm, _, rest = fields.partition(" ")
    pieces = [piece.strip() for piece in rest.split(",")]
    if algorithm != ALGORITHM or len(pieces) != 3 or pieces[2]:
        return None
    if not pieces[0].startswith("Credential=") or not pieces[1].startswith("SignedHeaders="):
        return None
    try:
        credential = parse_credential(pieces[0].partition("=")[2], presigned=False, expected=service)
        return credential, _check_signed_headers(pieces[1].partition("=")[2], presigned=False)
    except S3Error:
        return None  # for the long way to say what is wrong


def _parse_header_claim(authorization: str, headers: Mapping[str, str], service: str) -> Claim:
    """The claim in an Authorization header: what most clients write is known by its beginning."""
    fields, _, signature = authorization.rpartition("Signature=")
    timestamp = headers.get("x-amz-date")
    usual = 0 < len(fields) <= _FIELDS_LENGTH_MAX and "," not in signature and " " not in signature
    if usual and timestamp is not None:
        scope, time_s = _parse_scope(fields, service), parse_basic(timestamp)
        if scope is not None and time_s is not None:
            (access_key, date, region, service), signed = scope
            token = headers.get("x-amz-security-token")
            return Claim(access_key, date, region, service, timestamp, time_s, signed, signature, session_token=token)
    return _parse_any_header_claim(authorization, headers, service)


def _parse_any_header_claim(authorization: str, headers: Mapping[str, str], service: str) -> Claim:
    """The claim in an Authorization header, its fields in any order; raises what is wrong with it."""
    algorithm, _, rest = authorization.partition(" ")
    if algorithm != ALGORITHM:
        if algorithm.startswith("AWS4-ECDSA"):
            raise S3NotImplemented("Signature Version 4A is not implemented")
        if algorithm == "AWS":
            raise _unsupported_mechanism()
        raise invalid_argument("Unsupported Authorization Type", "Authorization", algorithm)
    fields = {}
    for piece in rest.split(","):
        name, separator, value = piece.strip().partition("=")
        if not separator or name in fields:
            raise _malformed("the field list is mal-formed")
        fields[name] = value
    try:
        credential, signed, signature = fields["Credential"], fields["SignedHeaders"], fields["Signature"]
    except KeyError as error:
        raise _malformed(f"the authorization header requires three components: {error.args[0]} is missing") from None
    timestamp = headers.get("x-amz-date")
    time_s = parse_basic(timestamp) if timestamp is not None else None
    if time_s is None:
        time_s = parse_http_date(timestamp if timestamp is not None else headers.get("date", ""))
        if time_s is None:
            raise AccessDenied("AWS authentication requires a valid Date or x-amz-date header")
        timestamp = format_basic(time_s)
    assert timestamp is not None
    access_key, date, region, service = parse_credential(credential, presigned=False, expected=service)
    return Claim(
        access_key,
        date,
        region,
        service,
        timestamp,
        time_s,
        _check_signed_headers(signed, presigned=False),
        signature,
        session_token=headers.get("x-amz-security-token"),
    )


def _parse_query_claim(query: Query, service: str) -> Claim:
    """The claim of a presigned URL."""
    params = query.params
    names = [name for name, _ in query.pairs if name.startswith("X-Amz-")]
    if any(name not in params for name in _QUERY_PARAMETERS) or len(names) != len(set(names)):
        raise AuthorizationQueryParametersError(
            "Query-string authentication version 4 requires the X-Amz-Algorithm, X-Amz-Credential, X-Amz-Signature, "
            "X-Amz-Date, X-Amz-SignedHeaders, and X-Amz-Expires parameters, each once."
        )
    algorithm = params["X-Amz-Algorithm"]
    if algorithm.startswith("AWS4-ECDSA"):
        raise S3NotImplemented("Signature Version 4A is not implemented")
    if algorithm != ALGORITHM:
        raise AuthorizationQueryParametersError(f'X-Amz-Algorithm only supports "{ALGORITHM}"')
    timestamp = params["X-Amz-Date"]
    time_s = parse_basic(timestamp)
    if time_s is None:
        raise AuthorizationQueryParametersError(
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\""
        )
    access_key, date, region, service = parse_credential(params["X-Amz-Credential"], presigned=True, expected=service)
    if date != timestamp[:8]:
        raise AuthorizationQueryParametersError(
            f'Invalid credential date "{date}". This date is not the same as X-Amz-Date: "{timestamp[:8]}".'
        )
    return Claim(
        access_key,
        date,
        region,
        service,
        timestamp,
        time_s,
        _check_signed_headers(params["X-Amz-SignedHeaders"], presigned=True),
        params["X-Amz-Signature"],
        True,
        _parse_expires(params["X-Amz-Expires"]),
        params.get("X-Amz-Security-Token"),
    )


def _parse_expires(text: str) -> int:
    """X-Amz-Expires in seconds, up to a week; 0 parses, and has expired whenever it is looked at."""
    digits = text.removeprefix("-")
    if not digits.isdecimal() or not digits.isascii() or len(digits) > 18:
        raise AuthorizationQueryParametersError("X-Amz-Expires should be a number")
    if text.startswith("-"):
        raise AuthorizationQueryParametersError("X-Amz-Expires must be non-negative")
    if int(text) > EXPIRES_MAX_S:
        raise AuthorizationQueryParametersError(
            "X-Amz-Expires must be less than a week (in seconds); that is, the given X-Amz-Expires must be less than "
            "604800 seconds"
        )
    return int(text)


@lru_cache(maxsize=1024)
def parse_credential(text: str, *, presigned: bool, expected: str = "s3") -> tuple[str, str, str, str]:
    """(access key, date, region, service) of a credential; its form and its last two words are checked."""
    words = text.rsplit("/", 4)
    problem = ""
    if len(words) != 5 or not words[0] or len(words[1]) != 8 or not words[1].isdecimal() or not words[2]:
        problem = 'the Credential is mal-formed; expecting "<YOUR-AKID>/YYYYMMDD/REGION/SERVICE/aws4_request".'
    elif words[3] != expected:
        problem = f'incorrect service "{words[3]}". This endpoint belongs to "{expected}".'
    elif words[4] != "aws4_request":
        problem = f'incorrect terminal "{words[4]}". This endpoint uses "aws4_request".'
    if problem:
        raise (
            AuthorizationQueryParametersError(f"Error parsing the X-Amz-Credential parameter; {problem}")
            if presigned
            else _malformed(problem)
        )
    return words[0], words[1], words[2], words[3]


@lru_cache(maxsize=1024)
def _check_signed_headers(text: str, *, presigned: bool) -> str:
    """The SignedHeaders list if it is one: lower case, each once, with host."""
    names = text.split(";")
    if text != text.lower() or len(set(names)) != len(names) or not all(names):
        raise (
            AuthorizationQueryParametersError("X-Amz-SignedHeaders is mal-formed")
            if presigned
            else _malformed("the SignedHeaders list is mal-formed")
        )
    if "host" not in names:
        raise AccessDenied("There were headers present in the request which were not signed", HeadersNotSigned="host")
    return text


def _malformed(what: str) -> S3Error:
    return AuthorizationHeaderMalformed(f"The authorization header is malformed; {what}")


def _unsupported_mechanism() -> S3Error:
    return InvalidRequest(f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}.")


@lru_cache(maxsize=4096)
def derive_signing_key(secret: str, date: str, region: str, service: str = "s3") -> bytes:
    """The signing key of a secret for one day, region and service; cached, since it repeats with every request."""
    key = hmac_digest(b"AWS4" + secret.encode(), date.encode(), "sha256")
    key = hmac_digest(key, region.encode(), "sha256")
    key = hmac_digest(key, service.encode(), "sha256")
    return hmac_digest(key, b"aws4_request", "sha256")


def canonicalise_request(
    method: str,
    raw_path: str,
    canonical_query: str,
    headers: Mapping[str, str],
    signed_headers: str,
    payload_hash: str,
) -> str:
    """The canonical request. ``headers``: folded; a signed header that is missing counts as empty."""
    names = _split_signed(signed_headers)
    block = "\n".join([f"{name}:{headers.get(name, '')}" for name in names])
    if "  " in block or "\t" in block:
        block = "\n".join([f"{name}:{_SPACES.sub(' ', headers.get(name, ''))}" for name in names])
    path = canonicalise_path(raw_path)
    return f"{method}\n{path}\n{canonical_query}\n{block}\n\n{signed_headers}\n{payload_hash}"


def string_to_sign(timestamp: str, scope: str, canonical_request: str) -> str:
    """The string to sign of a canonical request."""
    hashed = sha256(canonical_request.encode("utf-8", "surrogateescape")).hexdigest()
    return f"{ALGORITHM}\n{timestamp}\n{scope}\n{hashed}"


@lru_cache(maxsize=4096)
def _start_hmac(key: bytes) -> tuple[Any, Any]:
    """The two SHA-256 states every HMAC of a key begins with (RFC 2104); keys of at most a block."""
    block = key.ljust(64, b"\0")
    return sha256(block.translate(_INNER_PAD)), sha256(block.translate(_OUTER_PAD))


def sign_string(signing_key: bytes, text: str) -> str:
    """Hex HMAC-SHA256 of ``text``: from copied states, which costs half of what starting anew does."""
    inner, outer = _start_hmac(signing_key)
    inner, outer = inner.copy(), outer.copy()
    inner.update(text.encode("utf-8", "surrogateescape"))
    outer.update(inner.digest())
    digest: str = outer.hexdigest()
    return digest


def verify(
    claim: Claim,
    secret: str,
    method: str,
    raw_path: str,
    query: Query,
    headers: Mapping[str, str],
    now_s: int,
    *,
    region: str | None = None,
    session_token: str | None = None,
    payload_hash: str = "",
) -> Verified:
    """Check a claim against its secret; return what the body's check goes on from, or raise the S3 error.

    ``raw_path`` and ``query.raw`` as they arrived; ``headers``: folded, not merged; ``region``: the only one
    accepted, None accepts any; ``session_token``: the one that belongs to the access key; ``payload_hash``: what the
    body was found to hash to, for services whose requests need not name it in a header.
    """
    _check_time(claim, now_s)
    if claim.date != claim.timestamp[:8]:  # of a presigned request it was checked when it was parsed
        raise _malformed(
            f'Invalid credential date "{claim.date}". This date is not the same as X-Amz-Date: "{claim.timestamp[:8]}"'
        )
    if region is not None and claim.region != region:
        problem = f"the region '{claim.region}' is wrong; expecting '{region}'"
        if claim.presigned:
            raise AuthorizationQueryParametersError(
                f"Error parsing the X-Amz-Credential parameter; {problem}", Region=region
            )
        raise AuthorizationHeaderMalformed(f"The authorization header is malformed; {problem}", Region=region)
    if (claim.session_token or session_token) and not _equal(claim.session_token or "", session_token or ""):
        raise InvalidToken
    _check_all_signed(claim.signed_headers, headers)
    if claim.presigned:
        said = query.params.get("X-Amz-Content-Sha256") or headers.get("x-amz-content-sha256", UNSIGNED_PAYLOAD)
        payload_hash = payload_hash or said
        canonical_query = canonicalise_query(query, without="X-Amz-Signature")
    else:
        payload_hash = payload_hash or headers.get("x-amz-content-sha256", "")
        if not payload_hash:
            raise InvalidRequest("Missing required header for this request: x-amz-content-sha256")
        canonical_query = canonicalise_query(query)
    canonical = canonicalise_request(method, raw_path, canonical_query, headers, claim.signed_headers, payload_hash)
    to_sign = string_to_sign(claim.timestamp, claim.scope, canonical)
    signing_key = derive_signing_key(secret, claim.date, claim.region, claim.service)
    if not _equal(sign_string(signing_key, to_sign), claim.signature):
        raise SignatureDoesNotMatch(
            None,
            AWSAccessKeyId=claim.access_key,
            StringToSign=to_sign,
            SignatureProvided=claim.signature,
            CanonicalRequest=canonical,
        )
    return Verified(claim, signing_key, payload_hash)


def _equal(one: str, other: str) -> bool:
    """Constant-time comparison of text that may hold anything."""
    if one.isascii() and other.isascii():
        return compare_digest(one, other)
    return compare_digest(one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape"))


def _check_time(claim: Claim, now_s: int) -> None:
    """The 15 minutes of a signed header, or the life of a presigned URL."""
    if claim.presigned:
        if claim.time_s > now_s + SKEW_MAX_S:
            raise AccessDenied("Request is not yet valid")
        if now_s > claim.time_s + claim.expires_s or not claim.expires_s:
            raise AccessDenied(
                "Request has expired",
                XAmzExpires=claim.expires_s,
                Expires=format_iso((claim.time_s + claim.expires_s) * 1000),
                ServerTime=format_iso(now_s * 1000),
            )
    elif abs(now_s - claim.time_s) > SKEW_MAX_S:
        raise RequestTimeTooSkewed(
            None,
            RequestTime=claim.timestamp,
            ServerTime=format_iso(now_s * 1000),
            MaxAllowedSkewMilliseconds=SKEW_MAX_S * 1000,
        )


@lru_cache(maxsize=1024)
def _split_signed(signed_headers: str) -> tuple[str, ...]:
    return tuple(signed_headers.split(";"))


@lru_cache(maxsize=1024)
def _signed_set(signed_headers: str) -> frozenset[str]:
    return frozenset(_split_signed(signed_headers))


def _check_all_signed(signed_headers: str, headers: Mapping[str, str]) -> None:
    """Every ``x-amz-*`` header that arrived must be signed: an unsigned one could be anybody's."""
    unsigned = [name for name in headers.keys() - _signed_set(signed_headers) if name[:6] == "x-amz-"]
    if unsigned:
        raise AccessDenied(
            "There were headers present in the request which were not signed",
            HeadersNotSigned=", ".join(sorted(unsigned)),
        )


def sign_request(
    method: str,
    raw_path: str,
    query: Query,
    headers: Mapping[str, str],
    *,
    access_key: str,
    secret: str,
    now_s: int,
    region: str = "us-east-1",
    payload_hash: str = EMPTY_SHA256,
) -> dict[str, str]:
    """Headers (lower case, with ``host``) plus date, payload hash and Authorization. For tests and bench."""
    timestamp = format_basic(now_s)
    signed = {**headers, "x-amz-date": timestamp, "x-amz-content-sha256": payload_hash}
    names = ";".join(sorted(signed))
    scope = f"{timestamp[:8]}/{region}/s3/aws4_request"
    canonical = canonicalise_request(method, raw_path, canonicalise_query(query), signed, names, payload_hash)
    key = derive_signing_key(secret, timestamp[:8], region)
    signature = sign_string(key, string_to_sign(timestamp, scope, canonical))
    signed["authorization"] = (
        f"{ALGORITHM} Credential={access_key}/{scope}, SignedHeaders={names}, Signature={signature}"
    )
    return signed


def presign(
    method: str,
    raw_path: str,
    pairs: Iterable[tuple[str, str]],
    headers: Mapping[str, str],
    *,
    access_key: str,
    secret: str,
    now_s: int,
    expires_s: int,
    region: str = "us-east-1",
) -> str:
    """The raw query string of a presigned URL; ``headers`` (lower case, with ``host``) are signed. For tests."""
    timestamp = format_basic(now_s)
    scope = f"{timestamp[:8]}/{region}/s3/aws4_request"
    names = ";".join(sorted(headers))
    everything = (
        *pairs,
        ("X-Amz-Algorithm", ALGORITHM),
        ("X-Amz-Credential", f"{access_key}/{scope}"),
        ("X-Amz-Date", timestamp),
        ("X-Amz-Expires", str(expires_s)),
        ("X-Amz-SignedHeaders", names),
    )
    raw = "&".join(
        f"{name}={value}" for name, value in sorted((encode_component(n), encode_component(v)) for n, v in everything)
    )
    canonical = canonicalise_request(method, raw_path, raw, headers, names, UNSIGNED_PAYLOAD)
    key = derive_signing_key(secret, timestamp[:8], region)
    return f"{raw}&X-Amz-Signature={sign_string(key, string_to_sign(timestamp, scope, canonical))}"
