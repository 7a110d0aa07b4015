"""A whole site in one process for tests: the real store in a temporary directory, with objects put and got by key."""

from __future__ import annotations

from pathlib import Path

from gateway.store.document_format import BucketRecord
from gateway.store.files import Files
from gateway.store.layout import DataDirectory
from gateway.store.object_format import ObjectRecord
from gateway.store.ports import Version
from gateway.store.store import SiteStore, StoreSettings, open_store
from gateway.store.version_ids import NULL, VersionId
from replication.change_format import Ref
from replication.ports import ChunkFetcher
from replication.sealing import Keyring

REALM, SITE, EPOCH = b"r" * 16, b"s" * 16, b"e" * 16
KEYRING = Keyring(REALM, b"c" * 32, {EPOCH: b"k" * 32}, EPOCH)
SETTINGS = StoreSettings(map_size_bytes=1 << 30, reserve_bytes=0)


class StoreSite:
    """``async with`` opens it and makes a bucket."""

    def __init__(
        self,
        path: Path,
        *,
        site: bytes = SITE,
        files: Files | None = None,
        settings: StoreSettings = SETTINGS,
        fetcher: ChunkFetcher | None = None,
        segment_size: int | None = None,
        keyring: Keyring = KEYRING,
    ) -> None:
        files = files or Files()
        if DataDirectory.is_stamped(path):
            self.directory = DataDirectory.open(path, files=files)
        else:
            self.directory = DataDirectory.create(path, REALM, site, files)
        self.store: SiteStore = open_store(self.directory, keyring, settings, fetcher)
        if segment_size is not None:
            for appender in (self.store.parts.appender, self.store.parts.log_appender):
                appender._size_max = segment_size
        self.uid = b""

    async def __aenter__(self) -> StoreSite:
        record = BucketRecord(name="bucket", owner="me", created_ms=1)
        with self.store.view() as view:
            bucket = view.bucket("bucket")
        if bucket is None:
            bucket = await self.store.commit(lambda view: view.put_bucket(record))
        self.uid = bucket.uid
        return self

    async def __aexit__(self, *exc: object) -> None:
        self.store.close()

    def content(self, key: bytes) -> tuple[Ref, ...]:
        with self.store.view() as view:
            version = view.current(self.uid, key)
        return version.record.content if version is not None else ()

    async def put(self, key: bytes, data: bytes, *, step: int = 1 << 18, versioned: bool = False) -> Version:
        async with self.store.writer(replaces=self.content(key)) as writer:
            for start in range(0, len(data), step):
                await writer.write(data[start : start + step])
            content = await writer.finish()
            record = ObjectRecord(size=content.size, etag="etag", content=content.refs)
            return await self.store.commit(lambda view: view.put_object(self.uid, key, record, versioned=versioned))

    async def get(self, key: bytes, start: int = 0, length: int | None = None) -> bytes:
        refs = self.content(key)
        small = self.store.read_small(refs) if (start, length) == (0, None) else None
        return small if small is not None else await self.read(refs, start, length)

    async def read(self, refs: tuple[Ref, ...], start: int = 0, length: int | None = None) -> bytes:
        return b"".join([piece async for piece in self.store.read(refs, start, length)])

    async def delete(self, key: bytes, version_id: VersionId = NULL) -> None:
        await self.store.commit(lambda view: view.remove_version(self.uid, key, version_id))

    def collect_all(self, steps_max: int = 10_000) -> int:
        """Collect until nothing is left to do: how many steps did something. No request may be under way."""
        done = idle = 0
        for _ in range(steps_max):
            if self.store.collector.collect_step():
                done, idle = done + 1, 0
            else:
                idle += 1  # a step may only have begun a new epoch
                if idle == 4:
                    return done
        raise AssertionError("collection does not come to an end")

    def chunk_count(self) -> int:
        with self.store.view() as view:
            return sum(1 for _ in view.transaction.scan(view.transaction.tables.chunks))

    def disk_bytes(self, suffix: str = "data") -> int:
        return sum(path.stat().st_size for path in self.directory.segments.glob(f"*.{suffix}"))
