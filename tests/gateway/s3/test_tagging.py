"""Tag sets: what may be one, and the three forms it comes in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import S3Error
from gateway.s3.tagging import (
    BUCKET_TAGS_MAX,
    OBJECT_TAGS_MAX,
    check_tags,
    decode_tags,
    encode_tags,
    parse_tagging,
    parse_tagging_directive,
    parse_tagging_header,
    render_tagging,
)

LETTERS = st.text(st.characters(categories=["L", "N", "Zs"], include_characters="+-=._:/@"), max_size=60)
TAGS = st.dictionaries(LETTERS.filter(lambda key: key and not key.lower().startswith("aws:")), LETTERS, max_size=10)


def fail(parse, *arguments):
    with pytest.raises(S3Error) as caught:
        parse(*arguments)
    return caught.value.code


@given(TAGS)
def test_stored_tags_and_documents_come_back(tags):
    assert decode_tags(encode_tags(tags)) == tags
    assert parse_tagging(render_tagging(tags), OBJECT_TAGS_MAX) == tags
    assert parse_tagging_header({"x-amz-tagging": encode_tags(tags).decode()}) == tags


@given(st.text(max_size=80))
def test_any_header_is_parsed_or_a_typed_error(text):
    try:
        tags = parse_tagging_header({"x-amz-tagging": text})
    except S3Error as error:
        assert error.code in ("InvalidTag", "InvalidArgument")  # noqa: PT017
    else:
        assert tags is not None
        assert len(tags) <= OBJECT_TAGS_MAX


@given(st.binary(max_size=80))
def test_any_bytes_are_parsed_or_a_typed_error(body):
    for wrapped in (body, b"<Tagging><TagSet>" + body + b"</TagSet></Tagging>"):
        try:
            parse_tagging(wrapped, OBJECT_TAGS_MAX)
        except S3Error as error:
            assert error.code in ("MalformedXML", "MissingRequestBodyError", "InvalidTag")  # noqa: PT017


def test_lengths_count_in_utf_16():
    assert check_tags([("\U00010400" * 64, "\U00010400" * 128)], 10)
    assert fail(check_tags, [("\U00010400" * 65, "")], 10) == "InvalidTag"
    assert fail(check_tags, [("k", "\U00010400" * 129)], 10) == "InvalidTag"


@pytest.mark.parametrize("text", ["a;b", "a\tb", "a\nb", "a&b", "a*b", "a\x00b", "a😀", "a%b", "<"])
def test_characters_that_no_tag_has(text):
    assert fail(check_tags, [(text, "v")], 10) == "InvalidTag"
    assert fail(check_tags, [("k", text)], 10) == "InvalidTag"


@pytest.mark.parametrize("key", ["aws:x", "AWS:x", "Aws:"])
def test_the_reserved_prefix(key):
    assert fail(check_tags, [(key, "v")], 10) == "InvalidTag"
    assert check_tags([("xaws:", "aws:v")], 10)


def test_counts():
    assert len(check_tags([(f"k{at}", "") for at in range(10)], OBJECT_TAGS_MAX)) == 10
    assert fail(check_tags, [(f"k{at}", "") for at in range(11)], OBJECT_TAGS_MAX) == "InvalidTag"
    assert len(check_tags([(f"k{at}", "") for at in range(50)], BUCKET_TAGS_MAX)) == 50
    assert fail(check_tags, [(f"k{at}", "") for at in range(51)], BUCKET_TAGS_MAX) == "InvalidTag"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "MissingRequestBodyError"),
        (b"<Tagging/>", "MalformedXML"),
        (b"<Tagging><TagSet/><TagSet/></Tagging>", "MalformedXML"),
        (b"<Tags><TagSet/></Tags>", "MalformedXML"),
        (b"<Tagging><TagSet><Tag><Key>k</Key></Tag></TagSet></Tagging>", "MalformedXML"),
        (b"<Tagging><TagSet><Tag><Value>v</Value></Tag></TagSet></Tagging>", "MalformedXML"),
        (b"<Tagging><TagSet><Tag><Key>k</Key><Value/><More/></Tag></TagSet></Tagging>", "MalformedXML"),
        (b"<Tagging><TagSet><Tag><Key/><Value>v</Value></Tag></TagSet></Tagging>", "InvalidTag"),
        (
            b"<Tagging><TagSet><Tag><Key>k</Key><Value/></Tag><Tag><Key>k</Key><Value/></Tag></TagSet></Tagging>",
            "InvalidTag",
        ),
    ],
)
def test_documents_that_are_refused(body, code):
    assert fail(parse_tagging, body, OBJECT_TAGS_MAX) == code


def test_an_empty_set_and_no_header_differ():
    assert parse_tagging(b"<Tagging><TagSet/></Tagging>", 10) == {}
    assert parse_tagging_header({}) is None
    assert parse_tagging_header({"x-amz-tagging": ""}) == {}
    assert parse_tagging_header({"x-amz-tagging": "a"}) == {"a": ""}
    assert parse_tagging_header({"x-amz-tagging": "a=b=c"}) == {"a": "b=c"}


def test_directives():
    assert not parse_tagging_directive({})
    assert not parse_tagging_directive({"x-amz-tagging-directive": "COPY"})
    assert parse_tagging_directive({"x-amz-tagging-directive": "REPLACE"})
    assert fail(parse_tagging_directive, {"x-amz-tagging-directive": "replace"}) == "InvalidArgument"
