"""The supervisor over real processes: ready, restarted when killed, ended together, never orphaned, never looping."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from gateway import supervise
from gateway.supervise import CannotStart, Role, Supervisor

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _at_root(monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(supervise, "BACKOFF_BASE_S", 0.01)


def role(tmp_path, name="worker", vital=True, **orders):
    orders["notes"] = str(tmp_path / name)
    return Role(name, "tests.gateway.supervised_child", json.dumps(orders).encode(), vital=vital)


def notes(tmp_path, name="worker"):
    return (tmp_path / name).read_text().splitlines()


async def until(condition, timeout_s=20.0):
    async with asyncio.timeout(timeout_s):
        while not condition():
            await asyncio.sleep(0.01)


async def test_starts_all_and_ends_all(tmp_path):
    supervisor = Supervisor([role(tmp_path), role(tmp_path, "other")], drain_timeout_s=5)
    await supervisor.start()
    assert supervisor.is_ready()
    pids = [child.pid for child in supervisor.children]
    await supervisor.stop()
    assert [child.pid for child in supervisor.children] == [None, None]
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(pid, 0)
    assert notes(tmp_path)[-1].startswith("term")


async def test_a_killed_child_comes_back(tmp_path):
    supervisor = Supervisor([role(tmp_path)], drain_timeout_s=5)
    await supervisor.start()
    first = supervisor.children[0].pid
    os.kill(first, signal.SIGKILL)
    await until(lambda: supervisor.children[0].pid not in (first, None) and supervisor.is_ready())
    assert supervisor.children[0].restarts == 1
    await supervisor.stop()


async def test_a_vital_child_that_cannot_start_ends_the_start(tmp_path):
    supervisor = Supervisor([role(tmp_path, exit=3), role(tmp_path, "other")], drain_timeout_s=5)
    with pytest.raises(CannotStart) as caught:
        await supervisor.start()
    assert caught.value.exit_code == 3
    assert supervisor.children[1].pid is None


async def test_another_child_that_cannot_start_is_tried_again(tmp_path):
    supervisor = Supervisor([role(tmp_path), role(tmp_path, "other", vital=False, exit=3, exits=2)], drain_timeout_s=5)
    await supervisor.start()
    await until(supervisor.children[1].ready.is_set)
    assert supervisor.children[1].restarts == 2
    await supervisor.stop()


async def test_a_child_that_will_not_end_is_killed(tmp_path, monkeypatch):
    monkeypatch.setattr(supervise, "KILL_GRACE_S", 0.0)
    supervisor = Supervisor([role(tmp_path, stubborn=True)], drain_timeout_s=0.3)
    await supervisor.start()
    pid = supervisor.children[0].pid
    await supervisor.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_reload_reaches_every_child(tmp_path):
    supervisor = Supervisor([role(tmp_path)], drain_timeout_s=5)
    await supervisor.start()
    supervisor.reload()
    await until(lambda: any(line.startswith("hup") for line in notes(tmp_path)))
    await supervisor.stop()


async def test_a_killed_parent_leaves_no_orphan(tmp_path):
    program = f"""
        import asyncio
        from gateway.supervise import Role, Supervisor
        async def main():
            orders = b'{{"notes": "{tmp_path / "worker"}"}}'
            supervisor = Supervisor([Role("worker", "tests.gateway.supervised_child", orders, vital=True)], 5)
            await supervisor.start()
            print("up", flush=True)
            await asyncio.sleep(60)
        asyncio.run(main())
    """
    parent = subprocess.Popen([sys.executable, "-c", textwrap.dedent(program)], stdout=subprocess.PIPE)
    try:
        assert await asyncio.to_thread(parent.stdout.readline) == b"up\n"
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
    await until(lambda: any(line.startswith("end of input") for line in notes(tmp_path)))
    pid = int(notes(tmp_path)[0].split()[1])

    def is_gone():
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, 0)
            return Path(f"/proc/{pid}/stat").read_text().split()[2] == "Z"
        return True

    await until(is_gone)
