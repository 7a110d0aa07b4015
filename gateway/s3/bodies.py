"""Request documents: CreateBucketConfiguration, VersioningConfiguration, Delete, CompleteMultipartUpload. Pure.

Each is read by ``documents``; whatever is not the document it should be is ``MalformedXML``.
"""

from __future__ import annotations

from typing import Final, NamedTuple
from xml.etree.ElementTree import Element

from gateway.s3.checksums import ALGORITHMS, decode_digest
from gateway.s3.conditions import NO_DELETE_CONDITIONS, DeleteConditions
from gateway.s3.documents import children, fields_of, parse_boolean, parse_document, parse_number, parse_time_s, text_of
from gateway.s3.errors import (
    IllegalVersioningConfigurationException,
    InvalidPartOrder,
    InvalidRequest,
    MalformedXML,
    S3NotImplemented,
    invalid_argument,
)
from gateway.s3.requests import PART_NUMBER_MAX
from gateway.s3.tagging import BUCKET_TAGS_MAX, check_tags, read_tag_list

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


class NewBucket(NamedTuple):
    """The CreateBucketConfiguration document: the location constraint, empty if none is asked for, and tags."""

    location: str = ""
    tags: dict[str, str] = {}


def parse_create_bucket(body: bytes) -> NewBucket:
    """What a bucket is to be made with; an empty body asks for nothing."""
    if not body.strip():
        return NewBucket()
    constraint = ""
    tags: dict[str, str] = {}
    document = parse_document(body, "CreateBucketConfiguration")
    for name, child in children(document, "LocationConstraint", "Location", "Bucket", "Tags"):
        if name == "LocationConstraint":
            constraint = text_of(child).strip()
        elif name == "Tags":
            tags = check_tags(read_tag_list(child), BUCKET_TAGS_MAX)
        elif len(child):
            raise S3NotImplemented(f"The element {name} of CreateBucketConfiguration is not implemented")
    return NewBucket(constraint, tags)


def parse_versioning(body: bytes) -> str:
    """The status of a VersioningConfiguration: "Enabled" or "Suspended". MFA delete is not implemented."""
    fields = fields_of(parse_document(body, "VersioningConfiguration"), "Status", "MfaDelete", "MFADelete")
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
    for name, child in children(parse_document(body, "Delete"), "Object", "Quiet"):
        if name == "Quiet":
            quiet = parse_boolean(text_of(child))
            continue
        if len(entries) == DELETE_KEYS_MAX:
            raise MalformedXML
        entries.append(_parse_delete_entry(child))
    if not entries:
        raise MalformedXML
    return DeleteBody(entries, quiet)


def _parse_delete_entry(element: Element) -> DeleteEntry:
    fields = fields_of(element, "Key", "VersionId", "ETag", "LastModifiedTime", "Size")
    if not fields.get("Key"):
        raise MalformedXML
    conditions = NO_DELETE_CONDITIONS
    if "ETag" in fields or "LastModifiedTime" in fields or "Size" in fields:
        modified_s = None
        if "LastModifiedTime" in fields:
            modified_s = parse_time_s(fields["LastModifiedTime"].strip())
        size = parse_number(fields["Size"].strip()) if "Size" in fields else None
        conditions = DeleteConditions(fields.get("ETag"), modified_s, size)
    return DeleteEntry(fields["Key"], fields.get("VersionId") or None, conditions)


_CHECKSUM_ELEMENTS: Final = {algorithm.element: algorithm for algorithm in ALGORITHMS.values()}


def parse_complete_upload(body: bytes) -> list[CompletedPart]:
    """The parts of CompleteMultipartUpload in ascending order: 1 to 10,000, ``InvalidPartOrder`` if not ascending."""
    if not body.strip():
        raise InvalidRequest("You must specify at least one part")
    parts: list[CompletedPart] = []
    for _, child in children(parse_document(body, "CompleteMultipartUpload"), "Part"):
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
    fields = fields_of(element, "PartNumber", "ETag", *_CHECKSUM_ELEMENTS)
    if "ETag" not in fields or "PartNumber" not in fields:
        raise MalformedXML
    number = _parse_part_number(fields["PartNumber"].strip())
    checksums = {}
    for name, algorithm in _CHECKSUM_ELEMENTS.items():
        text = fields.get(name, "").strip()
        if text:
            if decode_digest(text, algorithm.size) is None:
                raise InvalidRequest(f"Value for {name} is invalid.")
            checksums[algorithm.name] = text
    return CompletedPart(number, fields["ETag"].strip().strip('"').lower(), checksums)


def _parse_part_number(text: str) -> int:
    """1 to 10,000; ``InvalidArgument`` for other integers, ``MalformedXML`` for what is none."""
    number = parse_number(text.removeprefix("-"))
    if number < 1 or text.startswith("-"):
        raise invalid_argument("PartNumber must be >= 1", "PartNumber", text)
    if number > PART_NUMBER_MAX:
        message = f"Part number must be an integer between 1 and {PART_NUMBER_MAX}, inclusive"
        raise invalid_argument(message, "PartNumber", text)
    return number
