"""The background process of ``skerry serve``: replication, if a cloud is configured. Steps back behind the workers.

Started by the supervisor as ``python -m gateway.cli.background``. If it dies, the gateway goes on and it is started
again; what it does can be stopped anywhere.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import uvloop

from gateway.cli.child import Orders, read_orders, report_ready, watch_parent
from gateway.cli.failures import run_reporting
from gateway.cli.logs import configure_logs
from gateway.cli.opening import opened_site
from gateway.cli.replicator import replicate_forever


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
    async with opened_site(orders.config) as site:
        report_ready()
        if site.cloud is not None:
            await replicate_forever(site, stop, patient=True)
        await stop.wait()


if __name__ == "__main__":
    sys.exit(main())
