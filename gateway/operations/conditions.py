"""Preconditions of writes on what a commit sees. The rules are ``gateway.s3.conditions``; here they meet versions.

They are evaluated inside the commit's decision, on the version that is current there: exactly one of many
``If-None-Match: *`` wins. What was seen travels in the record (``Condition``), so that a merge can tell later
whether a condition that held on this site held in the realm.
"""

from __future__ import annotations

from gateway.operations.context import Context, check_access
from gateway.s3.conditions import (
    NO_CONDITIONS,
    NO_DELETE_CONDITIONS,
    Conditions,
    DeleteConditions,
    evaluate_delete,
    evaluate_delete_of_nothing,
    evaluate_write,
)
from gateway.store.object_format import Condition
from gateway.store.ports import Bucket, ReadView, Version


def check_write(conditions: Conditions, current: Version | None) -> Condition | None:
    """Evaluate a write's preconditions; a marker or nothing means the key does not exist.

    Raises ``PreconditionFailed``, or ``NoSuchKey`` for If-Match on a key that does not exist (AWS, "Conditional
    writes"). Returns what the record is to remember, None if there was no condition that a merge could look at.
    """
    if conditions is NO_CONDITIONS:
        return None
    if current is None or current.record.marker:
        evaluate_write(conditions, None)
    else:
        evaluate_write(conditions, current.record.etag, current.record.modified_ms // 1000)
    header = "If-Match" if conditions.if_match is not None else "If-None-Match"
    if conditions.if_match is None and conditions.if_none_match is None:
        return None
    return Condition(header, current.order if current is not None else b"")


def check_comparison(context: Context, view: ReadView, bucket: Bucket, key: bytes, etag: str | None) -> None:
    """Comparing an ETag tells of the object: If-Match (but for ``*``) needs ``s3:GetObject``, too (User Guide,
    "Conditional requests"). ``etag``: the header's value, None without it.
    """
    if etag is not None and etag.strip() != "*":
        check_access(context, view, bucket, "GetObject", key)


def check_delete(conditions: DeleteConditions, current: Version | None) -> None:
    """Evaluate a delete's preconditions, which look at the current version only (AWS, "Conditional deletes")."""
    if conditions is NO_DELETE_CONDITIONS or conditions == NO_DELETE_CONDITIONS:
        return
    if current is None or current.record.marker:
        evaluate_delete_of_nothing(conditions)
        return
    record = current.record
    evaluate_delete(conditions, record.etag, record.modified_ms // 1000, record.size)
