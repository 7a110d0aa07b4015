"""Calls that make every operation of S3 answer once, as richly as it can, with the raw answers kept."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

PART = 64 << 10


class Seen(NamedTuple):
    """One answer of the walk."""

    operation: str
    status: int
    headers: dict[str, str]
    body: bytes


class Walk:
    """A client that keeps every raw answer."""

    def __init__(self, s3: Any) -> None:
        self.s3 = s3
        self.seen: list[Seen] = []
        s3.meta.events.register("after-call.s3", self._keep)

    def _keep(self, http_response: Any, model: Any, **_: Any) -> None:
        body = b"" if model.has_streaming_output else http_response.content
        headers = {name.lower(): value for name, value in http_response.headers.items()}
        self.seen.append(Seen(model.name, http_response.status_code, headers, body))


def _grants(owner: str) -> dict[str, Any]:
    people = "http://acs.amazonaws.com/groups/global/AllUsers"
    return {
        "Owner": {"ID": owner},
        "Grants": [
            {"Grantee": {"Type": "CanonicalUser", "ID": owner}, "Permission": "FULL_CONTROL"},
            {"Grantee": {"Type": "Group", "URI": people}, "Permission": "READ"},
        ],
    }


def walk_objects(s3: Any, bucket: str) -> None:
    """Objects, versions and uploads of a versioned bucket with object lock."""
    until = datetime.now(UTC) + timedelta(days=2)
    put = s3.put_object(
        Bucket=bucket,
        Key="dir/a b",
        Body=b"hello",
        Metadata={"m": "1"},
        Tagging="a=b",
        ChecksumAlgorithm="SHA256",
        StorageClass="STANDARD_IA",
        WebsiteRedirectLocation="/x",
        CacheControl="no-cache",
        ContentDisposition="inline",
        ContentEncoding="x",
        ContentLanguage="de",
        ContentType="text/plain",
        Expires=until,
        ServerSideEncryption="AES256",
    )
    s3.put_object(
        Bucket=bucket, Key="held", Body=b"x", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=until,
        ObjectLockLegalHoldStatus="ON",
    )  # fmt: skip
    for get in (s3.get_object, s3.head_object):
        get(Bucket=bucket, Key="dir/a b", ChecksumMode="ENABLED", Range="bytes=0-1")
        get(Bucket=bucket, Key="dir/a b", ChecksumMode="ENABLED", VersionId=put["VersionId"])
        get(Bucket=bucket, Key="held")
    s3.copy_object(
        Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "dir/a b"}, ChecksumAlgorithm="CRC32"
    )
    s3.get_object_legal_hold(Bucket=bucket, Key="held")
    s3.get_object_retention(Bucket=bucket, Key="held")
    s3.put_object_legal_hold(Bucket=bucket, Key="held", LegalHold={"Status": "OFF"})
    s3.put_object_retention(Bucket=bucket, Key="held", Retention={}, BypassGovernanceRetention=True)
    s3.put_object_tagging(Bucket=bucket, Key="copy", Tagging={"TagSet": [{"Key": "a", "Value": "x+y"}]})
    s3.get_object_tagging(Bucket=bucket, Key="copy")
    s3.delete_object_tagging(Bucket=bucket, Key="copy")
    s3.get_object_acl(Bucket=bucket, Key="copy")
    s3.delete_object(Bucket=bucket, Key="copy")
    s3.put_object(Bucket=bucket, Key="cold", Body=b"c", StorageClass="GLACIER", ChecksumAlgorithm="CRC32")
    s3.restore_object(Bucket=bucket, Key="cold", RestoreRequest={"Days": 1})
    s3.head_object(Bucket=bucket, Key="cold")
    _walk_uploads(s3, bucket)
    for parameters in ({}, {"Delimiter": "/", "MaxKeys": 1, "Prefix": "d"}, {"EncodingType": "url", "MaxKeys": 1}):
        more = {**parameters, "OptionalObjectAttributes": ["RestoreStatus"]}
        s3.list_objects(Bucket=bucket, Marker="a", **more)
        s3.list_objects(Bucket=bucket, Delimiter="/", MaxKeys=1)
        page = s3.list_objects_v2(Bucket=bucket, FetchOwner=True, StartAfter="a", **more)
        if page["IsTruncated"]:
            s3.list_objects_v2(Bucket=bucket, ContinuationToken=page["NextContinuationToken"])
        versions = s3.list_object_versions(Bucket=bucket, **more)
        if "NextVersionIdMarker" in versions:
            markers = {name: versions["Next" + name] for name in ("KeyMarker", "VersionIdMarker")}
            s3.list_object_versions(Bucket=bucket, **markers)
    s3.delete_object(Bucket=bucket, Key="held")
    keys = [{"Key": "held"}, {"Key": "cold", "VersionId": "0"}, {"Key": "held", "ETag": "x"}]
    s3.delete_objects(Bucket=bucket, Delete={"Objects": keys})


def _walk_uploads(s3: Any, bucket: str) -> None:
    """Multipart uploads, and attributes."""
    name = {"Bucket": bucket, "Key": "up/1"}
    upload = s3.create_multipart_upload(**name, ChecksumAlgorithm="CRC32", ChecksumType="COMPOSITE")["UploadId"]
    s3.create_multipart_upload(Bucket=bucket, Key="zz")
    s3.create_multipart_upload(Bucket=bucket, Key="zz/1")
    part = s3.upload_part(**name, UploadId=upload, PartNumber=1, Body=b"x" * PART, ChecksumAlgorithm="CRC32")
    source = {"Bucket": bucket, "Key": "dir/a b"}
    copied = s3.upload_part_copy(**name, UploadId=upload, PartNumber=2, CopySource=source)["CopyPartResult"]
    s3.list_parts(**name, UploadId=upload, MaxParts=1)
    s3.list_parts(**name, UploadId=upload, PartNumberMarker=1)
    s3.list_multipart_uploads(Bucket=bucket)
    s3.list_multipart_uploads(Bucket=bucket, Delimiter="/", EncodingType="url", Prefix="z", MaxUploads=1)
    s3.list_multipart_uploads(Bucket=bucket, Delimiter="/", MaxUploads=1000, KeyMarker="a")
    parts = [
        {"PartNumber": n + 1, "ETag": p["ETag"], "ChecksumCRC32": p["ChecksumCRC32"]}
        for n, p in enumerate((part, copied))
    ]
    s3.complete_multipart_upload(**name, UploadId=upload, MultipartUpload={"Parts": parts})
    s3.head_object(**name, PartNumber=1, ChecksumMode="ENABLED")
    what = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]
    s3.get_object_attributes(**name, ObjectAttributes=what, MaxParts=1)
    s3.get_object_attributes(**name, ObjectAttributes=what, PartNumberMarker=1)
    other = s3.create_multipart_upload(Bucket=bucket, Key="gone")["UploadId"]
    s3.abort_multipart_upload(Bucket=bucket, Key="gone", UploadId=other)


def _put_get(s3: Any, name: str, bucket: str, argument: str, value: Any, **more: Any) -> None:
    """Put a configuration; what is got back is what was put."""
    getattr(s3, f"put_{name}")(Bucket=bucket, **{argument: value}, **more)
    got = getattr(s3, f"get_{name}")(Bucket=bucket, **{k: v for k, v in more.items() if k == "Id"})
    got.pop("ResponseMetadata")
    assert got.get(argument, got) == value, name


CORS = {
    "CORSRules": [
        {
            "ID": "1",
            "AllowedHeaders": ["*"],
            "AllowedMethods": ["GET"],
            "AllowedOrigins": ["*"],
            "ExposeHeaders": ["x-a"],
            "MaxAgeSeconds": 5,
        }
    ]
}
AND = {"Prefix": "p", "Tags": [{"Key": "a", "Value": "b"}, {"Key": "c", "Value": "d"}]}
LIFECYCLE = {
    "Rules": [
        {
            "ID": "1",
            "Filter": {"And": {**AND, "ObjectSizeGreaterThan": 1, "ObjectSizeLessThan": 1000}},
            "Status": "Enabled",
            "Transitions": [{"Days": 30, "StorageClass": "STANDARD_IA"}, {"Days": 90, "StorageClass": "GLACIER"}],
            "NoncurrentVersionTransitions": [
                {"NoncurrentDays": 30, "StorageClass": "GLACIER", "NewerNoncurrentVersions": 2}
            ],
            "NoncurrentVersionExpiration": {"NoncurrentDays": 200, "NewerNoncurrentVersions": 3},
        },
        {
            "ID": "2",
            "Filter": {"Prefix": "q"},
            "Status": "Disabled",
            "Expiration": {"ExpiredObjectDeleteMarker": True},
            "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7},
        },
        {
            "ID": "3",
            "Filter": {"Tag": {"Key": "a", "Value": ""}},
            "Status": "Enabled",
            "Expiration": {"Date": datetime(2030, 1, 1, tzinfo=UTC)},
            "Transitions": [{"Date": datetime(2029, 1, 1, tzinfo=UTC), "StorageClass": "GLACIER"}],
        },
        {"ID": "4", "Filter": {"ObjectSizeGreaterThan": 5}, "Status": "Enabled", "Expiration": {"Days": 9}},
        {"ID": "5", "Filter": {"ObjectSizeLessThan": 5}, "Status": "Enabled", "Expiration": {"Days": 9}},
        {"ID": "6", "Filter": {"Prefix": ""}, "Status": "Enabled", "Expiration": {"Days": 9}},
    ]
}
WEBSITE = {
    "IndexDocument": {"Suffix": "i.html"},
    "ErrorDocument": {"Key": "e.html"},
    "RoutingRules": [
        {
            "Condition": {"KeyPrefixEquals": "a/", "HttpErrorCodeReturnedEquals": "404"},
            "Redirect": {
                "HostName": "h.example",
                "Protocol": "https",
                "HttpRedirectCode": "302",
                "ReplaceKeyPrefixWith": "b/",
            },
        },
        {"Condition": {"KeyPrefixEquals": "c"}, "Redirect": {"ReplaceKeyWith": "d"}},
    ],
}


def _replication(bucket: str) -> dict[str, Any]:
    minutes = {"Time": {"Minutes": 15}}
    return {
        "Role": "arn:aws:iam::123456789012:role/r",
        "Rules": [
            {
                "ID": "1",
                "Priority": 1,
                "Status": "Disabled",
                "Filter": {"And": AND},
                "DeleteMarkerReplication": {"Status": "Disabled"},
                "ExistingObjectReplication": {"Status": "Enabled"},
                "SourceSelectionCriteria": {
                    "SseKmsEncryptedObjects": {"Status": "Enabled"},
                    "ReplicaModifications": {"Status": "Enabled"},
                },
                "Destination": {
                    "Bucket": f"arn:aws:s3:::{bucket}",
                    "Account": "123456789012",
                    "StorageClass": "STANDARD_IA",
                    "AccessControlTranslation": {"Owner": "Destination"},
                    "EncryptionConfiguration": {"ReplicaKmsKeyID": "arn:aws:kms:us-east-1:123456789012:key/k"},
                    "ReplicationTime": {"Status": "Enabled", **minutes},
                    "Metrics": {"Status": "Enabled", "EventThreshold": minutes["Time"]},
                },
            },
            {
                "ID": "2",
                "Priority": 2,
                "Status": "Disabled",
                "Filter": {"Tag": {"Key": "a", "Value": "b"}},
                "DeleteMarkerReplication": {"Status": "Disabled"},
                "Destination": {"Bucket": f"arn:aws:s3:::{bucket}"},
            },
            {
                "ID": "3",
                "Priority": 3,
                "Status": "Disabled",
                "Filter": {"Prefix": "b"},
                "DeleteMarkerReplication": {"Status": "Enabled"},
                "Destination": {"Bucket": f"arn:aws:s3:::{bucket}"},
            },
        ],
    }


def walk_configurations(s3: Any, bucket: str, owner: str) -> None:
    """Every configuration of a bucket put, got and deleted."""
    s3.put_bucket_ownership_controls(
        Bucket=bucket, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerPreferred"}]}
    )
    s3.get_bucket_ownership_controls(Bucket=bucket)
    block = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), False)
    _put_get(s3, "public_access_block", bucket, "PublicAccessBlockConfiguration", block)
    s3.put_bucket_acl(Bucket=bucket, AccessControlPolicy=_grants(owner))
    s3.get_bucket_acl(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="o", Body=b"")
    s3.put_object_acl(Bucket=bucket, Key="o", AccessControlPolicy=_grants(owner))
    s3.get_object_acl(Bucket=bucket, Key="o")
    statement = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
    s3.get_bucket_policy(Bucket=bucket)
    s3.get_bucket_policy_status(Bucket=bucket)
    _put_get(s3, "bucket_cors", bucket, "CORSConfiguration", CORS)
    rules = [{"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}]
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration={"Rules": rules})
    s3.get_bucket_encryption(Bucket=bucket)
    s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration=LIFECYCLE)
    assert s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"] == LIFECYCLE["Rules"]
    _put_get(s3, "bucket_website", bucket, "WebsiteConfiguration", WEBSITE)
    redirect = {"RedirectAllRequestsTo": {"HostName": "x.example", "Protocol": "https"}}
    _put_get(s3, "bucket_website", bucket, "WebsiteConfiguration", redirect)
    _put_get(s3, "bucket_tagging", bucket, "Tagging", {"TagSet": [{"Key": "a", "Value": "b"}]})
    _put_get(s3, "bucket_request_payment", bucket, "RequestPaymentConfiguration", {"Payer": "Requester"})
    _put_get(s3, "bucket_abac", bucket, "AbacStatus", {"Status": "Enabled"})
    _put_get(s3, "bucket_accelerate_configuration", bucket, "AccelerateConfiguration", {"Status": "Enabled"})
    s3.put_bucket_replication(Bucket=bucket, ReplicationConfiguration=_replication(bucket))
    assert s3.get_bucket_replication(Bucket=bucket)["ReplicationConfiguration"] == _replication(bucket)
    s3.get_bucket_notification_configuration(Bucket=bucket)
    s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})
    _walk_named(s3, bucket)
    s3.get_bucket_location(Bucket=bucket)
    s3.head_bucket(Bucket=bucket)
    logging = {
        "TargetBucket": bucket,
        "TargetPrefix": "log/",
        "TargetObjectKeyFormat": {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}},
    }
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={"LoggingEnabled": logging})
    s3.get_bucket_logging(Bucket=bucket)
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    s3.delete_bucket_policy(Bucket=bucket)
    for name in ("cors", "encryption", "lifecycle", "website", "tagging", "replication", "ownership_controls"):
        getattr(s3, f"delete_bucket_{name}")(Bucket=bucket)
    s3.delete_public_access_block(Bucket=bucket)


def _walk_named(s3: Any, bucket: str) -> None:
    """The configurations with ids, two of each."""
    arn = f"arn:aws:s3:::{bucket}"
    export = {
        "OutputSchemaVersion": "V_1",
        "Destination": {
            "S3BucketDestination": {
                "Format": "CSV", "BucketAccountId": "123456789012", "Bucket": arn, "Prefix": "x",
            }
        },
    }  # fmt: skip
    inventory = {
        "AccountId": "123456789012", "Bucket": arn, "Format": "CSV", "Prefix": "p", "Encryption": {"SSES3": {}},
    }  # fmt: skip
    kinds: dict[str, dict[str, Any]] = {
        "analytics": {"Filter": {"And": AND}, "StorageClassAnalysis": {"DataExport": export}},
        "metrics": {"Filter": {"And": AND}},
        "intelligent_tiering": {
            "Filter": {"And": AND},
            "Status": "Enabled",
            "Tierings": [{"Days": 90, "AccessTier": "ARCHIVE_ACCESS"}],
        },
        "inventory": {
            "Destination": {"S3BucketDestination": inventory},
            "IsEnabled": True,
            "Filter": {"Prefix": "p"},
            "IncludedObjectVersions": "All",
            "OptionalFields": ["Size", "ETag"],
            "Schedule": {"Frequency": "Daily"},
        },
    }
    for kind, value in kinds.items():
        argument = "".join(word.title() for word in kind.split("_")) + "Configuration"
        name = f"bucket_{kind}_configuration"
        for ident in ("a", "b"):
            _put_get(s3, name, bucket, argument, {"Id": ident, **value}, Id=ident)
        getattr(s3, f"list_{name}s")(Bucket=bucket)
        getattr(s3, f"delete_{name}")(Bucket=bucket, Id="a")
