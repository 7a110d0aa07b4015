"""Server access logging of buckets: the setting, and delivering a log object into its target bucket.

A target must belong to the owner of the bucket that is logged, and whoever sets it must be allowed to put objects
there; its policy may still deny (the object is put in the owner's name). Which requests are logged, and when lines
become an object, is ``gateway/http/access_logs``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.identity.arns import account_id
from gateway.identity.bucket_access import has_acls
from gateway.identity.principals import Principal
from gateway.operations.acl_grantees import resolve_grants
from gateway.operations.bodies import Received
from gateway.operations.bucket_documents import LOGGING
from gateway.operations.configurations import get_document
from gateway.operations.context import Context, check_access, find_bucket
from gateway.operations.digests import Digester
from gateway.operations.objects_put import PutRequest, put_object
from gateway.s3.acl import CANONICAL_USER, FULL_CONTROL, Grant
from gateway.s3.acl_headers import AclRequest
from gateway.s3.attributes import NO_ATTRIBUTES, Attributes
from gateway.s3.errors import AccessControlListNotSupported, InvalidTargetBucketForLogging
from gateway.s3.logging_format import LogSource, LogTarget, decode_logging, render_logging
from gateway.store.document_format import AccessKeyRecord
from gateway.store.ports import Bucket, ContentWriter, ReadView, WriteView

_ALGORITHM: Final = "CRC64NVME"


class LoggedBucket(NamedTuple):
    """A bucket whose requests are logged. ``owner``: user id, ``shown_owner``: as lines name it."""

    owner: str
    shown_owner: str
    source: LogSource
    target: LogTarget


async def put_logging(context: Context, name: str, target: LogTarget | None) -> None:
    """Set or end a bucket's logging. ``InvalidTargetBucketForLogging`` unless the target is there and the owner's;
    ``AccessControlListNotSupported`` for grants where the target has no ACLs.
    """

    def check(view: ReadView, bucket: Bucket, target: LogTarget) -> LogTarget:
        found = view.bucket(target.bucket)
        if found is None:
            raise InvalidTargetBucketForLogging(None, TargetBucket=target.bucket)
        if found.record.owner != bucket.record.owner:
            raise InvalidTargetBucketForLogging(
                "The owner for the bucket to be logged and the target bucket must be the same.",
                TargetBucket=target.bucket,
            )
        # The log is put in the owner's name: a user of the account must be allowed to put there, too.
        check_access(context, view, found, "PutObject", f"{target.prefix}log".encode())
        if target.grants and not has_acls(view, found):
            raise AccessControlListNotSupported
        return target._replace(grants=resolve_grants(view, target.grants))

    def decide(view: WriteView) -> None:
        bucket = find_bucket(context, view, name, "PutBucketLogging")
        body = None if target is None else render_logging(check(view, bucket, target))
        if body != view.document(bucket.uid, LOGGING):
            view.put_document(bucket.uid, LOGGING, body)

    await context.store.commit(decide)


def get_logging(context: Context, name: str) -> LogTarget | None:
    """Where a bucket's log goes."""
    body = get_document(context, name, "GetBucketLogging", LOGGING)
    return None if body is None else decode_logging(body)


def find_logged(view: ReadView, region: str) -> dict[str, LoggedBucket]:
    """Every bucket whose requests are logged, by name."""
    found = {}
    for bucket in view.buckets():
        body = view.document(bucket.uid, LOGGING)
        target = None if body is None else decode_logging(body)
        if target is None:
            continue
        owner = view.user(bucket.record.owner)
        source = LogSource(account_id(bucket.record.owner), bucket.record.region or region, bucket.name)
        shown = owner.canonical_id if owner is not None else bucket.record.owner
        found[bucket.name] = LoggedBucket(bucket.record.owner, shown, source, target)
    return found


class _Lines:
    """Bytes at hand as a ``Body``."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    async def pour(self, writer: ContentWriter) -> Received:
        """Write all of it."""
        digester = Digester((_ALGORITHM,))
        await digester.update(self._data)
        await writer.write(self._data)
        digests = await digester.finish()
        return Received(len(self._data), digests.md5, digests.checksums)


async def deliver_log(context: Context, logged: LoggedBucket, key: str, lines: bytes) -> None:
    """Put one log object, in the name of the bucket's owner. Raises S3 errors (the target is gone, or denies)."""
    with context.store.view() as view:
        owner = view.user(logged.owner)
        target = view.bucket(logged.target.bucket)
        granted = bool(logged.target.grants) and target is not None and has_acls(view, target)
    if owner is None or target is None or target.record.owner != logged.owner:
        raise InvalidTargetBucketForLogging(None, TargetBucket=logged.target.bucket)
    writer = context._replace(principal=Principal(owner, AccessKeyRecord()))
    acl = AclRequest("", (Grant(CANONICAL_USER, logged.owner, FULL_CONTROL), *logged.target.grants))
    attributes = Attributes(acl=acl) if granted else NO_ATTRIBUTES
    request = PutRequest(logged.target.bucket, key.encode(), {"content-type": "text/plain"}, attributes=attributes)
    await put_object(writer, request, _Lines(lines))
