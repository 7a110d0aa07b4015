"""The scrub of an opened site, for the background process: step after step at a bounded rate, and its account.

Where it stands lies in ``DATA/run/scrub.json``, for status and metrics and to go on after a restart; it is a figure,
not a record: without the file, everything counts as never read back.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import Any, Final

from gateway.cli.opening import OpenSite
from gateway.cli.run_files import read_run_file, write_run_file
from gateway.store.errors import StoreError
from gateway.store.scrub import ScrubState, first_write_ms

REPORT_NAME: Final = "scrub.json"
DAY_MS: Final = 86_400_000
RETRY_S: Final = 60.0
STEP_PAUSE_S: Final = 0.05
SAVED_EVERY_S: Final = 5.0

log = logging.getLogger("skerry.scrub")


def read_scrub(site: OpenSite) -> ScrubState:
    """Where the scrub stands; nothing if it never began."""
    return read_run_file(site.directory.run / REPORT_NAME, ScrubState) or ScrubState()


def describe_scrub(site: OpenSite) -> dict[str, Any]:
    """The ``scrub`` of ``skerry status --json``; ages in seconds, None: nothing was ever written."""
    state, now_ms = read_scrub(site), _now_ms()
    oldest_ms = state.oldest_ms()
    if not 0 < oldest_ms <= now_ms:  # never, or in the future of a clock that was set back: nothing is known
        with site.store.view() as view:
            oldest_ms = first_write_ms(view)
    return {
        "oldest_unverified_age_s": max(0.0, (now_ms - oldest_ms) / 1000) if oldest_ms else None,
        "whole_rotation_ended_ms": state.whole_ended_ms or None,
        "is_under_way": state.is_under_way,
        "batches": state.batches,
        "chunks": state.chunks,
        "bytes": state.frame_bytes,
        "mended": state.mended,
        "findings": list(state.findings),
    }


async def run_scrub_forever(site: OpenSite, stop: asyncio.Event) -> None:
    """Rotations until ``stop``; what goes wrong is told, and tried again later."""
    settings = site.config.scrub
    if not settings.enabled:
        return
    scrubber = site.store.scrubber(read_scrub(site))
    saved_s, told = 0.0, scrubber.state.findings
    while not stop.is_set():
        state = scrubber.state
        now_ms = _now_ms()  # a rotation that began in the future was told by a clock that was set back since
        wait_s = (min(state.begun_ms, now_ms) + settings.every_days * DAY_MS - now_ms) / 1000
        if state.is_under_way or wait_s <= 0:
            try:
                read = await scrubber.step(_now_ms())
                wait_s = max(STEP_PAUSE_S, read / settings.bytes_per_s if settings.bytes_per_s else 0.0)
            except StoreError as error:
                log.error("the scrub cannot go on: %s", error)
                wait_s = RETRY_S
            except Exception:  # replication lives in the same process and goes on
                log.exception("the scrub failed; trying again later")
                wait_s = RETRY_S
            for finding in scrubber.state.findings[len(told) :]:
                log.error("damaged, and not to be had from the cloud: %s", finding)
            told = scrubber.state.findings
            if time.monotonic() - saved_s >= SAVED_EVERY_S or not scrubber.state.is_under_way:
                await asyncio.to_thread(_save, site, scrubber.state)
                saved_s = time.monotonic()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await stop.wait()
    await asyncio.to_thread(_save, site, scrubber.state)


def _save(site: OpenSite, state: ScrubState) -> None:
    write_run_file(site.directory.run / REPORT_NAME, state)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
