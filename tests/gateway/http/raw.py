"""Requests by hand: signed (or wrongly so) in every way, over a plain socket, byte by byte if need be."""

from __future__ import annotations

import socket
import time
from typing import NamedTuple

from gateway.s3.chunked import encode_chunked
from gateway.s3.payload import PayloadMode
from gateway.s3.sigv4 import Verified, derive_signing_key, parse_claim, presign, sign_request
from gateway.s3.uri import EMPTY_QUERY, parse_query
from tests.gateway.http.server import ACCESS_KEY, SECRET

HOST = "127.0.0.1"


class Answer(NamedTuple):
    """An answer as it came."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def code(self) -> str:
        """The S3 error code, empty if there is none."""
        start = self.body.find(b"<Code>")
        return "" if start < 0 else self.body[start + 6 : self.body.index(b"</Code>")].decode()


def build(method: str, target: str, headers: dict[str, str], body: bytes = b"") -> bytes:
    """A request's bytes. Content-Length is the body's unless given."""
    lines = {"content-length": str(len(body)), **headers} if body or method in ("PUT", "POST") else dict(headers)
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    return head.encode("utf-8", "surrogateescape") + b"\r\n" + body


def read_answer(connection: socket.socket, method: str = "GET") -> Answer:
    """One answer from a connection; a 100 Continue before it is an error of the test."""
    file = connection.makefile("rb")
    with file:
        status = int(file.readline().split()[1])
        headers = {}
        while (line := file.readline()) not in (b"\r\n", b""):
            name, _, value = line.decode().partition(":")
            headers[name.strip().lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        has_none = method == "HEAD" or status in (204, 304)
        return Answer(status, headers, b"" if has_none else file.read(length))


class Raw:
    """A client that does what it is told."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.host = f"{HOST}:{port}"

    def connect(self) -> socket.socket:
        """A connection of one's own."""
        return socket.create_connection((HOST, self.port), 20)

    def send(self, data: bytes, method: str = "GET") -> Answer:
        """Send bytes as they are; read one answer."""
        with self.connect() as connection:
            connection.sendall(data)
            return read_answer(connection, method)

    def signed_headers(
        self,
        method: str,
        path: str,
        *,
        query: str = "",
        headers: dict[str, str] | None = None,
        payload: str = "UNSIGNED-PAYLOAD",
        secret: str = SECRET,
        access_key: str = ACCESS_KEY,
        now_s: int | None = None,
    ) -> dict[str, str]:
        """Headers of a request signed by header."""
        return sign_request(
            method,
            path,
            parse_query(query) if query else EMPTY_QUERY,
            {"host": self.host, **(headers or {})},
            access_key=access_key,
            secret=secret,
            now_s=int(time.time()) if now_s is None else now_s,
            payload_hash=payload,
        )

    def presigned_query(
        self, method: str, path: str, *, query: str = "", secret: str = SECRET, headers: dict[str, str] | None = None
    ) -> str:
        """The query of a presigned URL, with further headers signed."""
        return presign(
            method,
            path,
            parse_query(query).pairs,
            {"host": self.host, **(headers or {})},
            access_key=ACCESS_KEY,
            secret=secret,
            now_s=int(time.time()),
            expires_s=60,
        )

    def chunked_put(
        self,
        path: str,
        pieces: list[bytes],
        mode: PayloadMode,
        *,
        query: str = "",
        trailers: dict[str, str] | None = None,
        secret: str = SECRET,
    ) -> tuple[dict[str, str], bytes]:
        """Headers and body of an aws-chunked PUT; change either before sending."""
        headers = {
            "content-encoding": "aws-chunked",
            "x-amz-decoded-content-length": str(sum(len(piece) for piece in pieces)),
        }
        if trailers:
            headers["x-amz-trailer"] = ",".join(trailers)
        signed = self.signed_headers("PUT", path, query=query, headers=headers, payload=mode.value, secret=secret)
        claim = parse_claim(signed, EMPTY_QUERY)
        assert claim is not None
        key = derive_signing_key(secret, claim.date, claim.region)
        return signed, encode_chunked(mode, pieces, Verified(claim, key, mode.value), trailers)
