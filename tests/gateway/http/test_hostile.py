"""Shapes no SDK sends, by raw sockets: what is refused, what is answered, and that nothing is stored by it."""

import hashlib
import logging
import socket
import zlib
from base64 import b64encode

import pytest

from gateway.http.settings import HttpSettings
from gateway.s3.payload import PayloadMode
from tests.gateway.http.raw import Raw, build, read_answer
from tests.gateway.http.server import Server
from tests.gateway.http.stores import opener
from tests.support.net import wait_until

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


def put_headers(raw, path="/raw/k", **headers):
    return raw.signed_headers("PUT", path, headers=headers)


def test_100_continue_comes_after_the_header_check_and_only_then(server, raw):
    expect = {"expect": "100-continue", "content-length": "5"}
    good = raw.signed_headers("PUT", "/raw/expected", headers=expect)
    with raw.connect() as connection:
        connection.sendall(build("PUT", "/raw/expected", good))
        assert connection.recv(len(CONTINUE), socket.MSG_WAITALL) == CONTINUE
        connection.sendall(b"hello")
        assert read_answer(connection).status == 200
    for path, secret, status in (
        ("/raw/expected", "wrong-secret-wrong-secret-wrong-secret-x", 403),
        ("/absent-bucket/k", None, 404),
    ):
        extra = {"secret": secret} if secret else {}
        bad = raw.signed_headers("PUT", path, headers=expect, **extra)
        with raw.connect() as connection:
            connection.sendall(build("PUT", path, bad))
            answer = read_answer(connection)
            assert (answer.status, answer.headers["connection"]) == (status, "close")
    bad = raw.signed_headers("PUT", "/raw/expected", headers={**expect, "if-none-match": "*"})
    with raw.connect() as connection:
        connection.sendall(build("PUT", "/raw/expected", bad))
        assert read_answer(connection).status == 412  # not 100: the body would be sent in vain
    assert server.keys("raw") == ["expected"]


def test_a_short_body_stores_nothing_and_is_no_error_of_ours(server, raw, caplog):
    counted = server.metrics.numbers()
    with raw.connect() as connection:
        connection.sendall(
            build("PUT", "/raw/short", put_headers(raw, "/raw/short", **{"content-length": "100"}), b"x")
        )
        connection.shutdown(socket.SHUT_WR)
        assert connection.recv(1000) == b""  # nobody is answered: the client had closed its side
    wait_until(lambda: server.metrics.numbers() != counted, "its request is over", 20)
    assert "short" not in server.keys("raw")
    assert [record.message for record in caplog.records if record.levelname == "ERROR"] == []


def test_a_body_that_stops_coming_is_answered_and_forgotten(server, raw):
    headers = put_headers(raw, "/raw/stopped", **{"content-length": "100"})
    answer = raw.send(build("PUT", "/raw/stopped", headers, b"x"))
    assert (answer.status, answer.code) == (400, "RequestTimeout")
    assert "stopped" not in server.keys("raw")


def test_no_length(raw):
    headers = put_headers(raw)
    head = "PUT /raw/k HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    answer = raw.send(head.encode() + b"transfer-encoding: chunked\r\n\r\n0\r\n\r\n")
    assert (answer.status, answer.code) == (411, "MissingContentLength")


def test_too_long(raw):
    answer = raw.send(build("PUT", "/raw/k", put_headers(raw, **{"content-length": str(6 << 30)})))
    assert (answer.status, answer.code) == (400, "EntityTooLarge")


def test_wrong_sha256(server, raw):
    headers = raw.signed_headers("PUT", "/raw/sha", payload=hashlib.sha256(b"other").hexdigest())
    for body in (b"this", b"x" * 100_000):
        answer = raw.send(build("PUT", "/raw/sha", headers, body))
        assert (answer.status, answer.code) == (400, "XAmzContentSHA256Mismatch")
    assert "sha" not in server.keys("raw")


@pytest.mark.parametrize("size", [100, 300_000])
@pytest.mark.parametrize("mode", [mode for mode in PayloadMode if mode.is_chunked], ids=lambda mode: mode.name)
def test_tampered_chunks_and_trailers(server, raw, mode, size):
    pieces = [b"a" * size, b"b" * 50]
    checksum = b64encode(zlib.crc32(b"".join(pieces)).to_bytes(4, "big")).decode()
    trailers = {"x-amz-checksum-crc32": checksum} if mode.has_trailer else None
    headers, body = raw.chunked_put("/raw/tampered", pieces, mode, trailers=trailers)
    tampered = [body.replace(b"b" * 50, b"b" * 49 + b"c"), body[:-20]]
    if trailers:
        tampered += [
            body.replace(checksum.encode(), b"AAAAAA=="),
            body.replace(checksum.encode(), b"AAAAAA=!"),
            body.replace(b"x-amz-checksum-crc32", b"x-amz-other"),
        ]
    if mode.has_signed_chunks:
        at = body.index(b"chunk-signature=") + 16
        tampered.append(body[:at] + bytes([body[at] ^ 1]) + body[at + 1 :])
    for bad in tampered:
        answer = raw.send(build("PUT", "/raw/tampered", headers, bad))
        assert answer.status in (400, 403), bad[-200:]
        assert answer.code in (
            "SignatureDoesNotMatch", "BadDigest", "IncompleteBody", "MalformedTrailerError", "InvalidRequest",
        )  # fmt: skip
        assert "tampered" not in server.keys("raw")
    answer = raw.send(build("PUT", "/raw/tampered", headers, body))
    assert answer.status == 200
    client = server.client()
    assert client.get_object(Bucket="raw", Key="tampered")["Body"].read() == b"".join(pieces)
    client.delete_object(Bucket="raw", Key="tampered")
    client.close()


@pytest.mark.parametrize(
    "document",
    [
        b"",
        b"<Delete>",
        b"<Wrong/>",
        b"<Delete><Object><Nonsense/></Object></Delete>",
        b'<!DOCTYPE d [<!ENTITY a "b">]><Delete><Object><Key>&a;</Key></Object></Delete>',
        b"\xff\xfe\x00",
        b"<Delete>" + b"<Object><Key>k</Key></Object>" * 1001 + b"</Delete>",
    ],
)
def test_broken_xml(raw, document):
    md5 = b64encode(hashlib.md5(document).digest()).decode()
    headers = raw.signed_headers("POST", "/raw", query="delete=", headers={"content-md5": md5})
    answer = raw.send(build("POST", "/raw?delete=", headers, document))
    assert (answer.status, answer.code) == (400, "MalformedXML" if document else "MissingRequestBodyError")


def test_a_huge_document_is_refused_before_it_is_read(raw):
    claimed = {"content-md5": b64encode(bytes(16)).decode(), "content-length": str(1 << 30)}
    headers = raw.signed_headers("POST", "/raw", query="delete=", headers=claimed)
    answer = raw.send(build("POST", "/raw?delete=", headers))
    assert (answer.status, answer.code) == (400, "MalformedXML"), "else it was waited for"
    assert answer.headers["connection"] == "close"


def test_an_error_is_seen_although_the_body_was_not_read(raw):
    headers = raw.signed_headers("PUT", "/absent-bucket/k")
    with raw.connect() as connection:
        connection.sendall(build("PUT", "/absent-bucket/k", headers, b"x" * (3 << 20)))
        answer = read_answer(connection)
    assert (answer.status, answer.code, answer.headers["connection"]) == (404, "NoSuchBucket", "close")


def test_a_connection_goes_on_after_an_error_with_a_small_body(raw):
    headers = raw.signed_headers("PUT", "/absent-bucket/k")
    with raw.connect() as connection:
        for _ in range(3):
            connection.sendall(build("PUT", "/absent-bucket/k", headers, b"x" * 1000))
            assert read_answer(connection).status == 404


@pytest.mark.parametrize(
    "path", ["/raw/%zz", "/raw/%ff", "/raw/a%00b", "/raw/" + "x" * 1025, "/raw/%C3%28", "/raw/" + "%41" * 9000]
)
def test_paths_that_are_none(server, raw, path):
    before = server.keys("raw")
    headers = {"host": raw.host}
    answer = raw.send(build("PUT", path, headers, b"x"))
    assert answer.status == 400
    assert answer.code in ("InvalidURI", "KeyTooLongError")
    assert server.keys("raw") == before


@pytest.mark.parametrize("path", ["/raw/../secret", "/raw/./k", "/raw//k", "/raw/a/../../b"])
def test_paths_are_not_normalised(server, raw, path):
    headers = raw.signed_headers("PUT", path)
    assert raw.send(build("PUT", path, headers, b"x")).status == 200
    key = path.removeprefix("/raw/")
    assert key in server.keys("raw")
    client = server.client()
    client.delete_object(Bucket="raw", Key=key)
    client.close()


@pytest.mark.parametrize(
    "request_bytes",
    [
        b"NONSENSE\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n",
        b"GET / HTTP/1.1\r\nbad header\r\n\r\n",
        b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\nx: " + b"y" * 70_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nhost: a\r\n" + b"a: b\r\n" * 2000 + b"\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    ],
)
def test_what_is_no_http_is_answered_in_xml_and_closed(raw, request_bytes):
    with raw.connect() as connection:
        connection.sendall(request_bytes)
        answer = read_answer(connection)
        assert answer.status == 400
        assert answer.headers["content-type"] == "application/xml"
        assert answer.code
        assert connection.recv(10) == b""


def test_signatures_are_not_logged(raw, caplog):
    with caplog.at_level(logging.DEBUG):
        query = raw.presigned_query("GET", "/raw/k")
        raw.send(build("GET", f"/raw/k?{query}", {"host": raw.host}))
        raw.send(f"GET /raw/k?{query}&{'x' * 70_000} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
        raw.send(f"GET http://[bad/raw/k?{query} HTTP/1.1\r\nhost: a\r\n\r\n".encode())
    assert "X-Amz-Signature" not in caplog.text
    assert "Signature=" not in caplog.text


def test_headers_that_trickle_are_cut_off(tmp_path):
    with Server(opener("memory", tmp_path), HttpSettings(header_timeout_s=0.2)) as server:
        with Raw(server.port).connect() as connection:
            connection.sendall(b"GET / HTTP/1.1\r\nhost: ")
            assert connection.recv(10) == b""
        with Raw(server.port).connect() as idle:  # nothing sent: only the keep-alive time ends it
            assert Raw(server.port).send(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").status == 403
            idle.setblocking(False)
            with pytest.raises(BlockingIOError):
                idle.recv(1)


def test_connections_above_the_cap_are_refused_politely(tmp_path):
    with Server(opener("memory", tmp_path), HttpSettings(connections_max=1)) as server:
        raw = Raw(server.port)
        with raw.connect() as first:
            first.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert read_answer(first).status == 403
            with raw.connect() as second:
                answer = read_answer(second)
                assert (answer.status, answer.code) == (503, "SlowDown")
                assert second.recv(1) == b""
            first.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            assert read_answer(first).status == 403


def test_head_errors_have_no_body(raw):
    answer = raw.send(build("HEAD", "/raw/absent", raw.signed_headers("HEAD", "/raw/absent")), "HEAD")
    assert answer.status == 404
    assert answer.headers.get("content-length", "0") == "0"
    assert answer.headers["x-amz-request-id"]


def test_every_answer_names_its_request(raw):
    ids = set()
    for _ in range(3):
        answer = raw.send(build("GET", "/", raw.signed_headers("GET", "/")))
        ids.add(answer.headers["x-amz-request-id"])
        assert answer.headers["server"] == "Skerry"
        assert "x-amz-id-2" in answer.headers
        assert "date" in answer.headers
    assert len(ids) == 3
