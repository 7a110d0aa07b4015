"""Request documents: CreateBucketConfiguration, VersioningConfiguration, Delete, CompleteMultipartUpload. Pure.

Read with expat behind defusedxml: no DTD, no entities, nothing external; sizes are capped; whatever is not the document
it should be is ``MalformedXML``. Namespaces are optional and ignored, as clients differ.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, NamedTuple
from xml.etree.ElementTree import Element, ParseError

from defusedxml import DefusedXmlException
from defusedxml.ElementTree import fromstring

from gateway.s3.checksums import ALGORITHMS, decode_digest
from gateway.s3.conditions import NO_DELETE_CONDITIONS, DeleteConditions
from gateway.s3.errors import (
    IllegalVersioningConfigurationException,
    InvalidPartOrder,
    InvalidRequest,
    MalformedXML,
    S3Error,
    S3NotImplemented,
)
from gateway.s3.requests import PART_NUMBER_MAX
from gateway.s3.times import parse_http_date, parse_iso_ms

BODY_BYTES_MAX: Final = {
    "CreateBucketConfiguration": 64 * 1024,
    "VersioningConfiguration": 64 * 1024,
    "Delete": 2 * 1024 * 1024,
    "CompleteMultipartUpload": 4 * 1024 * 1024,
}
"""The largest document taken of each kind, bytes; the HTTP layer must not read beyond."""
_TAGS_MAX: Final = {"Delete": 20_000, "CompleteMultipartUpload": 150_000}
_TAGS_DEFAULT_MAX: Final = 200
"""Tags, opening and closing: the most that a legal document needs; deeper or longer floods are not even parsed."""
DELETE_KEYS_MAX: Final = 1000


class DeleteEntry(NamedTuple):
    """One object to delete; the key is not validated yet, since each entry answers for itself."""

    key: str
    version_id: str | None
    conditions: DeleteConditions


class DeleteBody(NamedTuple):
    """The Delete document."""

    entries: list[DeleteEntry]
    quiet: bool


class CompletedPart(NamedTuple):
    """A part as the client lists it: number, ETag without quotes, checksums by algorithm (base64)."""

    number: int
    etag: str
    checksums: dict[str, str]


def _tag(element: Element) -> str:
    """An element's name without its namespace."""
    return element.tag.rpartition("}")[2]


def parse_document(body: bytes, root: str) -> Element:
    """The root element of ``body`` if it is a well-formed, harmless document named ``root``; else ``MalformedXML``."""
    if len(body) > BODY_BYTES_MAX.get(root, 64 * 1024) or body.count(b"<") > _TAGS_MAX.get(root, _TAGS_DEFAULT_MAX):
        raise MalformedXML
    try:
        element: Element = fromstring(body, forbid_dtd=True, forbid_entities=True, forbid_external=True)
    except (ParseError, DefusedXmlException, ValueError, LookupError):
        raise MalformedXML from None
    if _tag(element) != root:
        raise MalformedXML
    return element


def _children(element: Element, *names: str) -> Iterator[tuple[str, Element]]:
    """(name, child) of the element's children, all of which must be ``names``."""
    for child in element:
        name = _tag(child)
        if name not in names:
            raise MalformedXML
        yield name, child


def _text(element: Element) -> str:
    """The text of an element without children."""
    if len(element):
        raise MalformedXML
    return element.text or ""


def _fields(element: Element, *names: str) -> dict[str, str]:
    """Text of the element's children by name: only ``names``, each at most once."""
    fields: dict[str, str] = {}
    for name, child in _children(element, *names):
        if name in fields:
            raise MalformedXML
        fields[name] = _text(child)
    return fields


def parse_create_bucket(body: bytes) -> str:
    """The location constraint asked for, empty if none."""
    if not body.strip():
        return ""
    constraint = ""
    document = parse_document(body, "CreateBucketConfiguration")
    for name, child in _children(document, "LocationConstraint", "Location", "Bucket", "Tags"):
        if name != "LocationConstraint":
            if len(child):
                raise S3NotImplemented(f"The element {name} of CreateBucketConfiguration is not implemented")
            continue
        constraint = _text(child).strip()
    return constraint


def parse_versioning(body: bytes) -> str:
    """The status of a VersioningConfiguration: "Enabled" or "Suspended". MFA delete is not implemented."""
    fields = _fields(parse_document(body, "VersioningConfiguration"), "Status", "MfaDelete", "MFADelete")
    mfa = (fields.get("MfaDelete") or fields.get("MFADelete") or "Disabled").strip()
    if mfa not in ("Enabled", "Disabled"):
        raise MalformedXML
    if mfa == "Enabled":
        raise S3NotImplemented("MFA delete is not implemented")
    status = fields.get("Status")
    if status is None:
        raise IllegalVersioningConfigurationException("The Versioning element must be specified")
    if status not in ("Enabled", "Suspended"):
        raise MalformedXML
    return status


def parse_delete_objects(body: bytes) -> DeleteBody:
    """The Delete document: 1 to 1,000 objects, each with optional version id and conditions."""
    entries: list[DeleteEntry] = []
    quiet = False
    for name, child in _children(parse_document(body, "Delete"), "Object", "Quiet"):
        if name == "Quiet":
            quiet = _parse_boolean(_text(child))
            continue
        if len(entries) == DELETE_KEYS_MAX:
            raise MalformedXML
        entries.append(_parse_delete_entry(child))
    if not entries:
        raise MalformedXML
    return DeleteBody(entries, quiet)


def _parse_boolean(text: str) -> bool:
    word = text.strip().lower()
    if word not in ("true", "false", "1", "0", ""):
        raise MalformedXML
    return word in ("true", "1")


def _parse_delete_entry(element: Element) -> DeleteEntry:
    fields = _fields(element, "Key", "VersionId", "ETag", "LastModifiedTime", "Size")
    if not fields.get("Key"):
        raise MalformedXML
    conditions = NO_DELETE_CONDITIONS
    if "ETag" in fields or "LastModifiedTime" in fields or "Size" in fields:
        modified_s = None
        if "LastModifiedTime" in fields:
            modified_s = _parse_time_s(fields["LastModifiedTime"].strip())
        size = _parse_number(fields["Size"].strip()) if "Size" in fields else None
        conditions = DeleteConditions(fields.get("ETag"), modified_s, size)
    return DeleteEntry(fields["Key"], fields.get("VersionId") or None, conditions)


def _parse_time_s(text: str) -> int:
    """Unix seconds of an ISO 8601 or HTTP date."""
    unix_ms = parse_iso_ms(text)
    unix_s = unix_ms // 1000 if unix_ms is not None else parse_http_date(text)
    if unix_s is None:
        raise MalformedXML
    return unix_s


def _parse_number(text: str) -> int:
    if not (text.isascii() and text.isdecimal()) or len(text) > 19:
        raise MalformedXML
    return int(text)


_CHECKSUM_ELEMENTS: Final = {algorithm.element: algorithm for algorithm in ALGORITHMS.values()}


def parse_complete_upload(body: bytes) -> list[CompletedPart]:
    """The parts of CompleteMultipartUpload in ascending order: 1 to 10,000, ``InvalidPartOrder`` if not ascending."""
    if not body.strip():
        raise InvalidRequest("You must specify at least one part")
    parts: list[CompletedPart] = []
    for _, child in _children(parse_document(body, "CompleteMultipartUpload"), "Part"):
        if len(parts) == PART_NUMBER_MAX:
            raise MalformedXML
        part = _parse_part(child)
        if parts and part.number <= parts[-1].number:
            raise InvalidPartOrder
        parts.append(part)
    if not parts:
        raise MalformedXML
    return parts


def _parse_part(element: Element) -> CompletedPart:
    fields = _fields(element, "PartNumber", "ETag", *_CHECKSUM_ELEMENTS)
    number = _parse_number(fields.get("PartNumber", "").strip())
    if not 1 <= number <= PART_NUMBER_MAX:
        raise _bad_part_number()
    if "ETag" not in fields:
        raise MalformedXML
    checksums = {}
    for name, algorithm in _CHECKSUM_ELEMENTS.items():
        text = fields.get(name, "").strip()
        if text:
            if decode_digest(text, algorithm.size) is None:
                raise InvalidRequest(f"Value for {name} is invalid.")
            checksums[algorithm.name] = text
    return CompletedPart(number, fields["ETag"].strip().strip('"').lower(), checksums)


def _bad_part_number() -> S3Error:
    return InvalidRequest(f"Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive")
