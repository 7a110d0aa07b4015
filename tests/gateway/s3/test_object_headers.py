"""What is stored by headers, and which headers are refused."""

from __future__ import annotations

from contextlib import suppress

import botocore.session
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import (
    InvalidArgument,
    InvalidDigest,
    InvalidRedirectLocation,
    InvalidRequest,
    InvalidStorageClass,
    MetadataTooLarge,
    S3Error,
    S3NotImplemented,
)
from gateway.s3.headers import fold_headers, merge_query_headers, refuse_unknown
from gateway.s3.object_headers import (
    NO_CHECKSUM,
    ChecksumClaim,
    parse_checksum,
    parse_checksum_mode,
    parse_content_md5,
    parse_metadata,
    parse_storage_class,
    parse_system_headers,
    parse_upload_checksum,
)
from gateway.s3.routing import Operation
from gateway.s3.uri import parse_query

CRC = "AAAAAA=="


def test_folding():
    raw = [(b"Host", b" h "), (b"X-Amz-Meta-A", b"1"), (b"x-amz-meta-a", b"2"), (b"X", "ä".encode()), (b"Y", b"\xe4")]
    folded = fold_headers(raw)
    assert folded == {"host": "h", "x-amz-meta-a": "1,2", "x": "ä", "y": "\udce4"}


def test_headers_moved_into_the_query_come_back_but_never_over_a_real_one():
    query = parse_query("x-amz-meta-a=1&X-Amz-Acl=private&X-Amz-Signature=s&X-Amz-Date=d&prefix=p&x-amz-meta-b=q")
    merged = merge_query_headers({"x-amz-meta-b": "h"}, query)
    assert merged == {"x-amz-meta-a": "1", "x-amz-acl": "private", "x-amz-meta-b": "h"}
    # AWS ignores what a presigner without a body said of the body.
    assert merge_query_headers({}, parse_query(f"x-amz-checksum-crc32={CRC}&x-amz-sdk-checksum-algorithm=CRC32")) == {}
    assert merge_query_headers({}, parse_query("x-amz-checksum-mode=ENABLED")) == {"x-amz-checksum-mode": "ENABLED"}
    headers = {"host": "h"}
    assert merge_query_headers(headers, parse_query("prefix=x")) is headers


def test_system_headers():
    headers = {
        "content-type": "text/plain", "cache-control": "no-cache", "content-encoding": "aws-chunked, gzip",
        "expires": "never", "content-language": "de", "content-disposition": "x", "user-agent": "y",
        "x-amz-website-redirect-location": "/a",
    }  # fmt: skip
    kept = parse_system_headers(headers)
    assert kept == {
        **{name: value for name, value in headers.items() if name != "user-agent"},
        "content-encoding": "gzip",
    }
    assert parse_system_headers({"content-encoding": "aws-chunked"}) == {}
    assert parse_system_headers({"content-encoding": "gzip,AWS-Chunked"}) == {"content-encoding": "gzip"}
    assert parse_system_headers({"content-encoding": "br, gzip"}) == {"content-encoding": "br, gzip"}
    assert parse_system_headers({}) == {}
    with pytest.raises(InvalidRedirectLocation):
        parse_system_headers({"x-amz-website-redirect-location": "ftp://x"})


def test_metadata():
    headers = fold_headers(
        [(b"X-Amz-Meta-Name", "käse".encode()), (b"x-amz-meta-latin", b"k\xe4se"), (b"x-amz-meta-", b"")]
    )
    assert parse_metadata(headers) == {"name": "käse", "latin": "käse", "": ""}


def test_metadata_is_limited_to_two_kilobytes_of_names_and_values():
    assert parse_metadata({"x-amz-meta-abc": "x" * 2045})
    for value in ("x" * 2046, "ä" * 1023):
        with pytest.raises(MetadataTooLarge) as caught:
            parse_metadata({"x-amz-meta-abc": value})
        assert caught.value.extra == {"Size": "2049", "MaxSizeAllowed": "2048"}


def test_content_md5():
    assert parse_content_md5({}) is None
    assert parse_content_md5({"content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}).hex() == "d41d8cd98f00b204e9800998ecf8427e"
    for text in ("", "x", "1B2M2Y8AsgTpgAmY7PhCfg", "d41d8cd98f00b204e9800998ecf8427e", "AAAA"):
        with pytest.raises(InvalidDigest):
            parse_content_md5({"content-md5": text})


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({}, NO_CHECKSUM),
        ({"x-amz-checksum-crc32": CRC}, ChecksumClaim("CRC32", CRC)),
        ({"x-amz-checksum-crc32": CRC, "x-amz-sdk-checksum-algorithm": "CRC32"}, ChecksumClaim("CRC32", CRC)),
        ({"x-amz-trailer": "X-Amz-Checksum-CRC32"}, ChecksumClaim("CRC32", "", True)),
        (
            {"x-amz-trailer": "x-amz-checksum-sha256", "x-amz-sdk-checksum-algorithm": "sha256"},
            ChecksumClaim("SHA256", "", True),
        ),
        ({"x-amz-sdk-checksum-algorithm": "CRC32", "content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}, NO_CHECKSUM),
    ],
)
def test_checksums(headers, expected):
    assert parse_checksum(headers) == expected


@pytest.mark.parametrize(
    "headers",
    [
        {"x-amz-checksum-crc32": "x"},
        {"x-amz-checksum-crc32": ""},
        {"x-amz-checksum-crc32": "AAAAAAA="},
        {"x-amz-checksum-sha256": CRC},
        {"x-amz-checksum-crc32": CRC, "x-amz-checksum-crc32c": CRC},
        {"x-amz-checksum-crc32": CRC, "x-amz-trailer": "x-amz-checksum-crc32c"},
        {"x-amz-checksum-crc32": CRC, "x-amz-sdk-checksum-algorithm": "SHA1"},
        {"x-amz-trailer": "x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm": "SHA1"},
        {"x-amz-sdk-checksum-algorithm": "CRC32"},
        {"x-amz-sdk-checksum-algorithm": "NONE", "x-amz-checksum-crc32": CRC},
    ],
)
def test_contradicting_checksums(headers):
    with pytest.raises(InvalidRequest):
        parse_checksum(headers)


def test_checksums_of_completed_uploads():
    claim = parse_checksum({"x-amz-checksum-crc32": CRC + "-3", "x-amz-checksum-type": "COMPOSITE"}, with_type=True)
    assert claim == ChecksumClaim("CRC32", CRC + "-3", False, "COMPOSITE")
    assert parse_checksum({"x-amz-checksum-type": "FULL_OBJECT"}, with_type=True) == ChecksumClaim(type="FULL_OBJECT")
    for headers in ({"x-amz-checksum-crc32": CRC + "-x"}, {"x-amz-checksum-type": "HALF"}):
        with pytest.raises(InvalidRequest):
            parse_checksum(headers, with_type=True)


def test_checksums_of_new_uploads():
    assert parse_upload_checksum({}) == NO_CHECKSUM
    headers = {"x-amz-checksum-algorithm": "crc32", "x-amz-checksum-type": "FULL_OBJECT"}
    assert parse_upload_checksum(headers) == ChecksumClaim("CRC32", "", False, "FULL_OBJECT")
    for name, kind in (("SHA256", "FULL_OBJECT"), ("CRC64NVME", "COMPOSITE"), ("", "COMPOSITE"), ("X", "")):
        with pytest.raises(InvalidRequest):
            parse_upload_checksum({"x-amz-checksum-algorithm": name, "x-amz-checksum-type": kind})


def test_checksum_mode():
    assert not parse_checksum_mode({})
    assert parse_checksum_mode({"x-amz-checksum-mode": "enabled"})
    with pytest.raises(InvalidArgument):
        parse_checksum_mode({"x-amz-checksum-mode": "maybe"})


# --- promise 7: a header is evaluated or refused


@pytest.mark.parametrize(
    ("operation", "headers"),
    [
        (Operation.PutObject, {"x-amz-never-heard-of": "1"}),
        (Operation.PutObject, {"x-amz-copy-source": "/b/k"}),
        (Operation.PutObject, {"x-amz-tagging-directive": "COPY"}),
        (Operation.CopyObject, {"x-amz-write-offset-bytes": "1"}),
        (Operation.CompleteMultipartUpload, {"x-amz-tagging": "a=b"}),
        (Operation.UploadPart, {"x-amz-storage-class": "STANDARD"}),
        (Operation.GetObject, {"x-amz-meta-a": "1"}),
        (Operation.HeadObject, {"x-amz-checksum-crc32": CRC}),
        (Operation.DeleteObject, {"x-amz-mfa": "1 2"}),
    ],
)
def test_what_skerry_does_not_do_is_refused_by_name(operation, headers):
    with pytest.raises(S3NotImplemented) as caught:
        refuse_unknown(operation, headers)
    assert caught.value.extra["Header"] in headers


@pytest.mark.parametrize(
    ("operation", "headers"),
    [
        (Operation.PutObject, {"x-amz-acl": "private", "x-amz-storage-class": "STANDARD", "x-amz-meta-a": "b"}),
        (
            Operation.PutObject,
            {"x-amz-checksum-crc64nvme": "x", "x-amz-trailer": "t", "x-amz-decoded-content-length": "1"},
        ),
        (Operation.GetObject, {"x-amz-date": "d", "x-amz-content-sha256": "x", "x-amz-user-agent": "u"}),
        (Operation.GetObject, {"x-amz-checksum-mode": "ENABLED", "x-amz-expected-bucket-owner": "1"}),
        (Operation.ListBuckets, {"x-amz-security-token": "t", "user-agent": "x", "x-forwarded-for": "y"}),
    ],
)
def test_what_is_harmless_or_done_passes(operation, headers):
    refuse_unknown(operation, headers)


def test_every_header_of_the_model_is_known_or_refused():
    model = botocore.session.get_session().get_service_model("s3")
    refused = set()
    for operation in (
        Operation.PutObject,
        Operation.GetObject,
        Operation.CopyObject,
        Operation.CompleteMultipartUpload,
    ):
        members = model.operation_model(operation.value).input_shape.members.values()
        names = [m.serialization["name"].lower() for m in members if m.serialization.get("location") == "header"]
        for name in names:
            try:
                refuse_unknown(operation, {name: "some value"})
            except S3NotImplemented:
                refused.add(name)
    assert refused >= {
        "x-amz-object-annotation-directive",
        "x-amz-object-lock-event-hold",
        "x-amz-object-lock-event-hold-duration-days",
        "x-amz-object-lock-event-hold-duration-years",
    }
    assert "if-none-match" not in refused  # evaluated, not an x-amz header


NAMES = st.sampled_from([
    "content-md5", "x-amz-checksum-crc32", "x-amz-checksum-type", "x-amz-sdk-checksum-algorithm", "x-amz-trailer",
    "x-amz-checksum-algorithm", "x-amz-checksum-mode", "content-encoding", "x-amz-meta-a",
    "x-amz-website-redirect-location",
])  # fmt: skip


@given(headers=st.dictionaries(NAMES, st.text(max_size=12) | st.just(CRC) | st.just("CRC32")))
def test_any_headers_are_parsed_or_a_typed_error(headers):
    for parse in (
        parse_checksum,
        parse_upload_checksum,
        parse_checksum_mode,
        parse_content_md5,
        parse_system_headers,
        parse_metadata,
    ):
        with suppress(S3Error):
            parse(headers)
    with suppress(S3Error):
        parse_checksum(headers, with_type=True)


@given(raw=st.lists(st.tuples(st.binary(min_size=1, max_size=8), st.binary(max_size=12)), max_size=4))
def test_any_raw_headers_fold(raw):
    with suppress(S3Error):
        parse_metadata(fold_headers([(b"x-amz-meta-" + name, value) for name, value in raw]))


@pytest.mark.parametrize(
    "name", ["STANDARD", "REDUCED_REDUNDANCY", "STANDARD_IA", "ONEZONE_IA", "INTELLIGENT_TIERING", "GLACIER_IR"]
)
def test_storage_classes(name):
    assert parse_storage_class({"x-amz-storage-class": name}) == name


@pytest.mark.parametrize("name", ["", "standard", "EXPRESS_ONEZONE", "OUTPOSTS", "COLD"])
def test_storage_classes_that_are_none(name):
    with pytest.raises(InvalidStorageClass):
        parse_storage_class({"x-amz-storage-class": name})
