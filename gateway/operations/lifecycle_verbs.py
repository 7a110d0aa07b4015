"""The verbs of lifecycle: a bucket's rules, set, told and taken back. One transaction each."""

from __future__ import annotations

from gateway.operations.bucket_documents import LIFECYCLE
from gateway.operations.context import Context, find_bucket
from gateway.operations.lifecycle_facts import find_lifecycle
from gateway.s3.errors import NoSuchLifecycleConfiguration
from gateway.s3.lifecycle_document import encode_lifecycle
from gateway.s3.lifecycle_rules import Lifecycle
from gateway.store.ports import WriteView


async def put_lifecycle(context: Context, name: str, lifecycle: Lifecycle) -> None:
    """Set a bucket's rules."""
    body = encode_lifecycle(lifecycle)

    def decide(view: WriteView) -> None:
        bucket = find_bucket(context, view, name, "PutBucketLifecycleConfiguration")
        if view.document(bucket.uid, LIFECYCLE) != body:
            view.put_document(bucket.uid, LIFECYCLE, body)

    await context.store.commit(decide)


def get_lifecycle(context: Context, name: str) -> Lifecycle:
    """A bucket's rules; ``NoSuchLifecycleConfiguration`` if it has none."""
    with context.store.view() as view:
        lifecycle = find_lifecycle(view, find_bucket(context, view, name, "GetBucketLifecycleConfiguration").uid)
    if lifecycle is None:
        raise NoSuchLifecycleConfiguration(None, BucketName=name)
    return lifecycle


async def delete_lifecycle(context: Context, name: str) -> None:
    """Take back a bucket's rules, if it has any."""

    def decide(view: WriteView) -> None:
        bucket = find_bucket(context, view, name, "DeleteBucketLifecycle")
        if view.document(bucket.uid, LIFECYCLE) is not None:
            view.put_document(bucket.uid, LIFECYCLE, None)

    await context.store.commit(decide)
