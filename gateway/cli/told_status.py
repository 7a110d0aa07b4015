"""What this site tells of itself with every batch it ships, and shows as its own row of the fleet.

When the disk will be full is judged by the pace of the last days: free space is noted now and then in
``DATA/run/free.json`` (at most one note in ten minutes, a week of them; losing the file only loses the forecast).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from msgspec.structs import replace

from gateway.cli.opening import OpenSite
from gateway.cli.run_files import read_run_file, write_run_file
from gateway.config import Config
from gateway.store.conflicts import count_conflicts
from replication.change_format import READER_VERSION
from replication.site_status_format import SiteStatus, encode_site_status
from replication.status import DaemonReport

NOTES_NAME: Final = "free.json"
NOTE_EVERY_MS: Final = 600_000
NOTES_KEPT_MS: Final = 7 * 86_400_000
NOTES_SPAN_MS_MIN: Final = 3_600_000
NAME_CHARACTERS_MAX: Final = 200
DAY_MS: Final = 86_400_000
UNKNOWN: Final = -1.0

Note = tuple[int, int]
"""(unix ms, free bytes)."""


def forecast_full_days(notes: Sequence[Note], now_ms: int, free_bytes: int) -> float:
    """Days until nothing is free, at the pace since the oldest note; ``UNKNOWN`` if it does not shrink, or with notes
    of less than an hour. Pure.
    """
    kept = [(at_ms, free) for at_ms, free in notes if now_ms - NOTES_KEPT_MS <= at_ms <= now_ms]
    if not kept or now_ms - kept[0][0] < NOTES_SPAN_MS_MIN:
        return UNKNOWN
    shrunk = kept[0][1] - free_bytes
    if shrunk <= 0:
        return UNKNOWN
    return max(0, free_bytes) * (now_ms - kept[0][0]) / shrunk / DAY_MS


def describe_own(site: OpenSite, report: DaemonReport | None, unsent: int | None = None) -> SiteStatus:
    """This site's account of itself now. ``report``: what its replication said last; ``unsent``: how many changes stay
    behind (None: the whole backlog).
    """
    now_ms = time.time_ns() // 1_000_000
    backlog = site.replica.backlog()
    files, directory = site.directory.files, site.directory
    free_bytes = files.free_bytes(directory.segments) - site.config.store.reserve_bytes
    with site.store.view() as view:
        conflicts = count_conflicts(view).conflicts
    behind = backlog.changes if unsent is None else unsent
    status = SiteStatus(
        name=site.config.site_name[:NAME_CHARACTERS_MAX],
        release=release(),
        reader_version=READER_VERSION,
        backlog_changes=behind,
        backlog_bytes=backlog.bytes if behind else 0,
        oldest_unsent_ms=(backlog.oldest_ms or 0) if behind else 0,
        free_bytes=max(0, free_bytes),
        full_in_days=forecast_full_days(read_notes(site), now_ms, free_bytes),
        open_conflicts=conflicts,
        collects=int(collects(site.config)),
    )
    return status if report is None else _with_report(status, report)


def _with_report(status: SiteStatus, report: DaemonReport) -> SiteStatus:
    """What only the replication process knows: the clock, its objects in the bucket, the dead, who is waited for."""
    held, dead = report.held, report.tombstones
    return replace(
        status,
        skew_ms=report.skew_ms or 0,
        cloud_live_bytes=held.live_bytes if held else -1,
        cloud_dead_bytes=held.dead_bytes if held else -1,
        cloud_doomed_bytes=held.doomed_bytes if held else -1,
        tombstones=sum(dead.kept.values()) if dead else -1,
        held_since_ms=min((wait.since_ms for wait in report.waits), default=0),
        rekeyed=tuple([bytes.fromhex(epoch) for epoch, left in sorted(report.epochs.items()) if left.is_done]),
    )


def collects(config: Config) -> bool:
    """Whether a site deletes in the bucket: never one that does not know all of the realm."""
    return config.retention.collect_cloud and not config.replication.subscribe


def tell_own(site: OpenSite, report: DaemonReport | None, unsent: int) -> bytes:
    """The same, encoded for a batch; notes the free space."""
    _note_free(site)
    return encode_site_status(describe_own(site, report, unsent))


def release() -> str:
    """The version of Skerry that runs; empty if it was not installed."""
    try:
        return version("skerry")
    except PackageNotFoundError:
        return ""


def read_notes(site: OpenSite) -> list[Note]:
    """Notes of free space, oldest first; none if there are none that can be read."""
    return sorted(read_run_file(site.directory.run / NOTES_NAME, list[Note]) or ())


def _note_free(site: OpenSite) -> None:
    now_ms, notes = time.time_ns() // 1_000_000, read_notes(site)
    if notes and 0 <= now_ms - notes[-1][0] < NOTE_EVERY_MS:
        return
    free_bytes = site.directory.files.free_bytes(site.directory.segments) - site.config.store.reserve_bytes
    kept = [note for note in notes if now_ms - NOTES_KEPT_MS <= note[0] <= now_ms]
    write_run_file(site.directory.run / NOTES_NAME, [*kept, (now_ms, free_bytes)])
