"""The load generator signs as botocore does, counts what was answered, and refuses to measure anything but success."""

from __future__ import annotations

import hashlib
import socket
import threading
from collections.abc import Iterator

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.load import BadAnswer, run_load
from benchmarks.signing import Signer
from benchmarks.stand import Figure


class TinyServer:
    """Answers every request head on a connection with the same bytes."""

    def __init__(self, answer: bytes) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.answer, self.requests = answer, 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        pending = b""
        with connection:
            while data := connection.recv(65536):
                pending += data
                while b"\r\n\r\n" in pending:
                    _, _, pending = pending.partition(b"\r\n\r\n")
                    self.requests += 1
                    connection.sendall(self.answer[:10])
                    connection.sendall(self.answer[10:])


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[TinyServer]:
    server = TinyServer(request.param)
    yield server
    server.listener.shutdown(socket.SHUT_RDWR)
    server.listener.close()


GOOD = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
BAD = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"


@pytest.mark.parametrize("server", [GOOD], indirect=True)
def test_each_request_once(server: TinyServer) -> None:
    load = run_load(server.port, [b"GET / HTTP/1.1\r\n\r\n"] * 100, connections=8, seconds=60, once=True, body_bytes=5)
    assert load.requests == server.requests == len(load.latencies) == 100
    assert load.body_bytes == 500
    assert 0 < load.percentile(0.5) <= load.percentile(0.99)


@pytest.mark.parametrize("server", [BAD], indirect=True)
def test_a_refusal_is_no_result(server: TinyServer) -> None:
    with pytest.raises(BadAnswer, match="403"):
        run_load(server.port, [b"GET / HTTP/1.1\r\n\r\n"], connections=1, seconds=60, once=True)


@pytest.mark.parametrize(
    ("method", "path", "query", "headers", "body"),
    [
        ("GET", "/bucket/key", {}, {}, None),
        ("GET", "/bucket", {"list-type": "2", "prefix": "a/b c", "max-keys": "10"}, {"range": "bytes=0-1"}, None),
        ("PUT", "/bucket/a b+c/ü", {}, {}, bytes(range(100))),
    ],
)
def test_signatures_are_those_of_botocore(
    method: str, path: str, query: dict[str, str], headers: dict[str, str], body: bytes | None
) -> None:
    signer = Signer("host:9000", "ACCESS", "secret")
    ours = signer.sign(method, path, query, headers=headers, body=body).partition(b"\r\n\r\n")[0].decode()
    target = ours.split(" ")[1]
    request = AWSRequest(method, f"http://host:9000{target.partition('?')[0]}", params=query, data=body or b"")
    request.context["timestamp"] = signer.date
    request.headers["X-Amz-Date"] = signer.date
    request.headers["X-Amz-Content-SHA256"] = hashlib.sha256(body or b"").hexdigest()
    for name, value in headers.items():
        request.headers[name] = value
    auth = S3SigV4Auth(Credentials("ACCESS", "secret"), "s3", "us-east-1")
    signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    assert f"Signature={signature}" in ours


def test_a_budget_is_kept_or_missed() -> None:
    assert Figure("f", 1.0, "x", ratio=0.5, budget=0.45).is_met is True
    assert Figure("f", 1.0, "x", ratio=0.4, budget=0.45).is_met is False
    assert Figure("f", 1.0, "x", ratio=6.0, budget=5.0, is_ceiling=True).is_met is False
    assert Figure("f", 301.0, "x", budget=300.0).is_met is True
    assert Figure("f", 1.0, "x").is_met is None
