"""GetObjectAttributes by boto3."""

import os

import pytest

from tests.compat.conftest import PART_MIN

ALL = ["ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"]


def upload(s3, bucket, key, parts, **create):
    made = s3.create_multipart_upload(Bucket=bucket, Key=key, **create)
    named = []
    for number, data in enumerate(parts, 1):
        more = {"ChecksumAlgorithm": create["ChecksumAlgorithm"]} if "ChecksumAlgorithm" in create else {}
        sent = s3.upload_part(Bucket=bucket, Key=key, UploadId=made["UploadId"], PartNumber=number, Body=data, **more)
        checksums = {name: value for name, value in sent.items() if name.startswith("Checksum")}
        named.append({"PartNumber": number, "ETag": sent["ETag"], **(checksums if more else {})})
    return named, s3.complete_multipart_upload(
        Bucket=bucket, Key=key, UploadId=made["UploadId"], MultipartUpload={"Parts": named}
    )


def test_all_attributes_of_a_plain_object(s3, bucket):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"hello", ChecksumAlgorithm="SHA256")
    found = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=ALL)
    assert found["ETag"] == put["ETag"].strip('"')
    assert found["Checksum"] == {"ChecksumSHA256": put["ChecksumSHA256"], "ChecksumType": "FULL_OBJECT"}
    assert (found["ObjectSize"], found["StorageClass"]) == (5, "STANDARD")
    assert "ObjectParts" not in found
    assert found["LastModified"] == s3.head_object(Bucket=bucket, Key="k")["LastModified"]
    assert "VersionId" not in found


@pytest.mark.parametrize("name", ["ETag", "Checksum", "StorageClass", "ObjectSize"])
def test_only_what_is_asked_for_is_told(s3, bucket, name):
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello")
    found = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=[name])
    assert [known for known in ALL if known in found] == [name]


@pytest.mark.parametrize(("algorithm", "kind"), [("SHA256", "COMPOSITE"), ("CRC64NVME", "FULL_OBJECT")])
def test_parts_come_in_pages(s3, bucket, algorithm, kind):
    parts = [os.urandom(PART_MIN) for _ in range(4)] + [b"end"]
    named, done = upload(s3, bucket, "k", parts, ChecksumAlgorithm=algorithm)
    found = s3.get_object_attributes(Bucket=bucket, Key="k", ObjectAttributes=ALL)
    name = "Checksum" + algorithm
    assert found["Checksum"] == {name: done[name].partition("-")[0], "ChecksumType": kind}
    whole = found["ObjectParts"]
    assert (whole["TotalPartsCount"], whole["IsTruncated"], whole["MaxParts"]) == (5, False, 1000)
    assert [(part["PartNumber"], part["Size"]) for part in whole["Parts"]] == [
        (number, len(data)) for number, data in enumerate(parts, 1)
    ]
    assert [part[name] for part in whole["Parts"]] == [part[name] for part in named]
    seen, marker = [], 0
    for _ in range(5):
        page = s3.get_object_attributes(
            Bucket=bucket, Key="k", ObjectAttributes=["ObjectParts"], MaxParts=2, PartNumberMarker=marker
        )["ObjectParts"]
        assert (page["MaxParts"], page["PartNumberMarker"], page["TotalPartsCount"]) == (2, marker, 5)
        seen += [part["PartNumber"] for part in page["Parts"]]
        marker = page["NextPartNumberMarker"]
        if not page["IsTruncated"]:
            break
    assert seen == [1, 2, 3, 4, 5]


def test_attributes_of_versions_and_markers(s3, versioned, refused):
    first = s3.put_object(Bucket=versioned, Key="k", Body=b"1")
    s3.put_object(Bucket=versioned, Key="k", Body=b"22")
    call = s3.get_object_attributes
    found = call(Bucket=versioned, Key="k", VersionId=first["VersionId"], ObjectAttributes=["ObjectSize"])
    assert (found["VersionId"], found["ObjectSize"]) == (first["VersionId"], 1)
    marker = s3.delete_object(Bucket=versioned, Key="k")["VersionId"]
    gone = refused("NoSuchKey", 404, call, Bucket=versioned, Key="k", ObjectAttributes=ALL)
    assert gone["ResponseMetadata"]["HTTPHeaders"]["x-amz-delete-marker"] == "true"
    refused("MethodNotAllowed", 405, call, Bucket=versioned, Key="k", VersionId=marker, ObjectAttributes=ALL)
    refused("NoSuchKey", 404, call, Bucket=versioned, Key="never", ObjectAttributes=ALL)


def test_attributes_that_are_none(s3, bucket, refused, other):
    s3.put_object(Bucket=bucket, Key="k", Body=b"1")
    call = s3.get_object_attributes
    refused("InvalidArgument", 400, call, Bucket=bucket, Key="k", ObjectAttributes=["Colour"])
    refused("InvalidRequest", 400, call, Bucket=bucket, Key="k", ObjectAttributes=[])
    refused("AccessDenied", 403, other.get_object_attributes, Bucket=bucket, Key="k", ObjectAttributes=ALL)
