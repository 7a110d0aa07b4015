"""Object Lock by boto3: configuration, defaults, retention, legal hold, and that locked versions cannot be deleted."""

import contextlib
import hashlib
import json
import urllib.request
from base64 import b64encode
from datetime import UTC, datetime, timedelta

import pytest
from botocore.exceptions import ClientError

DAY = timedelta(days=1)


def soon(**later):
    """A time to come, whole seconds."""
    return datetime.now(UTC).replace(microsecond=0) + timedelta(**(later or {"days": 1}))


@pytest.fixture
def locked(s3, bucket):
    name = bucket + "-locked"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    return name


def put(s3, bucket, key="k", **more):
    return {
        "Bucket": bucket,
        "Key": key,
        "VersionId": s3.put_object(Bucket=bucket, Key=key, Body=b"x", **more)["VersionId"],
    }


def set_default(s3, bucket, **retention):
    rule = {"Rule": {"DefaultRetention": retention}} if retention else {}
    s3.put_object_lock_configuration(Bucket=bucket, ObjectLockConfiguration={"ObjectLockEnabled": "Enabled", **rule})


def test_a_bucket_with_lock_has_versioning_for_good(s3, locked, refused):
    assert s3.get_bucket_versioning(Bucket=locked)["Status"] == "Enabled"
    found = s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"]
    assert found == {"ObjectLockEnabled": "Enabled"}
    suspend = {"Bucket": locked, "VersioningConfiguration": {"Status": "Suspended"}}
    refused("InvalidBucketState", 409, s3.put_bucket_versioning, **suspend)
    s3.put_bucket_versioning(Bucket=locked, VersioningConfiguration={"Status": "Enabled"})


def test_lock_needs_versioning_and_can_be_enabled_later(s3, bucket, refused):
    refused("ObjectLockConfigurationNotFoundError", 404, s3.get_object_lock_configuration, Bucket=bucket)
    enable = {"Bucket": bucket, "ObjectLockConfiguration": {"ObjectLockEnabled": "Enabled"}}
    refused("InvalidBucketState", 409, s3.put_object_lock_configuration, **enable)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object_lock_configuration(**enable)
    assert s3.get_object_lock_configuration(Bucket=bucket)["ObjectLockConfiguration"] == {
        "ObjectLockEnabled": "Enabled"
    }


@pytest.mark.parametrize(
    ("code", "retention"),
    [
        ("MalformedXML", {"Mode": "GOVERNANCE", "Days": 1, "Years": 1}),
        ("MalformedXML", {"Mode": "GOVERNANCE"}),
        ("MalformedXML", {"Mode": "governance", "Days": 1}),
        ("MalformedXML", {"Days": 1}),
        ("InvalidArgument", {"Mode": "GOVERNANCE", "Days": 0}),
        ("InvalidArgument", {"Mode": "COMPLIANCE", "Years": -1}),
        ("InvalidArgument", {"Mode": "COMPLIANCE", "Years": 101}),
        ("InvalidArgument", {"Mode": "COMPLIANCE", "Days": 36501}),
    ],
)
def test_defaults_that_are_none(s3, locked, refused, code, retention):
    body = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": retention}}
    refused(code, 400, s3.put_object_lock_configuration, Bucket=locked, ObjectLockConfiguration=body)


def test_a_lock_cannot_be_disabled(s3, locked, refused):
    for status in ("Disabled", ""):
        body = {"ObjectLockEnabled": status}
        refused("MalformedXML", 400, s3.put_object_lock_configuration, Bucket=locked, ObjectLockConfiguration=body)


@pytest.mark.parametrize(("unit", "count", "days"), [("Days", 3, (3, 3)), ("Years", 1, (365, 366))])
def test_default_retention_is_given_to_every_write(s3, locked, unit, count, days):
    set_default(s3, locked, Mode="GOVERNANCE", **{unit: count})
    found = s3.get_object_lock_configuration(Bucket=locked)["ObjectLockConfiguration"]
    assert found["Rule"]["DefaultRetention"] == {"Mode": "GOVERNANCE", unit: count}
    put(s3, locked, "put")
    s3.copy_object(Bucket=locked, Key="copied", CopySource=f"{locked}/put")
    upload = s3.create_multipart_upload(Bucket=locked, Key="uploaded")["UploadId"]
    part = {"Bucket": locked, "Key": "uploaded", "UploadId": upload}
    etag = s3.upload_part(PartNumber=1, Body=b"part", **part)["ETag"]
    s3.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}, **part)
    for key in ("put", "copied", "uploaded"):
        retention = s3.get_object_retention(Bucket=locked, Key=key)["Retention"]
        assert retention["Mode"] == "GOVERNANCE"
        left = retention["RetainUntilDate"] - datetime.now(UTC)
        assert timedelta(days=days[0], minutes=-5) < left <= timedelta(days=days[1])
        head = s3.head_object(Bucket=locked, Key=key)
        assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"]) == (
            "GOVERNANCE",
            retention["RetainUntilDate"],
        )
        assert "ObjectLockLegalHoldStatus" not in head
    set_default(s3, locked)
    assert "ObjectLockMode" not in s3.head_object(**put(s3, locked, "after"))


def test_a_write_may_ask_for_its_own_lock(s3, locked):
    set_default(s3, locked, Mode="COMPLIANCE", Days=30)
    until = soon(days=2)
    asked = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": until, "ObjectLockLegalHoldStatus": "ON"}
    put(s3, locked, "put", **asked)
    s3.copy_object(Bucket=locked, Key="copied", CopySource=f"{locked}/put", **asked)
    upload = s3.create_multipart_upload(Bucket=locked, Key="uploaded", **asked)["UploadId"]
    part = {"Bucket": locked, "Key": "uploaded", "UploadId": upload}
    etag = s3.upload_part(PartNumber=1, Body=b"part", **part)["ETag"]
    s3.complete_multipart_upload(MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]}, **part)
    for key in ("put", "copied", "uploaded"):
        got = s3.get_object(Bucket=locked, Key=key)
        assert {name: got[name] for name in asked} == asked
        s3.put_object_legal_hold(Bucket=locked, Key=key, LegalHold={"Status": "OFF"})
        assert s3.get_object_legal_hold(Bucket=locked, Key=key)["LegalHold"] == {"Status": "OFF"}
        assert s3.head_object(Bucket=locked, Key=key)["ObjectLockLegalHoldStatus"] == "OFF"


def test_a_copy_does_not_take_the_sources_lock_along(s3, locked):
    put(s3, locked, "source", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon())
    s3.copy_object(Bucket=locked, Key="copied", CopySource=f"{locked}/source")
    assert "ObjectLockMode" not in s3.head_object(Bucket=locked, Key="copied")


@pytest.mark.parametrize(
    ("code", "asked"),
    [
        ("InvalidArgument", {"ObjectLockMode": "GOVERNANCE"}),
        ("InvalidArgument", {"ObjectLockRetainUntilDate": soon()}),
        ("InvalidArgument", {"ObjectLockMode": "abc", "ObjectLockRetainUntilDate": soon()}),
        ("InvalidArgument", {"ObjectLockMode": "COMPLIANCE", "ObjectLockRetainUntilDate": soon(days=-1)}),
        ("InvalidArgument", {"ObjectLockLegalHoldStatus": "on"}),
    ],
)
def test_locks_that_are_none(s3, locked, refused, code, asked):
    refused(code, 400, s3.put_object, Bucket=locked, Key="k", Body=b"", **asked)
    refused(code, 400, s3.create_multipart_upload, Bucket=locked, Key="k", **asked)
    assert "Versions" not in s3.list_object_versions(Bucket=locked)


def test_without_object_lock_nothing_can_be_locked(s3, versioned, refused):
    s3.put_object(Bucket=versioned, Key="k", Body=b"")
    name = {"Bucket": versioned, "Key": "k"}
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": soon()}
    for call, more in (
        (s3.put_object, {"ObjectLockLegalHoldStatus": "ON"}),
        (s3.put_object_retention, {"Retention": retention}),
        (s3.get_object_retention, {}),
        (s3.put_object_legal_hold, {"LegalHold": {"Status": "ON"}}),
        (s3.get_object_legal_hold, {}),
    ):
        refused("InvalidRequest", 400, call, **name, **more)
    s3.delete_object(**name, BypassGovernanceRetention=True)


def test_what_has_no_lock_says_so(s3, locked, refused):
    name = put(s3, locked)
    refused("NoSuchObjectLockConfiguration", 404, s3.get_object_retention, **name)
    refused("NoSuchObjectLockConfiguration", 404, s3.get_object_legal_hold, **name)
    missing = {"Bucket": locked, "Key": "missing"}
    refused("NoSuchKey", 404, s3.get_object_retention, **missing)
    refused("NoSuchVersion", 404, s3.get_object_legal_hold, **{**name, "VersionId": "ab" * 16})
    marker = s3.delete_object(Bucket=locked, Key="k")["VersionId"]
    retention = {"Mode": "GOVERNANCE", "RetainUntilDate": soon()}
    marked = {**name, "VersionId": marker}
    refused("MethodNotAllowed", 405, s3.put_object_retention, **marked, Retention=retention)


def test_bad_retentions_and_holds(s3, locked, refused):
    name = put(s3, locked)
    for code, retention in (
        ("MalformedXML", {"Mode": "governance", "RetainUntilDate": soon()}),
        ("MalformedXML", {"Mode": "abc", "RetainUntilDate": soon()}),
        ("MalformedXML", {"Mode": "GOVERNANCE"}),
        ("MalformedXML", {"RetainUntilDate": soon()}),
        ("InvalidArgument", {"Mode": "GOVERNANCE", "RetainUntilDate": soon(days=-1)}),
    ):
        refused(code, 400, s3.put_object_retention, **name, Retention=retention)
    for hold in ({"Status": "abc"}, {"Status": "on"}, {}):
        refused("MalformedXML", 400, s3.put_object_legal_hold, **name, LegalHold=hold)


def test_governance_can_be_extended_and_bypassed(s3, locked, refused):
    first, later = soon(days=1), soon(days=2)
    name = put(s3, locked, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=first)
    s3.put_object_retention(**name, Retention={"Mode": "GOVERNANCE", "RetainUntilDate": later})
    assert s3.get_object_retention(**name)["Retention"] == {"Mode": "GOVERNANCE", "RetainUntilDate": later}
    shorter = {"Mode": "GOVERNANCE", "RetainUntilDate": first}
    other = {"Mode": "COMPLIANCE", "RetainUntilDate": soon(days=3)}
    for retention in (shorter, other, {}):
        refused("AccessDenied", 403, s3.put_object_retention, **name, Retention=retention)
    refused("AccessDenied", 403, s3.delete_object, **name)
    s3.put_object_retention(**name, Retention=shorter, BypassGovernanceRetention=True)
    assert s3.get_object_retention(**name)["Retention"] == shorter
    s3.put_object_retention(**name, Retention={}, BypassGovernanceRetention=True)
    refused("NoSuchObjectLockConfiguration", 404, s3.get_object_retention, **name)
    s3.put_object_retention(**name, Retention=shorter)
    s3.delete_object(**name, BypassGovernanceRetention=True)
    assert "Versions" not in s3.list_object_versions(Bucket=locked)


def test_compliance_cannot_be_bypassed(s3, locked, refused):
    until = soon(seconds=2)
    name = put(s3, locked, ObjectLockMode="COMPLIANCE", ObjectLockRetainUntilDate=until)
    for retention in ({"Mode": "GOVERNANCE", "RetainUntilDate": soon()}, {}):
        refused(
            "AccessDenied", 403, s3.put_object_retention, **name, Retention=retention, BypassGovernanceRetention=True
        )
    refused("AccessDenied", 403, s3.delete_object, **name, BypassGovernanceRetention=True)
    ended, asked = until, until
    while "Versions" in s3.list_object_versions(Bucket=locked):  # the clock ends it, and nothing else
        with contextlib.suppress(ClientError):
            asked = datetime.now(UTC)
            s3.delete_object(**name)
            ended = datetime.now(UTC)
    assert ended >= until
    assert asked >= until - timedelta(seconds=1)


def test_a_hold_stands_above_everything(s3, locked, refused):
    name = put(s3, locked)
    s3.put_object_legal_hold(**name, LegalHold={"Status": "ON"})
    assert s3.get_object_legal_hold(**name)["LegalHold"] == {"Status": "ON"}
    refused("AccessDenied", 403, s3.delete_object, **name, BypassGovernanceRetention=True)
    s3.put_object(Bucket=locked, Key="k", Body=b"a new version may be written")
    marker = s3.delete_object(Bucket=locked, Key="k")
    assert marker["DeleteMarker"] is True
    s3.delete_object(Bucket=locked, Key="k", VersionId=marker["VersionId"])
    s3.put_object_legal_hold(**name, LegalHold={"Status": "OFF"})
    s3.delete_object(**name)


def test_delete_objects_tells_of_each(s3, locked):
    held = put(s3, locked, "held", ObjectLockLegalHoldStatus="ON")
    governed = put(s3, locked, "governed", ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon())
    free = put(s3, locked, "free")
    names = [{"Key": one["Key"], "VersionId": one["VersionId"]} for one in (held, governed, free)]
    answer = s3.delete_objects(Bucket=locked, Delete={"Objects": names})
    assert [one["Key"] for one in answer["Deleted"]] == ["free"]
    assert {one["Key"]: one["Code"] for one in answer["Errors"]} == {"held": "AccessDenied", "governed": "AccessDenied"}
    answer = s3.delete_objects(Bucket=locked, Delete={"Objects": names[:2]}, BypassGovernanceRetention=True)
    assert [one["Key"] for one in answer["Deleted"]] == ["governed"]
    assert [one["Key"] for one in answer["Errors"]] == ["held"]


def test_mfa_delete_is_refused_clearly(s3, versioned, refused):
    asked = {"Status": "Enabled", "MFADelete": "Enabled"}
    refused("NotImplemented", 501, s3.put_bucket_versioning, Bucket=versioned, VersioningConfiguration=asked)
    refused("NotImplemented", 501, s3.delete_object, Bucket=versioned, Key="k", MFA="serial 123456")


@pytest.fixture
def granted(s3, locked):
    """``granted(action, …)``: everyone signed may do these in the locked bucket."""
    s3.delete_public_access_block(Bucket=locked)

    def grant(*actions):
        statement = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": list(actions),
            "Resource": f"arn:aws:s3:::{locked}/*",
        }
        s3.put_bucket_policy(Bucket=locked, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

    return grant


def test_bypassing_needs_its_own_permission(s3, other, locked, granted, refused):
    name = put(s3, locked, ObjectLockMode="GOVERNANCE", ObjectLockRetainUntilDate=soon())
    granted("s3:DeleteObject", "s3:DeleteObjectVersion", "s3:PutObjectRetention")
    refused("AccessDenied", 403, other.delete_object, **name, BypassGovernanceRetention=True)
    refused("AccessDenied", 403, other.put_object_retention, **name, Retention={}, BypassGovernanceRetention=True)
    longer = {"Mode": "GOVERNANCE", "RetainUntilDate": soon(days=9)}
    other.put_object_retention(**name, Retention=longer)
    granted("s3:DeleteObjectVersion", "s3:BypassGovernanceRetention")
    refused("AccessDenied", 403, other.put_object_retention, **name, Retention={}, BypassGovernanceRetention=True)
    refused("AccessDenied", 403, other.delete_object, **name)
    other.delete_object(**name, BypassGovernanceRetention=True)


def test_who_may_not_know_of_a_lock_is_not_told(s3, other, locked, granted):
    asked = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": soon(), "ObjectLockLegalHoldStatus": "ON"}
    name = put(s3, locked, **asked)
    granted("s3:GetObject", "s3:GetObjectVersion")
    assert not set(asked) & set(other.head_object(**name))
    granted("s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectLegalHold")
    assert set(asked) & set(other.get_object(**name)) == {"ObjectLockLegalHoldStatus"}
    granted("s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention")
    assert set(asked) & set(other.get_object(**name)) == {"ObjectLockMode", "ObjectLockRetainUntilDate"}


def test_locking_while_writing_needs_its_own_permission(other, locked, granted, refused):
    asked = {"ObjectLockMode": "GOVERNANCE", "ObjectLockRetainUntilDate": soon()}
    granted("s3:PutObject")
    refused("AccessDenied", 403, other.put_object, Bucket=locked, Key="k", Body=b"", **asked)
    refused("AccessDenied", 403, other.put_object, Bucket=locked, Key="k", Body=b"", ObjectLockLegalHoldStatus="ON")
    granted("s3:PutObject", "s3:PutObjectRetention")
    other.put_object(Bucket=locked, Key="k", Body=b"", **asked)
    refused("AccessDenied", 403, other.put_object, Bucket=locked, Key="k", Body=b"", ObjectLockLegalHoldStatus="ON")


def test_a_form_may_ask_for_a_lock(s3, server, locked):
    fields = {"x-amz-object-lock-mode": "GOVERNANCE", "x-amz-object-lock-retain-until-date": "2040-01-01T00:00:00Z"}
    conditions = [{name: value} for name, value in fields.items()]
    post = s3.generate_presigned_post(locked, "formed", Fields=dict(fields), Conditions=conditions)
    boundary = "b0undary"
    body = "".join(
        f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
        for name, value in post["fields"].items()
    )
    body += f'--{boundary}\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\nx\r\n--{boundary}--\r\n'
    request = urllib.request.Request(
        post["url"], body.encode(), {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 204
    head = s3.head_object(Bucket=locked, Key="formed")
    assert (head["ObjectLockMode"], head["ObjectLockRetainUntilDate"].year) == ("GOVERNANCE", 2040)


def test_a_lock_needs_a_vouched_body(server, s3, locked, refused):
    plain = server.client(request_checksum_calculation="when_required")
    asked = {"Bucket": locked, "Key": "k", "Body": b"x", "ObjectLockLegalHoldStatus": "ON"}
    refused("InvalidRequest", 400, plain.put_object, **asked)
    plain.put_object(**asked, ContentMD5=b64encode(hashlib.md5(b"x").digest()).decode())
    plain.close()
