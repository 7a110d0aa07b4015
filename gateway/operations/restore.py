"""RestoreObject: an archived version may be read again for some days.

The copy can be read at once: what is not on the site is fetched when it is read, and in the background by the worker
that took the request, so that it is soon local. When its days are over reads are refused again; the bytes are given up
by the next lifecycle pass. The days are an attribute of the version, so that all sites of the realm agree on them.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Final

from gateway.operations.context import Context
from gateway.operations.objects_get import locate_version
from gateway.operations.storage_classes import RESTORE, class_of, encode_until, mark_cold, restored_until_ms
from gateway.s3.errors import InvalidObjectState, ObjectAlreadyInActiveTierError
from gateway.s3.lifecycle_rules import ARCHIVES, Calendar
from gateway.s3.restore_requests import RestoreRequest
from gateway.store.errors import StoreError
from gateway.store.ports import Store, WriteView
from replication.change_format import Ref

log = logging.getLogger("skerry.restore")
_fetching: Final[set[asyncio.Task[None]]] = set()


async def restore_object(
    context: Context, name: str, key: bytes, version_id: str | None, wanted: RestoreRequest
) -> bool:
    """Let an archived version be read for ``wanted.days``: True if that begins now, False if its end was set anew.

    Raises ``InvalidObjectState`` for what is not archived (``ObjectAlreadyInActiveTierError`` in intelligent tiering).
    """

    def decide(view: WriteView) -> tuple[bool, tuple[Ref, ...]]:
        bucket, version = locate_version(context, view, name, key, version_id, "RestoreObject", method="POST")
        documents = view.version_documents(bucket.uid, version)
        storage_class = class_of(version.record, documents)
        if storage_class == "INTELLIGENT_TIERING":
            raise ObjectAlreadyInActiveTierError
        if storage_class not in ARCHIVES:
            raise InvalidObjectState(
                "Restore is not allowed for the object's current storage class", StorageClass=storage_class
            )
        until_ms = Calendar(context.settings.lifecycle_day_ms).due_ms(view.now_ms, wanted.days)
        mark_cold(view, bucket)
        view.put_version_document(bucket.uid, version, RESTORE, encode_until(until_ms))
        return restored_until_ms(documents) <= view.now_ms, version.record.refs()

    begun, refs = await context.store.commit(decide)
    if begun and refs:
        task = asyncio.create_task(_fetch(context.store, refs))
        _fetching.add(task)
        task.add_done_callback(_fetching.discard)
    return begun


async def _fetch(store: Store, refs: tuple[Ref, ...]) -> None:
    """Bring the bytes back ahead of the reads; if that fails, reads fetch what they need themselves."""
    try:
        await store.fetch_local(refs)
    except StoreError as error:
        log.warning("a restored object could not be fetched yet: %s", error)
