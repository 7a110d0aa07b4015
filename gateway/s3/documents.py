"""XML documents that requests carry, as elements: what every ``parse_x`` of a configuration is made of. Pure.

Read with expat behind defusedxml: no DTD, no entities, nothing external. Sizes and counts of tags are capped before
anything is parsed; whatever is not the document it should be is ``MalformedXML``. Namespaces are optional and ignored,
as clients differ. What a document means is told where it is used (``bodies``, ``tagging``, ``acl`` …).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from gateway.s3.errors import MalformedXML, MissingRequestBodyError
from gateway.s3.times import parse_http_date, parse_iso_ms

_KIB: Final = 1024
DEFAULT_BYTES_MAX: Final = 64 * _KIB
BODY_BYTES_MAX: Final = {
    "AccessControlPolicy": 256 * _KIB,
    "CompleteMultipartUpload": 4 * _KIB * _KIB,
    "CORSConfiguration": 64 * _KIB,
    "CreateBucketConfiguration": 64 * _KIB,
    "Delete": 2 * _KIB * _KIB,
    "LifecycleConfiguration": 2 * _KIB * _KIB,
    "NotificationConfiguration": 256 * _KIB,
    "ReplicationConfiguration": 2 * _KIB * _KIB,
    "VersioningConfiguration": 64 * _KIB,
    "WebsiteConfiguration": 256 * _KIB,
}
"""The largest document taken of each kind, bytes (others: ``DEFAULT_BYTES_MAX``); the HTTP layer must not read more."""
_TAGS_MAX: Final = {
    "AccessControlPolicy": 4_000,
    "CompleteMultipartUpload": 150_000,
    "CORSConfiguration": 20_000,
    "Delete": 20_000,
    "LifecycleConfiguration": 100_000,
    "NotificationConfiguration": 20_000,
    "ReplicationConfiguration": 100_000,
    "Tagging": 4_000,
    "WebsiteConfiguration": 2_000,
}
_TAGS_DEFAULT_MAX: Final = 400
"""Tags, opening and closing: the most that a legal document needs; deeper or longer floods are not even parsed."""


def body_bytes_max(root: str) -> int:
    """The largest document named ``root`` that is read, bytes."""
    return BODY_BYTES_MAX.get(root, DEFAULT_BYTES_MAX)


def tag_of(element: Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def parse_document(body: bytes, root: str) -> Element:
    """The root element of ``body`` if it is a well-formed, harmless document named ``root``; ``MalformedXML`` if it is
    anything else, ``MissingRequestBodyError`` if it is nothing.
    """
    if not body:
        raise MissingRequestBodyError
    if len(body) > body_bytes_max(root) or body.count(b"<") > _TAGS_MAX.get(root, _TAGS_DEFAULT_MAX):
        raise MalformedXML
    try:
        element: Element = fromstring(body, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        raise MalformedXML from None
    if tag_of(element) != root:
        raise MalformedXML
    return element


def children(element: Element, *names: str) -> Iterator[tuple[str, Element]]:
    """(name, child) of the element's children, all of which must be ``names``."""
    for child in element:
        name = tag_of(child)
        if name not in names:
            raise MalformedXML
        yield name, child


def text_of(element: Element) -> str:
    """The text of an element without children."""
    if len(element):
        raise MalformedXML
    return element.text or ""


def fields_of(element: Element, *names: str) -> dict[str, str]:
    """Text of the element's children by name: only ``names``, each at most once."""
    fields: dict[str, str] = {}
    for name, child in children(element, *names):
        if name in fields:
            raise MalformedXML
        fields[name] = text_of(child)
    return fields


def parse_boolean(text: str) -> bool:
    """``true``, ``false``, ``1``, ``0`` or nothing; ``MalformedXML`` otherwise."""
    word = text.strip().lower()
    if word not in ("true", "false", "1", "0", ""):
        raise MalformedXML
    return word in ("true", "1")


def parse_time_s(text: str) -> int:
    """Unix seconds of an ISO 8601 or HTTP date."""
    unix_ms = parse_iso_ms(text)
    unix_s = unix_ms // 1000 if unix_ms is not None else parse_http_date(text)
    if unix_s is None:
        raise MalformedXML
    return unix_s


def parse_number(text: str) -> int:
    """A non-negative decimal; ``MalformedXML`` otherwise."""
    if not (text.isascii() and text.isdecimal()) or len(text) > 19:
        raise MalformedXML
    return int(text)
