"""Stores to serve in tests: the in-memory one, and the real one over a directory."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from gateway.store.layout import DataDirectory
from gateway.store.ports import Store
from gateway.store.store import StoreSettings, open_store
from replication.sealing import Keyring
from tests.gateway.operations.memory_store import MemoryStore

Opened = tuple[Store, Callable[[], Awaitable[None]]]
KINDS = ("memory", "real")
REALM, SITE, EPOCH = b"r" * 16, b"s" * 16, b"e" * 16


def opener(kind: str, directory: Path) -> Callable[[], Awaitable[Opened]]:
    """How to open a store of ``kind``, for ``Server``."""

    async def open_memory() -> Opened:
        async def close() -> None:
            return None

        return MemoryStore(), close

    async def open_real() -> Opened:
        keyring = Keyring(REALM, b"c" * 32, {EPOCH: b"k" * 32}, EPOCH)
        path = directory / "site"
        made = DataDirectory.open(path) if path.exists() else DataDirectory.create(path, REALM, SITE)
        store = open_store(made, keyring, StoreSettings(reserve_bytes=0, map_size_bytes=1 << 28))

        async def close() -> None:
            store.close()

        return store, close

    return {"memory": open_memory, "real": open_real}[kind]
