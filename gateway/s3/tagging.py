"""Tags of objects and buckets: read from the header, the XML document or a stored value; written as both. Pure.

Rules are AWS's (User Guide, "Categorizing your objects using tags"; "Tag restrictions"): at most 10 tags on an object
and 50 on a bucket, keys of 1 to 128 and values of 0 to 256 UTF-16 units, letters, spaces and digits of any script and
``+ - = . _ : / @``, no key twice, nothing under ``aws:``. Keys keep their case and the order they were given in.

Stored as the header is sent: ``k=v&k2=v2``, percent-encoded (``encode_tags``). What a tag may do is policy's matter.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import quote_plus
from xml.etree.ElementTree import Element

from gateway.s3.documents import children, fields_of, parse_document
from gateway.s3.errors import InvalidTag, MalformedXML, S3Error, escape_text, invalid_argument
from gateway.s3.stored import stored
from gateway.s3.uri import decode_percent

OBJECT_TAGS_MAX: Final = 10
BUCKET_TAGS_MAX: Final = 50
KEY_UNITS_MAX: Final = 128
VALUE_UNITS_MAX: Final = 256
_PUNCTUATION: Final = frozenset("+-=._:/@")
TAGGING_HEADER: Final = "x-amz-tagging"
_RESERVED: Final = "aws:"


def _count_units(text: str) -> int:
    """UTF-16 code units: what AWS counts."""
    return len(text) + sum(ord(character) > 0xFFFF for character in text)


def _is_plain(text: str) -> bool:
    """Whether only letters, numbers, spaces and the permitted punctuation are in ``text``."""
    return all(
        character in _PUNCTUATION or unicodedata.category(character)[0] in "LNZ" for character in text
    )  # categories letter, number, separator


def check_tags(pairs: Iterable[tuple[str, str]], count_max: int) -> dict[str, str]:
    """The tags in ``pairs`` if they may be a tag set of at most ``count_max``; ``InvalidTag`` otherwise, which is what
    PutObjectTagging's reference names for all that fails validation.
    """
    tags: dict[str, str] = {}
    for key, value in pairs:
        if not key or _count_units(key) > KEY_UNITS_MAX or not _is_plain(key):
            raise InvalidTag("The TagKey you have provided is invalid", TagKey=key[:KEY_UNITS_MAX])
        if _count_units(value) > VALUE_UNITS_MAX or not _is_plain(value):
            raise InvalidTag("The TagValue you have provided is invalid", TagKey=key, TagValue=value[:VALUE_UNITS_MAX])
        if key.lower().startswith(_RESERVED):
            raise InvalidTag("System tags cannot be added/updated by requester", TagKey=key)
        if key in tags:
            raise InvalidTag("Cannot provide multiple Tags with the same key", TagKey=key)
        tags[key] = value
    if len(tags) > count_max:
        kind = "Object tags" if count_max == OBJECT_TAGS_MAX else "Bucket tag count"
        raise InvalidTag(f"{kind} cannot be greater than {count_max}")
    return tags


def parse_tagging(body: bytes, count_max: int) -> dict[str, str]:
    """The tags of a Tagging document; ``MalformedXML`` if it is none, ``InvalidTag`` for what may not be a tag."""
    pairs: list[tuple[str, str]] | None = None
    for _, tag_set in children(parse_document(body, "Tagging"), "TagSet"):
        if pairs is not None:
            raise MalformedXML
        pairs = read_tag_list(tag_set)
    if pairs is None:
        raise MalformedXML
    return check_tags(pairs, count_max)


def read_tag_list(element: Element) -> list[tuple[str, str]]:
    """Keys and values of the Tag elements below ``element``, unchecked."""
    pairs = []
    for _, tag in children(element, "Tag"):
        fields = fields_of(tag, "Key", "Value")
        if len(fields) != 2:
            raise MalformedXML
        pairs.append((fields["Key"], fields["Value"]))
    return pairs


def _bad_header(value: str) -> S3Error:
    return invalid_argument(
        f"The header '{TAGGING_HEADER}' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag "
        "name duplicates.",
        TAGGING_HEADER,
        value[:1024],
    )


def _split_pairs(value: str) -> list[tuple[str, str]]:
    """Names and values of ``k=v&k2=v2``, decoded as a query is (a plus is a space). ``InvalidURI`` from bad escapes."""
    pairs = []
    for field in filter(None, value.split("&")):  # AWS takes "&" for no tags at all
        name, _, text = field.partition("=")
        pairs.append((decode_percent(name, plus_is_space=True), decode_percent(text, plus_is_space=True)))
    return pairs


def parse_tagging_header(headers: Mapping[str, str]) -> dict[str, str] | None:
    """The tags of ``x-amz-tagging``, None without the header. ``InvalidArgument`` if it is no query string or names a
    tag twice, ``InvalidTag`` for what may not be a tag.
    """
    value = headers.get(TAGGING_HEADER)
    if value is None:
        return None
    if not value:
        return {}
    try:
        pairs = _split_pairs(value)
    except S3Error:
        raise _bad_header(value) from None
    if len({key for key, _ in pairs}) != len(pairs):
        raise _bad_header(value)
    return check_tags(pairs, OBJECT_TAGS_MAX)


def parse_tagging_directive(headers: Mapping[str, str]) -> bool:
    """Whether CopyObject's tags are the request's (``REPLACE``) and not the source's (``COPY``, the default)."""
    directive = headers.get("x-amz-tagging-directive", "COPY")
    if directive not in ("COPY", "REPLACE"):
        raise invalid_argument("Unknown tagging directive.", "x-amz-tagging-directive", directive)
    return directive == "REPLACE"


def encode_tags(tags: Mapping[str, str]) -> bytes:
    """The stored value of a tag set; b"" for an empty one."""
    return "&".join([f"{quote_plus(key)}={quote_plus(value)}" for key, value in tags.items()]).encode()


@lru_cache(maxsize=4096)
@stored
def decode_tags(value: bytes) -> Mapping[str, str]:
    """The tag set of a stored value; not to be changed, since it is kept."""
    return dict(_split_pairs(value.decode())) if value else {}


def render_tagging(tags: Mapping[str, str]) -> bytes:
    """The Tagging document."""
    entries = "".join(
        [f"<Tag><Key>{escape_text(key)}</Key><Value>{escape_text(value)}</Value></Tag>" for key, value in tags.items()]
    )
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n<Tagging xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f"<TagSet>{entries}</TagSet></Tagging>"
    ).encode()
