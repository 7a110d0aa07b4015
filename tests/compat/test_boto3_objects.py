"""Objects by boto3 with its default settings: put, get, ranges, conditions, metadata, checksums, delete."""

import base64
import hashlib
import os
import urllib.request
import zlib
from datetime import UTC, datetime, timedelta

import pytest

from gateway.store.object_format import ObjectRecord

SIZES = [0, 1, 16 << 10, (16 << 10) + 1, 65536, 65537, 300_000, 5 << 20]


@pytest.mark.parametrize("size", SIZES)
def test_what_is_put_is_what_is_got(s3, bucket, size):
    data = os.urandom(size)
    put = s3.put_object(Bucket=bucket, Key="some/key", Body=data)
    assert put["ETag"] == f'"{hashlib.md5(data).hexdigest()}"'
    assert put["ChecksumCRC32"] == base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()
    got = s3.get_object(Bucket=bucket, Key="some/key")
    assert got["Body"].read() == data
    assert (got["ETag"], got["ContentLength"], got["ChecksumType"]) == (put["ETag"], size, "FULL_OBJECT")
    head = s3.head_object(Bucket=bucket, Key="some/key", ChecksumMode="ENABLED")
    assert (head["ContentLength"], head["ChecksumCRC32"]) == (size, put["ChecksumCRC32"])
    assert "ReplicationStatus" not in head, "there is no cloud"
    assert "VersionId" not in head


@pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME", "SHA1", "SHA256"])
@pytest.mark.parametrize("size", [11, 200_000])
def test_every_checksum_is_verified_stored_and_returned(s3, bucket, algorithm, size):
    data = os.urandom(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=data, ChecksumAlgorithm=algorithm)
    got = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert got["Checksum" + algorithm] == put["Checksum" + algorithm]
    assert got["Body"].read() == data
    (entry,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert (entry["ChecksumAlgorithm"], entry["ChecksumType"]) == ([algorithm], "FULL_OBJECT")


def test_a_put_without_checksum_gets_crc64nvme(server, bucket):
    plain = server.client(request_checksum_calculation="when_required")
    plain.put_object(Bucket=bucket, Key="k", Body=b"hello")
    assert plain.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["ChecksumCRC64NVME"] == "M3eFcAZSQlc="
    plain.close()


def test_wrong_checksum_or_md5_stores_nothing(server, s3, bucket, refused):
    refused("BadDigest", 400, s3.put_object, Bucket=bucket, Key="k", Body=b"x", ChecksumCRC32="AAAAAA==")
    md5 = base64.b64encode(hashlib.md5(b"y").digest()).decode()
    refused("BadDigest", 400, s3.put_object, Bucket=bucket, Key="k", Body=b"x", ContentMD5=md5)
    refused("InvalidDigest", 400, s3.put_object, Bucket=bucket, Key="k", Body=b"x", ContentMD5="nonsense")
    assert server.keys(bucket) == []


def test_system_headers_and_metadata_come_back(s3, bucket):
    expires = datetime(2031, 5, 4, 3, 2, 1, tzinfo=UTC)
    given = {
        "ContentType": "text/csv; charset=utf-8",
        "CacheControl": "max-age=5",
        "ContentDisposition": 'attachment; filename="a b"',
        "ContentEncoding": "gzip",
        "ContentLanguage": "de",
        "Expires": expires,
        "Metadata": {"colour": "blue", "Upper": "Case"},
    }
    s3.put_object(Bucket=bucket, Key="k", Body=b"not really gzip", **given)
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Metadata"] == {"colour": "blue", "upper": "Case"}
    for name in ("ContentType", "CacheControl", "ContentDisposition", "ContentEncoding", "ContentLanguage"):
        assert got[name] == given[name]
    assert got["ExpiresString"] == "Sun, 04 May 2031 03:02:01 GMT"
    assert got["Body"].read() == b"not really gzip"
    shown = s3.get_object(Bucket=bucket, Key="k", ResponseContentType="text/plain", ResponseContentDisposition="inline")
    assert (shown["ContentType"], shown["ContentDisposition"]) == ("text/plain", "inline")


@pytest.mark.parametrize("size", [1000, 70_000, 3 << 20])
@pytest.mark.parametrize(
    ("header", "pick"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=5-9", slice(5, 10)),
        ("bytes=500-", slice(500, None)),
        ("bytes=-7", slice(-7, None)),
        ("bytes=900-99999999", slice(900, None)),
        ("bytes=-99999999", slice(0, None)),
    ],
)
def test_ranges(s3, bucket, size, header, pick):
    data = os.urandom(size)
    s3.put_object(Bucket=bucket, Key="k", Body=data)
    got = s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert got["Body"].read() == data[pick]
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206
    first, last, _ = pick.indices(size)
    assert got["ContentRange"] == f"bytes {first}-{last - 1}/{size}"
    head = s3.head_object(Bucket=bucket, Key="k", Range=header)
    assert (head["ContentLength"], head["ResponseMetadata"]["HTTPStatusCode"]) == (len(data[pick]), 206)


def test_ranges_that_are_none(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    assert s3.get_object(Bucket=bucket, Key="k", Range="bytes=0-1,4-5")["Body"].read() == b"0123456789"
    assert s3.get_object(Bucket=bucket, Key="k", Range="lines=1-2")["Body"].read() == b"0123456789"
    response = refused("InvalidRange", 416, s3.get_object, Bucket=bucket, Key="k", Range="bytes=10-")
    assert response["ResponseMetadata"]["HTTPHeaders"]["content-range"] == "bytes */10"
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    refused("InvalidRange", 416, s3.get_object, Bucket=bucket, Key="empty", Range="bytes=0-0")


def test_read_conditions(s3, bucket, refused):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"v")["ETag"]
    past, future = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)
    for call in (s3.get_object, s3.head_object):
        head = call == s3.head_object
        refused("304", 304, call, Bucket=bucket, Key="k", IfNoneMatch=etag)
        refused("304", 304, call, Bucket=bucket, Key="k", IfModifiedSince=future)
        failed = "412" if head else "PreconditionFailed"
        refused(failed, 412, call, Bucket=bucket, Key="k", IfMatch='"other"')
        refused(failed, 412, call, Bucket=bucket, Key="k", IfUnmodifiedSince=past)
        assert call(Bucket=bucket, Key="k", IfMatch=etag, IfUnmodifiedSince=past)["ETag"] == etag
        assert call(Bucket=bucket, Key="k", IfNoneMatch='"other"', IfModifiedSince=future)["ETag"] == etag
    response = refused("304", 304, s3.get_object, Bucket=bucket, Key="k", IfNoneMatch=etag)
    assert response["ResponseMetadata"]["HTTPHeaders"]["etag"] == etag


def test_write_conditions(s3, bucket, refused):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1", IfNoneMatch="*")["ETag"]
    refused("PreconditionFailed", 412, s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch="*")
    refused("PreconditionFailed", 412, s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfMatch='"no"')
    refused("NoSuchKey", 404, s3.put_object, Bucket=bucket, Key="absent", Body=b"2", IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"1"
    s3.put_object(Bucket=bucket, Key="k", Body=b"2", IfMatch=etag)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"2"


def test_conditional_deletes(s3, bucket, refused):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    refused("PreconditionFailed", 412, s3.delete_object, Bucket=bucket, Key="k", IfMatch='"no"')
    s3.delete_object(Bucket=bucket, Key="k", IfMatch=etag)
    refused("PreconditionFailed", 412, s3.delete_object, Bucket=bucket, Key="k", IfMatch="*")


def test_what_is_not_there(s3, bucket, refused):
    response = refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="absent")
    assert response["Error"]["Key"] == "absent"
    assert response["ResponseMetadata"]["RequestId"]
    refused("404", 404, s3.head_object, Bucket=bucket, Key="absent")
    refused("NoSuchBucket", 404, s3.get_object, Bucket="no-such-bucket", Key="k")
    refused("NoSuchBucket", 404, s3.put_object, Bucket="no-such-bucket", Key="k", Body=b"")
    refused("NoSuchBucket", 404, s3.list_objects_v2, Bucket="no-such-bucket")
    assert s3.delete_object(Bucket=bucket, Key="absent")["ResponseMetadata"]["HTTPStatusCode"] == 204


@pytest.mark.parametrize(
    "key",
    [
        "a//b",
        "../../etc/passwd",
        "./x",
        " lead and trail ",
        "ümläut/日本語/🦀",
        "a+b %20 ?&=#",
        "x" * 1024,
        "/",
        "&<>\"'",
    ],
)
def test_keys_are_taken_literally(server, s3, bucket, key):
    s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
    assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    assert server.keys(bucket) == [key]
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == [key]
    s3.delete_object(Bucket=bucket, Key=key)
    assert server.keys(bucket) == []


def test_a_key_above_1024_bytes_is_refused(s3, bucket, refused):
    refused("KeyTooLongError", 400, s3.put_object, Bucket=bucket, Key="x" * 1025, Body=b"")
    refused("KeyTooLongError", 400, s3.put_object, Bucket=bucket, Key="ü" * 513, Body=b"")


def test_delete_objects(s3, bucket):
    for number in range(5):
        s3.put_object(Bucket=bucket, Key=f"k{number}", Body=b"")
    wanted = {"Objects": [{"Key": "k0"}, {"Key": "absent"}, {"Key": "k1", "ETag": '"wrong"'}, {"Key": "x" * 1025}]}
    result = s3.delete_objects(Bucket=bucket, Delete=wanted)
    assert sorted(entry["Key"] for entry in result["Deleted"]) == ["absent", "k0"]
    assert {entry["Key"][:2]: entry["Code"] for entry in result["Errors"]} == {
        "k1": "PreconditionFailed",
        "xx": "KeyTooLongError",
    }
    quiet = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": "k2"}, {"Key": "k3"}], "Quiet": True})
    assert "Deleted" not in quiet
    assert "Errors" not in quiet
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["k1", "k4"]


def test_delete_a_thousand(s3, bucket, server):
    keys = [f"k{number:04}" for number in range(1000)]

    def fill(view):
        uid = view.bucket(bucket).uid
        for key in keys:
            view.put_object(uid, key.encode(), ObjectRecord(etag="e", modified_ms=view.now_ms), versioned=False)

    server.call(lambda: server.store.commit(fill))
    result = s3.delete_objects(Bucket=bucket, Delete={"Objects": [{"Key": key} for key in keys]})
    assert len(result["Deleted"]) == 1000
    assert server.keys(bucket) == []


def test_presigned_urls(server, bucket):
    s3 = server.client(signature_version="s3v4")  # boto3 still presigns with version 2 for us-east-1 if not told
    url = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "a b"}, ExpiresIn=60)
    request = urllib.request.Request(url, data=b"by link", method="PUT")
    with urllib.request.urlopen(request) as answer:
        assert answer.status == 200
    url = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "a b"}, ExpiresIn=60)
    with urllib.request.urlopen(url) as answer:
        assert answer.read() == b"by link"
    s3.close()


def test_any_region_signs(server, bucket):
    plain = server.client(region="eu-central-1")
    plain.put_object(Bucket=bucket, Key="k", Body=b"any region signs")
    plain.close()


def test_storage_class_acl_and_what_is_not_there_yet(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"", StorageClass="STANDARD")
    refused("AccessControlListNotSupported", 400, s3.put_object, Bucket=bucket, Key="k", Body=b"", ACL="public-read")
    response = refused("NotImplemented", 501, s3.get_object_torrent, Bucket=bucket, Key="k")
    assert "GetObjectTorrent" in response["Error"]["Message"]
    acl = s3.get_object_acl(Bucket=bucket, Key="k")
    assert [grant["Permission"] for grant in acl["Grants"]] == ["FULL_CONTROL"]
    assert acl["Owner"]["ID"] == s3.list_buckets()["Owner"]["ID"]


def test_a_request_with_expected_bucket_owner(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"")
    owner = s3.list_buckets()["Owner"]["ID"]
    s3.head_object(Bucket=bucket, Key="k", ExpectedBucketOwner=owner)
    refused("AccessDenied", 403, s3.get_object, Bucket=bucket, Key="k", ExpectedBucketOwner="000000000000")
