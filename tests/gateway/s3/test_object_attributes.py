"""GetObjectAttributes on the wire."""

import pytest

from gateway.s3.errors import InvalidArgument, InvalidRequest
from gateway.s3.object_attributes import ATTRIBUTES, AttributesFields, parse_attributes_request, render_attributes
from gateway.store.object_format import PartEntry

HEADER = "x-amz-object-attributes"


def fields(**changes):
    plain = AttributesFields("e-2", 7, "STANDARD", {"SHA256": "c-2"}, "COMPOSITE", 2, [PartEntry(1, 5, "p")], True)
    return plain._replace(**changes)


def test_what_is_asked_for():
    asked = parse_attributes_request(
        {"versionId": "v"}, {HEADER: " ETag,ObjectParts ", "x-amz-max-parts": "5000", "x-amz-part-number-marker": "3"}
    )
    assert asked == ("v", frozenset({"ETag", "ObjectParts"}), 1000, 3)
    assert parse_attributes_request({}, {HEADER: ",".join(ATTRIBUTES)}).wanted == set(ATTRIBUTES)


@pytest.mark.parametrize(
    "headers",
    [
        {HEADER: "ETag,Colour"},
        {HEADER: "etag"},
        {HEADER: "ETag", "x-amz-part-number-marker": "1.5"},
    ],
)
def test_what_cannot_be_asked_for(headers):
    with pytest.raises(InvalidArgument):
        parse_attributes_request({}, headers)


@pytest.mark.parametrize("headers", [{}, {HEADER: ""}, {HEADER: " , "}])
def test_something_must_be_asked_for(headers):
    with pytest.raises(InvalidRequest):
        parse_attributes_request({}, headers)


def test_the_document():
    asked = parse_attributes_request({}, {HEADER: ",".join(ATTRIBUTES), "x-amz-max-parts": "1"})
    body = render_attributes(asked, fields()).decode()
    assert "<ETag>e-2</ETag>" in body
    assert "<Checksum><ChecksumSHA256>c</ChecksumSHA256><ChecksumType>COMPOSITE</ChecksumType></Checksum>" in body
    assert "<IsTruncated>true</IsTruncated><MaxParts>1</MaxParts><NextPartNumberMarker>1</NextPartNumberMarker>" in body
    assert "<Part><ChecksumSHA256>p</ChecksumSHA256><PartNumber>1</PartNumber><Size>5</Size></Part>" in body
    assert "<PartsCount>2</PartsCount>" in body
    assert "<StorageClass>STANDARD</StorageClass><ObjectSize>7</ObjectSize>" in body


def test_what_there_is_not_is_left_out():
    asked = parse_attributes_request({}, {HEADER: "Checksum,ObjectParts"})
    body = render_attributes(asked, fields(checksums={}, part_count=0, parts=[])).decode()
    assert body.endswith('doc/2006-03-01/"></GetObjectAttributesResponse>')
    empty = render_attributes(asked._replace(after=9), fields(parts=[], truncated=False)).decode()
    assert "<NextPartNumberMarker>9</NextPartNumberMarker><PartNumberMarker>9</PartNumberMarker>" in empty
