"""SSE-C by boto3: a customer's key on put, get, head, copy and uploads, and everything that can be wrong with one."""

import base64
import hashlib
import os

import pytest

KEY = bytes(range(32))
OTHER = bytes(reversed(range(32)))
SIZES = [0, 1, 4096, (64 << 10) + 17, 3 << 20]


def sse(key=KEY):
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


def source_sse(key=KEY):
    return {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": key}


def md5(key):
    return base64.b64encode(hashlib.md5(key).digest()).decode()


@pytest.fixture
def tls(server):
    """boto3 refuses to send SSE-C keys over http unless told."""
    client = server.client()
    yield client
    client.close()


@pytest.mark.parametrize("size", SIZES)
def test_what_is_put_with_a_key_is_got_with_it(server, s3, bucket, size):
    data = os.urandom(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=data, **sse())
    assert (put["SSECustomerAlgorithm"], put["SSECustomerKeyMD5"]) == ("AES256", md5(KEY))
    assert "ServerSideEncryption" not in put
    assert put["ETag"] != f'"{hashlib.md5(data).hexdigest()}"'
    got = s3.get_object(Bucket=bucket, Key="k", **sse())
    assert got["Body"].read() == data
    assert (got["ETag"], got["ContentLength"], got["SSECustomerKeyMD5"]) == (put["ETag"], size, md5(KEY))
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", **sse())
    assert (head["ContentLength"], head["ChecksumCRC32"]) == (size, put["ChecksumCRC32"])


@pytest.mark.parametrize("size", [1000, 70_000, 3 << 20])
@pytest.mark.parametrize(
    ("header", "pick"),
    [
        ("bytes=0-0", slice(0, 1)),
        ("bytes=17-998", slice(17, 999)),
        ("bytes=-5", slice(-5, None)),
        ("bytes=999-", slice(999, None)),
    ],
)
def test_ranges(s3, bucket, size, header, pick):
    data = os.urandom(size)
    s3.put_object(Bucket=bucket, Key="k", Body=data, **sse())
    got = s3.get_object(Bucket=bucket, Key="k", Range=header, **sse())
    assert got["Body"].read() == data[pick]
    assert got["ResponseMetadata"]["HTTPStatusCode"] == 206


def test_the_store_never_sees_the_bytes_or_the_key(server, s3, bucket):
    data = b"a secret that repeats " * 1000
    s3.put_object(Bucket=bucket, Key="k", Body=data, **sse())

    async def look():
        with server.store.view() as view:
            version = view.current(view.bucket(bucket).uid, b"k")
        return version.record, b"".join([piece async for piece in server.store.read(version.record.content)])

    record, stored = server.call(look)
    assert len(stored) == len(data)
    assert b"secret" not in stored
    assert len(set(stored)) > 200
    assert not any(KEY in value or hashlib.md5(KEY).digest() in value for value in record.extra.values())


def test_equal_bytes_under_one_key_are_unlike(server, s3, bucket):
    etags = {s3.put_object(Bucket=bucket, Key=f"k{n}", Body=b"x" * 1000, **sse())["ETag"] for n in range(3)}
    assert len(etags) == 3


def test_wrong_missing_and_superfluous_keys(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **sse())
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    refused("InvalidRequest", 400, s3.get_object, Bucket=bucket, Key="k")
    refused("400", 400, s3.head_object, Bucket=bucket, Key="k")
    refused("AccessDenied", 403, s3.get_object, Bucket=bucket, Key="k", **sse(OTHER))
    refused("403", 403, s3.head_object, Bucket=bucket, Key="k", **sse(OTHER))
    refused("InvalidRequest", 400, s3.get_object, Bucket=bucket, Key="plain", **sse())
    refused("400", 400, s3.head_object, Bucket=bucket, Key="plain", **sse())
    refused("NoSuchKey", 404, s3.get_object, Bucket=bucket, Key="absent", **sse())


@pytest.mark.parametrize(
    "arguments",
    [
        {"SSECustomerAlgorithm": "AES128", "SSECustomerKey": KEY},
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY[:16]},
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY, "SSECustomerKeyMD5": md5(OTHER)},
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": KEY, "SSECustomerKeyMD5": "nonsense!"},
        {"SSECustomerAlgorithm": "AES256"},
        {"SSECustomerKey": KEY},
        {**sse(), "ServerSideEncryption": "AES256"},
        {**sse(), "ServerSideEncryption": "aws:kms"},
    ],
    ids=str,
)
def test_malformed_keys(server, s3, bucket, refused, arguments):
    refused("InvalidArgument", 400, s3.put_object, Bucket=bucket, Key="k", Body=b"x", **arguments)
    assert server.keys(bucket) == []
