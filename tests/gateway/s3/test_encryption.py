"""Encryption by headers and documents: what is asked, what contradicts itself, what is kept and shown."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.encryption import (
    CUSTOMER,
    SealRecord,
    decode_seal,
    encode_seal,
    find_seal,
    kind_of,
    parse_sse,
    seal_headers,
)
from gateway.s3.encryption_documents import (
    BucketEncryption,
    decode_bucket_encryption,
    parse_bucket_encryption,
    render_bucket_encryption,
)
from gateway.s3.errors import InvalidArgument, MalformedXML, S3Error
from gateway.s3.headers import refuse_unknown
from gateway.s3.resource_arns import kms_key_arn, parse_key_name
from gateway.s3.routing import Operation
from gateway.s3.sse_customer import parse_customer_key

KEY = bytes(range(32))
MD5 = base64.b64encode(hashlib.md5(KEY).digest()).decode()
CUSTOMER_HEADERS = {
    "x-amz-server-side-encryption-customer-algorithm": "AES256",
    "x-amz-server-side-encryption-customer-key": base64.b64encode(KEY).decode(),
    "x-amz-server-side-encryption-customer-key-md5": MD5,
}


def test_a_customers_key():
    found = parse_customer_key(CUSTOMER_HEADERS)
    assert (found.key, found.md5) == (KEY, MD5)
    assert str(KEY) not in repr(found)
    moved = {name.replace("x-amz-", "x-amz-copy-source-"): value for name, value in CUSTOMER_HEADERS.items()}
    assert parse_customer_key(moved, source=True) == found
    assert parse_customer_key(moved) is None
    assert parse_customer_key({}) is None


@pytest.mark.parametrize("missing", CUSTOMER_HEADERS)
def test_all_three_headers_are_needed(missing):
    with pytest.raises(InvalidArgument):
        parse_customer_key({name: value for name, value in CUSTOMER_HEADERS.items() if name != missing})


@pytest.mark.parametrize("key", ["", "AAAA", "not base64!", base64.b64encode(bytes(31)).decode(), "é" * 44])
def test_keys_that_are_none(key):
    headers = {**CUSTOMER_HEADERS, "x-amz-server-side-encryption-customer-key": key}
    with pytest.raises(InvalidArgument) as caught:
        parse_customer_key(headers)
    assert not key or key not in str(caught.value.extra)


def test_nothing_asked():
    assert parse_sse({"host": "h", "x-amz-meta-x": "y"}) is None
    assert parse_sse({"x-amz-server-side-encryption-bucket-key-enabled": "TRUE"}).bucket_key is True


@given(st.dictionaries(st.sampled_from([*CUSTOMER_HEADERS, "x-amz-server-side-encryption-context"]), st.text()))
def test_any_headers_are_parsed_or_refused(headers):
    try:
        parse_sse({**headers, "x-amz-server-side-encryption": "aws:kms"})
    except S3Error as error:
        assert error.status == 400  # noqa: PT017 - either is fine


def test_a_seal_comes_back():
    seal = SealRecord(kind=kind_of("aws:kms"), salt=b"s", check=b"c", key_name="k", material="m", context="{}")
    assert decode_seal(encode_seal(seal)) == seal
    assert find_seal({}) is None
    assert find_seal({"sse": encode_seal(seal)}).method == "aws:kms"
    with pytest.raises(ValueError):
        decode_seal(encode_seal(SealRecord(version=2)))


def test_shown_headers():
    assert seal_headers(None, "") == {"x-amz-server-side-encryption": "AES256"}
    assert "AES256" in seal_headers(SealRecord(kind=kind_of(CUSTOMER)), MD5).values()
    assert seal_headers(SealRecord(kind=kind_of(CUSTOMER)), "") == {}
    kms = SealRecord(kind=kind_of("aws:kms"), key_name="k", context='{"a":"b"}', bucket_key=True)
    assert "x-amz-server-side-encryption-context" not in seal_headers(kms, "", "arn")
    assert seal_headers(kms, "", "arn", written=True) == {
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "arn",
        "x-amz-server-side-encryption-bucket-key-enabled": "true",
        "x-amz-server-side-encryption-context": base64.b64encode(b'{"a":"b"}').decode(),
    }


@pytest.mark.parametrize("operation", [Operation.GetObject, Operation.HeadObject, Operation.UploadPart])
def test_reads_and_parts_take_no_encryption(operation):
    with pytest.raises(InvalidArgument, match="not supported for this operation"):
        refuse_unknown(operation, {"x-amz-server-side-encryption": "AES256"})
    refuse_unknown(operation, CUSTOMER_HEADERS)


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("key", "key"),
        ("alias/key", "key"),
        ("arn:aws:kms:eu-west-1:1:key/key", "key"),
        ("arn:aws:kms:eu-west-1:1:alias/key", "key"),
        ("alias/aws/s3", "aws/s3"),
        ("arn:aws:kms:eu-west-1:1:user/key", None),
        ("arn:aws:s3:::key/key", None),
        ("a b", None),
        ("", None),
        ("alias/", None),
        ("k" * 257, None),
    ],
)
def test_names_of_keys(text, name):
    assert parse_key_name(text) == name
    if name:
        assert parse_key_name(kms_key_arn("us-east-1", name)) == name


@pytest.mark.parametrize(
    "encryption",
    [
        BucketEncryption(),
        BucketEncryption("aws:kms", "a&b", True),
        BucketEncryption("aws:kms:dsse"),
        BucketEncryption(blocked=("SSE-C",)),
    ],
)
def test_documents_come_back(encryption):
    assert decode_bucket_encryption(render_bucket_encryption(encryption)) == encryption


@pytest.mark.parametrize(
    "rule",
    [
        "",
        "<BucketKeyEnabled>perhaps</BucketKeyEnabled>",
        "<BucketKeyEnabled>true</BucketKeyEnabled><BucketKeyEnabled>true</BucketKeyEnabled>",
        "<BlockedEncryptionTypes></BlockedEncryptionTypes>",
        "<BlockedEncryptionTypes><EncryptionType>SSE-S3</EncryptionType></BlockedEncryptionTypes>",
        "<ApplyServerSideEncryptionByDefault></ApplyServerSideEncryptionByDefault>",
        "<Other/>",
    ],
)
def test_what_is_no_rule(rule):
    with pytest.raises(MalformedXML):
        parse_bucket_encryption(
            f"<ServerSideEncryptionConfiguration><Rule>{rule}</Rule></ServerSideEncryptionConfiguration>".encode()
        )
