"""Thousands of connections are paid for out of what a worker may hold for bodies, answers and cached chunks."""

import asyncio
from typing import Any

from aiohttp import web

from gateway.http.answers import ReadyAnswer
from gateway.http.body import WindowBudget
from gateway.http.crowd import CROWD, EACH_BYTES, Crowd
from gateway.http.protocol import S3Server
from gateway.http.settings import HttpSettings
from gateway.http.unsent import UnsentAnswers
from gateway.store.local_frames import ChunkCache
from tests.gateway.http.test_pipelining import Sink
from tests.gateway.http.test_unsent import Connection


def test_few_cost_nothing_and_many_at_most_what_was_said() -> None:
    charged: list[int] = []
    crowd = Crowd(10 * EACH_BYTES, charged.append)
    crowd.meet(CROWD)
    assert charged == []
    crowd.meet(CROWD + 4)
    crowd.meet(CROWD + 1_000_000)
    assert (charged, crowd.bytes) == ([4 * EACH_BYTES, 6 * EACH_BYTES], 10 * EACH_BYTES)


def test_what_a_crowd_cost_comes_back_slowly_and_whole() -> None:
    charged: list[int] = []
    crowd = Crowd(1 << 30, charged.append)
    crowd.meet(CROWD + 8000)
    top = crowd.bytes
    crowd.calm_down(100)
    assert top * 0.99 < crowd.bytes < top
    for _ in range(100_000):
        crowd.calm_down(100)
    assert crowd.bytes == sum(charged) == 0


def test_who_is_charged_holds_less() -> None:
    budget, unsent, cache = WindowBudget(100), UnsentAnswers(100), ChunkCache(100)
    held = Connection()
    unsent.hold(held, 60, 1.0)
    cache.put(b"one", bytes(40))
    cache.put(b"two", bytes(40))
    for charge in (budget.charge, unsent.charge, cache.charge):
        charge(30)
    assert not budget.take(71)
    assert budget.take(70)
    assert not held.ended
    assert (cache.get(b"one"), cache.get(b"two")) == (None, bytes(40))
    unsent.charge(30)
    assert held.ended
    for charge in (budget.charge, unsent.charge, cache.charge):
        charge(-30)
    assert budget.take(30)


class Taking(Sink):
    """Counts what is written, and knows whether it is read from."""

    answers = 0
    reads = True

    def write(self, data: object) -> None:
        self.answers += 1

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True


def count_parsed(present: int) -> tuple[int, list[int]]:
    """How many of many pipelined requests a connection parses ahead that comes when so many are there; what is charged
    then.
    """

    async def run() -> tuple[int, list[int]]:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            await asyncio.Event().wait()
            return web.Response()

        charged: list[int] = []
        server = S3Server(handle, HttpSettings(), charges=[charged.append])
        others: dict[Any, Any] = {object(): Sink() for _ in range(present)}
        server.live.update(others)
        connection = server()
        connection.connection_made(Sink())
        connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n" * 100)
        parsed = len(connection._messages)
        connection.connection_lost(None)
        return parsed, charged

    return asyncio.run(run())


def test_less_is_parsed_ahead_in_a_crowd() -> None:
    assert count_parsed(0) == (2, [])
    assert count_parsed(CROWD) == (1, [EACH_BYTES])
    assert count_parsed(0) == (2, [])


def test_who_is_answered_at_once_is_read_from_again() -> None:
    async def run() -> tuple[int, bool]:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            raise AssertionError("it was to be answered at once")

        server = S3Server(handle, HttpSettings(), lambda _: ReadyAnswer(200, "", [], b"yes"))
        others: dict[Any, Any] = {object(): Sink() for _ in range(CROWD)}
        server.live.update(others)
        connection, sink = server(), Taking()
        connection.connection_made(sink)
        await asyncio.sleep(0)
        for _ in range(3):
            connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        connection.connection_lost(None)
        return sink.answers, sink.reads

    assert asyncio.run(run()) == (3, True)


def test_pipelined_requests_are_all_answered_in_a_crowd() -> None:
    async def run() -> list[str]:
        told: list[str] = []
        done = asyncio.Event()

        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            told.append((await request.read()).decode())
            if len(told) == 20:
                done.set()
            return web.Response()

        server = S3Server(handle, HttpSettings())
        others: dict[Any, Any] = {object(): Sink() for _ in range(CROWD)}
        server.live.update(others)
        connection = server()
        connection.connection_made(Sink())
        request = b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n"
        wire = b"".join(request + b"%02d" % number for number in range(20))
        for at in range(0, len(wire), 7):
            connection.data_received(wire[at : at + 7])
        async with asyncio.timeout(20):
            await done.wait()
        connection.connection_lost(None)
        return told

    assert asyncio.run(run()) == [f"{number:02}" for number in range(20)]


def test_writes_and_reads_take_turns_on_one_connection_of_a_crowd() -> None:
    async def run() -> tuple[int, bool]:
        async def handle(request: web.BaseRequest) -> web.StreamResponse:
            assert await request.read() == b"0123456789"
            return web.Response()

        server = S3Server(
            handle, HttpSettings(), lambda head: ReadyAnswer(200, "", [], b"yes") if head.method == "GET" else None
        )
        others: dict[Any, Any] = {object(): Sink() for _ in range(CROWD)}
        server.live.update(others)
        connection, sink = server(), Taking()
        connection.connection_made(sink)
        await asyncio.sleep(0)
        for turn in range(1, 21):
            connection.data_received(b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n01234")
            await asyncio.sleep(0)
            connection.data_received(b"56789")
            async with asyncio.timeout(20):
                while sink.answers < 2 * turn - 1 or connection.is_busy:
                    await asyncio.sleep(0)
            assert sink.reads
            connection.data_received(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            assert sink.answers == 2 * turn
        connection.connection_lost(None)
        return sink.answers, sink.reads

    assert asyncio.run(run()) == (40, True)
