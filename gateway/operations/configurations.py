"""Documents of a bucket that a client puts, gets and deletes whole: one commit or one snapshot each.

Those that there can be several of, by an id of the client's, are documents ``<kind>/<id>``: two sites that change
different ones both keep what they did. What a document means is not known here.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, NamedTuple

from gateway.operations.context import Context, find_bucket
from gateway.s3.errors import NoSuchConfiguration, TooManyConfigurations
from gateway.store.ports import Bucket, ReadView, WriteView

COUNT_MAX: Final = 1000
PAGE_MAX: Final = 100


class ConfigurationPage(NamedTuple):
    """A page of the configurations of one kind: documents in the order of their ids, and the id to go on behind."""

    documents: list[bytes]
    next_after: str


def get_bucket(context: Context, name: str, operation: str) -> Bucket:
    """The bucket, if the caller may do ``operation`` on it."""
    with context.store.view() as view:
        return find_bucket(context, view, name, operation)


def get_document(context: Context, bucket_name: str, operation: str, name: str) -> bytes | None:
    """The document, or None."""
    with context.store.view() as view:
        return view.document(find_bucket(context, view, bucket_name, operation).uid, name)


async def put_document(
    context: Context,
    bucket_name: str,
    operation: str,
    name: str,
    body: bytes | None,
    check: Callable[[ReadView, Bucket], None] = lambda view, bucket: None,
) -> None:
    """Set (or, with None, remove) a document; ``check`` may refuse, in the commit."""

    def decide(view: WriteView) -> None:
        bucket = find_bucket(context, view, bucket_name, operation)
        check(view, bucket)
        if body != view.document(bucket.uid, name):
            view.put_document(bucket.uid, name, body)

    await context.store.commit(decide)


def _names(view: ReadView, bucket: Bucket, kind: str) -> list[str]:
    return [name for name in view.document_names(bucket.uid) if name.startswith(kind + "/")]


def list_named(context: Context, bucket_name: str, operation: str, kind: str, after: str) -> ConfigurationPage:
    """The configurations of ``kind`` behind id ``after``: at most 100 a page, as with AWS."""
    with context.store.view() as view:
        bucket = find_bucket(context, view, bucket_name, operation)
        names = [name for name in _names(view, bucket, kind) if name > f"{kind}/{after}" or not after]
        page = names[:PAGE_MAX]
        documents = [view.document(bucket.uid, name) or b"" for name in page]
    more = len(names) > len(page)
    return ConfigurationPage(documents, page[-1].removeprefix(kind + "/") if more else "")


async def put_named(context: Context, bucket_name: str, operation: str, kind: str, ident: str, body: bytes) -> None:
    """Set the configuration ``ident``; ``TooManyConfigurations`` beyond 1,000 of a kind."""

    def check(view: ReadView, bucket: Bucket) -> None:
        name = f"{kind}/{ident}"
        if view.document(bucket.uid, name) is None and len(_names(view, bucket, kind)) >= COUNT_MAX:
            raise TooManyConfigurations

    await put_document(context, bucket_name, operation, f"{kind}/{ident}", body, check)


async def delete_named(context: Context, bucket_name: str, operation: str, kind: str, ident: str) -> None:
    """Remove the configuration ``ident``; ``NoSuchConfiguration`` if there is none."""

    def check(view: ReadView, bucket: Bucket) -> None:
        if view.document(bucket.uid, f"{kind}/{ident}") is None:
            raise NoSuchConfiguration(None, BucketName=bucket_name)

    await put_document(context, bucket_name, operation, f"{kind}/{ident}", None, check)
