"""Requests that one client sends without waiting are answered in order, and others have their turn between them."""

import asyncio
from itertools import pairwise

from aiohttp import web

from gateway.http.protocol import S3Server
from gateway.http.settings import HttpSettings


class Sink(asyncio.Transport):
    """A transport that goes nowhere."""

    def write(self, data: object) -> None:
        """Take it."""

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""

    def is_closing(self) -> bool:
        return False

    def close(self) -> None:
        """Nothing to close."""


async def run_pipelined(count: int) -> list[str]:
    told: list[str] = []
    done = asyncio.Event()

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        told.append(request.path)
        if len([one for one in told if one != "other"]) == count:
            done.set()
        return web.Response()

    async def be_other() -> None:
        while not done.is_set():
            told.append("other")
            await asyncio.sleep(0)

    connection = S3Server(handle, HttpSettings())()
    connection.connection_made(Sink())
    other = asyncio.create_task(be_other())
    connection.data_received(b"".join([b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n" % number for number in range(count)]))
    async with asyncio.timeout(20):
        await done.wait()
        await other
    connection.connection_lost(None)
    return told


def test_pipelined_requests_leave_others_their_turn() -> None:
    told = asyncio.run(run_pipelined(8))
    requests = [at for at, one in enumerate(told) if one != "other"]
    assert [told[at] for at in requests] == [f"/{number}" for number in range(8)]
    assert all(after - before > 1 for before, after in pairwise(requests))


def test_few_of_many_pipelined_requests_are_parsed_ahead() -> None:
    async def run() -> int:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            await asyncio.Event().wait()
            return web.Response()

        connection = S3Server(handle, HttpSettings())()
        connection.connection_made(Sink())
        connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 1000)
        await asyncio.sleep(0)
        parsed = len(connection._messages)
        connection.connection_lost(None)
        return parsed

    assert asyncio.run(run()) <= 2
