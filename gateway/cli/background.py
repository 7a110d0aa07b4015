"""The background process of ``skerry serve``: dead space, lifecycle, and replication if a cloud is configured.

Steps back behind the workers (niced). Started by the supervisor as ``python -m gateway.cli.background``. If it dies,
the gateway goes on and it is started again; what it does can be stopped anywhere.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys

import uvloop

from gateway.cli.child import Orders, read_orders, report_ready, watch_index, watch_parent
from gateway.cli.drill_runner import run_drills_forever
from gateway.cli.lifecycle_runner import run_lifecycle_forever
from gateway.cli.logs import configure_logs
from gateway.cli.opening import OpenSite, opened_site
from gateway.cli.replicator import replicate_forever
from gateway.cli.reporting import run_reporting
from gateway.cli.scrub_runner import run_scrub_forever
from gateway.cli.tier_runner import run_tier_forever
from gateway.store.errors import StoreError

log = logging.getLogger("skerry.background")


def main() -> int:
    """Run until told to end: the exit code."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    orders = read_orders()
    configure_logs(orders.config.log.level, "background")
    os.nice(orders.config.server.replication_nice)
    return run_reporting(lambda: uvloop.run(_work(orders)))


async def _work(orders: Orders) -> None:
    stop = asyncio.Event()
    watch_parent(stop)
    async with opened_site(orders.config, connect=True, root_key=orders.root_key) as site:
        watch_index(site.store, stop)
        report_ready()
        collecting = asyncio.create_task(site.store.collect(_tell_collection))
        replicating = asyncio.create_task(_replicate(site, stop))
        expiring = asyncio.create_task(run_lifecycle_forever(site, stop))
        evicting = asyncio.create_task(run_tier_forever(site, stop))
        drilling = asyncio.create_task(run_drills_forever(site, stop))
        scrubbing = asyncio.create_task(run_scrub_forever(site, stop))
        mirroring = asyncio.create_task(_mirror(site, stop))
        try:
            # Replication comes to its own end at a stop. A lifecycle pass may be cut short, and its failures are told.
            done, _ = await asyncio.wait({collecting, replicating}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            tasks = (collecting, replicating, expiring, evicting, drilling, scrubbing, mirroring)
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _replicate(site: OpenSite, stop: asyncio.Event) -> None:
    if site.cloud is not None:
        await replicate_forever(site, stop, patient=True)
    await stop.wait()


async def _mirror(site: OpenSite, stop: asyncio.Event) -> None:
    if site.cloud is not None:
        from gateway.cli.mirror_runner import run_mirrors_forever  # brings AWS' client, which takes long to import

        await run_mirrors_forever(site, stop)


def _tell_collection(error: StoreError) -> None:
    log.error("collection: %s", error)


if __name__ == "__main__":
    sys.exit(main())
