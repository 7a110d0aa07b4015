"""Parameters of each operation."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3 import list_requests, requests
from gateway.s3.errors import (
    EntityTooLarge,
    InvalidArgument,
    InvalidRequest,
    KeyTooLongError,
    MissingContentLength,
    S3Error,
)
from gateway.s3.listing import encode_token


def test_get():
    query = {"versionId": "null", "response-content-type": "text/x", "response-expires": "soon"}
    asked = requests.parse_get(query, {"range": "bytes=0-1", "if-match": '"e"', "x-amz-checksum-mode": "ENABLED"})
    assert (asked.version_id, asked.part_number, asked.range, asked.checksum_mode) == ("null", None, "bytes=0-1", True)
    assert asked.overrides == {"Content-Type": "text/x", "Expires": "soon"}
    assert asked.conditions.if_match == '"e"'
    assert requests.parse_get({"partNumber": "10000"}, {}).part_number == 10000


@pytest.mark.parametrize(
    ("query", "headers", "error"),
    [
        ({"versionId": ""}, {}, InvalidArgument),
        ({"partNumber": "0"}, {}, InvalidArgument),
        ({"partNumber": "10001"}, {}, InvalidArgument),
        ({"partNumber": "100000001"}, {}, InvalidArgument),
        ({"partNumber": "-1"}, {}, InvalidArgument),
        ({"partNumber": "x"}, {}, InvalidArgument),
        ({"partNumber": "٣"}, {}, InvalidArgument),
        ({"partNumber": "1"}, {"range": "bytes=0-1"}, InvalidRequest),
        ({"response-content-type": "a\r\nSet-Cookie: x"}, {}, InvalidArgument),
    ],
)
def test_gets_that_are_refused(query, headers, error):
    with pytest.raises(error):
        requests.parse_get(query, headers)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        ("/b/k", ("b", "k", None)),
        ("b/k", ("b", "k", None)),
        ("b/a/b//c", ("b", "a/b//c", None)),
        ("/b/%C3%A4%20%2B+", ("b", "ä ++", None)),
        ("%2Fb%2Fk", ("b", "k", None)),
        ("b/k%3Fx?versionId=abc", ("b", "k?x", "abc")),
        ("b/k?versionId=null", ("b", "k", "null")),
        ("b//k", ("b", "/k", None)),
    ],
)
def test_copy_sources(raw, expected):
    source = requests.parse_copy_source({"x-amz-copy-source": raw, "x-amz-copy-source-if-match": "e"})
    assert (source.bucket, source.key, source.version_id) == expected
    assert source.conditions.if_match == "e"


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        ("", InvalidArgument),
        ("b", InvalidArgument),
        ("/b/", InvalidArgument),
        ("//k", InvalidArgument),
        ("b/k?versionId=", InvalidArgument),
        ("b/k?x=1", InvalidArgument),
        ("b/%ff", InvalidArgument),
        ("b/%", InvalidArgument),
        ("b/" + "x" * 1025, KeyTooLongError),
    ],
)
def test_copy_sources_that_are_none(raw, error):
    with pytest.raises(error):
        requests.parse_copy_source({"x-amz-copy-source": raw})


def test_copies():
    headers = {"x-amz-copy-source": "b/k", "x-amz-metadata-directive": "REPLACE", "x-amz-meta-a": "1"}
    asked = requests.parse_copy(headers)
    assert asked.replace
    assert asked.stored.metadata == {"a": "1"}
    assert not asked.storage_class_given
    with pytest.raises(InvalidArgument):
        requests.parse_copy({**headers, "x-amz-metadata-directive": "replace"})


def test_content_length():
    assert requests.parse_content_length({"content-length": "5"}) == 5
    assert requests.parse_content_length({"content-length": "90", "x-amz-decoded-content-length": "5"}) == 5
    with pytest.raises(MissingContentLength):
        requests.parse_content_length({})
    with pytest.raises(EntityTooLarge):
        requests.parse_content_length({"content-length": str(requests.PUT_BYTES_MAX + 1)})
    for text in ("", "-1", "1.0", "9" * 40):
        with pytest.raises(InvalidArgument):
            requests.parse_content_length({"content-length": text})


def test_lists():
    asked = list_requests.parse_list_v1(
        {"prefix": "ä", "delimiter": "/", "marker": "m", "max-keys": "5000", "encoding-type": "url"}
    )
    assert asked.page == ("ä".encode(), b"/", b"m", 1000, False)
    assert (asked.encoding, asked.marker) == (True, "m")
    assert list_requests.parse_list_v1({}).page.keys_max == 1000
    assert list_requests.parse_list_v1({"max-keys": "0"}).page.keys_max == 0
    token = encode_token(b"a/", is_prefix=True)
    asked = list_requests.parse_list_v2(
        {"list-type": "2", "continuation-token": token, "start-after": "z", "fetch-owner": "true"}
    )
    assert (asked.page.after, asked.page.after_prefix, asked.fetch_owner) == (b"a/", True, True)
    assert (asked.token, asked.start_after) == (token, "z")
    versions = list_requests.parse_list_versions({"key-marker": "k", "version-id-marker": "v"})
    assert (versions.page.after, versions.version_id_marker) == (b"k", "v")
    assert list_requests.parse_list_versions({"version-id-marker": "", "key-marker": ""}).version_id_marker is None
    parts = list_requests.parse_list_parts({"uploadId": "u", "part-number-marker": "3", "max-parts": "2"})
    assert (parts.upload_id, parts.after, parts.parts_max) == ("u", 3, 2)
    uploads = list_requests.parse_list_uploads({"upload-id-marker": "u"})
    assert uploads.upload_id_marker == ""  # ignored without a key marker, as documented
    buckets = list_requests.parse_list_buckets({"max-buckets": "7", "prefix": "a"})
    assert buckets == ("a", "", 7)


@pytest.mark.parametrize(
    ("parse", "query"),
    [
        (list_requests.parse_list_v1, {"max-keys": "-1"}),
        (list_requests.parse_list_v1, {"max-keys": "x"}),
        (list_requests.parse_list_v1, {"max-keys": "99999999999"}),
        (list_requests.parse_list_v1, {"encoding-type": "base64"}),
        (list_requests.parse_list_v2, {"continuation-token": ""}),
        (list_requests.parse_list_v2, {"continuation-token": "x"}),
        (list_requests.parse_list_versions, {"version-id-marker": "v"}),
        (list_requests.parse_list_versions, {"key-marker": "k", "version-id-marker": ""}),
        (list_requests.parse_list_parts, {"uploadId": ""}),
        (list_requests.parse_list_parts, {"uploadId": "u", "part-number-marker": "-1"}),
        (list_requests.parse_list_uploads, {"max-uploads": "-1"}),
        (list_requests.parse_list_buckets, {"max-buckets": "0"}),
        (list_requests.parse_list_buckets, {"continuation-token": "x"}),
        (requests.parse_abort, {}),
    ],
)
def test_parameters_that_are_refused(parse, query):
    with pytest.raises(InvalidArgument) as caught:
        parse(query)
    assert caught.value.extra["ArgumentName"]


def test_uploads():
    asked = requests.parse_complete({"uploadId": "u"}, {"if-none-match": "*", "x-amz-mp-object-size": "10"})
    assert (asked.upload_id, asked.object_bytes, asked.conditions.if_none_match) == ("u", 10, "*")
    assert requests.parse_complete({"uploadId": "u"}, {}).object_bytes is None
    part = requests.parse_upload_part({"uploadId": "u", "partNumber": "3"}, {})
    assert (part.upload_id, part.number) == ("u", 3)
    copy = requests.parse_upload_part_copy(
        {"uploadId": "u", "partNumber": "3"}, {"x-amz-copy-source": "b/k", "x-amz-copy-source-range": "bytes=0-1"}
    )
    assert copy.range == "bytes=0-1"
    assert requests.parse_create_upload({"x-amz-checksum-algorithm": "SHA1"}).checksum.algorithm == "SHA1"
    deleted = requests.parse_delete({"versionId": "v"}, {"if-match": "e"})
    assert (deleted.version_id, deleted.conditions.if_match) == ("v", "e")
    assert requests.parse_put({"content-type": "a"}).stored.headers == {"content-type": "a"}


TEXT = st.text(st.characters(blacklist_categories=("Cs",)), max_size=12) | st.sampled_from(["1", "-1", "url", "*"])
QUERY = st.dictionaries(st.sampled_from([
    "prefix", "delimiter", "marker", "max-keys", "max-parts", "max-uploads", "max-buckets", "encoding-type",
    "continuation-token", "start-after", "fetch-owner", "key-marker", "version-id-marker", "upload-id-marker",
    "uploadId",
    "partNumber", "part-number-marker", "versionId", "response-content-type",
]), TEXT, max_size=5)  # fmt: skip
HEADERS = st.dictionaries(st.sampled_from([
    "range", "if-match", "if-none-match", "if-modified-since", "if-unmodified-since", "x-amz-copy-source",
    "x-amz-copy-source-if-match", "x-amz-metadata-directive", "x-amz-mp-object-size", "content-length", "content-md5",
    "x-amz-if-match-size", "x-amz-if-match-last-modified-time", "x-amz-storage-class",
]), st.text(max_size=12), max_size=5)  # fmt: skip


@given(query=QUERY, headers=HEADERS)
def test_any_parameters_are_parsed_or_a_typed_error(query, headers):
    for parse in (
        list_requests.parse_list_v1, list_requests.parse_list_v2, list_requests.parse_list_versions,
        list_requests.parse_list_uploads,
        list_requests.parse_list_parts, list_requests.parse_list_buckets, requests.parse_abort,
    ):  # fmt: skip
        with suppress(S3Error):
            parse(query)
    for parse in (requests.parse_put, requests.parse_copy, requests.parse_create_upload, requests.parse_content_length):
        with suppress(S3Error):
            parse(headers)
    for parse in (
        requests.parse_get, requests.parse_delete, requests.parse_complete, requests.parse_upload_part,
        requests.parse_upload_part_copy,
    ):  # fmt: skip
        with suppress(S3Error):
            parse(query, headers)
