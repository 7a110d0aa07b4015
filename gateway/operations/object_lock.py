"""Object Lock where other verbs meet it: every write gets its lock here, every deletion of a version asks here.

``settle_lock`` and ``check_lock`` run inside the commit of the write or deletion, on what is there then. A version's
lock is what its record began with, overridden by its documents. The rules themselves are ``gateway.s3.object_lock``,
the verbs that change a lock ``object_lock_verbs``.
"""

from __future__ import annotations

from collections.abc import Mapping

from gateway.operations.bucket_documents import OBJECT_LOCK, VERSIONING, find_document
from gateway.operations.context import Context, check_access
from gateway.s3.attributes import Attributes
from gateway.s3.errors import AccessDenied, InvalidBucketState, InvalidRequest
from gateway.s3.object_lock import (
    MODES,
    NO_RETENTION,
    LockConfiguration,
    Retention,
    Verdict,
    check_future,
    decode_configuration,
    default_retention,
    encode_configuration,
    weigh_deletion,
)
from gateway.store.ports import Bucket, ReadView, Version, WriteView
from gateway.store.version_document_format import HOLD, RETENTION, decode_retention, encode_retention
from gateway.store.version_document_format import Retention as StoredRetention

MISSING_ON_WRITE = "Bucket is missing ObjectLockConfiguration"
MISSING = "Bucket is missing Object Lock Configuration"
PROTECTED = "Access Denied because object protected by object lock."
BYPASS = "BypassGovernanceRetention"
"""The permission to bypass governance, as ``check_access`` takes it: not an operation of its own."""


def find_lock(view: ReadView, uid: bytes) -> LockConfiguration | None:
    """The configuration of a bucket; None if it has no Object Lock. Next to free."""
    return find_document(view, uid, OBJECT_LOCK, decode_configuration)


def read_retention(attributes: Mapping[str, bytes]) -> Retention:
    """The retention among a version's attributes, ``NO_RETENTION`` if there is none."""
    stored = decode_retention(attributes.get(RETENTION, b""))
    return Retention(MODES[stored.mode], stored.until_ms) if stored.mode else NO_RETENTION


def read_hold(attributes: Mapping[str, bytes]) -> str:
    """The legal hold among a version's attributes: ON, OFF, or empty if there never was one."""
    return attributes.get(HOLD, b"").decode()


def encode_lock(retention: Retention) -> bytes:
    """A retention as versions keep it."""
    return encode_retention(StoredRetention(MODES.index(retention.mode), retention.until_ms))


def lock_attributes(view: ReadView, uid: bytes, version: Version) -> dict[str, bytes]:
    """All attributes of a version that are in force; b"" for what was removed."""
    return {**version.record.extra, **view.version_documents(uid, version)}


# --- where writes and deletions meet it


def settle_lock(
    context: Context, view: WriteView, bucket: Bucket, key: bytes, asked: Attributes, settled: Mapping[str, bytes]
) -> Mapping[str, bytes]:
    """A ``Settler``: the lock a write asks for, else the bucket's default. What is settled already (by a multipart
    upload's creation) stays.
    """
    configuration = find_lock(view, bucket.uid)
    lock = asked.lock
    if configuration is None:
        if lock is not None:
            raise InvalidRequest(MISSING_ON_WRITE)
        return {}
    found: dict[str, bytes] = {}
    retention = NO_RETENTION
    if lock is not None and lock.hold:
        check_access(context, view, bucket, "PutObjectLegalHold", key)
        found[HOLD] = lock.hold.encode()
    if lock is not None and lock.retention.mode:
        check_access(context, view, bucket, "PutObjectRetention", key)
        check_future(lock.retention, view.now_ms)
        retention = lock.retention
    elif RETENTION not in settled:
        retention = default_retention(configuration, view.now_ms)
    if retention.mode:
        found[RETENTION] = encode_lock(retention)
    return found


def check_lock(context: Context, view: WriteView, bucket: Bucket, version: Version, *, bypass: bool) -> None:
    """``AccessDenied`` if ``version`` may not be deleted for good now. ``bypass``: governance, if the caller may."""
    verdict = weigh_version(view, bucket.uid, version)
    if verdict is Verdict.ALLOWED:
        return
    if verdict is Verdict.REFUSED or not bypass:
        raise AccessDenied(PROTECTED)
    check_access(context, view, bucket, BYPASS, version.key, version.id.text)


def weigh_version(view: WriteView, uid: bytes, version: Version) -> Verdict:
    """Whether a version may be deleted for good now; a marker always. Also where the bucket has no lock (any more)."""
    if version.record.marker:
        return Verdict.ALLOWED
    attributes = lock_attributes(view, uid, version)
    return weigh_deletion(read_retention(attributes), read_hold(attributes), view.now_ms)


# --- the bucket


def enable_lock(view: WriteView, uid: bytes) -> None:
    """Make a bucket that was just created one with Object Lock: versioning with it, for good."""
    view.put_document(uid, VERSIONING, b"Enabled")
    view.put_document(uid, OBJECT_LOCK, encode_configuration(LockConfiguration()))


def check_versioning(view: ReadView, uid: bytes, status: str) -> None:
    """``InvalidBucketState`` if versioning is to be suspended where Object Lock needs it."""
    if status != "Enabled" and find_lock(view, uid) is not None:
        raise InvalidBucketState(
            "An Object Lock configuration is present on this bucket, so the versioning state cannot be changed."
        )
