"""Request documents: what clients send, what is refused, and nothing but typed errors."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3 import bodies, documents
from gateway.s3.bodies import (
    CompletedPart,
    DeleteEntry,
    parse_complete_upload,
    parse_create_bucket,
    parse_delete_objects,
    parse_versioning,
)
from gateway.s3.conditions import NO_DELETE_CONDITIONS, DeleteConditions
from gateway.s3.documents import BODY_BYTES_MAX
from gateway.s3.errors import (
    InvalidArgument,
    InvalidPartOrder,
    InvalidRequest,
    InvalidTag,
    MalformedXML,
    S3Error,
    S3NotImplemented,
)

NS = ' xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
BOMB = b"""<?xml version="1.0"?><!DOCTYPE Delete [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;">]>
<Delete><Object><Key>&b;</Key></Object></Delete>"""
EXTERNAL = (
    b"""<!DOCTYPE Delete [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&x;</Key></Object></Delete>"""
)


def test_create_bucket():
    text = "<CreateBucketConfiguration{}><LocationConstraint>eu-west-1</LocationConstraint></CreateBucketConfiguration>"
    assert parse_create_bucket(text.format(NS).encode()) == ("eu-west-1", {})
    assert parse_create_bucket(text.format("").encode()) == ("eu-west-1", {})
    assert parse_create_bucket(b"") == parse_create_bucket(b" \n") == ("", {})
    assert parse_create_bucket(f"<CreateBucketConfiguration{NS}/>".encode()) == ("", {})
    tag = "<Tags><Tag><Key>k</Key><Value>v</Value></Tag></Tags>"
    tagged = f"<CreateBucketConfiguration{NS}>{tag}</CreateBucketConfiguration>"
    assert parse_create_bucket(tagged.encode()) == ("", {"k": "v"})
    with pytest.raises(InvalidTag):
        parse_create_bucket(tagged.replace(">k<", ">aws:k<").encode())
    with pytest.raises(S3NotImplemented):
        parse_create_bucket(
            b"<CreateBucketConfiguration><Location><Type>AvailabilityZone</Type></Location></CreateBucketConfiguration>"
        )


def test_versioning():
    text = "<VersioningConfiguration{}><Status>{}</Status></VersioningConfiguration>"
    assert parse_versioning(text.format(NS, "Enabled").encode()) == "Enabled"
    assert parse_versioning(text.format("", "Suspended").encode()) == "Suspended"
    for status in ("enabled", "", "Off"):
        with pytest.raises(MalformedXML):
            parse_versioning(text.format(NS, status).encode())
    with pytest.raises(S3Error, match="IllegalVersioning"):
        parse_versioning(b"<VersioningConfiguration/>")
    with pytest.raises(S3NotImplemented):
        parse_versioning(
            b"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Enabled</MfaDelete></VersioningConfiguration>"
        )


def test_delete_objects():
    body = f"""<?xml version="1.0" encoding="UTF-8"?>
    <Delete{NS}><Quiet>true</Quiet>
      <Object><Key>a&amp;b &lt;ä&gt; </Key></Object>
      <Object><Key>k</Key><VersionId>v</VersionId></Object>
      <Object><Key>c</Key><ETag>"e"</ETag><LastModifiedTime>2023-11-14T22:13:20Z</LastModifiedTime><Size>7</Size></Object>
      <Object><Key>d</Key><LastModifiedTime>Tue, 14 Nov 2023 22:13:20 GMT</LastModifiedTime></Object>
    </Delete>"""
    assert parse_delete_objects(body.encode()) == (
        [
            DeleteEntry("a&b <ä> ", None, NO_DELETE_CONDITIONS),
            DeleteEntry("k", "v", NO_DELETE_CONDITIONS),
            DeleteEntry("c", None, DeleteConditions('"e"', 1_700_000_000, 7)),
            DeleteEntry("d", None, DeleteConditions(None, 1_700_000_000, None)),
        ],
        True,
    )
    assert not parse_delete_objects(b"<Delete><Object><Key>a</Key></Object></Delete>").quiet


def test_a_delete_has_one_to_a_thousand_keys():
    entry = b"<Object><Key>k</Key></Object>"
    assert len(parse_delete_objects(b"<Delete>" + entry * 1000 + b"</Delete>").entries) == 1000
    for body in (b"<Delete/>", b"<Delete>" + entry * 1001 + b"</Delete>"):
        with pytest.raises(MalformedXML):
            parse_delete_objects(body)


def test_complete_upload():
    body = f"""<CompleteMultipartUpload{NS}>
      <Part><PartNumber>1</PartNumber><ETag>"ABC"</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>
      <Part><ETag>&quot;def&quot;</ETag><PartNumber>10000</PartNumber></Part></CompleteMultipartUpload>"""
    assert parse_complete_upload(body.encode()) == [
        CompletedPart(1, "abc", {"CRC32": "AAAAAA=="}),
        CompletedPart(10000, "def", {}),
    ]


PART = "<Part><PartNumber>{}</PartNumber><ETag>e</ETag></Part>"


@pytest.mark.parametrize(
    ("inner", "error"),
    [
        ("", MalformedXML),
        (PART.format(2) + PART.format(1), InvalidPartOrder),
        (PART.format(1) + PART.format(1), InvalidPartOrder),
        (PART.format(0), InvalidArgument),
        (PART.format(10001), InvalidArgument),
        (PART.format("x"), MalformedXML),
        (PART.format(-1), InvalidArgument),
        (PART.format(""), MalformedXML),
        ("<Part><PartNumber>1</PartNumber></Part>", MalformedXML),
        ("<Part><ETag>e</ETag></Part>", MalformedXML),
        ("<Part><PartNumber>1</PartNumber><PartNumber>1</PartNumber><ETag>e</ETag></Part>", MalformedXML),
        ("<Part><PartNumber><b>1</b></PartNumber><ETag>e</ETag></Part>", MalformedXML),
        ("<Piece/>", MalformedXML),
        ("<Part><PartNumber>1</PartNumber><ETag>e</ETag><Odd/></Part>", MalformedXML),
        ("<Part><PartNumber>1</PartNumber><ETag>e</ETag><ChecksumCRC32>x</ChecksumCRC32></Part>", InvalidRequest),
    ],
)
def test_parts_that_are_refused(inner, error):
    with pytest.raises(error):
        parse_complete_upload(f"<CompleteMultipartUpload>{inner}</CompleteMultipartUpload>".encode())


def test_an_empty_completion_is_refused():
    with pytest.raises(InvalidRequest):
        parse_complete_upload(b"")


@pytest.mark.parametrize(
    "body",
    [
        b"not xml",
        b"<Delete>",
        b"<Delete><Object><Key>a</Key></Object></Delete>x",
        b"<Other><Object><Key>a</Key></Object></Other>",
        b"<Delete><Object><Key></Key></Object></Delete>",
        b"<Delete><Object/></Delete>",
        b"<Delete><Object><Key>a</Key><Key>b</Key></Object></Delete>",
        b"<Delete><Object><Key>a<b/></Key></Object></Delete>",
        b"<Delete><Quiet>maybe</Quiet><Object><Key>a</Key></Object></Delete>",
        b"<Delete><Object><Key>a</Key><Size>-1</Size></Object></Delete>",
        b"<Delete><Object><Key>a</Key><LastModifiedTime>x</LastModifiedTime></Object></Delete>",
        b"<Delete><Object><Key>\xff</Key></Object></Delete>",
        b'<?xml version="1.0" encoding="no-such"?><Delete><Object><Key>a</Key></Object></Delete>',
        b"<Delete><Object><Key>&undefined;</Key></Object></Delete>",
        b"<!DOCTYPE Delete><Delete><Object><Key>a</Key></Object></Delete>",
        BOMB,
        EXTERNAL,
        b"<Delete>" + b" " * BODY_BYTES_MAX["Delete"] + b"</Delete>",
        b"<a>" * 50_000,
        b"<Delete>" + b"<Object/>" * 20_000 + b"</Delete>",
    ],
)  # fmt: skip
def test_documents_that_are_refused(body):
    with pytest.raises(MalformedXML):
        parse_delete_objects(body)


@pytest.mark.parametrize("body", [b"<Delete>" * 200_000, b"<Delete>" + b"<Object/>" * 20_000 + b"</Delete>"])
def test_floods_of_tags_are_not_even_parsed(body, monkeypatch):
    monkeypatch.setattr(documents, "fromstring", lambda *_, **__: pytest.fail("it is parsed"))
    with pytest.raises(MalformedXML):
        parse_delete_objects(body)


PARSERS = (parse_create_bucket, parse_versioning, parse_delete_objects, parse_complete_upload)
TAGS = st.sampled_from(["Delete", "Object", "Key", "Quiet", "VersionId", "Size", "Part", "PartNumber", "ETag", "Status",
                        "CompleteMultipartUpload", "VersioningConfiguration", "CreateBucketConfiguration"])  # fmt: skip
TREES = st.recursive(
    st.text("a1<&;\0ä ", max_size=4),
    lambda inner: st.builds(lambda tag, parts: f"<{tag}>{''.join(parts)}</{tag}>", TAGS, st.lists(inner, max_size=3)),
    max_leaves=8,
)


@given(body=st.binary(max_size=60) | TREES.map(str.encode))
def test_any_bytes_are_parsed_or_a_typed_error(body):
    for parse in PARSERS:
        with suppress(S3Error):
            parse(body)


def test_every_document_has_a_limit():
    # The largest legal documents fit: 1,000 keys of 1,024 escaped bytes would not be refused for size alone.
    longest = "<Object><Key>" + "k" * 1024 + "</Key><VersionId>" + "v" * 89 + "</VersionId></Object>"
    assert len(longest) * 1000 < BODY_BYTES_MAX["Delete"]
    assert bodies.DELETE_KEYS_MAX == 1000
