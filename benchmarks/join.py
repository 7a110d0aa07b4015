"""``python -m benchmarks.join [--objects N] [--replay]``: how long until a new site lists a realm with N objects.

A realm is made by one site (its store's own commits and ship rounds): N objects under ``objects/``, every third of them
written twice before, every tenth deleted again, so the log is longer than the state. The site writes a checkpoint. Then
a new site, a process of its own, joins it, takes in the logs behind it and lists; with ``--replay`` it takes in every
log instead. The bucket is a directory here, so what is measured is work, not a network: requests and bytes are counted.
Memory is the process' anonymous memory at its peak (what the index maps of its file is the kernel's to take back).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from gateway.store.document_format import BucketRecord
from gateway.store.layout import DataDirectory
from gateway.store.object_format import ObjectRecord
from gateway.store.staging import INLINE, StagedChunk
from gateway.store.store import SiteStore, StoreSettings, open_store
from replication.change_format import REF_DATA, Ref
from replication.checkpoint_writer import CheckpointWriter
from replication.frame_format import KIND_DATA
from replication.joining import Joiner
from replication.ports import CloudExists, CloudMissing
from replication.puller import Puller
from replication.sealing import Keyring
from replication.settings import ReplicationSettings
from replication.shipper import Shipper

KEYRING: Final = Keyring(b"r" * 16, b"c" * 32, {b"e" * 16: b"k" * 32}, b"e" * 16)
SETTINGS: Final = StoreSettings(reserve_bytes=0, map_size_bytes=64 << 30, threads=1)
PUTS_AT_ONCE: Final = 500
BUCKET: Final = "objects"


class DirectoryCloud:
    """A bucket in a directory; counts what it is asked, and the bytes."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self.requests = 0
        self.bytes = 0

    def _path(self, name: str) -> Path:
        return self._root / name

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        """See ``Cloud``."""
        self._count(len(data))
        path = self._path(name)
        if if_absent and path.exists():
            raise CloudExists(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    async def get(self, name: str, *, offset: int = 0, length: int | None = None) -> bytes:
        """See ``Cloud``."""
        try:
            data = self._path(name).read_bytes()
        except FileNotFoundError:
            raise CloudMissing(name) from None
        data = data[offset:] if length is None else data[offset : offset + length]
        self._count(len(data))
        return data

    async def list(self, prefix: str, *, after: str = "", count_max: int = 1000) -> list[str]:
        """See ``Cloud``."""
        self._count(0)
        base = self._path(prefix.rpartition("/")[0])
        found = sorted(str(path.relative_to(self._root)) for path in base.rglob("*") if path.is_file())
        return [name for name in found if name.startswith(prefix) and name > after][:count_max]

    async def delete(self, name: str) -> None:
        """See ``Cloud``."""
        self._count(0)
        self._path(name).unlink(missing_ok=True)

    async def close(self) -> None:
        """See ``Cloud``."""

    def _count(self, size: int) -> None:
        self.requests += 1
        self.bytes += size


def keyring() -> Keyring:
    """The realm's keys."""
    return KEYRING


def wall_ms() -> int:
    """Now."""
    return time.time_ns() // 1_000_000


def open_site(path: Path, name: bytes) -> SiteStore:
    """A site's store."""
    path.mkdir(parents=True, exist_ok=True)
    stamped = DataDirectory.is_stamped(path)
    directory = DataDirectory.open(path) if stamped else DataDirectory.create(path, KEYRING.realm, name.ljust(16, b"."))
    return open_store(directory, KEYRING, SETTINGS)


def write_objects(store: SiteStore, uid: bytes, numbers: range, note: str) -> None:
    """Put objects of 64 bytes each, many in one commit, as the gateway's group commit does."""
    frames, staging = store.frames, store.staging
    for first in range(0, len(numbers), PUTS_AT_ONCE):
        some = numbers[first : first + PUTS_AT_ONCE]
        records = []
        for number in some:
            body = f"{note} {number:>50}".encode().ljust(64)
            chunk = frames.chunk_id(body)
            sealed = frames.seal(KIND_DATA, chunk, body)
            staging.add(StagedChunk(sealed.header, sealed.encoded_header, INLINE, 0, sealed.ciphertext), some)
            key = f"dir-{number % 1000:03}/object-{number:09}".encode()
            record = ObjectRecord(
                size=64,
                etag=chunk.hex()[:32],
                modified_ms=1_790_000_000_000 + number,
                content=(Ref(REF_DATA, chunk, 64),),
                headers={"content-type": "application/octet-stream"},
                checksums={"CRC64NVME": "AAAAAAAAAAA="},
                checksum_type="FULL_OBJECT",
                owner="someone",
            )
            records.append((key, record))

        def decide(view: Any, records: Any = records) -> None:
            for key, record in records:
                view.put_object(uid, key, record, versioned=False)

        store.committer.commit_blocking(decide)
        staging.release(some)


def remove_objects(store: SiteStore, uid: bytes, numbers: range) -> None:
    """Delete objects, many in one commit."""
    from gateway.store.version_ids import NULL

    for first in range(0, len(numbers), PUTS_AT_ONCE):
        some = numbers[first : first + PUTS_AT_ONCE]

        def decide(view: Any, some: range = some) -> None:
            for number in some:
                view.remove_version(uid, f"dir-{number % 1000:03}/object-{number:09}".encode(), NULL)

        store.committer.commit_blocking(decide)


async def make_realm(root: Path, objects: int) -> dict[str, Any]:
    """Write, ship, and write a checkpoint: what that took."""
    cloud, store = DirectoryCloud(root / "bucket"), open_site(root / "one", b"one")
    settings = replace(ReplicationSettings(), uploads_max=1)
    shipper = Shipper(store.replica, store.replica, cloud, keyring, settings, wall_ms=wall_ms)
    begun_s = time.monotonic()
    uid = (await store.commit(lambda view: view.put_bucket(BucketRecord(name=BUCKET, owner="someone")))).uid
    write_objects(store, uid, range(0, objects, 3), "before")
    write_objects(store, uid, range(objects + objects // 10), "now")
    remove_objects(store, uid, range(objects, objects + objects // 10))
    written_s = time.monotonic()
    rounds = 0
    while await shipper.ship_round():
        rounds += 1
    shipped_s = time.monotonic()
    print(f"made {store.replica.last_seq():,} changes in {written_s - begun_s:.0f} s", end=", ", flush=True)
    print(f"shipped {rounds:,} rounds in {shipped_s - written_s:.0f} s", flush=True)
    cloud.requests = cloud.bytes = 0
    writer = CheckpointWriter(store.replica, store.folded_state, cloud, keyring, wall_ms=wall_ms)
    manifest = await writer.write()
    took_s = time.monotonic() - shipped_s
    store.close()
    return {
        "seconds": took_s,
        "requests": cloud.requests,
        "bytes": cloud.bytes,
        "checkpoint_bytes": manifest.size,
        "parts": len(manifest.parts),
    }


class Memory:
    """The peak of this process' anonymous memory, looked at ten times a second."""

    def __init__(self) -> None:
        self.peak = 0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(0.1):
            self.look()

    def look(self) -> None:
        """Look now."""
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("RssAnon:"):
                self.peak = max(self.peak, int(line.split()[1]) << 10)

    def stop(self) -> int:
        """The peak."""
        self._stop.set()
        self._thread.join()
        return self.peak


async def join(root: Path, *, replay: bool) -> dict[str, Any]:
    """A new site: join, take in the rest, list."""
    cloud = DirectoryCloud(root / "bucket")
    memory, begun_s, begun_cpu_s = Memory(), time.monotonic(), time.process_time()
    store = open_site(root / ("replayed" if replay else "joined"), b"new")
    if not replay:
        joined = await Joiner(store.replica, store.folded_state, cloud, keyring).join_if_useful()
        assert joined is not None
    puller = Puller(store.replica, cloud, keyring, wall_ms=wall_ms)
    while (await puller.pull_round()).batches:
        pass
    ready_s = time.monotonic()
    with store.view() as view:
        bucket = view.bucket(BUCKET)
        assert bucket is not None
        first = [found for _, found in zip(range(1000), view.scan_heads(bucket.uid), strict=False)]
    listed_s = time.monotonic()
    used_s = time.process_time() - begun_cpu_s
    with store.view() as view:
        count = sum(1 for _ in view.scan_heads(bucket.uid))
    size = sum(path.stat().st_blocks * 512 for path in (store.directory.path / "index").iterdir())
    store.close()
    return {
        "seconds": ready_s - begun_s,
        "cpu_seconds": used_s,
        "first_page_ms": (listed_s - ready_s) * 1000,
        "page": len(first),
        "listed": count,
        "requests": cloud.requests,
        "bytes": cloud.bytes,
        "anonymous_bytes": memory.stop(),
        "index_bytes": size,
    }


def run_joiner(root: Path, *more: str) -> dict[str, Any]:
    """Join in a process of its own: its memory is nobody else's."""
    words = [sys.executable, "-m", "benchmarks.join", "--in", str(root), *more]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def say(what: str, found: dict[str, Any], objects: int) -> None:
    """One line of figures."""
    print(
        f"{what:12} {found['seconds']:8.1f} s ({found['cpu_seconds']:.1f} s of one core)  "
        f"{found['requests']:>7,} requests  {found['bytes'] / 1e6:>8.1f} MB  "
        f"{found['anonymous_bytes'] / (1 << 20):>5.0f} MiB memory  index {found['index_bytes'] / 1e6:,.0f} MB  "
        f"lists {found['page']} keys in {found['first_page_ms']:.1f} ms",
        flush=True,
    )
    assert found["listed"] == objects, found


def main() -> None:
    """Make a realm, join it, say what it took."""
    parser = argparse.ArgumentParser(prog="benchmarks.join", description=__doc__)
    parser.add_argument("--objects", type=int, default=20_000, metavar="N")
    parser.add_argument("--replay", action="store_true", help="also take in every log, for comparison")
    parser.add_argument("--directory", type=Path, help="where to make it; needs about 3 KB an object")
    parser.add_argument("--in", dest="inside", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--by-replay", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.inside:
        print(json.dumps(asyncio.run(join(arguments.inside, replay=arguments.by_replay))))
        return
    with tempfile.TemporaryDirectory(prefix="bench-join-", dir=arguments.directory) as name:
        made = asyncio.run(make_realm(Path(name), arguments.objects))
        print(
            f"checkpoint of {arguments.objects:,} objects: {made['seconds']:.1f} s, {made['requests']} requests, "
            f"{made['checkpoint_bytes'] / 1e6:.1f} MB in {made['parts']} parts",
            flush=True,
        )
        say("checkpoint", run_joiner(Path(name)), arguments.objects)
        if arguments.replay:
            say("every log", run_joiner(Path(name), "--by-replay"), arguments.objects)


if __name__ == "__main__":
    main()
