"""A site over the real store, with the few verbs that contract tests need of a site."""

from __future__ import annotations

import shutil
from pathlib import Path

from gateway.store.document_format import BucketRecord
from gateway.store.layout import DataDirectory
from gateway.store.logical_dump import logical_dump
from gateway.store.object_format import ObjectRecord
from gateway.store.replica import Replica
from gateway.store.store import SiteStore, StoreSettings, open_store, rebuild_store_index
from replication.change_format import decode_change
from replication.hydrate import CloudFetcher
from replication.sealing import Keyring

SETTINGS = StoreSettings(reserve_bytes=0, map_size_bytes=1 << 30, threads=1)


class RealSite:
    """One site: ``put``, ``remove``, ``read`` and ``visible`` as clients see it; ``replica`` as replication does."""

    def __init__(self, path: Path, keyring: Keyring, name: bytes) -> None:
        self.path, self.keyring = path, keyring
        self.directory = (
            DataDirectory.open(path)
            if DataDirectory.is_stamped(path)
            else DataDirectory.create(path, keyring.realm, name.ljust(16, b"."))
        )
        self.fetcher: CloudFetcher | None = None
        self.open()

    def open(self) -> None:
        self.store: SiteStore = open_store(self.directory, self.keyring, SETTINGS)
        store, directory = self.store, self.directory
        self.replica = Replica(
            directory.realm,
            directory.site,
            store.view,
            store.committer,
            store.log,
            store.segments,
            store.shared,
            store.parts.open_pages,
        )
        store.set_fetcher(self.fetcher)

    @property
    def state(self):
        return self.store.folded_state

    def restart(self) -> None:
        self.store.close()
        self.open()

    def copy(self, name: bytes) -> RealSite:
        """Another machine with an image of this one's disk."""
        self.store.close()
        shutil.copytree(self.path, self.path.with_name(name.decode()))
        self.open()
        return RealSite(self.path.with_name(name.decode()), self.keyring, name)

    def dump(self) -> list:
        return list(logical_dump(self.store.index, self.store.parts.open_pages))

    def rebuild(self) -> None:
        """The index anew from the log."""
        self.store.close()
        rebuild_store_index(self.directory, self.keyring, SETTINGS)
        self.open()

    def set_keyring(self, keyring: Keyring) -> None:
        """Know other keys from now on, and seal anew what lies under those that are to end."""
        self.keyring = keyring
        self.store.set_keyring(keyring)
        self.collect()

    def collect(self) -> None:
        """Drop what nothing needs here: until four steps in a row did nothing, for a step may only begin an epoch."""
        idle = 0
        while idle < 4:
            self.store.tidy()
            idle = 0 if self.store.collector.collect_step() else idle + 1

    def use_cloud(self, cloud) -> None:
        self.fetcher = CloudFetcher(cloud)
        self.store.set_fetcher(self.fetcher)

    async def bring(self, chunk_ids) -> int:
        return sum([len(await task) for task in self.store.hydrator.begin(chunk_ids)])

    def wall_ms(self) -> int:
        return 1_700_000_000_000

    async def put(self, key: bytes, content: bytes, *, bucket: str = "bucket") -> None:
        with self.store.view() as view:
            found = view.bucket(bucket)
        if found is None:
            record = BucketRecord(name=bucket, owner="owner")
            found = await self.store.commit(lambda view: view.put_bucket(record))
        uid = found.uid
        with self.store.view() as view:
            before = view.current(uid, key)
        async with self.store.writer(replaces=before.record.content if before else ()) as writer:
            for start in range(0, len(content), 1 << 20):
                await writer.write(content[start : start + (1 << 20)])
            written = await writer.finish()
            record = ObjectRecord(size=written.size, content=written.refs, etag="e", owner="owner")
            await self.store.commit(lambda view: view.put_object(uid, key, record, versioned=False))

    async def remove(self, key: bytes, *, bucket: str = "bucket") -> None:
        def decide(view):
            uid = view.bucket(bucket).uid
            view.remove_version(uid, key, view.current(uid, key).id)

        await self.store.commit(decide)

    async def read(self, key: bytes, *, bucket: str = "bucket") -> bytes:
        with self.store.view() as view:
            refs = view.current(view.bucket(bucket).uid, key).record.content
        return b"".join([piece async for piece in self.store.read(refs)])

    def visible(self) -> list:
        """Every version of every bucket, with what it holds: must be equal everywhere."""
        with self.store.view() as view:
            return [
                (bucket.name, version.key, version.order, version.is_latest, version.record)
                for bucket in view.buckets()
                for version in view.scan_versions(bucket.uid)
            ]

    def own_changes(self) -> list:
        return [decode_change(data) for data in self.replica.read_changes(0, 1 << 30, 1 << 60)]

    def close(self) -> None:
        self.store.close()
