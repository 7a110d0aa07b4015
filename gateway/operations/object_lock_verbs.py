"""The six verbs of Object Lock: a bucket's configuration, a version's retention and legal hold. One commit each."""

from __future__ import annotations

from gateway.operations.bucket_documents import OBJECT_LOCK
from gateway.operations.context import Context, check_access, find_bucket
from gateway.operations.object_lock import (
    BYPASS,
    MISSING,
    PROTECTED,
    encode_lock,
    find_lock,
    lock_attributes,
    read_hold,
    read_retention,
)
from gateway.operations.objects_get import locate_version
from gateway.s3.errors import (
    AccessDenied,
    InvalidBucketState,
    InvalidRequest,
    NoSuchObjectLockConfiguration,
    ObjectLockConfigurationNotFoundError,
)
from gateway.s3.object_lock import (
    LockConfiguration,
    Retention,
    Verdict,
    check_future,
    encode_configuration,
    weigh_change,
)
from gateway.store.ports import Bucket, ReadView, Version, WriteView
from gateway.store.version_document_format import HOLD, RETENTION


def get_lock_configuration(context: Context, name: str) -> LockConfiguration:
    """The bucket's configuration; ``ObjectLockConfigurationNotFoundError`` if it has no Object Lock."""
    with context.store.view() as view:
        bucket = find_bucket(context, view, name, "GetObjectLockConfiguration")
        configuration = find_lock(view, bucket.uid)
    if configuration is None:
        raise ObjectLockConfigurationNotFoundError(None, BucketName=name)
    return configuration


async def put_lock_configuration(context: Context, name: str, configuration: LockConfiguration) -> None:
    """Set the default retention, and enable Object Lock where it was not: only with versioning enabled."""

    def decide(view: WriteView) -> None:
        bucket = find_bucket(context, view, name, "PutObjectLockConfiguration")
        if bucket.versioning != "Enabled":
            raise InvalidBucketState(
                "Versioning must be 'Enabled' on the bucket to apply a Object Lock configuration", BucketName=name
            )
        body = encode_configuration(configuration)
        if view.document(bucket.uid, OBJECT_LOCK) != body:
            view.put_document(bucket.uid, OBJECT_LOCK, body)

    await context.store.commit(decide)


# --- a version


def _find_locked(
    context: Context, view: ReadView, name: str, key: bytes, version_id: str | None, operation: str
) -> tuple[Bucket, Version]:
    """The version named, in a bucket with Object Lock; ``InvalidRequest`` in one without."""
    bucket = find_bucket(context, view, name, operation, key, version_id, existing=True)
    if find_lock(view, bucket.uid) is None:
        raise InvalidRequest(MISSING)
    return locate_version(context, view, name, key, version_id, operation)


def get_retention(context: Context, name: str, key: bytes, version_id: str | None) -> Retention:
    """The retention of a version, over or not; ``NoSuchObjectLockConfiguration`` if it has none."""
    with context.store.view() as view:
        bucket, version = _find_locked(context, view, name, key, version_id, "GetObjectRetention")
        retention = read_retention(lock_attributes(view, bucket.uid, version))
    if not retention.mode:
        raise NoSuchObjectLockConfiguration
    return retention


async def put_retention(
    context: Context, name: str, key: bytes, version_id: str | None, wanted: Retention, *, bypass: bool
) -> None:
    """Set or extend a version's retention; shorten, change or remove it as far as its mode lets. ``AccessDenied``."""

    def decide(view: WriteView) -> None:
        bucket, version = _find_locked(context, view, name, key, version_id, "PutObjectRetention")
        check_future(wanted, view.now_ms)
        current = read_retention(lock_attributes(view, bucket.uid, version))
        verdict = weigh_change(current, wanted, view.now_ms)
        if verdict is Verdict.REFUSED or (verdict is Verdict.NEEDS_BYPASS and not bypass):
            raise AccessDenied(PROTECTED)
        if verdict is Verdict.NEEDS_BYPASS:
            check_access(context, view, bucket, BYPASS, key, version.id.text)
        view.put_version_document(bucket.uid, version, RETENTION, encode_lock(wanted) if wanted.mode else None)

    await context.store.commit(decide)


def get_hold(context: Context, name: str, key: bytes, version_id: str | None) -> str:
    """The legal hold of a version, ON or OFF; ``NoSuchObjectLockConfiguration`` if there never was one."""
    with context.store.view() as view:
        bucket, version = _find_locked(context, view, name, key, version_id, "GetObjectLegalHold")
        hold = read_hold(lock_attributes(view, bucket.uid, version))
    if not hold:
        raise NoSuchObjectLockConfiguration
    return hold


async def put_hold(context: Context, name: str, key: bytes, version_id: str | None, hold: str) -> None:
    """Place or lift a legal hold (ON, OFF)."""

    def decide(view: WriteView) -> None:
        bucket, version = _find_locked(context, view, name, key, version_id, "PutObjectLegalHold")
        view.put_version_document(bucket.uid, version, HOLD, hold.encode())

    await context.store.commit(decide)
