"""What the store is doing when it crashes: small workloads that note, between its file operations, what was promised.

``begin`` notes come before a write is asked for, ``acknowledged`` notes after the store said it is durable. Keys are
text, values digests (None: deleted).
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Protocol

from gateway.store.document_format import BucketRecord, PartRecord, UploadRecord
from gateway.store.object_format import ObjectRecord
from gateway.store.ports import Content, ReadView, Store, Version, WriteView
from gateway.store.store import SiteStore
from gateway.store.version_ids import NULL
from replication.keys import write_key_directory
from tests.gateway.store.held_frames import HeldFrames

BUCKET = "crash"
DOCUMENT, TAGS, KEY_OBJECT = "document: ", "tags: ", "key object: "
"""What names of documents and of key objects begin with, where objects' keys stand."""
Value = str | None


class Noting(Protocol):
    """Whoever keeps notes between the file calls it records, or has recorded."""

    def note(self, what: str, value: object) -> None:
        """Keep a note."""


@dataclass(frozen=True)
class Step:
    """A note's value: this key was to become, or became, this."""

    key: str
    value: Value


def digest(data: bytes) -> str:
    """How values are compared."""
    return hashlib.sha256(data).hexdigest()


class Writer:
    """Writes to one bucket of a store and notes what was promised."""

    def __init__(self, store: Store, files: Noting, seed: int, cloud: HeldFrames | None = None) -> None:
        self.store, self.files, self.random, self.cloud = store, files, random.Random(seed), cloud
        self.uid = b""

    async def make_bucket(self) -> None:
        """Create the bucket, or find it."""
        self.uid = await self.store.commit(find_or_make_bucket)

    async def put(self, key: str, size: int) -> None:
        """Put ``size`` random bytes under ``key``, in the null slot."""
        data = self.random.randbytes(size)
        await self._step(key, digest(data), lambda: self._put(key, data))

    async def replace_middle(self, key: str, data: bytes) -> bytes:
        """Put ``data`` with 100 bytes in its middle changed, as a new version of ``key``: a patch, if large enough."""
        middle = len(data) // 2
        changed = data[:middle] + self.random.randbytes(100) + data[middle + 100 :]
        await self._step(key, digest(changed), lambda: self._put(key, changed))
        return changed

    async def delete(self, key: str) -> None:
        """Delete what is under ``key``."""

        def remove(view: WriteView) -> None:
            view.remove_version(self.uid, key.encode(), NULL)

        async def run() -> None:
            await self.store.commit(remove)

        await self._step(key, None, run)

    async def set_document(self, name: str, value: str) -> None:
        """Set a document of the bucket."""

        async def run() -> None:
            await self.store.commit(lambda view: view.put_document(self.uid, name, value.encode()))

        await self._step(DOCUMENT + name, value, run)

    async def set_tags(self, key: str, value: str) -> None:
        """Set the tags of what is under ``key``, which is not to be written again."""

        def tag(view: WriteView) -> None:
            version = view.current(self.uid, key.encode())
            assert version is not None
            view.put_version_document(self.uid, version, "tags", value.encode())

        async def run() -> None:
            await self.store.commit(tag)

        await self._step(TAGS + key, value, run)

    async def store_keys(self, directory: Path, objects: dict[str, bytes]) -> None:
        """Keep key objects beside the data, all of them a promise once it returned."""
        steps = [Step(KEY_OBJECT + name, digest(data)) for name, data in objects.items()]
        for step in steps:
            self.files.note("begin", step)
        write_key_directory(directory, objects)
        for step in steps:
            self.files.note("acknowledged", step)

    async def ship(self) -> None:
        """Have the cloud hold everything: packs that a crash of this machine leaves alone."""
        assert self.cloud is not None
        await self.cloud.ship(SimpleNamespace(store=self.store))  # type: ignore[arg-type]

    async def evict(self, key: str) -> None:
        """Give up the local bytes of what is under ``key``: a promise of nothing, and it must stay readable."""
        with self.store.view() as view:
            version = view.current(self.uid, key.encode())
        assert version is not None
        assert await self.store.evict(version.record.content) > 0

    def collect(self) -> None:
        """Take back dead space until there is none, from the segments written so far."""
        store = self.store
        assert isinstance(store, SiteStore)
        store.appender.roll()
        while store.collector.collect_step():
            pass

    async def upload(self, key: str, sizes: Iterable[int]) -> None:
        """A multipart upload: parts are promises of nothing, Complete is one put."""
        parts = [self.random.randbytes(size) for size in sizes]
        await self._step(key, digest(b"".join(parts)), lambda: self._upload(key, parts))

    async def _step(self, key: str, value: Value, run: Callable[[], Awaitable[None]]) -> None:
        self.files.note("begin", Step(key, value))
        await run()
        self.files.note("acknowledged", Step(key, value))

    async def _put(self, key: str, data: bytes) -> None:
        with self.store.view() as view:
            before = view.current(self.uid, key.encode())
        replaces = before.record.content if before is not None else ()
        async with self.store.writer(replaces=replaces) as writer:
            await writer.write(data)
            content = await writer.finish()
            await self.store.commit(lambda view: self._record(view, key, content, data))

    def _record(self, view: WriteView, key: str, content: Content, data: bytes) -> Version:
        etag = hashlib.md5(data, usedforsecurity=False).hexdigest()
        record = ObjectRecord(size=content.size, etag=etag, modified_ms=view.now_ms, content=content.refs)
        return view.put_object(self.uid, key.encode(), record, versioned=False)

    async def _upload(self, key: str, parts: list[bytes]) -> None:
        upload_id = f"upload-{key}"
        record = UploadRecord(id=upload_id, uid=self.uid, key=key.encode(), initiated_ms=1)
        await self.store.commit(lambda view: view.open_upload(record))
        for number, data in enumerate(parts, start=1):
            async with self.store.writer() as writer:
                await writer.write(data)
                content = await writer.finish()
                part = PartRecord(number=number, size=content.size, etag=f"{number:032x}", content=content.refs)
                await self.store.commit(lambda view, part=part: view.put_part(upload_id, part))  # type: ignore[misc]
        with self.store.view() as view:
            refs = [ref for part in view.parts(upload_id) for ref in part.content]
        whole = await self.store.splice(refs)

        def complete(view: WriteView) -> None:
            self._record(view, key, whole, b"".join(parts))
            view.close_upload(upload_id)

        await self.store.commit(complete)


def current_documents(view: ReadView) -> dict[str, str]:
    """Name → value of the bucket's documents, and of its objects' tags, named as ``Writer`` names them."""
    bucket = view.bucket(BUCKET)
    if bucket is None:
        return {}
    found = {
        DOCUMENT + name: (view.document(bucket.uid, name) or b"").decode() for name in view.document_names(bucket.uid)
    }
    for key, _ in view.scan_heads(bucket.uid):
        version = view.current(bucket.uid, key)
        assert version is not None
        tags = view.version_documents(bucket.uid, version).get("tags")
        if tags is not None:
            found[TAGS + key.decode()] = tags.decode()
    return found


def find_or_make_bucket(view: WriteView) -> bytes:
    """A decision: the bucket's uid."""
    found = view.bucket(BUCKET)
    return (found or view.put_bucket(BucketRecord(name=BUCKET, owner="owner", created_ms=view.now_ms))).uid


def current_records(view: ReadView) -> dict[str, ObjectRecord]:
    """Key → record of every current object of the bucket; empty if there is no bucket."""
    bucket = view.bucket(BUCKET)
    if bucket is None:
        return {}
    found: dict[str, ObjectRecord] = {}
    for key, _ in view.scan_heads(bucket.uid):
        version = view.current(bucket.uid, key)
        assert version is not None, f"{key!r} is listed, but not there"
        found[key.decode()] = version.record
    return found


async def small_puts(writer: Writer) -> None:
    """Objects that ride in the log, one replaced."""
    for number in range(4):
        await writer.put(f"small-{number}", 100 * number)
    await writer.put("small-1", 5000)


async def medium_and_large(writer: Writer) -> None:
    """One chunk in a data segment; several chunks; a new version that is stored as patches."""
    await writer.put("medium", 60_000)
    data = writer.random.randbytes(1_500_000)
    await writer._step("large", digest(data), lambda: writer._put("large", data))
    await writer.replace_middle("large", data)
    await writer.put("after", 10)


async def uploads(writer: Writer) -> None:
    """Multipart: parts, Complete, and the same key again."""
    await writer.upload("multi", (600_000, 20_000, 5))
    await writer.put("multi", 700)


async def deletes(writer: Writer) -> None:
    """Deletes of what is there and of what is not; the key comes back."""
    await writer.put("gone", 200)
    await writer.delete("gone")
    await writer.put("gone", 300)
    await writer.put("kept", 40_000)
    await writer.delete("kept")


async def documents(writer: Writer) -> None:
    """Configuration and tags: set, changed, beside writes of objects."""
    await writer.set_document("policy", "first")
    await writer.put("tagged", 300)
    await writer.set_tags("tagged", "a=1")
    await writer.set_document("policy", "second")
    await writer.set_tags("tagged", "a=2")
    await writer.set_document("cors", "third")
    await writer.put("other", 9)


async def collected(writer: Writer) -> None:
    """Dead space taken back, live frames moved, segments unlinked, and writes among it."""
    for number in range(3):
        await writer.put(f"dead-{number}", 150_000)
    await writer.put("alive", 60_000)
    await writer.put("alive, small", 60)
    for number in range(3):
        await writer.delete(f"dead-{number}")
    writer.collect()
    await writer.put("after", 40_000)
    writer.collect()
    await writer.delete("after")
    await writer.put("last", 30_000)
    writer.collect()
    await writer.put("last, small", 30)


async def evicted(writer: Writer) -> None:
    """Bytes given up that the cloud has, their space taken back, the same key written again."""
    await writer.put("gone to the cloud", 200_000)
    await writer.put("here", 30_000)
    await writer.ship()
    await writer.evict("gone to the cloud")
    writer.collect()
    await writer.put("here", 31_000)
    await writer.put("gone to the cloud, too", 20_000)
    await writer.ship()
    await writer.evict("gone to the cloud, too")


async def together(writer: Writer) -> None:
    """Several at once: group commit, data segments shared by writers, syncs that overlap with writes."""
    sizes = (100, 70_000, 400_000, 9_000, 30_000, 700_000)
    await asyncio.gather(*(writer.put(f"together-{number}", size) for number, size in enumerate(sizes)))
    await asyncio.gather(*(writer.put(f"together-{number}", 50) for number in range(3)))


WORKLOADS: dict[str, Callable[[Writer], Awaitable[None]]] = {
    "small puts": small_puts,
    "medium and large": medium_and_large,
    "uploads": uploads,
    "deletes": deletes,
    "documents": documents,
    "collected": collected,
    "evicted": evicted,
    "together": together,
}
