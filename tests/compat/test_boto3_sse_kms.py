"""SSE-KMS with the realm's own keys, and SSE-S3, by boto3: what is asked, kept, shown and refused."""

import base64
import hashlib
import json
import os

import pytest

from gateway.operations.kms_keys import DELETED, DISABLED, ENABLED, set_state

DEFAULT_ARN = "arn:aws:kms:us-east-1:000000000000:key/aws/s3"


def arn(name):
    return f"arn:aws:kms:us-east-1:000000000000:key/{name}"


def shown(response):
    return response["ServerSideEncryption"], response.get("SSEKMSKeyId")


@pytest.mark.parametrize("asked", [{}, {"ServerSideEncryption": "AES256"}], ids=["nothing", "AES256"])
def test_sse_s3_is_what_everything_has(s3, bucket, asked):
    assert shown(s3.put_object(Bucket=bucket, Key="k", Body=b"x", **asked)) == ("AES256", None)
    assert shown(s3.get_object(Bucket=bucket, Key="k")) == ("AES256", None)
    assert shown(s3.head_object(Bucket=bucket, Key="k")) == ("AES256", None)
    assert shown(s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", **asked)) == ("AES256", None)
    assert shown(s3.create_multipart_upload(Bucket=bucket, Key="m", **asked)) == ("AES256", None)


@pytest.mark.parametrize("method", ["aws:kms", "aws:kms:dsse"])
@pytest.mark.parametrize("size", [0, 100, 300_000])
def test_kms_with_the_default_key(server, s3, bucket, method, size):
    data = os.urandom(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=data, ServerSideEncryption=method)
    assert shown(put) == (method, DEFAULT_ARN)
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (shown(got), got["Body"].read()) == ((method, DEFAULT_ARN), data)
    assert shown(s3.head_object(Bucket=bucket, Key="k")) == (method, DEFAULT_ARN)
    ranged = s3.get_object(Bucket=bucket, Key="k", Range="bytes=-7") if size else got
    assert not size or ranged["Body"].read() == data[-7:]


@pytest.mark.parametrize(
    "given", ["my-key", "alias/my-key", arn("my-key"), "arn:aws:kms:eu-west-1:123456789012:key/my-key"]
)
def test_every_way_to_name_a_key(s3, bucket, given):
    put = s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId=given)
    assert shown(put) == ("aws:kms", arn("my-key") if "alias" in given else given)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"


def test_context_and_bucket_key(s3, bucket):
    context = base64.b64encode(json.dumps({"purpose": "tests"}).encode()).decode()
    put = s3.put_object(
        Bucket=bucket,
        Key="k",
        Body=b"x",
        ServerSideEncryption="aws:kms",
        SSEKMSEncryptionContext=context,
        BucketKeyEnabled=True,
    )
    assert json.loads(base64.b64decode(put["SSEKMSEncryptionContext"])) == {"purpose": "tests"}
    assert put["BucketKeyEnabled"] is True
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["Body"].read(), got["BucketKeyEnabled"]) == (b"x", True)


@pytest.mark.parametrize(
    "arguments",
    [
        {"ServerSideEncryption": "aws:fsx"},
        {"ServerSideEncryption": "nonsense"},
        {"SSEKMSKeyId": "my-key"},
        {"ServerSideEncryption": "AES256", "SSEKMSKeyId": "my-key"},
        {"ServerSideEncryption": "aws:kms", "SSEKMSEncryptionContext": "bm8ganNvbg=="},
        {"ServerSideEncryption": "aws:kms", "SSEKMSEncryptionContext": "WzFd"},
        {"ServerSideEncryption": "AES256", "SSEKMSEncryptionContext": "e30="},
    ],
    ids=str,
)
def test_what_contradicts_itself(server, s3, bucket, refused, arguments):
    refused("InvalidArgument", 400, s3.put_object, Bucket=bucket, Key="k", Body=b"x", **arguments)
    assert server.keys(bucket) == []


def test_impossible_key_names(s3, bucket, refused):
    for name in ("a b", "arn:aws:s3:::bucket", "alias/"):
        arguments = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": name}
        refused("KMS.NotFoundException", 400, s3.put_object, Bucket=bucket, Key="k", Body=b"x", **arguments)


def test_disabled_and_deleted_keys(server, s3, bucket, refused):
    sealed = {"Bucket": bucket, "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": f"of-{bucket}"}
    s3.put_object(**sealed, Key="k", Body=b"x")

    def change(state):
        server.call(lambda: server.store.commit(lambda view: set_state(view, f"of-{bucket}", state)))

    change(DISABLED)
    refused("KMS.DisabledException", 400, s3.get_object, Bucket=bucket, Key="k")
    refused("KMS.DisabledException", 400, s3.put_object, **sealed, Key="other", Body=b"x")
    assert s3.head_object(Bucket=bucket, Key="k")["SSEKMSKeyId"] == f"of-{bucket}"
    change(ENABLED)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"x"
    change(DELETED)
    refused("KMS.KMSInvalidStateException", 400, s3.get_object, Bucket=bucket, Key="k")
    refused("KMS.KMSInvalidStateException", 400, s3.put_object, **sealed, Key="other", Body=b"x")
    s3.delete_object(Bucket=bucket, Key="k")


def test_an_upload_in_parts(s3, bucket):
    pieces = [os.urandom(70_001), os.urandom(70_001), b"end"]
    upload = s3.create_multipart_upload(Bucket=bucket, Key="k", ServerSideEncryption="aws:kms")
    assert shown(upload) == ("aws:kms", DEFAULT_ARN)
    name = {"Bucket": bucket, "Key": "k", "UploadId": upload["UploadId"]}
    parts = []
    for number, piece in enumerate(pieces, 1):
        done = s3.upload_part(**name, PartNumber=number, Body=piece)
        assert shown(done) == ("aws:kms", DEFAULT_ARN)
        parts.append({"PartNumber": number, "ETag": done["ETag"]})
    completed = s3.complete_multipart_upload(**name, MultipartUpload={"Parts": parts})
    assert shown(completed) == ("aws:kms", DEFAULT_ARN)
    assert shown(s3.complete_multipart_upload(**name, MultipartUpload={"Parts": parts})) == ("aws:kms", DEFAULT_ARN)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"".join(pieces)


def test_encryption_headers_on_reads(server, s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms")
    client = server.client()
    client.meta.events.register(
        "before-sign.s3.*", lambda request, **_: request.headers.add_header("x-amz-server-side-encryption", "aws:kms")
    )
    refused("InvalidArgument", 400, client.get_object, Bucket=bucket, Key="k")
    refused("400", 400, client.head_object, Bucket=bucket, Key="k")
    client.close()


def test_a_copy_takes_the_target_bucket_s_encryption(s3, bucket):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", ServerSideEncryption="aws:kms", SSEKMSKeyId="my-key")
    assert shown(s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k")) == ("AES256", None)
    assert s3.get_object(Bucket=bucket, Key="c")["Body"].read() == b"x"
    s3.copy_object(Bucket=bucket, Key="k", CopySource=f"{bucket}/k", ServerSideEncryption="AES256")
    assert shown(s3.get_object(Bucket=bucket, Key="k")) == ("AES256", None)


@pytest.mark.parametrize("algorithm", [{}, {"ChecksumAlgorithm": "SHA256"}], ids=["same", "SHA256"])
def test_a_copy_under_the_same_key_moves_nothing(server, s3, bucket, algorithm):
    sealed = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "my-key"}
    pieces = [os.urandom(70_001), b"end"]
    name = {"Bucket": bucket, "Key": "k"}
    name["UploadId"] = s3.create_multipart_upload(**name, **sealed)["UploadId"]
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**name, PartNumber=n, Body=piece)["ETag"]}
        for n, piece in enumerate(pieces, 1)
    ]
    s3.complete_multipart_upload(**name, MultipartUpload={"Parts": parts})
    copied = s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", **sealed, **algorithm)
    assert shown(copied) == ("aws:kms", "my-key")
    s3.copy_object(Bucket=bucket, Key="other", CopySource=f"{bucket}/k", ServerSideEncryption="aws:kms")

    async def look():
        with server.store.view() as view:
            uid = view.bucket(bucket).uid
            return [view.current(uid, key).record.content for key in (b"k", b"c", b"other")]

    source, same, other = server.call(look)
    assert same == source
    assert other != source
    s3.delete_object(Bucket=bucket, Key="k")
    for key in ("c", "other"):
        got = s3.get_object(Bucket=bucket, Key=key, Range="bytes=69999-70003")
        assert got["Body"].read() == b"".join(pieces)[69_999:70_004]
        assert s3.get_object(Bucket=bucket, Key=key)["Body"].read() == b"".join(pieces)
    if algorithm:
        head = s3.head_object(Bucket=bucket, Key="c", ChecksumMode="ENABLED")
        digest = hashlib.sha256(b"".join(pieces)).digest()
        assert head["ChecksumSHA256"] == base64.b64encode(digest).decode()
