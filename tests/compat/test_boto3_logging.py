"""Server access logging by boto3: the setting, and log objects that arrive with lines of AWS's format."""

import itertools
import re
import time
import urllib.request

import pytest

from gateway.http.settings import HttpSettings
from gateway.operations.context import OperationSettings
from tests.gateway.http.server import Server
from tests.gateway.http.stores import KINDS, opener

FIELD = re.compile(r'\[[^\]]*\]|"[^"]*"|\S+')
_names = (f"logged-{number}" for number in itertools.count())


@pytest.fixture(scope="module", params=KINDS)
def server(request, tmp_path_factory):
    settings = HttpSettings(log_delivery_s=0.05, operations=OperationSettings(part_bytes_min=1))
    with Server(opener(request.param, tmp_path_factory.mktemp("data")), settings) as running:
        yield running


@pytest.fixture
def s3(server):
    client = server.client()
    yield client
    client.close()


@pytest.fixture
def buckets(s3):
    """(the bucket that is to be logged, the one that logs go to)"""
    name = next(_names)
    s3.create_bucket(Bucket=name)
    s3.create_bucket(Bucket=f"{name}-logs")
    return name, f"{name}-logs"


def enable(s3, bucket, target, prefix="log/", **more):
    status = {"LoggingEnabled": {"TargetBucket": target, "TargetPrefix": prefix, **more}}
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus=status)
    return status


def lines_for(s3, target, request, wanted):
    """Make ``request`` until a line that ``wanted`` matches was delivered; (its fields, its object's key)."""
    for _ in range(2000):
        request()
        for listed in s3.list_objects_v2(Bucket=target).get("Contents", []):
            body = s3.get_object(Bucket=target, Key=listed["Key"])["Body"].read().decode()
            for line in body.splitlines():
                fields = FIELD.findall(line)
                if wanted(fields):
                    return fields, listed["Key"]
        time.sleep(0.02)
    raise AssertionError("no such line was delivered")


def test_put_and_get(s3, buckets):
    bucket, target = buckets
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)
    status = enable(s3, bucket, target)
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"] == status["LoggingEnabled"]
    for key_format in ({"SimplePrefix": {}}, {"PartitionedPrefix": {"PartitionDateSource": "EventTime"}}):
        status = enable(s3, bucket, target, "", TargetObjectKeyFormat=key_format)
        assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"] == status["LoggingEnabled"]
    s3.put_bucket_logging(Bucket=bucket, BucketLoggingStatus={})
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)


def test_targets_that_cannot_be(server, s3, buckets, refused):
    bucket, _ = buckets
    other = server.client("AKIAOTHEROTHEROTHERX", "other-secret-other-secret-other-secret-x")
    foreign = next(_names)
    other.create_bucket(Bucket=foreign)
    for target in ("absent-bucket", foreign):
        refused("InvalidTargetBucketForLogging", 400, enable, s3=s3, bucket=bucket, target=target)
    refused("AccessDenied", 403, enable, s3=other, bucket=bucket, target=foreign)
    refused("AccessDenied", 403, other.get_bucket_logging, Bucket=bucket)
    other.close()
    grants = [
        {"Grantee": {"Type": "Group", "URI": "http://acs.amazonaws.com/groups/global/AllUsers"}, "Permission": "READ"}
    ]
    call = {"s3": s3, "bucket": bucket, "target": buckets[1]}
    refused("AccessControlListNotSupported", 400, enable, **call, TargetGrants=grants)
    refused("MalformedXML", 400, enable, **call, TargetGrants=[{**grants[0], "Permission": "READ_ACP"}])
    s3.put_bucket_ownership_controls(
        Bucket=buckets[1], OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]}
    )
    nobody = [{"Grantee": {"Type": "CanonicalUser", "ID": "nobody"}, "Permission": "READ"}]
    refused("InvalidArgument", 400, enable, **call, TargetGrants=nobody)
    both = {"SimplePrefix": {}, "PartitionedPrefix": {"PartitionDateSource": "EventTime"}}
    refused("MalformedXML", 400, enable, s3=s3, bucket=bucket, target=buckets[1], TargetObjectKeyFormat=both)
    assert "LoggingEnabled" not in s3.get_bucket_logging(Bucket=bucket)


def test_log_objects_are_granted_to_whom_the_setting_says(s3, buckets):
    bucket, target = buckets
    s3.put_bucket_ownership_controls(Bucket=target, OwnershipControls={"Rules": [{"ObjectOwnership": "ObjectWriter"}]})
    uri = "http://acs.amazonaws.com/groups/global/AuthenticatedUsers"
    grants = [{"Grantee": {"Type": "Group", "URI": uri}, "Permission": "READ"}]
    s3.delete_public_access_block(Bucket=target)
    status = enable(s3, bucket, target, TargetGrants=grants)
    assert s3.get_bucket_logging(Bucket=bucket)["LoggingEnabled"] == status["LoggingEnabled"]
    _, key = lines_for(s3, target, lambda: s3.head_bucket(Bucket=bucket), lambda fields: "REST.HEAD.BUCKET" in fields)
    acl = s3.get_object_acl(Bucket=target, Key=key)
    assert [grant["Permission"] for grant in acl["Grants"]] == ["FULL_CONTROL", "READ"]
    assert acl["Grants"][1]["Grantee"] == grants[0]["Grantee"]


def test_a_line_says_what_was_asked(s3, buckets):
    bucket, target = buckets
    enable(s3, bucket, target)
    s3.put_object(Bucket=bucket, Key="a b", Body=b"hello")
    fields, key = lines_for(
        s3,
        target,
        lambda: s3.get_object(Bucket=bucket, Key="a b")["Body"].read(),
        lambda fields: fields[6] == "REST.GET.OBJECT",
    )
    owner = s3.get_bucket_acl(Bucket=bucket)["Owner"]["ID"]
    assert re.fullmatch(r"log/\d{4}-\d\d-\d\d-\d\d-\d\d-\d\d-[0-9A-F]{16}", key)
    assert len(fields) == 26
    assert (fields[0], fields[1], fields[3], fields[4]) == (owner, bucket, "127.0.0.1", owner)
    assert re.fullmatch(r"\[\d\d/[A-Z][a-z]{2}/\d{4}:\d\d:\d\d:\d\d \+0000\]", fields[2])
    assert fields[7] == "a%20b"
    assert fields[8] == f'"GET /{bucket}/a%20b HTTP/1.1"'
    assert (fields[9], fields[10], fields[11], fields[12]) == ("200", "-", "5", "5")
    assert "Boto3" in fields[16]
    assert (fields[19], fields[21]) == ("SigV4", "AuthHeader")


def test_refusals_are_logged_too(s3, buckets):
    bucket, target = buckets
    enable(s3, bucket, target)

    def ask():
        with pytest.raises(s3.exceptions.ClientError):
            s3.get_object(Bucket=bucket, Key="absent")

    fields, _ = lines_for(s3, target, ask, lambda fields: fields[10] == "NoSuchKey")
    assert (fields[6], fields[9], fields[7]) == ("REST.GET.OBJECT", "404", "absent")


def test_presigned_signatures_do_not_get_into_logs(server, s3, buckets):
    bucket, target = buckets
    s3.put_object(Bucket=bucket, Key="k", Body=b"x")
    enable(s3, bucket, target)
    signer = server.client(signature_version="s3v4")
    url = signer.generate_presigned_url("get_object", {"Bucket": bucket, "Key": "k"})
    signer.close()

    def ask():
        with urllib.request.urlopen(url) as answer:
            answer.read()

    fields, _ = lines_for(s3, target, ask, lambda fields: "k?" in fields[8])
    assert "Signature=" not in fields[8]
    assert "Credential=" in fields[8]


def test_partitioned_keys(s3, buckets):
    bucket, target = buckets
    enable(s3, bucket, target, "p/", TargetObjectKeyFormat={"PartitionedPrefix": {"PartitionDateSource": "EventTime"}})
    _, key = lines_for(
        s3, target, lambda: s3.list_objects_v2(Bucket=bucket), lambda fields: "REST.GET.BUCKET" in fields[6]
    )
    assert re.fullmatch(
        rf"p/\d{{12}}/us-east-1/{bucket}/\d{{4}}/\d\d/\d\d/\d{{4}}-\d\d-\d\d-00-00-00-[0-9A-F]{{16}}", key
    )
