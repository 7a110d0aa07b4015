"""The drill: a restore of this site from the bucket into a scratch directory, compared with the site, and thrown away.

Used by ``skerry drill`` and, every so many days, by the background process; its outcome is kept (``drill_report``).
The scratch site has an id of its own, ships nothing and writes nothing into the bucket. Bytes are fetched for a sample
of the versions, or all of them; whatever is fetched is authenticated and has the chunk id that the record names.

A drill that could not be made (the cloud is away, the disk is full) is no finding: it is told, and tried again.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import logging
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from gateway.cli.drill_report import DrillReport, read_drill, write_drill
from gateway.cli.opening import OpenSite, opened_site
from gateway.cli.site import generated_key_path, join_site
from gateway.cli.site_comparison import Suspect, compare_settings, compare_versions, recheck
from gateway.config import Config
from gateway.store.errors import StoreError
from gateway.store.shared import take_lock
from replication.ports import CloudError
from replication.puller import Puller
from replication.restore import RestoreIncomplete, restore_site
from replication.sampling import Sample

RETRY_S: Final = 3600.0
DAY_S: Final = 86_400.0

log = logging.getLogger("skerry.drill")
Progress = Callable[[str, int, int], None]


class DrillBusy(StoreError):
    """Another process makes a drill of this site just now."""


async def run_drill(
    site: OpenSite,
    *,
    objects_max: int | None,
    scratch: Path | None = None,
    progress: Progress = lambda phase, done, total: None,
) -> DrillReport:
    """Make one drill; ``objects_max``: versions to read whole (None: every one); ``scratch``: where there is room.

    Raises ``DrillBusy``, ``CloudError``, ``RestoreIncomplete``, the store's errors. Nothing is left behind.
    """
    files = site.directory.files
    lock = take_lock(files, site.directory.run / "drill.lock")
    if lock is None:
        raise DrillBusy(f"another drill of {site.directory.path} is under way")
    place = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="skerry-drill-", dir=scratch or site.directory.run))
    try:
        report = await _drill(site, _scratch_config(site.config, place / "data"), objects_max, progress)
        await asyncio.to_thread(write_drill, site, report)
        return report
    finally:
        await asyncio.to_thread(shutil.rmtree, place, ignore_errors=True)
        files.close(lock)


async def run_drills_forever(site: OpenSite, stop: asyncio.Event) -> None:
    """A drill every ``[drill] every_days``, until ``stop``; what goes wrong is told, and tried again later."""
    settings = site.config.drill
    if not settings.every_days or site.cloud is None:
        return
    while not stop.is_set():
        last = await asyncio.to_thread(read_drill, site)
        wait_s = settings.every_days * DAY_S - (time.time() - last.at_ms / 1000) if last else 0.0
        if wait_s <= 0:
            wait_s = settings.every_days * DAY_S
            try:
                report = await run_drill(site, objects_max=settings.objects_max, scratch=settings.scratch)
            except (CloudError, StoreError, RestoreIncomplete, OSError) as error:
                log.error("the drill could not be made: %s", error)
                wait_s = RETRY_S
            else:
                tell = log.info if report.sound else log.error
                tell("drill: %d versions compared, %d read, %s", report.versions, report.read, report.findings)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(wait_s):
                await stop.wait()


def _scratch_config(config: Config, data: Path) -> Config:
    """The same site's, with another data directory; a generated root key stays where it is."""
    realm = config.realm
    if not (realm.key_file or realm.passphrase_file or realm.key_command):
        realm = dataclasses.replace(realm, key_file=generated_key_path(config))
    return dataclasses.replace(config, site=dataclasses.replace(config.site, data=data), realm=realm)


async def _drill(site: OpenSite, config: Config, objects_max: int | None, progress: Progress) -> DrillReport:
    begun_s, begun_ms = time.monotonic(), time.time_ns() // 1_000_000
    sample: Sample[Suspect] = Sample(secrets.token_bytes(16), objects_max)
    await asyncio.to_thread(join_site, config)
    async with opened_site(config) as scratch:
        await _take_in(scratch)
        found = await asyncio.to_thread(compare_versions, site.store, scratch.store, sample)
        await _pull(scratch)
        suspects = await asyncio.to_thread(recheck, site.store, scratch.store, found.suspects)
        findings = [f"{suspect} is not in the bucket as it is here" for suspect in suspects]
        findings += await _recheck_settings(site, scratch)
        read_bytes = 0
        for done, one in enumerate(found.sample, 1):
            size, wrong = await _read(site, scratch, one)
            read_bytes += size
            findings += [wrong] if wrong else []
            progress("objects", done, len(found.sample))
    took_s = time.monotonic() - begun_s
    counts = (found.versions, found.unsent, found.bytes, len(found.sample), read_bytes)
    return DrillReport(begun_ms, took_s, *counts, tuple(findings))


async def _take_in(scratch: OpenSite) -> None:
    """All that a new site takes in, by the newest checkpoint as it would; its bytes left where they are."""
    cloud = scratch.cloud
    assert cloud is not None
    await scratch.realm.refresh(cloud)
    await restore_site(
        cloud,
        scratch.realm.keyring,
        scratch.replica,
        wall_ms=lambda: time.time_ns() // 1_000_000,
        refresh_keys=lambda: scratch.realm.refresh(cloud),
        state=scratch.store.folded_state,
    )


async def _pull(scratch: OpenSite) -> None:
    """What was shipped since."""
    assert scratch.cloud is not None
    puller = Puller(scratch.replica, scratch.cloud, scratch.realm.keyring, wall_ms=lambda: time.time_ns() // 1_000_000)
    while (await puller.pull_round()).batches:
        pass


async def _recheck_settings(site: OpenSite, scratch: OpenSite) -> list[str]:
    """What differs of buckets, documents and users; nothing is concluded while changes wait to be sent."""
    if site.replica.backlog().changes:
        return []
    with site.store.view() as ours, scratch.store.view() as theirs:
        return [f"{line} is not in the bucket as it is here" for line in compare_settings(ours, theirs)]


async def _read(site: OpenSite, scratch: OpenSite, one: Suspect) -> tuple[int, str]:
    """Read a version whole out of the scratch site: its size, and what was wrong. ``CloudError`` is no finding."""
    with scratch.store.view() as view:
        version = view.version(one.uid, one.key, one.id)
    if version is None:
        return 0, ""
    size = 0
    try:
        async for piece in scratch.store.read(version.record.content):
            size += len(piece)
    except StoreError as error:
        with site.store.view() as view:
            if view.version(one.uid, one.key, one.id) is None:
                return size, ""  # deleted here meanwhile
        return size, f"{one} cannot be read from the bucket: {error}"
    return size, ""
