"""A connection that waits for its next request holds a few KiB: thousands of them fit into a worker."""

import asyncio
import gc
import tracemalloc

from aiohttp import web

from gateway.http.protocol import S3Server
from gateway.http.settings import HttpSettings
from tests.gateway.http.test_pipelining import Sink

CONNECTIONS = 200
BYTES_MAX = 16 << 10
BODY = b"x" * (24 << 10)


async def measure_idle() -> float:
    """Bytes that a connection holds which has answered one request with a body, and waits."""
    answered = 0

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal answered
        while await request.content.readany():
            pass
        answered += 1
        return web.Response(body=BODY)

    server = S3Server(handle, HttpSettings())
    connections = [server() for _ in range(CONNECTIONS)]
    gc.collect()
    tracemalloc.start()
    try:
        for connection in connections:
            connection.connection_made(Sink())
        await asyncio.sleep(0)
        for connection in connections:
            connection.data_received(b"PUT /%d HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % (7, len(BODY)))
            connection.data_received(bytes(BODY))
        async with asyncio.timeout(20):
            while answered < CONNECTIONS or any(connection.is_busy for connection in server.live):
                await asyncio.sleep(0)
        gc.collect()
        return tracemalloc.get_traced_memory()[0] / CONNECTIONS
    finally:
        tracemalloc.stop()
        for connection in connections:
            connection.connection_lost(None)


def test_idle_connections_stay_small() -> None:
    assert asyncio.run(measure_idle()) < BYTES_MAX
