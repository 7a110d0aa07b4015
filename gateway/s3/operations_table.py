"""All operations of S3, and what is known of each: the one total table that routing and policy checks read. Data.

Source: the S3 service model that AWS publishes with botocore (a test compares the two) and the "Actions, resources, and
condition keys for Amazon S3" page. Operations beyond the model: ``PostObject`` (browser form upload) and
``PreflightRequest`` (CORS). Deprecated twins (``GetBucketLifecycle``) are their successors' aliases on the wire.
"""

from __future__ import annotations

from enum import Enum
from typing import Final, NamedTuple


class Scope(Enum):
    """What a request's path addresses."""

    SERVICE = "service"
    BUCKET = "bucket"
    OBJECT = "object"


class Row(NamedTuple):
    """One operation: how it is told apart (method, scope, the query name that selects it), the IAM action it needs, and
    the further query parameters it knows. ``action`` is for the addressed resource; copies also need the source's.
    """

    method: str
    scope: Scope
    subresource: str
    action: str
    query: tuple[str, ...] = ()


_SERVICE, _BUCKET, _OBJECT = Scope.SERVICE, Scope.BUCKET, Scope.OBJECT
_OVERRIDES = (
    "response-cache-control",
    "response-content-disposition",
    "response-content-encoding",
    "response-content-language",
    "response-content-type",
    "response-expires",
)
_READ = (*_OVERRIDES, "versionId", "partNumber")
_LIST = ("delimiter", "encoding-type", "max-keys", "prefix")

_OBJECTS: dict[str, Row] = {
    "AbortMultipartUpload": Row("DELETE", _OBJECT, "uploadId", "s3:AbortMultipartUpload"),
    "CompleteMultipartUpload": Row("POST", _OBJECT, "uploadId", "s3:PutObject"),
    "CopyObject": Row("PUT", _OBJECT, "", "s3:PutObject"),
    "CreateMultipartUpload": Row("POST", _OBJECT, "uploads", "s3:PutObject"),
    "DeleteObject": Row("DELETE", _OBJECT, "", "s3:DeleteObject", ("versionId",)),
    "DeleteObjectAnnotation": Row(
        "DELETE", _OBJECT, "annotation", "s3:DeleteObjectAnnotation", ("annotationName", "versionId")
    ),
    "DeleteObjectTagging": Row("DELETE", _OBJECT, "tagging", "s3:DeleteObjectTagging", ("versionId",)),
    "GetObject": Row("GET", _OBJECT, "", "s3:GetObject", _READ),
    "GetObjectAcl": Row("GET", _OBJECT, "acl", "s3:GetObjectAcl", ("versionId",)),
    "GetObjectAnnotation": Row("GET", _OBJECT, "annotation", "s3:GetObjectAnnotation", ("annotationName", "versionId")),
    "GetObjectAttributes": Row("GET", _OBJECT, "attributes", "s3:GetObjectAttributes", ("versionId",)),
    "GetObjectLegalHold": Row("GET", _OBJECT, "legal-hold", "s3:GetObjectLegalHold", ("versionId",)),
    "GetObjectRetention": Row("GET", _OBJECT, "retention", "s3:GetObjectRetention", ("versionId",)),
    "GetObjectTagging": Row("GET", _OBJECT, "tagging", "s3:GetObjectTagging", ("versionId",)),
    "GetObjectTorrent": Row("GET", _OBJECT, "torrent", "s3:GetObjectTorrent"),
    "HeadObject": Row("HEAD", _OBJECT, "", "s3:GetObject", _READ),
    "ListObjectAnnotations": Row(
        "GET",
        _OBJECT,
        "annotation",
        "s3:ListObjectAnnotations",
        ("versionId", "max-annotation-results", "annotation-prefix", "continuation-token"),
    ),
    "ListParts": Row(
        "GET", _OBJECT, "uploadId", "s3:ListMultipartUploadParts", ("max-parts", "part-number-marker", "encoding-type")
    ),
    "PutObject": Row("PUT", _OBJECT, "", "s3:PutObject"),
    "PutObjectAcl": Row("PUT", _OBJECT, "acl", "s3:PutObjectAcl", ("versionId",)),
    "PutObjectAnnotation": Row("PUT", _OBJECT, "annotation", "s3:PutObjectAnnotation", ("versionId", "annotationName")),
    "PutObjectLegalHold": Row("PUT", _OBJECT, "legal-hold", "s3:PutObjectLegalHold", ("versionId",)),
    "PutObjectRetention": Row("PUT", _OBJECT, "retention", "s3:PutObjectRetention", ("versionId",)),
    "PutObjectTagging": Row("PUT", _OBJECT, "tagging", "s3:PutObjectTagging", ("versionId",)),
    "RenameObject": Row("PUT", _OBJECT, "renameObject", "s3:PutObject"),
    "RestoreObject": Row("POST", _OBJECT, "restore", "s3:RestoreObject", ("versionId",)),
    "SelectObjectContent": Row("POST", _OBJECT, "select", "s3:GetObject", ("select-type",)),
    "UpdateObjectEncryption": Row("PUT", _OBJECT, "encryption", "s3:UpdateObjectEncryption", ("versionId",)),
    "UploadPart": Row("PUT", _OBJECT, "uploadId", "s3:PutObject", ("partNumber",)),
    "UploadPartCopy": Row("PUT", _OBJECT, "uploadId", "s3:PutObject", ("partNumber",)),
}

_BUCKETS: dict[str, Row] = {
    "CreateBucket": Row("PUT", _BUCKET, "", "s3:CreateBucket"),
    "CreateSession": Row("GET", _BUCKET, "session", "s3express:CreateSession"),
    "DeleteBucket": Row("DELETE", _BUCKET, "", "s3:DeleteBucket"),
    "DeleteObjects": Row("POST", _BUCKET, "delete", "s3:DeleteObject"),
    "GetBucketLocation": Row("GET", _BUCKET, "location", "s3:GetBucketLocation"),
    "GetBucketPolicyStatus": Row("GET", _BUCKET, "policyStatus", "s3:GetBucketPolicyStatus"),
    "HeadBucket": Row("HEAD", _BUCKET, "", "s3:ListBucket"),
    "ListBuckets": Row(
        "GET", _SERVICE, "", "s3:ListAllMyBuckets", ("max-buckets", "continuation-token", "prefix", "bucket-region")
    ),
    "ListDirectoryBuckets": Row(
        "GET", _SERVICE, "max-directory-buckets", "s3express:ListAllMyDirectoryBuckets", ("continuation-token",)
    ),
    "ListMultipartUploads": Row(
        "GET",
        _BUCKET,
        "uploads",
        "s3:ListBucketMultipartUploads",
        ("delimiter", "encoding-type", "key-marker", "max-uploads", "prefix", "upload-id-marker"),
    ),
    "ListObjectVersions": Row(
        "GET", _BUCKET, "versions", "s3:ListBucketVersions", (*_LIST, "key-marker", "version-id-marker")
    ),
    "ListObjects": Row("GET", _BUCKET, "", "s3:ListBucket", (*_LIST, "marker")),
    "ListObjectsV2": Row(
        "GET", _BUCKET, "list-type", "s3:ListBucket", (*_LIST, "continuation-token", "fetch-owner", "start-after")
    ),
    "PostObject": Row("POST", _BUCKET, "", "s3:PutObject"),
    "PreflightRequest": Row("OPTIONS", _BUCKET, "", ""),
    "WriteGetObjectResponse": Row("POST", _BUCKET, "", "s3-object-lambda:WriteGetObjectResponse"),
}

_CREATE_METADATA = "s3:CreateBucketMetadataTableConfiguration"
_DELETE_METADATA = "s3:DeleteBucketMetadataTableConfiguration"
_GET_METADATA = "s3:GetBucketMetadataTableConfiguration"
_CONFIGURATIONS: dict[str, tuple[str, str, str]] = {
    # operation: method, subresource, action
    "CreateBucketMetadataConfiguration": ("POST", "metadataConfiguration", _CREATE_METADATA),
    "CreateBucketMetadataTableConfiguration": ("POST", "metadataTable", _CREATE_METADATA),
    "DeleteBucketAnalyticsConfiguration": ("DELETE", "analytics", "s3:PutAnalyticsConfiguration"),
    "DeleteBucketCors": ("DELETE", "cors", "s3:PutBucketCORS"),
    "DeleteBucketEncryption": ("DELETE", "encryption", "s3:PutEncryptionConfiguration"),
    "DeleteBucketIntelligentTieringConfiguration": (
        "DELETE",
        "intelligent-tiering",
        "s3:PutIntelligentTieringConfiguration",
    ),
    "DeleteBucketInventoryConfiguration": ("DELETE", "inventory", "s3:PutInventoryConfiguration"),
    "DeleteBucketLifecycle": ("DELETE", "lifecycle", "s3:PutLifecycleConfiguration"),
    "DeleteBucketMetadataConfiguration": ("DELETE", "metadataConfiguration", _DELETE_METADATA),
    "DeleteBucketMetadataTableConfiguration": ("DELETE", "metadataTable", _DELETE_METADATA),
    "DeleteBucketMetricsConfiguration": ("DELETE", "metrics", "s3:PutMetricsConfiguration"),
    "DeleteBucketOwnershipControls": ("DELETE", "ownershipControls", "s3:PutBucketOwnershipControls"),
    "DeleteBucketPolicy": ("DELETE", "policy", "s3:DeleteBucketPolicy"),
    "DeleteBucketReplication": ("DELETE", "replication", "s3:PutReplicationConfiguration"),
    "DeleteBucketTagging": ("DELETE", "tagging", "s3:PutBucketTagging"),
    "DeleteBucketWebsite": ("DELETE", "website", "s3:DeleteBucketWebsite"),
    "DeletePublicAccessBlock": ("DELETE", "publicAccessBlock", "s3:PutBucketPublicAccessBlock"),
    "GetBucketAbac": ("GET", "abac", "s3:GetBucketAbac"),
    "GetBucketAccelerateConfiguration": ("GET", "accelerate", "s3:GetAccelerateConfiguration"),
    "GetBucketAcl": ("GET", "acl", "s3:GetBucketAcl"),
    "GetBucketAnalyticsConfiguration": ("GET", "analytics", "s3:GetAnalyticsConfiguration"),
    "GetBucketCors": ("GET", "cors", "s3:GetBucketCORS"),
    "GetBucketEncryption": ("GET", "encryption", "s3:GetEncryptionConfiguration"),
    "GetBucketIntelligentTieringConfiguration": (
        "GET",
        "intelligent-tiering",
        "s3:GetIntelligentTieringConfiguration",
    ),
    "GetBucketInventoryConfiguration": ("GET", "inventory", "s3:GetInventoryConfiguration"),
    "GetBucketLifecycleConfiguration": ("GET", "lifecycle", "s3:GetLifecycleConfiguration"),
    "GetBucketLogging": ("GET", "logging", "s3:GetBucketLogging"),
    "GetBucketMetadataConfiguration": ("GET", "metadataConfiguration", _GET_METADATA),
    "GetBucketMetadataTableConfiguration": ("GET", "metadataTable", _GET_METADATA),
    "GetBucketMetricsConfiguration": ("GET", "metrics", "s3:GetMetricsConfiguration"),
    "GetBucketNotificationConfiguration": ("GET", "notification", "s3:GetBucketNotification"),
    "GetBucketOwnershipControls": ("GET", "ownershipControls", "s3:GetBucketOwnershipControls"),
    "GetBucketPolicy": ("GET", "policy", "s3:GetBucketPolicy"),
    "GetBucketReplication": ("GET", "replication", "s3:GetReplicationConfiguration"),
    "GetBucketRequestPayment": ("GET", "requestPayment", "s3:GetBucketRequestPayment"),
    "GetBucketTagging": ("GET", "tagging", "s3:GetBucketTagging"),
    "GetBucketVersioning": ("GET", "versioning", "s3:GetBucketVersioning"),
    "GetBucketWebsite": ("GET", "website", "s3:GetBucketWebsite"),
    "GetObjectLockConfiguration": ("GET", "object-lock", "s3:GetBucketObjectLockConfiguration"),
    "GetPublicAccessBlock": ("GET", "publicAccessBlock", "s3:GetBucketPublicAccessBlock"),
    "ListBucketAnalyticsConfigurations": ("GET", "analytics", "s3:GetAnalyticsConfiguration"),
    "ListBucketIntelligentTieringConfigurations": (
        "GET",
        "intelligent-tiering",
        "s3:GetIntelligentTieringConfiguration",
    ),
    "ListBucketInventoryConfigurations": ("GET", "inventory", "s3:GetInventoryConfiguration"),
    "ListBucketMetricsConfigurations": ("GET", "metrics", "s3:GetMetricsConfiguration"),
    "PutBucketAbac": ("PUT", "abac", "s3:PutBucketAbac"),
    "PutBucketAccelerateConfiguration": ("PUT", "accelerate", "s3:PutAccelerateConfiguration"),
    "PutBucketAcl": ("PUT", "acl", "s3:PutBucketAcl"),
    "PutBucketAnalyticsConfiguration": ("PUT", "analytics", "s3:PutAnalyticsConfiguration"),
    "PutBucketCors": ("PUT", "cors", "s3:PutBucketCORS"),
    "PutBucketEncryption": ("PUT", "encryption", "s3:PutEncryptionConfiguration"),
    "PutBucketIntelligentTieringConfiguration": (
        "PUT",
        "intelligent-tiering",
        "s3:PutIntelligentTieringConfiguration",
    ),
    "PutBucketInventoryConfiguration": ("PUT", "inventory", "s3:PutInventoryConfiguration"),
    "PutBucketLifecycleConfiguration": ("PUT", "lifecycle", "s3:PutLifecycleConfiguration"),
    "PutBucketLogging": ("PUT", "logging", "s3:PutBucketLogging"),
    "PutBucketMetricsConfiguration": ("PUT", "metrics", "s3:PutMetricsConfiguration"),
    "PutBucketNotificationConfiguration": ("PUT", "notification", "s3:PutBucketNotification"),
    "PutBucketOwnershipControls": ("PUT", "ownershipControls", "s3:PutBucketOwnershipControls"),
    "PutBucketPolicy": ("PUT", "policy", "s3:PutBucketPolicy"),
    "PutBucketReplication": ("PUT", "replication", "s3:PutReplicationConfiguration"),
    "PutBucketRequestPayment": ("PUT", "requestPayment", "s3:PutBucketRequestPayment"),
    "PutBucketTagging": ("PUT", "tagging", "s3:PutBucketTagging"),
    "PutBucketVersioning": ("PUT", "versioning", "s3:PutBucketVersioning"),
    "PutBucketWebsite": ("PUT", "website", "s3:PutBucketWebsite"),
    "PutObjectLockConfiguration": ("PUT", "object-lock", "s3:PutBucketObjectLockConfiguration"),
    "PutPublicAccessBlock": ("PUT", "publicAccessBlock", "s3:PutBucketPublicAccessBlock"),
    "UpdateBucketMetadataAnnotationTableConfiguration": (
        "PUT",
        "metadataAnnotationTable",
        "s3:UpdateBucketMetadataAnnotationTableConfiguration",
    ),
    "UpdateBucketMetadataInventoryTableConfiguration": (
        "PUT",
        "metadataInventoryTable",
        "s3:UpdateBucketMetadataInventoryTableConfiguration",
    ),
    "UpdateBucketMetadataJournalTableConfiguration": (
        "PUT",
        "metadataJournalTable",
        "s3:UpdateBucketMetadataJournalTableConfiguration",
    ),
}
# These come as one configuration among several, named by ``id``; without it GET lists them.
IDENTIFIED: Final = frozenset({"analytics", "intelligent-tiering", "inventory", "metrics"})

ALIASES: Final = {
    "GetBucketLifecycle": "GetBucketLifecycleConfiguration",
    "GetBucketNotification": "GetBucketNotificationConfiguration",
    "PutBucketLifecycle": "PutBucketLifecycleConfiguration",
    "PutBucketNotification": "PutBucketNotificationConfiguration",
}

ROWS: Final[dict[str, Row]] = {
    **_OBJECTS,
    **_BUCKETS,
    **{
        name: Row(
            method, _BUCKET, subresource, action, ("id", "continuation-token") if subresource in IDENTIFIED else ()
        )
        for name, (method, subresource, action) in _CONFIGURATIONS.items()
    },
}
"""Every operation by AWS's name."""
