"""Which operation a request is: method, scope, subresource, two headers. One total function over one total table. Pure.

The table is ``operations_table``; ``Operation`` lists all of S3, so that what Skerry does not do is ``NotImplemented``
by name and never mistaken for something else: a subresource of S3 under a method that has none is ``MethodNotAllowed``,
not the plain verb. Unknown query parameters are ignored, as AWS does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Final

from gateway.s3.errors import MethodNotAllowed, PreconditionFailed, S3Error, invalid_argument, not_implemented_operation
from gateway.s3.names import Target
from gateway.s3.operations_table import IDENTIFIED, ROWS, Row, Scope


class Operation(StrEnum):
    """Every operation of S3 by AWS's name."""

    # The hash of the text it is: Enum's own is a Python function, and every request looks operations up in tables.
    __hash__ = str.__hash__

    AbortMultipartUpload = "AbortMultipartUpload"
    CompleteMultipartUpload = "CompleteMultipartUpload"
    CopyObject = "CopyObject"
    CreateBucket = "CreateBucket"
    CreateBucketMetadataConfiguration = "CreateBucketMetadataConfiguration"
    CreateBucketMetadataTableConfiguration = "CreateBucketMetadataTableConfiguration"
    CreateMultipartUpload = "CreateMultipartUpload"
    CreateSession = "CreateSession"
    DeleteBucket = "DeleteBucket"
    DeleteBucketAnalyticsConfiguration = "DeleteBucketAnalyticsConfiguration"
    DeleteBucketCors = "DeleteBucketCors"
    DeleteBucketEncryption = "DeleteBucketEncryption"
    DeleteBucketIntelligentTieringConfiguration = "DeleteBucketIntelligentTieringConfiguration"
    DeleteBucketInventoryConfiguration = "DeleteBucketInventoryConfiguration"
    DeleteBucketLifecycle = "DeleteBucketLifecycle"
    DeleteBucketMetadataConfiguration = "DeleteBucketMetadataConfiguration"
    DeleteBucketMetadataTableConfiguration = "DeleteBucketMetadataTableConfiguration"
    DeleteBucketMetricsConfiguration = "DeleteBucketMetricsConfiguration"
    DeleteBucketOwnershipControls = "DeleteBucketOwnershipControls"
    DeleteBucketPolicy = "DeleteBucketPolicy"
    DeleteBucketReplication = "DeleteBucketReplication"
    DeleteBucketTagging = "DeleteBucketTagging"
    DeleteBucketWebsite = "DeleteBucketWebsite"
    DeleteObject = "DeleteObject"
    DeleteObjectAnnotation = "DeleteObjectAnnotation"
    DeleteObjectTagging = "DeleteObjectTagging"
    DeleteObjects = "DeleteObjects"
    DeletePublicAccessBlock = "DeletePublicAccessBlock"
    GetBucketAbac = "GetBucketAbac"
    GetBucketAccelerateConfiguration = "GetBucketAccelerateConfiguration"
    GetBucketAcl = "GetBucketAcl"
    GetBucketAnalyticsConfiguration = "GetBucketAnalyticsConfiguration"
    GetBucketCors = "GetBucketCors"
    GetBucketEncryption = "GetBucketEncryption"
    GetBucketIntelligentTieringConfiguration = "GetBucketIntelligentTieringConfiguration"
    GetBucketInventoryConfiguration = "GetBucketInventoryConfiguration"
    GetBucketLifecycleConfiguration = "GetBucketLifecycleConfiguration"
    GetBucketLocation = "GetBucketLocation"
    GetBucketLogging = "GetBucketLogging"
    GetBucketMetadataConfiguration = "GetBucketMetadataConfiguration"
    GetBucketMetadataTableConfiguration = "GetBucketMetadataTableConfiguration"
    GetBucketMetricsConfiguration = "GetBucketMetricsConfiguration"
    GetBucketNotificationConfiguration = "GetBucketNotificationConfiguration"
    GetBucketOwnershipControls = "GetBucketOwnershipControls"
    GetBucketPolicy = "GetBucketPolicy"
    GetBucketPolicyStatus = "GetBucketPolicyStatus"
    GetBucketReplication = "GetBucketReplication"
    GetBucketRequestPayment = "GetBucketRequestPayment"
    GetBucketTagging = "GetBucketTagging"
    GetBucketVersioning = "GetBucketVersioning"
    GetBucketWebsite = "GetBucketWebsite"
    GetObject = "GetObject"
    GetObjectAcl = "GetObjectAcl"
    GetObjectAnnotation = "GetObjectAnnotation"
    GetObjectAttributes = "GetObjectAttributes"
    GetObjectLegalHold = "GetObjectLegalHold"
    GetObjectLockConfiguration = "GetObjectLockConfiguration"
    GetObjectRetention = "GetObjectRetention"
    GetObjectTagging = "GetObjectTagging"
    GetObjectTorrent = "GetObjectTorrent"
    GetPublicAccessBlock = "GetPublicAccessBlock"
    HeadBucket = "HeadBucket"
    HeadObject = "HeadObject"
    ListBucketAnalyticsConfigurations = "ListBucketAnalyticsConfigurations"
    ListBucketIntelligentTieringConfigurations = "ListBucketIntelligentTieringConfigurations"
    ListBucketInventoryConfigurations = "ListBucketInventoryConfigurations"
    ListBucketMetricsConfigurations = "ListBucketMetricsConfigurations"
    ListBuckets = "ListBuckets"
    ListDirectoryBuckets = "ListDirectoryBuckets"
    ListMultipartUploads = "ListMultipartUploads"
    ListObjectAnnotations = "ListObjectAnnotations"
    ListObjectVersions = "ListObjectVersions"
    ListObjects = "ListObjects"
    ListObjectsV2 = "ListObjectsV2"
    ListParts = "ListParts"
    PostObject = "PostObject"
    PreflightRequest = "PreflightRequest"
    PutBucketAbac = "PutBucketAbac"
    PutBucketAccelerateConfiguration = "PutBucketAccelerateConfiguration"
    PutBucketAcl = "PutBucketAcl"
    PutBucketAnalyticsConfiguration = "PutBucketAnalyticsConfiguration"
    PutBucketCors = "PutBucketCors"
    PutBucketEncryption = "PutBucketEncryption"
    PutBucketIntelligentTieringConfiguration = "PutBucketIntelligentTieringConfiguration"
    PutBucketInventoryConfiguration = "PutBucketInventoryConfiguration"
    PutBucketLifecycleConfiguration = "PutBucketLifecycleConfiguration"
    PutBucketLogging = "PutBucketLogging"
    PutBucketMetricsConfiguration = "PutBucketMetricsConfiguration"
    PutBucketNotificationConfiguration = "PutBucketNotificationConfiguration"
    PutBucketOwnershipControls = "PutBucketOwnershipControls"
    PutBucketPolicy = "PutBucketPolicy"
    PutBucketReplication = "PutBucketReplication"
    PutBucketRequestPayment = "PutBucketRequestPayment"
    PutBucketTagging = "PutBucketTagging"
    PutBucketVersioning = "PutBucketVersioning"
    PutBucketWebsite = "PutBucketWebsite"
    PutObject = "PutObject"
    PutObjectAcl = "PutObjectAcl"
    PutObjectAnnotation = "PutObjectAnnotation"
    PutObjectLegalHold = "PutObjectLegalHold"
    PutObjectLockConfiguration = "PutObjectLockConfiguration"
    PutObjectRetention = "PutObjectRetention"
    PutObjectTagging = "PutObjectTagging"
    PutPublicAccessBlock = "PutPublicAccessBlock"
    RenameObject = "RenameObject"
    RestoreObject = "RestoreObject"
    SelectObjectContent = "SelectObjectContent"
    UpdateBucketMetadataAnnotationTableConfiguration = "UpdateBucketMetadataAnnotationTableConfiguration"
    UpdateBucketMetadataInventoryTableConfiguration = "UpdateBucketMetadataInventoryTableConfiguration"
    UpdateBucketMetadataJournalTableConfiguration = "UpdateBucketMetadataJournalTableConfiguration"
    UpdateObjectEncryption = "UpdateObjectEncryption"
    UploadPart = "UploadPart"
    UploadPartCopy = "UploadPartCopy"
    WriteGetObjectResponse = "WriteGetObjectResponse"

    @property
    def row(self) -> Row:
        """What the table knows of it."""
        return ROWS[self.value]

    @property
    def action(self) -> str:
        """The IAM action it needs on the addressed resource (``s3:GetObject``)."""
        return ROWS[self.value].action


assert {operation.value for operation in Operation} == set(ROWS)

# Told apart by more than method and subresource, in ``_choose``.
_CHOSEN: Final = frozenset(
    {
        Operation.CopyObject,
        Operation.UploadPartCopy,
        Operation.ListObjectAnnotations,
        Operation.ListBucketAnalyticsConfigurations,
        Operation.ListBucketIntelligentTieringConfigurations,
        Operation.ListBucketInventoryConfigurations,
        Operation.ListBucketMetricsConfigurations,
        Operation.WriteGetObjectResponse,
        Operation.PreflightRequest,
    }
)
# Writes make a version: none can be named.
_OF_NO_VERSION: Final = frozenset(
    {
        Operation.PutObject,
        Operation.CopyObject,
        Operation.CreateMultipartUpload,
        Operation.UploadPart,
        Operation.UploadPartCopy,
        Operation.CompleteMultipartUpload,
    }
)
_PLAIN: Final[dict[tuple[str, Scope], Operation]] = {
    (operation.row.method, operation.row.scope): operation
    for operation in Operation
    if not operation.row.subresource and operation not in _CHOSEN
}
_BY_SUBRESOURCE: Final[dict[tuple[Scope, str], dict[str, Operation]]] = {}
for _operation in Operation:
    if _operation.row.subresource and _operation not in _CHOSEN:
        _methods = _BY_SUBRESOURCE.setdefault((_operation.row.scope, _operation.row.subresource), {})
        assert _operation.row.method not in _methods
        _methods[_operation.row.method] = _operation
_SUBRESOURCES: Final[dict[Scope, frozenset[str]]] = {
    scope: frozenset(name for of, name in _BY_SUBRESOURCE if of is scope) for scope in Scope
}
_LISTS: Final = {
    Operation.GetBucketAnalyticsConfiguration: Operation.ListBucketAnalyticsConfigurations,
    Operation.GetBucketIntelligentTieringConfiguration: Operation.ListBucketIntelligentTieringConfigurations,
    Operation.GetBucketInventoryConfiguration: Operation.ListBucketInventoryConfigurations,
    Operation.GetBucketMetricsConfiguration: Operation.ListBucketMetricsConfigurations,
}
assert {operation.row.subresource for operation in _LISTS} == IDENTIFIED


def scope_of(target: Target) -> Scope:
    """Whether a target is the service, a bucket or an object."""
    if target.key is not None:
        return Scope.OBJECT
    return Scope.SERVICE if target.bucket is None else Scope.BUCKET


def route(method: str, scope: Scope, query: Mapping[str, str], headers: Mapping[str, str]) -> Operation:
    """The operation of a request. ``query``: first values by decoded name; ``headers``: folded, lower case.

    Raises ``MethodNotAllowed``, ``InvalidArgument`` (two subresources, an unknown list-type, a write that names a
    version) or ``PreconditionFailed`` (a POST to a bucket that is no form).
    """
    if method == "OPTIONS":
        return Operation.PreflightRequest
    operation = _route_any(method, scope, query, headers)
    if query and "versionId" in query and operation in _OF_NO_VERSION:
        message = "This operation does not accept a version-id."
        raise invalid_argument(message, "versionId", query["versionId"])
    return operation


def _route_any(method: str, scope: Scope, query: Mapping[str, str], headers: Mapping[str, str]) -> Operation:
    """``route``, whatever version the query names."""
    found = _SUBRESOURCES[scope].intersection(query) if query else frozenset()
    if not found:
        return _route_plain(method, scope, query, headers)
    if len(found) > 1:
        # uploadId goes with a part's or a copy's parameters, never with a second subresource.
        names = sorted(found)
        raise invalid_argument(f"Conflicting query string parameters: {', '.join(names)}", "ResourceType", names[0])
    (name,) = found
    operations = _BY_SUBRESOURCE[scope, name]
    operation = operations.get(method)
    if operation is None:
        if method == "HEAD" and scope is not Scope.SERVICE:
            return _PLAIN[method, scope]
        raise _refuse_method(method, name, operations)
    return _choose(operation, query, headers)


def _route_plain(method: str, scope: Scope, query: Mapping[str, str], headers: Mapping[str, str]) -> Operation:
    """The operation of a request without subresource."""
    operation = _PLAIN.get((method, scope))
    if operation is Operation.PutObject:
        if "partNumber" in query:
            message = "This operation does not accept partNumber without uploadId"
            raise invalid_argument(message, "partNumber", "partNumber")
        if "x-amz-copy-source" in headers:
            return Operation.CopyObject
    elif operation is Operation.PostObject:
        if "x-amz-request-route" in headers:
            return Operation.WriteGetObjectResponse
        if not headers.get("content-type", "").lower().startswith("multipart/form-data"):
            raise PreconditionFailed(None, Condition="Bucket POST must be of the enclosure-type multipart/form-data")
    elif operation is None:
        raise _refuse_method(method, scope.value, [known for known, of in _PLAIN if of is scope])
    return operation


def _choose(operation: Operation, query: Mapping[str, str], headers: Mapping[str, str]) -> Operation:
    """Tell apart operations that share method and subresource."""
    if operation is Operation.UploadPart:
        if "partNumber" not in query:
            raise _refuse_method("PUT", "upload", ("DELETE", "GET", "POST"))
        return Operation.UploadPartCopy if "x-amz-copy-source" in headers else operation
    if operation is Operation.ListObjectsV2:
        if query["list-type"] != "2":
            raise invalid_argument("Invalid List Type specified in Request", "list-type", query["list-type"])
    elif operation in _LISTS:
        return operation if "id" in query else _LISTS[operation]
    elif operation is Operation.GetObjectAnnotation and "annotationName" not in query:
        return Operation.ListObjectAnnotations
    return operation


def _refuse_method(method: str, resource: str, allowed: Iterable[str]) -> S3Error:
    """MethodNotAllowed as AWS shapes it; RFC 9110 §15.5.6 wants Allow."""
    headers = {"Allow": ", ".join(sorted(allowed))}
    return MethodNotAllowed(None, headers=headers, Method=method, ResourceType=resource.upper())


def refuse(operation: Operation) -> S3Error:
    """The ``NotImplemented`` error that names ``operation``; for the dispatcher."""
    return not_implemented_operation(operation.value)
