"""Edges of single objects: storage classes, response overrides, ranges, part numbers, metadata, limits."""

import json
import os
import time

import pytest

from tests.gateway.http.raw import Raw, build


@pytest.mark.parametrize(
    "name", ["REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"]
)
def test_storage_classes_are_kept_and_told(s3, bucket, name):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", StorageClass=name)
    assert s3.head_object(Bucket=bucket, Key="k")["StorageClass"] == name
    assert s3.list_objects_v2(Bucket=bucket)["Contents"][0]["StorageClass"] == name
    assert s3.list_object_versions(Bucket=bucket)["Versions"][0]["StorageClass"] == name
    found = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=["StorageClass"])
    assert found["StorageClass"] == name
    source = {"Bucket": bucket, "Key": "k"}
    s3.copy_object(Bucket=bucket, Key="k", CopySource=source, StorageClass="STANDARD")
    assert "StorageClass" not in s3.head_object(Bucket=bucket, Key="k")


def test_storage_classes_that_are_none(server, s3, bucket, refused):
    call = {"Bucket": bucket, "Key": "k"}
    refused("InvalidStorageClass", 400, s3.put_object, **call, StorageClass="COLD")
    refused("InvalidStorageClass", 400, s3.create_multipart_upload, **call, StorageClass="COLD")
    assert server.keys(bucket) == []


def test_response_overrides(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1", ContentType="text/x", CacheControl="no-store")
    overrides = {
        "ResponseContentType": "text/plain; charset=utf-8",
        "ResponseContentLanguage": "de",
        "ResponseExpires": "Thu, 01 Dec 2033 16:00:00 GMT",
        "ResponseCacheControl": "max-age=1",
        "ResponseContentDisposition": 'attachment; filename="ä.txt"',
        "ResponseContentEncoding": "identity",
    }
    for call in (s3.get_object, s3.head_object):
        got = call(Bucket=bucket, Key="k", **overrides)
        headers = got["ResponseMetadata"]["HTTPHeaders"]
        assert headers["content-type"] == "text/plain; charset=utf-8"
        assert headers["content-language"] == "de"
        assert headers["expires"] == "Thu, 01 Dec 2033 16:00:00 GMT"
        assert headers["cache-control"] == "max-age=1"
        assert headers["content-disposition"].encode("latin-1").decode() == 'attachment; filename="ä.txt"'
        assert headers["content-encoding"] == "identity"
    refused("InvalidArgument", 400, s3.get_object, Bucket=bucket, Key="k", ResponseContentType="a\r\nX-Evil: 1")


def test_the_website_redirect_header(s3, bucket, refused):
    for target in ("/other", "https://example.com/x"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"", WebsiteRedirectLocation=target)
        assert s3.get_object(Bucket=bucket, Key="k")["WebsiteRedirectLocation"] == target
        assert s3.head_object(Bucket=bucket, Key="k")["WebsiteRedirectLocation"] == target
    source = {"Bucket": bucket, "Key": "k"}
    s3.copy_object(Bucket=bucket, Key="copy", CopySource=source)
    assert "WebsiteRedirectLocation" not in s3.head_object(Bucket=bucket, Key="copy")
    refused("InvalidRedirectLocation", 400, s3.put_object, Bucket=bucket, Key="k", WebsiteRedirectLocation="ftp://x")


@pytest.mark.parametrize("size", [10, 300_000])
@pytest.mark.parametrize(
    "header",
    ["bytes=0-1,4-5", "lines=1-2", "bytes=5-4", "bytes=a-b", "bytes=", "bytes=-", "bytes", "bytes=1", "bytes=--1"],
)
def test_ranges_that_are_passed_over(s3, bucket, size, header):
    data = os.urandom(size)
    s3.put_object(Bucket=bucket, Key="k", Body=data)
    got = s3.get_object(Bucket=bucket, Key="k", Range=header)
    assert (got["ResponseMetadata"]["HTTPStatusCode"], got["Body"].read()) == (200, data)


def test_ranges_beyond_the_end(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    s3.put_object(Bucket=bucket, Key="empty", Body=b"")
    for key, header, size in (
        ("k", "bytes=10-", 10),
        ("k", "bytes=10-20", 10),
        ("k", "bytes=-0", 10),
        ("empty", "bytes=0-", 0),
        ("empty", "bytes=-1", 0),
    ):
        answer = refused("InvalidRange", 416, s3.get_object, Bucket=bucket, Key=key, Range=header)
        assert answer["ResponseMetadata"]["HTTPHeaders"]["content-range"] == f"bytes */{size}"
        assert answer["Error"]["ActualObjectSize"] == str(size)
        assert answer["Error"]["RangeRequested"] == header
        refused("416", 416, s3.head_object, Bucket=bucket, Key=key, Range=header)
    assert s3.get_object(Bucket=bucket, Key="empty")["Body"].read() == b""


def test_if_range(server, s3, bucket):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPHeaders"]["last-modified"]
    raw = Raw(server.port)
    for validator, status in ((etag, 206), ('"other"', 200), (modified, 206), ("Thu, 01 Dec 1994 16:00:00 GMT", 200)):
        path = f"/{bucket}/k"
        headers = raw.signed_headers("GET", path) | {"range": "bytes=1-2", "if-range": validator}
        answer = raw.send(build("GET", path, headers))
        assert (answer.status, answer.body) == (status, b"12" if status == 206 else b"0123456789")


def test_part_numbers_of_an_object_without_parts(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    got = s3.get_object(Bucket=bucket, Key="k", PartNumber=1)
    assert (got["Body"].read(), got["ContentRange"]) == (b"0123456789", "bytes 0-9/10")
    assert "PartsCount" not in got
    refused("InvalidPartNumber", 416, s3.get_object, Bucket=bucket, Key="k", PartNumber=2)
    refused("416", 416, s3.head_object, Bucket=bucket, Key="k", PartNumber=2)
    for number in (0, -1, 10_001):
        refused("InvalidArgument", 400, s3.get_object, Bucket=bucket, Key="k", PartNumber=number)
    refused("InvalidRequest", 400, s3.get_object, Bucket=bucket, Key="k", PartNumber=1, Range="bytes=0-1")


def test_metadata_up_to_its_limit(server, s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"", Metadata={"a" * 48: "b" * 2000})
    assert s3.head_object(Bucket=bucket, Key="k")["Metadata"] == {"a" * 48: "b" * 2000}
    bad = {"Metadata": {"a" * 49: "b" * 2000}}
    refused("MetadataTooLarge", 400, s3.put_object, Bucket=bucket, Key="bad", Body=b"", **bad)
    refused("MetadataTooLarge", 400, s3.create_multipart_upload, Bucket=bucket, Key="bad", **bad)
    assert server.keys(bucket) == ["k"]


def test_metadata_that_is_not_ascii_survives_as_bytes(server, s3, bucket):
    raw = Raw(server.port)
    for key, value in (("utf8", "grüße ☃"), ("latin", b"\xe4\xf6".decode("utf-8", "surrogateescape"))):
        path = f"/{bucket}/{key}"
        headers = raw.signed_headers("PUT", path, headers={"x-amz-meta-text": value})
        assert raw.send(build("PUT", path, headers, b"x"), "PUT").status == 200
    head = s3.head_object(Bucket=bucket, Key="utf8")
    assert head["Metadata"]["text"].encode("latin-1").decode() == "grüße ☃"
    assert s3.head_object(Bucket=bucket, Key="latin")["Metadata"]["text"].encode("latin-1").decode() == "äö"


def test_keys_up_to_their_limit(server, s3, bucket, refused):
    for key in ("k" * 1024, "ü" * 512, "😀" * 256):
        s3.put_object(Bucket=bucket, Key=key, Body=key.encode())
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == key.encode()
    for key in ("k" * 1025, "ü" * 513):
        refused("KeyTooLongError", 400, s3.put_object, Bucket=bucket, Key=key, Body=b"")
        refused("KeyTooLongError", 400, s3.get_object, Bucket=bucket, Key=key)
        refused("KeyTooLongError", 400, s3.create_multipart_upload, Bucket=bucket, Key=key)


def test_a_put_without_length(server, bucket):
    raw = Raw(server.port)
    path = f"/{bucket}/k"
    headers = raw.signed_headers("PUT", path)
    request = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    answer = raw.send(f"PUT {path} HTTP/1.1\r\n{request}\r\n".encode(), "PUT")
    assert (answer.status, answer.code) == (411, "MissingContentLength")
    assert server.keys(bucket) == []


@pytest.mark.parametrize("name", ["if-match", "if-none-match", "if-modified-since", "if-unmodified-since"])
def test_preconditions_where_there_are_none_are_refused(server, s3, bucket, name):
    raw = Raw(server.port)
    path, query = f"/{bucket}/k", "uploads="
    headers = raw.signed_headers("POST", path, query=query) | {name: "*"}
    answer = raw.send(build("POST", f"{path}?{query}", headers), "POST")
    assert (answer.status, answer.code) == (501, "NotImplemented")
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_writes_whose_if_none_match_is_an_etag(s3, bucket, refused):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    refused("NotImplemented", 501, s3.put_object, Bucket=bucket, Key="k", Body=b"2", IfNoneMatch=etag)
    source = {"Bucket": bucket, "Key": "k"}
    refused("NotImplemented", 501, s3.copy_object, Bucket=bucket, Key="c", CopySource=source, IfNoneMatch=etag)


def test_conditional_deletes(s3, bucket, refused):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"123")
    etag, modified = put["ETag"], s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    other = modified.replace(year=2001)
    call = {"Bucket": bucket, "Key": "k"}
    for bad in (
        {"IfMatch": '"other"'},
        {"IfMatchSize": 4},
        {"IfMatchLastModifiedTime": other},
        {"IfMatch": etag, "IfMatchSize": 4},
    ):
        refused("PreconditionFailed", 412, s3.delete_object, **call, **bad)
    s3.delete_object(**call, IfMatch=etag, IfMatchSize=3, IfMatchLastModifiedTime=modified)
    refused("PreconditionFailed", 412, s3.delete_object, **call, IfMatch="*")
    refused("NoSuchKey", 404, s3.delete_object, **call, IfMatch=etag)
    s3.delete_object(**call, IfMatchSize=3)


def test_conditional_entries_of_delete_objects(s3, bucket):
    etags = {key: s3.put_object(Bucket=bucket, Key=key, Body=key.encode())["ETag"] for key in "abcde"}
    modified = s3.head_object(Bucket=bucket, Key="a")["LastModified"]
    answer = s3.delete_objects(
        Bucket=bucket,
        Delete={
            "Objects": [
                {"Key": "a", "ETag": etags["a"]},
                {"Key": "b", "ETag": etags["a"]},
                {"Key": "c", "Size": 1, "LastModifiedTime": s3.head_object(Bucket=bucket, Key="c")["LastModified"]},
                {"Key": "d", "Size": 2},
                {"Key": "e", "LastModifiedTime": modified.replace(year=2001)},
                {"Key": "absent", "ETag": "*"},
            ]
        },
    )
    assert [entry["Key"] for entry in answer["Deleted"]] == ["a", "c"]
    assert {entry["Key"]: entry["Code"] for entry in answer["Errors"]} == dict.fromkeys(
        ("b", "d", "e", "absent"), "PreconditionFailed"
    )
    assert [entry["Key"] for entry in s3.list_objects_v2(Bucket=bucket)["Contents"]] == ["b", "d", "e"]


def test_dates_of_conditions_are_whole_seconds(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    modified = s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    assert abs(modified.timestamp() - time.time()) < 60
    refused("304", 304, s3.get_object, Bucket=bucket, Key="k", IfModifiedSince=modified)
    s3.get_object(Bucket=bucket, Key="k", IfUnmodifiedSince=modified)


def test_comparing_an_etag_takes_the_right_to_read(server, s3, other, bucket, refused):
    etag = s3.put_object(Bucket=bucket, Key="k", Body=b"1")["ETag"]
    s3.delete_public_access_block(Bucket=bucket)

    def allow(*actions):
        statement = {
            "Effect": "Allow",
            "Principal": "*",
            "Action": [f"s3:{action}" for action in actions],
            "Resource": f"arn:aws:s3:::{bucket}/*",
        }
        s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [statement]}))

    call = {"Bucket": bucket, "Key": "k", "IfMatch": etag}
    allow("PutObject", "DeleteObject")
    other.put_object(Bucket=bucket, Key="new", Body=b"2", IfNoneMatch="*")
    refused("AccessDenied", 403, other.put_object, **call, Body=b"2")
    refused("AccessDenied", 403, other.put_object, **call, Body=b"2", WriteOffsetBytes=1)
    refused("AccessDenied", 403, other.delete_object, **call)
    allow("PutObject", "DeleteObject", "GetObject")
    etag = other.put_object(**call, Body=b"2")["ETag"]
    other.delete_object(**{**call, "IfMatch": etag})
    assert server.keys(bucket) == ["new"]
