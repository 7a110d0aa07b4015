"""SIGKILL of one process at a time, at random moments under mixed load: the others go on, nothing acknowledged is lost.

Victims: a worker, the background process, the supervisor (its orphans must end by themselves, and the next server
start over them), or everything at once. Afterwards: every key, tag and document is compared with a model; no lock is
stale (writes go on), no reader's slot of the index belongs to a dead process; ``verify`` is clean; an index rebuilt
from the log shows the same. ``SKERRY_KILL_ROUNDS`` makes it longer, ``SKERRY_KILL_SEED`` repeats victims and moments.

Most rounds are of processes that are forked ready to run (``support/zygote.py``); one in twenty more is of processes
that start as they do in life, and may die while they do.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.kill.model import SHARED_BUCKET, Writer, check_model
from tests.kill.processes import (
    BACKGROUND,
    EVERYTHING,
    SUPERVISOR,
    WORKER,
    is_alive,
    kill_somebody,
    list_children,
    list_index_readers,
)
from tests.support.net import wait_until
from tests.support.site import Site
from tests.support.zygote import Zygote

ROUNDS = int(os.environ.get("SKERRY_KILL_ROUNDS", "6"))
WRITERS, WORKERS = 4, 2
STARTED_ROUNDS = max(2, ROUNDS // 20)
VICTIMS = (*(WORKER,) * 5, *(BACKGROUND,) * 3, SUPERVISOR, EVERYTHING)
BACK_TIMEOUT_S = 60.0

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240 + 15 * ROUNDS)]


def wait_whole(site: Site) -> None:
    """Until every child is running again, and has the index open: that is when the slots of the dead are freed."""

    def is_whole() -> bool:
        children = list_children(site, WORKER), list_children(site, BACKGROUND)
        holders = list_index_readers(site)
        return tuple(map(len, children)) == (WORKERS, 1) and all(pid in holders for pids in children for pid in pids)

    wait_until(is_whole, "all processes are back", BACK_TIMEOUT_S)
    site.wait_ready()


def test_any_process_may_die_at_any_moment(tmp_path: Path, zygote: Zygote) -> None:
    kill_and_compare(Site(tmp_path / "site", "victim", workers=WORKERS), ROUNDS)


def test_any_process_may_die_while_it_starts(tmp_path: Path) -> None:
    kill_and_compare(Site(tmp_path / "site", "victim", workers=WORKERS, forked=False), STARTED_ROUNDS)


def kill_and_compare(site: Site, rounds: int) -> None:
    seed = int(os.environ.get("SKERRY_KILL_SEED") or secrets.randbits(32))
    print(f"seed: {seed}")
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    site.start()
    try:
        client = site.client()
        writers = [Writer(site, number, seed + number) for number in range(WRITERS)]
        for name in (SHARED_BUCKET, *(writer.bucket for writer in writers)):
            client.create_bucket(Bucket=name)
        for writer in writers:
            writer.start()
        while killed.total() < rounds:
            time.sleep(chance.uniform(0.05, 0.8))  # not synchronisation: the moment of death is this test's input
            victim = chance.choice(VICTIMS)
            killed[victim] += kill_somebody(site, victim, chance)
            assert all(writer.failure is None for writer in writers), [writer.failure for writer in writers]
        wait_whole(site)
        for writer in writers:
            writer.end()
        client = site.client()
        client.put_object(Bucket=writers[0].bucket, Key="no lock is stale", Body=b"")
        dead = [pid for pid in list_index_readers(site) if not is_alive(pid)]
        assert not dead, f"dead processes hold slots: {dead}; there are {list_children(site)}"
        looked_at = check_model(client, writers)
        site.run("verify")
        site.stop()
        site.run("rebuild-index")
        site.start()
        assert check_model(site.client(), writers) == looked_at
        site.stop()
        done = sum((writer.done for writer in writers), Counter[str]())
        print(
            f"{killed.total()} kills {dict(killed)}; {done.total()} writes acknowledged {dict(done)}, "
            f"{sum(writer.bytes for writer in writers)} bytes; {sum(writer.unanswered for writer in writers)} without "
            f"an answer; {looked_at} keys and documents compared, twice"
        )
        assert done.total() > rounds
    finally:
        site.kill()
