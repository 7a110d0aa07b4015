"""``skerry restore --at``: a bucket as it was at a time, as a bucket of its own beside it.

Works on a site that is in use, and changes nothing of the bucket that is looked back at. The new bucket is an ordinary
one: S3 clients list and read it, copy out of it what they miss, and delete it when they are done (with ``--read-only``
its policy lets nobody change it until that is deleted). It takes next to no
space, since its objects share the chunks of those they once were; what was collected here since comes from the cloud.
What cannot be had any more (it was overwritten before it was ever shipped) is named, and the exit code says so.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from msgspec import structs

from gateway.cli.opening import OpenSite, opened_site
from gateway.cli.options import load_site_config
from gateway.cli.outcomes import EXIT_FAILED, EXIT_NO, EXIT_OK, EXIT_USAGE, complain, print_json
from gateway.cli.progress import PhaseProgress
from gateway.operations.bucket_documents import OWNERSHIP, POLICY, PUBLIC_ACCESS_BLOCK
from gateway.s3.errors import S3Error
from gateway.s3.names import check_bucket_name
from gateway.store.document_format import BucketRecord
from gateway.store.errors import ChunkGone, ChunkUnavailable, Damaged
from gateway.store.history import History, PastObject
from gateway.store.item_format import is_local_uid
from gateway.store.ports import Bucket, WriteView
from replication.settings import DAY_MS

OBJECTS_AT_ONCE: Final = 100
_COPIED_DOCUMENTS: Final = (OWNERSHIP, PUBLIC_ACCESS_BLOCK)
_CHANGING: Final = ["s3:Put*", "s3:Delete*", "s3:RestoreObject", "s3:BypassGovernanceRetention"]
_LOCKS: Final = ("retention", "hold")  # of the version that was; the new one is another


class BadRequest(Exception):
    """The options name something that cannot be."""


class Restored(NamedTuple):
    """What came back, and what could not (key and reason)."""

    bucket: str
    objects: int
    bytes: int
    missing: list[tuple[str, str]]


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options of ``restore`` that look back in time."""
    parser.add_argument(
        "--at", metavar="TIME", help="of a site in use: a bucket as it was (ISO 8601, UTC unless it says otherwise)"
    )
    parser.add_argument("--bucket", metavar="NAME", help="with --at: which bucket")
    parser.add_argument("--as", dest="alias", metavar="NAME", help="with --at: the new bucket (default: NAME-at-TIME)")
    parser.add_argument("--prefix", default="", metavar="PREFIX", help="with --at: only keys that begin so")
    parser.add_argument(
        "--read-only",
        action="store_true",
        help="with --at: the new bucket's policy forbids to write and to delete objects",
    )


def parse_time(text: str) -> int:
    """Unix ms of an ISO 8601 time; without an offset it is UTC. ``BadRequest``."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise BadRequest(f"--at: not an ISO 8601 time such as 2026-11-24T05:00:00Z: {text!r}") from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)


def is_beyond(at_ms: int, kept_days: float, now_ms: int) -> bool:
    """Whether a time is so long ago that bytes of then may be gone."""
    return at_ms < now_ms - kept_days * DAY_MS


def restore_at(arguments: argparse.Namespace) -> int:
    """Run ``skerry restore --at``: the exit code. 1: some objects could not be had."""
    try:
        at_ms = parse_time(arguments.at)
        if not arguments.bucket:
            raise BadRequest("--at needs --bucket")
        alias = arguments.alias or _default_alias(arguments.bucket, at_ms)
        try:
            check_bucket_name(alias)
        except S3Error as error:
            raise BadRequest(f"--as: {alias!r}: {error.text}") from None
    except BadRequest as error:
        complain(str(error))
        return EXIT_USAGE
    restored = asyncio.run(_run(arguments, alias, at_ms))
    if restored is None:
        return EXIT_FAILED
    _tell(arguments, restored)
    kept_days = load_site_config(arguments).retention.point_in_time_days
    if restored.missing and is_beyond(at_ms, kept_days, time.time_ns() // 1_000_000):
        complain(
            f"{arguments.at} is longer ago than [retention] point_in_time_days ({kept_days:g}): bytes that nothing has "
            "needed for so long may have left the bucket"
        )
    return EXIT_NO if restored.missing else EXIT_OK


def _default_alias(bucket: str, at_ms: int) -> str:
    return f"{bucket[:40]}-at-{datetime.fromtimestamp(at_ms / 1000, UTC):%Y%m%dt%H%M%S}z"


async def _run(arguments: argparse.Namespace, alias: str, at_ms: int) -> Restored | None:
    async with opened_site(load_site_config(arguments)) as site:
        with site.store.view() as view:
            source = view.bucket(arguments.bucket)
            if source is None:
                complain(f"there is no bucket {arguments.bucket}")
                return None
            if view.bucket(alias) is not None:
                complain(f"there is a bucket {alias} already: name another with --as")
                return None
        store = site.store
        history = History(store.view, store.log, store.shared)
        with PhaseProgress() as bars:
            past = await asyncio.to_thread(
                lambda: [
                    found
                    for found in history.objects_at(source.uid, at_ms, lambda done: bars.tell("batches", done, 0))
                    if found.key.startswith(arguments.prefix.encode())
                ]
            )
            target = await store.commit(lambda view: _make_bucket(view, source, alias, read_only=arguments.read_only))
            return await _bring_back(site, target, past, bars)


def _make_bucket(view: WriteView, source: Bucket, alias: str, *, read_only: bool) -> Bucket:
    made = view.put_bucket(
        BucketRecord(name=alias, owner=source.record.owner, created_ms=view.now_ms, region=source.record.region),
        local=is_local_uid(source.uid),
    )
    for name in _COPIED_DOCUMENTS:
        if (body := view.document(source.uid, name)) is not None:
            view.put_document(made.uid, name, body)
    if read_only:
        view.put_document(made.uid, POLICY, _forbid_changes(alias))
    return made


def _forbid_changes(bucket: str) -> bytes:
    """A bucket policy that lets nobody change an object, the owner neither."""
    statement = {
        "Sid": "AsItWas",
        "Effect": "Deny",
        "Principal": "*",
        "Action": _CHANGING,
        "Resource": f"arn:aws:s3:::{bucket}/*",
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}).encode()


async def _bring_back(site: OpenSite, target: Bucket, past: list[PastObject], bars: PhaseProgress) -> Restored:
    missing: list[tuple[str, str]] = []
    objects = size = 0
    for first in range(0, len(past), OBJECTS_AT_ONCE):
        block = [_as_new(found) for found in past[first : first + OBJECTS_AT_ONCE]]
        try:
            await site.store.commit(lambda view, block=block: _put_all(view, target, block))  # type: ignore[misc]
            brought = block
        except ChunkGone:
            brought = [found for found in block if await _bring_one(site, target, found, missing)]
        objects += len(brought)
        size += sum(found.record.size for found in brought)
        bars.tell("objects", first + len(block), len(past))
    return Restored(target.name, objects, size, missing)


def _as_new(found: PastObject) -> PastObject:
    """The record as a new write has it: its condition and its locks were of the version that was."""
    extra = {name: value for name, value in found.record.extra.items() if name not in _LOCKS}
    return PastObject(found.key, structs.replace(found.record, condition=None, extra=extra))


def _put_all(view: WriteView, target: Bucket, block: list[PastObject]) -> None:
    for found in block:
        view.put_object(target.uid, found.key, found.record, versioned=False)


async def _bring_one(site: OpenSite, target: Bucket, found: PastObject, missing: list[tuple[str, str]]) -> bool:
    """Read the bytes, wherever they are, and write them anew; most of it deduplicates."""
    record, store, local = found.record, site.store, is_local_uid(target.uid)
    try:
        # A part table is one chunk, however long: see ``multipart_complete``.
        async with store.writer(local=local) as writer, store.writer(fixed=True, local=local) as table_writer:
            async for piece in store.read(record.content):
                await writer.write(piece)
            content = await writer.finish()
            parts = record.parts
            if parts is not None:
                async for piece in store.read((parts,)):
                    await table_writer.write(piece)
                parts = (await table_writer.finish()).refs[0]
            anew = PastObject(found.key, structs.replace(record, content=content.refs, parts=parts))
            await store.commit(lambda view: _put_all(view, target, [anew]))
    except (ChunkUnavailable, ChunkGone, Damaged) as error:
        missing.append((found.key.decode("utf-8", "replace"), str(error)))
        return False
    return True


def _tell(arguments: argparse.Namespace, restored: Restored) -> None:
    if arguments.json:
        document: dict[str, Any] = restored._asdict()
        document["missing"] = [{"key": key, "reason": reason} for key, reason in restored.missing]
        print_json(document)
        return
    print(f"bucket {restored.bucket}: {restored.objects} objects, {restored.bytes} bytes, as of {arguments.at}")
    for key, reason in restored.missing:
        print(f"not to be had: {key}: {reason}")
