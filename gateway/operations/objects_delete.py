"""DELETE of an object or a version, and DeleteObjects with its results key by key.

What a delete means follows the bucket's versioning: without it the null slot is emptied; with it a delete marker
becomes current; suspended, a marker takes the null slot. Naming a version id removes exactly that version for good.
Deleting what is not there succeeds, as S3 has it.
"""

from __future__ import annotations

from time import monotonic
from typing import Final, NamedTuple

from gateway.operations.conditions import check_comparison, check_delete
from gateway.operations.context import Context, find_bucket, read_version_id
from gateway.operations.notifications import note_event
from gateway.operations.object_lock import check_lock
from gateway.operations.written_acl import written_owner
from gateway.s3.conditions import NO_DELETE_CONDITIONS, DeleteConditions
from gateway.s3.errors import S3Error
from gateway.store.object_format import ObjectRecord
from gateway.store.ports import Bucket, WriteView
from gateway.store.version_ids import NULL, VersionId

BATCH_KEYS: Final = 250  # deletes of one commit: keeps the log batch well under its megabyte with 1,024-byte keys
COMMIT_S_MAX: Final = 0.1
"""How long one commit decides: a policy full of wildcards can take 40 ms a key, and everybody else's writes wait."""


class Deletion(NamedTuple):
    """One thing to delete. The conditions look at the current version, whatever version id is named."""

    key: bytes
    version_id: str | None = None
    conditions: DeleteConditions = NO_DELETE_CONDITIONS
    bypass: bool = False  # of governance retention, if the caller may


class Deleted(NamedTuple):
    """What happened. ``marker``: a delete marker was made, or the version removed was one; ``version_id`` is its id.

    ``marker_made`` tells the two apart for DeleteObjects, which names made markers by another element.
    """

    version_id: str = ""
    marker: bool = False
    marker_made: bool = False


class DeleteResult(NamedTuple):
    """The outcome for one key of DeleteObjects: exactly one of the two is set."""

    deleted: Deleted | None
    error: S3Error | None


def remove_in(
    context: Context, view: WriteView, bucket: Bucket, deletion: Deletion, version: VersionId | None
) -> Deleted:
    """The decision of every delete, inside the commit, once it is allowed. ``version``: the one to remove for good."""
    if deletion.conditions is not NO_DELETE_CONDITIONS:
        check_comparison(context, view, bucket, deletion.key, deletion.conditions.if_match)
        check_delete(deletion.conditions, view.current(bucket.uid, deletion.key))
    if version is not None:
        doomed = view.version(bucket.uid, deletion.key, version)
        if doomed is not None:
            check_lock(context, view, bucket, doomed, bypass=deletion.bypass)
        gone = view.remove_version(bucket.uid, deletion.key, version)
        return Deleted(version.text, gone is not None and gone.record.marker)
    if not bucket.versioning:
        view.remove_version(bucket.uid, deletion.key, NULL)
        return Deleted()
    extra = note_event(context, view, bucket, "DeleteMarkerCreated")
    owner = written_owner(view, bucket, context.principal.id, extra)
    marker = ObjectRecord(marker=True, modified_ms=view.now_ms, owner=owner, extra=extra)
    made = view.put_object(bucket.uid, deletion.key, marker, versioned=bucket.versioning == "Enabled")
    return Deleted(made.id.text, True, True)


async def delete_object(context: Context, name: str, deletion: Deletion) -> Deleted:
    """Delete one key or version. Raises ``PreconditionFailed`` if a condition fails, and the bucket's errors."""
    version = None if deletion.version_id is None else read_version_id(deletion.version_id)
    operation = "DeleteObject" if version is None else "DeleteObjectVersion"

    def decide(view: WriteView) -> Deleted:
        bucket = find_bucket(context, view, name, operation, deletion.key, deletion.version_id)
        return remove_in(context, view, bucket, deletion, version)

    return await context.store.commit(decide)


async def delete_objects(context: Context, name: str, deletions: list[Deletion]) -> list[DeleteResult]:
    """Delete up to 1,000 keys, each on its own: one failing does not keep the others. Results in the order asked.

    The keys of one commit are decided together; their S3 errors are results, not exceptions, so nothing is rolled back.
    """
    with context.store.view() as view:
        find_bucket(context, view, name, "DeleteObjects")
    results: list[DeleteResult] = []
    while len(results) < len(deletions):
        batch = deletions[len(results) : len(results) + BATCH_KEYS]

        def decide(view: WriteView, batch: list[Deletion] = batch) -> list[DeleteResult]:
            return _delete_some(context, view, name, batch)

        results += await context.store.commit(decide)
    return results


def _delete_some(context: Context, view: WriteView, name: str, batch: list[Deletion]) -> list[DeleteResult]:
    """The outcomes of at least the first, and of as many as there is time for."""
    until_s = monotonic() + COMMIT_S_MAX
    results = []
    for deletion in batch:
        results.append(_delete_one(context, view, name, deletion))
        if monotonic() >= until_s:
            break
    return results


def _delete_one(context: Context, view: WriteView, name: str, deletion: Deletion) -> DeleteResult:
    try:
        version = None if deletion.version_id is None else read_version_id(deletion.version_id)
        operation = "DeleteObject" if version is None else "DeleteObjectVersion"
        bucket = find_bucket(context, view, name, operation, deletion.key, deletion.version_id)
        return DeleteResult(remove_in(context, view, bucket, deletion, version), None)
    except S3Error as error:
        return DeleteResult(None, error)
