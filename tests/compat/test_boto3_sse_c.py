"""SSE-C by boto3: a customer's key on put, get, head, copy and uploads, and everything that can be wrong with one."""

import base64
import hashlib
import os

import pytest
import urllib3

KEY = bytes(range(32))
OTHER = bytes(reversed(range(32)))
SIZES = [0, 1, 4096, (64 << 10) + 17, 3 << 20]


def sse(key=KEY):
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": key}


def source_sse(key=KEY):
    return {"CopySourceSSECustomerAlgorithm": "AES256", "CopySourceSSECustomerKey": key}


def b64(data):
    return base64.b64encode(data).decode()


def md5(key):
    return b64(hashlib.md5(key).digest())


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
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b64(KEY), "SSECustomerKeyMD5": md5(OTHER)},
        {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b64(KEY), "SSECustomerKeyMD5": "nonsense!"},
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


PART = 70_001


def upload(s3, bucket, pieces, **arguments):
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k", **arguments)["UploadId"]
    name = {"Bucket": bucket, "Key": "k", "UploadId": upload_id}
    parts = [
        {"PartNumber": n, "ETag": s3.upload_part(**name, PartNumber=n, Body=piece, **arguments)["ETag"]}
        for n, piece in enumerate(pieces, 1)
    ]
    return s3.complete_multipart_upload(**name, MultipartUpload={"Parts": parts})


@pytest.mark.parametrize("pick", [(0, None), (PART - 1, PART + 1), (PART + 3, 2 * PART + 5), (5, 3 * PART)])
def test_an_upload_in_parts(s3, bucket, pick):
    pieces = [os.urandom(PART), os.urandom(PART), os.urandom(PART), b"end"]
    data = b"".join(pieces)
    upload(s3, bucket, pieces, **sse())
    start, end = pick
    end = len(data) if end is None else end
    got = s3.get_object(Bucket=bucket, Key="k", Range=f"bytes={start}-{end - 1}", **sse())
    assert got["Body"].read() == data[start:end]
    assert s3.get_object(Bucket=bucket, Key="k", **sse())["Body"].read() == data
    part = s3.get_object(Bucket=bucket, Key="k", PartNumber=3, **sse())
    assert part["Body"].read() == pieces[2]


def test_a_part_that_is_sent_again_is_ciphered_anew(s3, bucket):
    name = {"Bucket": bucket, "Key": "k"}
    name["UploadId"] = s3.create_multipart_upload(**name, **sse())["UploadId"]
    s3.upload_part(**name, PartNumber=1, Body=b"first" * 100, **sse())
    etag = s3.upload_part(**name, PartNumber=1, Body=b"second", **sse())["ETag"]
    s3.complete_multipart_upload(**name, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": etag}]})
    assert s3.get_object(Bucket=bucket, Key="k", **sse())["Body"].read() == b"second"


def test_parts_need_the_upload_s_key(s3, bucket, refused):
    name = {"Bucket": bucket, "Key": "k", "PartNumber": 1, "Body": b"x"}
    sealed = s3.create_multipart_upload(Bucket=bucket, Key="k", **sse())
    assert sealed["SSECustomerKeyMD5"] == md5(KEY)
    plain = s3.create_multipart_upload(Bucket=bucket, Key="k")
    refused("InvalidRequest", 400, s3.upload_part, **name, UploadId=sealed["UploadId"])
    refused("InvalidRequest", 400, s3.upload_part, **name, UploadId=sealed["UploadId"], **sse(OTHER))
    refused("InvalidRequest", 400, s3.upload_part, **name, UploadId=plain["UploadId"], **sse())
    done = s3.upload_part(**name, UploadId=sealed["UploadId"], **sse())
    assert done["SSECustomerKeyMD5"] == md5(KEY)


COPIES = [({}, sse()), (sse(), {}), (sse(), sse(OTHER)), (sse(), sse()), (sse(), {"ServerSideEncryption": "aws:kms"})]


@pytest.mark.parametrize(("source", "target"), COPIES, ids=["in", "out", "rekey", "same", "kms"])
@pytest.mark.parametrize("size", [0, 100, 300_000])
def test_copies(s3, bucket, source, target, size):
    data = os.urandom(size)
    put = s3.put_object(Bucket=bucket, Key="a", Body=data, Metadata={"m": "1"}, **source)
    from_key = source_sse() if source else {}
    copied = s3.copy_object(Bucket=bucket, Key="b", CopySource=f"{bucket}/a", **from_key, **target)
    if "SSECustomerKey" in target:
        assert copied["SSECustomerKeyMD5"] == md5(target["SSECustomerKey"])
    read = target if "SSECustomerKey" in target else {}
    got = s3.get_object(Bucket=bucket, Key="b", ChecksumMode="ENABLED", **read)
    assert got["Body"].read() == data
    assert got["Metadata"] == {"m": "1"}
    assert got["ChecksumCRC32"] == put["ChecksumCRC32"]


def test_a_copy_of_parts_and_parts_of_a_copy(s3, bucket):
    pieces = [os.urandom(PART), os.urandom(PART), b"end"]
    data = b"".join(pieces)
    upload(s3, bucket, pieces, **sse())
    s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k", **source_sse(), **sse(OTHER))
    assert s3.get_object(Bucket=bucket, Key="c", **sse(OTHER))["Body"].read() == data
    name = {"Bucket": bucket, "Key": "d"}
    name["UploadId"] = s3.create_multipart_upload(**name, **sse(OTHER))["UploadId"]
    copied = s3.upload_part_copy(
        **name,
        PartNumber=1,
        CopySource=f"{bucket}/k",
        CopySourceRange=f"bytes=10-{PART + 20}",
        **source_sse(),
        **sse(OTHER),
    )
    parts = [{"PartNumber": 1, "ETag": copied["CopyPartResult"]["ETag"]}]
    s3.complete_multipart_upload(**name, MultipartUpload={"Parts": parts})
    assert s3.get_object(Bucket=bucket, Key="d", **sse(OTHER))["Body"].read() == data[10 : PART + 21]


def test_copies_need_the_source_s_key(server, s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", **sse())
    s3.put_object(Bucket=bucket, Key="plain", Body=b"x")
    copy = {"Bucket": bucket, "Key": "b", "CopySource": f"{bucket}/a"}
    refused("InvalidRequest", 400, s3.copy_object, **copy)
    refused("AccessDenied", 403, s3.copy_object, **copy, **source_sse(OTHER))
    refused("InvalidRequest", 400, s3.copy_object, **{**copy, "CopySource": f"{bucket}/plain"}, **source_sse())
    assert server.keys(bucket) == ["a", "plain"]


def test_a_copy_to_itself_may_change_the_key(s3, bucket):
    s3.put_object(Bucket=bucket, Key="a", Body=b"x", **sse())
    s3.copy_object(Bucket=bucket, Key="a", CopySource=f"{bucket}/a", **source_sse(), **sse(OTHER))
    assert s3.get_object(Bucket=bucket, Key="a", **sse(OTHER))["Body"].read() == b"x"


def given(key):
    """The headers' own values: boto3 does not make them for this operation."""
    return {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": b64(key), "SSECustomerKeyMD5": md5(key)}


def test_attributes_and_renames_need_the_key_or_keep_it(s3, bucket, refused):
    s3.put_object(Bucket=bucket, Key="a", Body=b"hello", **sse())
    wanted = {"Bucket": bucket, "Key": "a", "ObjectAttributes": ["ETag", "ObjectSize"]}
    assert s3.get_object_attributes(**wanted, **given(KEY))["ObjectSize"] == 5
    refused("InvalidRequest", 400, s3.get_object_attributes, **wanted)
    refused("AccessDenied", 403, s3.get_object_attributes, **wanted, **given(OTHER))
    s3.rename_object(Bucket=bucket, Key="b", RenameSource="a")
    assert s3.get_object(Bucket=bucket, Key="b", **sse())["Body"].read() == b"hello"
    refused("InvalidRequest", 400, s3.get_object, Bucket=bucket, Key="b")


@pytest.mark.parametrize("size", [20, 200_000])
def test_forms(server, s3, bucket, size):
    data = os.urandom(size)
    headers = {
        "x-amz-server-side-encryption-customer-algorithm": "AES256",
        "x-amz-server-side-encryption-customer-key": b64(KEY),
        "x-amz-server-side-encryption-customer-key-MD5": md5(KEY),
    }
    signer = server.client(signature_version="s3v4")
    conditions = [{name: value} for name, value in headers.items()]
    form = signer.generate_presigned_post(bucket, "f", Fields=dict(headers), Conditions=conditions)
    signer.close()
    fields = [*form["fields"].items(), ("file", ("f.bin", data))]
    body, content_type = urllib3.encode_multipart_formdata(fields)
    answer = urllib3.request("POST", form["url"], body=body, headers={"Content-Type": content_type})
    assert answer.status == 204
    assert answer.headers["x-amz-server-side-encryption-customer-key-MD5"] == md5(KEY)
    assert s3.get_object(Bucket=bucket, Key="f", **sse())["Body"].read() == data


def test_equal_parts_are_unlike_in_the_store(server, s3, bucket):
    piece = b"a" * PART
    upload(s3, bucket, [piece, piece], **sse())

    async def look():
        with server.store.view() as view:
            record = view.current(view.bucket(bucket).uid, b"k").record
        return b"".join([piece async for piece in server.store.read(record.content)])

    stored = server.call(look)
    assert len(stored) == 2 * PART
    first, second = stored[:PART], stored[PART:]
    assert first[:64] not in second
    assert sum(one == other for one, other in zip(first, second, strict=True)) < PART // 100
