"""Answers that nobody takes: bounded together, cut off after a while, and no reason to refuse others."""

import asyncio
import gc
import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.http import protocol
from gateway.http.failures import ClientGone, release_frames
from gateway.http.protocol import S3Connection, S3Server
from gateway.http.settings import HttpSettings
from gateway.http.unsent import UnsentAnswers
from tests.gateway.http.raw import Raw, build, read_answer
from tests.gateway.http.server import Server
from tests.gateway.http.stores import opener
from tests.support.net import wait_until


class Connection:
    def __init__(self, *, has_followers: bool = False) -> None:
        self.ended, self.has_followers = False, has_followers

    def abort(self) -> None:
        self.ended = True


def test_those_that_stalled_first_go_when_there_is_too_much() -> None:
    unsent = UnsentAnswers(100)
    first, second, third = Connection(), Connection(), Connection()
    unsent.hold(first, 50, 1.0)
    unsent.hold(second, 50, 2.0)
    assert not first.ended
    unsent.let_go(first)
    unsent.hold(first, 40, 3.0)  # it took something: the other has taken nothing for longer
    unsent.hold(third, 20, 4.0)
    assert (first.ended, second.ended, third.ended) == (False, True, False)
    assert (unsent.bytes, unsent.aborted) == (60, 1)
    unsent.abort_since(3.0)
    assert (first.ended, third.ended) == (True, False)
    unsent.hold(third, 101, 5.0)  # none may hold more than all
    assert third.ended
    assert unsent.bytes == 0


def test_who_asks_for_more_and_takes_nothing_goes_at_once() -> None:
    unsent, patient, greedy = UnsentAnswers(100), Connection(), Connection(has_followers=True)
    unsent.hold(patient, 10, 1.0)
    assert not unsent.abort_greedy()
    unsent.hold(greedy, 10, 2.0)
    assert unsent.abort_greedy()
    assert (patient.ended, greedy.ended, unsent.bytes) == (False, True, 10)


def connect_small(port: int) -> socket.socket:
    """A client whose kernel takes little for it."""
    connection = socket.socket()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    connection.settimeout(20)
    connection.connect(("127.0.0.1", port))
    return connection


def ends(connection: socket.socket, received: int = 0) -> int:
    """Bytes that come until the server ends the connection."""
    try:
        while piece := connection.recv(1 << 20):
            received += len(piece)
    except ConnectionError:
        pass
    return received


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[S3Server]:
    """The listeners that were made."""
    made: list[S3Server] = []

    class Noted(S3Server):
        def __init__(self, *arguments: Any) -> None:
            super().__init__(*arguments)
            made.append(self)

    monkeypatch.setattr("gateway.http.app.S3Server", Noted)
    return made


@contextmanager
def serving(directory: Path, size: int, **settings: Any) -> Iterator[tuple[Server, bytes]]:
    """A server with one object, and a signed request for it."""
    with Server(opener("real", directory), HttpSettings(**settings)) as server:
        client = server.client()
        client.create_bucket(Bucket="bbb")
        client.put_object(Bucket="bbb", Key="k", Body=bytes(size))
        raw = Raw(server.port)
        yield server, build("GET", "/bbb/k", raw.signed_headers("GET", "/bbb/k"))
        assert client.get_object(Bucket="bbb", Key="k")["Body"].read() == bytes(size)
        client.close()


@pytest.mark.parametrize("size", [50_000, 900_000, 8 << 20])
def test_a_client_that_takes_nothing_is_cut_off(tmp_path: Path, made: list[S3Server], size: int) -> None:
    with serving(tmp_path, size, body_idle_timeout_s=0.3) as (server, request), connect_small(server.port) as greedy:
        for _ in range(64):  # more than the kernels take
            greedy.sendall(request)
        wait_until(lambda: made[0].unsent.aborted == 1, "the connection is ended", 20)
        assert ends(greedy) < 64 * size


def test_too_much_that_is_not_taken_ends_those_that_stall_longest(tmp_path: Path, made: list[S3Server]) -> None:
    with serving(tmp_path, 900_000, unsent_bytes_max=1 << 20) as (server, request):
        connections = [connect_small(server.port) for _ in range(6)]
        for connection in connections:
            connection.sendall(request * 8)
        wait_until(lambda: made[0].unsent.aborted >= 4, "most are ended", 20)
        assert made[0].unsent.bytes <= 1 << 20
        for connection in connections:
            connection.close()


def test_a_closing_connection_whose_client_takes_nothing_is_ended() -> None:
    """What is left to send below the high-water mark keeps a closing transport open: not for ever."""

    class Closing(asyncio.Transport):
        aborted = False

        def is_closing(self) -> bool:
            return True

        def abort(self) -> None:
            self.aborted = True

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response()

    async def run() -> list[bool]:
        server, transport = S3Server(handle, HttpSettings(body_idle_timeout_s=60)), Closing()
        connection = server()
        assert isinstance(connection, S3Connection)
        server.live[connection] = transport
        ended = []
        for now_s in (100.0, 159.0, 161.0):
            server._abort_closing(now_s)
            ended.append(transport.aborted)
        return ended

    assert asyncio.run(run()) == [False, False, True]


def test_idle_connections_give_way_to_new_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.http.protocol._IDLE_MIN_S", 0.0)
    request = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"
    with Server(opener("memory", tmp_path), HttpSettings(connections_max=2)) as server:
        raw = Raw(server.port)
        with raw.connect() as first, raw.connect() as second:
            for connection in (first, second):
                connection.sendall(request)
                assert read_answer(connection).status == 403
            with raw.connect() as third:
                third.sendall(request)
                assert read_answer(third).status == 403
                assert first.recv(1) == b""
            second.sendall(request)
            assert read_answer(second).status == 403


def test_too_many_requests_at_a_time_are_told_to_slow_down(tmp_path: Path) -> None:
    with serving(tmp_path, 1000, requests_max=1) as (server, request):
        raw = Raw(server.port)
        headers = raw.signed_headers("PUT", "/bbb/slow", headers={"content-length": "200000", "expect": "100-continue"})
        with raw.connect() as slow:
            slow.sendall(build("PUT", "/bbb/slow", headers))
            assert slow.recv(25) == b"HTTP/1.1 100 Continue\r\n\r\n"  # it is being answered
            answer = raw.send(request)
            assert (answer.status, answer.code, answer.headers["retry-after"]) == (503, "SlowDown", "5")
            with raw.connect() as greedy:  # with others behind it, the first ends them all
                greedy.sendall(request * 3)
                answer = read_answer(greedy)
                assert (answer.status, answer.headers["connection"]) == (503, "close")
                assert greedy.recv(1) == b""
            slow.sendall(bytes(200_000))
            assert read_answer(slow).status == 200


def test_a_body_that_trickles_is_given_up(tmp_path: Path) -> None:
    with serving(tmp_path, 1000, body_idle_timeout_s=0.2, body_rate_min_bytes_s=10_000) as (server, _):
        raw = Raw(server.port)
        headers = raw.signed_headers("PUT", "/bbb/slow", headers={"content-length": "200000"})
        with raw.connect() as slow:
            slow.sendall(build("PUT", "/bbb/slow", headers))
            slow.settimeout(0.02)
            for _ in range(500):
                slow.sendall(b"x")
                with suppress(TimeoutError):  # the pace of the trickle
                    answer = slow.recv(10_000)
                    break
            else:
                pytest.fail("it trickles for ever")
            assert b"RequestTimeout" in answer


def test_what_an_error_came_through_is_let_go() -> None:
    class Large:
        pass

    async def run() -> int:
        waiter = asyncio.get_running_loop().create_future()

        async def write(piece: Large) -> None:
            kept = waiter  # as aiohttp's drain: the future holds the error, the error's frame the future
            await kept

        async def stream() -> None:
            try:
                await write(Large())
            except ConnectionError as error:
                raise ClientGone from error

        waiting = asyncio.create_task(stream())
        await asyncio.sleep(0)
        waiter.set_exception(ConnectionError())
        try:
            await waiting
        except ClientGone as error:
            release_frames(error)
        del waiting
        return sum(isinstance(each, Large) for each in gc.get_objects())

    gc.collect()
    gc.disable()
    try:
        assert asyncio.run(run()) == 0
    finally:
        gc.enable()


def test_who_comes_back_when_told_to_finds_a_place() -> None:
    """By then whoever is idle, or takes nothing, gives way: what the refusal at the door says is no guess."""
    told = re.search(rb"\r\nRetry-After: (\d+)\r\n", protocol._FULL)
    assert told is not None
    assert int(told[1]) >= max(protocol._IDLE_MIN_S, protocol.STALLED_MIN_S)
