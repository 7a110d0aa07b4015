"""Workloads of more than one life, for ``traced_workload``: what only happens when a store is opened again.

The trace of a whole life is recorded, opening and closing included, so a rebuild of the index is cut by power failures
here like everything else.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.store import collect
from gateway.store.store import SiteStore
from replication.keys import read_key_directory
from tests.crash.open_store import EPOCH, RETIRING, open_store
from tests.crash.workloads import Noting, Writer


async def rebuilt(root: Path, notes: Noting, seed: int) -> None:
    """Objects of all kinds; the index is lost, and rebuilt at opening; writes before and behind."""
    for life in range(2):
        if life:
            for name in ("data.mdb", "lock.mdb"):
                (root / "index" / name).unlink()
        async with open_store(root) as store:
            writer = Writer(store, notes, seed + life)
            await writer.make_bucket()
            for number in range(3):
                await writer.put(f"small-{number}", 50 + life)
            await writer.put(f"medium-{life}", 60_000)
            await writer.upload(f"multi-{life}", (300_000, 5))
            await writer.set_document("policy", str(life))
            await writer.delete("small-1")


async def punched(root: Path, notes: Noting, seed: int) -> None:
    """Inline frames larger than a block die in a log segment that is full, and their space is given back as holes."""
    async with open_store(root) as store:
        assert isinstance(store, SiteStore)
        writer = Writer(store, notes, seed)
        await writer.make_bucket()
        for number in range(6):
            await writer.put(f"inline-{number}", 15_000)
        await writer.put("stays", 15_000)
        store.parts.log_appender.roll()
        for number in range(6):
            await writer.delete(f"inline-{number}")
        writer.collect()
        await writer.put("after", 15_000)
        store.parts.log_appender.roll()
        await writer.delete("after")
        writer.collect()
        await writer.put("last", 100)


async def sealed(root: Path, notes: Noting, seed: int) -> None:
    """Segments that are still appended to and mostly dead are sealed, emptied and removed; so is the highest number."""
    collect.SEAL_DEAD_BYTES_MIN = 100_000  # type: ignore[misc]
    async with open_store(root) as store:
        assert isinstance(store, SiteStore)
        writer = Writer(store, notes, seed)
        await writer.make_bucket()
        for life in range(2):
            for number in range(2):
                await writer.put(f"dead-{number}", 150_000)
            await writer.put(f"alive-{life}", 40_000)
            for number in range(2):
                await writer.delete(f"dead-{number}")
            for _ in range(20):
                store.collector.collect_step()
                store.tidy()
            await writer.put(f"after-{life}", 20_000)


async def rekeyed(root: Path, notes: Noting, seed: int) -> None:
    """Everything is sealed anew, frames and log batches, while writes go on."""
    async with open_store(root) as store:
        assert isinstance(store, SiteStore)
        writer = Writer(store, notes, seed)
        await writer.make_bucket()
        for number in range(4):
            await writer.put(f"small-{number}", 6_000)
        await writer.put("medium", 60_000)
        await writer.upload("multi", (300_000, 5))
        await writer.delete("small-1")
        store.set_keyring(RETIRING)
        for step in range(40):
            store.tidy()
            store.collector.collect_step()
            if step in (3, 9, 15):
                await writer.put(f"meanwhile-{step}", 3_000)
        await writer.put("after", 100)
        assert store.sealed.count()[EPOCH] == 0


async def keyed(root: Path, notes: Noting, seed: int) -> None:
    """Key objects beside the data, among writes: what is there already stays, a later epoch joins."""
    realm = {"realm": b"the realm object" * 8}
    first = {f"keys/{1:032x}/{by:032x}": bytes([by]) * 90 for by in (1, 2)}
    second = {f"keys/{2:032x}/{3:032x}": b"x" * 90}
    async with open_store(root) as store:
        writer = Writer(store, notes, seed)
        await writer.make_bucket()
        for objects in (realm | first, realm | first | second):
            await writer.store_keys(root / "keys", objects)
            await writer.put("beside", 100)
        assert read_key_directory(root / "keys") == realm | first | second


LIVES: dict[str, Callable[[Path, Noting, int], Awaitable[None]]] = {
    "rebuilt": rebuilt,
    "punched": punched,
    "sealed": sealed,
    "keyed": keyed,
    "rekeyed": rekeyed,
}
