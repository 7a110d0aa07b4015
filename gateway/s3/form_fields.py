"""What the fields of a form upload mean: who signs it, where the object goes, what is stored, how to answer. Pure.

    fields (``form``) → expand ${filename} → claim, signature → policy (``post_policy``) → headers as a PUT has them

Fields are folded to the names of the headers that PutObject takes, so that everything stored is read by the same
parsers. The signature is over the policy as sent, in base64: Signature Version 4, or the legacy Version 2 of forms
(HMAC-SHA1), which many upload widgets still make; the caller says whether that is taken.

Source: "POST Object", "Authenticating Requests in Browser-Based Uploads Using POST" (Signature Version 4) and
"Browser-Based Uploads Using POST" (Signature Version 2), Amazon S3 API reference.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from hmac import compare_digest
from hmac import digest as hmac_digest
from typing import Final, NamedTuple
from urllib.parse import urlsplit

from gateway.s3.errors import (
    InvalidRequest,
    SignatureDoesNotMatch,
    escape_text,
    invalid_argument,
    not_implemented_header,
)
from gateway.s3.names import check_key
from gateway.s3.sigv4 import ALGORITHM, derive_signing_key, parse_credential, sign_string
from gateway.s3.times import parse_basic
from gateway.s3.uri import encode_component

FILENAME: Final = "${filename}"
_SIGNING: Final = frozenset(
    {
        "policy",
        "signature",
        "awsaccesskeyid",
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-signature",
        "x-amz-security-token",
    }
)
_NOT_EXPANDED: Final = frozenset({"policy", "signature", "x-amz-signature"})
_FORM_ONLY: Final = _SIGNING | {"key", "bucket", "file", "redirect", "success_action_redirect", "success_action_status"}
_RENAMED: Final = {"acl": "x-amz-acl"}
_HEADERS: Final = frozenset(
    {
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "content-md5",
        "content-type",
        "expires",
        "if-match",
        "if-none-match",
        "if-unmodified-since",
    }
)
# What these say of a PUT's body has no meaning for a file inside a form.
_REFUSED: Final = frozenset({"x-amz-decoded-content-length", "x-amz-trailer", "x-amz-content-sha256"})


class FormClaim(NamedTuple):
    """Who a form claims to be signed by. ``version``: 4 or 2; ``date``, ``region``: the scope of version 4."""

    access_key: str
    policy: str
    signature: str
    version: int
    date: str = ""
    region: str = ""
    session_token: str | None = None


class FormUpload(NamedTuple):
    """Where a form's file goes and what else it asks for.

    ``headers``: what PutObject would have as headers; ``tagging``: the Tagging document or empty; ``redirect``: an
    http(s) URL or empty; ``status``: 200, 201 or 204 of a success without redirect.
    """

    key: str
    headers: dict[str, str]
    tagging: str
    redirect: str
    status: int


def expand_fields(fields: Mapping[str, str], filename: str) -> dict[str, str]:
    """The fields with ``${filename}`` filled in: the last component of the path the client gave, "" without one."""
    name = filename.replace("\\", "/").rpartition("/")[2]
    return {
        field: value if field in _NOT_EXPANDED or FILENAME not in value else value.replace(FILENAME, name)
        for field, value in fields.items()
    }


def parse_form_claim(fields: Mapping[str, str]) -> FormClaim | None:
    """The claim of a form; None if it is nobody's. ``InvalidArgument`` if it is signed by halves or in two ways."""
    newer = "x-amz-signature" in fields or "x-amz-credential" in fields or "x-amz-algorithm" in fields
    older = "signature" in fields or "awsaccesskeyid" in fields
    if not newer and not older and "policy" not in fields:
        return None
    if newer and older:
        raise invalid_argument("Only one auth mechanism allowed", "signature", fields.get("signature", ""))
    if not newer:
        return FormClaim(
            _demand(fields, "AWSAccessKeyId"),
            _demand(fields, "policy"),
            _demand(fields, "signature"),
            2,
            session_token=fields.get("x-amz-security-token"),
        )
    algorithm = _demand(fields, "x-amz-algorithm")
    if algorithm != ALGORITHM:
        raise invalid_argument(f'X-Amz-Algorithm only supports "{ALGORITHM}"', "x-amz-algorithm", algorithm)
    access_key, date, region, _ = parse_credential(_demand(fields, "x-amz-credential"), presigned=True)
    timestamp = _demand(fields, "x-amz-date")
    if parse_basic(timestamp) is None or timestamp[:8] != date:
        raise invalid_argument(
            "X-Amz-Date must be in the ISO8601 Long Format \"yyyyMMdd'T'HHmmss'Z'\" and on the credential's date",
            "x-amz-date",
            timestamp,
        )
    return FormClaim(
        access_key,
        _demand(fields, "policy"),
        _demand(fields, "x-amz-signature"),
        4,
        date,
        region,
        fields.get("x-amz-security-token"),
    )


def _demand(fields: Mapping[str, str], name: str) -> str:
    """A field that must be there and not be empty."""
    value = fields.get(name.lower(), "")
    if not value:
        raise invalid_argument(
            f"Bucket POST must contain a field named '{name}'.  If it is specified, please check the order of the "
            "fields.",
            name,
            "",
        )
    return value


def sign_policy(claim: FormClaim, secret: str) -> str:
    """The signature of a form's policy: hex for version 4, base64 for version 2."""
    if claim.version == 4:
        return sign_string(derive_signing_key(secret, claim.date, claim.region), claim.policy)
    return b64encode(hmac_digest(secret.encode(), claim.policy.encode(), "sha1")).decode()


def verify_form(claim: FormClaim, secret: str, *, version_2: bool = True) -> None:
    """Check a form's signature, in constant time; ``version_2``: whether the legacy one is taken.

    Raises ``InvalidRequest`` (version 2 not taken), ``SignatureDoesNotMatch``.
    """
    if claim.version == 2 and not version_2:
        raise InvalidRequest(f"The authorization mechanism you have provided is not supported. Please use {ALGORITHM}.")
    if not compare_digest(sign_policy(claim, secret).encode(), claim.signature.strip().encode()):
        raise SignatureDoesNotMatch(
            None, AWSAccessKeyId=claim.access_key, StringToSign=claim.policy, SignatureProvided=claim.signature
        )


def parse_form_key(fields: Mapping[str, str]) -> str:
    """The key an (expanded) form names; ``InvalidArgument`` without one, and the errors of keys."""
    return check_key(_demand(fields, "key"))


def parse_form(fields: Mapping[str, str]) -> FormUpload:
    """What an (expanded, permitted) form asks for; the errors of its values."""
    headers: dict[str, str] = {}
    for name, value in fields.items():
        header = _RENAMED.get(name, name)
        if name in _FORM_ONLY or not (header in _HEADERS or header.startswith("x-amz-")):
            continue
        if header in _REFUSED:
            raise not_implemented_header(header, value)
        if any(ord(character) < 32 or ord(character) == 127 for character in value):
            raise invalid_argument("A field's value cannot contain control characters", name, value)
        if header.startswith("x-amz-") and not _is_header_name(header):
            raise invalid_argument("A field's name must be that of a header", name, value)
        if header in headers:
            raise invalid_argument("A field may be given only once", name, value)
        headers[header] = value.strip(" ")
    status = fields.get("success_action_status", "").strip()
    redirects = [fields.get("success_action_redirect", ""), fields.get("redirect", "")]
    return FormUpload(
        parse_form_key(fields),
        headers,
        fields.get("tagging", ""),
        next(filter(_is_web_address, redirects), ""),
        int(status) if status in ("200", "201") else 204,
    )


def _is_header_name(name: str) -> bool:
    """Whether a name could stand in a header of an answer (RFC 9110 token)."""
    return name.isascii() and all(character.isalnum() or character in "!#$%&'*+-.^_`|~" for character in name)


def _is_web_address(url: str) -> bool:
    """Whether ``url`` can be redirected to; AWS ignores what it cannot interpret."""
    if not url.isprintable() or " " in url or not url.isascii():
        return False
    try:
        parts = urlsplit(url)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)


def render_redirect(url: str, bucket: str, key: str, etag: str) -> str:
    """Where a successful upload's browser goes: bucket, key and the quoted ETag join the query."""
    head, hash_sign, fragment = url.partition("#")
    joint = "&" if "?" in head else "?"
    shown = encode_component(f'"{etag}"')
    query = f"bucket={encode_component(bucket)}&key={encode_component(key)}&etag={shown}"
    return f"{head}{joint}{query}{hash_sign}{fragment}"


def render_post_response(location: str, bucket: str, key: str, etag: str) -> bytes:
    """The PostResponse document of a success with status 201."""
    elements = (("Location", location), ("Bucket", bucket), ("Key", key), ("ETag", f'"{etag}"'))
    body = "".join(f"<{name}>{escape_text(value)}</{name}>" for name, value in elements)
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<PostResponse>{body}</PostResponse>'.encode()
