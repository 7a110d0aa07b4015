"""TLS handshakes under way are bounded, the oldest give way, and who shakes hands in earnest is served."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from aiohttp import web

from gateway.http import handshakes
from gateway.http.handshakes import TlsDoor
from gateway.http.protocol import S3Server
from gateway.http.settings import HttpSettings
from gateway.http.tls import make_tls_context
from tests.support.authority import make_authority


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> ssl.SSLContext:
    authority = make_authority(tmp_path_factory.mktemp("authority"), "s3.test")
    return make_tls_context(authority.chain, authority.key)


async def handle(request: web.BaseRequest) -> web.StreamResponse:
    return web.Response(body=b"served")


def run_door(
    context: ssl.SSLContext, timeout_s: float, use: Callable[[TlsDoor, int], Awaitable[None]], listener: Any = None
) -> None:
    async def run() -> None:
        bound = listener or socket.create_server(("127.0.0.1", 0))
        server = S3Server(handle, HttpSettings())
        door = TlsDoor(server, bound, context, timeout_s)
        door.open()
        async with asyncio.timeout(20):
            await use(door, bound.getsockname()[1])
            await until(lambda: not server.live)
        door.close()
        await server.drain(1)

    asyncio.run(run())


async def ask(port: int) -> bytes:
    trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=trusting)
    writer.write(b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    answer = await reader.read()
    writer.close()
    return answer


async def until(true: Callable[[], bool]) -> None:
    while not true():
        await asyncio.sleep(0.001)


def test_the_oldest_handshakes_give_way(context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "HANDSHAKES_MAX", 3)
    monkeypatch.setattr(handshakes, "GIVES_WAY_AFTER_S", -1.0)

    async def use(door: TlsDoor, port: int) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(10)]
        await until(lambda: door.failed == 7)
        assert (door.under_way, door.refused) == (3, 0)
        for reader, _ in silent[:7]:
            assert await reader.read() == b""
        assert b"served" in await ask(port)
        for _, writer in silent:
            writer.close()

    run_door(context, 30, use)


def test_young_handshakes_keep_their_place(context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handshakes, "HANDSHAKES_MAX", 3)
    monkeypatch.setattr(handshakes, "GIVES_WAY_AFTER_S", 1000.0)

    async def use(door: TlsDoor, port: int) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(5)]
        await until(lambda: door.refused == 2)
        assert door.under_way == 3
        for _, writer in silent:
            writer.close()
        await until(lambda: door.under_way == 0)
        assert b"served" in await ask(port)

    run_door(context, 30, use)


def test_who_says_nothing_is_ended_in_time(context: ssl.SSLContext) -> None:
    async def use(door: TlsDoor, port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        assert await reader.read() == b""
        assert (door.failed, door.under_way) == (1, 0)
        writer.close()

    run_door(context, 0.05, use)


class NoDescriptors:
    """A listener whose process has no descriptor left, the first times."""

    def __init__(self, listener: socket.socket, times: int) -> None:
        self._listener, self.left = listener, times

    def __getattr__(self, name: str) -> Any:
        return getattr(self._listener, name)

    def accept(self) -> Any:
        if self.left:
            self.left -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return self._listener.accept()


def test_a_process_without_descriptors_takes_connections_again(
    context: ssl.SSLContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And looks for them now and then only: the row of those who wait is ready all the while."""
    watch, looks = TlsDoor._watch, []

    def count(door: TlsDoor) -> None:
        looks.append(door)
        watch(door)

    monkeypatch.setattr(TlsDoor, "_watch", count)
    monkeypatch.setattr(handshakes, "_RETRY_S", 0.001)
    listener = NoDescriptors(socket.create_server(("127.0.0.1", 0)), 3)

    async def use(door: TlsDoor, port: int) -> None:
        assert b"served" in await ask(port)
        assert listener.left == 0
        assert len(looks) == 4, "once when it opened, once behind each refusal"

    run_door(context, 30, use, listener)


def test_a_connection_has_one_handshake(context: ssl.SSLContext) -> None:
    assert context.options & ssl.OP_NO_RENEGOTIATION
