"""A write whose body came with its head is what the connection's task would have made of it: answer and object."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import random
import re
import time
import zlib
from base64 import b64encode
from collections.abc import Iterator
from typing import Any

import pytest
from aiohttp import web

from gateway.http.app import Gateway
from gateway.http.protocol import S3Connection, S3Server
from gateway.http.settings import HttpSettings
from gateway.s3.chunked import encode_chunked
from gateway.s3.payload import PayloadMode
from gateway.s3.sigv4 import Verified, derive_signing_key, parse_claim, presign, sign_request
from gateway.s3.uri import EMPTY_QUERY
from tests.gateway.http.raw import build
from tests.gateway.http.server import ACCESS_KEY, SECRET
from tests.gateway.http.stores import KINDS
from tests.gateway.http.test_at_once import HOST, Sink, sign, with_gateway

SIZES = (0, 11, 4096, 17_000, 60_000, 70_000)
HOW = ("header", "sha256", "query", "wrong", "late", "nobody", "twice", "chunked", "trailer", "forged chunk")
HEADERS: tuple[dict[str, str], ...] = (
    {},
    {"if-none-match": "*"},
    {"if-match": '"nothing"'},
    {"content-type": "text/plain", "cache-control": "no-store", "x-amz-meta-colour": "blue"},
    {"origin": "https://example.org"},
    {"content-md5": "right"},
    {"content-md5": "AAAAAAAAAAAAAAAAAAAAAA=="},
    {"x-amz-checksum-crc32": "right"},
    {"x-amz-checksum-crc32": "AAAAAA=="},
    {"x-amz-checksum-sha256": "no digest"},
    {"x-amz-no-such-thing": "1"},
    {"x-amz-storage-class": "NO_SUCH_CLASS"},
    {"x-amz-expected-bucket-owner": "999999999999"},
    {"x-amz-acl": "public-read"},
    {"x-amz-tagging": "a=b&c=d"},
    {"x-amz-write-offset-bytes": "0"},
    {"x-amz-object-lock-mode": "GOVERNANCE"},
    {"x-amz-server-side-encryption": "AES256"},
    {"x-amz-copy-source": "/raw/small"},
)
_OWN = re.compile(rb"(?i)(x-amz-request-id: |<RequestId>)[0-9A-F]{16}|Date: [^\r]*GMT|x-amz-version-id: \w+")


def settle(headers: dict[str, str], body: bytes) -> dict[str, str]:
    """With what is claimed of the body, where it is to be right."""
    told = {
        "content-md5": b64encode(hashlib.md5(body).digest()).decode(),
        "x-amz-checksum-crc32": b64encode(zlib.crc32(body).to_bytes(4, "big")).decode(),
    }
    return {name: told[name] if value == "right" else value for name, value in headers.items()}


def put(key: str, body: bytes, headers: dict[str, str], how: str, bucket: str = "raw") -> bytes:
    """A PUT, signed in one way or another."""
    path = f"/{bucket}/{key}"
    headers = {"host": HOST, **settle(headers, body)}
    now_s = int(time.time()) - (3600 if how == "late" else 0)
    signer: dict[str, Any] = {"access_key": ACCESS_KEY, "secret": SECRET + "x" * (how == "wrong"), "now_s": now_s}
    target = path
    if how in ("query", "twice"):
        target = f"{path}?{presign('PUT', path, (), headers, expires_s=60, **signer)}"
    if how in ("query", "nobody"):
        return build("PUT", target, headers, body)
    if "chunk" in how or how == "trailer":
        return put_chunked(path, body, headers, how, signer)
    payload = hashlib.sha256(body + b"x" * (how == "twice")).hexdigest() if how != "header" else "UNSIGNED-PAYLOAD"
    return build("PUT", target, sign_request("PUT", path, EMPTY_QUERY, headers, payload_hash=payload, **signer), body)


def put_chunked(path: str, body: bytes, headers: dict[str, str], how: str, signer: dict[str, Any]) -> bytes:
    """An aws-chunked PUT, with a trailer, or with a byte of the body changed after it was signed."""
    mode = PayloadMode.SIGNED_CHUNKS_TRAILER if how == "trailer" else PayloadMode.SIGNED_CHUNKS
    told = {"content-encoding": "aws-chunked", "x-amz-decoded-content-length": str(len(body))}
    trailers = None
    if how == "trailer":
        told["x-amz-trailer"] = "x-amz-checksum-crc32"
        trailers = {"x-amz-checksum-crc32": b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()}
    signed = sign_request("PUT", path, EMPTY_QUERY, {**headers, **told}, payload_hash=mode.value, **signer)
    claim = parse_claim(signed, EMPTY_QUERY)
    assert claim is not None
    verified = Verified(claim, derive_signing_key(SECRET, claim.date, claim.region), mode.value)
    encoded = encode_chunked(mode, [body] if body else [], verified, trailers)
    if how == "forged chunk":
        encoded = encoded[:-1] + b"\r" if not body else encoded.replace(body, bytes(len(body)))
    return build("PUT", path, signed, encoded)


def make_writes() -> Iterator[tuple[str, int, dict[str, str], str]]:
    """(key, size, headers, how): a sample of what can be combined, the plain ones for certain."""
    choose = random.Random(20261129)
    everything = list(itertools.product(("new", "small"), SIZES, HEADERS, HOW))
    plain = [one for one in everything if not one[2] and one[0] == "new"]
    yield from plain
    yield from choose.sample(everything, 150)


async def open_connection(server: S3Server) -> tuple[S3Connection, Sink]:
    """A connection whose task waits for a request."""
    connection, sink = server(), Sink()
    assert isinstance(connection, S3Connection)
    connection.connection_made(sink)
    await asyncio.sleep(0)
    return connection, sink


async def settled(connection: S3Connection, sink: Sink, count: int = 1) -> None:
    """When so many answers have come, or the connection has ended."""
    async with asyncio.timeout(30):
        while len(re.findall(rb"HTTP/1\.1 [2-5]\d\d ", sink.taken)) < count and not sink.is_closed:
            await asyncio.sleep(0)
        while connection.is_busy and not sink.is_closed:
            await asyncio.sleep(0)


async def ask(server: S3Server, request: bytes) -> tuple[bytes, bool, bool]:
    """(answer, whether it was begun at once, whether the connection ended)."""
    connection, sink = await open_connection(server)
    connection.data_received(request)
    at_once = connection._write is not None or sink.is_answered
    await settled(connection, sink)
    await asyncio.sleep(0)
    ended = sink.is_closed
    connection.connection_lost(None)
    return sink.taken, at_once, ended


async def stored(gateway: Gateway, key: str) -> bytes:
    """What a GET tells of a key of the bucket, and its bytes."""
    server = S3Server(gateway.handle, HttpSettings())
    answer, _, _ = await ask(server, sign("GET", key, {"x-amz-checksum-mode": "ENABLED"}, "header"))
    return re.sub(rb"Last-Modified: [^\r]*", b"", _OWN.sub(b"", answer))


@pytest.mark.parametrize("kind", KINDS)
def test_answer_and_object_are_the_ones_the_task_gives(kind, tmp_path):
    async def compare(gateway: Gateway) -> None:
        plain = S3Server(gateway.handle, HttpSettings())
        quick = S3Server(gateway.handle, HttpSettings(), gateway.answer_at_once)
        count = 0
        for number, (key, size, headers, how) in enumerate(make_writes()):
            body = random.Random(number).randbytes(size)
            request, told = put(key, body, headers, how), (key, size, headers, how)
            expected, _, ended = await ask(plain, request)
            before = await stored(gateway, key)
            if key == "new":
                await ask(plain, sign("DELETE", key, {}, "header"))
            answer, at_once, quick_ended = await ask(quick, request)
            assert _OWN.sub(b"", answer) == _OWN.sub(b"", expected), told
            assert quick_ended == ended, told
            assert await stored(gateway, key) == before, told
            if key == "new":
                await ask(plain, sign("DELETE", key, {}, "header"))
            count += at_once
        assert count > 150  # else this compares something with itself

    with_gateway(kind, tmp_path, compare)


def test_what_is_begun_at_once(tmp_path):
    async def count(gateway: Gateway) -> None:
        quick = S3Server(gateway.handle, HttpSettings(), gateway.answer_at_once)
        for size, expected in ((0, True), (4096, True), (65_000, True), (66_000, False)):
            answer, at_once, _ = await ask(quick, put("new", bytes(size), {}, "sha256"))
            assert answer.startswith(b"HTTP/1.1 200 ")
            assert at_once is expected
        for request in (
            put("new", b"x", {"connection": "close"}, "header"),
            build("PUT", "/raw?versioning", {"host": HOST}, b"<a/>"),
            build("POST", "/raw?delete", {"host": HOST}, b"<a/>"),
        ):
            _, at_once, _ = await ask(quick, request)
            assert not at_once
        answer, at_once, _ = await ask(quick, sign("DELETE", "new", {}, "header"))
        assert at_once
        assert answer.startswith(b"HTTP/1.1 204 ")

    with_gateway("real", tmp_path, count)


def test_nothing_is_begun_for_who_is_not_admitted(tmp_path):
    async def send(gateway: Gateway) -> None:
        quick = S3Server(gateway.handle, HttpSettings(), gateway.answer_at_once)
        for how in ("wrong", "late", "twice"):
            connection, sink = await open_connection(quick)
            connection.data_received(put("new", b"x", {}, how))
            assert connection._write is None
            assert sink.taken.startswith(b"HTTP/1.1 40")  # told before anything is begun
            connection.connection_lost(None)

    with_gateway("memory", tmp_path, send)


def test_a_body_in_pieces_is_waited_for_in_the_task(tmp_path):
    async def send(gateway: Gateway) -> None:
        quick = S3Server(gateway.handle, HttpSettings(), gateway.answer_at_once)
        request = put("pieces", b"0123456789" * 100, {}, "sha256")
        for cut in (1, 40, len(request) - 1000, len(request) - 1):
            connection, sink = await open_connection(quick)
            connection.data_received(request[:cut])
            await asyncio.sleep(0)
            connection.data_received(request[cut:])
            await settled(connection, sink)
            assert sink.taken.startswith(b"HTTP/1.1 200 ")
            connection.connection_lost(None)

    with_gateway("real", tmp_path, send)


def test_what_comes_behind_a_write_waits_for_it(tmp_path):
    async def send(gateway: Gateway) -> None:
        quick = S3Server(gateway.handle, HttpSettings(), gateway.answer_at_once)
        write, read = put("behind", b"written", {}, "sha256"), sign("GET", "behind", {}, "header")
        for cuts in ((), (len(write),), (len(write), len(write) + 30), (30, len(write) + 7)):
            await ask(quick, sign("DELETE", "behind", {}, "header"))
            connection, sink = await open_connection(quick)
            stream = write + read + write + read
            for begin, end in itertools.pairwise((0, *cuts, len(stream))):
                connection.data_received(stream[begin:end])
            await settled(connection, sink, 4)
            found = re.findall(rb"HTTP/1\.1 (\d+) |(written)", sink.taken)
            assert found == [(b"200", b""), (b"200", b""), (b"", b"written")] * 2
            connection.data_received(read)  # and the connection goes on
            await settled(connection, sink, 5)
            connection.connection_lost(None)

    with_gateway("real", tmp_path, send)


def test_a_client_that_leaves_does_not_undo_its_write(tmp_path):
    async def send(gateway: Gateway) -> None:
        quick = S3Server(gateway.handle, HttpSettings(), gateway.answer_at_once)
        connection, sink = await open_connection(quick)
        connection.data_received(put("left", b"written", {}, "sha256"))
        write = connection._write
        assert write is not None
        connection.connection_lost(None)
        async with asyncio.timeout(30):
            await asyncio.wait([write])
        assert not sink.taken
        assert b"written" in await stored(gateway, "left")

    with_gateway("real", tmp_path, send)


def test_a_write_under_way_keeps_its_connection(tmp_path):
    async def send(gateway: Gateway) -> None:
        quick = S3Server(gateway.handle, HttpSettings(), gateway.answer_at_once)
        connection, sink = await open_connection(quick)
        connection.data_received(put("kept", b"written", {}, "sha256"))
        connection.data_received(b"GET /raw/ke")  # the next, not whole yet
        connection._keepalive, connection._next_keepalive_close_time = True, 0.0
        connection._process_keepalive()
        assert connection.is_busy
        assert not connection.close_if_late(connection._loop.time() + 1)
        assert not connection.gives_way(connection._loop.time() + 1)
        sink.abort = sink.close  # type: ignore[method-assign]
        async with asyncio.timeout(30):
            await quick.drain(20)
        assert sink.taken.startswith(b"HTTP/1.1 200 ")
        assert sink.is_closed
        connection.connection_lost(None)

    with_gateway("real", tmp_path, send)


def test_too_many_under_way_are_told_so(tmp_path):
    async def send(gateway: Gateway) -> None:
        gateway._settings = HttpSettings(requests_max=2)
        quick = S3Server(gateway.handle, HttpSettings(), gateway.answer_at_once)
        opened = [await open_connection(quick) for _ in range(5)]
        for number, (connection, _) in enumerate(opened):
            connection.data_received(put(f"many-{number}", b"x", {}, "sha256"))
        for connection, sink in opened:
            await settled(connection, sink)
            connection.connection_lost(None)
        answers = sorted(sink.taken[9:12] for _, sink in opened)
        assert answers == [b"200", b"200", b"503", b"503", b"503"]
        assert gateway._in_flight == 0

    with_gateway("real", tmp_path, send)


def test_a_write_that_outlives_the_drain_is_given_up(tmp_path):
    async def send(gateway: Gateway) -> None:
        async def never() -> web.StreamResponse:
            return await asyncio.get_running_loop().create_future()

        quick = S3Server(gateway.handle, HttpSettings(), lambda _: never())
        connection, sink = await open_connection(quick)
        sink.abort = sink.close  # type: ignore[method-assign]
        connection.data_received(put("late", b"x", {}, "sha256"))
        write = connection._write
        assert write is not None
        async with asyncio.timeout(30):
            await quick.drain(0)
            await asyncio.wait([write])
        assert write.cancelled()
        assert not sink.taken
        assert sink.is_closed
        connection.connection_lost(None)

    with_gateway("memory", tmp_path, send)
