"""Notifications of a bucket: the configuration, and what a write leaves behind for whoever tells of it later.

A write into a bucket with notifications keeps how it came about (``extra["event"]``); everything else that a message
says is in the change log, which ``gateway.events`` follows. So nothing is queued in a request, and nothing is lost.
"""

from __future__ import annotations

from gateway.operations.bucket_documents import NOTIFICATION
from gateway.operations.configurations import get_document, put_document
from gateway.operations.context import Context
from gateway.s3.event_messages import EVENT_EXTRA, EXPIRED, EventFacts, encode_facts
from gateway.s3.notification import Rule, decode_notification, render_notification
from gateway.store.ports import Bucket, ReadView


async def put_notification(context: Context, name: str, rules: list[Rule]) -> None:
    """Set a bucket's notifications; none: remove them."""
    body = render_notification(rules) if rules else None
    await put_document(context, name, "PutBucketNotificationConfiguration", NOTIFICATION, body)


def get_notification(context: Context, name: str) -> tuple[Rule, ...]:
    """A bucket's notifications."""
    body = get_document(context, name, "GetBucketNotificationConfiguration", NOTIFICATION)
    return () if body is None else decode_notification(body)


def note_event(context: Context, view: ReadView, bucket: Bucket, kind: str) -> dict[str, bytes]:
    """What a version's extras keep of how it came about: nothing in a bucket without notifications."""
    if view.document(bucket.uid, NOTIFICATION) is None:
        return {}
    facts = context.facts
    address = facts.connection.remote if facts.connection is not None else None
    if not kind:
        kind = "Post" if facts.signed_by == "POST" else "Put"
    return {EVENT_EXTRA: encode_facts(EventFacts(kind, context.principal.id, context.request_id, address or ""))}


def note_expiry(view: ReadView, bucket: Bucket) -> dict[str, bytes]:
    """The same of a delete marker that a lifecycle rule makes; equal on every site that makes it."""
    if view.document(bucket.uid, NOTIFICATION) is None:
        return {}
    return {EVENT_EXTRA: encode_facts(EventFacts(EXPIRED))}
