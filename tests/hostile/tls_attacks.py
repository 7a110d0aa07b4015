"""Clients that are hostile before TLS stands, or to TLS itself. As ``attacks``: each goes on until told to end."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import ssl
import struct
import threading
from typing import Final

from gateway.http.handshakes import HANDSHAKES_MAX
from tests.gateway.http.raw import build
from tests.hostile.attacks import BUCKET, LARGE_KEY, TRICKLE_S
from tests.hostile.watching import Place

SILENT: Final = max(int(os.environ.get("SKERRY_HOSTILE_CONNECTIONS", "0")), 2 * HANDSHAKES_MAX)
_TRICKLING: Final = 100
_LABEL: Final = "x" * 60 + "."
_HELLO_MAX: Final = 131_396  # RFC 8446 4: what a ClientHello with the longest of everything has


def make_hello(name: str = "localhost") -> bytes:
    """What a client of this Python sends first."""
    context, sent = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT), ssl.MemoryBIO()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with contextlib.suppress(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), sent, server_hostname=name).do_handshake()
    return sent.read()


def half_open(place: Place, ended: threading.Event) -> str:
    """Connections that say nothing, or that say hello and then nothing, more of them than handshakes may be."""
    hello, connections = make_hello(), []
    try:
        for number in range(SILENT):
            connection = place.raw.connect()
            connections.append(connection)
            if number % 2:
                _send(connection, hello)
        place.begun.set()
        while not ended.wait(TRICKLE_S):  # those that came first give no place up by themselves; the others come again
            connections.pop(SILENT // 2).close()
            connections.append(place.raw.connect())
    finally:
        for connection in connections:
            connection.close()
    return f"{SILENT} handshakes that do not go on"


def trickling_hello(place: Place, ended: threading.Event) -> str:
    """Handshakes whose first message comes a byte at a time."""
    hello, cut = make_hello(), 0
    connections = [(place.raw.connect(), iter(hello)) for _ in range(_TRICKLING)]
    try:
        place.begun.set()
        while not ended.wait(TRICKLE_S):
            for at, (connection, rest) in enumerate(connections):
                byte = next(rest, None)
                if byte is None or not _send(connection, bytes([byte])):
                    cut += 1
                    connection.close()
                    connections[at] = (place.raw.connect(), iter(hello))
    finally:
        for connection, _ in connections:
            connection.close()
    return f"{_TRICKLING} handshakes a byte at a time, {cut} begun again"


def rubbish(place: Place, ended: threading.Event) -> str:
    """HTTP without TLS, endless and broken hellos, old versions, names that are none: each is closed, with no answer
    but an alert of TLS.
    """
    chance, count = random.Random(7), 0
    hello = make_hello()
    shapes = (
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\x16\x03\x01\xff\xff" + b"\x01\x00\xff\xff" + bytes(65_531),
        _record(b"\x01" + _HELLO_MAX.to_bytes(3, "big") + b"\x03\x03" + bytes(_HELLO_MAX)),
        b"\x16\x03\x00\x00\x31\x01\x00\x00\x2d\x03\x00" + bytes(43),  # SSL 3.0
        make_hello(_LABEL * 4).replace(_LABEL.encode() * 4, b"\x00\xff" * 122),
        make_hello("a" * 60).replace(b"a" * 60, b"../../etc/passwd".ljust(60, b"\x00")),
        hello[: len(hello) // 2],
        b"\x15\x03\x03\x00\x02\x01\x00" * 1000,  # warnings without end
        b"\x14\x03\x03\x00\x01\x01" * 1000,
    )
    while not ended.is_set():
        for shape in (*shapes, chance.randbytes(5000), _flip(hello, chance)):
            with place.raw.connect() as connection:
                if _send(connection, shape):
                    with contextlib.suppress(OSError):
                        connection.shutdown(socket.SHUT_WR)
                answer = _read_all(connection)
                assert b"HTTP/" not in answer, (shape[:60], answer[:200])
            count += 1
        place.begun.set()
    return f"{count} of {len(shapes) + 2} shapes"


def vanishing(place: Place, ended: threading.Event) -> str:
    """Clients that reset the connection after the hello, or in the middle of an answer inside TLS."""
    hello, count = make_hello(), 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    get = build("GET", f"/{BUCKET}/{LARGE_KEY}", place.raw.signed_headers("GET", f"/{BUCKET}/{LARGE_KEY}"))
    while not ended.is_set():
        connection = place.raw.connect()
        _send(connection, hello)
        _reset(connection)
        with contextlib.suppress(OSError):
            standing = context.wrap_socket(place.raw.connect(), server_hostname="localhost")
            standing.sendall(get)
            standing.recv(1000)
            _reset(standing)
        count += 2
        place.begun.set()
    return f"{count} clients gone"


def handshakes(place: Place, ended: threading.Event) -> str:
    """Whole handshakes, one after the other, without a request; and again on a connection that stands, by TLS 1.2."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.maximum_version, count = ssl.TLSVersion.TLSv1_2, 0
    while not ended.is_set():
        with contextlib.suppress(OSError), context.wrap_socket(place.raw.connect(), server_hostname="a") as standing:
            assert standing.version() == "TLSv1.2"
            count += 1
        place.begun.set()
    return f"{count} handshakes for nothing"


TLS_ATTACKS: Final = (half_open, trickling_hello, rubbish, vanishing, handshakes)


def _record(message: bytes) -> bytes:
    """A handshake message in as many records as it takes."""
    pieces = (message[at : at + 16_384] for at in range(0, len(message), 16_384))
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


def _flip(data: bytes, chance: random.Random) -> bytes:
    at = chance.randrange(len(data))
    return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]


def _send(connection: socket.socket, data: bytes) -> bool:
    try:
        connection.sendall(data)
    except OSError:
        return False
    return True


def _read_all(connection: socket.socket) -> bytes:
    connection.settimeout(5)
    data = b""
    with contextlib.suppress(OSError):
        while piece := connection.recv(65536):
            data += piece
    return data


def _reset(connection: socket.socket) -> None:
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    os.close(connection.detach())
