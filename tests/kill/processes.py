"""The processes of a running site, seen from outside: who is who, who is alive, and killing one of them alone."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from random import Random

import lmdb

from tests.support.net import wait_until
from tests.support.site import Site

WORKER, BACKGROUND, SUPERVISOR = "gateway.cli.worker", "gateway.cli.background", "supervisor"
EVERYTHING = "everything"
END_TIMEOUT_S = 60.0


def list_children(site: Site, module: str = "") -> list[int]:
    """Process ids of the living of the site's group that run ``module`` (all but the first without)."""
    assert site.process is not None
    group = site.process.pid
    found = sorted(int(name) for name in os.listdir("/proc") if name.isdigit())
    return [pid for pid in found if pid != group and _read_group(pid) == group and module in _read_name(pid)]


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and not only what is left of one (whose threads may end later than itself)."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        return state not in ("Z", "X") or len(os.listdir(f"/proc/{pid}/task")) > 1
    except (FileNotFoundError, ProcessLookupError):
        return False


def kill_one(pid: int) -> None:
    """SIGKILL to this process alone; it is dead then, and not only about to die."""
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not is_alive(pid), "a killed process is dead", END_TIMEOUT_S)


def kill_all(site: Site) -> None:
    """SIGKILL to every process of the site at once; all are dead then."""
    children = _list_last_children(site)
    site.kill()
    wait_until(lambda: not any(map(is_alive, children)), "all killed processes are dead", END_TIMEOUT_S)


def kill_supervisor(site: Site) -> None:
    """SIGKILL to the supervisor alone, and wait until its orphans have ended by themselves: they must."""
    assert site.process is not None
    orphans = _list_last_children(site)
    kill_one(site.process.pid)
    site.process.wait()
    site.process = None
    wait_until(lambda: not any(map(is_alive, orphans)), "the orphans of a killed supervisor end", END_TIMEOUT_S)


def kill_somebody(site: Site, victim: str, chance: Random) -> bool:
    """Kill; start the server again if it is gone. Whether there was such a process just then."""
    if victim == EVERYTHING:
        kill_all(site)
        site.start()
    elif victim == SUPERVISOR:
        kill_supervisor(site)
        site.start()
    else:
        found = list_children(site, victim)  # none: still waiting to be started again
        if not found:
            return False
        pid = chance.choice(found)
        kill_one(pid)
        print(f"killed {victim} {pid}, others {list_children(site)}")
    return True


def _list_last_children(site: Site) -> list[int]:
    """The children of a supervisor that is about to be killed, stopped first so that it starts no other."""
    assert site.process is not None
    os.kill(site.process.pid, signal.SIGSTOP)
    return list_children(site)


def list_index_readers(site: Site) -> list[int]:
    """The process ids that hold a reader's slot of the index, whoever they are."""
    with lmdb.open(str(site.data / "index"), readonly=True, lock=True, max_dbs=64, lib_version=1) as environment:
        lines = environment.readers().splitlines()[1:]
        return [int(line.split()[0]) for line in lines if line.strip() and int(line.split()[0]) != os.getpid()]


def _read_group(pid: int) -> int | None:
    """The process group of a living process."""
    try:
        state, _, group = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[:3]
    except (FileNotFoundError, ProcessLookupError):
        return None
    return int(group) if state not in ("Z", "X") else None


def _read_name(pid: int) -> str:
    """Its command line, and the name it has given itself (as those of ``tests.support.zygote`` do) as a module."""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_text().replace("\0", " ")
        return f"{command} gateway.{Path(f'/proc/{pid}/comm').read_text().strip()}"
    except (FileNotFoundError, ProcessLookupError):
        return ""
