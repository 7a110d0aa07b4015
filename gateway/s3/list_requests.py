"""What each listing asks for: query → frozen values. Pure.

As ``requests`` is for everything else: what is malformed is ``InvalidArgument`` with the argument's name.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final, NamedTuple

from gateway.s3.errors import invalid_argument
from gateway.s3.listing import KEYS_MAX, Page, decode_token
from gateway.s3.requests import parse_integer, parse_upload_id

_UPLOAD_ID: Final = re.compile(r"[0-9a-f]{48}")  # what ``operations.multipart`` makes


class ListParameters(NamedTuple):
    """ListObjects V1 or V2: the page to fold, and what the answer repeats.

    ``token`` and ``start_after`` are V2's as sent (None if absent), ``marker`` V1's.
    """

    page: Page
    prefix: str
    delimiter: str
    encoding: bool
    marker: str = ""
    token: str | None = None
    start_after: str = ""
    fetch_owner: bool = False


class ListVersionsParameters(NamedTuple):
    """ListObjectVersions. ``version_id_marker`` still is text: the store knows version ids."""

    page: Page
    prefix: str
    delimiter: str
    encoding: bool
    key_marker: str
    version_id_marker: str | None


class ListUploadsParameters(NamedTuple):
    """ListMultipartUploads."""

    prefix: str
    delimiter: str
    encoding: bool
    key_marker: str
    upload_id_marker: str
    uploads_max: int


class ListPartsParameters(NamedTuple):
    """ListParts."""

    upload_id: str
    after: int
    parts_max: int
    encoding: bool


class ListBucketsParameters(NamedTuple):
    """ListBuckets. ``after``: the name the last page ended with; ``buckets_max`` None: all at once."""

    prefix: str
    after: str
    buckets_max: int | None


def _parse_encoding(query: Mapping[str, str]) -> bool:
    """Whether keys come percent-encoded (``encoding-type=url``)."""
    encoding = query.get("encoding-type", "")
    if encoding not in ("", "url"):
        raise invalid_argument("Invalid Encoding Method specified in Request", "encoding-type", encoding)
    return encoding == "url"


def _parse_keys_max(query: Mapping[str, str], name: str = "max-keys") -> int:
    """max-keys, max-uploads or max-parts: at most 1,000 whatever is asked."""
    return min(parse_integer(query, name, KEYS_MAX), KEYS_MAX)


def parse_list_v1(query: Mapping[str, str]) -> ListParameters:
    """ListObjects."""
    prefix, delimiter, marker = query.get("prefix", ""), query.get("delimiter", ""), query.get("marker", "")
    page = Page(prefix.encode(), delimiter.encode(), marker.encode(), _parse_keys_max(query))
    return ListParameters(page, prefix, delimiter, _parse_encoding(query), marker)


def parse_list_v2(query: Mapping[str, str]) -> ListParameters:
    """ListObjectsV2. A continuation token beats start-after."""
    prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
    token, start_after = query.get("continuation-token"), query.get("start-after", "")
    after, is_prefix = start_after.encode(), False
    if token is not None:
        after, is_prefix = decode_token(token)
    page = Page(prefix.encode(), delimiter.encode(), after, _parse_keys_max(query), is_prefix)
    fetch_owner = query.get("fetch-owner", "").lower() == "true"
    return ListParameters(page, prefix, delimiter, _parse_encoding(query), "", token, start_after, fetch_owner)


def parse_list_versions(query: Mapping[str, str]) -> ListVersionsParameters:
    """ListObjectVersions."""
    prefix, delimiter, marker = query.get("prefix", ""), query.get("delimiter", ""), query.get("key-marker", "")
    version = query.get("version-id-marker")
    if version is not None and not marker:
        if version:
            raise invalid_argument(
                "A version-id marker cannot be specified without a key marker.", "version-id-marker", version
            )
        version = None
    if version == "":
        raise invalid_argument("A version-id marker cannot be empty.", "version-id-marker", "")
    page = Page(prefix.encode(), delimiter.encode(), marker.encode(), _parse_keys_max(query))
    return ListVersionsParameters(page, prefix, delimiter, _parse_encoding(query), marker, version)


def parse_list_uploads(query: Mapping[str, str]) -> ListUploadsParameters:
    """ListMultipartUploads. An upload id without a key is passed over, as documented."""
    after_id = query.get("upload-id-marker", "") if query.get("key-marker") else ""
    if after_id and not _UPLOAD_ID.fullmatch(after_id):
        raise invalid_argument("Invalid uploadId marker", "upload-id-marker", after_id)
    return ListUploadsParameters(
        query.get("prefix", ""),
        query.get("delimiter", ""),
        _parse_encoding(query),
        query.get("key-marker", ""),
        after_id,
        _parse_keys_max(query, "max-uploads"),
    )


def parse_list_parts(query: Mapping[str, str]) -> ListPartsParameters:
    """ListParts."""
    return ListPartsParameters(
        parse_upload_id(query),
        parse_integer(query, "part-number-marker", 0),
        _parse_keys_max(query, "max-parts"),
        _parse_encoding(query),
    )


def parse_list_buckets(query: Mapping[str, str]) -> ListBucketsParameters:
    """ListBuckets."""
    token = query.get("continuation-token")
    after = ""
    if token:
        try:
            after = decode_token(token)[0].decode()
        except UnicodeDecodeError:
            raise invalid_argument(
                "The continuation token provided is incorrect", "continuation-token", token
            ) from None
    buckets_max = parse_integer(query, "max-buckets", 0, 1, 10_000) if query.get("max-buckets") else None
    return ListBucketsParameters(query.get("prefix", ""), after, buckets_max)
