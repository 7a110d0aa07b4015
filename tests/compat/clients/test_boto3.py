"""boto3 with its defaults (CRC32 in a trailer over https, in a header over http), against real processes."""

from __future__ import annotations

import io
import os
from typing import Any

import boto3
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.config import Config
from botocore.exceptions import ClientError, ParamValidationError

from tests.compat.clients.features import DOT_KEYS, ODD_KEYS, proves
from tests.compat.clients.places import Place
from tests.compat.clients.web import fetch

pytestmark = pytest.mark.e2e
CLIENT = "boto3"
ALGORITHMS = {
    "CRC32": "y/Q5Jg==",
    "CRC32C": "4waSgw==",
    "CRC64NVME": "rosUhgp5mIg=",
    "SHA1": "98O8HYCOBHMq32eZZczDTKeuNEE=",
    "SHA256": "FeKw08M4keuw8e9gnsQZQgwg4yDOlMZfvIwzEkSOsiU=",
}


@pytest.fixture
def s3(place: Place) -> Any:
    return place.boto3


@pytest.fixture
def name(place: Place) -> str:
    return place.bucket


def refused(code: str, status: int, call: Any, **arguments: Any) -> None:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    response = caught.value.response
    assert (response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]) == (code, status)


@proves("small", "no_such_key")
def test_small(s3: Any, name: str) -> None:
    for body in (b"hello", b""):
        s3.put_object(Bucket=name, Key="k", Body=body)
        assert s3.head_object(Bucket=name, Key="k")["ContentLength"] == len(body)
        assert s3.get_object(Bucket=name, Key="k")["Body"].read() == body
    s3.delete_object(Bucket=name, Key="k")
    refused("NoSuchKey", 404, s3.get_object, Bucket=name, Key="k")
    refused("404", 404, s3.head_object, Bucket=name, Key="k")


class Unseekable(io.RawIOBase):
    """A pipe's end: it can be read, and that is all."""

    def __init__(self, data: bytes) -> None:
        self.rest = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        return self.rest.readinto(into)


@proves("stream", "multipart", "range")
def test_streams_and_parts(s3: Any, name: str) -> None:
    body = os.urandom((18 << 20) + 7)
    s3.upload_fileobj(Unseekable(body), name, "large")
    s3.upload_fileobj(Unseekable(body[:1000]), name, "small")
    for key, wanted in (("large", body), ("small", body[:1000])):
        back = io.BytesIO()
        s3.download_fileobj(name, key, back, Config=TransferConfig(multipart_threshold=5 << 20))
        assert back.getvalue() == wanted
    assert s3.head_object(Bucket=name, Key="large", PartNumber=1)["PartsCount"] == 3
    for asked, wanted in (("bytes=5-14", body[5:15]), ("bytes=-7", body[-7:]), ("bytes=18000000-", body[18000000:])):
        assert s3.get_object(Bucket=name, Key="large", Range=asked)["Body"].read() == wanted
    refused("InvalidRange", 416, s3.get_object, Bucket=name, Key="large", Range="bytes=99999999-")


@proves("list", "delete_many")
def test_list_and_delete_many(s3: Any, name: str) -> None:
    keys = [f"list/d{number}/file" for number in range(12)] + ["list/plain", "list/b & <c>", "list/ü"]
    for key in keys:
        s3.put_object(Bucket=name, Key=key)
    pages = s3.get_paginator("list_objects_v2").paginate(
        Bucket=name, Prefix="list/", Delimiter="/", PaginationConfig={"PageSize": 5}
    )
    seen = [(len(page.get("CommonPrefixes", [])), len(page.get("Contents", []))) for page in pages]
    assert (sum(row[0] for row in seen), sum(row[1] for row in seen), len(seen)) == (12, 3, 3)
    done = s3.delete_objects(Bucket=name, Delete={"Objects": [{"Key": key} for key in keys]})
    assert sorted(row["Key"] for row in done["Deleted"]) == sorted(keys)
    assert "Contents" not in s3.list_objects_v2(Bucket=name)


@proves("copy", "metadata")
def test_copy_and_metadata(s3: Any, name: str) -> None:
    s3.put_object(Bucket=name, Key="from ü+", Body=b"copied", Metadata={"a": "b c"}, ContentType="text/x-thing")
    s3.copy({"Bucket": name, "Key": "from ü+"}, name, "to")
    head = s3.head_object(Bucket=name, Key="to")
    assert (head["Metadata"], head["ContentType"]) == ({"a": "b c"}, "text/x-thing")
    with pytest.raises(ParamValidationError):  # the client itself: metadata is ASCII to it
        s3.put_object(Bucket=name, Key="k", Metadata={"a": "ü"})


@proves("presign_get", "presign_put")
def test_presigned(place: Place, s3: Any, name: str) -> None:
    key = "presigned/ü + b"
    put = s3.generate_presigned_url("put_object", Params={"Bucket": name, "Key": key})
    fetch(put, place.root, b"by url")
    get = s3.generate_presigned_url("get_object", Params={"Bucket": name, "Key": key})
    assert fetch(get, place.root) == b"by url"


@proves("if_none_match", "if_match")
def test_conditions(s3: Any, name: str) -> None:
    etag = s3.put_object(Bucket=name, Key="k", Body=b"first", IfNoneMatch="*")["ETag"]
    refused("PreconditionFailed", 412, s3.put_object, Bucket=name, Key="k", Body=b"x", IfNoneMatch="*")
    s3.put_object(Bucket=name, Key="k", Body=b"second", IfMatch=etag)
    refused("PreconditionFailed", 412, s3.put_object, Bucket=name, Key="k", Body=b"x", IfMatch=etag)
    assert s3.get_object(Bucket=name, Key="k")["Body"].read() == b"second"


@proves("keys")
def test_keys(s3: Any, name: str) -> None:
    for key in ODD_KEYS + DOT_KEYS:
        s3.put_object(Bucket=name, Key=key, Body=key.encode())
        assert s3.get_object(Bucket=name, Key=key)["Body"].read() == key.encode()
    assert {row["Key"] for row in s3.list_objects_v2(Bucket=name)["Contents"]} == set(ODD_KEYS + DOT_KEYS)


@proves("checksums", "sha256")
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_checksums(s3: Any, name: str, algorithm: str) -> None:
    given = {} if algorithm == "CRC32" else {"ChecksumAlgorithm": algorithm}
    s3.put_object(Bucket=name, Key="k", Body=b"123456789", **given)
    got = s3.get_object(Bucket=name, Key="k", ChecksumMode="ENABLED")
    assert got[f"Checksum{algorithm}"] == ALGORITHMS[algorithm]
    assert got["Body"].read() == b"123456789"
    wrong = {f"Checksum{algorithm}": "AAAAAAAAAAA="} if algorithm == "CRC64NVME" else {"ContentMD5": "A" * 22 + "=="}
    refused("BadDigest", 400, s3.put_object, Bucket=name, Key="wrong", Body=b"123456789", **wrong)


@proves("tagging", "versioning")
def test_tags_and_versions(s3: Any, name: str) -> None:
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    first = s3.put_object(Bucket=name, Key="k", Body=b"one", Tagging="k=v&x=y%20z")["VersionId"]
    s3.put_object(Bucket=name, Key="k", Body=b"two")
    s3.delete_object(Bucket=name, Key="k")
    assert s3.get_object(Bucket=name, Key="k", VersionId=first)["Body"].read() == b"one"
    tags = s3.get_object_tagging(Bucket=name, Key="k", VersionId=first)["TagSet"]
    assert {row["Key"]: row["Value"] for row in tags} == {"k": "v", "x": "y z"}
    listed = s3.list_object_versions(Bucket=name)
    assert (len(listed["Versions"]), len(listed["DeleteMarkers"])) == (2, 1)


def other_client(place: Place, endpoint: str, secret: str, style: str) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoint,
        aws_access_key_id=place.site.access_key,
        aws_secret_access_key=secret,
        region_name="us-east-1",
        verify=str(place.root) if place.root else None,
        config=Config(s3={"addressing_style": style}, retries={"max_attempts": 1}),
    )


@proves("virtual_host", "cross")
def test_virtual_host(named: Place) -> None:
    client = other_client(named, named.named, named.site.secret_key, "virtual")
    client.put_object(Bucket=named.bucket, Key="a b//c/../d", Body=b"by name")
    assert client.get_object(Bucket=named.bucket, Key="a b//c/../d")["Body"].read() == b"by name"
    assert named.read("a b//c/../d") == b"by name"
    assert client.list_objects_v2(Bucket=named.bucket)["KeyCount"] == 1


@proves("wrong_secret")
def test_wrong_secret(place: Place) -> None:
    client = other_client(place, place.site.endpoint, place.wrong_secret, "path")
    refused("SignatureDoesNotMatch", 403, client.put_object, Bucket=place.bucket, Key="k", Body=b"x")
    assert place.keys() == []
