"""The tier of an opened site, for the background process and for ``skerry evict``: one pass at a time, and its report.

Whoever makes a pass holds ``DATA/run/evict.lock`` meanwhile. The background process looks at the disk every few
seconds, which is cheap, and walks the versions only when the disk is too full, or seldom, to count. What it found and
did lies in ``DATA/run/tier.json`` for status and metrics: sums over versions as of then; ``evicted_bytes`` of all times
is carried on from report to report (and lost with it: it is a figure, not a record).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

import msgspec

from gateway.cli.opening import OpenSite
from gateway.cli.run_files import read_run_file, write_run_file
from gateway.store.errors import StoreError
from gateway.store.shared import take_lock
from gateway.store.tier import DiskUse, TierPass, TierSummary, find_excess, measure_disk
from gateway.store.tier_census import Sums

POLL_S: Final = 0.1
TURN_TIMEOUT_S: Final = 60.0
RETRY_S: Final = 60.0
_VERSIONS_PER_S: Final = 20_000
_REPORT_NAME: Final = "tier.json"

log = logging.getLogger("skerry.tier")


class AlreadyEvicting(StoreError):
    """Another process makes a pass over this site, and takes long."""


class TierReport(msgspec.Struct, frozen=True):
    """What was found and done last. Bytes; times in unix ms, 0: never."""

    counted_ms: int = 0
    remote_only_bytes: int = 0
    evictable_bytes: int = 0
    pinned_bytes: int = 0
    evicted_bytes: int = 0
    evicted_ms: int = 0
    short_bytes: int = 0


def read_report(site: OpenSite) -> TierReport:
    """The last report; zeros if there is none."""
    return read_run_file(site.directory.run / _REPORT_NAME, TierReport) or TierReport()


def describe_tier(site: OpenSite) -> dict[str, Any]:
    """The ``tier`` of ``skerry status --json``: the disk as of now, the sums as of ``counted_ms``."""
    use, report = measure_disk(site.store), read_report(site)
    return {
        "local_bytes": use.live,
        "disk_bytes": use.total,
        "disk_used_bytes": use.used,
        **msgspec.to_builtins(report),
    }


async def run_pass(
    site: OpenSite,
    bytes_wanted: int | None,
    *,
    bucket: str = "",
    prefix: bytes = b"",
    timeout_s: float = TURN_TIMEOUT_S,
) -> TierSummary:
    """One pass, and its report. Raises the store's errors and ``AlreadyEvicting``."""
    async with _turn(site, timeout_s):
        made = TierPass(site.store, site.config.tier, bucket=bucket, prefix=prefix, pace=_pace)
        summary = await made.run(bytes_wanted)
        _write_report(site, summary, is_whole=not bucket)
        return summary


async def count(site: OpenSite, *, bucket: str = "", prefix: bytes = b"") -> Sums:
    """Only walk and count."""
    sums = await TierPass(site.store, site.config.tier, bucket=bucket, prefix=prefix, pace=_pace).look()
    if not bucket:
        _write_report(site, TierSummary(sums), is_whole=True)
    return sums


def excess(site: OpenSite) -> tuple[int, DiskUse]:
    """How many bytes must go now, and why."""
    use = measure_disk(site.store)
    return find_excess(use, site.config.tier), use


async def run_tier_forever(site: OpenSite, stop: asyncio.Event) -> None:
    """Keep to the limits until ``stop``; what goes wrong is told, and tried again later. Needs a cloud."""
    settings = site.config.tier
    counted_s = float("-inf")
    while site.cloud is not None and not stop.is_set():
        wait_s = settings.check_interval_s
        try:
            wanted, _ = await asyncio.to_thread(excess, site)
            if wanted:
                summary = await run_pass(site, wanted)
                counted_s = time.monotonic()
                _tell(summary)
                if summary.short_bytes:
                    wait_s = max(wait_s, min(RETRY_S, 6 * wait_s))
            elif time.monotonic() - counted_s >= settings.census_interval_s:
                await count(site)
                counted_s = time.monotonic()
            await asyncio.to_thread(site.store.touches.flush)
        except AlreadyEvicting:
            wait_s = RETRY_S
        except StoreError as error:
            log.error("eviction cannot go on: %s", error)
            wait_s = RETRY_S
        except Exception:  # replication lives in the same process and goes on
            log.exception("eviction failed; trying again later")
            wait_s = RETRY_S
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await stop.wait()


def _tell(summary: TierSummary) -> None:
    if summary.evicted_bytes:
        log.info("evicted %d bytes of %d versions", summary.evicted_bytes, summary.evicted_versions)
    if summary.short_bytes:
        log.warning(
            "%d bytes more should be evicted and cannot: they are pinned, or not in the cloud yet", summary.short_bytes
        )


def _write_report(site: OpenSite, summary: TierSummary, *, is_whole: bool) -> None:
    former, now_ms = read_report(site), time.time_ns() // 1_000_000
    report = msgspec.structs.replace(former, evicted_bytes=former.evicted_bytes + summary.evicted_bytes)
    if summary.evicted_bytes:
        report = msgspec.structs.replace(report, evicted_ms=now_ms)
    if is_whole:
        report = msgspec.structs.replace(
            report,
            counted_ms=now_ms,
            remote_only_bytes=summary.census.remote_only_bytes + summary.evicted_bytes,
            evictable_bytes=max(summary.census.evictable_bytes - summary.evicted_bytes, 0),
            pinned_bytes=summary.census.pinned_bytes,
            short_bytes=summary.short_bytes,
        )
    write_run_file(site.directory.run / _REPORT_NAME, report)


async def _pace(versions: int) -> None:
    await asyncio.sleep(versions / _VERSIONS_PER_S)


@asynccontextmanager
async def _turn(site: OpenSite, timeout_s: float) -> AsyncIterator[None]:
    files, path = site.directory.files, site.directory.run / "evict.lock"
    deadline_s = asyncio.get_running_loop().time() + timeout_s
    while (descriptor := take_lock(files, path)) is None:
        if asyncio.get_running_loop().time() > deadline_s:
            raise AlreadyEvicting(f"another process evicts from {site.directory.path}")
        await asyncio.sleep(POLL_S)
    try:
        yield
    finally:
        files.close(descriptor)
