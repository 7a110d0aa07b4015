"""Lifecycle of an opened site, for the background process and for ``skerry lifecycle run``.

One pass at a time: whoever makes one holds ``DATA/run/lifecycle.lock`` meanwhile; two at once would do no harm, only
the work twice. The daemon makes a pass when it starts and after every midnight UTC, which is when days end; with days
shortened for tests, four in a day. What ends a pass (a full disk, a store that became read-only) is told, and tried
again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final

from gateway.cli.opening import OpenSite
from gateway.operations.conflict_resolution import expire_losers
from gateway.operations.lifecycle_pass import LifecyclePass, Pace, Summary
from gateway.s3.lifecycle_rules import DAY_MS
from gateway.store.conflicts import find_conflict, scan_conflicts
from gateway.store.decision import Decision
from gateway.store.errors import StoreError
from gateway.store.shared import take_lock

POLL_S: Final = 0.1
ONCE_TIMEOUT_S: Final = 60.0
RETRY_S: Final = 300.0
_DEBUG_PASSES_A_DAY: Final = 4
_AFTER_MIDNIGHT_S: Final = 1.0

log = logging.getLogger("skerry.lifecycle")


class AlreadyRunning(StoreError):
    """Another process makes a lifecycle pass over this site, and takes long."""


def now_ms() -> int:
    """Unix ms."""
    return time.time_ns() // 1_000_000


async def run_pass(site: OpenSite, at_ms: int | None = None, *, timeout_s: float = ONCE_TIMEOUT_S) -> Summary:
    """One pass, as if it were ``at_ms`` (None: now). Raises the store's errors and ``AlreadyRunning``."""
    settings = site.config.lifecycle
    async with _turn(site, timeout_s):
        at = now_ms() if at_ms is None else at_ms
        made = LifecyclePass(
            site.store,
            at,
            settings.calendar,
            archive=site.cloud is not None,
            pace=_make_pace(settings.versions_per_s),
        )
        summary = await made.run()
        if settings.conflict_days:
            summary.losers_dropped = await _expire_losers(
                site, at - int(settings.conflict_days * settings.calendar.day_ms)
            )
        return summary


async def _expire_losers(site: OpenSite, before_ms: int) -> int:
    """Drop losers of collisions that were written before a time, a commit a key: they are few. How many went."""
    with site.store.view() as view:
        due = [
            (found.bucket, found.key)
            for found in scan_conflicts(view)
            if found.bucket and any(loser.record.modified_ms <= before_ms for loser in found.losers)
        ]

    def decide(view: Decision, name: str, key: bytes) -> int:
        bucket = view.bucket(name)
        found = find_conflict(view, bucket.uid, key) if bucket is not None else None
        return 0 if bucket is None or found is None else expire_losers(view, bucket, found, before_ms)

    total = 0
    for name, key in due:
        dropped = await site.store.committer.commit(partial(decide, name=name, key=key))
        if dropped:
            log.info("dropped %d old losers of a collision in bucket %s", dropped, name)
        total += dropped
    return total


async def run_lifecycle_forever(site: OpenSite, stop: asyncio.Event) -> None:
    """Passes until ``stop``; what goes wrong is told, and tried again later."""
    if not site.config.lifecycle.enabled:
        return
    while not stop.is_set():
        try:
            summary = await run_pass(site)
        except AlreadyRunning:
            wait_s = RETRY_S
        except StoreError as error:
            log.error("lifecycle cannot go on: %s", error)
            wait_s = RETRY_S
        except Exception:  # replication lives in the same process and goes on
            log.exception("lifecycle failed; trying again later")
            wait_s = RETRY_S
        else:
            if changed := {name: count for name, count in vars(summary).items() if count}:
                log.info("lifecycle: %s", changed)
            wait_s = _next_pass_s(site.config.lifecycle.debug_day_s, now_ms())
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await stop.wait()


def _next_pass_s(debug_day_s: float, at_ms: int) -> float:
    """How long to wait for the next pass."""
    if debug_day_s:
        return max(debug_day_s / _DEBUG_PASSES_A_DAY, POLL_S)
    return (DAY_MS - at_ms % DAY_MS) / 1000 + _AFTER_MIDNIGHT_S


def _make_pace(versions_per_s: int) -> Pace:
    async def pace(count: int) -> None:
        await asyncio.sleep(count / versions_per_s if versions_per_s else 0)

    return pace


@asynccontextmanager
async def _turn(site: OpenSite, timeout_s: float) -> AsyncIterator[None]:
    files, path = site.directory.files, site.directory.run / "lifecycle.lock"
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    while (descriptor := take_lock(files, path)) is None:
        if asyncio.get_running_loop().time() > deadline_s:
            raise AlreadyRunning(f"another process makes a lifecycle pass over {site.directory.path}")
        await asyncio.sleep(POLL_S)
    try:
        yield
    finally:
        files.close(descriptor)
