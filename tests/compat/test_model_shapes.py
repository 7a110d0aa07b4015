"""Every operation once, its raw answer against the published service model: elements, headers, types, what is empty.

The walk asks as richly as it can, so that every member of an output has its chance; what never comes is listed in
``NEVER`` with the reason. What clients parse leniently (boto3 passes over unknown elements) is thus seen here.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element, fromstring

import pytest

from gateway.http.dispatch import HANDLERS
from gateway.http.settings import HttpSettings
from gateway.operations.context import OperationSettings
from tests.compat.model_walk import PART, Seen, Walk, walk_configurations, walk_objects
from tests.gateway.http.server import Server
from tests.gateway.http.stores import opener

NS = "{http://s3.amazonaws.com/doc/2006-03-01/}"
XSI_TYPE = "{http://www.w3.org/2001/XMLSchema-instance}type"
ROOTS = {
    # API reference, "Response Syntax" of each; others have no body
    "CompleteMultipartUpload": "CompleteMultipartUploadResult",
    "CopyObject": "CopyObjectResult",
    "CreateMultipartUpload": "InitiateMultipartUploadResult",
    "DeleteObjects": "DeleteResult",
    "GetBucketAbac": "AbacStatus",
    "GetBucketAccelerateConfiguration": "AccelerateConfiguration",
    "GetBucketAcl": "AccessControlPolicy",
    "GetBucketAnalyticsConfiguration": "AnalyticsConfiguration",
    "GetBucketCors": "CORSConfiguration",
    "GetBucketEncryption": "ServerSideEncryptionConfiguration",
    "GetBucketIntelligentTieringConfiguration": "IntelligentTieringConfiguration",
    "GetBucketInventoryConfiguration": "InventoryConfiguration",
    "GetBucketLifecycleConfiguration": "LifecycleConfiguration",
    "GetBucketLocation": "LocationConstraint",
    "GetBucketLogging": "BucketLoggingStatus",
    "GetBucketMetricsConfiguration": "MetricsConfiguration",
    "GetBucketNotificationConfiguration": "NotificationConfiguration",
    "GetBucketOwnershipControls": "OwnershipControls",
    "GetBucketPolicyStatus": "PolicyStatus",
    "GetBucketReplication": "ReplicationConfiguration",
    "GetBucketRequestPayment": "RequestPaymentConfiguration",
    "GetBucketTagging": "Tagging",
    "GetBucketVersioning": "VersioningConfiguration",
    "GetBucketWebsite": "WebsiteConfiguration",
    "GetObjectAcl": "AccessControlPolicy",
    "GetObjectAttributes": "GetObjectAttributesResponse",
    "GetObjectLegalHold": "LegalHold",
    "GetObjectLockConfiguration": "ObjectLockConfiguration",
    "GetObjectRetention": "Retention",
    "GetObjectTagging": "Tagging",
    "GetPublicAccessBlock": "PublicAccessBlockConfiguration",
    "ListBucketAnalyticsConfigurations": "ListBucketAnalyticsConfigurationsResult",
    "ListBucketIntelligentTieringConfigurations": "ListBucketIntelligentTieringConfigurationsOutput",
    "ListBucketInventoryConfigurations": "ListInventoryConfigurationsResult",
    "ListBucketMetricsConfigurations": "ListMetricsConfigurationsResult",
    "ListBuckets": "ListAllMyBucketsResult",
    "ListMultipartUploads": "ListMultipartUploadsResult",
    "ListObjectVersions": "ListVersionsResult",
    "ListObjects": "ListBucketResult",
    "ListObjectsV2": "ListBucketResult",
    "ListParts": "ListPartsResult",
    "UploadPartCopy": "CopyPartResult",
}
NO_CONTENT = {
    "AbortMultipartUpload",
    "DeleteBucket",
    "DeleteBucketAnalyticsConfiguration",
    "DeleteBucketCors",
    "DeleteBucketEncryption",
    "DeleteBucketIntelligentTieringConfiguration",
    "DeleteBucketInventoryConfiguration",
    "DeleteBucketLifecycle",
    "DeleteBucketMetricsConfiguration",
    "DeleteBucketOwnershipControls",
    "DeleteBucketPolicy",
    "DeleteBucketReplication",
    "DeleteBucketTagging",
    "DeleteBucketWebsite",
    "DeleteObject",
    "DeleteObjectTagging",
    "DeletePublicAccessBlock",
    "PutBucketPolicy",
    "PutBucketTagging",
}
STATUS = {**dict.fromkeys(NO_CONTENT, 204), "RestoreObject": 202}


@pytest.fixture(scope="module")
def walked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Seen]]:
    settings = HttpSettings(operations=OperationSettings(part_bytes_min=PART))
    with Server(opener("memory", tmp_path_factory.mktemp("data")), settings) as server:
        s3 = server.client()
        walk = Walk(s3)
        s3.create_bucket(Bucket="locked", ObjectLockEnabledForBucket=True)
        s3.create_bucket(Bucket="plain")
        s3.create_bucket(Bucket="gone")
        s3.delete_bucket(Bucket="gone")
        owner = s3.list_buckets()["Owner"]["ID"]
        page = s3.list_buckets(MaxBuckets=1, Prefix="")
        s3.list_buckets(Prefix="p", BucketRegion="us-east-1", ContinuationToken=page["ContinuationToken"])
        for status in ("Enabled", "Suspended", "Enabled"):
            s3.put_bucket_versioning(Bucket="plain", VersioningConfiguration={"Status": status})
        s3.get_bucket_versioning(Bucket="plain")
        lock = {"Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Days": 1}}, "ObjectLockEnabled": "Enabled"}
        s3.get_object_lock_configuration(Bucket="locked")
        s3.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration=lock)
        s3.get_object_lock_configuration(Bucket="locked")
        s3.put_object_lock_configuration(Bucket="locked", ObjectLockConfiguration={"ObjectLockEnabled": "Enabled"})
        walk_objects(s3, "locked")
        walk_configurations(s3, "plain", owner)
        s3.put_object(Bucket="plain", Key="r", Body=io.BytesIO(b"r"))
        s3.put_bucket_versioning(Bucket="plain", VersioningConfiguration={"Status": "Suspended"})
        s3.create_bucket(Bucket="renames")
        s3.put_object(Bucket="renames", Key="r", Body=b"r")
        s3.rename_object(Bucket="renames", Key="s", RenameSource="/renames/r")
        yield walk.seen
        s3.close()


MODEL = None


def _model(operation: str) -> Any:
    import botocore.session

    global MODEL
    if MODEL is None:
        MODEL = botocore.session.get_session().get_service_model("s3")
    return MODEL.operation_model(operation)


def test_the_walk_is_whole(walked: list[Seen]) -> None:
    expected = {op.value for op in HANDLERS} - {"PostObject", "PreflightRequest"}
    assert expected - {seen.operation for seen in walked} == set()


def test_statuses_and_common_headers(walked: list[Seen]) -> None:
    wrong = []
    for seen in walked:
        expected = STATUS.get(seen.operation, 200)
        if seen.status != expected and not (seen.operation in ("GetObject", "HeadObject") and seen.status == 206):
            wrong.append((seen.operation, seen.status))
        if not seen.headers.get("x-amz-request-id") or not seen.headers.get("x-amz-id-2"):
            wrong.append((seen.operation, "ids"))
        if seen.operation in ROOTS:
            if seen.headers.get("content-type") != "application/xml":
                wrong.append((seen.operation, seen.headers.get("content-type")))
            if not seen.body.startswith(b'<?xml version="1.0" encoding="UTF-8"?>'):
                wrong.append((seen.operation, "declaration"))
        elif seen.body and seen.operation != "GetBucketPolicy":
            wrong.append((seen.operation, seen.body))
        for name in ("etag",):
            if name in seen.headers and not re.fullmatch('"[^"]+"', seen.headers[name]):
                wrong.append((seen.operation, seen.headers[name]))
        for name in ("last-modified", "date"):
            if name in seen.headers and not re.fullmatch(
                r"(Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT", seen.headers[name]
            ):
                wrong.append((seen.operation, seen.headers[name]))
        if seen.status == 204 and "content-type" in seen.headers:
            wrong.append((seen.operation, "content-type of nothing"))
    assert wrong == []


class Checker:
    """Elements against shapes; notes what is wrong and which members were seen."""

    def __init__(self) -> None:
        self.wrong: list[str] = []
        self.met: set[str] = set()

    def check(self, element: Element, shape: Any, path: str) -> None:
        """One element."""
        if shape.type_name == "structure":
            self.structure(element, shape, path)
        elif len(element):
            self.wrong.append(f"{path}: has children")
        else:
            self.scalar(element.text or "", shape, path)

    def structure(self, element: Element, shape: Any, path: str) -> None:
        """A structure's children are members, in any order."""
        known: dict[str, tuple[str, Any]] = {}
        for name, member in shape.members.items():
            if "location" in member.serialization:
                continue
            wire = member.serialization.get("name", name)
            if member.type_name == "list" and member.serialization.get("flattened"):
                wire = member.member.serialization.get("name", wire)
            known[wire] = name, member
        if (element.text or "").strip():
            self.wrong.append(f"{path}: text")
        for child in element:
            if not child.tag.startswith(NS):
                self.wrong.append(f"{path}: {child.tag} without namespace")
            tag = child.tag.rpartition("}")[2]
            if tag not in known:
                self.wrong.append(f"{path}: unknown {tag}")
                continue
            name, member = known[tag]
            inner = f"{path}.{name}"
            self.met.add(f"{shape.name}.{name}")
            if member.type_name != "list":
                self.check(child, member, inner)
            elif member.serialization.get("flattened"):
                self.check(child, member.member, inner)
            else:
                entry = member.member.serialization.get("name", "member")
                for grandchild in child:
                    if grandchild.tag != NS + entry:
                        self.wrong.append(f"{inner}: {grandchild.tag} in a list of {entry}")
                    self.check(grandchild, member.member, inner)

    def scalar(self, text: str, shape: Any, path: str) -> None:
        """A text."""
        kind = shape.type_name
        good = True
        if kind == "timestamp":
            good = bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", text))
        elif kind == "boolean":
            good = text in ("true", "false")
        elif kind in ("integer", "long"):
            good = bool(re.fullmatch(r"-?\d+", text))
        elif kind == "string" and getattr(shape, "enum", None):
            good = text in shape.enum or shape.name == "ObjectVersionStorageClass"  # of which the model knows one
        if not good:
            self.wrong.append(f"{path}: {kind} {text!r}")
        if path.endswith(".ETag") and "GetObjectAttributes" not in path and not re.fullmatch('"[^"]+"', text):
            self.wrong.append(f"{path}: unquoted {text!r}")


def _check_all(walked: list[Seen]) -> Checker:
    checker = Checker()
    for seen in walked:
        model = _model(seen.operation)
        shape = model.output_shape
        if shape is not None:
            for name, member in shape.members.items():
                wire = member.serialization.get("name", "").lower()
                if member.serialization.get("location") == "header" and wire in seen.headers:
                    checker.met.add(f"{shape.name}.{name}")
                    if getattr(member, "enum", None) and seen.headers[wire] not in member.enum:
                        checker.wrong.append(f"{seen.operation}: {wire}: {seen.headers[wire]}")
        if seen.operation not in ROOTS:
            continue
        root = fromstring(seen.body)
        if root.tag != NS + ROOTS[seen.operation]:
            checker.wrong.append(f"{seen.operation}: root {root.tag}")
        if seen.operation == "GetBucketLocation":
            continue
        payload = shape.serialization.get("payload")
        if payload:
            checker.met.add(f"{shape.name}.{payload}")
        checker.check(root, shape.members[payload] if payload else shape, seen.operation)
    return checker


def test_answers_are_of_their_shape(walked: list[Seen]) -> None:
    assert sorted(set(_check_all(walked).wrong)) == []


ELSEWHERE = re.compile(
    # Told only in cases that other tests make: charged requesters, customer's and KMS keys, other checksums, lifecycle,
    # notifications, restores.
    r"\.(RequestCharged|SSEKMS|SSECustomer\w+|SSEKMS\w+|BucketKeyEnabled|KMSMasterKeyID|Checksum\w+|Expiration|AbortDate"
    r"|AbortRuleId|Restore|ReplicationStatus|DeleteMarker|EmailAddress|Years|PartsCount|Size|LambdaFunctionArn"
    r"|NextContinuationToken|ContinuationToken|VersionId|Events|QueueArn|TopicArn|FilterRules|SimplePrefix)$"
    r"|^(FilterRule|NotificationConfiguration|NotificationConfigurationFilter|\w+Configuration|S3KeyFilter)\."
    r"|^(AnalyticsFilter|MetricsFilter|IntelligentTieringFilter|LifecycleRule|ReplicationRule)\.(Prefix|Tag|Filter)$"
    # Not in XML elements or headers of their own.
    r"|\.(Body|Metadata|MissingMeta|LocationConstraint|Policy|Type)$"
    # Of directory buckets only, of Outposts, of tiers there are not, of what is refused.
    r"|\.(BucketArn|BucketLocation\w+|ArchiveStatus|AccessPointArn|RestoreOutputPath|MFADelete|BlockedEncryptionTypes"
    r"|EncryptionType|TargetGrants|DefaultEventHold)$|EventHold|^SSEKMS\.|^TargetGrant\."
)


def test_members_of_outputs_come(walked: list[Seen]) -> None:
    met = _check_all(walked).met
    missing = []
    done: set[str] = set()

    def visit(shape: Any) -> None:
        if shape.type_name == "list":
            return visit(shape.member)
        if shape.type_name != "structure" or shape.name in done:
            return None
        done.add(shape.name)
        for name, member in shape.members.items():
            path = f"{shape.name}.{name}"
            if path not in met and not ELSEWHERE.search(path):
                missing.append(path)
            visit(member)
        return None

    for operation in sorted({seen.operation for seen in walked}):
        shape = _model(operation).output_shape
        if shape is not None:
            visit(shape)
    assert " ".join(sorted(missing)) == ""
