"""The messages by which destinations learn of events: AWS's event record, version 2.1, and the test event. Pure.

Source: User Guide, "Event message structure". Keys are URL-encoded as forms are; ``sequencer`` compares, as text of one
length, in the order of writes to a key.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import quote_plus

import msgspec

from gateway.s3.times import format_iso

EVENT_VERSION: Final = "2.1"
EVENT_EXTRA: Final = "event"
"""Who wrote a version and how, among its extras; only in buckets with notifications: an ``EventFacts``."""


EXPIRED: Final = "Expired"
"""The kind of a marker that a lifecycle rule made."""


class BadFacts(ValueError):
    """Bytes that say nothing of how a version came to be."""


class EventFacts(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """How a version came to be. ``kind``: Put, Post, Copy, CompleteMultipartUpload, or of a marker its maker."""

    kind: str = ""
    principal: str = ""
    request_id: str = ""
    address: str = ""


class Happening(NamedTuple):
    """Something that happened to an object. ``name``: as ``ObjectCreated:Put``; ``size`` None: no bytes to tell of."""

    name: str
    time_ms: int
    key: bytes
    sequencer: int
    version_id: str = ""
    size: int | None = None
    etag: str = ""
    facts: EventFacts = EventFacts()


class Place(NamedTuple):
    """The bucket it happened in."""

    name: str
    owner: str
    region: str


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(EventFacts)


def encode_facts(facts: EventFacts) -> bytes:
    """Bytes for a version's extras."""
    return _encoder.encode(facts)


def decode_facts(data: bytes | None) -> EventFacts:
    """What ``encode_facts`` was given, nothing known for None; ``BadFacts`` otherwise."""
    try:
        return EventFacts() if data is None else _decoder.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise BadFacts(f"not an event's facts: {error}") from error


def event_record(happening: Happening, place: Place, configuration_id: str) -> dict[str, Any]:
    """One record of a message's ``Records``."""
    described: dict[str, Any] = {"key": quote_plus(happening.key.decode(), safe="/")}
    if happening.size is not None:
        described |= {"size": happening.size, "eTag": happening.etag}
    if happening.version_id:
        described["versionId"] = happening.version_id
    described["sequencer"] = f"{happening.sequencer:016X}"
    facts = happening.facts
    return {
        "eventVersion": EVENT_VERSION,
        "eventSource": "aws:s3",
        "awsRegion": place.region,
        "eventTime": format_iso(happening.time_ms),
        "eventName": happening.name,
        "userIdentity": {"principalId": facts.principal},
        "requestParameters": {"sourceIPAddress": facts.address},
        "responseElements": {"x-amz-request-id": facts.request_id, "x-amz-id-2": facts.request_id},
        "s3": {
            "s3SchemaVersion": "1.0",
            "configurationId": configuration_id,
            "bucket": {
                "name": place.name,
                "ownerIdentity": {"principalId": place.owner},
                "arn": f"arn:aws:s3:::{place.name}",
            },
            "object": described,
        },
    }


def encode_message(records: list[dict[str, Any]]) -> bytes:
    """A message: JSON."""
    return msgspec.json.encode({"Records": records})


def encode_test_message(place: Place, time_ms: int, request_id: str) -> bytes:
    """What a destination gets when a configuration that names it is put."""
    return msgspec.json.encode(
        {
            "Service": "Amazon S3",
            "Event": "s3:TestEvent",
            "Time": format_iso(time_ms),
            "Bucket": place.name,
            "RequestId": request_id,
            "HostId": request_id,
        }
    )
