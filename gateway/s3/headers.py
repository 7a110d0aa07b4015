"""Request headers as one folded mapping, and what of S3's headers Skerry knows. Pure.

``fold_headers`` is the only way headers enter ``gateway/s3``: names in lower case, values as text whose bytes survive
(UTF-8 with surrogate escapes), duplicates joined with a comma as SigV4 does. A header ``x-amz-*`` that asks for what
Skerry does not do is refused with its name (``refuse_unknown``), never ignored.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final

from gateway.s3.acl_headers import ACL_HEADERS
from gateway.s3.checksums import BY_HEADER
from gateway.s3.encryption import COPY_HEADERS, READ_HEADERS, SSE, WRITE_HEADERS, refuse_on_reads
from gateway.s3.errors import InvalidRequest, invalid_argument, not_implemented_header
from gateway.s3.routing import Operation as Op
from gateway.s3.sse_customer import SOURCE_HEADERS
from gateway.s3.uri import Query

CHECKSUM_PREFIX: Final = "x-amz-checksum-"
METADATA_PREFIX: Final = "x-amz-meta-"
_SIGNING_PARAMETERS: Final = frozenset(
    {
        "x-amz-algorithm",
        "x-amz-credential",
        "x-amz-date",
        "x-amz-expires",
        "x-amz-signedheaders",
        "x-amz-signature",
        "x-amz-security-token",
        "x-amz-content-sha256",
    }
)

# What a body's checksum is said by.
_CHECKSUMS: Final = frozenset(BY_HEADER)
_UPLOAD_CHECKSUMS: Final = frozenset({"x-amz-checksum-algorithm", "x-amz-checksum-type", "x-amz-checksum-mode"})
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")  # RFC 9110: a token
_CONTROLS: Final = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_MERGED: Final = _SIGNING_PARAMETERS | _CHECKSUMS | {"x-amz-sdk-checksum-algorithm"}


@lru_cache(maxsize=1024)
def _fold_name(raw: bytes) -> str:
    """A header's name as text in lower case."""
    return raw.decode("ascii", "surrogateescape").lower()


def fold_headers(raw: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Raw header pairs as one mapping: lower case names, trimmed values, duplicates joined with a comma in order."""
    pairs = [(_fold_name(name), value.decode("utf-8", "surrogateescape").strip(" \t")) for name, value in raw]
    folded = dict(pairs)
    if len(folded) < len(pairs):  # rarely does one come twice
        folded = {}
        for name, value in pairs:
            folded[name] = f"{folded[name]},{value}" if name in folded else value
    return folded


def merge_query_headers(headers: dict[str, str], query: Query) -> dict[str, str]:
    """Headers with the ``x-amz-*`` headers that presigners moved into the query; a real header wins over its twin.

    Checksums of the body stay behind, as with AWS: a presigner that has no body yet puts that of nothing into the URL
    (SDK for JavaScript since 3.729). For reading parameters, never for checking a signature.
    """
    moved = {
        name.lower(): value
        for name, value in query.pairs
        if name[:6].lower() == "x-amz-" and name.lower() not in _NOT_MERGED
    }
    if not moved:
        return headers
    for name, value in moved.items():
        if not _NAME.fullmatch(name) or _CONTROLS.search(value):
            raise invalid_argument("A header's name or value cannot hold these characters", name, value)
    return {**moved, **headers}


# Fine on any request: they say who asks and how it is signed, or nothing that changes the answer.
_ALWAYS: Final = frozenset(
    {
        "x-amz-content-sha256",
        "x-amz-date",
        "x-amz-security-token",
        "x-amz-user-agent",
        "x-amz-api-version",  # the SDK for C++ says which API it was generated from
        "x-amz-expected-bucket-owner",  # evaluated for every operation by the dispatcher
        "x-amz-request-payer",
        "x-amz-id",
        "x-amz-sdk-checksum-algorithm",
        "x-amz-sdk-invocation-id",
        "x-amz-sdk-request",
        "x-amz-te",
        "x-amz-cf-id",
    }
)
_BODY: Final = _CHECKSUMS | {"x-amz-trailer", "x-amz-decoded-content-length"}
_STORED: Final = ACL_HEADERS | {"x-amz-storage-class", "x-amz-website-redirect-location", "x-amz-tagging"}
_LOCK: Final = frozenset(
    {"x-amz-object-lock-mode", "x-amz-object-lock-retain-until-date", "x-amz-object-lock-legal-hold"}
)
_BYPASS: Final = frozenset({"x-amz-bypass-governance-retention"})
_COPY_SOURCE: Final = frozenset(
    {
        "x-amz-copy-source",
        "x-amz-copy-source-if-match",
        "x-amz-copy-source-if-none-match",
        "x-amz-copy-source-if-modified-since",
        "x-amz-copy-source-if-unmodified-since",
        "x-amz-source-expected-bucket-owner",
    }
)
_RENAME: Final = frozenset(
    {
        "x-amz-rename-source",
        "x-amz-rename-source-if-match",
        "x-amz-rename-source-if-none-match",
        "x-amz-rename-source-if-modified-since",
        "x-amz-rename-source-if-unmodified-since",
        "x-amz-client-token",
    }
)
_LISTING: Final = frozenset({"x-amz-optional-object-attributes"})
_KNOWN: Final[dict[Op, frozenset[str]]] = {
    Op.PutObject: WRITE_HEADERS | _BODY | _STORED | _LOCK | {"x-amz-write-offset-bytes"},
    Op.UploadPart: READ_HEADERS | _BODY,
    Op.CopyObject: COPY_HEADERS
    | _COPY_SOURCE
    | _STORED
    | _LOCK
    | {"x-amz-metadata-directive", "x-amz-tagging-directive", "x-amz-checksum-algorithm"},
    Op.UploadPartCopy: READ_HEADERS | _COPY_SOURCE | frozenset(SOURCE_HEADERS) | {"x-amz-copy-source-range"},
    Op.CreateMultipartUpload: WRITE_HEADERS | _STORED | _LOCK | {"x-amz-checksum-algorithm", "x-amz-checksum-type"},
    Op.CompleteMultipartUpload: READ_HEADERS | _CHECKSUMS | {"x-amz-checksum-type", "x-amz-mp-object-size"},
    Op.AbortMultipartUpload: frozenset({"x-amz-if-match-initiated-time"}),
    Op.GetObject: READ_HEADERS | _CHECKSUMS | {"x-amz-checksum-mode"},  # Java sends the checksum of its empty body
    Op.HeadObject: READ_HEADERS | {"x-amz-checksum-mode"},
    Op.GetObjectAttributes: READ_HEADERS | {"x-amz-object-attributes", "x-amz-max-parts", "x-amz-part-number-marker"},
    Op.ListParts: READ_HEADERS,
    Op.DeleteObject: _BYPASS | {"x-amz-if-match-last-modified-time", "x-amz-if-match-size"},
    Op.DeleteObjects: _CHECKSUMS | _BYPASS,
    Op.CreateBucket: ACL_HEADERS | {"x-amz-object-ownership", "x-amz-bucket-object-lock-enabled"},
    Op.PutBucketAcl: _CHECKSUMS | ACL_HEADERS,
    Op.PutBucketCors: _CHECKSUMS,
    Op.PutBucketOwnershipControls: _CHECKSUMS,
    Op.PutBucketPolicy: _CHECKSUMS | {"x-amz-confirm-remove-self-bucket-access"},
    Op.PutBucketRequestPayment: _CHECKSUMS,
    Op.PutBucketAbac: _CHECKSUMS,
    Op.PutBucketAccelerateConfiguration: _CHECKSUMS,
    Op.PutBucketAnalyticsConfiguration: _CHECKSUMS,
    Op.PutBucketEncryption: _CHECKSUMS,
    Op.PutBucketIntelligentTieringConfiguration: _CHECKSUMS,
    Op.PutBucketInventoryConfiguration: _CHECKSUMS,
    Op.PutBucketLogging: _CHECKSUMS,
    Op.PutBucketMetricsConfiguration: _CHECKSUMS,
    Op.PutBucketNotificationConfiguration: _CHECKSUMS | {"x-amz-skip-destination-validation"},
    Op.PutBucketReplication: _CHECKSUMS | {"x-amz-bucket-object-lock-token"},
    Op.PutBucketTagging: _CHECKSUMS,
    Op.PutBucketVersioning: _CHECKSUMS,
    Op.PutBucketWebsite: _CHECKSUMS,
    Op.PutObjectAcl: _CHECKSUMS | ACL_HEADERS,
    Op.PutBucketLifecycleConfiguration: _CHECKSUMS | {"x-amz-transition-default-minimum-object-size"},
    Op.RestoreObject: _CHECKSUMS,
    Op.PutObjectLegalHold: _CHECKSUMS,
    Op.PutObjectLockConfiguration: _CHECKSUMS | {"x-amz-bucket-object-lock-token"},  # AWS no longer asks for one
    Op.PutObjectRetention: _CHECKSUMS | _BYPASS,
    Op.PutObjectTagging: _CHECKSUMS,
    Op.PutPublicAccessBlock: _CHECKSUMS,
    Op.RenameObject: _RENAME,
    Op.ListObjects: _LISTING,
    Op.ListObjectsV2: _LISTING,
    Op.ListObjectVersions: _LISTING,
}
_METADATA: Final = frozenset({Op.PutObject, Op.CopyObject, Op.CreateMultipartUpload})
_NONE: Final[frozenset[str]] = frozenset()
# Headers of which Skerry does only these values.
_VALUES: Final[dict[str, frozenset[str]]] = {
    "x-amz-request-payer": frozenset({"requester"}),
    "x-amz-optional-object-attributes": frozenset({"RestoreStatus"}),
}


def refuse_unknown(operation: Op, headers: Mapping[str, str]) -> None:
    """``NotImplemented``, naming the header, if an ``x-amz-*`` header asks ``operation`` for what Skerry does not do.

    ``headers``: folded, and merged with those of the query.
    """
    known = _KNOWN.get(operation, _NONE)
    for name in headers:
        if not name.startswith("x-amz-"):
            continue
        if name in _ALWAYS or name in known:
            allowed = _VALUES.get(name)
            if allowed is None or headers[name] in allowed:
                continue
            raise not_implemented_header(name, headers[name])
        if name.startswith(METADATA_PREFIX) and operation in _METADATA:
            continue
        if name.startswith(CHECKSUM_PREFIX) and known >= _CHECKSUMS and name not in _UPLOAD_CHECKSUMS:
            raise InvalidRequest("The algorithm type you specified in x-amz-checksum- header is invalid.")
        if name.startswith(SSE):
            raise refuse_on_reads(name, headers[name])
        raise not_implemented_header(name)
