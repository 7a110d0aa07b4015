"""RenameObject: one commit in which an object appears under its new key and is gone from the old one. No data moves.

What S3 has in directory buckets (API reference, "RenameObject"), done in every bucket: Last-Modified, ETag, metadata,
checksums and tags stay. Where the bucket keeps versions, the new key gets a version and the old one a delete marker,
as a put and a delete would have it; a version's lock stays with the version.

A client token is remembered by the renamed object: who repeats a rename that succeeded gets the same answer.
"""

from __future__ import annotations

import hashlib
from typing import Final, NamedTuple

from msgspec import structs

from gateway.operations.context import Context, check_access, find_bucket, shown_version_id
from gateway.operations.notifications import note_event
from gateway.operations.object_attributes import carried_attributes, settle_attributes
from gateway.operations.objects_delete import Deletion, remove_in
from gateway.s3.attributes import NO_ATTRIBUTES
from gateway.s3.conditions import NO_CONDITIONS, Conditions, evaluate_copy_source, evaluate_rename_target
from gateway.s3.errors import IdempotencyParameterMismatch, InvalidRequest, NoSuchKey
from gateway.store.object_format import Condition
from gateway.store.ports import Version, WriteView

TOKEN_EXTRA: Final = "rename"


class RenameRequest(NamedTuple):
    """What is to be renamed to what, in one bucket; preconditions on both ends; ``token`` empty: none."""

    bucket: str
    source: bytes
    target: bytes
    source_conditions: Conditions = NO_CONDITIONS
    target_conditions: Conditions = NO_CONDITIONS
    token: str = ""

    @property
    def mark(self) -> bytes:
        """What the renamed object remembers: the token, and a digest of everything that was asked."""
        digest = hashlib.sha256(repr(self).encode()).hexdigest()
        return f"{self.token} {digest}".encode()


async def rename_object(context: Context, request: RenameRequest) -> str:
    """Rename. Durable when it returns; returns the new version's id as shown.

    Raises ``NoSuchKey`` without a source, ``PreconditionFailed``, ``InvalidRequest`` for an object renamed to itself or
    a name that ends with a slash, ``IdempotencyParameterMismatch`` for a token used for another rename.
    """
    if request.source == request.target:
        raise InvalidRequest("The source and the destination of a rename must differ.")
    if request.source.endswith(b"/") or request.target.endswith(b"/"):
        raise InvalidRequest("Objects whose names end with a slash cannot be renamed.")
    return await context.store.commit(lambda view: _decide(context, request, view))


def _decide(context: Context, request: RenameRequest, view: WriteView) -> str:
    bucket = find_bucket(context, view, request.bucket, "RenameObject", request.target)
    target = view.current(bucket.uid, request.target)
    if request.token and target is not None and _is_repeated(request, target):
        return shown_version_id(bucket, target.id)
    for operation in ("GetObject", "DeleteObject"):
        check_access(context, view, bucket, operation, request.source)
    source = view.current(bucket.uid, request.source)
    if source is None or source.record.marker:
        raise NoSuchKey(None, Key=request.source.decode())
    evaluate_copy_source(request.source_conditions, source.record.etag, source.record.modified_ms // 1000)
    if target is None or target.record.marker:
        evaluate_rename_target(request.target_conditions, None)
    else:
        evaluate_rename_target(request.target_conditions, target.record.etag, target.record.modified_ms // 1000)
    extra = carried_attributes(view, bucket, source)
    if request.token:
        extra[TOKEN_EXTRA] = request.mark
    extra = settle_attributes(context, view, bucket, request.target, NO_ATTRIBUTES, extra)
    extra.update(note_event(context, view, bucket, ""))
    condition = _condition(request.target_conditions, target)
    record = structs.replace(source.record, condition=condition, extra=extra)
    placed = view.put_object(bucket.uid, request.target, record, versioned=bucket.versioning == "Enabled")
    remove_in(context, view, bucket, Deletion(request.source), None)
    return shown_version_id(bucket, placed.id)


def _is_repeated(request: RenameRequest, target: Version) -> bool:
    """Whether this very rename was done already; ``IdempotencyParameterMismatch`` if its token did another."""
    known = target.record.extra.get(TOKEN_EXTRA, b"")
    if known == request.mark:
        return True
    if known.partition(b" ")[0] == request.token.encode():
        raise IdempotencyParameterMismatch
    return False


def _condition(conditions: Conditions, target: Version | None) -> Condition | None:
    """What the record is to remember of its preconditions, as ``conditions.check_write`` has it."""
    if conditions.if_match is None and conditions.if_none_match is None:
        return None
    header = "If-Match" if conditions.if_match is not None else "If-None-Match"
    return Condition(header, target.order if target is not None else b"")
