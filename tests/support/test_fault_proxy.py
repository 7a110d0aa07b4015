"""The fault proxy does to a line what it says, to new connections and to open ones."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

import pytest

from tests.support.fault_proxy import (
    BLACK_HOLE,
    CAPTIVE_PORTAL,
    PASS,
    REFUSE,
    FaultProxy,
    latency,
    reset,
    slow,
    truncate,
)


class EchoServer:
    """Sends back what it gets, on a thread for each connection."""

    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                threading.Thread(target=self._echo, args=(self.listener.accept()[0],), daemon=True).start()

    def _echo(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            while data := connection.recv(65536):
                connection.sendall(data)


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    server = EchoServer()
    with FaultProxy(server.port) as proxy:
        yield proxy
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()


def connect(proxy: FaultProxy, timeout_s: float = 5.0) -> socket.socket:
    return socket.create_connection(("127.0.0.1", proxy.port), timeout=timeout_s)


def exchange(line: socket.socket, data: bytes) -> bytes:
    line.sendall(data)
    got = b""
    while len(got) < len(data) and (piece := line.recv(len(data) - len(got))):
        got += piece
    return got


def test_passes_bytes_and_counts_them(proxy: FaultProxy) -> None:
    data = bytes(range(256)) * 2000
    with connect(proxy) as line:
        assert exchange(line, data) == data
    assert proxy.bytes_up == proxy.bytes_down == len(data)
    assert proxy.accepted == 1


def test_end_of_stream_goes_through(proxy: FaultProxy) -> None:
    with connect(proxy) as line:
        line.sendall(b"bye")
        line.shutdown(socket.SHUT_WR)
        assert line.recv(10) == b"bye"
        assert line.recv(10) == b""


def test_refuses_new_connections_and_resets_open_ones(proxy: FaultProxy) -> None:
    with connect(proxy) as line:
        assert exchange(line, b"x") == b"x"
        proxy.set(REFUSE)
        with pytest.raises(ConnectionResetError):
            line.recv(1)
    with pytest.raises(ConnectionRefusedError):
        connect(proxy)
    proxy.set(PASS)
    with connect(proxy) as line:
        assert exchange(line, b"again") == b"again"


def test_black_hole_swallows_and_says_nothing_until_mended(proxy: FaultProxy) -> None:
    with connect(proxy) as before:
        assert exchange(before, b"x") == b"x"
        proxy.set(BLACK_HOLE)
        with connect(proxy, timeout_s=0.3) as during:
            during.sendall(b"hello")
            with pytest.raises(TimeoutError):
                during.recv(1)
            before.settimeout(0.3)
            before.sendall(b"hello")
            with pytest.raises(TimeoutError):
                before.recv(1)
            proxy.set(PASS)
            for line in (before, during):
                line.settimeout(5)
                with pytest.raises(ConnectionResetError):
                    line.recv(1)
    assert proxy.bytes_up == 1


def test_an_idle_connection_outlives_a_black_hole(proxy: FaultProxy) -> None:
    with connect(proxy) as line:
        assert exchange(line, b"x") == b"x"
        proxy.set(BLACK_HOLE)
        proxy.set(PASS)
        assert exchange(line, b"y") == b"y"


def test_slow_line_trickles_and_speeds_up_when_mended(proxy: FaultProxy) -> None:
    proxy.set(slow(1000))
    data = bytes(1_000_000)  # twenty minutes at this pace: passing proves that mending ends the trickle
    with connect(proxy, timeout_s=20) as line:
        line.sendall(data[:1000])
        first = line.recv(1000)
        assert 0 < len(first) <= 200
        proxy.set(PASS)
        got = len(first)
        while got < 1000:
            got += len(line.recv(1000 - got))
        assert exchange(line, data) == data


def test_latency_passes_everything(proxy: FaultProxy) -> None:
    proxy.set(latency(0.01))
    with connect(proxy) as line:
        assert exchange(line, b"late") == b"late"


def test_reset_in_the_middle_of_an_answer(proxy: FaultProxy) -> None:
    proxy.set(reset(1000))
    with connect(proxy) as line:
        line.sendall(bytes(5000))
        got = 0
        with pytest.raises(ConnectionResetError):  # noqa: PT012 - the reset may come at any of the reads
            while True:
                got += len(line.recv(5000))
        assert got <= 1000


def test_truncates_cleanly(proxy: FaultProxy) -> None:
    proxy.set(truncate(1000))
    with connect(proxy) as line:
        line.sendall(bytes(1000))
        got = 0
        while piece := line.recv(5000):
            got += len(piece)
        assert got == 1000


def test_captive_portal_answers_anything_with_its_page(proxy: FaultProxy) -> None:
    proxy.set(CAPTIVE_PORTAL)
    with connect(proxy) as line:
        line.sendall(b"GET /bucket?list-type=2 HTTP/1.1\r\nHost: cloud\r\n\r\n")
        got = b""
        while piece := line.recv(5000):
            got += piece
    assert got.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"<html>" in got
