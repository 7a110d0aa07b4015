"""Checksums by boto3 and by hand: every algorithm as header and trailer, over parts, at Complete, and when read."""

import base64
import os

import pytest

from gateway.s3.checksums import ALGORITHMS, combine_checksums, compose_checksums, compute_checksum
from gateway.s3.payload import PayloadMode
from tests.compat.conftest import PART_MIN
from tests.gateway.http.raw import Raw, build

EVERY = sorted(ALGORITHMS)
COMPOSITES = [name for name in EVERY if "COMPOSITE" in ALGORITHMS[name].types]
FULL = [name for name in EVERY if "FULL_OBJECT" in ALGORITHMS[name].types]


def given(name, data):
    """The boto3 argument that claims a checksum."""
    return {"Checksum" + name: compute_checksum(name, data)}


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize("size", [0, 11, 200_000])
def test_a_claim_is_verified_and_kept(server, s3, bucket, refused, name, size):
    data = os.urandom(size)
    wrong = given(name, data + b"x")
    refused("BadDigest", 400, s3.put_object, Bucket=bucket, Key="k", Body=data, **wrong)
    refused("InvalidRequest", 400, s3.put_object, Bucket=bucket, Key="k", Body=data, **{"Checksum" + name: "AAAA"})
    assert server.keys(bucket) == []
    put = s3.put_object(Bucket=bucket, Key="k", Body=data, **given(name, data))
    assert (put["Checksum" + name], put["ChecksumType"]) == (compute_checksum(name, data), "FULL_OBJECT")
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert [key for key in head if key.startswith("Checksum")] == ["Checksum" + name, "ChecksumType"]
    assert "Checksum" + name not in s3.head_object(Bucket=bucket, Key="k")
    (listed,) = s3.list_objects_v2(Bucket=bucket)["Contents"]
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == ([name], "FULL_OBJECT")


@pytest.mark.parametrize("name", EVERY)
def test_a_trailer_is_verified_and_kept(server, s3, bucket, name):
    raw = Raw(server.port)
    data = os.urandom(100_000)
    header = ALGORITHMS[name].header
    for path, claimed, *expected in (
        ("good", compute_checksum(name, data), 200, ""),
        ("bad", compute_checksum(name, data + b"x"), 400, "BadDigest"),
        ("malformed", "AAAA", 400, "InvalidRequest"),
    ):
        target = f"/{bucket}/{path}"
        headers, body = raw.chunked_put(target, [data], PayloadMode.UNSIGNED_CHUNKS_TRAILER, trailers={header: claimed})
        answer = raw.send(build("PUT", target, headers, body), "PUT")
        assert [answer.status, answer.code] == expected
    assert server.keys(bucket) == ["good"]
    head = s3.head_object(Bucket=bucket, Key="good", ChecksumMode="ENABLED")
    assert head["Checksum" + name] == compute_checksum(name, data)


def test_two_claims_are_refused(s3, bucket, refused):
    two = given("CRC32", b"x") | given("SHA256", b"x")
    refused("InvalidRequest", 400, s3.put_object, Bucket=bucket, Key="k", Body=b"x", **two)


def upload(s3, bucket, parts, create, *, name_parts=True, complete=None):
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", **create)
    algorithm = create.get("ChecksumAlgorithm")
    named = []
    for number, data in enumerate(parts, 1):
        claim = given(algorithm, data) if algorithm else {}
        sent = s3.upload_part(Bucket=bucket, Key="k", UploadId=made["UploadId"], PartNumber=number, Body=data, **claim)
        if algorithm:
            assert sent["Checksum" + algorithm] == compute_checksum(algorithm, data)
        named.append({"PartNumber": number, "ETag": sent["ETag"], **(claim if name_parts else {})})
    arguments = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"], "MultipartUpload": {"Parts": named}}
    return made, arguments | (complete or {})


@pytest.mark.parametrize("name", COMPOSITES)
def test_composite_checksums(s3, bucket, refused, name):
    parts = [os.urandom(PART_MIN), b"end"]
    create = {"ChecksumAlgorithm": name, "ChecksumType": "COMPOSITE"}
    made, arguments = upload(s3, bucket, parts, create)
    assert (made["ChecksumAlgorithm"], made["ChecksumType"]) == (name, "COMPOSITE")
    whole = compose_checksums(name, [compute_checksum(name, part) for part in parts])
    element = "Checksum" + name
    refused("BadDigest", 400, s3.complete_multipart_upload, **arguments, ChecksumType="FULL_OBJECT")
    refused("BadDigest", 400, s3.complete_multipart_upload, **arguments, **given(name, b"other"))
    refused("InvalidRequest", 400, s3.complete_multipart_upload, **arguments, MpuObjectSize=1)
    unnamed = {"Parts": [{k: v for k, v in p.items() if k != element} for p in arguments["MultipartUpload"]["Parts"]]}
    refused("InvalidRequest", 400, s3.complete_multipart_upload, **{**arguments, "MultipartUpload": unnamed})
    wrong = {"Parts": [{**p, element: compute_checksum(name, b"no")} for p in arguments["MultipartUpload"]["Parts"]]}
    refused("InvalidPart", 400, s3.complete_multipart_upload, **{**arguments, "MultipartUpload": wrong})
    done = s3.complete_multipart_upload(
        **arguments, **{element: whole}, ChecksumType="COMPOSITE", MpuObjectSize=sum(map(len, parts))
    )
    assert (done[element], done["ChecksumType"]) == (whole, "COMPOSITE")
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[element], head["ChecksumType"]) == (whole, "COMPOSITE")
    part = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", PartNumber=2)
    assert (part[element], part["PartsCount"]) == (compute_checksum(name, b"end"), 2)


@pytest.mark.parametrize("name", FULL)
def test_full_object_checksums_over_parts(s3, bucket, refused, name):
    parts = [os.urandom(PART_MIN), os.urandom(PART_MIN), b"end"]
    create = {"ChecksumAlgorithm": name, "ChecksumType": "FULL_OBJECT"}
    _, arguments = upload(s3, bucket, parts, create, name_parts=False)
    whole = compute_checksum(name, b"".join(parts))
    assert whole == combine_checksums(name, [(compute_checksum(name, part), len(part)) for part in parts])
    refused("BadDigest", 400, s3.complete_multipart_upload, **arguments, **given(name, b"other"))
    done = s3.complete_multipart_upload(**arguments, **{"Checksum" + name: whole})
    assert (done["Checksum" + name], done["ChecksumType"]) == (whole, "FULL_OBJECT")


def test_an_upload_without_algorithm_gets_crc64nvme(s3, bucket):
    parts = [os.urandom(PART_MIN), b"end"]
    _, arguments = upload(s3, bucket, parts, {})
    done = s3.complete_multipart_upload(**arguments)
    assert done["ChecksumCRC64NVME"] == compute_checksum("CRC64NVME", b"".join(parts))
    assert done["ChecksumType"] == "FULL_OBJECT"


@pytest.mark.parametrize("name", sorted(set(EVERY) - set(FULL)))
def test_algorithms_that_do_not_combine_have_no_full_object_type(s3, bucket, refused, name):
    create = {"ChecksumAlgorithm": name, "ChecksumType": "FULL_OBJECT"}
    refused("InvalidRequest", 400, s3.create_multipart_upload, Bucket=bucket, Key="k", **create)


def test_types_that_cannot_be(s3, bucket, refused):
    call = s3.create_multipart_upload
    composite = {"ChecksumAlgorithm": "CRC64NVME", "ChecksumType": "COMPOSITE"}
    refused("InvalidRequest", 400, call, Bucket=bucket, Key="k", **composite)
    refused("InvalidRequest", 400, call, Bucket=bucket, Key="k", ChecksumType="COMPOSITE")
    refused("InvalidRequest", 400, call, Bucket=bucket, Key="k", ChecksumAlgorithm="CRC31")


def test_a_part_of_another_algorithm_is_refused(s3, bucket, refused):
    made = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256")
    part = {"Bucket": bucket, "Key": "k", "UploadId": made["UploadId"], "PartNumber": 1, "Body": b"x"}
    refused("InvalidRequest", 400, s3.upload_part, **part, **given("CRC32", b"x"))
    s3.upload_part(**part, **given("SHA256", b"x"))
    (listed,) = s3.list_parts(Bucket=bucket, Key="k", UploadId=made["UploadId"])["Parts"]
    assert listed["ChecksumSHA256"] == compute_checksum("SHA256", b"x")


def test_a_copy_keeps_the_algorithm_or_gets_another(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"hello", **given("SHA1", b"hello"))
    source = {"Bucket": bucket, "Key": "k"}
    kept = s3.copy_object(Bucket=bucket, Key="a", CopySource=source)["CopyObjectResult"]
    assert (kept["ChecksumSHA1"], kept["ChecksumType"]) == (compute_checksum("SHA1", b"hello"), "FULL_OBJECT")
    for name in EVERY:
        made = s3.copy_object(Bucket=bucket, Key="b", CopySource=source, ChecksumAlgorithm=name)["CopyObjectResult"]
        assert made["Checksum" + name] == compute_checksum(name, b"hello")
        head = s3.head_object(Bucket=bucket, Key="b", ChecksumMode="ENABLED")
        assert [key for key in head if key.startswith("Checksum")] == ["Checksum" + name, "ChecksumType"]


def test_ranges_carry_no_checksum_of_the_whole(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"0123456789")
    got = s3.get_object(Bucket=bucket, Key="k", Range="bytes=2-4", ChecksumMode="ENABLED")
    assert not [key for key in got if key.startswith("Checksum")]
    whole = s3.get_object(Bucket=bucket, Key="k", PartNumber=1, ChecksumMode="ENABLED")
    assert whole["Body"].read() == b"0123456789"
    assert whole["ChecksumCRC32"] == compute_checksum("CRC32", b"0123456789")


def test_a_presigned_put_with_a_signed_checksum(server, bucket):
    signer = server.client(signature_version="s3v4")
    for claimed, status in ((b"other", 400), (b"hello", 200)):
        sha = compute_checksum("SHA256", claimed)
        url = signer.generate_presigned_url("put_object", {"Bucket": bucket, "Key": "k", "ChecksumSHA256": sha})
        headers = {"x-amz-checksum-sha256": sha}
        target = url.removeprefix(server.endpoint)
        answer = Raw(server.port).send(
            build("PUT", target, {"host": f"127.0.0.1:{server.port}", **headers}, b"hello"), "PUT"
        )
        assert (answer.status, answer.code) == (status, "BadDigest" if status == 400 else "")
    signer.close()
    assert server.keys(bucket) == ["k"]


def test_content_md5(server, s3, bucket, refused):
    good = compute_checksum("MD5", b"x")
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ContentMD5=good)
    for bad in ("", "YWJj", "no base64!", good[:-1], base64.b64encode(b"x" * 15).decode()):
        refused("InvalidDigest", 400, s3.put_object, Bucket=bucket, Key="bad", Body=b"x", ContentMD5=bad)
    refused("BadDigest", 400, s3.put_object, Bucket=bucket, Key="bad", Body=b"y", ContentMD5=good)
    assert server.keys(bucket) == ["k"]


@pytest.mark.parametrize(
    ("algorithm", "kind"), [("CRC32", "COMPOSITE"), ("CRC32", "FULL_OBJECT"), ("SHA256", "COMPOSITE")]
)
def test_the_only_part_has_a_checksum_of_its_own(s3, bucket, algorithm, kind):
    call = {"Bucket": bucket, "Key": "k"}
    upload = s3.create_multipart_upload(**call, ChecksumAlgorithm=algorithm, ChecksumType=kind)["UploadId"]
    part = s3.upload_part(**call, UploadId=upload, PartNumber=1, Body=b"only", ChecksumAlgorithm=algorithm)
    name = "Checksum" + algorithm
    named = [{"PartNumber": 1, "ETag": part["ETag"], name: part[name]}]
    s3.complete_multipart_upload(**call, UploadId=upload, MultipartUpload={"Parts": named})
    got = s3.get_object(**call, PartNumber=1, ChecksumMode="ENABLED")
    assert (got[name], got["ChecksumType"], got["Body"].read()) == (part[name], kind, b"only")
