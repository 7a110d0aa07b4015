"""Answers: what botocore's own parsers read out of them is what went in."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import unquote_plus
from xml.etree.ElementTree import fromstring

import botocore.parsers
import botocore.session
import pytest
from botocore.handlers import decode_list_object, decode_list_object_v2
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3 import rendering
from gateway.s3.delete_result import Deleted, render_delete_objects
from gateway.s3.errors import NoSuchKey
from gateway.s3.list_requests import parse_list_uploads, parse_list_v1, parse_list_v2, parse_list_versions
from gateway.s3.listing import Listing, VersionListing, decode_token
from gateway.s3.rendering import Owner, PartFields, UploadFields
from gateway.s3.times import format_iso

MODEL = botocore.session.get_session().get_service_model("s3")
AUTO = {"encoding_type_auto_set": True}
OWNER = Owner("c" * 64, "Zoë & <co>")


def owners(user: str) -> Owner:
    return OWNER if user == "u" else Owner("d" * 64, user)


def read(operation: str, body: bytes) -> dict[str, Any]:
    """The body as an SDK sees it."""
    parser = botocore.parsers.create_parser("rest-xml")
    model = MODEL.operation_model(operation)
    return parser.parse({"status_code": 200, "headers": {}, "body": body, "context": {}}, model.output_shape)


class Head(NamedTuple):
    size: int = 5
    modified_ms: int = 1_700_000_000_123
    etag: str = "abc-2"
    owner: str = "u"
    checksum: str = "CRC32:COMPOSITE"
    storage_class: str = "STANDARD"


class Id(NamedTuple):
    text: str


class Record(NamedTuple):
    marker: bool = False
    size: int = 5
    modified_ms: int = 1_700_000_000_000
    etag: str = "abc"
    owner: str = "u"
    checksums: dict[str, str] = {}
    checksum_type: str = ""
    storage_class: str = "STANDARD"


class Version(NamedTuple):
    key: bytes
    id: Id
    is_latest: bool
    record: Record


KEY_TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), min_size=1, max_size=20)
# Without encoding-type=url, what XML 1.0 cannot hold cannot be read back by a conforming parser.
XML_TEXT = st.text(
    st.characters(blacklist_categories=("Cs", "Cc"), blacklist_characters="\ufffe\uffff"), min_size=1, max_size=20
)


@given(keys=st.lists(KEY_TEXT, max_size=5, unique=True), prefixes=st.lists(KEY_TEXT, max_size=3), asked=KEY_TEXT)
def test_list_v1_with_url_encoding(keys, prefixes, asked):
    parameters = parse_list_v1({"encoding-type": "url", "prefix": asked, "delimiter": asked, "marker": asked})
    listing = Listing(
        [(key.encode(), Head()) for key in keys], [p.encode() for p in prefixes], bool(keys), b"last +", False
    )
    parsed = read("ListObjects", rendering.render_list_v1("b", parameters, listing, owners))
    decode_list_object(parsed, AUTO)
    assert [entry["Key"] for entry in parsed.get("Contents", [])] == keys
    assert [entry["Prefix"] for entry in parsed.get("CommonPrefixes", [])] == prefixes
    assert parsed["Delimiter"] == parsed["Marker"] == asked
    assert unquote_plus(parsed["Prefix"]) == asked  # encoded as documented, though botocore leaves it so
    assert parsed.get("NextMarker") == ("last +" if keys else None)
    assert (parsed["Name"], parsed["MaxKeys"], parsed["IsTruncated"]) == ("b", 1000, bool(keys))


@given(keys=st.lists(XML_TEXT, max_size=5, unique=True), asked=XML_TEXT)
def test_list_v2_without_encoding(keys, asked):
    parameters = parse_list_v2({"prefix": asked, "start-after": asked, "fetch-owner": "true", "max-keys": "7"})
    listing = Listing([(key.encode(), Head()) for key in keys], [b"p/"], True, b"p/", True)
    parsed = read("ListObjectsV2", rendering.render_list_v2("b", parameters, listing, owners))
    assert [entry["Key"] for entry in parsed.get("Contents", [])] == keys
    assert (parsed["Prefix"], parsed["StartAfter"], parsed["MaxKeys"]) == (asked, asked, 7)
    assert parsed["KeyCount"] == len(keys) + 1
    assert decode_token(parsed["NextContinuationToken"]) == (b"p/", True)
    for entry in parsed.get("Contents", []):
        assert entry["Owner"] == {"ID": OWNER.id, "DisplayName": OWNER.display_name}
        assert (entry["Size"], entry["ETag"], entry["StorageClass"]) == (5, '"abc-2"', "STANDARD")
        assert (entry["ChecksumAlgorithm"], entry["ChecksumType"]) == (["CRC32"], "COMPOSITE")
        assert entry["LastModified"].isoformat() == "2023-11-14T22:13:20+00:00"


def test_list_v2_shows_owners_only_if_asked_and_decodes():
    parameters = parse_list_v2({"encoding-type": "url"})
    listing = Listing([("ä b/+*~&".encode(), Head(checksum=""))], [], False, b"", False)
    body = rendering.render_list_v2("b", parameters, listing, owners)
    assert b"<Owner>" not in body
    assert b"Checksum" not in body
    assert b"<Key>%C3%A4+b/%2B*~%26</Key>" in body
    parsed = read("ListObjectsV2", body)
    decode_list_object_v2(parsed, AUTO)
    assert parsed["Contents"][0]["Key"] == "ä b/+*~&"
    assert "NextContinuationToken" not in parsed


def test_v1_gives_a_next_marker_only_with_a_delimiter():
    listing = Listing([(b"k", Head())], [], True, b"k", False)
    assert b"NextMarker" not in rendering.render_list_v1("b", parse_list_v1({}), listing, owners)
    assert b"<NextMarker>k<" in rendering.render_list_v1("b", parse_list_v1({"delimiter": "/"}), listing, owners)


def test_control_characters_become_references_as_aws_writes_them():
    listing = Listing([(b'a\x01\r\n"<', Head())], [], False, b"", False)
    body = rendering.render_list_v1("b", parse_list_v1({}), listing, owners)
    assert b"<Key>a&#x1;&#xD;\n&quot;&lt;</Key>" in body


def test_list_versions():
    versions = [
        Version(b"k&", Id("v2"), True, Record(marker=True)),
        Version(b"k&", Id("null"), False, Record(owner="x", checksums={"SHA1": "s"}, checksum_type="FULL_OBJECT")),
    ]
    parameters = parse_list_versions({"key-marker": "a", "version-id-marker": "v", "prefix": "", "delimiter": "/"})
    body = rendering.render_list_versions(
        "b", parameters, VersionListing(versions, [b"p/"], True, versions[1], b""), owners
    )
    parsed = read("ListObjectVersions", body)
    assert parsed["DeleteMarkers"][0] | {"LastModified": None} == {
        "Key": "k&", "VersionId": "v2", "IsLatest": True, "Owner": {"ID": OWNER.id, "DisplayName": OWNER.display_name},
        "LastModified": None,
    }  # fmt: skip
    version = parsed["Versions"][0]
    assert (version["VersionId"], version["IsLatest"], version["ChecksumAlgorithm"]) == ("null", False, ["SHA1"])
    assert (version["ChecksumType"], version["Owner"]["DisplayName"], version["Size"]) == ("FULL_OBJECT", "x", 5)
    assert (parsed["NextKeyMarker"], parsed["NextVersionIdMarker"]) == ("k&", "null")
    assert (parsed["KeyMarker"], parsed["VersionIdMarker"]) == ("a", "v")
    body = rendering.render_list_versions("b", parameters, VersionListing([], [b"p/"], True, None, b"p/"), owners)
    parsed = read("ListObjectVersions", body)
    assert (parsed["NextKeyMarker"], parsed.get("NextVersionIdMarker")) == ("p/", None)


def test_buckets():
    body = rendering.render_list_buckets(OWNER, [("a", 1_700_000_000_000, "eu"), ("b", 0, "")], prefix="p", token="t")
    parsed = read("ListBuckets", body)
    assert parsed["Owner"] == {"ID": OWNER.id, "DisplayName": OWNER.display_name}
    assert [bucket["Name"] for bucket in parsed["Buckets"]] == ["a", "b"]
    assert [bucket.get("BucketRegion") for bucket in parsed["Buckets"]] == ["eu", None]
    assert (parsed["ContinuationToken"], parsed["Prefix"]) == ("t", "p")


def test_small_documents():
    assert read("GetBucketVersioning", rendering.render_versioning("Enabled"))["Status"] == "Enabled"
    assert "Status" not in read("GetBucketVersioning", rendering.render_versioning(""))
    assert fromstring(rendering.render_location("us-east-1")).text is None
    assert fromstring(rendering.render_location("eu-west-1")).text == "eu-west-1"


def test_copies():
    body = rendering.render_copy("abc", 1_700_000_000_000, {"CRC32": "x"}, "FULL_OBJECT")
    result = fromstring(body)
    assert result.tag.endswith("CopyObjectResult")
    assert [child.tag.rpartition("}")[2] for child in result] == [
        "LastModified",
        "ETag",
        "ChecksumCRC32",
        "ChecksumType",
    ]
    part = fromstring(rendering.render_copy("abc", 0, {}, "", part=True))
    assert part.tag.endswith("CopyPartResult")
    assert part[1].text == '"abc"'


def test_uploads():
    created = read("CreateMultipartUpload", rendering.render_create_upload("b", b"k<", "id"))
    assert (created["Bucket"], created["Key"], created["UploadId"]) == ("b", "k<", "id")
    body = rendering.render_complete_upload("http://h/b/k?&", "b", b"k", "e-2", {"CRC32C": "x"}, "COMPOSITE")
    completed = read("CompleteMultipartUpload", body)
    assert (completed["Location"], completed["ETag"], completed["ChecksumCRC32C"]) == ("http://h/b/k?&", '"e-2"', "x")
    assert completed["ChecksumType"] == "COMPOSITE"


UPLOAD = UploadFields("k ä".encode(), "id", "u", 1_700_000_000_000, "STANDARD", "CRC32", "FULL_OBJECT")


@pytest.mark.parametrize("encoding", [True, False])
def test_parts(encoding):
    parts = [PartFields(1, 5, "e", 0, {"CRC32": "x"}), PartFields(3, 6, "f", 0, {})]
    body = rendering.render_list_parts(
        "b", UPLOAD, parts, owners, after=0, parts_max=2, truncated=True, encoding=encoding
    )
    parsed = read("ListParts", body)
    assert [part["PartNumber"] for part in parsed["Parts"]] == [1, 3]
    assert (parsed["Parts"][0]["ETag"], parsed["Parts"][0]["ChecksumCRC32"]) == ('"e"', "x")
    assert (parsed["PartNumberMarker"], parsed["NextPartNumberMarker"], parsed["IsTruncated"]) == (0, 3, True)
    assert parsed["Initiator"]["ID"] == parsed["Owner"]["ID"] == OWNER.id
    assert (parsed["ChecksumAlgorithm"], parsed["ChecksumType"]) == ("CRC32", "FULL_OBJECT")
    assert parsed["Key"] == ("k+%C3%A4" if encoding else "k ä")


def test_open_uploads():
    parameters = parse_list_uploads({"prefix": "k", "delimiter": "/", "max-uploads": "2", "key-marker": "a"})
    body = rendering.render_list_uploads(
        "b", parameters, [UPLOAD], [b"p/"], owners, truncated=True, next_key=b"k", next_id="id"
    )
    parsed = read("ListMultipartUploads", body)
    assert parsed["Uploads"][0]["Key"] == "k ä"
    assert parsed["Uploads"][0]["Initiated"].isoformat() == "2023-11-14T22:13:20+00:00"
    assert parsed["CommonPrefixes"] == [{"Prefix": "p/"}]
    assert (parsed["NextKeyMarker"], parsed["NextUploadIdMarker"], parsed["MaxUploads"]) == ("k", "id", 2)


def test_deleted_objects():
    deleted = [Deleted("a&"), Deleted("b", "v"), Deleted("c", None, "m")]
    failed = [("d", None, NoSuchKey("gone <here>"))]
    parsed = read("DeleteObjects", render_delete_objects(deleted, failed, quiet=False))
    assert parsed["Deleted"] == [
        {"Key": "a&"},
        {"Key": "b", "VersionId": "v"},
        {"Key": "c", "DeleteMarker": True, "DeleteMarkerVersionId": "m"},
    ]
    assert parsed["Errors"] == [{"Key": "d", "Code": "NoSuchKey", "Message": "gone <here>"}]
    quiet = read("DeleteObjects", render_delete_objects(deleted, failed, quiet=True))
    assert "Deleted" not in quiet
    assert len(quiet["Errors"]) == 1


def test_listings_agree_with_last_modified_to_the_second():
    assert format_iso(1_700_000_000_999).endswith("20.000Z")
