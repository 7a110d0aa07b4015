"""The yardstick: aiohttp's low-level ``web.Server`` on uvloop, doing nothing but moving bytes.

``GET /<n>`` answers n bytes at once, ``GET /stream/<n>`` streams them in 1 MiB pieces, ``PUT`` reads the body and drops
it. Run as a program: ``python -m benchmarks.bare PORT CPU``.
"""

from __future__ import annotations

import asyncio
import os
import sys

import uvloop
from aiohttp import web

PIECE = os.urandom(1 << 20)
BODIES: dict[int, bytes] = {}


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    """See the module."""
    if request.method == "PUT":
        while await request.content.readany():
            pass
        return web.Response()
    path = request.rel_url.raw_path
    if path.startswith("/stream/"):
        size = int(path[8:])
        response = web.StreamResponse(headers={"Content-Length": str(size)})
        await response.prepare(request)
        for _ in range(size // len(PIECE)):
            await response.write(PIECE)
        return response
    size = int(path[1:])
    return web.Response(body=BODIES.setdefault(size, PIECE[:size]))


async def serve(port: int) -> None:
    """Serve on loopback until terminated."""
    runner = web.ServerRunner(web.Server(answer, access_log=None, read_bufsize=1 << 20))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[2])})
    uvloop.run(serve(int(sys.argv[1])))
