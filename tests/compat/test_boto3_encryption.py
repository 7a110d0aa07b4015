"""PutBucketEncryption and what it does to writes, by boto3."""

import os

import pytest

SSE_S3 = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}


def rule(**by_default):
    return {"Rules": [{"ApplyServerSideEncryptionByDefault": by_default}]}


def put(s3, bucket, configuration):
    s3.put_bucket_encryption(Bucket=bucket, ServerSideEncryptionConfiguration=configuration)


def get(s3, bucket):
    return s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]["Rules"]


def test_a_bucket_s_default_is_sse_s3(s3, bucket, refused):
    assert get(s3, bucket) == [SSE_S3]
    refused("NoSuchBucket", 404, s3.get_bucket_encryption, Bucket="absent-bucket")


def test_put_get_delete(s3, bucket):
    put(s3, bucket, rule(SSEAlgorithm="aws:kms", KMSMasterKeyID="my-key"))
    assert get(s3, bucket) == [
        {
            "ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": "my-key"},
            "BucketKeyEnabled": False,
        }
    ]
    s3.delete_bucket_encryption(Bucket=bucket)
    assert get(s3, bucket) == [SSE_S3]
    s3.delete_bucket_encryption(Bucket=bucket)


def test_writes_without_headers_get_it(s3, bucket):
    data = os.urandom(100_000)
    configuration = rule(SSEAlgorithm="aws:kms", KMSMasterKeyID="my-key")
    configuration["Rules"][0]["BucketKeyEnabled"] = True
    put(s3, bucket, configuration)
    for response in (
        s3.put_object(Bucket=bucket, Key="k", Body=data),
        s3.copy_object(Bucket=bucket, Key="c", CopySource=f"{bucket}/k"),
        s3.create_multipart_upload(Bucket=bucket, Key="m"),
        s3.head_object(Bucket=bucket, Key="k"),
    ):
        assert response["SSEKMSKeyId"] == "my-key"
        assert (response["ServerSideEncryption"], response["BucketKeyEnabled"]) == ("aws:kms", True)
    assert s3.get_object(Bucket=bucket, Key="c")["Body"].read() == data
    asked = s3.put_object(Bucket=bucket, Key="k", Body=data, ServerSideEncryption="AES256")
    assert (asked["ServerSideEncryption"], asked.get("SSEKMSKeyId")) == ("AES256", None)
    other = s3.put_object(Bucket=bucket, Key="k", Body=data, ServerSideEncryption="aws:kms", SSEKMSKeyId="other")
    assert other["SSEKMSKeyId"] == "other"


def test_blocked_customer_keys(s3, bucket, refused):
    key = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": bytes(32)}
    put(s3, bucket, {"Rules": [{"BlockedEncryptionTypes": {"EncryptionType": ["SSE-C"]}}]})
    refused("AccessDenied", 403, s3.put_object, Bucket=bucket, Key="k", Body=b"x", **key)
    assert get(s3, bucket)[0]["BlockedEncryptionTypes"] == {"EncryptionType": ["SSE-C"]}
    put(s3, bucket, {"Rules": [{"BlockedEncryptionTypes": {"EncryptionType": ["NONE"]}}]})
    s3.put_object(Bucket=bucket, Key="k", Body=b"x", **key)


@pytest.mark.parametrize(
    ("configuration", "code"),
    [
        ({"Rules": []}, "MalformedXML"),
        ({"Rules": [{}]}, "MalformedXML"),
        ({"Rules": [SSE_S3, SSE_S3]}, "MalformedXML"),
        (rule(SSEAlgorithm="DES"), "MalformedXML"),
        (rule(SSEAlgorithm="AES256", KMSMasterKeyID="k"), "InvalidArgument"),
        (rule(SSEAlgorithm="aws:kms", KMSMasterKeyID="no key"), "KMS.NotFoundException"),
    ],
    ids=str,
)
def test_wrong_documents(s3, bucket, refused, configuration, code):
    refused(code, 400, put, s3=s3, bucket=bucket, configuration=configuration)
    assert get(s3, bucket) == [SSE_S3]


def test_only_the_owner(other, bucket, refused):
    refused("AccessDenied", 403, other.get_bucket_encryption, Bucket=bucket)
    refused("AccessDenied", 403, put, s3=other, bucket=bucket, configuration=rule(SSEAlgorithm="AES256"))
