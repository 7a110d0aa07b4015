"""Server access logging: BucketLoggingStatus, the log records' lines and the log objects' keys, in AWS's format. Pure.

Source: User Guide, "Amazon S3 server access log format" and "Enabling server access logging" (key formats). A line has
26 fields, ``-`` for what is not known; what a client sent is quoted and percent-encoded where it could end a field.
"""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote

from gateway.s3.acl import GRANTS_MAX, Grant
from gateway.s3.acl_xml import parse_grant, render_grant
from gateway.s3.document_shapes import XMLNS, Shape, Text, check_shape, find_all, find_text, many, maybe, one
from gateway.s3.documents import parse_document
from gateway.s3.errors import InvalidArgument, MalformedXML, escape_text
from gateway.s3.operations_table import Scope
from gateway.s3.routing import Operation

ROOT: Final = "BucketLoggingStatus"
SIMPLE: Final = "simple"
EVENT_TIME: Final = "EventTime"
DELIVERY_TIME: Final = "DeliveryTime"
_FORMAT: Final = Shape(
    {
        "SimplePrefix": maybe(Shape({})),
        "PartitionedPrefix": maybe(Shape({"PartitionDateSource": maybe(Text((EVENT_TIME, DELIVERY_TIME)))})),
    },
    one_of=("SimplePrefix", "PartitionedPrefix"),
    some_of=("SimplePrefix", "PartitionedPrefix"),
)
_GRANT: Final = Shape(
    {
        "Grantee": one(Shape(dict.fromkeys(("ID", "DisplayName", "EmailAddress", "URI"), maybe(Text())))),
        "Permission": one(Text(("FULL_CONTROL", "READ", "WRITE"))),
    }
)
_SHAPE: Final = Shape(
    {
        "LoggingEnabled": maybe(
            Shape(
                {
                    "TargetBucket": one(Text(low=1, high=255)),
                    "TargetPrefix": one(Text(high=800)),
                    "TargetGrants": maybe(Shape({"Grant": many(_GRANT)})),
                    "TargetObjectKeyFormat": maybe(_FORMAT),
                }
            )
        )
    }
)


class LogTarget(NamedTuple):
    """Where a bucket's log goes. ``key_format``: empty (not said), simple, EventTime or DeliveryTime.

    ``grants``: who may what with the log objects, besides their owner.
    """

    bucket: str
    prefix: str
    key_format: str = ""
    grants: tuple[Grant, ...] = ()


class LogSource(NamedTuple):
    """What the key of a partitioned log object names: the bucket that is logged, its account and region."""

    account: str
    region: str
    bucket: str


class LogRecord(NamedTuple):
    """One request. Empty text and None: not known (``-``)."""

    owner: str
    bucket: str
    time_s: int
    address: str
    requester: str
    request_id: str
    operation: str
    key: str
    request_uri: str
    status: int
    error_code: str
    sent_bytes: int
    object_bytes: int | None
    total_ms: int
    referer: str
    user_agent: str
    version_id: str
    host_id: str
    signature: str
    cipher: str
    authentication: str
    host: str
    tls_version: str
    acl_required: bool = False


def parse_logging(body: bytes) -> LogTarget | None:
    """Where the log is to go; None: nowhere."""
    document = parse_document(body, ROOT)
    check_shape(document, _SHAPE)
    enabled_elements = find_all(document, "LoggingEnabled")
    if not enabled_elements:
        return None
    enabled = enabled_elements[0]
    key_format = ""
    for element in find_all(enabled, "TargetObjectKeyFormat"):
        if find_all(element, "SimplePrefix"):
            key_format = SIMPLE
        else:
            key_format = find_text(element, "PartitionedPrefix", "PartitionDateSource")
            if not key_format:
                raise InvalidArgument("PartitionDateSource must be specified for a partitioned prefix")
    prefix = next(element.text or "" for element in find_all(enabled, "TargetPrefix"))
    grants = [parse_grant(grant) for listed in find_all(enabled, "TargetGrants") for grant in listed]
    if len(grants) > GRANTS_MAX:
        raise MalformedXML
    return LogTarget(find_text(enabled, "TargetBucket"), prefix, key_format, tuple(grants))


@lru_cache(maxsize=1024)
def decode_logging(body: bytes) -> LogTarget | None:
    """The stored document (``render_logging``'s)."""
    return parse_logging(body)


def render_logging(target: LogTarget | None) -> bytes:
    """The document as it is stored and answered."""
    inner = ""
    if target is not None:
        named = f"<TargetBucket>{escape_text(target.bucket)}</TargetBucket>"
        named += f"<TargetPrefix>{escape_text(target.prefix)}</TargetPrefix>"
        if target.grants:
            grants = "".join([render_grant(grant, _render_id) for grant in target.grants])
            named += f"<TargetGrants>{grants}</TargetGrants>"
        if target.key_format == SIMPLE:
            named += "<TargetObjectKeyFormat><SimplePrefix/></TargetObjectKeyFormat>"
        elif target.key_format:
            source = f"<PartitionDateSource>{target.key_format}</PartitionDateSource>"
            named += f"<TargetObjectKeyFormat><PartitionedPrefix>{source}</PartitionedPrefix></TargetObjectKeyFormat>"
        inner = f"<LoggingEnabled>{named}</LoggingEnabled>"
    return f'<?xml version="1.0" encoding="UTF-8"?>\n<{ROOT} xmlns="{XMLNS}">{inner}</{ROOT}>'.encode()


def _render_id(canonical_id: str) -> str:
    return f"<ID>{escape_text(canonical_id)}</ID>"


def _at(unix_s: int) -> datetime:
    return datetime.fromtimestamp(unix_s, UTC)


def log_key(target: LogTarget, source: LogSource, event_s: int, delivery_s: int, unique: str) -> str:
    """The key of a log object: what its target's format says. ``unique``: 16 characters."""
    if target.key_format not in (EVENT_TIME, DELIVERY_TIME):
        return f"{target.prefix}{_at(delivery_s):%Y-%m-%d-%H-%M-%S}-{unique}"
    if target.key_format == EVENT_TIME:
        day, stamp = _at(event_s), f"{_at(event_s):%Y-%m-%d}-00-00-00"
    else:
        day, stamp = _at(delivery_s), f"{_at(delivery_s):%Y-%m-%d-%H-%M-%S}"
    return f"{target.prefix}{source.account}/{source.region}/{source.bucket}/{day:%Y/%m/%d}/{stamp}-{unique}"


_NAMES: Final = {
    Operation.CompleteMultipartUpload: "REST.POST.UPLOAD",
    Operation.CopyObject: "REST.COPY.OBJECT",
    Operation.CreateMultipartUpload: "REST.POST.UPLOADS",
    Operation.AbortMultipartUpload: "REST.DELETE.UPLOAD",
    Operation.DeleteObjects: "REST.POST.MULTI_OBJECT_DELETE",
    Operation.ListMultipartUploads: "REST.GET.UPLOADS",
    Operation.ListObjectVersions: "REST.GET.BUCKETVERSIONS",
    Operation.ListParts: "REST.GET.UPLOAD",
    Operation.UploadPart: "REST.PUT.PART",
    Operation.UploadPartCopy: "REST.COPY.PART",
}
_RESOURCES: Final = {
    "": "",
    "list-type": "",
    "acl": "ACL",
    "logging": "LOGGING_STATUS",
    "object-lock": "OBJECT_LOCK_CONFIGURATION",
    "ownershipControls": "OWNERSHIP_CONTROLS",
    "policy": "BUCKETPOLICY",
    "policyStatus": "BUCKET_POLICY_STATUS",
    "publicAccessBlock": "PUBLIC_ACCESS_BLOCK",
    "requestPayment": "REQUEST_PAYMENT",
    "intelligent-tiering": "INTELLIGENT_TIERING",
    "legal-hold": "LEGAL_HOLD",
}


@lru_cache(maxsize=512)
def log_operation(operation: Operation | None, method: str) -> str:
    """How a log names an operation: ``REST.GET.OBJECT``."""
    if operation is None:
        return f"REST.{method}.-"
    named = _NAMES.get(operation)
    if named is not None:
        return named
    row = operation.row
    scope = "OBJECT" if row.scope is Scope.OBJECT else "BUCKET" if row.scope is Scope.BUCKET else "SERVICE"
    resource = _RESOURCES.get(row.subresource, row.subresource.upper().replace("-", "_"))
    if resource == "TAGGING" and scope == "OBJECT":
        resource = "OBJECT_TAGGING"
    return f"REST.{method}.{resource or scope}"


def _word(text: str) -> str:
    """A field without spaces or quotes."""
    return quote(text.encode("utf-8", "surrogateescape"), safe="!#$&'()*+,/:;=?@[]~%|^{}`<>\\") if text else "-"


def _quoted(text: str) -> str:
    """A field in quotes, or ``-``."""
    if not text:
        return '"-"'
    return '"' + quote(text.encode("utf-8", "surrogateescape"), safe=" !#$%&'()*+,/:;=?@[]~|^{}`<>\\") + '"'


def format_record(record: LogRecord) -> str:
    """One line, with its end."""
    fields = (
        _word(record.owner),
        _word(record.bucket),
        f"[{_at(record.time_s):%d/%b/%Y:%H:%M:%S +0000}]",
        _word(record.address),
        _word(record.requester),
        _word(record.request_id),
        record.operation,
        quote(record.key, safe="/") if record.key else "-",
        _quoted(record.request_uri),
        str(record.status),
        _word(record.error_code),
        str(record.sent_bytes) if record.sent_bytes else "-",
        "-" if record.object_bytes is None else str(record.object_bytes),
        str(record.total_ms),
        "-",
        _quoted(record.referer),
        _quoted(record.user_agent),
        _word(record.version_id),
        _word(record.host_id),
        _word(record.signature),
        _word(record.cipher),
        _word(record.authentication),
        _word(record.host),
        _word(record.tls_version),
        "-",
        "Yes" if record.acl_required else "-",
    )
    return " ".join(fields) + "\n"
