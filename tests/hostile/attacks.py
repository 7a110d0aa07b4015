"""Clients that are slow, greedy, broken or gone. Each attack checks its answers, and goes on until told to end."""

from __future__ import annotations

import contextlib
import hashlib
import os
import socket
import struct
import threading
from base64 import b64encode
from collections.abc import Iterator
from typing import Final

from gateway.s3.payload import PayloadMode
from tests.gateway.http.raw import Answer, build, read_answer
from tests.hostile.watching import Place

CONNECTIONS: Final = int(os.environ.get("SKERRY_HOSTILE_CONNECTIONS", "1000"))
SLOW: Final = 100
TRICKLE_S: Final = 0.01
BUCKET: Final = "good"
LARGE_KEY, LARGE_BYTES = "large", 16 << 20
CACHED_KEY: Final = "large too"
MEDIUM_KEY, MEDIUM_BYTES = "medium", 1 << 20
MANY_BUCKET, MANY_KEYS = "many", 600
PIPELINED: Final = 400

_BOMB: Final = b'<!DOCTYPE b [<!ENTITY a0 "ha">' + b"".join(
    b'<!ENTITY a%d "%s">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 10)
)
_XML: Final = (
    _BOMB + b"]><Delete><Object><Key>&a9;</Key></Object></Delete>",
    b'<!DOCTYPE d [<!ENTITY x SYSTEM "file:///etc/passwd">]><Delete><Object><Key>&x;</Key></Object></Delete>',
    b"<Delete>" * 200_000,
    b"<Delete " + b" ".join(b'a%d="b"' % n for n in range(100_000)) + b"/>",
    b"<Delete><Object><Key>" + b"k" * 1_900_000 + b"</Key></Object></Delete>",
)
_SMUGGLED: Final = b"GET /smuggled HTTP/1.1\r\nhost: a\r\n\r\n"
_SHAPES: Final = (
    b"POST /good HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /good HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\ncontent-length: 35\r\n\r\n",
    b"POST /good HTTP/1.1\r\nhost: a\r\ncontent-length: 0, 35\r\n\r\n",
    b"POST /good HTTP/1.1\r\nhost: a\r\ncontent-length: +0\r\n\r\n",
    b"POST /good HTTP/1.1\r\nhost: a\r\ncontent-length: 0x0\r\n\r\n",
    b"POST /good HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked, identity\r\n\r\n0\r\n\r\n",
    b"POST /good HTTP/1.1\r\nhost: a\r\ntransfer-encoding : chunked\r\n\r\n0\r\n\r\n",
    b"POST /good HTTP/1.1\r\nhost: a\r\ntransfer-encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST /good HTTP/1.1\r\nhost: a\r\n\x0btransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /good HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
    b"POST /good HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n-1\r\n\r\n",
    b"POST /good HTTP/1.1\r\nhost: a\r\ntransfer-encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    b"POST /good HTTP/1.1\r\nhost: a\r\nx: y\r\n content-length: 35\r\n\r\n",
    b"POST /good HTTP/1.1\nhost: a\ncontent-length: 0\n\n",
    b"POST /good HTTP/1.1\r\nhost: a\r\nx: y\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
    b"POST /good HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0;a=b\nGET /x HTTP/1.1\r\n\r\n",
    b"POST /good HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n0\r\ncontent-length: 35\r\n\r\n",
    b"POST /good HTTP/1.0\r\nhost: a\r\nconnection: keep-alive\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
)


def slow_headers(place: Place, ended: threading.Event) -> str:
    """Requests whose headers come a byte at a time: cut off by a deadline, and begun again."""
    cut = 0
    with _connected(place, SLOW) as connections:
        place.begun.set()
        while not ended.wait(TRICKLE_S):
            for at, connection in enumerate(connections):
                try:
                    connection.sendall(b"x")
                except OSError:
                    cut += 1
                    connection.close()
                    connections[at] = place.raw.connect()
                    connections[at].sendall(b"GET / HTTP/1.1\r\nhost: ")
    return f"{SLOW} connections, {cut} cut off"


def slow_bodies(place: Place, ended: threading.Event) -> str:
    """Signed PUTs whose bodies come a byte at a time."""
    headers = place.raw.signed_headers("PUT", f"/{BUCKET}/slow", headers={"content-length": str(64 << 20)})
    head = build("PUT", f"/{BUCKET}/slow", headers)
    with _connected(place, SLOW) as connections:
        for connection in connections:
            connection.sendall(head + b"x" * 100_000)
        place.begun.set()
        while not ended.wait(TRICKLE_S):
            for connection in connections:
                with contextlib.suppress(OSError):
                    connection.sendall(b"x")
    return f"{SLOW} bodies of 64 MiB"


def idle_connections(place: Place, ended: threading.Event) -> str:
    """Connections that ask for something once, and are kept."""
    with _connected(place, CONNECTIONS) as connections:
        for connection in connections[::10]:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert read_answer(connection).status == 403
        place.begun.set()
        ended.wait()
        for connection in connections[::10]:  # still there
            connection.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert read_answer(connection).status == 403
    return f"{CONNECTIONS} idle connections"


def pipelining(place: Place, ended: threading.Event) -> str:
    """Many requests for something large at once, and not one answer read."""
    target = f"/{BUCKET}/{LARGE_KEY}"
    request = build("GET", target, place.raw.signed_headers("GET", target))
    with _connected(place, 10) as connections:
        for connection in connections:
            connection.settimeout(1)
            with contextlib.suppress(TimeoutError):
                connection.sendall(request * PIPELINED)
        place.begun.set()
        ended.wait()
    return f"{len(connections)} times {PIPELINED} requests for {LARGE_BYTES >> 20} MiB each"


def oversize_everything(place: Place, ended: threading.Event) -> str:
    """Endless request lines, headers, documents and lengths: refused before they are read."""
    signed = place.raw.signed_headers
    md5 = {"content-md5": "AAAA", "content-length": str(1 << 40)}
    document = signed("POST", f"/{BUCKET}", query="delete=", headers=md5)
    requests = (
        b"GET /" + b"x" * 10_000_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 10_000_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n" + b"a: b\r\n" * 1_000_000 + b"\r\n",
        b"GET /?" + b"a=b&" * 1_000_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        build("POST", f"/{BUCKET}?delete=", document),
        build("PUT", f"/{BUCKET}/k", signed("PUT", f"/{BUCKET}/k", headers={"content-length": str(1 << 60)})),
    )
    return _ask_until_ended(place, ended, requests, {400})


def tiny_chunks(place: Place, ended: threading.Event) -> str:
    """aws-chunked bodies of a million chunks of one byte."""
    pieces = [b"x"] * 2
    headers, body = place.raw.chunked_put(f"/{BUCKET}/tiny", pieces, PayloadMode.UNSIGNED_CHUNKS_TRAILER)
    headers = {name: value for name, value in headers.items() if name != "content-length"}
    head = place.raw.signed_headers(
        *("PUT", f"/{BUCKET}/tiny"),
        headers={
            name: headers[name].replace("2", "1000000") if name == "x-amz-decoded-content-length" else headers[name]
            for name in headers
            if name in ("content-encoding", "x-amz-decoded-content-length", "x-amz-trailer")
        },
        payload="STREAMING-UNSIGNED-PAYLOAD-TRAILER",
    )
    body = b"1\r\nx\r\n" * 1_000_000 + body[body.index(b"0\r\n") :]
    return _ask_until_ended(place, ended, (build("PUT", f"/{BUCKET}/tiny", head, body),), {403})


def xml_bombs(place: Place, ended: threading.Event) -> str:
    """Documents that grow, nest, or point elsewhere."""
    requests = []
    for document in _XML:
        md5 = b64encode(hashlib.md5(document).digest()).decode()
        headers = place.raw.signed_headers("POST", f"/{BUCKET}", query="delete=", headers={"content-md5": md5})
        requests.append(build("POST", f"/{BUCKET}?delete=", headers, document))
    return _ask_until_ended(place, ended, tuple(requests), {200, 400})


def smuggling(place: Place, ended: threading.Event) -> str:
    """Requests whose end is a matter of opinion, with another one behind: it must never be answered."""
    count = 0
    while not ended.is_set():
        for shape in _SHAPES:
            with place.raw.connect() as connection:
                connection.sendall(shape + _SMUGGLED)
                answered = _read_everything(connection)
                assert answered.count(b"HTTP/1.") == 1, (shape, answered[:2000])
                assert int(answered.split()[1]) in (400, 403, 411), (shape, answered[:300])
                assert b"smuggled" not in answered, shape
            count += 1
        place.begun.set()
    return f"{count} requests of {len(_SHAPES)} shapes"


def unread_answers(place: Place, ended: threading.Event) -> str:
    """Clients that ask for something large, less large, or a long listing, and never read the answer."""
    signed = place.raw.signed_headers
    targets = ((f"/{BUCKET}/{LARGE_KEY}", ""), (f"/{BUCKET}/{MEDIUM_KEY}", ""), (f"/{MANY_BUCKET}", "list-type=2"))
    requests = [
        build("GET", f"{path}?{query}" if query else path, signed("GET", path, query=query)) for path, query in targets
    ]
    count = CONNECTIONS
    with _connected(place, count, receive_bytes=4096) as connections:
        for number, connection in enumerate(connections):
            connection.sendall(requests[number % len(requests)] * 8)
        place.begun.set()
        ended.wait()
    return f"{count} answers of {LARGE_BYTES >> 20} MiB, of {MEDIUM_BYTES >> 10} KiB, or of {MANY_KEYS} keys"


def vanishing(place: Place, ended: threading.Event) -> str:
    """Clients that reset the connection in the middle of a body, theirs or ours."""
    count, raw = 0, place.raw
    put = raw.signed_headers("PUT", f"/{BUCKET}/vanished", headers={"content-length": str(8 << 20)})
    get = raw.signed_headers("GET", f"/{BUCKET}/{LARGE_KEY}")
    while not ended.is_set():
        for request in (
            build("PUT", f"/{BUCKET}/vanished", put, b"x" * (3 << 20)),
            build("GET", f"/{BUCKET}/{LARGE_KEY}", get),
        ):
            connection = raw.connect()
            connection.sendall(request)
            if request.startswith(b"GET"):
                connection.recv(100_000)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            connection.close()
            count += 1
        place.begun.set()
    return f"{count} clients gone"


def deep_pagination(place: Place, ended: threading.Event) -> str:
    """Listings of one key or one prefix a page, over keys of a kilobyte that share their beginning."""
    client, pages = place.site.client(), 0
    try:
        while not ended.is_set():
            for arguments in ({"Delimiter": "/"}, {"Delimiter": "x"}, {"Prefix": "p" * 900}, {}):
                token: dict[str, str] = {}
                for _ in range(25):
                    found = client.list_objects_v2(Bucket=MANY_BUCKET, MaxKeys=1, **arguments, **token)
                    pages += 1
                    if not found.get("NextContinuationToken"):
                        break
                    token = {"ContinuationToken": found["NextContinuationToken"]}
                place.begun.set()
            client.list_object_versions(Bucket=MANY_BUCKET, Delimiter="z", MaxKeys=1000)
    finally:
        client.close()
    return f"{pages} pages"


ATTACKS: Final = (
    slow_headers,
    slow_bodies,
    idle_connections,
    pipelining,
    oversize_everything,
    tiny_chunks,
    xml_bombs,
    smuggling,
    unread_answers,
    vanishing,
    deep_pagination,
)


@contextlib.contextmanager
def _connected(place: Place, count: int, receive_bytes: int = 0) -> Iterator[list[socket.socket]]:
    """Connections; ``receive_bytes``: what their kernels take for them while they read nothing."""
    connections: list[socket.socket] = []
    try:
        for _ in range(count):
            connection = socket.socket()
            connections.append(connection)
            if receive_bytes:
                connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
            connection.settimeout(20)
            connection.connect(("127.0.0.1", place.raw.port))
        yield connections
    finally:
        for connection in connections:
            connection.close()


def _ask_until_ended(place: Place, ended: threading.Event, requests: tuple[bytes, ...], statuses: set[int]) -> str:
    count = 0
    while not ended.is_set():
        for request in requests:
            with place.raw.connect() as connection:
                answer = _send_and_read(connection, request)
                assert answer is None or answer.status in statuses, (request[:100], answer)
            count += 1
        place.begun.set()
    return f"{count} requests"


def _send_and_read(connection: socket.socket, request: bytes) -> Answer | None:
    """The answer; None if the connection was reset before it could be read, as it may be behind a refusal."""
    with contextlib.suppress(ConnectionError, TimeoutError):
        connection.sendall(request)
    try:
        return read_answer(connection)
    except (ConnectionError, IndexError):
        return None


def _read_everything(connection: socket.socket) -> bytes:
    connection.settimeout(2)
    data = b""
    with contextlib.suppress(ConnectionError, TimeoutError):
        while piece := connection.recv(65536):
            data += piece
    return data
