"""Opening the real store for the crash tests: one realm, one key, any ``Files``."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.store.files import Files
from gateway.store.layout import DataDirectory
from gateway.store.logical_dump import Row, logical_dump
from gateway.store.store import SiteStore, StoreSettings
from gateway.store.store import open_store as open_site_store
from replication.ports import ChunkFetcher
from replication.sealing import Keyring

REALM, SITE, EPOCH = b"r" * 16, b"s" * 16, b"e" * 16
LATER = b"f" * 16
KEYRING = Keyring(REALM, b"c" * 32, {EPOCH: b"k" * 32, LATER: b"l" * 32}, EPOCH)
RETIRING = Keyring(REALM, KEYRING.chunk_key, KEYRING.epochs, LATER, frozenset({EPOCH}))
"""The same realm a little later: what lies under the first epoch is to be sealed anew."""
SETTINGS = StoreSettings(reserve_bytes=0, map_size_bytes=1 << 30, threads=2)


@asynccontextmanager
async def open_store(
    root: Path, files: Files | None = None, cloud: ChunkFetcher | None = None
) -> AsyncIterator[SiteStore]:
    """The store of a data directory, made if there is none; ``cloud`` has what it lacks."""
    if DataDirectory.is_stamped(root):
        directory = DataDirectory.open(root, files=files)
    else:
        directory = DataDirectory.create(root, REALM, SITE, files)
    store = open_site_store(directory, KEYRING, SETTINGS, cloud)
    try:
        yield store
    finally:
        store.close()


def dump_store(store: SiteStore) -> list[Row]:
    """Everything that the log alone determines, as the index of this store has it."""
    return list(logical_dump(store.index, store.parts.open_pages))
