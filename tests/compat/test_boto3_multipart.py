"""Multipart uploads and copies by boto3."""

import hashlib
import io
import os

import pytest

PART = 64 << 10  # the server's smallest part in these tests


def begin(s3, bucket, key="k", **extra):
    return {
        "Bucket": bucket,
        "Key": key,
        "UploadId": s3.create_multipart_upload(Bucket=bucket, Key=key, **extra)["UploadId"],
    }


def finish(s3, upload, parts, **extra):
    return s3.complete_multipart_upload(**upload, MultipartUpload={"Parts": parts}, **extra)


def etag_of(*parts):
    return f'"{hashlib.md5(b"".join(hashlib.md5(part).digest() for part in parts)).hexdigest()}-{len(parts)}"'


def test_an_upload_from_begin_to_end(s3, bucket, refused):
    upload = begin(s3, bucket, Metadata={"a": "b"}, ContentType="x/y")
    bodies = [os.urandom(PART), os.urandom(PART + 1), os.urandom(10)]
    parts = []
    for number, body in enumerate(bodies, 1):
        answer = s3.upload_part(**upload, PartNumber=number, Body=body)
        parts.append({"PartNumber": number, "ETag": answer["ETag"], "ChecksumCRC32": answer["ChecksumCRC32"]})
    assert [part["Size"] for part in s3.list_parts(**upload)["Parts"]] == [PART, PART + 1, 10]
    assert s3.list_parts(**upload, MaxParts=1)["NextPartNumberMarker"] == 1
    refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="k")
    done = finish(s3, upload, parts)
    assert done["ETag"] == etag_of(*bodies)
    assert finish(s3, upload, parts)["ETag"] == done["ETag"]  # again: the same answer
    got = s3.get_object(Bucket=bucket, Key="k")
    assert got["Body"].read() == b"".join(bodies)
    assert (got["Metadata"], got["ContentType"]) == ({"a": "b"}, "x/y")
    second = s3.get_object(Bucket=bucket, Key="k", PartNumber=2)
    assert second["Body"].read() == bodies[1]
    assert (second["PartsCount"], second["ContentRange"]) == (3, f"bytes {PART}-{2 * PART}/{2 * PART + 11}")
    assert s3.head_object(Bucket=bucket, Key="k", PartNumber=3)["ContentLength"] == 10
    refused("InvalidPartNumber", 416, s3.get_object, Bucket=bucket, Key="k", PartNumber=4)
    refused("NoSuchUpload", 404, s3.list_parts, **upload)
    assert s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={PART - 2}-{PART + 1}")["Body"].read() == (
        bodies[0][-2:] + bodies[1][:2]
    )


@pytest.mark.parametrize(
    ("algorithm", "kind"),
    [("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("CRC32C", "FULL_OBJECT"), ("CRC64NVME", "FULL_OBJECT"),
     ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE")],
)  # fmt: skip
def test_checksums_of_uploads(s3, bucket, algorithm, kind):
    upload = begin(s3, bucket, ChecksumAlgorithm=algorithm, ChecksumType=kind)
    bodies = [os.urandom(PART), os.urandom(77)]
    parts = []
    for number, body in enumerate(bodies, 1):
        answer = s3.upload_part(**upload, PartNumber=number, Body=body, ChecksumAlgorithm=algorithm)
        name = "Checksum" + algorithm
        parts.append({"PartNumber": number, "ETag": answer["ETag"], name: answer[name]})
    done = finish(s3, upload, parts)
    assert done["ChecksumType"] == kind
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert head["Checksum" + algorithm] == done["Checksum" + algorithm]
    if kind == "FULL_OBJECT":
        whole = s3.put_object(Bucket=bucket, Key="whole", Body=b"".join(bodies), ChecksumAlgorithm=algorithm)
        assert whole["Checksum" + algorithm] == done["Checksum" + algorithm]
    else:
        assert done["Checksum" + algorithm].endswith("-2")
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(bodies)


def test_an_upload_without_algorithm_gets_crc64nvme_over_the_whole(server, s3, bucket):
    plain = server.client(request_checksum_calculation="when_required")
    upload = begin(plain, bucket)
    bodies = [os.urandom(PART), b"tail"]
    parts = [
        {"PartNumber": number, "ETag": plain.upload_part(**upload, PartNumber=number, Body=body)["ETag"]}
        for number, body in enumerate(bodies, 1)
    ]
    finish(plain, upload, parts)
    whole = s3.put_object(Bucket=bucket, Key="whole", Body=b"".join(bodies), ChecksumAlgorithm="CRC64NVME")
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head["ChecksumCRC64NVME"], head["ChecksumType"]) == (whole["ChecksumCRC64NVME"], "FULL_OBJECT")
    plain.close()


def test_what_complete_refuses(server, bucket, refused):
    s3 = server.client(request_checksum_calculation="when_required")
    upload = begin(s3, bucket)
    etags = {n: s3.upload_part(**upload, PartNumber=n, Body=bytes([n]) * size)["ETag"] for n, size in
             ((1, PART), (2, PART - 1), (3, 5))}  # fmt: skip

    def parts(*numbers, **changed):
        return {"Parts": [{"PartNumber": n, "ETag": changed.get(f"e{n}", etags.get(n, '"00"'))} for n in numbers]}

    complete = s3.complete_multipart_upload
    refused("EntityTooSmall", 400, complete, **upload, MultipartUpload=parts(1, 2, 3))
    refused("InvalidPartOrder", 400, complete, **upload, MultipartUpload=parts(3, 1))
    refused("InvalidPart", 400, complete, **upload, MultipartUpload=parts(1, 4))
    refused("InvalidPart", 400, complete, **upload, MultipartUpload=parts(1, 3, e3=etags[1]))
    refused("NoSuchUpload", 404, complete, **{**upload, "UploadId": "0" * 48}, MultipartUpload=parts(1, 3))
    refused("NoSuchUpload", 404, complete, **{**upload, "Key": "other"}, MultipartUpload=parts(1, 3))
    refused("InvalidArgument", 400, s3.upload_part, **upload, PartNumber=10001, Body=b"")
    refused("InvalidArgument", 400, s3.upload_part, **upload, PartNumber=0, Body=b"")
    assert server.keys(bucket) == []
    complete(**upload, MultipartUpload=parts(1, 3))
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"\1" * PART + b"\3" * 5
    s3.close()


def test_conditional_complete(server, bucket, refused):
    s3 = server.client(request_checksum_calculation="when_required")
    first, second = begin(s3, bucket), begin(s3, bucket)
    for upload in (first, second):
        upload["parts"] = [{"PartNumber": 1, "ETag": s3.upload_part(**upload, PartNumber=1, Body=b"x")["ETag"]}]
    parts = first.pop("parts")
    second.pop("parts")
    finish(s3, first, parts, IfNoneMatch="*")
    refused(
        "PreconditionFailed",
        412,
        s3.complete_multipart_upload,
        **second,
        MultipartUpload={"Parts": parts},
        IfNoneMatch="*",
    )
    etag = s3.head_object(Bucket=bucket, Key="k")["ETag"]
    finish(s3, second, parts, IfMatch=etag)
    s3.close()


def test_abort_and_list_uploads(s3, bucket, refused):
    uploads = [begin(s3, bucket, key) for key in ("a", "a", "b/1", "b/2", "c")]
    listing = s3.list_multipart_uploads(Bucket=bucket)
    assert [entry["Key"] for entry in listing["Uploads"]] == ["a", "a", "b/1", "b/2", "c"]
    rolled = s3.list_multipart_uploads(Bucket=bucket, Delimiter="/")
    assert [entry["Prefix"] for entry in rolled["CommonPrefixes"]] == ["b/"]
    found, extra = [], {}
    while True:
        page = s3.list_multipart_uploads(Bucket=bucket, MaxUploads=2, **extra)
        found += [entry["UploadId"] for entry in page["Uploads"]]
        if not page["IsTruncated"]:
            break
        extra = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}
    assert sorted(found) == sorted(upload["UploadId"] for upload in uploads)
    for upload in uploads:
        s3.abort_multipart_upload(**upload)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)
    refused("NoSuchUpload", 404, s3.abort_multipart_upload, **uploads[0])
    refused("NoSuchUpload", 404, s3.upload_part, **uploads[0], PartNumber=1, Body=b"")
    s3.delete_bucket(Bucket=bucket)


def test_upload_part_copy(s3, bucket, refused):
    data = os.urandom(3 * PART)
    s3.put_object(Bucket=bucket, Key="source", Body=data)
    upload = begin(s3, bucket)
    source = {"Bucket": bucket, "Key": "source"}
    parts = []
    for number, wanted in ((1, f"bytes=10-{2 * PART}"), (2, None)):
        extra = {"CopySourceRange": wanted} if wanted else {}
        part = s3.upload_part_copy(**upload, PartNumber=number, CopySource=source, **extra)["CopyPartResult"]
        parts.append({"PartNumber": number, "ETag": part["ETag"], "ChecksumCRC64NVME": part["ChecksumCRC64NVME"]})
    refused(
        "InvalidArgument", 400, s3.upload_part_copy, **upload, PartNumber=3, CopySource=source,
        CopySourceRange=f"bytes=0-{3 * PART}",
    )  # fmt: skip
    finish(s3, upload, parts)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == data[10 : 2 * PART + 1] + data


def test_transfer_manager_upload_and_download(s3, bucket):
    data = os.urandom(20 << 20)
    s3.upload_fileobj(io.BytesIO(data), bucket, "big")
    assert s3.head_object(Bucket=bucket, Key="big")["ETag"].endswith('-3"')
    target = io.BytesIO()
    s3.download_fileobj(bucket, "big", target)
    assert target.getvalue() == data


def test_copies(s3, bucket, refused):
    put = s3.put_object(Bucket=bucket, Key="a", Body=b"data", Metadata={"x": "1"}, ContentType="t/1")
    source = {"Bucket": bucket, "Key": "a"}
    copied = s3.copy_object(Bucket=bucket, Key="b", CopySource=source)
    assert copied["CopyObjectResult"]["ETag"] == put["ETag"]
    got = s3.get_object(Bucket=bucket, Key="b")
    assert (got["Body"].read(), got["Metadata"], got["ContentType"]) == (b"data", {"x": "1"}, "t/1")
    s3.copy_object(Bucket=bucket, Key="c", CopySource=source, MetadataDirective="REPLACE", Metadata={"y": "2"})
    got = s3.get_object(Bucket=bucket, Key="c")
    assert (got["Metadata"], got["ContentType"]) == ({"y": "2"}, "binary/octet-stream")
    refused("InvalidRequest", 400, s3.copy_object, Bucket=bucket, Key="a", CopySource=source)
    s3.copy_object(Bucket=bucket, Key="a", CopySource=source, MetadataDirective="REPLACE", Metadata={"z": "3"})
    assert s3.head_object(Bucket=bucket, Key="a")["Metadata"] == {"z": "3"}
    copied = s3.copy_object(Bucket=bucket, Key="d", CopySource=source, ChecksumAlgorithm="SHA256")
    assert copied["CopyObjectResult"]["ChecksumSHA256"]
    refused("NoSuchKey", 404, s3.copy_object, Bucket=bucket, Key="e", CopySource={"Bucket": bucket, "Key": "absent"})
    refused("NoSuchBucket", 404, s3.copy_object, Bucket=bucket, Key="e", CopySource={"Bucket": "nowhere", "Key": "a"})


def test_conditional_copies(s3, bucket, refused):
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"data")["ETag"]
    call = {"Bucket": bucket, "Key": "b", "CopySource": {"Bucket": bucket, "Key": "a"}}
    refused("PreconditionFailed", 412, s3.copy_object, **call, CopySourceIfMatch='"no"')
    refused("PreconditionFailed", 412, s3.copy_object, **call, CopySourceIfNoneMatch=etag)
    s3.copy_object(**call, CopySourceIfMatch=etag, IfNoneMatch="*")
    refused("PreconditionFailed", 412, s3.copy_object, **call, IfNoneMatch="*")


def test_copies_of_versions(s3, versioned, refused):
    first = s3.put_object(Bucket=versioned, Key="a", Body=b"1")["VersionId"]
    s3.put_object(Bucket=versioned, Key="a", Body=b"2")
    copied = s3.copy_object(Bucket=versioned, Key="a", CopySource={"Bucket": versioned, "Key": "a", "VersionId": first})
    assert copied["CopySourceVersionId"] == first
    assert s3.get_object(Bucket=versioned, Key="a", VersionId=copied["VersionId"])["Body"].read() == b"1"
    marker = s3.delete_object(Bucket=versioned, Key="a")["VersionId"]
    refused("NoSuchKey", 404, s3.copy_object, Bucket=versioned, Key="b", CopySource={"Bucket": versioned, "Key": "a"})
    source = {"Bucket": versioned, "Key": "a", "VersionId": marker}
    refused("InvalidRequest", 400, s3.copy_object, Bucket=versioned, Key="b", CopySource=source)


def test_a_copied_multipart_object_keeps_its_parts(server, bucket):
    s3 = server.client(request_checksum_calculation="when_required")
    upload = begin(s3, bucket)
    bodies = [os.urandom(PART), b"tail"]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**upload, PartNumber=n, Body=body)["ETag"]}
        for n, body in enumerate(bodies, 1)
    ]
    done = finish(s3, upload, parts)
    copied = s3.copy_object(Bucket=bucket, Key="copy", CopySource={"Bucket": bucket, "Key": "k"})
    assert copied["CopyObjectResult"]["ETag"] == done["ETag"]
    assert s3.get_object(Bucket=bucket, Key="copy", PartNumber=2)["Body"].read() == b"tail"
    s3.close()


def test_conditional_parts_from_a_source(s3, bucket, refused):
    etag = s3.put_object(Bucket=bucket, Key="a", Body=b"data")["ETag"]
    modified = s3.head_object(Bucket=bucket, Key="a")["LastModified"]
    past = modified.replace(year=2001)
    upload = begin(s3, bucket)
    call = {**upload, "PartNumber": 1, "CopySource": {"Bucket": bucket, "Key": "a"}}
    for bad in (
        {"CopySourceIfMatch": '"no"'},
        {"CopySourceIfNoneMatch": etag},
        {"CopySourceIfModifiedSince": modified},
        {"CopySourceIfUnmodifiedSince": past},
        {"CopySourceIfNoneMatch": etag, "CopySourceIfModifiedSince": past},
    ):
        refused("PreconditionFailed", 412, s3.upload_part_copy, **call, **bad)
    assert "Parts" not in s3.list_parts(**upload)
    s3.upload_part_copy(**call, CopySourceIfMatch=etag, CopySourceIfUnmodifiedSince=past)
    for wanted in ("bytes=0-4", "bytes=3-2", "bytes=1-", "bytes=-2", "0-1", "bytes=0-1,2-3"):
        refused("InvalidArgument", 400, s3.upload_part_copy, **call, CopySourceRange=wanted)
    absent = {"Bucket": bucket, "Key": "absent"}
    refused("NoSuchKey", 404, s3.upload_part_copy, **{**call, "CopySource": absent})
    refused("NoSuchUpload", 404, s3.upload_part_copy, **{**call, "UploadId": "0" * 48})
