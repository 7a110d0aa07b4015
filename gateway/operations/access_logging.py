"""Server access logging of buckets: the setting, and delivering a log object into its target bucket.

A target must belong to the owner of the bucket that is logged, and whoever sets it must be allowed to put objects
there; its policy may still deny (the object is put in the owner's name). Which requests are logged, and when lines
become an object, is ``gateway/http/access_logs``.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from gateway.identity.arns import account_id
from gateway.identity.principals import Principal
from gateway.operations.bodies import Received
from gateway.operations.bucket_documents import LOGGING
from gateway.operations.configurations import get_document, put_document
from gateway.operations.context import Context, check_access
from gateway.operations.digests import Digester
from gateway.operations.objects_put import PutRequest, put_object
from gateway.s3.errors import InvalidTargetBucketForLogging
from gateway.s3.logging_format import LogSource, LogTarget, decode_logging, render_logging
from gateway.store.document_format import AccessKeyRecord
from gateway.store.ports import Bucket, ContentWriter, ReadView

_ALGORITHM: Final = "CRC64NVME"


class LoggedBucket(NamedTuple):
    """A bucket whose requests are logged. ``owner``: user id, ``shown_owner``: as lines name it."""

    owner: str
    shown_owner: str
    source: LogSource
    target: LogTarget


async def put_logging(context: Context, name: str, target: LogTarget | None) -> None:
    """Set or end a bucket's logging. ``InvalidTargetBucketForLogging`` unless the target is there and the owner's."""

    def check(view: ReadView, bucket: Bucket) -> None:
        if target is None:
            return
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

    body = None if target is None else render_logging(target)
    await put_document(context, name, "PutBucketLogging", LOGGING, body, check)


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
    if owner is None or target is None or target.record.owner != logged.owner:
        raise InvalidTargetBucketForLogging(None, TargetBucket=logged.target.bucket)
    writer = context._replace(principal=Principal(owner, AccessKeyRecord()))
    request = PutRequest(logged.target.bucket, key.encode(), {"content-type": "text/plain"})
    await put_object(writer, request, _Lines(lines))
