"""The admin listener: is the process alive, is it ready, its numbers for Prometheus. Own socket, no credentials.

Serves ``/health/live`` (the process answers), ``/health/ready`` (the site can serve: the provider decides, and says
why not) and ``/metrics``. Bind it where only the operator can reach it: it tells counts and sizes, never names or
contents. It asks the provider at every request and caches nothing.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Protocol

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from gateway.http.metrics import sum_files, to_families
from gateway.http.protocol import check_aiohttp

_JSON: Final = "application/json"


class StatusProvider(Protocol):
    """What the admin listener asks the composition root. Both may read the index; they must not block for long."""

    def readiness(self) -> list[str]:
        """Why the site is not ready; empty if it is."""

    def gauges(self) -> Mapping[str, float]:
        """Numbers of the site by name without prefix (``backlog_bytes``, ``backlog_changes``, ``read_only`` …)."""


class _Collector:
    """Families of everything, made when Prometheus asks."""

    def __init__(self, provider: StatusProvider, counters: Path | None) -> None:
        self._provider = provider
        self._counters = counters

    def collect(self) -> Iterable[Metric]:
        """Request counters of all workers, then the provider's gauges."""
        if self._counters is not None:
            yield from to_families(sum_files(self._counters))
        for name, value in self._provider.gauges().items():
            yield GaugeMetricFamily(f"skerry_{name}", name.replace("_", " "), value)


def _make_handler(provider: StatusProvider, counters: Path | None) -> object:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(provider, counters))

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        if request.method not in ("GET", "HEAD"):
            return web.Response(status=405, headers={"Allow": "GET, HEAD"})
        loop = asyncio.get_running_loop()
        if request.path == "/health/live":
            return web.Response(body=b'{"live":true}\n', content_type=_JSON)
        if request.path == "/health/ready":
            reasons = await loop.run_in_executor(None, provider.readiness)
            body = json.dumps({"ready": not reasons, "reasons": reasons}).encode() + b"\n"
            return web.Response(status=503 if reasons else 200, body=body, content_type=_JSON)
        if request.path == "/metrics":
            body = await loop.run_in_executor(None, generate_latest, registry)
            return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_LATEST})
        return web.Response(status=404)

    return handle


async def serve_admin(
    sock: socket.socket, provider: StatusProvider, *, stop: asyncio.Event, counters: Path | None = None
) -> None:
    """Serve until ``stop``. ``sock``: bound; ``counters``: the directory of the workers' ``*.counters`` files."""
    check_aiohttp()
    server = web.Server(_make_handler(provider, counters), access_log=None, auto_decompress=False)  # type: ignore[arg-type]
    listener = await asyncio.get_running_loop().create_server(server, sock=sock, backlog=64)
    try:
        await stop.wait()
    finally:
        listener.close()
        await server.shutdown(5.0)
