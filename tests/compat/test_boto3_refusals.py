"""Requests that AWS refuses: with the codes and words it is known to answer, whatever its reference leaves open."""

import zlib
from base64 import b64encode

import pytest

from tests.gateway.http.raw import Raw, build

PART = "<CompleteMultipartUpload><Part><PartNumber>{}</PartNumber><ETag>e</ETag></Part></CompleteMultipartUpload>"
CRC = b64encode(zlib.crc32(b"hello").to_bytes(4)).decode()
WHOLE = f"5\r\nhello\r\n0\r\nx-amz-checksum-crc32:{CRC}\r\n\r\n"


@pytest.fixture
def send(server, bucket):
    """``send("PUT", "k", query, body, header=value)``: the answer; underscores in names of headers are hyphens."""
    raw = Raw(server.port)

    def ask(method, key="", query="", body="", **headers):
        path = f"/{bucket}/{key}" if key else f"/{bucket}"
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        payload = named.pop("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
        signed = raw.signed_headers(method, path, query=query, headers=named, payload=payload)
        return raw.send(build(method, f"{path}?{query}" if query else path, signed, body.encode()), method)

    return ask


@pytest.mark.parametrize(
    ("location", "code"),
    [("nowhere", "InvalidLocationConstraint"), ("eu-west-1", "IllegalLocationConstraintException")],
)
def test_locations_that_are_not_here(s3, refused, location, code):
    asked = {"CreateBucketConfiguration": {"LocationConstraint": location}}
    error = refused(code, 400, s3.create_bucket, Bucket="not-here", **asked)["Error"]
    assert (error.get("LocationConstraint") == location) == (location == "nowhere")


@pytest.mark.parametrize("name", ["bad-.label", "bad.-label", "bad.label-", "bad..label"])
def test_labels_begin_and_end_with_a_letter_or_digit(s3, refused, name):
    refused("InvalidBucketName", 400, s3.create_bucket, Bucket=name)


@pytest.mark.parametrize("name", ["good.label", "1.2.3", "a--b", "a1.2-b.c"])
def test_names_of_several_labels(s3, name):
    s3.create_bucket(Bucket=name)
    s3.delete_bucket(Bucket=name)


def test_parts_without_upload_or_number(send):
    answer = send("PUT", "k", "partNumber=1", "x")
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert b"This operation does not accept partNumber without uploadId" in answer.body
    answer = send("PUT", "k", "uploadId=u", "x")
    assert (answer.status, answer.code) == (405, "MethodNotAllowed")


@pytest.mark.parametrize(
    ("body", "code", "words"),
    [
        (PART.format(0), "InvalidArgument", "PartNumber must be &gt;= 1"),
        (PART.format(-1), "InvalidArgument", "PartNumber must be &gt;= 1"),
        (PART.format(10001), "InvalidArgument", "between 1 and 10000"),
        (PART.format("x"), "MalformedXML", ""),
        (PART.replace("<ETag>e</ETag>", "").format(1), "MalformedXML", ""),
        (PART.replace("<PartNumber>{}</PartNumber>", ""), "MalformedXML", ""),
    ],
)
def test_parts_that_complete_no_upload(s3, bucket, send, body, code, words):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    answer = send("POST", "k", f"uploadId={upload}", body)
    assert (answer.status, answer.code, words.encode() in answer.body) == (400, code, True)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("", "Invalid copy source bucket name"),
        ("a b/c", "Invalid copy source bucket name"),
        ("bucket", "Invalid copy source object key"),
        ("bucket/", "Invalid copy source object key"),
        ("bucket/%%%%", "Invalid copy source encoding"),
    ],
)
def test_copy_sources_that_are_none(s3, bucket, send, source, words):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    for query in ("", f"partNumber=1&uploadId={upload}"):
        answer = send("PUT", "k", query, x_amz_copy_source=source)
        assert (answer.status, answer.code, words.encode() in answer.body) == (400, "InvalidArgument", True)


@pytest.mark.parametrize("subresource", ["cors", "lifecycle", "tagging", "versioning", "website", "object-lock"])
def test_documents_that_are_not_there(send, subresource):
    answer = send("PUT", "", subresource, content_md5="1B2M2Y8AsgTpgAmY7PhCfg==")
    assert (answer.status, answer.code) == (400, "MissingRequestBodyError")


@pytest.mark.parametrize(
    ("headers", "code"),
    [
        ({"x-amz-checksum-sha256a": "x"}, "InvalidRequest"),
        ({"x-amz-website-redirect-location": "x"}, "InvalidRedirectLocation"),
        ({"x-amz-tagging": "a=1&a=2"}, "InvalidArgument"),
    ],
)
def test_headers_of_writes(server, bucket, send, headers, code):
    answer = send("PUT", "k", "", "x", **headers)
    assert (answer.status, answer.code, server.keys(bucket)) == (400, code, [])


def test_a_tagging_header_may_name_nothing(s3, bucket, send):
    assert send("PUT", "k", "", "x", **{"x-amz-tagging": "&&"}).status == 200
    assert s3.get_object_tagging(Bucket=bucket, Key="k")["TagSet"] == []


@pytest.mark.parametrize(
    ("body", "length", "status", "code"),
    [
        (WHOLE, "5", 200, ""),
        (WHOLE, "five", 411, "MissingContentLength"),
        (WHOLE, "6", 400, "IncompleteBody"),
        (WHOLE.replace("5\r", "3\r"), "5", 400, "IncompleteBody"),
        (WHOLE.replace("5\r", "zz\r"), "5", 400, "IncompleteBody"),
        (WHOLE + "more", "5", 400, "IncompleteBody"),
        (WHOLE.replace("crc32:", "crc32c:"), "5", 400, "MalformedTrailerError"),
        (WHOLE.replace(CRC, "AAAA"), "5", 400, "InvalidRequest"),
        (WHOLE.replace(CRC, "AAAAAA=="), "5", 400, "BadDigest"),
    ],
)
def test_chunked_bodies_that_are_none(server, bucket, send, body, length, status, code):
    announced = {
        "content-encoding": "aws-chunked",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "x-amz-decoded-content-length": length,
        "x-amz-content-sha256": "STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    }
    answer = send("PUT", "k", "", body, **announced)
    assert (answer.status, answer.code) == (status, code)
    assert server.keys(bucket) == (["k"] if status == 200 else [])


@pytest.mark.parametrize("call", ["list_objects", "list_objects_v2", "list_object_versions"])
def test_counts_that_are_none(s3, bucket, refused, call):
    error = refused("InvalidArgument", 400, getattr(s3, call), Bucket=bucket, MaxKeys=-1)["Error"]
    assert (error["ArgumentName"], error["ArgumentValue"]) == ("maxKeys", "-1")


def test_conditions_that_exclude_each_other(send):
    answer = send("PUT", "k", "", "x", if_match="*", if_none_match="*")
    assert (answer.status, answer.code) == (501, "NotImplemented")


def test_composed_checksums_need_those_of_the_parts(s3, bucket, send):
    for kind, status in (("COMPOSITE", 400), ("FULL_OBJECT", 200)):
        asked = {"ChecksumAlgorithm": "CRC32", "ChecksumType": kind}
        upload = s3.create_multipart_upload(Bucket=bucket, Key="k", **asked)["UploadId"]
        answer = send("PUT", "k", f"partNumber=1&uploadId={upload}", "x")
        assert (answer.status, b"actual checksum Type: null" in answer.body) == (status, status == 400)


@pytest.mark.parametrize(("count", "told"), [("junk", b"1000"), ("-1", b"1000"), ("2", b"2")])
def test_counts_of_attributes(server, s3, bucket, send, count, told):
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    part = s3.upload_part(Bucket=bucket, Key="k", UploadId=upload, PartNumber=1, Body=b"x")
    parts = [{"PartNumber": 1, "ETag": part["ETag"]}]
    s3.complete_multipart_upload(Bucket=bucket, Key="k", UploadId=upload, MultipartUpload={"Parts": parts})
    answer = send("GET", "k", "attributes", x_amz_object_attributes="ObjectParts", x_amz_max_parts=count)
    assert (answer.status, b"<MaxParts>%b</MaxParts>" % told in answer.body) == (200, True)


def test_markers_of_uploads(s3, bucket, refused):
    list_uploads = s3.list_multipart_uploads
    refused("InvalidArgument", 400, list_uploads, Bucket=bucket, KeyMarker="k", UploadIdMarker="none")
    assert list_uploads(Bucket=bucket, UploadIdMarker="none")["UploadIdMarker"] == ""
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
    page = list_uploads(Bucket=bucket)
    assert (page["IsTruncated"], page["NextKeyMarker"], page["NextUploadIdMarker"]) == (False, "k", upload)


def test_attributes_must_be_asked_for(send):
    assert send("GET", "k", "attributes").code == "InvalidRequest"
    assert send("GET", "k", "attributes", x_amz_object_attributes="Colour").code == "InvalidArgument"


@pytest.mark.parametrize(
    ("method", "query", "headers"),
    [
        ("PUT", "versionId=null", {}),
        ("PUT", "versionId=null", {"x-amz-copy-source": "bucket/k"}),
        ("PUT", "partNumber=1&uploadId=u&versionId=null", {}),
        ("POST", "uploads=&versionId=null", {}),
        ("POST", "uploadId=u&versionId=null", {}),
    ],
)
def test_writes_name_no_version(server, bucket, send, method, query, headers):
    answer = send(method, "k", query, **headers)
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert b"This operation does not accept a version-id." in answer.body
    assert server.keys(bucket) == []


def test_a_buckets_region_is_told_to_everyone(s3, other, nobody, bucket, refused):
    for client in (other, nobody):
        answer = refused("403", 403, client.head_bucket, Bucket=bucket)
        assert answer["ResponseMetadata"]["HTTPHeaders"]["x-amz-bucket-region"] == "us-east-1"
    missing = refused("404", 404, nobody.head_bucket, Bucket="no-such-bucket")
    assert "x-amz-bucket-region" not in missing["ResponseMetadata"]["HTTPHeaders"]


@pytest.mark.parametrize(
    ("name", "status", "code"),
    [("ab", 400, "InvalidBucketName"), ("a%20b", 400, "InvalidBucketName"), ("Old_Name-", 404, "NoSuchBucket")],
)
def test_names_that_no_bucket_can_have(server, name, status, code):
    raw = Raw(server.port)
    for path in (f"/{name}", f"/{name}/key"):
        answer = raw.send(build("GET", path, raw.signed_headers("GET", path)))
        assert (answer.status, answer.code) == (status, code)
