"""Buckets, listings and users by boto3."""

import pytest

from gateway.http.settings import HttpSettings
from tests.gateway.http.server import Server
from tests.gateway.http.stores import opener


def test_life_of_a_bucket(s3, bucket, refused):
    s3.head_bucket(Bucket=bucket)
    assert s3.head_bucket(Bucket=bucket)["BucketRegion"] == "us-east-1"
    assert s3.get_bucket_location(Bucket=bucket)["LocationConstraint"] is None
    assert bucket in [entry["Name"] for entry in s3.list_buckets()["Buckets"]]
    s3.create_bucket(Bucket=bucket)  # one's own again: us-east-1 answers 200
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=bucket)
    s3.delete_object(Bucket=bucket, Key="k")
    s3.delete_bucket(Bucket=bucket)
    refused("404", 404, s3.head_bucket, Bucket=bucket)
    refused("NoSuchBucket", 404, s3.delete_bucket, Bucket=bucket)


def test_a_bucket_made_again_is_not_told_what_it_has_not(s3, bucket, refused):
    tags = {"Tags": [{"Key": "a", "Value": "b"}]}
    for asked in (
        {"ObjectLockEnabledForBucket": True},
        {"ObjectOwnership": "ObjectWriter"},
        {"CreateBucketConfiguration": tags},
    ):
        refused("BucketAlreadyOwnedByYou", 409, s3.create_bucket, Bucket=bucket, **asked)
    s3.create_bucket(Bucket=bucket, ObjectOwnership="BucketOwnerEnforced")
    s3.create_bucket(Bucket=bucket + "-l", ObjectLockEnabledForBucket=True, CreateBucketConfiguration=tags)
    s3.create_bucket(Bucket=bucket + "-l", ObjectLockEnabledForBucket=True, CreateBucketConfiguration=tags)


def test_a_bucket_with_only_markers_is_not_empty(s3, versioned, refused):
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    refused("BucketNotEmpty", 409, s3.delete_bucket, Bucket=versioned)
    s3.delete_object(Bucket=versioned, Key="k", VersionId=marker)
    s3.delete_bucket(Bucket=versioned)


@pytest.mark.parametrize("name", ["ab", "Upper", "under_score", "192.168.0.1", "a..b", "xn--a", "a" * 64])
def test_bad_bucket_names(server, refused, name):
    loose = server.client(parameter_validation=False)
    loose.meta.events.unregister("before-parameter-build.s3", None) if False else None
    import botocore.handlers

    loose.meta.events.unregister("before-parameter-build.s3", botocore.handlers.validate_bucket_name)
    refused("InvalidBucketName", 400, loose.create_bucket, Bucket=name)
    loose.close()


def test_eu_is_a_name_of_eu_west_1(tmp_path):
    with Server(opener("memory", tmp_path), HttpSettings(region="eu-west-1")) as server:
        client = server.client(region="eu-west-1")
        client.create_bucket(Bucket="bucket", CreateBucketConfiguration={"LocationConstraint": "EU"})
        assert client.head_bucket(Bucket="bucket")["BucketRegion"] == "eu-west-1"
        client.close()


def test_location_constraints(s3, refused):
    refused(
        "IllegalLocationConstraintException",
        400,
        s3.create_bucket,
        Bucket="elsewhere",
        CreateBucketConfiguration={"LocationConstraint": "eu-west-1"},
    )
    refused("404", 404, s3.head_bucket, Bucket="elsewhere")


def test_a_local_bucket_works_as_any_other_and_says_what_it_is(s3, bucket, refused):
    local = bucket + "-local"
    asked = {"CreateBucketConfiguration": {"LocationConstraint": "local"}}
    s3.create_bucket(Bucket=local, **asked)
    s3.create_bucket(Bucket=local, **asked)
    refused("BucketAlreadyOwnedByYou", 409, s3.create_bucket, Bucket=local)
    refused("BucketAlreadyOwnedByYou", 409, s3.create_bucket, Bucket=bucket, **asked)
    assert s3.get_bucket_location(Bucket=local)["LocationConstraint"] == "local"
    assert s3.head_bucket(Bucket=local)["BucketRegion"] == "us-east-1"
    body = bytes(range(256)) * 1200
    s3.put_object(Bucket=local, Key="k", Body=body, Tagging="a=b")
    assert "ReplicationStatus" not in s3.head_object(Bucket=local, Key="k")
    for target in (bucket, local):
        s3.copy_object(Bucket=target, Key="copy", CopySource={"Bucket": local, "Key": "k"})
        assert s3.get_object(Bucket=target, Key="copy")["Body"].read() == body
        assert s3.get_object_tagging(Bucket=target, Key="copy")["TagSet"] == [{"Key": "a", "Value": "b"}]
    upload = s3.create_multipart_upload(Bucket=local, Key="m")["UploadId"]
    source = {"Bucket": bucket, "Key": "copy"}
    part = s3.upload_part_copy(Bucket=local, Key="m", UploadId=upload, PartNumber=1, CopySource=source)
    parts = {"Parts": [{"PartNumber": 1, "ETag": part["CopyPartResult"]["ETag"]}]}
    s3.complete_multipart_upload(Bucket=local, Key="m", UploadId=upload, MultipartUpload=parts)
    s3.copy_object(Bucket=bucket, Key="m", CopySource={"Bucket": local, "Key": "m"})
    assert s3.get_object(Bucket=bucket, Key="m")["Body"].read() == body


def test_bucket_pages(s3):
    for number in range(3):
        s3.create_bucket(Bucket=f"paged-{number}")
    pages = s3.get_paginator("list_buckets").paginate(Prefix="paged-", PaginationConfig={"PageSize": 2})
    assert [[entry["Name"] for entry in page["Buckets"]] for page in pages] == [["paged-0", "paged-1"], ["paged-2"]]


def test_others_are_denied(s3, other, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret")
    for call, extra in (
        (other.get_object, {"Key": "k"}),
        (other.put_object, {"Key": "k2", "Body": b"x"}),
        (other.delete_object, {"Key": "k"}),
        (other.list_objects_v2, {}),
        (other.list_object_versions, {}),
        (other.list_multipart_uploads, {}),
        (other.create_multipart_upload, {"Key": "k"}),
        (other.get_bucket_versioning, {}),
        (other.delete_bucket, {}),
        (other.delete_objects, {"Delete": {"Objects": [{"Key": "k"}]}}),
    ):
        refused("AccessDenied", 403, call, Bucket=bucket, **extra)
    refused("BucketAlreadyExists", 409, other.create_bucket, Bucket=bucket)
    assert bucket not in [entry["Name"] for entry in other.list_buckets()["Buckets"]]
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"secret"


def test_a_copy_needs_both_buckets(s3, other, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"secret")
    other.create_bucket(Bucket=bucket + "-theirs")
    source = {"Bucket": bucket, "Key": "k"}
    refused("AccessDenied", 403, other.copy_object, Bucket=bucket + "-theirs", Key="k", CopySource=source)
    other.put_object(Bucket=bucket + "-theirs", Key="mine", Body=b"")
    theirs = {"Bucket": bucket + "-theirs", "Key": "mine"}
    refused("AccessDenied", 403, other.copy_object, Bucket=bucket, Key="k", CopySource=theirs)
    upload = other.create_multipart_upload(Bucket=bucket + "-theirs", Key="k")["UploadId"]
    part = {"Bucket": bucket + "-theirs", "Key": "k", "UploadId": upload, "PartNumber": 1}
    refused("AccessDenied", 403, other.upload_part_copy, CopySource=source, **part)


def test_the_admin_may_read_others_buckets(s3, other, bucket):
    name = bucket + "-theirs-too"
    other.create_bucket(Bucket=name)
    other.put_object(Bucket=name, Key="k", Body=b"x")
    assert s3.get_object(Bucket=name, Key="k")["Body"].read() == b"x"


def test_versioning_states(s3, bucket, refused):
    assert "Status" not in s3.get_bucket_versioning(Bucket=bucket)
    s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"
    refused("MalformedXML", 400, s3.put_bucket_versioning, Bucket=bucket, VersioningConfiguration={"Status": "Off"})
    assert s3.get_bucket_versioning(Bucket=bucket)["Status"] == "Enabled"


KEYS = ["a", "b/1", "b/2", "b/c/3", "c", "d/4", "ü/5"]


@pytest.fixture
def filled(s3, bucket):
    for key in KEYS:
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    return bucket


@pytest.mark.parametrize("page", [1, 2, 3, 1000])
def test_listing_v2_in_pages(s3, filled, page):
    paginator = s3.get_paginator("list_objects_v2")
    config = {"PageSize": page}
    pages = list(paginator.paginate(Bucket=filled, PaginationConfig=config))
    assert [entry["Key"] for one in pages for entry in one.get("Contents", [])] == KEYS
    assert all(one["KeyCount"] <= page for one in pages)
    pages = list(paginator.paginate(Bucket=filled, Delimiter="/", PaginationConfig=config))
    assert [entry["Key"] for one in pages for entry in one.get("Contents", [])] == ["a", "c"]
    prefixes = [entry["Prefix"] for one in pages for entry in one.get("CommonPrefixes", [])]
    assert prefixes == ["b/", "d/", "ü/"]


@pytest.mark.parametrize("page", [1, 2, 1000])
def test_listing_v1_in_pages(s3, filled, page):
    paginator = s3.get_paginator("list_objects")
    pages = list(paginator.paginate(Bucket=filled, PaginationConfig={"PageSize": page}))
    assert [entry["Key"] for one in pages for entry in one.get("Contents", [])] == KEYS
    assert pages[0]["Contents"][0]["Owner"]["ID"] == s3.list_buckets()["Owner"]["ID"]
    pages = list(paginator.paginate(Bucket=filled, Delimiter="/", PaginationConfig={"PageSize": page}))
    assert [entry["Prefix"] for one in pages for entry in one.get("CommonPrefixes", [])] == ["b/", "d/", "ü/"]


def test_listing_by_prefix_and_start(s3, filled):
    def names(**extra):
        return [entry["Key"] for entry in s3.list_objects_v2(Bucket=filled, **extra).get("Contents", [])]

    assert names(Prefix="b/") == ["b/1", "b/2", "b/c/3"]
    assert names(Prefix="b/", Delimiter="/") == ["b/1", "b/2"]
    assert names(StartAfter="b/2") == ["b/c/3", "c", "d/4", "ü/5"]
    assert names(Prefix="zzz") == []
    assert names(MaxKeys=0) == []
    assert "Owner" in s3.list_objects_v2(Bucket=filled, FetchOwner=True)["Contents"][0]


def test_a_listing_sees_the_last_write(s3, bucket):
    for number in range(20):
        s3.put_object(Bucket=bucket, Key=f"{number:02}", Body=b"")
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == number + 1
