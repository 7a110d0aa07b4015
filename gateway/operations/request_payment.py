"""Who pays for requests to a bucket. Nobody is billed here; what counts is that others must agree to be."""

from __future__ import annotations

from gateway.identity.bucket_access import REQUEST_PAYMENT
from gateway.operations.context import Context, find_bucket
from gateway.store.ports import WriteView


def get_payer(context: Context, name: str) -> str:
    """GetBucketRequestPayment: ``Requester`` or ``BucketOwner``."""
    with context.store.view() as view:
        bucket = find_bucket(context, view, name, "GetBucketRequestPayment")
        return (view.document(bucket.uid, REQUEST_PAYMENT) or b"BucketOwner").decode()


async def put_payer(context: Context, name: str, payer: str) -> None:
    """PutBucketRequestPayment."""

    def decide(view: WriteView) -> None:
        bucket = find_bucket(context, view, name, "PutBucketRequestPayment")
        view.put_document(bucket.uid, REQUEST_PAYMENT, payer.encode())

    await context.store.commit(decide)
