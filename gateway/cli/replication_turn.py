"""Whose turn it is to replicate: one process of a site at a time, by two locked files in ``DATA/run``.

    replication.lock      held by who replicates
    replication.wanted    held by ``skerry replicate --once`` while it waits for, or has, the turn

A daemon that sees the second one held finishes what it is doing, lets go of the first, and takes it again when nobody
wants it any more. Locks end with their process, so nothing is left behind by one that was killed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from gateway.store.errors import StoreError
from gateway.store.layout import DataDirectory
from gateway.store.shared import take_lock

POLL_S: Final = 0.1
ONCE_TIMEOUT_S: Final = 60.0
DAEMON_TIMEOUT_S: Final = 3.0


class AlreadyReplicating(StoreError):
    """Another process replicates this site and keeps doing so."""


def _turn_path(directory: DataDirectory) -> Path:
    return directory.run / "replication.lock"


def _wanted_path(directory: DataDirectory) -> Path:
    return directory.run / "replication.wanted"


def is_held(directory: DataDirectory, path: Path) -> bool:
    """Whether some process holds a lock file now."""
    descriptor = take_lock(directory.files, path)
    if descriptor is None:
        return True
    directory.files.close(descriptor)
    return False


def is_replicating(directory: DataDirectory) -> bool:
    """Whether some process replicates this site now."""
    return is_held(directory, _turn_path(directory))


def is_wanted(directory: DataDirectory) -> bool:
    """Whether a ``--once`` wants the turn."""
    return is_held(directory, _wanted_path(directory))


@asynccontextmanager
async def daemon_turn(directory: DataDirectory, timeout_s: float = DAEMON_TIMEOUT_S) -> AsyncIterator[None]:
    """Have the turn as a daemon: waits while a ``--once`` has it; ``AlreadyReplicating`` if another daemon does."""
    while is_wanted(directory):  # noqa: ASYNC110 - the other end is another process
        await asyncio.sleep(POLL_S)
    async with _held(directory, _turn_path(directory), timeout_s):
        yield


@asynccontextmanager
async def once_turn(directory: DataDirectory, timeout_s: float = ONCE_TIMEOUT_S) -> AsyncIterator[None]:
    """Have the turn for one run: a daemon steps aside for it."""
    async with (
        _held(directory, _wanted_path(directory), timeout_s),
        _held(directory, _turn_path(directory), timeout_s),
    ):
        yield


async def wait_wanted(directory: DataDirectory) -> None:
    """Return once somebody else wants the turn."""
    while not is_wanted(directory):  # noqa: ASYNC110 - the other end is another process
        await asyncio.sleep(POLL_S)


@asynccontextmanager
async def _held(directory: DataDirectory, path: Path, timeout_s: float) -> AsyncIterator[None]:
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    while (descriptor := take_lock(directory.files, path)) is None:
        if asyncio.get_running_loop().time() > deadline_s:
            raise AlreadyReplicating(f"another process replicates {directory.path} already")
        await asyncio.sleep(POLL_S)
    try:
        yield
    finally:
        directory.files.close(descriptor)
