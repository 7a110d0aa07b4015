"""The real store against a dictionary: S3's semantics under every order of operations, reopening, rebuilding,
collecting, shipping, and a second process that dies in the middle.

``SKERRY_MODEL_EXAMPLES`` and ``SKERRY_MODEL_STEPS`` ask for more than the default.
"""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from gateway.store.document_format import PartRecord, UploadRecord
from gateway.store.logical_dump import logical_dump
from gateway.store.object_format import ObjectRecord
from gateway.store.store import rebuild_store_index
from gateway.store.version_ids import NULL, NULL_VID, VersionId
from replication.cloud_memory import MemoryCloud
from replication.hydrate import CloudFetcher
from replication.offload import run_at_once
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Shipper
from tests.gateway.store.recount import recount
from tests.gateway.store.store_site import KEYRING, SETTINGS, StoreSite
from tests.gateway.store.worker_process import Worker

EXAMPLES = int(os.environ.get("SKERRY_MODEL_EXAMPLES", "10"))
STEPS = int(os.environ.get("SKERRY_MODEL_STEPS", "40"))
SEGMENT_SIZE = 1 << 20
KEYS = st.sampled_from([b"a", b"a/b", b"\xc3\xa9", b"k" * 1000])
SIZES = st.sampled_from([0, 1, 700, 16_384, 16_385, 140_000, 1_500_000])
BODIES = st.builds(lambda seed, size: random.Random(seed).randbytes(size), st.integers(0, 2), SIZES)
WORKER = Worker()


@dataclass
class Stored:
    """A version, marker or null-slot object of the model."""

    id: VersionId
    data: bytes | None  # None: a delete marker


@dataclass
class Upload:
    key: bytes
    parts: dict[int, bytes]


class StoreMachine(RuleBasedStateMachine):
    uploads = Bundle("uploads")
    readings = Bundle("readings")

    def __init__(self) -> None:
        super().__init__()
        self.path = Path(tempfile.mkdtemp())
        self.loop = asyncio.new_event_loop()
        self.cloud = MemoryCloud()
        self.versioning = ""
        self.model: dict[bytes, list[Stored]] = {}
        self.open_uploads: dict[str, Upload] = {}
        self.serial = 0
        self.reading_count = 0
        self.open()
        self.run(self.site.__aenter__())

    def run(self, coroutine):
        return self.loop.run_until_complete(coroutine)

    def open(self) -> None:
        self.site = StoreSite(self.path / "d", segment_size=SEGMENT_SIZE, fetcher=CloudFetcher(self.cloud))
        self.shipper = Shipper(
            *(self.site.store.replica, self.site.store.replica, self.cloud, lambda: KEYRING),
            ReplicationSettings(limits=ShipLimits(changes_max=7, frames_max=9, inline_bytes_max=30_000)),
            wall_ms=lambda: 1_700_000_000_000,
            offload=run_at_once,
        )

    def close(self) -> None:
        self.loop.run_until_complete(self.loop.shutdown_asyncgens())
        self.site.store.close()

    def teardown(self) -> None:
        self.read_everything()
        WORKER.close()
        self.close()
        self.loop.close()
        shutil.rmtree(self.path)

    # what the model says

    def remember(self, key: bytes, stored: Stored) -> None:
        versions = self.model.setdefault(key, [])
        if stored.id == NULL:
            versions[:] = [version for version in versions if version.id != NULL]
        versions.insert(0, stored)

    def current(self, key: bytes) -> Stored | None:
        return next(iter(self.model.get(key, [])), None)

    @property
    def versioned(self) -> bool:
        return self.versioning == "Enabled"

    # objects

    @rule(key=KEYS, data=BODIES)
    def put(self, key: bytes, data: bytes) -> None:
        version = self.run(self.site.put(key, data, versioned=self.versioned))
        self.remember(key, Stored(version.id, data))

    @rule(key=KEYS, at=st.floats(0, 1), more=st.binary(min_size=1, max_size=30))
    def put_changed(self, key: bytes, at: float, more: bytes) -> None:
        """A body with a little put into it: patches."""
        before = self.current(key)
        if before is not None and before.data:
            cut = int(len(before.data) * at)
            self.put(key, before.data[:cut] + more + before.data[cut:])

    @rule(source=KEYS, copy=KEYS)
    def copy(self, source: bytes, copy: bytes) -> None:
        found = self.current(source)
        if found is None or found.data is None:
            return
        site = self.site

        def decide(view):
            record = view.version(site.uid, source, found.id).record
            return view.put_object(site.uid, copy, record, versioned=self.versioned)

        version = self.run(site.store.commit(decide))
        self.remember(copy, Stored(version.id, found.data))

    @rule(key=KEYS)
    def delete(self, key: bytes) -> None:
        site = self.site
        if not self.versioning:
            self.run(site.delete(key))
            self.model[key] = [version for version in self.model.get(key, []) if version.id != NULL]
            return
        marker = ObjectRecord(marker=True)
        decide = lambda view: view.put_object(site.uid, key, marker, versioned=self.versioned)  # noqa: E731
        self.remember(key, Stored(self.run(site.store.commit(decide)).id, None))

    @rule(key=KEYS, pick=st.integers(0, 10))
    def purge(self, key: bytes, pick: int) -> None:
        versions = self.model.get(key, [])
        if versions:
            gone = versions.pop(pick % len(versions))
            self.run(self.site.delete(key, gone.id))

    @rule(key=KEYS, data=BODIES)
    def refuse(self, key: bytes, data: bytes) -> None:
        """A request that is refused after it staged something leaves nothing."""
        site = self.site

        async def act() -> None:
            async with site.store.writer(replaces=site.content(key)) as writer:
                await writer.write(data)
                content = await writer.finish()

                def decide(view):
                    record = ObjectRecord(size=content.size, content=content.refs)
                    view.put_object(site.uid, key, record, versioned=False)
                    raise KeyError("no")

                try:
                    await site.store.commit(decide)
                except KeyError:
                    return
                raise AssertionError("not refused")

        self.run(act())

    @rule(to=st.sampled_from(["Enabled", "Suspended"]))
    def set_versioning(self, to: str) -> None:
        self.versioning = to
        site = self.site
        self.run(site.store.commit(lambda view: view.put_document(site.uid, "versioning", to.encode())))

    # uploads

    @rule(target=uploads, key=KEYS)
    def open_upload(self, key: bytes) -> str:
        self.serial += 1
        upload_id = f"upload{self.serial}"
        record = UploadRecord(id=upload_id, uid=self.site.uid, key=key)
        self.run(self.site.store.commit(lambda view: view.open_upload(record)))
        self.open_uploads[upload_id] = Upload(key, {})
        return upload_id

    @rule(upload_id=uploads, number=st.integers(1, 3), data=BODIES, count=st.sampled_from([1, 1, 12]))
    def put_parts(self, upload_id: str, number: int, data: bytes, count: int) -> None:
        """Store (or replace) a part, or several: enough to need a page."""
        for step in range(count):
            self.run(self._put_part(upload_id, number + step, data[: 20_000 + step] if count > 1 else data))

    async def _put_part(self, upload_id: str, number: int, data: bytes) -> None:
        async with self.site.store.writer() as writer:
            await writer.write(data)
            content = await writer.finish()
            part = PartRecord(number=number, size=content.size, content=content.refs)
            await self.site.store.commit(lambda view: view.put_part(upload_id, part))
        self.open_uploads[upload_id].parts[number] = data

    @rule(upload_id=consumes(uploads))
    def complete(self, upload_id: str) -> None:
        upload, site = self.open_uploads.pop(upload_id), self.site

        async def act():
            with site.store.view() as view:
                parts = list(view.parts(upload_id))
            assert [part.number for part in parts] == sorted(upload.parts)
            content = await site.store.splice([ref for part in parts for ref in part.content])

            def decide(view):
                record = ObjectRecord(size=content.size, content=content.refs)
                version = view.put_object(site.uid, upload.key, record, versioned=self.versioned)
                view.close_upload(upload_id)
                return version

            return await site.store.commit(decide)

        data = b"".join([upload.parts[number] for number in sorted(upload.parts)])
        self.remember(upload.key, Stored(self.run(act()).id, data))

    @rule(upload_id=consumes(uploads))
    def abort(self, upload_id: str) -> None:
        del self.open_uploads[upload_id]
        self.run(self.site.store.commit(lambda view: view.close_upload(upload_id)))

    # reading while things change

    @rule(target=readings, key=KEYS)
    def begin_reading(self, key: bytes):
        found = self.current(key)
        if found is None or found.data is None or self.reading_count > 3:
            return multiple()
        with self.site.store.view() as view:
            version = view.version(self.site.uid, key, found.id)
        self.reading_count += 1
        return [self.site.store.read(version.record.content), found.data, self.site]

    @rule(reading=consumes(readings))
    def end_reading(self, reading) -> None:
        iterator, data, site = reading
        if iterator is not None and site is self.site:  # else it was dropped when the store was closed
            assert self.run(self._drain(iterator)) == data
            self.reading_count -= 1
        reading[0] = None

    async def _drain(self, iterator) -> bytes:
        return b"".join([piece async for piece in iterator])

    # the store's own life

    @rule(steps=st.integers(1, 60))
    def collect(self, steps: int) -> None:
        for _ in range(steps):
            self.site.store.collector.collect_step()

    @rule(rounds=st.integers(1, 5))
    def ship(self, rounds: int) -> None:
        replica = self.site.store.replica
        for _ in range(rounds):
            if self.run(self.shipper.ship_round()) is None:
                backlog = replica.backlog()
                assert (backlog.changes, backlog.bytes, backlog.oldest_ms) == (0, 0, None)
                return
        assert replica.backlog().bytes >= 0

    @rule(keys=st.lists(KEYS, min_size=1, max_size=4, unique=True), back=st.booleans())
    def evict(self, keys: list[bytes], back: bool) -> None:
        """Leave contents to the cloud, or bring them back for good."""
        with self.site.store.view() as view:
            found = [view.current(self.site.uid, key) for key in keys]
        refs = [ref for version in found if version is not None for ref in version.record.content]
        self.run(self.site.store.fetch_local(refs) if back else self.site.store.evict(refs))

    @rule()
    def reopen(self) -> None:
        before = self.site.store.replica.backlog()
        self.reopen_with(lambda: None)
        assert self.site.store.replica.backlog() == before

    @rule()
    def rebuild(self) -> None:
        before = self.dump()
        self.reopen_with(lambda: rebuild_store_index(self.site.directory, KEYRING, SETTINGS))
        after = self.dump()
        assert after == before

    def reopen_with(self, between) -> None:
        uid, self.reading_count = self.site.uid, 0
        WORKER.close()
        self.close()
        between()
        self.open()
        self.site.uid = uid

    def dump(self) -> list:
        return list(logical_dump(self.site.store.index, self.site.store.parts.open_pages))

    # another process

    @rule(key=KEYS, data=BODIES)
    def put_elsewhere(self, key: bytes, data: bytes) -> None:
        WORKER.open(self.path / "d", SEGMENT_SIZE)
        version_id = WORKER.ask("put", key, data, self.versioned)
        self.remember(key, Stored(VersionId(*version_id), data))

    @rule(data=BODIES)
    def die_in_body(self, data: bytes) -> None:
        WORKER.open(self.path / "d", SEGMENT_SIZE)
        assert WORKER.ask("die_in_body", data) is None

    @rule(key=KEYS, data=BODIES)
    def die_in_commit(self, key: bytes, data: bytes) -> None:
        """What was durable in the log is taken in by whoever writes next, before what it writes."""
        if self.versioned:
            return
        WORKER.open(self.path / "d", SEGMENT_SIZE)
        assert WORKER.ask("die_in_commit", key, data) is None
        self.remember(key, Stored(NULL, data))
        self.put(b"a", b"after a death")

    # what must always hold

    @invariant()
    def lists_what_the_model_lists(self) -> None:
        with self.site.store.view() as view:
            listed = [
                (version.key, version.id, version.is_latest, version.record.marker, version.record.size)
                for version in view.scan_versions(self.site.uid)
            ]
            heads = [(key, head.size) for key, head in view.scan_heads(self.site.uid)]
            uploads = sorted(upload.id for upload in view.uploads(self.site.uid))
        expected = [
            (key, version.id, at == 0, version.data is None, len(version.data or b""))
            for key in sorted(self.model)
            for at, version in enumerate(self.model[key])
        ]
        assert listed == expected
        current = [(key, self.current(key)) for key in sorted(self.model)]
        assert heads == [(key, len(found.data)) for key, found in current if found and found.data is not None]
        assert uploads == sorted(self.open_uploads)

    @invariant()
    def counts_what_is_needed(self) -> None:
        recount(self.site.store.index, self.site.store.parts.open_pages)

    @rule()
    def read_everything(self) -> None:
        for key, versions in self.model.items():
            for stored in versions:
                if stored.data is None:
                    continue
                with self.site.store.view() as view:
                    version = view.version(self.site.uid, key, stored.id)
                assert self.run(self._drain(self.site.store.read(version.record.content))) == stored.data


assert NULL.vid == NULL_VID
StoreMachine.TestCase.settings = settings(
    max_examples=EXAMPLES,
    stateful_step_count=STEPS,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    database=None,
)
TestStoreModel = StoreMachine.TestCase


def teardown_module() -> None:
    WORKER.end()
