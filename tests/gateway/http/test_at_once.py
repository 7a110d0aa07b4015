"""What is answered at once is what the connection's task would have answered, but for the request's id."""

from __future__ import annotations

import asyncio
import itertools
import random
import re
import time
from collections.abc import Callable, Iterator

import pytest

from gateway.http.app import Gateway
from gateway.http.protocol import S3Server
from gateway.http.settings import HttpSettings
from gateway.identity.users import ensure_root
from gateway.s3.sigv4 import presign, sign_request
from gateway.s3.uri import EMPTY_QUERY
from tests.gateway.http.raw import build
from tests.gateway.http.server import ACCESS_KEY, SECRET
from tests.gateway.http.stores import KINDS, opener

HOST = "127.0.0.1"
SMALL = random.Random(1).randbytes(4096)
LARGE = random.Random(2).randbytes(3 << 20)
KEYS = ("small", "empty", "large", "told", "absent", "a//b", "%C3%A9 x")
CONDITIONS = (
    {},
    {"if-none-match": "*"},
    {"if-match": '"nothing"'},
    {"if-modified-since": "Mon, 01 Jan 2001 00:00:00 GMT"},
    {"origin": "https://example.org"},
    {"x-amz-checksum-mode": "ENABLED"},
    {"x-amz-no-such-thing": "1"},
    {"x-amz-expected-bucket-owner": "999999999999"},
)
RANGES = ({}, {"range": "bytes=5-80"}, {"range": "bytes=-7"}, {"range": "bytes=99999999-"}, {"range": "nonsense"})
HOW = ("header", "query", "wrong", "late", "nobody", "twice")
_OWN = re.compile(rb"(?i)(x-amz-request-id: |<RequestId>)[0-9A-F]{16}|Date: [^\r]*GMT")


class Sink(asyncio.Transport):
    """A transport whose other side takes everything."""

    def __init__(self) -> None:
        super().__init__()
        self.taken = b""
        self.is_closed = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.taken += bytes(data)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Nothing is ever buffered."""

    def get_write_buffer_size(self) -> int:
        return 0

    def is_closing(self) -> bool:
        return self.is_closed

    def close(self) -> None:
        self.is_closed = True

    def pause_reading(self) -> None:
        """Nothing comes by itself."""

    def resume_reading(self) -> None:
        """Nothing comes by itself."""

    @property
    def is_answered(self) -> bool:
        """Whether a whole answer was taken (those of HEAD are told by their heads' end)."""
        head, end, body = self.taken.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)content-length: (\d+)", head)
        return bool(end) and (length is None or self.is_head or len(body) >= int(length[1]))

    is_head = False


def sign(method: str, key: str, headers: dict[str, str], how: str) -> bytes:
    """A request for a key of the bucket, signed in one way or another."""
    path = f"/raw/{key}".replace(" ", "%20")
    headers = {"host": HOST, **headers}
    now_s = int(time.time()) - (3600 if how == "late" else 0)
    secret = SECRET + "x" if how == "wrong" else SECRET
    target = path
    if how in ("query", "twice"):
        query = presign(method, path, (), headers, access_key=ACCESS_KEY, secret=secret, now_s=now_s, expires_s=60)
        target = f"{path}?{query}"
    if how not in ("query", "nobody"):
        headers = sign_request(method, path, EMPTY_QUERY, headers, access_key=ACCESS_KEY, secret=secret, now_s=now_s)
    return build(method, target, headers)


async def ask(server: S3Server, method: str, request: bytes) -> tuple[bytes, bool, bool]:
    """(answer, whether it was there at once, whether the connection ended)."""
    connection, sink = server(), Sink()
    sink.is_head = method == "HEAD"
    connection.connection_made(sink)
    await asyncio.sleep(0)  # its task waits for a request now
    connection.data_received(request)
    at_once = sink.is_answered
    async with asyncio.timeout(30):
        while not sink.is_answered and not sink.is_closed:
            await asyncio.sleep(0.001 if at_once else 0)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    closed = sink.is_closed
    connection.connection_lost(None)
    return sink.taken, at_once, closed


def make_requests() -> Iterator[tuple[str, bytes]]:
    """A sample of everything that can be combined, the plain ones among it for certain."""
    choose = random.Random(20261129)
    everything = list(itertools.product(("GET", "HEAD"), KEYS, CONDITIONS, RANGES, HOW))
    plain = [one for one in everything if not one[2] and not one[3] and one[4] == "header"]
    for method, key, condition, asked, how in plain + choose.sample(everything, 250):
        yield method, sign(method, key, {**condition, **asked}, how)
    for query in ("partNumber=1", "versionId=null", "acl", "tagging", "list-type=2", "versionId=", "a=%zz"):
        yield "GET", build("GET", f"/raw/small?{query}", {"host": HOST})


def with_gateway(kind: str, directory: object, work: Callable[[Gateway], object]) -> None:
    """Run ``work`` with a gateway over a bucket with an object of each kind."""

    async def run() -> None:
        store, close = await opener(kind, directory)()  # type: ignore[arg-type]
        await ensure_root(store, access_key_id=ACCESS_KEY, secret=SECRET)
        gateway = Gateway(store, HttpSettings())
        plain = S3Server(gateway.handle, HttpSettings())
        bodies = {"": b"", "small": SMALL, "empty": b"", "large": LARGE, "told": SMALL, "a//b": b"b", "%C3%A9 x": b"c"}
        for key, body in bodies.items():
            path = (f"/raw/{key}" if key else "/raw").replace(" ", "%20")
            told = (
                {"host": HOST, "x-amz-meta-a": "b", "content-type": "text/plain"} if key == "told" else {"host": HOST}
            )
            signed = sign_request(
                *("PUT", path, EMPTY_QUERY, told),
                access_key=ACCESS_KEY,
                secret=SECRET,
                now_s=int(time.time()),
                payload_hash="UNSIGNED-PAYLOAD",
            )
            answer, _, _ = await ask(plain, "PUT", build("PUT", path, signed, body))
            assert answer.startswith(b"HTTP/1.1 200"), answer
        try:
            await work(gateway)  # type: ignore[misc]
        finally:
            await close()

    asyncio.run(run())


@pytest.mark.parametrize("kind", KINDS)
def test_the_answer_is_the_one_the_task_gives(kind, tmp_path):
    async def compare(gateway: Gateway) -> None:
        plain = S3Server(gateway.handle, HttpSettings())
        quick = S3Server(gateway.handle, HttpSettings(), gateway.answer_at_once)
        told = 0
        for method, request in make_requests():
            expected, _, ended = await ask(plain, method, request)
            answer, at_once, quick_ended = await ask(quick, method, request)
            assert _OWN.sub(b"", answer) == _OWN.sub(b"", expected), request
            assert quick_ended == ended, request
            told += at_once
        assert told > 200  # else this compares something with itself

    with_gateway(kind, tmp_path, compare)


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_answered_at_once(kind, tmp_path):
    async def count(gateway: Gateway) -> None:
        handled: list[str] = []

        async def handle(request):
            handled.append(request.path)
            return await gateway.handle(request)

        quick = S3Server(handle, HttpSettings(), gateway.answer_at_once)
        for method, key, how in (("GET", "small", "header"), ("HEAD", "large", "query"), ("GET", "small", "wrong")):
            await ask(quick, method, sign(method, key, {}, how))
        assert not handled
        await ask(quick, "GET", sign("GET", "small", {"connection": "close"}, "header"))
        assert handled == ["/raw/small"]

    with_gateway(kind, tmp_path, count)


def test_requests_behind_each_other_are_answered_in_order(tmp_path):
    async def send(gateway: Gateway) -> None:
        quick = S3Server(gateway.handle, HttpSettings(), gateway.answer_at_once)
        connection, sink = quick(), Sink()
        connection.connection_made(sink)
        await asyncio.sleep(0)
        large, small = sign("GET", "large", {}, "header"), sign("GET", "told", {}, "header")
        connection.data_received(large)  # has to be waited for
        connection.data_received(small + small)
        connection.data_received(small[:40])
        async with asyncio.timeout(30):
            while sink.taken.count(b"x-amz-meta-a: b") < 2:
                await asyncio.sleep(0)
        connection.data_received(small[40:])
        async with asyncio.timeout(30):
            while sink.taken.count(b"x-amz-meta-a: b") < 3:
                await asyncio.sleep(0)
        assert sink.taken.index(LARGE[-64:]) < sink.taken.index(b"x-amz-meta-a: b")
        connection.connection_lost(None)

    with_gateway("memory", tmp_path, send)


def test_at_once_means_not_while_the_client_takes_nothing(tmp_path):
    async def send(gateway: Gateway) -> None:
        quick = S3Server(gateway.handle, HttpSettings(), gateway.answer_at_once)
        connection, sink = quick(), Sink()
        connection.connection_made(sink)
        await asyncio.sleep(0)
        connection.pause_writing()
        connection.data_received(sign("GET", "small", {}, "header"))
        assert not sink.taken
        connection.connection_lost(None)

    with_gateway("memory", tmp_path, send)


def test_a_connection_that_is_cut_off_by_its_own_answer_ends(tmp_path):
    async def send(gateway: Gateway) -> None:
        quick = S3Server(gateway.handle, HttpSettings(), gateway.answer_at_once)
        connection, sink = quick(), Sink()
        connection.connection_made(sink)
        await asyncio.sleep(0)
        task = connection._task_handler
        assert task is not None
        sink.write = lambda _: connection.abort()  # type: ignore[method-assign]
        sink.abort = lambda: None  # type: ignore[method-assign]
        connection.data_received(sign("GET", "small", {}, "header"))
        async with asyncio.timeout(30):
            await asyncio.wait([task])
        connection.connection_lost(None)

    with_gateway("memory", tmp_path, send)
