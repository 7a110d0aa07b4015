"""A cloud that costs next to nothing: one bucket in memory, enough of S3 for replication.

Run as a program: ``python -m benchmarks.sink PORT CPU``.

It checks no signatures and keeps nothing: it stands for the far end of the line, so that a benchmark sees what
replication costs the site and not what a cloud costs this machine. ``GET /-/bytes`` tells how many body bytes came in.
"""

from __future__ import annotations

import asyncio
import os
import sys
from xml.sax.saxutils import escape

import uvloop
from aiohttp import web

OBJECTS: dict[str, bytes] = {}
TAKEN = {"bytes": 0}
EMPTY_KEY = ""


def list_objects(query: dict[str, str]) -> web.Response:
    """ListObjectsV2 over everything."""
    prefix, most = query.get("prefix", ""), int(query.get("max-keys", "1000"))
    after = query.get("continuation-token") or query.get("start-after", "")
    names = sorted(name for name in OBJECTS if name.startswith(prefix) and name > after)
    page = names[:most]
    rows = "".join(
        f"<Contents><Key>{escape(name)}</Key><Size>{len(OBJECTS[name])}</Size><ETag>&quot;0&quot;</ETag>"
        "<LastModified>2026-01-01T00:00:00.000Z</LastModified><StorageClass>STANDARD</StorageClass></Contents>"
        for name in page
    )
    more = len(names) > most
    token = f"<NextContinuationToken>{escape(page[-1])}</NextContinuationToken>" if more else ""
    about = f"<Name>bench</Name><Prefix>{escape(prefix)}</Prefix><MaxKeys>{most}</MaxKeys>"
    text = f"{about}<KeyCount>{len(page)}</KeyCount><IsTruncated>{str(more).lower()}</IsTruncated>{token}{rows}"
    return web.Response(text=f"<ListBucketResult>{text}</ListBucketResult>", content_type="application/xml")


def missing() -> web.Response:
    """404 as S3 says it."""
    text = "<Error><Code>NoSuchKey</Code><Message>no such key</Message></Error>"
    return web.Response(status=404, text=text, content_type="application/xml")


async def put_object(request: web.BaseRequest, key: str) -> web.Response:
    """PUT, with ``If-None-Match: *`` enforced."""
    body = bytearray()
    while piece := await request.content.readany():
        body += piece
    TAKEN["bytes"] += len(body)
    if request.headers.get("If-None-Match") == "*" and key in OBJECTS:
        text = "<Error><Code>PreconditionFailed</Code><Message>exists</Message></Error>"
        return web.Response(status=412, text=text, content_type="application/xml")
    OBJECTS[key] = bytes(body)
    return web.Response(headers={"ETag": '"0"'})


def get_object(request: web.BaseRequest, key: str) -> web.Response:
    """GET and HEAD, with ``Range``."""
    if key not in OBJECTS:
        return missing()
    data, status, headers = OBJECTS[key], 200, {"ETag": '"0"'}
    if wanted := request.headers.get("Range"):
        first, _, last = wanted.removeprefix("bytes=").partition("-")
        end = min(int(last or len(data)) + 1, len(data))
        headers["Content-Range"] = f"bytes {first}-{end - 1}/{len(data)}"
        data, status = data[int(first) : end], 206
    return web.Response(status=status, body=data, headers=headers)


async def answer(request: web.BaseRequest) -> web.StreamResponse:
    """Dispatch; see the module."""
    if request.path == "/-/bytes":
        return web.Response(text=str(TAKEN["bytes"]))
    if request.headers.get("Expect", "").lower() == "100-continue":  # the low-level server leaves this to us
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0
    _, _, key = request.path.lstrip("/").partition("/")
    if request.method == "PUT":
        return await put_object(request, key)
    if request.method == "DELETE":
        OBJECTS.pop(key, None)
        return web.Response(status=204)
    if key == EMPTY_KEY:
        return list_objects(dict(request.query))
    return get_object(request, key)


async def serve(port: int) -> None:
    """Serve on loopback until terminated."""
    runner = web.ServerRunner(web.Server(answer, access_log=None, read_bufsize=1 << 20))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    await asyncio.Event().wait()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[2])})
    os.nice(5)
    uvloop.run(serve(int(sys.argv[1])))
