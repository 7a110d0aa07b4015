"""Bucket configurations that are kept and given back: acceleration, replication, those with ids, access by tags. See
``gateway.s3.configurations`` and ``gateway.s3.replication_configuration`` for what they (do not) do.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from typing import Final

from aiohttp import web

from gateway.http.calls import Call, CallHandler
from gateway.operations.bucket_documents import ABAC, ACCELERATE, REPLICATION
from gateway.operations.configurations import (
    delete_named,
    get_bucket,
    get_document,
    list_named,
    put_document,
    put_named,
)
from gateway.s3.configurations import (
    ANALYTICS,
    INTELLIGENT_TIERING,
    INVENTORY,
    METRICS,
    Named,
    parse_abac,
    parse_accelerate,
    parse_id,
    parse_named,
    render_abac,
    render_one,
    render_page,
)
from gateway.s3.documents import body_bytes_max
from gateway.s3.errors import NoSuchConfiguration, ReplicationConfigurationNotFoundError, invalid_argument
from gateway.s3.replication_configuration import ROOT as REPLICATION_ROOT
from gateway.s3.replication_configuration import check_versioned, describe_realm, parse_replication
from gateway.s3.routing import Operation
from gateway.store.item_format import is_local_uid


async def put_accelerate(call: Call) -> web.StreamResponse:
    """PutBucketAccelerateConfiguration."""
    get_bucket(call.context, call.bucket, "PutBucketAccelerateConfiguration")
    body = parse_accelerate(await call.read_document(body_bytes_max("AccelerateConfiguration")), call.bucket)
    await put_document(call.context, call.bucket, "PutBucketAccelerateConfiguration", ACCELERATE, body)
    return call.answer()


async def get_accelerate(call: Call) -> web.StreamResponse:
    """GetBucketAccelerateConfiguration."""
    body = get_document(call.context, call.bucket, "GetBucketAccelerateConfiguration", ACCELERATE)
    return call.answer(body=render_one(body or b"<AccelerateConfiguration/>", "AccelerateConfiguration"))


async def put_abac(call: Call) -> web.StreamResponse:
    """PutBucketAbac."""
    get_bucket(call.context, call.bucket, "PutBucketAbac")
    status = parse_abac(await call.read_document(body_bytes_max("AbacStatus")))
    await put_document(call.context, call.bucket, "PutBucketAbac", ABAC, status)
    return call.answer()


async def get_abac(call: Call) -> web.StreamResponse:
    """GetBucketAbac."""
    return call.answer(body=render_abac(get_document(call.context, call.bucket, "GetBucketAbac", ABAC) or b"Disabled"))


async def put_replication(call: Call) -> web.StreamResponse:
    """PutBucketReplication."""
    versioning = get_bucket(call.context, call.bucket, "PutBucketReplication").versioning
    body = await call.read_document(body_bytes_max(REPLICATION_ROOT))
    document = parse_replication(body, versioning)
    await put_document(
        call.context,
        call.bucket,
        "PutBucketReplication",
        REPLICATION,
        document,
        lambda _, now: check_versioned(now.versioning),
    )
    return call.answer()


async def get_replication(call: Call) -> web.StreamResponse:
    """GetBucketReplication: the rules that were put; else, where there is a cloud, what the realm does by itself."""
    body = get_document(call.context, call.bucket, "GetBucketReplication", REPLICATION)
    bucket = get_bucket(call.context, call.bucket, "GetBucketReplication")
    if body is None and call.context.settings.has_cloud and not is_local_uid(bucket.uid):
        body = describe_realm(call.bucket)
    if body is None:
        raise ReplicationConfigurationNotFoundError(None, BucketName=call.bucket)
    return call.answer(body=render_one(body, REPLICATION_ROOT))


async def delete_replication(call: Call) -> web.StreamResponse:
    """DeleteBucketReplication."""
    await put_document(call.context, call.bucket, "DeleteBucketReplication", REPLICATION, None)
    return call.answer(204)


def _named_calls(
    kind: Named, put: Operation, get: Operation, delete: Operation, listing: Operation
) -> dict[Operation, CallHandler]:
    """The four verbs of a kind of configuration."""

    async def put_one(call: Call) -> web.StreamResponse:
        get_bucket(call.context, call.bucket, put.value)
        ident = parse_id(call.query.params)
        body = parse_named(kind, ident, await call.read_document(body_bytes_max(kind.root)))
        await put_named(call.context, call.bucket, put.value, kind.kind, ident, body)
        return call.answer()

    async def get_one(call: Call) -> web.StreamResponse:
        ident = parse_id(call.query.params)
        body = get_document(call.context, call.bucket, get.value, f"{kind.kind}/{ident}")
        if body is None:
            raise NoSuchConfiguration(None, BucketName=call.bucket)
        return call.answer(body=render_one(body, kind.root))

    async def delete_one(call: Call) -> web.StreamResponse:
        ident = parse_id(call.query.params)
        await delete_named(call.context, call.bucket, delete.value, kind.kind, ident)
        return call.answer(204)

    async def list_all(call: Call) -> web.StreamResponse:
        token = call.query.params.get("continuation-token", "")
        page = list_named(call.context, call.bucket, listing.value, kind.kind, _read_token(token))
        next_token = urlsafe_b64encode(page.next_after.encode()).decode() if page.next_after else ""
        return call.answer(body=render_page(kind, page.documents, token, next_token))

    return {put: put_one, get: get_one, delete: delete_one, listing: list_all}


def _read_token(token: str) -> str:
    try:
        return urlsafe_b64decode(token.encode("ascii")).decode("ascii")
    except ValueError:
        raise invalid_argument("The continuation token provided is incorrect", "continuation-token", token) from None


HANDLERS: Final[dict[Operation, CallHandler]] = {
    Operation.DeleteBucketReplication: delete_replication,
    Operation.GetBucketAbac: get_abac,
    Operation.GetBucketAccelerateConfiguration: get_accelerate,
    Operation.GetBucketReplication: get_replication,
    Operation.PutBucketAbac: put_abac,
    Operation.PutBucketAccelerateConfiguration: put_accelerate,
    Operation.PutBucketReplication: put_replication,
    **_named_calls(
        ANALYTICS,
        Operation.PutBucketAnalyticsConfiguration,
        Operation.GetBucketAnalyticsConfiguration,
        Operation.DeleteBucketAnalyticsConfiguration,
        Operation.ListBucketAnalyticsConfigurations,
    ),
    **_named_calls(
        INTELLIGENT_TIERING,
        Operation.PutBucketIntelligentTieringConfiguration,
        Operation.GetBucketIntelligentTieringConfiguration,
        Operation.DeleteBucketIntelligentTieringConfiguration,
        Operation.ListBucketIntelligentTieringConfigurations,
    ),
    **_named_calls(
        INVENTORY,
        Operation.PutBucketInventoryConfiguration,
        Operation.GetBucketInventoryConfiguration,
        Operation.DeleteBucketInventoryConfiguration,
        Operation.ListBucketInventoryConfigurations,
    ),
    **_named_calls(
        METRICS,
        Operation.PutBucketMetricsConfiguration,
        Operation.GetBucketMetricsConfiguration,
        Operation.DeleteBucketMetricsConfiguration,
        Operation.ListBucketMetricsConfigurations,
    ),
}
"""What this file answers."""
