"""What each operation asks for: query and headers → frozen values. Pure; no bodies (those are ``bodies``).

``query`` is the mapping of first decoded values (``Query.params``); ``headers`` are folded and merged with those that a
presigner moved into the query (``headers.merge_query_headers``). What is malformed is AWS's ``InvalidArgument`` with
the argument's name; what Skerry does not do was refused before by ``headers.refuse_unknown``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from gateway.s3.attributes import NO_ATTRIBUTES, Attributes, parse_attributes
from gateway.s3.conditions import (
    Conditions,
    DeleteConditions,
    parse_conditions,
    parse_delete_conditions,
    refuse_preconditions,
    refuse_unsupported_write,
)
from gateway.s3.errors import (
    EntityTooLarge,
    InvalidRequest,
    InvalidURI,
    MissingContentLength,
    S3Error,
    invalid_argument,
)
from gateway.s3.names import check_key
from gateway.s3.object_headers import (
    ChecksumClaim,
    parse_checksum,
    parse_checksum_mode,
    parse_content_md5,
    parse_metadata,
    parse_storage_class,
    parse_system_headers,
    parse_upload_checksum,
)
from gateway.s3.sse_customer import CustomerKey, parse_customer_key
from gateway.s3.tagging import parse_tagging_directive
from gateway.s3.uri import decode_percent

OBJECT_BYTES_MAX: Final = 5 * 1024**4
PUT_BYTES_MAX: Final = 5 * 1024**3
PART_BYTES_MIN: Final = 5 * 1024**2
PART_NUMBER_MAX: Final = 10_000
_INT_MAX: Final = 2**31 - 1
_SOURCE_BUCKET: Final = re.compile(r"[A-Za-z0-9._-]{1,255}")  # as buckets of us-east-1 once could be called
_OVERRIDES: Final = {
    "response-content-type": "Content-Type",
    "response-content-language": "Content-Language",
    "response-expires": "Expires",
    "response-cache-control": "Cache-Control",
    "response-content-disposition": "Content-Disposition",
    "response-content-encoding": "Content-Encoding",
}


class GetParameters(msgspec.Struct, frozen=True, gc=False):
    """GetObject and HeadObject. ``range``: the header as sent, for ``ranges.parse_range`` when the size is known."""

    version_id: str | None
    part_number: int | None
    range: str | None
    conditions: Conditions
    overrides: dict[str, str]
    checksum_mode: bool
    if_range: str | None = None


class ObjectHeaders(NamedTuple):
    """What is stored with an object by headers (lower case names; metadata without ``x-amz-meta-``)."""

    headers: dict[str, str]
    metadata: dict[str, str]
    storage_class: str
    attributes: Attributes = NO_ATTRIBUTES


class PutParameters(msgspec.Struct, frozen=True, gc=False):
    """PutObject. ``content_md5``: 16 bytes or None; ``offset``: append there; None: replace."""

    stored: ObjectHeaders
    conditions: Conditions
    content_md5: bytes | None
    checksum: ChecksumClaim
    offset: int | None = None


class PartParameters(NamedTuple):
    """UploadPart."""

    upload_id: str
    number: int
    content_md5: bytes | None
    checksum: ChecksumClaim


class CopySource(NamedTuple):
    """Where a copy comes from; ``version_id`` None for the current version; ``conditions`` on the source; ``customer``:
    the key it is encrypted with.
    """

    bucket: str
    key: str
    version_id: str | None
    conditions: Conditions
    expected_owner: str | None
    customer: CustomerKey | None = None


class CopyParameters(NamedTuple):
    """CopyObject. ``replace``: headers and metadata are those of ``stored``, not the source's; ``replace_tags``: so are
    the tags.
    """

    source: CopySource
    stored: ObjectHeaders
    replace: bool
    conditions: Conditions
    checksum: ChecksumClaim
    storage_class_given: bool
    replace_tags: bool = False


class PartCopyParameters(NamedTuple):
    """UploadPartCopy. ``range``: as sent, for ``ranges.parse_copy_range``; None for the whole source."""

    upload_id: str
    number: int
    source: CopySource
    range: str | None


class UploadParameters(NamedTuple):
    """CreateMultipartUpload."""

    stored: ObjectHeaders
    checksum: ChecksumClaim


class CompleteParameters(NamedTuple):
    """CompleteMultipartUpload, besides its body. ``object_bytes``: the size the client expects, or None."""

    upload_id: str
    conditions: Conditions
    checksum: ChecksumClaim
    object_bytes: int | None


class DeleteParameters(NamedTuple):
    """DeleteObject."""

    version_id: str | None
    conditions: DeleteConditions


def parse_integer(query: Mapping[str, str], name: str, default: int, low: int = 0, high: int = _INT_MAX) -> int:
    """A non-negative decimal parameter; ``InvalidArgument`` with AWS's words if it is not one or out of range."""
    text = query.get(name)
    if text is None or text == "":
        return default
    if not (text.isascii() and text.removeprefix("-").isdecimal()) or len(text) > 20:
        raise invalid_argument(f"Provided {name} not an integer or within integer range", name, text)
    number = int(text)
    if not low <= number <= high:
        name = "maxKeys" if name == "max-keys" else name  # AWS calls it by its name in the API, the others by theirs
        raise invalid_argument(f"Argument {name} must be an integer between {low} and {high}", name, text)
    return number


def parse_version_id(query: Mapping[str, str]) -> str | None:
    """The versionId parameter; ``InvalidArgument`` if it is there and empty."""
    version_id = query.get("versionId")
    if version_id == "":
        raise invalid_argument("Version id cannot be the empty string", "versionId", "")
    return version_id


def parse_part_number(query: Mapping[str, str]) -> int:
    """The partNumber parameter, 1 to 10,000."""
    text = query.get("partNumber", "")
    if not (text.isascii() and text.isdecimal()) or not 1 <= int(text[:6]) <= PART_NUMBER_MAX:
        raise invalid_argument(
            f"Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive", "partNumber", text
        )
    return int(text)


def parse_content_length(headers: Mapping[str, str], *, bytes_max: int = PUT_BYTES_MAX) -> int:
    """The plaintext length of a body, decoded if aws-chunked. 411 without one, ``EntityTooLarge`` beyond."""
    name = "x-amz-decoded-content-length" if "x-amz-decoded-content-length" in headers else "content-length"
    text = headers.get(name)
    if text is None:
        raise MissingContentLength
    if not (text.isascii() and text.isdecimal()) or len(text) > 19:
        if name != "content-length":
            raise MissingContentLength
        raise invalid_argument("Content-Length must be a non-negative integer", name, text)
    if int(text) > bytes_max:
        raise EntityTooLarge(None, ProposedSize=text, MaxSizeAllowed=bytes_max)
    return int(text)


def parse_get(query: Mapping[str, str], headers: Mapping[str, str]) -> GetParameters:
    """GetObject and HeadObject."""
    part_number = parse_part_number(query) if "partNumber" in query else None
    byte_range = headers.get("range")
    if part_number is not None and byte_range is not None:
        raise InvalidRequest("Cannot specify both Range header and partNumber query parameter")
    overrides: dict[str, str] = {}
    for name, header in _OVERRIDES.items() if query else ():
        if name in query:
            value = query[name]
            if any(ord(character) < 32 or ord(character) == 127 for character in value):
                raise invalid_argument("Header value cannot contain control characters", name, value)
            overrides[header] = value
    return GetParameters(
        parse_version_id(query),
        part_number,
        byte_range,
        parse_conditions(headers),
        overrides,
        parse_checksum_mode(headers),
        headers.get("if-range"),
    )


def parse_stored_headers(headers: Mapping[str, str]) -> ObjectHeaders:
    """What is to be stored with the object."""
    return ObjectHeaders(
        parse_system_headers(headers),
        parse_metadata(headers),
        parse_storage_class(headers),
        parse_attributes(headers),
    )


def parse_put(headers: Mapping[str, str]) -> PutParameters:
    """PutObject."""
    refuse_unsupported_write(headers)
    offset = parse_integer(headers, "x-amz-write-offset-bytes", -1, 0, OBJECT_BYTES_MAX)
    return PutParameters(
        parse_stored_headers(headers),
        parse_conditions(headers),
        parse_content_md5(headers),
        parse_checksum(headers),
        offset if offset >= 0 else None,
    )


def parse_upload_id(query: Mapping[str, str]) -> str:
    """The uploadId parameter, which may not be empty."""
    upload_id = query.get("uploadId", "")
    if not upload_id:
        raise invalid_argument("This operation does not accept an empty uploadId.", "uploadId", "")
    return upload_id


def parse_upload_part(query: Mapping[str, str], headers: Mapping[str, str]) -> PartParameters:
    """UploadPart."""
    refuse_preconditions(headers)
    return PartParameters(
        parse_upload_id(query), parse_part_number(query), parse_content_md5(headers), parse_checksum(headers)
    )


def parse_copy_source(headers: Mapping[str, str]) -> CopySource:
    """x-amz-copy-source: ``[/]bucket/key[?versionId=id]``, percent-encoded once, with the conditions on it."""
    raw = headers.get("x-amz-copy-source", "")
    path, question, rest = raw.partition("?")
    version_id = None
    try:
        if question:
            name, _, value = rest.partition("=")
            if name != "versionId" or not value:
                raise _bad_copy_source(raw, "version id")
            version_id = decode_percent(value)
        bucket, _, key = decode_percent(path).removeprefix("/").partition("/")
    except InvalidURI:
        raise _bad_copy_source(raw, "encoding") from None
    if not _SOURCE_BUCKET.fullmatch(bucket):
        raise _bad_copy_source(raw, "bucket name")
    if not key:
        raise _bad_copy_source(raw, "object key")
    return CopySource(
        bucket,
        check_key(key),
        version_id,
        parse_conditions(headers, "x-amz-copy-source-"),
        headers.get("x-amz-source-expected-bucket-owner"),
        parse_customer_key(headers, source=True),
    )


def _bad_copy_source(raw: str, what: str) -> S3Error:
    return invalid_argument(f"Invalid copy source {what}", "x-amz-copy-source", raw)


def parse_copy(headers: Mapping[str, str]) -> CopyParameters:
    """CopyObject."""
    refuse_unsupported_write(headers)
    directive = headers.get("x-amz-metadata-directive", "COPY")
    if directive not in ("COPY", "REPLACE"):
        raise invalid_argument("Unknown metadata directive.", "x-amz-metadata-directive", directive)
    replace_tags = parse_tagging_directive(headers)
    stored = parse_stored_headers(headers)
    if not replace_tags and stored.attributes.tags is not None:  # AWS passes them over, as it does metadata
        stored = stored._replace(attributes=stored.attributes._replace(tags=None))
    return CopyParameters(
        parse_copy_source(headers),
        stored,
        directive == "REPLACE",
        parse_conditions(headers),
        parse_upload_checksum(headers),
        "x-amz-storage-class" in headers,
        replace_tags,
    )


def parse_upload_part_copy(query: Mapping[str, str], headers: Mapping[str, str]) -> PartCopyParameters:
    """UploadPartCopy."""
    refuse_preconditions(headers)
    return PartCopyParameters(
        parse_upload_id(query),
        parse_part_number(query),
        parse_copy_source(headers),
        headers.get("x-amz-copy-source-range"),
    )


def parse_create_upload(headers: Mapping[str, str]) -> UploadParameters:
    """CreateMultipartUpload."""
    refuse_preconditions(headers)
    return UploadParameters(parse_stored_headers(headers), parse_upload_checksum(headers))


def parse_complete(query: Mapping[str, str], headers: Mapping[str, str]) -> CompleteParameters:
    """CompleteMultipartUpload, but for its body (``bodies.parse_complete_body``)."""
    refuse_unsupported_write(headers)
    size = parse_integer(headers, "x-amz-mp-object-size", -1, 0, OBJECT_BYTES_MAX)
    return CompleteParameters(
        parse_upload_id(query),
        parse_conditions(headers),
        parse_checksum(headers, with_type=True),
        size if size >= 0 else None,
    )


def parse_abort(query: Mapping[str, str]) -> str:
    """AbortMultipartUpload: the upload id."""
    return parse_upload_id(query)


def parse_delete(query: Mapping[str, str], headers: Mapping[str, str]) -> DeleteParameters:
    """DeleteObject."""
    return DeleteParameters(parse_version_id(query), parse_delete_conditions(headers))
