"""What a client stores with an object by headers: system headers, user metadata, Content-MD5 and checksums. Pure.

Names are lower case without ``x-amz-meta-``, as records keep them. User metadata is limited to 2 KB (names and values
in UTF-8 bytes, User Guide "Working with object metadata"); values that are not UTF-8 are taken as Latin-1.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.s3.checksums import ALGORITHMS, BY_HEADER, COMPOSITE, FULL_OBJECT, decode_digest
from gateway.s3.errors import (
    InvalidDigest,
    InvalidRedirectLocation,
    InvalidRequest,
    InvalidStorageClass,
    MetadataTooLarge,
    invalid_argument,
)
from gateway.s3.headers import CHECKSUM_PREFIX, METADATA_PREFIX
from gateway.s3.lifecycle_rules import ARCHIVES

METADATA_BYTES_MAX: Final = 2048
SYSTEM_HEADERS: Final = (
    "content-type",
    "cache-control",
    "content-disposition",
    "content-encoding",
    "content-language",
    "expires",
    "x-amz-website-redirect-location",
)
_SYSTEM_HEADERS: Final = frozenset(SYSTEM_HEADERS)
STORAGE_CLASSES: Final = frozenset(
    {"STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"}
)
"""The storage classes that a write may ask for: kept and told, and the same local disk whichever it is."""
DEFAULT_CONTENT_TYPE: Final = "binary/octet-stream"


class ChecksumClaim(NamedTuple):
    """What a client says of its body's checksum.

    ``algorithm``: AWS's name, empty if none; ``value``: base64, empty if it comes in the trailer or only the algorithm
    was named; ``in_trailer``: whether ``x-amz-trailer`` announces it; ``type``: FULL_OBJECT, COMPOSITE or empty.
    """

    algorithm: str = ""
    value: str = ""
    in_trailer: bool = False
    type: str = ""


NO_CHECKSUM: Final = ChecksumClaim()
_NO_CHECKSUM: Final = "Missing required header for this request: Content-MD5 OR x-amz-checksum-*"


def contest_headers(losers: int, lost_to: str = "", broken: str = "") -> dict[str, str]:
    """What a read tells of a collision of two sites' writes, in headers of Skerry's own; none where nothing collided.

    ``x-skerry-conflict-count``: conflict versions that are kept at the key. ``x-skerry-conflict``: this is one of
    them, and lost to a ``write`` or a ``delete``. ``x-skerry-broken-condition``: the condition, by its header's name,
    that this version was written under and that did not hold when both sites' writes were merged.
    """
    headers = {}
    if losers:
        headers["x-skerry-conflict-count"] = str(losers)
    if lost_to:
        headers["x-skerry-conflict"] = f"lost-to-{lost_to}"
    if broken:
        headers["x-skerry-broken-condition"] = broken.lower()
    return headers


def decode_header_text(value: str) -> str:
    """A folded header value as text: UTF-8 if it is, else Latin-1 of the same bytes."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-8", "surrogateescape").decode("latin-1")
    return value


def parse_system_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """The system headers to keep, as sent; ``aws-chunked`` is a transfer matter and leaves Content-Encoding."""
    if _SYSTEM_HEADERS.isdisjoint(headers):
        return {}
    kept = {name: decode_header_text(headers[name]) for name in SYSTEM_HEADERS if headers.get(name)}
    encoding = kept.get("content-encoding")
    if encoding is not None and "aws-chunked" in encoding.lower():
        codings = [coding.strip() for coding in encoding.split(",")]
        rest = ",".join(coding for coding in codings if coding and coding.lower() != "aws-chunked")
        if rest:
            kept["content-encoding"] = rest
        else:
            del kept["content-encoding"]
    redirect = kept.get("x-amz-website-redirect-location")
    if redirect is not None and not redirect.startswith(("/", "http://", "https://")):
        raise InvalidRedirectLocation
    return kept


def parse_metadata(headers: Mapping[str, str]) -> dict[str, str]:
    """User metadata by name; ``MetadataTooLarge`` beyond 2 KB."""
    metadata = {}
    size = 0
    for name, value in headers.items():
        if name.startswith(METADATA_PREFIX):
            short = decode_header_text(name[len(METADATA_PREFIX) :])
            text = decode_header_text(value)
            size += len(short.encode()) + len(text.encode())
            metadata[short] = text
    if size > METADATA_BYTES_MAX:
        raise MetadataTooLarge(None, Size=size, MaxSizeAllowed=METADATA_BYTES_MAX)
    return metadata


def parse_storage_class(headers: Mapping[str, str]) -> str:
    """The storage class asked for: one of ``STORAGE_CLASSES``, or an archive, if the site has one (``place_class``).

    ``InvalidStorageClass`` for what is none of S3's.
    """
    name = headers.get("x-amz-storage-class", "STANDARD")
    if name in STORAGE_CLASSES or name in ARCHIVES:
        return name
    raise InvalidStorageClass(None, StorageClassRequested=name)


def parse_content_md5(headers: Mapping[str, str]) -> bytes | None:
    """16 bytes of Content-MD5, None without one; ``InvalidDigest`` if it is not base64 of 16 bytes."""
    text = headers.get("content-md5")
    if text is None:
        return None
    digest = decode_digest(text.strip(), 16)
    if digest is None:
        raise InvalidDigest(None, ContentMD5=text)
    return digest


def parse_checksum(headers: Mapping[str, str], *, with_type: bool = False) -> ChecksumClaim:
    """The one checksum a request claims for its body. ``InvalidRequest`` where headers contradict each other."""
    given = [name for name in headers if name.startswith(CHECKSUM_PREFIX) and name in BY_HEADER]
    trailer = headers.get("x-amz-trailer", "").strip().lower()
    named = headers.get("x-amz-sdk-checksum-algorithm", "").upper()
    if not given and not trailer and not named:
        return ChecksumClaim(type=_parse_type(headers)) if with_type else NO_CHECKSUM
    if len(given) + (trailer in BY_HEADER) > 1:
        raise InvalidRequest("Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed.")
    if named and named not in ALGORITHMS:
        raise InvalidRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.")
    kind = _parse_type(headers) if with_type else ""
    if given:
        algorithm = BY_HEADER[given[0]]
        if named and named != algorithm.name:
            raise InvalidRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.")
        value = headers[given[0]].strip()
        return ChecksumClaim(algorithm.name, _check_value(given[0], value, algorithm.size, with_type), False, kind)
    if trailer in BY_HEADER:
        algorithm = BY_HEADER[trailer]
        if named and named != algorithm.name:
            raise InvalidRequest("Value for x-amz-sdk-checksum-algorithm header is invalid.")
        return ChecksumClaim(algorithm.name, "", True, kind)
    if "x-amz-decoded-content-length" in headers or "content-md5" not in headers:
        raise InvalidRequest(
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers "
            "were found."
        )
    return NO_CHECKSUM


def require_checksum(headers: Mapping[str, str], message: str = _NO_CHECKSUM) -> None:
    """``InvalidRequest`` unless Content-MD5 or a checksum vouches for the body, where AWS demands one."""
    if "content-md5" in headers or any(name in BY_HEADER for name in headers):
        return
    if not parse_checksum(headers).in_trailer:
        raise InvalidRequest(message)


def _check_value(header: str, value: str, size: int, with_type: bool) -> str:
    """A base64 checksum of the right size; of a completed upload it may be composite (``-N``)."""
    digest, _, count = value.partition("-") if with_type else (value, "", "1")
    if decode_digest(digest, size) is None or (count and not (count.isascii() and count.isdecimal())):
        raise InvalidRequest(f"Value for {header} header is invalid.")
    return value


def _parse_type(headers: Mapping[str, str]) -> str:
    """x-amz-checksum-type, or empty."""
    kind = headers.get("x-amz-checksum-type", "").upper()
    if kind not in ("", FULL_OBJECT, COMPOSITE):
        raise InvalidRequest("Value for x-amz-checksum-type header is invalid.")
    return kind


def parse_upload_checksum(headers: Mapping[str, str]) -> ChecksumClaim:
    """What CreateMultipartUpload (or CopyObject) asks for: algorithm and type; checked against each other."""
    name = headers.get("x-amz-checksum-algorithm", "").upper()
    kind = _parse_type(headers)
    if not name:
        if kind:
            raise InvalidRequest(
                "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
            )
        return NO_CHECKSUM
    if name not in ALGORITHMS:
        raise InvalidRequest(
            f"Checksum algorithm provided is unsupported. Please try again with any of the valid types: "
            f"[{', '.join(ALGORITHMS)}]"
        )
    if kind and kind not in ALGORITHMS[name].types:
        raise InvalidRequest(f"The {kind} checksum type cannot be used with the {name.lower()} checksum algorithm.")
    return ChecksumClaim(name, "", False, kind)


def parse_checksum_mode(headers: Mapping[str, str]) -> bool:
    """Whether a GET or HEAD asks for the stored checksum."""
    mode = headers.get("x-amz-checksum-mode")
    if mode is None:
        return False
    if mode.upper() != "ENABLED":
        raise invalid_argument("Invalid checksum mode", "x-amz-checksum-mode", mode)
    return True
