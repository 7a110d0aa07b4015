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

from gateway.store.document_format import BucketRecord, PartRecord, UploadRecord
from gateway.store.object_format import ObjectRecord
from gateway.store.ports import Content, ReadView, Store, Version, WriteView
from gateway.store.version_ids import NULL
from tests.crash.recording_files import RecordingFiles

BUCKET = "crash"
Value = str | None


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

    def __init__(self, store: Store, files: RecordingFiles, seed: int) -> None:
        self.store, self.files, self.random = store, files, random.Random(seed)
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
    "together": together,
}
