"""GetObjectAttributes on the wire: what its headers ask for, and the document that answers. Pure.

Source: API reference, "GetObjectAttributes". Only what was asked for is in the answer; ETags come without quotes here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from gateway.s3.checksums import ALGORITHMS
from gateway.s3.errors import InvalidRequest, invalid_argument
from gateway.s3.listing import KEYS_MAX
from gateway.s3.requests import parse_integer, parse_version_id

ATTRIBUTES: Final = ("ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize")
_HEADER: Final = "x-amz-object-attributes"


class AttributesParameters(NamedTuple):
    """What is asked for: names out of ``ATTRIBUTES``, and the page of parts (behind number ``after``)."""

    version_id: str | None
    wanted: frozenset[str]
    parts_max: int
    after: int


class PartFields(Protocol):
    """A part as the answer shows it."""

    @property
    def number(self) -> int:
        """1 to 10,000."""

    @property
    def size(self) -> int:
        """Bytes."""

    @property
    def checksum(self) -> str:
        """Base64, or empty."""


class AttributesFields(NamedTuple):
    """What there is to tell of an object. ``part_count`` 0: it was put in one piece, and has no ObjectParts."""

    etag: str
    size: int
    storage_class: str
    checksums: Mapping[str, str]
    checksum_type: str
    part_count: int
    parts: Sequence[PartFields]
    truncated: bool


def parse_attributes_request(query: Mapping[str, str], headers: Mapping[str, str]) -> AttributesParameters:
    """GetObjectAttributes. ``InvalidRequest`` if nothing is asked for, ``InvalidArgument`` for what is no attribute."""
    text = headers.get(_HEADER, "")
    wanted = frozenset(name.strip() for name in text.split(",") if name.strip())
    if not wanted:
        raise InvalidRequest(
            f"The {_HEADER} header specifying the attributes to be retrieved is either missing or empty"
        )
    if not wanted <= set(ATTRIBUTES):
        raise invalid_argument("Invalid attribute name specified.", _HEADER, text)
    return AttributesParameters(
        parse_version_id(query),
        wanted,
        _parse_parts_max(headers.get("x-amz-max-parts", "")),
        parse_integer(headers, "x-amz-part-number-marker", 0),
    )


def _parse_parts_max(text: str) -> int:
    """Parts of one answer; what is no number is passed over, as AWS does with this header."""
    return min(int(text), KEYS_MAX) if text.isascii() and text.isdecimal() and len(text) < 20 else KEYS_MAX


def _write_parts(parameters: AttributesParameters, fields: AttributesFields) -> str:
    element = ALGORITHMS[next(iter(fields.checksums))].element if fields.checksums else ""
    entries = []
    for part in fields.parts:
        checksum = f"<{element}>{part.checksum}</{element}>" if element and part.checksum else ""
        entries.append(
            f"<Part>{checksum}<PartNumber>{part.number}</PartNumber><Size>{part.size}</Size></Part>",
        )
    last = fields.parts[-1].number if fields.parts else parameters.after
    return (
        f"<ObjectParts><IsTruncated>{'true' if fields.truncated else 'false'}</IsTruncated>"
        f"<MaxParts>{parameters.parts_max}</MaxParts><NextPartNumberMarker>{last}</NextPartNumberMarker>"
        f"<PartNumberMarker>{parameters.after}</PartNumberMarker>{''.join(entries)}"
        f"<PartsCount>{fields.part_count}</PartsCount></ObjectParts>"
    )


def render_attributes(parameters: AttributesParameters, fields: AttributesFields) -> bytes:
    """GetObjectAttributesResponse."""
    wanted = parameters.wanted
    out = []
    if "ETag" in wanted:
        out.append(f"<ETag>{fields.etag}</ETag>")
    if "Checksum" in wanted and fields.checksums:
        values = "".join(
            [
                # The count of parts ("-2") that other answers have with a composed one is left out, as AWS does.
                f"<{ALGORITHMS[name].element}>{text.partition('-')[0]}</{ALGORITHMS[name].element}>"
                for name, text in fields.checksums.items()
            ]
        )
        kind = f"<ChecksumType>{fields.checksum_type}</ChecksumType>" if fields.checksum_type else ""
        out.append(f"<Checksum>{values}{kind}</Checksum>")
    if "ObjectParts" in wanted and fields.part_count:
        out.append(_write_parts(parameters, fields))
    if "StorageClass" in wanted:
        out.append(f"<StorageClass>{fields.storage_class}</StorageClass>")
    if "ObjectSize" in wanted:
        out.append(f"<ObjectSize>{fields.size}</ObjectSize>")
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f'<GetObjectAttributesResponse xmlns="http://s3.amazonaws.com/doc/2006-03-01/">{"".join(out)}'
        "</GetObjectAttributesResponse>"
    ).encode()
