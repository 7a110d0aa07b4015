"""One replicator at a time: a daemon keeps a second one out, and steps aside for ``--once``."""

import asyncio

import pytest

from gateway.cli.replication_turn import (
    AlreadyReplicating,
    daemon_turn,
    is_replicating,
    once_turn,
    wait_wanted,
)
from gateway.store.layout import DataDirectory


@pytest.fixture
def directory(tmp_path):
    return DataDirectory.create(tmp_path / "data", bytes(16), bytes(range(16)))


async def test_a_second_daemon_is_refused(directory):
    assert not is_replicating(directory)
    async with daemon_turn(directory):
        assert is_replicating(directory)
        with pytest.raises(AlreadyReplicating):
            async with daemon_turn(directory, timeout_s=0):
                pass
    assert not is_replicating(directory)
    async with daemon_turn(directory, timeout_s=0):
        pass


async def test_a_daemon_steps_aside_for_once_and_comes_back(directory):
    turns = []

    async def daemon():
        while True:
            async with daemon_turn(directory):
                turns.append("daemon")
                await wait_wanted(directory)

    task = asyncio.create_task(daemon())
    async with asyncio.timeout(20):
        while not turns:
            await asyncio.sleep(0.01)
        async with once_turn(directory):
            turns.append("once")
            await asyncio.sleep(0.3)  # long enough for the daemon to take it back, if it would
            assert turns == ["daemon", "once"]
        while len(turns) < 3:
            await asyncio.sleep(0.01)
    assert turns == ["daemon", "once", "daemon"]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_one_once_waits_for_another(directory):
    async with once_turn(directory):
        with pytest.raises(AlreadyReplicating):
            async with once_turn(directory, timeout_s=0):
                pass
