"""Configurations that are kept and given back as they were put: acceleration, analytics, inventory, metrics, tiering.

What they ask for is not done here, and asking changes nothing that a client could see besides: no report is delivered,
no class is moved. They are checked and kept so that tools which manage buckets by description (Terraform and the like)
find what they put. Source: API reference, the Put operation of each. Pure.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from gateway.s3.document_shapes import (
    XMLNS,
    Flag,
    Shape,
    Text,
    Whole,
    check_shape,
    find_all,
    find_text,
    many,
    maybe,
    one,
    render_shape,
    some,
)
from gateway.s3.documents import parse_document
from gateway.s3.errors import InvalidArgument, InvalidConfigurationId, InvalidRequest, MalformedXML

_ID: Final = Text(low=1, high=64, pattern=r"[A-Za-z0-9_.-]+")
_PREFIX: Final = Text(high=1024)
_BUCKET_ARN: Final = Text(low=1, high=2048, pattern=r"arn:[\w-]+:s3:::[A-Za-z0-9._-]+")
_ACCOUNT: Final = Text(low=1, high=64)
TAG: Final = Shape({"Key": one(Text(low=1, high=128)), "Value": one(Text(high=256))})
_AND: Final = Shape({"Prefix": maybe(_PREFIX), "Tag": many(TAG)})
_FILTER: Final = Shape(
    {"Prefix": maybe(_PREFIX), "Tag": maybe(TAG), "And": maybe(_AND)},
    one_of=("Prefix", "Tag", "And"),
    some_of=("Prefix", "Tag", "And"),
)
_METRICS_AND: Final = Shape({"Prefix": maybe(_PREFIX), "Tag": many(TAG), "AccessPointArn": maybe(Text(low=1))})
_METRICS_FILTER: Final = Shape(
    {"Prefix": maybe(_PREFIX), "Tag": maybe(TAG), "AccessPointArn": maybe(Text(low=1)), "And": maybe(_METRICS_AND)},
    one_of=("Prefix", "Tag", "AccessPointArn", "And"),
    some_of=("Prefix", "Tag", "AccessPointArn", "And"),
)
_ANALYTICS_EXPORT: Final = Shape(
    {
        "OutputSchemaVersion": one(Text(("V_1",))),
        "Destination": one(
            Shape(
                {
                    "S3BucketDestination": one(
                        Shape(
                            {
                                "Format": one(Text(("CSV",))),
                                "BucketAccountId": maybe(_ACCOUNT),
                                "Bucket": one(_BUCKET_ARN),
                                "Prefix": maybe(_PREFIX),
                            }
                        )
                    )
                }
            )
        ),
    }
)
_ANALYTICS: Final = Shape(
    {
        "Id": one(_ID),
        "Filter": maybe(_FILTER),
        "StorageClassAnalysis": one(Shape({"DataExport": maybe(_ANALYTICS_EXPORT)})),
    }
)
_METRICS: Final = Shape({"Id": one(_ID), "Filter": maybe(_METRICS_FILTER)})
_INVENTORY_FIELDS: Final = (
    "Size",
    "LastModifiedDate",
    "StorageClass",
    "ETag",
    "IsMultipartUploaded",
    "ReplicationStatus",
    "EncryptionStatus",
    "ObjectLockRetainUntilDate",
    "ObjectLockMode",
    "ObjectLockLegalHoldStatus",
    "IntelligentTieringAccessTier",
    "BucketKeyStatus",
    "ChecksumAlgorithm",
    "ObjectAccessControlList",
    "ObjectOwner",
    "LifecycleExpirationDate",
)
_INVENTORY_ENCRYPTION: Final = Shape(
    {"SSE-S3": maybe(Shape({})), "SSE-KMS": maybe(Shape({"KeyId": one(Text(low=1, high=2048))}))},
    one_of=("SSE-S3", "SSE-KMS"),
    some_of=("SSE-S3", "SSE-KMS"),
)
_INVENTORY_BUCKET: Final = Shape(
    {
        "AccountId": maybe(_ACCOUNT),
        "Bucket": one(_BUCKET_ARN),
        "Format": one(Text(("CSV", "ORC", "Parquet"))),
        "Prefix": maybe(_PREFIX),
        "Encryption": maybe(_INVENTORY_ENCRYPTION),
    }
)
_INVENTORY: Final = Shape(
    {
        "Destination": one(Shape({"S3BucketDestination": one(_INVENTORY_BUCKET)})),
        "IsEnabled": one(Flag()),
        "Filter": maybe(Shape({"Prefix": one(_PREFIX)})),
        "Id": one(_ID),
        "IncludedObjectVersions": one(Text(("All", "Current"))),
        "OptionalFields": maybe(Shape({"Field": many(Text(_INVENTORY_FIELDS))})),
        "Schedule": one(Shape({"Frequency": one(Text(("Daily", "Weekly")))})),
    }
)
_TIERING: Final = Shape(
    {"Days": one(Whole(1, 3650)), "AccessTier": one(Text(("ARCHIVE_ACCESS", "DEEP_ARCHIVE_ACCESS")))}
)
_INTELLIGENT_TIERING: Final = Shape(
    {
        "Id": one(_ID),
        "Filter": maybe(_FILTER),
        "Status": one(Text(("Enabled", "Disabled"))),
        "Tiering": some(_TIERING),
    }
)
_ABAC: Final = Shape({"Status": one(Text(("Enabled", "Disabled")))})
_ACCELERATE: Final = Shape({"Status": one(Text(("Enabled", "Suspended")))})


class Named(NamedTuple):
    """A kind of configuration that there can be several of: its root element and shape, and the list's root."""

    kind: str
    root: str
    shape: Shape
    list_root: str


ANALYTICS: Final = Named("analytics", "AnalyticsConfiguration", _ANALYTICS, "ListBucketAnalyticsConfigurationsResult")
INTELLIGENT_TIERING: Final = Named(
    "intelligent-tiering",
    "IntelligentTieringConfiguration",
    _INTELLIGENT_TIERING,
    "ListBucketIntelligentTieringConfigurationsOutput",
)
INVENTORY: Final = Named("inventory", "InventoryConfiguration", _INVENTORY, "ListInventoryConfigurationsResult")
METRICS: Final = Named("metrics", "MetricsConfiguration", _METRICS, "ListMetricsConfigurationsResult")


def parse_id(query: dict[str, str]) -> str:
    """The ``id`` parameter; ``InvalidConfigurationId`` if it can be none."""
    ident = query.get("id", "")
    try:
        check_text(ident)
    except MalformedXML:
        raise InvalidConfigurationId from None
    return ident


def check_text(ident: str) -> None:
    """``MalformedXML`` unless ``ident`` may be a configuration's id."""
    element = Element("Id")
    element.text = ident
    check_shape(element, _ID)


def parse_named(kind: Named, ident: str, body: bytes) -> bytes:
    """The canonical document of a configuration, checked: its shape, its rules, and that it is called ``ident``."""
    document = parse_document(body, kind.root)
    check_shape(document, kind.shape)
    if find_text(document, "Id") != ident:
        raise InvalidArgument("The id in the request does not match the id in the configuration")
    for clause in document.iter():
        if clause.tag.rpartition("}")[2] == "And":
            _check_and(clause)
    if kind is INTELLIGENT_TIERING:
        _check_tierings(document)
    return render_shape(document, kind.shape).encode()


def _check_and(clause: Element) -> None:
    """``And`` joins two or more conditions; tags by one key stand once."""
    keys = [find_text(tag, "Key") for tag in find_all(clause, "Tag")]
    if len(clause) < 2 or len(set(keys)) != len(keys):
        raise MalformedXML


def _check_tierings(document: Element) -> None:
    """Each tier once; ARCHIVE_ACCESS from 90 days on, DEEP_ARCHIVE_ACCESS from 180, to 730."""
    tiers = [find_text(tiering, "AccessTier") for tiering in find_all(document, "Tiering")]
    if len(set(tiers)) != len(tiers):
        raise MalformedXML
    for tiering in find_all(document, "Tiering"):
        low = 90 if find_text(tiering, "AccessTier") == "ARCHIVE_ACCESS" else 180
        if not low <= int(find_text(tiering, "Days")) <= 730:
            raise InvalidArgument(f"'Days' for this access tier must be between {low} and 730")


def render_one(body: bytes, root: str) -> bytes:
    """A stored document as an answer: with declaration and namespace."""
    text = body.decode()
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n' + text.replace(f"<{root}", f'<{root} xmlns="{XMLNS}"', 1)
    ).encode()


def render_page(kind: Named, documents: list[bytes], token: str, next_token: str) -> bytes:
    """A page of a kind's configurations. ``token``: that of the request; ``next_token``: empty at the end."""
    elements = [f"<IsTruncated>{'true' if next_token else 'false'}</IsTruncated>"]
    if token:
        elements.append(f"<ContinuationToken>{token}</ContinuationToken>")
    if next_token:
        elements.append(f"<NextContinuationToken>{next_token}</NextContinuationToken>")
    inner = "".join(elements) + b"".join(documents).decode()
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return f'{head}<{kind.list_root} xmlns="{XMLNS}">{inner}</{kind.list_root}>'.encode()


def parse_abac(body: bytes) -> bytes:
    """The status of an AbacStatus: Enabled or Disabled."""
    document = parse_document(body, "AbacStatus")
    check_shape(document, _ABAC)
    return find_text(document, "Status").encode()


def render_abac(status: bytes) -> bytes:
    """AbacStatus."""
    head = '<?xml version="1.0" encoding="UTF-8"?>\n'
    return f'{head}<AbacStatus xmlns="{XMLNS}"><Status>{status.decode()}</Status></AbacStatus>'.encode()


def parse_accelerate(body: bytes, bucket: str) -> bytes:
    """The canonical AccelerateConfiguration; ``InvalidRequest`` for a bucket with a period in its name."""
    document = parse_document(body, "AccelerateConfiguration")
    check_shape(document, _ACCELERATE)
    if "." in bucket:
        raise InvalidRequest("S3 Transfer Acceleration is not supported for buckets with periods (.) in their names")
    return render_shape(document, _ACCELERATE).encode()
