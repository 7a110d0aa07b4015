"""RenameObject and appends by write offset, through boto3."""

import base64
import hashlib
import os
import zlib
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from tests.compat.conftest import PART_MIN


def body_of(s3, bucket, key, **more):
    return s3.get_object(Bucket=bucket, Key=key, **more)["Body"].read()


def keys_of(s3, bucket):
    return [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket).get("Contents", [])]


# --- rename


@pytest.mark.parametrize("size", [0, 5, 300_000])
def test_a_rename_keeps_everything_but_the_name(s3, bucket, size):
    data = os.urandom(size)
    s3.put_object(Bucket=bucket, Key="a/old ö+&", Body=data, Metadata={"m": "1"}, ContentType="text/x", Tagging="t=put")
    s3.put_object_tagging(Bucket=bucket, Key="a/old ö+&", Tagging={"TagSet": [{"Key": "t", "Value": "later"}]})
    before = s3.head_object(Bucket=bucket, Key="a/old ö+&", ChecksumMode="ENABLED")
    s3.rename_object(Bucket=bucket, Key="new", RenameSource="a/old%20%C3%B6%2B%26")
    assert keys_of(s3, bucket) == ["new"]
    after = s3.head_object(Bucket=bucket, Key="new", ChecksumMode="ENABLED")
    for name in ("ETag", "LastModified", "ContentLength", "Metadata", "ContentType", "ChecksumCRC32"):
        assert after[name] == before[name]
    assert body_of(s3, bucket, "new") == data
    assert s3.get_object_tagging(Bucket=bucket, Key="new")["TagSet"] == [{"Key": "t", "Value": "later"}]


def test_a_rename_replaces_and_names_its_bucket_or_not(s3, bucket):
    for number, source in enumerate(("a", "/a", f"/{bucket}/a")):
        s3.put_object(Bucket=bucket, Key="a", Body=str(number).encode())
        s3.rename_object(Bucket=bucket, Key="b", RenameSource=source)
        assert body_of(s3, bucket, "b") == str(number).encode()
    assert keys_of(s3, bucket) == ["b"]


def test_a_rename_where_versions_are_kept(s3, versioned):
    old = s3.put_object(Bucket=versioned, Key="a", Body=b"1")["VersionId"]
    s3.put_object(Bucket=versioned, Key="b", Body=b"0")
    s3.rename_object(Bucket=versioned, Key="b", RenameSource="a")
    assert (keys_of(s3, versioned), body_of(s3, versioned, "b")) == (["b"], b"1")
    assert body_of(s3, versioned, "a", VersionId=old) == b"1"
    listed = s3.list_object_versions(Bucket=versioned)
    assert [(v["Key"], v["IsLatest"]) for v in listed["Versions"]] == [("a", False), ("b", True), ("b", False)]
    assert [(m["Key"], m["IsLatest"]) for m in listed["DeleteMarkers"]] == [("a", True)]


def test_a_rename_and_an_append_where_versioning_is_suspended(s3, versioned):
    kept = s3.put_object(Bucket=versioned, Key="a", Body=b"kept")["VersionId"]
    s3.put_bucket_versioning(Bucket=versioned, VersioningConfiguration={"Status": "Suspended"})
    s3.put_object(Bucket=versioned, Key="a", Body=b"1")
    s3.put_object(Bucket=versioned, Key="a", Body=b"2", WriteOffsetBytes=1)
    s3.rename_object(Bucket=versioned, Key="b", RenameSource="a")
    listed = s3.list_object_versions(Bucket=versioned)
    assert [(v["Key"], v["VersionId"]) for v in listed["Versions"]] == [("a", kept), ("b", "null")]
    assert [(m["Key"], m["VersionId"], m["IsLatest"]) for m in listed["DeleteMarkers"]] == [("a", "null", True)]
    assert body_of(s3, versioned, "b") == b"12"


def test_preconditions_on_both_ends(s3, bucket, refused):
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"1")["ETag"]
    other = s3.put_object(Bucket=bucket, Key="b", Body=b"2")["ETag"]
    past, future = datetime.now(UTC) - timedelta(days=1), datetime.now(UTC) + timedelta(days=1)
    call = {"Bucket": bucket, "Key": "b", "RenameSource": "a"}
    for bad in (
        {"DestinationIfNoneMatch": "*"},
        {"DestinationIfMatch": etag},
        {"DestinationIfModifiedSince": future},
        {"DestinationIfUnmodifiedSince": past},
        {"SourceIfMatch": other},
        {"SourceIfNoneMatch": etag},
        {"SourceIfNoneMatch": "*"},
        {"SourceIfModifiedSince": future},
        {"SourceIfUnmodifiedSince": past},
    ):
        refused("PreconditionFailed", 412, s3.rename_object, **call, **bad)
    refused("PreconditionFailed", 412, s3.rename_object, **{**call, "Key": "c"}, DestinationIfMatch="*")
    refused("NotImplemented", 501, s3.rename_object, **call, DestinationIfNoneMatch=etag)
    assert keys_of(s3, bucket) == ["a", "b"]
    s3.rename_object(
        **call,
        DestinationIfMatch=other,
        DestinationIfModifiedSince=past,
        DestinationIfUnmodifiedSince=future,
        SourceIfMatch=etag,
        SourceIfModifiedSince=past,
        SourceIfUnmodifiedSince=future,
    )
    assert (keys_of(s3, bucket), body_of(s3, bucket, "b")) == (["b"], b"1")
    s3.rename_object(Bucket=bucket, Key="a", RenameSource="b", DestinationIfNoneMatch="*")


def test_renames_that_are_refused(s3, other, bucket, refused):
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    s3.put_object(Bucket=bucket, Key="dir/", Body=b"")
    call = s3.rename_object
    refused("NoSuchKey", 404, call, Bucket=bucket, Key="b", RenameSource="absent")
    refused("NoSuchBucket", 404, call, Bucket="never-there", Key="b", RenameSource="a")
    refused("InvalidRequest", 400, call, Bucket=bucket, Key="a", RenameSource="a")
    refused("InvalidRequest", 400, call, Bucket=bucket, Key="b", RenameSource="dir/")
    refused("InvalidRequest", 400, call, Bucket=bucket, Key="b/", RenameSource="a")
    refused("InvalidArgument", 400, call, Bucket=bucket, Key="b", RenameSource="%zz")
    refused("InvalidArgument", 400, call, Bucket=bucket, Key="b", RenameSource="/")
    refused("KeyTooLongError", 400, call, Bucket=bucket, Key="b", RenameSource="k" * 1025)
    refused("InvalidRequest", 400, call, Bucket=bucket, Key="b", RenameSource="a", ClientToken="x" * 65)
    refused("AccessDenied", 403, other.rename_object, Bucket=bucket, Key="b", RenameSource="a")
    assert keys_of(s3, bucket) == ["a", "dir/"]


def test_a_client_token_makes_a_retry_succeed(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")
    s3.put_object(Bucket=bucket, Key="c", Body=b"3")
    call = {"Bucket": bucket, "Key": "b", "ClientToken": "token-1"}
    for _ in range(3):
        s3.rename_object(**call, RenameSource="a")
    refused("IdempotencyParameterMismatch", 400, s3.rename_object, **call, RenameSource="c")
    refused("NoSuchKey", 404, s3.rename_object, **{**call, "ClientToken": "token-2"}, RenameSource="a")
    assert keys_of(s3, bucket) == ["b", "c"]


def test_one_of_many_renames_of_one_object_wins(server, s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"1")

    def rename(number):
        client = server.client()
        try:
            client.rename_object(Bucket=bucket, Key=f"to-{number}", RenameSource="a")
            return number
        except client.exceptions.NoSuchKey:
            return None
        finally:
            client.close()

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(rename, range(8)) if number is not None]
    assert keys_of(s3, bucket) == [f"to-{number}" for number in winners]
    assert len(winners) == 1


# --- append


def crc(data):
    return base64.b64encode(zlib.crc32(data).to_bytes(4, "big")).decode()


def test_appends_grow_an_object(s3, bucket):
    whole = b""
    etags = set()
    for number, size in enumerate((5, 0, 20_000, 300_000, 1, 70_000)):
        piece = os.urandom(size)
        put = s3.put_object(Bucket=bucket, Key="log", Body=piece, WriteOffsetBytes=len(whole))
        whole += piece
        assert put["Size"] == len(whole)
        assert put["ChecksumCRC32"] == crc(whole)
        assert put["ETag"].strip('"').endswith(f"-{number + 1}") or not number
        etags.add(put["ETag"])
        got = s3.get_object(Bucket=bucket, Key="log", ChecksumMode="ENABLED")
        assert got["Body"].read() == whole
        assert (got["ETag"], got["ChecksumType"]) == (put["ETag"], "FULL_OBJECT")
    assert len(etags) == 6
    assert body_of(s3, bucket, "log", Range="bytes=4-20010") == whole[4:20011]
    assert s3.head_object(Bucket=bucket, Key="log", PartNumber=1)["ContentLength"] == len(whole)


def test_an_append_changes_nothing_but_the_content(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="log", Body=b"1", Metadata={"m": "1"}, ContentType="text/x", Tagging="t=put")
    s3.put_object_tagging(Bucket=bucket, Key="log", Tagging={"TagSet": [{"Key": "t", "Value": "later"}]})
    s3.put_object(Bucket=bucket, Key="log", Body=b"2", WriteOffsetBytes=1, ContentType="text/y")
    head = s3.head_object(Bucket=bucket, Key="log")
    assert (head["Metadata"], head["ContentType"], head["ContentLength"]) == ({"m": "1"}, "text/x", 2)
    assert s3.get_object_tagging(Bucket=bucket, Key="log")["TagSet"] == [{"Key": "t", "Value": "later"}]
    for more in ({"Metadata": {"m": "2"}}, {"Tagging": "t=x"}):
        refused("InvalidRequest", 400, s3.put_object, Bucket=bucket, Key="log", Body=b"3", WriteOffsetBytes=2, **more)


def test_offsets_that_are_wrong(server, s3, bucket, refused):
    call = {"Bucket": bucket, "Key": "log", "Body": b"x"}
    refused("InvalidWriteOffset", 400, s3.put_object, **call, WriteOffsetBytes=1)
    refused("InvalidArgument", 400, s3.put_object, **call, WriteOffsetBytes=-1)
    assert server.keys(bucket) == []
    s3.put_object(**call, WriteOffsetBytes=0)
    for offset in (0, 2, 5 << 40):
        refused("InvalidWriteOffset", 400, s3.put_object, **call, WriteOffsetBytes=offset)
    refused("BadDigest", 400, s3.put_object, **call, WriteOffsetBytes=1, ChecksumCRC32="AAAAAA==")
    assert body_of(s3, bucket, "log") == b"x"


def test_appends_under_conditions(s3, bucket, refused):
    etag = s3.put_object(Bucket=bucket, Key="log", Body=b"1", WriteOffsetBytes=0, IfNoneMatch="*")["ETag"]
    call = {"Bucket": bucket, "Key": "log", "Body": b"2"}
    refused("PreconditionFailed", 412, s3.put_object, **call, WriteOffsetBytes=1, IfMatch='"other"')
    refused("PreconditionFailed", 412, s3.put_object, **call, WriteOffsetBytes=1, IfNoneMatch="*")
    s3.put_object(**call, WriteOffsetBytes=1, IfMatch=etag)
    assert body_of(s3, bucket, "log") == b"12"
    refused("NoSuchKey", 404, s3.put_object, **{**call, "Key": "no"}, WriteOffsetBytes=0, IfMatch=etag)


def test_appends_where_versions_are_kept(s3, versioned):
    first = s3.put_object(Bucket=versioned, Key="log", Body=b"1")["VersionId"]
    second = s3.put_object(Bucket=versioned, Key="log", Body=b"2", WriteOffsetBytes=1)["VersionId"]
    assert body_of(s3, versioned, "log", VersionId=first) == b"1"
    assert body_of(s3, versioned, "log", VersionId=second) == b"12"
    s3.delete_object(Bucket=versioned, Key="log")
    s3.put_object(Bucket=versioned, Key="log", Body=b"3", WriteOffsetBytes=0)
    assert body_of(s3, versioned, "log") == b"3"


def test_a_checksum_that_does_not_combine_is_gone(s3, bucket):
    s3.put_object(Bucket=bucket, Key="log", Body=b"1", ChecksumAlgorithm="SHA256")
    s3.put_object(Bucket=bucket, Key="log", Body=b"2", WriteOffsetBytes=1, ChecksumAlgorithm="SHA256")
    head = s3.head_object(Bucket=bucket, Key="log", ChecksumMode="ENABLED")
    assert not [name for name in head if name.startswith("Checksum")]


def test_another_algorithm_is_verified_and_the_objects_own_kept(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="log", Body=b"1", ChecksumAlgorithm="CRC32")
    call = {"Bucket": bucket, "Key": "log", "Body": b"2", "WriteOffsetBytes": 1}
    bad = base64.b64encode(hashlib.sha256(b"3").digest()).decode()
    refused("BadDigest", 400, s3.put_object, **call, ChecksumSHA256=bad)
    put = s3.put_object(**call, ChecksumAlgorithm="SHA256")
    assert put["ChecksumCRC32"] == crc(b"12")


def test_an_append_to_a_multipart_object(s3, bucket):
    parts = [os.urandom(PART_MIN), b"end"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    named = [
        {
            "PartNumber": number,
            "ETag": s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=number, Body=part)["ETag"],
        }
        for number, part in enumerate(parts, 1)
    ]
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": named})
    size = sum(map(len, parts))
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"more", WriteOffsetBytes=size)
    assert put["ETag"].endswith('-3"')
    assert "ChecksumCRC64NVME" in put
    assert body_of(s3, bucket, "k") == b"".join(parts) + b"more"
    s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    assert body_of(s3, bucket, "copy") == b"".join(parts) + b"more"


def test_an_append_to_a_composite_checksum_leaves_none(s3, bucket):
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="CRC32")
    upload = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"]}
    part = s3.upload_part(**upload, PartNumber=1, Body=b"1")
    named = {"PartNumber": 1, "ETag": part["ETag"], "ChecksumCRC32": part["ChecksumCRC32"]}
    done = s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": [named]})
    assert done["ChecksumType"] == "COMPOSITE"
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"2", WriteOffsetBytes=1)
    assert "ChecksumType" not in put
    assert body_of(s3, bucket, "k") == b"12"


def test_of_many_appends_at_one_offset_one_wins(server, s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="log", Body=b"")

    def append(number):
        client = server.client()
        try:
            client.put_object(Bucket=bucket, Key="log", Body=bytes([number]), WriteOffsetBytes=0)
            return number
        except client.exceptions.InvalidWriteOffset:
            return None
        finally:
            client.close()

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(append, range(8)) if number is not None]
    assert len(winners) == 1
    assert body_of(s3, bucket, "log") == bytes(winners)
