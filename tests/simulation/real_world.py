"""A world of real stores: some sites over their own data directories, one bucket that lies, clocks that are wrong.

``live`` lets random clients work on every site while the sites ship, pull, collect, fetch, restart and rebuild in any
order; then it mends the link, lets everything come to rest and checks the promises: equal visible state everywhere,
no acknowledged write gone unless a write that saw it replaced it, nothing back that someone who saw it removed, every
byte readable, every backlog nothing, and a fresh site restored from the bucket alone no different.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from pathlib import Path

from gateway.store.conflicts import count_conflicts, scan_conflicts
from gateway.store.document_format import BucketRecord, PartRecord, UploadRecord, UserRecord
from gateway.store.errors import ChunkGone, ChunkUnavailable
from gateway.store.layout import DataDirectory
from gateway.store.logical_dump import logical_dump
from gateway.store.object_format import ObjectRecord
from gateway.store.store import SiteStore, StoreSettings, open_store, rebuild_store_index
from gateway.store.version_ids import NULL, VersionId
from replication.cloud_memory import MemoryCloud
from replication.hydrate import CloudFetcher
from replication.offload import run_at_once
from replication.ports import CloudError
from replication.puller import Puller
from replication.restore import restore_site
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Shipper
from tests.gateway.store.index_site import KEYRING, UnsyncedFiles
from tests.gateway.store.recount import recount
from tests.replication.faulty_cloud import CONFLICT, DUPLICATE, LATE, LOST_REPLY, REFUSED, FaultyCloud

RATES = {REFUSED: 0.05, LOST_REPLY: 0.06, DUPLICATE: 0.04, LATE: 0.05, CONFLICT: 0.03}
SETTINGS = StoreSettings(reserve_bytes=0, map_size_bytes=1 << 28, threads=1)
LIMITS = [
    ShipLimits(changes_max=3, inline_bytes_max=0, pack_bytes_max=50_000),
    ShipLimits(changes_max=50, inline_bytes_max=100_000),
    ShipLimits(changes_max=5, frames_max=4, inline_bytes_max=0, frame_bytes_max=300_000),
]
KEYS = [b"a", b"b", b"dir/c"]
NAMES = ["one", "two"]
OWNERS = ["ann", "bob"]
SIZES = [0, 10, 900, 17_000, 150_000]
WEIGHTS = {
    "put": 20, "copy": 4, "delete": 5, "purge": 5, "upload": 3, "create_bucket": 2, "delete_bucket": 1,
    "set_versioning": 1, "configure": 1, "read": 6, "ship": 10, "pull": 8, "collect": 4, "restart": 1,
    "restart_daemon": 1,
}  # fmt: skip


def keyring():
    return KEYRING


class LiveSite:
    """One site: its data directory, its store, its daemon, and the clients that use it."""

    def __init__(self, world: World, path: Path, name: bytes, rng: random.Random) -> None:
        self.world, self.path, self.rng = world, path, rng
        self.skew_ms = rng.choice([0, 0, 3, -90_000, 365 * 86_400_000])
        self.directory = DataDirectory.create(path, KEYRING.realm, name.ljust(16, b"."), UnsyncedFiles())
        self.cloud = FaultyCloud(world.bucket, rng, RATES)
        self.settings = ReplicationSettings(limits=rng.choice(LIMITS), uploads_max=2, prefetch_max=rng.randint(1, 3))
        self.uploads: list[tuple[str, bytes, bytes]] = []
        self.open()

    def open(self) -> None:
        self.store: SiteStore = open_store(self.directory, KEYRING, SETTINGS, CloudFetcher(self.cloud))
        self.store.committer._now_ms = lambda: self.world.now_ms + self.skew_ms
        for appender in (self.store.parts.appender, self.store.parts.log_appender):
            appender._size_max = 1 << 18
        self.start_daemon()

    def start_daemon(self) -> None:
        replica = self.store.replica
        wall_ms = lambda: self.world.now_ms  # noqa: E731
        self.shipper = Shipper(
            *(replica, replica, self.cloud, keyring, self.settings),
            wall_ms=wall_ms,
            offload=run_at_once,
            bring=self.bring,
        )
        self.puller = Puller(replica, self.cloud, keyring, wall_ms=wall_ms, prefetch_max=self.settings.prefetch_max)

    async def bring(self, chunk_ids: Sequence[bytes]) -> None:
        await asyncio.gather(*self.store.hydrator.begin(chunk_ids))

    # what clients do

    def find_bucket(self):
        with self.store.view() as view:
            buckets = view.buckets()
        return self.rng.choice(buckets) if buckets else None

    async def create_bucket(self) -> None:
        record = BucketRecord(name=self.rng.choice(NAMES), owner=self.rng.choice(OWNERS))
        await self.store.commit(lambda view: view.put_bucket(record))

    async def delete_bucket(self) -> None:
        bucket = self.find_bucket()

        def decide(view):
            if bucket is not None and view.is_bucket_empty(bucket.uid):
                view.delete_bucket(bucket.uid)

        await self.store.commit(decide)

    async def set_versioning(self) -> None:
        bucket, to = self.find_bucket(), self.rng.choice([b"Enabled", b"Suspended"])
        if bucket is not None:
            await self.store.commit(lambda view: view.put_document(bucket.uid, "versioning", to))

    async def configure(self) -> None:
        user = UserRecord(id=self.rng.choice("uvw"), name=str(self.rng.random()), disabled=self.rng.random() < 0.2)
        if self.rng.random() < 0.8:
            await self.store.commit(lambda view: view.put_user(user))
        else:
            await self.store.commit(lambda view: view.delete_user(user.id))

    async def write(self, body: bytes, replaces=()):
        async with self.store.writer(replaces=replaces) as writer:
            await writer.write(body)
            content = await writer.finish()
            yield content

    async def put(self) -> None:
        bucket, key = self.find_bucket(), self.rng.choice(KEYS)
        if bucket is None:
            await self.create_bucket()
            return
        with self.store.view() as view:
            current = view.current(bucket.uid, key)
        body, replaces = self.world.body(self.rng), ()
        if current is not None and current.order in self.world.written and self.rng.random() < 0.5:
            before, replaces = self.world.written[current.order], current.record.content
            cut = self.rng.randrange(len(before) + 1)
            body = before[:cut] + self.rng.randbytes(20) + before[cut:]
        async for content in self.write(body, replaces):
            await self.commit_object(bucket.uid, key, ObjectRecord(size=content.size, content=content.refs), body)

    async def copy(self) -> None:
        bucket, found = self.find_bucket(), self.pick_version()
        if bucket is None or found is None or found[1].record.marker:
            return
        uid, version = found
        key = self.rng.choice(KEYS)

        def still_there(view):
            return view.version(uid, version.key, version.id) is not None

        await self.commit_object(
            bucket.uid, key, version.record, self.world.written[version.order], still_there=still_there
        )

    async def commit_object(self, uid: bytes, key: bytes, record, body, *, still_there=lambda view: True) -> None:
        replaced: list[bytes] = []

        def decide(view):
            replaced.clear()
            if not still_there(view) or all(bucket.uid != uid for bucket in view.buckets()):
                return None
            versioned = view.document(uid, "versioning") == b"Enabled"
            null = view.version(uid, key, NULL)
            if null is not None and not versioned:
                replaced.append(null.order)
            return view.put_object(uid, key, record, versioned=versioned)

        try:
            version = await self.store.commit(decide)
        except ChunkGone:  # a copy of what lies in the cloud only, with somebody who does not know this site yet
            return
        if version is not None:
            self.world.acknowledge(version.order, body, replaced)

    async def delete(self) -> None:
        bucket, key = self.find_bucket(), self.rng.choice(KEYS)
        if bucket is None:
            return
        with self.store.view() as view:
            versioning = view.document(bucket.uid, "versioning")
        if versioning:
            await self.commit_object(bucket.uid, key, ObjectRecord(marker=True), b"")
        else:
            await self.remove(bucket.uid, key, NULL)

    async def purge(self) -> None:
        found = self.pick_version()
        if found is not None:
            await self.remove(found[0], found[1].key, found[1].id)

    async def remove(self, uid: bytes, key: bytes, version_id: VersionId) -> None:
        removed = await self.store.commit(lambda view: view.remove_version(uid, key, version_id))
        if removed is not None:
            self.world.removed.add(removed.order)

    def pick_version(self):
        bucket = self.find_bucket()
        if bucket is None:
            return None
        with self.store.view() as view:
            versions = list(view.scan_versions(bucket.uid))
        return (bucket.uid, self.rng.choice(versions)) if versions else None

    async def upload(self) -> None:
        """An upload of many small parts, some replaced; completed into a page of refs."""
        bucket, key = self.find_bucket(), self.rng.choice(KEYS)
        if bucket is None:
            return
        self.world.serial += 1
        upload_id, parts = f"up{self.world.serial}", {}
        await self.store.commit(lambda view: view.open_upload(UploadRecord(id=upload_id, uid=bucket.uid, key=key)))
        for _ in range(self.rng.choice([2, 13])):
            number, body = self.rng.randint(1, 12), self.world.body(self.rng)[:20_000]
            async for content in self.write(body):
                part = PartRecord(number=number, size=content.size, content=content.refs)
                await self.store.commit(lambda view, part=part: view.put_part(upload_id, part))
            parts[number] = (content.refs, body)
        if self.rng.random() < 0.8:
            refs = [ref for number in sorted(parts) for ref in parts[number][0]]
            content = await self.store.splice(refs)
            record = ObjectRecord(size=content.size, content=content.refs)
            await self.commit_object(bucket.uid, key, record, b"".join([parts[number][1] for number in sorted(parts)]))
        await self.store.commit(lambda view: view.close_upload(upload_id))

    async def read(self) -> None:
        found = self.pick_version()
        if found is not None and not found[1].record.marker:
            try:
                data = b"".join([piece async for piece in self.store.read(found[1].record.content)])
            except ChunkUnavailable:
                return
            assert data == self.world.written[found[1].order]

    # what the site does by itself

    async def ship(self) -> None:
        for _ in range(self.rng.randint(1, 4)):
            try:
                await self.shipper.ship_round()
            except CloudError:
                return

    async def pull(self) -> None:
        try:
            await self.puller.pull_round()
        except CloudError:
            return

    async def collect(self) -> None:
        for _ in range(self.rng.randint(1, 60)):
            self.store.collector.collect_step()

    def collect_all(self) -> None:
        """Until four steps in a row did nothing: a step may only have begun a new epoch."""
        idle = 0
        while idle < 4:
            idle = 0 if self.store.collector.collect_step() else idle + 1

    async def restart_daemon(self) -> None:
        self.start_daemon()

    async def restart(self) -> None:
        self.store.close()
        if self.rng.random() < 0.4:
            rebuild_store_index(self.directory, KEYRING, SETTINGS)
        self.open()

    def close(self) -> None:
        self.store.close()

    def dump(self) -> list:
        return list(logical_dump(self.store.index, self.store.parts.open_pages))

    def visible(self) -> dict[str, object]:
        """All that clients can see."""
        with self.store.view() as view:
            buckets = view.buckets()
            return {
                "buckets": buckets,
                "users": view.users(),
                "versions": [
                    (bucket.uid, *version) for bucket in buckets for version in view.scan_versions(bucket.uid)
                ],
                "heads": [(bucket.uid, *head) for bucket in buckets for head in view.scan_heads(bucket.uid)],
                "conflicts": list(scan_conflicts(view)),
                "counts": count_conflicts(view).conflicts,
            }


class World:
    """Sites, their bucket, and what is true of all writes."""

    site_type = LiveSite
    weights = WEIGHTS

    def __init__(self, path: Path, seed: int) -> None:
        self.rng = random.Random(seed)
        self.path = path
        self.bucket = MemoryCloud()
        self.now_ms = 1_700_000_000_000
        self.serial = 0
        self.written: dict[bytes, bytes] = {}
        self.removed: set[bytes] = set()
        self.sites = [
            self.site_type(self, path / f"site{number}", b"site%d" % number, random.Random(self.rng.random()))
            for number in range(2 + seed % 2)
        ]

    def body(self, rng: random.Random) -> bytes:
        return random.Random(rng.randrange(6)).randbytes(rng.choice(SIZES))

    def acknowledge(self, order: bytes, body: bytes, replaced: list[bytes]) -> None:
        self.written[order] = body
        self.removed.update(replaced)

    async def live(self, steps: int) -> None:
        for _ in range(steps):
            self.now_ms += self.rng.randrange(3) * self.rng.randrange(2000)
            site = self.rng.choice(self.sites)
            site.cloud.partitioned = self.rng.random() < 0.15
            await self.act(site, self.rng.choices(list(self.weights), list(self.weights.values()))[0])

    async def act(self, site: LiveSite, deed: str) -> None:
        await getattr(site, deed)()

    async def come_to_rest(self) -> None:
        for site in self.sites:
            await site.cloud.settle()
            site.cloud.rates, site.cloud.partitioned = {}, False
            site.start_daemon()
        moved = True
        while moved:
            moved = False
            for site in self.sites:
                while await site.shipper.ship_round():
                    moved = True
                pulled = await site.puller.pull_round()
                assert not pulled.stopped, site.puller.states
                moved = moved or bool(pulled.batches)

    async def check(self) -> None:
        first = self.sites[0].visible()
        for site in self.sites[1:]:
            assert site.visible() == first
        shown = {version[3] for version in first["versions"]}
        lost = self.written.keys() - shown - self.removed
        assert not lost, f"acknowledged and gone: {[order.hex() for order in lost]}"
        assert not shown & self.removed, "removed by someone who saw it, and back"
        for site in self.sites:
            await self.check_site(site)
        await self.check_restore(first)

    async def check_site(self, site: LiveSite) -> None:
        backlog = site.store.replica.backlog()
        assert (backlog.changes, backlog.bytes, backlog.oldest_ms) == (0, 0, None)
        recount(site.store.index, site.store.parts.open_pages)
        await self.read_all(site.store, site.visible())
        recount(site.store.index, site.store.parts.open_pages)
        site.collect_all()
        before = site.dump()
        site.store.close()
        rebuild_store_index(site.directory, KEYRING, SETTINGS)
        site.open()
        assert_same(before, site.dump())
        site.collect_all()
        recount(site.store.index, site.store.parts.open_pages)
        await self.read_all(site.store, site.visible())

    async def read_all(self, store: SiteStore, visible) -> None:
        for _, _, _, order, _, record, *_ in visible["versions"]:
            data = b"".join([piece async for piece in store.read(record.content)])
            assert data == self.written[order]

    async def check_restore(self, expected) -> None:
        fresh = LiveSite(self, self.path / "fresh", b"fresh", random.Random(0))
        fresh.cloud.rates = {}
        try:
            await restore_site(fresh.cloud, keyring, fresh.store.replica, wall_ms=lambda: self.now_ms)
            assert fresh.visible() == expected
            await self.read_all(fresh.store, expected)
            recount(fresh.store.index, fresh.store.parts.open_pages)
        finally:
            fresh.close()

    def close(self) -> None:
        for site in self.sites:
            site.close()


def assert_same(before: list, after: list) -> None:
    """Two logical dumps hold the same rows (the state among them is no hashable thing)."""
    gone = [row for row in before if row not in after]
    new = [row for row in after if row not in before]
    assert (gone, new) == ([], [])


async def live(path: Path, seed: int, steps: int = 120) -> None:
    """One world, from its seed."""
    world = World(path, seed)
    try:
        await world.live(steps)
        await world.come_to_rest()
        await world.check()
    finally:
        world.close()
