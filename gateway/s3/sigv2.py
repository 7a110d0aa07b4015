"""URLs presigned with Signature Version 2: what boto3 makes unless told otherwise. Claim → verified. Pure.

AWS has version 2 switched off for new buckets, yet its default SDK for Python still presigns with it for endpoints that
are not AWS's, so refusing it would surprise most who try. Only URLs are taken, never the Authorization header, and only
what the signature covers: a parameter that it does not (a listing's prefix, say) is refused rather than believed.

HMAC-SHA1 over: method, Content-MD5, Content-Type, Expires, every ``x-amz-*`` header (or parameter that stands for one),
and the resource with the subresources and response overrides below. Host and body are not signed.
Source: "Signing and authenticating REST requests" (AWS signature version 2), Amazon S3 developer guide of 2006-03-01.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Final

from gateway.s3.errors import AccessDenied, InvalidRequest, InvalidToken, SignatureDoesNotMatch, invalid_argument
from gateway.s3.names import Target
from gateway.s3.sigv4 import UNSIGNED_PAYLOAD, Claim, Verified
from gateway.s3.times import format_iso
from gateway.s3.uri import Query

_AUTHENTICATION: Final = frozenset({"AWSAccessKeyId", "Signature", "Expires"})
_PLAIN_HEADERS: Final = frozenset({"content-md5", "content-type"})
_SIGNED: Final = frozenset(
    {
        *(
            "acl",
            "accelerate",
            "analytics",
            "cors",
            "delete",
            "inventory",
            "lifecycle",
            "location",
            "logging",
            "metrics",
        ),
        *("notification", "object-lock", "partNumber", "policy", "replication", "requestPayment", "restore", "select"),
        *("select-type", "tagging", "torrent", "uploadId", "uploads", "versionId", "versioning", "versions", "website"),
        *("response-cache-control", "response-content-disposition", "response-content-encoding"),
        *("response-content-language", "response-content-type", "response-expires"),
    }
)
_IGNORED: Final = frozenset({"x-id"})  # names the operation, for people who read logs
_EXPIRES_DIGITS_MAX: Final = 12


def is_version_2(query: Query) -> bool:
    """Whether a URL claims to be presigned with version 2."""
    return "AWSAccessKeyId" in query.params and "Signature" in query.params


def parse_presigned(query: Query, headers: Mapping[str, str]) -> Claim:
    """The claim of such a URL. Its ``timestamp`` is Expires as sent; when it was signed is not known (``time_s`` 0).

    Raises ``InvalidArgument`` (credentials in a header, too), ``AccessDenied`` (no expiry), ``InvalidRequest`` for
    parameters that the signature would not cover, or that stand there twice.
    """
    if headers.get("authorization"):
        raise invalid_argument("Only one auth mechanism allowed", "Authorization", "")
    expires = query.params.get("Expires", "")
    if not (expires.isascii() and expires.isdecimal()) or len(expires) > _EXPIRES_DIGITS_MAX:
        raise AccessDenied("Query-string authentication requires the Signature, Expires and AWSAccessKeyId parameters")
    seen: set[str] = set()
    for name, _ in query.pairs:
        covered = name in _AUTHENTICATION or name in _SIGNED or name.lower().startswith("x-amz-")
        if name in seen or not (covered or name in _PLAIN_HEADERS or name in _IGNORED):
            raise InvalidRequest(
                f"Signature version 2 does not cover the query parameter {name}. Please presign with AWS4-HMAC-SHA256."
            )
        seen.add(name)
    return Claim(
        query.params["AWSAccessKeyId"],
        *("", "", "s3", expires, 0, "", query.params["Signature"], True),
        session_token=_security_token(query, headers),
    )


def verify_presigned(
    claim: Claim,
    secret: str,
    method: str,
    target: Target,
    query: Query,
    headers: Mapping[str, str],
    now_s: int,
    *,
    session_token: str | None = None,
) -> Verified:
    """Check a claim against its secret: expiry, session token, signature. ``headers``: folded, as they came."""
    if now_s >= int(claim.timestamp):
        raise AccessDenied(
            "Request has expired", Expires=format_iso(int(claim.timestamp) * 1000), ServerTime=format_iso(now_s * 1000)
        )
    if not _equal(claim.session_token or "", session_token or ""):
        raise InvalidToken
    to_sign = string_to_sign(method, target, query, headers)
    mac = hmac_digest(secret.encode(), to_sign.encode("utf-8", "surrogateescape"), "sha1")
    if not _equal(b64encode(mac).decode(), claim.signature):
        raise SignatureDoesNotMatch(
            None, AWSAccessKeyId=claim.access_key, StringToSign=to_sign, SignatureProvided=claim.signature
        )
    return Verified(claim, b"", headers.get("x-amz-content-sha256") or UNSIGNED_PAYLOAD)


def string_to_sign(method: str, target: Target, query: Query, headers: Mapping[str, str]) -> str:
    """What version 2 signs of a request by query."""
    amz = {name.lower(): value for name, value in query.pairs if name.lower().startswith("x-amz-")}
    amz.update({name: value for name, value in headers.items() if name.startswith("x-amz-")})
    plain = [headers.get(name, query.params.get(name, "")) for name in ("content-md5", "content-type")]
    path = f"/{target.bucket}{target.raw_path}" if target.virtual_host else target.raw_path
    if target.bucket is not None and target.key is None and not path.endswith("/"):
        path += "/"  # a bucket is signed with its slash, whether or not the URL has it
    signed = sorted((name, value) for name, value in query.pairs if name in _SIGNED)
    # A subresource without a value is written without an equals sign, whatever the URL has.
    resource = "&".join([f"{name}={value}" if value else name for name, value in signed])
    lines = [method, *plain, query.params["Expires"], *[f"{name}:{amz[name]}" for name in sorted(amz)]]
    return "\n".join([*lines, f"{path}?{resource}" if resource else path])


def _security_token(query: Query, headers: Mapping[str, str]) -> str | None:
    """The session token: a header, or the parameter that stands for it."""
    named = [value for name, value in query.pairs if name.lower() == "x-amz-security-token"]
    return headers.get("x-amz-security-token", named[0] if named else None)


def _equal(one: str, other: str) -> bool:
    """Constant-time comparison of text that may hold anything."""
    return compare_digest(one.encode("utf-8", "surrogateescape"), other.encode("utf-8", "surrogateescape"))
