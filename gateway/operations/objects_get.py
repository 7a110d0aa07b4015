"""GET and HEAD: which version, do the preconditions hold, which bytes. Reading the bytes is the caller's streaming.

``locate_in`` is the whole of an ordinary GET's decision and is synchronous: one snapshot, no await. Only a part
number needs another read (the part table is a chunk of its own); byte ranges are ``gateway.s3.ranges``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NamedTuple

import msgspec

from gateway.operations.context import Context, find_bucket, may_access, read_version_id
from gateway.operations.object_attributes import attribute_of
from gateway.operations.object_encryption import Opening, open_layer
from gateway.operations.read_facts import NO_FACTS, ReadFacts, find_read_facts
from gateway.operations.written_tags import TAGS
from gateway.s3.checksums import COMPOSITE
from gateway.s3.conditions import NO_CONDITIONS, Conditions, evaluate_read
from gateway.s3.errors import (
    InvalidPartNumber,
    MethodNotAllowed,
    NoSuchKey,
    NoSuchVersion,
    NotModified,
)
from gateway.s3.object_headers import contest_headers
from gateway.s3.sse_customer import CustomerKey
from gateway.s3.tagging import decode_tags
from gateway.s3.times import format_http_date
from gateway.store.item_format import is_local_uid
from gateway.store.object_format import ObjectRecord, PartEntry, decode_parts
from gateway.store.ports import Bucket, Contest, ReadView, Store, Version

NO_CONTEST: Final = Contest()


class Located(msgspec.Struct, frozen=True, gc=False):
    """The version a read is of. ``replication``: S3's word for where it stands, empty unless asked for;
    ``not_modified``: the answer is a 304.

    ``documents``: what was changed of the version's attributes since it was written (``attribute_of`` reads them);
    ``tag_count``: of its tags, 0 also for who may not read them; ``opening``: the keys to its bytes, where it has an
    encryption layer of its own (``opened_reads`` reads them); ``facts``: lock, expiry, archive; ``contest``: what
    collided at the key.
    """

    bucket: Bucket
    version: Version
    replication: str = ""
    not_modified: bool = False
    documents: Mapping[str, bytes] = {}
    tag_count: int = 0
    opening: Opening | None = None
    facts: ReadFacts = NO_FACTS
    contest: Contest = NO_CONTEST


class Selection(NamedTuple):
    """The bytes of an object that are asked for. ``checksum``: the part's own, where exactly one part is sent;
    ``is_all``: that part is the whole object, and what is told of the object's checksum holds for it.
    """

    start: int
    length: int
    checksum: str = ""
    is_all: bool = False


def locate_version(
    context: Context,
    view: ReadView,
    name: str,
    key: bytes,
    version_id: str | None,
    operation: str,
    method: str = "GET",
) -> tuple[Bucket, Version]:
    """The version a key (and version id, as text) names, never a delete marker. ``method``: for the error's words.

    Raises ``NoSuchBucket``, ``AccessDenied``, ``NoSuchKey`` (with ``x-amz-delete-marker`` if a marker is current),
    ``NoSuchVersion``, ``MethodNotAllowed`` for a marker named by its id, ``InvalidArgument`` for an impossible id.
    """
    bucket = find_bucket(context, view, name, operation, key, version_id, existing=True)
    if version_id is None:
        version = view.current(bucket.uid, key)
        if version is None:
            raise NoSuchKey(None, headers=contest_headers(*view.contest(bucket.uid, key)), Key=key.decode())
        if version.record.marker:
            headers = {"x-amz-delete-marker": "true", "x-amz-version-id": version.id.text}
            headers |= contest_headers(*view.contest(bucket.uid, key))
            raise NoSuchKey(None, headers=headers, Key=key.decode())
        return bucket, version
    version = view.version(bucket.uid, key, read_version_id(version_id))
    if version is None:
        raise NoSuchVersion(None, Key=key.decode(), VersionId=version_id)
    if version.record.marker:
        headers = {
            "Allow": "DELETE",
            "Last-Modified": format_http_date(version.record.modified_ms // 1000),
            "x-amz-delete-marker": "true",
            "x-amz-version-id": version.id.text,
        }
        raise MethodNotAllowed(None, headers=headers, Method=method, ResourceType="DeleteMarker")
    return bucket, version


def locate_in(
    context: Context,
    view: ReadView,
    name: str,
    key: bytes,
    version_id: str | None = None,
    conditions: Conditions = NO_CONDITIONS,
    operation: str = "GetObject",
    *,
    replication: bool = False,
    customer: CustomerKey | None = None,
    content: bool = True,
) -> Located:
    """``locate_version`` with the request's preconditions evaluated; ``replication``: tell of that, too.

    ``customer``: the key that came with the request; ``content`` False: its bytes will not be read.

    A condition that asks for a 304 is a value (``not_modified``), since that answer carries the object's headers.
    """
    bucket, version = locate_version(context, view, name, key, version_id, operation)
    told = replication and context.settings.has_cloud
    status = _replication_status(view, bucket, version) if told else ""
    opening = open_layer(context, view, version.record, customer, content=content)
    documents = view.version_documents(bucket.uid, version)
    tag_count = 0
    if documents or version.record.extra:
        tag_count = _count_tags(context, view, bucket, version, documents)
    facts = find_read_facts(context, view, bucket, version, documents, content=content and operation == "GetObject")
    contest = view.contest(bucket.uid, key, version) if version.contested else NO_CONTEST
    try:
        evaluate_read(conditions, version.record.etag, version.record.modified_ms // 1000)
    except NotModified:
        return Located(bucket, version, status, True, documents, tag_count, opening, facts, contest)
    return Located(bucket, version, status, False, documents, tag_count, opening, facts, contest)


def _replication_status(view: ReadView, bucket: Bucket, version: Version) -> str:
    """x-amz-replication-status: where the version came from, or whether the cloud has it; nothing in a local bucket."""
    if is_local_uid(bucket.uid):
        return ""
    if view.is_replica(version):
        return "REPLICA"
    return "COMPLETED" if view.is_replicated(version) else "PENDING"


def _count_tags(
    context: Context, view: ReadView, bucket: Bucket, version: Version, documents: Mapping[str, bytes]
) -> int:
    """How many tags an answer tells of."""
    value = attribute_of(documents, version.record, TAGS)
    if value is None or not may_access(context, view, bucket, "GetObjectTagging", version.key):
        return 0
    return len(decode_tags(value))


async def read_part_table(store: Store, record: ObjectRecord) -> list[PartEntry]:
    """The parts of a completed multipart object, by number; empty for others."""
    if record.parts is None:
        return []
    small = store.read_small((record.parts,))
    if small is None:
        small = b"".join([piece async for piece in store.read((record.parts,))])
    return decode_parts(small)


async def select_part(store: Store, record: ObjectRecord, number: int) -> Selection:
    """The bytes of part ``number``; an object put in one piece has part 1. Raises ``InvalidPartNumber`` (416)."""
    start = 0
    for part in await read_part_table(store, record) or [PartEntry(1, record.size)]:
        if part.number == number:
            is_all = record.part_count <= 1 and record.checksum_type != COMPOSITE
            return Selection(start, part.size, part.checksum, is_all)
        start += part.size
    raise InvalidPartNumber(None, PartNumberRequested=number, ActualPartCount=max(record.part_count, 1))


class AttributesPage(NamedTuple):
    """What GetObjectAttributes tells, with one page of its parts."""

    located: Located
    parts: list[PartEntry]
    next_after: int
    truncated: bool


async def get_attributes(
    context: Context,
    name: str,
    key: bytes,
    version_id: str | None,
    *,
    after: int = 0,
    count_max: int = 1000,
    with_parts: bool = True,
    customer: CustomerKey | None = None,
) -> AttributesPage:
    """GetObjectAttributes: the version and (unless they are not wanted) its parts behind part number ``after``.

    Who asks must be allowed to read the object, too, as AWS has it.
    """
    with context.store.view() as view:
        located = locate_in(
            context, view, name, key, version_id, operation="GetObjectAttributes", customer=customer, content=False
        )
    if not with_parts:
        return AttributesPage(located, [], 0, False)
    parts = [part for part in await read_part_table(context.store, located.version.record) if part.number > after]
    page = parts[:count_max]
    return AttributesPage(located, page, page[-1].number if page else after, 0 < len(page) < len(parts))
