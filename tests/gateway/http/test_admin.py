"""The admin listener: liveness, readiness with reasons, and the sum of all workers' counters."""

import asyncio
import socket

from gateway.http.admin import serve_admin
from gateway.http.metrics import RequestMetrics, sum_files, to_families
from gateway.s3.routing import Operation


class Provider:
    def __init__(self):
        self.reasons = []

    def readiness(self):
        return self.reasons

    def gauges(self):
        return {"backlog_bytes": 17.0}


async def fetch(port, path, method="GET"):
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"{method} {path} HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n".encode())
    data = await reader.read()
    writer.close()
    await writer.wait_closed()
    return int(data.split()[1]), data.partition(b"\r\n\r\n")[2].decode()


async def test_health_and_metrics(tmp_path):
    for number in range(2):
        metrics = RequestMetrics(tmp_path / f"worker-{number}.counters")
        metrics.observe(Operation.GetObject, 200, 700, 0, 4096)
        metrics.observe(Operation.PutObject, 412, 30_000_000, 10, 0)
        metrics.observe(None, 400, 1, 0, 0)
    RequestMetrics(tmp_path / "worker-0.counters").observe(Operation.GetObject, 304, 600, 0, 0)  # restarted: goes on
    (tmp_path / "worker-9.counters").write_bytes(b"another layout")
    sock = socket.create_server(("127.0.0.1", 0))
    provider, stop = Provider(), asyncio.Event()
    port = sock.getsockname()[1]
    serving = asyncio.create_task(serve_admin(sock, provider, stop=stop, counters=tmp_path))
    assert (await fetch(port, "/health/live"))[0] == 200
    assert (await fetch(port, "/health/ready"))[0] == 200
    provider.reasons = ["the disk failed to sync"]
    status, body = await fetch(port, "/health/ready")
    assert status == 503
    assert "disk failed" in body
    status, body = await fetch(port, "/metrics")
    assert status == 200
    for line in (
        'skerry_requests_total{operation="GetObject",status="2xx"} 2.0',
        'skerry_requests_total{operation="GetObject",status="3xx"} 1.0',
        'skerry_requests_total{operation="PutObject",status="4xx"} 2.0',
        'skerry_requests_total{operation="Unknown",status="4xx"} 2.0',
        'skerry_request_seconds_bucket{le="0.001",operation="GetObject"} 3.0',
        'skerry_request_seconds_bucket{le="10.0",operation="PutObject"} 0.0',
        'skerry_request_seconds_count{operation="PutObject"} 2.0',
        'skerry_sent_bytes_total{operation="GetObject"} 8192.0',
        "skerry_backlog_bytes 17.0",
    ):
        assert line in body
    assert (await fetch(port, "/other"))[0] == 404
    assert (await fetch(port, "/metrics", "POST"))[0] == 405
    stop.set()
    await serving


def test_operations_never_asked_for_are_left_out(tmp_path):
    assert sum(len(family.samples) for family in to_families(sum_files(tmp_path))) == 0
