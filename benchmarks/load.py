"""The load generator: raw sockets on one epoll, requests built and signed before the clock starts.

It must never be what is measured: no HTTP library, no event loop, two system calls a request. Every result tells how
busy the generator's own core was. It checks each answer's status and length, not its bytes (the tests do that).
"""

from __future__ import annotations

import contextlib
import select
import socket
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

RECEIVE_BYTES = 1 << 20


@dataclass
class Load:
    """What a run did: counts, seconds, latencies (seconds, one per request), the generator's CPU seconds."""

    requests: int = 0
    body_bytes: int = 0
    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    generator_cpu_s: float = 0.0

    @property
    def per_second(self) -> float:
        """Requests per second."""
        return self.requests / self.seconds

    @property
    def bytes_per_second(self) -> float:
        """Body bytes per second, whichever way they went."""
        return self.body_bytes / self.seconds

    @property
    def generator_share(self) -> float:
        """How much of its core the generator used: near 1 it was the limit, and the figure is a lower bound."""
        return self.generator_cpu_s / self.seconds

    def percentile(self, share: float) -> float:
        """Latency, in seconds, that ``share`` of the requests stayed under."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


class BadAnswer(RuntimeError):
    """The server answered something else than the benchmark is about."""


class _Connection:
    """One keep-alive connection with one request in flight."""

    __slots__ = ("began", "head", "left", "out", "sent", "sock")

    def __init__(self, port: int) -> None:
        self.sock = socket.create_connection(("127.0.0.1", port))
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock.setblocking(False)
        self.began = 0.0
        self.head = b""  # answer head received so far, while incomplete
        self.left = -1  # body bytes still to come; -1: the head is not complete
        self.out: bytes | memoryview = b""
        self.sent = 0

    def send(self) -> bool:
        """Send what the socket takes; whether everything is out."""
        with contextlib.suppress(BlockingIOError):
            self.sent += self.sock.send(self.out if not self.sent else memoryview(self.out)[self.sent :])
        return self.sent == len(self.out)

    def take(self, data: bytes | memoryview) -> bool:
        """Take received bytes; whether the answer is complete."""
        if self.left >= 0:
            self.left -= len(data)
            return self.left <= 0
        head = self.head + bytes(data) if self.head else bytes(data)
        end = head.find(b"\r\n\r\n")
        if end < 0:
            self.head = head
            return False
        self.head = b""
        if head[9] != 0x32:  # not 2xx
            raise BadAnswer(head[:2000].decode(errors="replace"))
        self.left = body_length(head[:end]) - (len(head) - end - 4)
        return self.left <= 0


def body_length(head: bytes) -> int:
    """The Content-Length of an answer's head; answers without one are not what benchmarks ask for."""
    at = head.find(b"ontent-Length:")
    if at < 0:
        at = head.lower().find(b"ontent-length:")
        if at < 0:
            raise BadAnswer("no Content-Length: " + head.decode(errors="replace"))
    end = head.find(b"\r\n", at)
    return int(head[at + 14 : end if end >= 0 else len(head)])


def run_load(
    port: int, requests: Sequence[bytes], *, connections: int, seconds: float, once: bool = False, body_bytes: int = 0
) -> Load:
    """Keep ``connections`` busy with ``requests`` for ``seconds``: in turn and again, or each ``once``.

    ``body_bytes`` is what each request moves, for the throughput. Raises ``BadAnswer`` on any status but 2xx.
    """
    load = Load()
    clients = [_Connection(port) for _ in range(min(connections, len(requests)) if once else connections)]
    poll = select.epoll()
    by_fd = {client.sock.fileno(): client for client in clients}
    for fd in by_fd:
        poll.register(fd, select.EPOLLIN)
    source = _take_turns(requests, once=once)
    buffer = memoryview(bytearray(RECEIVE_BYTES))
    busy = 0
    cpu_began, began = time.process_time(), time.perf_counter()
    deadline = began + seconds
    try:
        for client in clients:
            busy += _begin(client, source, poll)
        while busy:
            for fd, event in poll.poll(5):
                client = by_fd[fd]
                if event & select.EPOLLOUT:
                    if client.send():
                        poll.modify(fd, select.EPOLLIN)
                    continue
                try:
                    count = client.sock.recv_into(buffer)
                except BlockingIOError:
                    continue
                if not count:
                    raise BadAnswer("the server closed a connection")
                if client.take(buffer[:count]):
                    now = time.perf_counter()
                    load.latencies.append(now - client.began)
                    busy -= 1
                    if now < deadline:
                        busy += _begin(client, source, poll)
    finally:
        load.seconds = time.perf_counter() - began
        load.generator_cpu_s = time.process_time() - cpu_began
        poll.close()
        for client in clients:
            client.sock.close()
    load.requests = len(load.latencies)
    load.body_bytes = load.requests * body_bytes
    return load


def _take_turns(requests: Sequence[bytes], *, once: bool) -> Iterator[bytes]:
    while True:
        yield from requests
        if once:
            return


def _begin(client: _Connection, source: Iterator[bytes], poll: select.epoll) -> int:
    """Send the next request, if there is one: 1 if one is in flight now."""
    request = next(source, None)
    if request is None:
        return 0
    client.out, client.sent, client.left = request, 0, -1
    client.began = time.perf_counter()
    if not client.send():
        poll.modify(client.sock.fileno(), select.EPOLLIN | select.EPOLLOUT)
    return 1
