"""A worker process of ``skerry serve``: its own store, the shared listener, one event loop.

Started by the supervisor as ``python -m gateway.cli.worker``. Ready once connections are taken; told to end, it lets
requests in flight finish. SIGHUP: the certificate is read again; one that cannot be used leaves the old in place.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import logging
import signal
import socket
import ssl
import sys
from typing import Final

import uvloop

from gateway.cli.child import Orders, read_orders, report_ready, watch_index, watch_parent
from gateway.cli.descriptors import fit_connections
from gateway.cli.listener import make_server_context
from gateway.cli.logs import configure_logs
from gateway.cli.opening import opened_site
from gateway.cli.reporting import run_reporting
from gateway.config import ServerConfig
from gateway.http.app import serve_gateway
from gateway.http.metrics import RequestMetrics
from gateway.http.tls import BadCertificate, reload_certificate
from gateway.store.allocator import give_back_memory

GC_THRESHOLD: Final = 10_000
"""Objects made and not freed before Python looks for cycles among them."""
GIVE_BACK_INTERVAL_S: Final = 1.0
"""How often it is looked whether much memory is free and kept."""
log = logging.getLogger("skerry.worker")


def main() -> int:
    """Run one worker until it is told to end: its exit code."""
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    orders = read_orders()
    configure_logs(orders.config.log.level, f"worker {orders.number}")
    return run_reporting(lambda: uvloop.run(_serve(orders)))


async def _serve(orders: Orders) -> None:
    config = orders.config
    stop = asyncio.Event()
    watch_parent(stop)
    assert orders.listener is not None
    listener = socket.socket(fileno=orders.listener)
    listener.setblocking(False)
    context = make_server_context(config.server)
    if context is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, _reload, context, config.server)
    async with opened_site(config, connect=True, root_key=orders.root_key) as site:
        watch_index(site.store, stop)
        tune_collector()
        giving = asyncio.create_task(_give_back())
        metrics = RequestMetrics(site.counters / f"worker-{orders.number}.counters")
        await serve_gateway(
            site.store,
            dataclasses.replace(config.server, connections_max=fit_connections(config.server.connections_max)),
            listener,
            ssl_context=context,
            stop=stop,
            metrics=metrics,
            on_ready=report_ready,
            charge=site.store.chunk_cache.charge,
        )
        giving.cancel()


async def _give_back() -> None:
    """For ever: what a crowd has left behind is not this process' for good."""
    while True:
        await asyncio.sleep(GIVE_BACK_INTERVAL_S)
        await asyncio.to_thread(give_back_memory)


def tune_collector() -> None:
    """Have Python's cycle collector pass over what start-up made, and look less often at what requests make.

    Requests leave few cycles behind; looking for them every 700 new objects took 7 % of a worker's time.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(GC_THRESHOLD, 20, 20)


def _reload(context: ssl.SSLContext, server: ServerConfig) -> None:
    assert server.tls_certificate_file is not None
    assert server.tls_key_file is not None
    try:
        reload_certificate(context, server.tls_certificate_file, server.tls_key_file)
    except BadCertificate as error:
        log.error("the old certificate stays in use: %s", error)
    else:
        log.info("certificate read again")


if __name__ == "__main__":
    sys.exit(main())
