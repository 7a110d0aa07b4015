"""Replication of an opened site, for the background process and for ``skerry replicate``.

The daemon has the turn (``replication_turn``) for as long as nobody asks for it; what no waiting mends (another realm's
bucket, one that does not create names only once) is told again and again, and tried again: the operator may have
mended it, and the gateway goes on all the while.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Final

from gateway.cli.epoch_progress import may_need
from gateway.cli.failures import find_failure
from gateway.cli.link_state import site_link
from gateway.cli.opening import OpenSite
from gateway.cli.replication_turn import AlreadyReplicating, daemon_turn, once_turn, wait_wanted
from gateway.cli.site_status import read_report, write_report
from gateway.cli.told_status import collects, tell_own
from gateway.store.urgency import UrgentChanges
from replication.collecting import Collecting
from replication.collector import CollectedRound, Collector
from replication.link_watch import LinkWatch, address_of, knock
from replication.service import OnceSummary, ReplicationService
from replication.settings import ReplicationSettings
from replication.shipper import Shipper
from replication.status import DaemonReport
from replication.tombstones import TombstoneKeeper
from replication.trusted_time import is_too_far

REST_S: Final = 10.0

log = logging.getLogger("skerry.replication")


def make_service(site: OpenSite) -> ReplicationService:
    """The replication of a site that has a cloud."""
    assert site.cloud is not None
    assert site.config.cloud is not None
    before = read_report(site)
    address = address_of(site.config.cloud)
    site.realm.is_needed = lambda epoch: may_need(site, read_report(site), epoch)
    return ReplicationService(
        site.replica,
        site.replica,
        site.cloud,
        site.realm,
        _cadence(site),
        single_writer=site.config.cloud.single_writer,
        publish_report=lambda report: _publish(site, report),
        tell_status=lambda unsent: tell_own(site, read_report(site), unsent),
        skew_ms=lambda: site.skew.skew_ms,
        bring=site.store.hydrator.bring,
        waits=before.waits if before else (),
        link=site_link(site.config, site.directory),
        urgent_seq=UrgentChanges(site.store, site.replica, site.config.link.urgent).latest,
        watch=LinkWatch(lambda: knock(*address)),
        probe_interval_s=site.config.link.probe_interval_s,
        state=site.store.folded_state,
        make_collecting=partial(_make_collecting, site),
    )


async def _bring(site: OpenSite, chunk_ids: Sequence[bytes]) -> None:
    """Have these chunks' bytes on the site, if none are; what no log has located yet is unknown, not lost."""
    await asyncio.gather(*site.store.hydrator.begin(chunk_ids))


def _cadence(site: OpenSite) -> ReplicationSettings:
    """Checkpoints that its log may be cut behind are only worth their bytes where it is."""
    settings = site.config.replication
    return settings if collects(site.config) else replace(settings, checkpoint_batches=0)


def _make_collecting(site: OpenSite, shipper: Shipper, hurry: Callable[[], None]) -> Collecting:
    assert site.cloud is not None
    assert site.fetcher is not None

    def wall_ms() -> int:
        return time.time_ns() // 1_000_000

    cloud, settings, store = site.cloud, site.config.retention, site.store
    collector = Collector(
        *(site.replica, store.holdings, shipper, site.cloud, site.fetcher, partial(_bring, site), site.realm.keyring),
        replace(settings.collecting(), enabled=collects(site.config)),
        wall_ms=wall_ms,
    )
    keeper = None
    if settings.collect_tombstones and not site.config.replication.subscribe:  # else it does not see all that lives
        keeper = TombstoneKeeper(
            *(site.replica, store.graveyard, site.cloud, settings.tombstones_ms),
            trusted_ms=partial(_trusted_ms, site),
            account=before.tombstones if (before := read_report(site)) is not None else None,
        )
    return Collecting(
        *(site.replica, store.folded_state, collector, settings.collect_interval_s),
        wall_ms=wall_ms,
        hurry=hurry,
        tombstones=keeper,
        refresh_keys=lambda: site.realm.refresh(cloud),
    )


def _trusted_ms(site: OpenSite) -> int | None:
    skew_ms = site.skew.skew_ms
    return None if skew_ms is None else time.time_ns() // 1_000_000 - skew_ms


def _publish(site: OpenSite, report: DaemonReport) -> None:
    wrong = is_too_far(report.skew_ms, site.config.clock.refuse_skew_s)
    if wrong and not site.store.shared.clock_wrong:
        log.error("the clock is %d ms off the cloud's: writes are refused until it is right", report.skew_ms)
    site.store.shared.set_clock_wrong(wrong)
    write_report(site, report)


async def replicate_once(site: OpenSite) -> OnceSummary:
    """Push and pull until nothing is left, a daemon stepping aside meanwhile. Raises replication's errors."""
    async with once_turn(site.directory):
        return await make_service(site).run_once()


async def collect_once(site: OpenSite) -> CollectedRound:
    """Replicate, collect in the bucket and tell of it, a daemon stepping aside. Raises replication's errors."""
    async with once_turn(site.directory):
        return await make_service(site).collect_once()


async def replicate_forever(site: OpenSite, stop: asyncio.Event, *, patient: bool) -> None:
    """Replicate until ``stop``. ``patient``: what could end it is told, and waited out."""
    while not stop.is_set():
        try:
            async with daemon_turn(site.directory):
                await _replicate_until_wanted(site, stop)
        except AlreadyReplicating:
            if not patient:
                raise
            log.warning("another process replicates this site; waiting for it to end")
            await _rest(stop)
        except Exception as error:
            found = find_failure(error)
            if found is None or not patient:
                raise
            log.error("replication cannot go on: %s", found[0])
            await _rest(stop)


async def _replicate_until_wanted(site: OpenSite, stop: asyncio.Event) -> None:
    """Run the service until ``stop``, or until a ``--once`` wants the turn."""
    leave = asyncio.Event()
    service = asyncio.create_task(make_service(site).run(leave))
    others = [asyncio.create_task(stop.wait()), asyncio.create_task(wait_wanted(site.directory))]
    try:
        await asyncio.wait({service, *others}, return_when=asyncio.FIRST_COMPLETED)
        leave.set()
        await service
    finally:
        for task in (*others, service):
            task.cancel()
        await asyncio.gather(*others, service, return_exceptions=True)


async def _rest(stop: asyncio.Event) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(REST_S):
            await stop.wait()
