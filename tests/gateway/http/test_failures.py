"""Failures of the store become S3's errors; whatever else escapes is InternalError with a request id and no secrets."""

import pytest

from gateway.http.failures import to_s3_error
from gateway.http.settings import HttpSettings
from gateway.store import errors
from replication.ports import BytesLost
from tests.gateway.http.raw import Raw, build
from tests.gateway.http.server import Server
from tests.gateway.http.stores import opener

TABLE = [
    (errors.DiskFull("full"), 507, "InsufficientStorage", None),
    (errors.ReadOnlyStore("sync failed"), 503, "ServiceUnavailable", "60"),
    (errors.ChunkUnavailable("away"), 503, "ServiceUnavailable", "10"),
    (errors.Overloaded("queue"), 503, "SlowDown", "1"),
    (errors.ChunkGone("gone"), 503, "ServiceUnavailable", "1"),
    (errors.Damaged("segment 3 at 17"), 500, "InternalError", None),
    (RuntimeError("secret detail"), 500, "InternalError", None),
]


@pytest.fixture
def server(tmp_path):
    with Server(opener("memory", tmp_path), HttpSettings()) as running:
        client = running.client()
        client.create_bucket(Bucket="raw")
        client.put_object(Bucket="raw", Key="old", Body=b"x" * 100_000)
        client.close()
        yield running


@pytest.mark.parametrize("fault", TABLE, ids=lambda fault: type(fault[0]).__name__)
@pytest.mark.parametrize("where", ["fail_writes", "fail_next_commit"])
def test_a_failed_write(server, fault, where):
    error, status, code, retry = fault
    raw = Raw(server.port)
    setattr(server.store, where, error)
    answer = raw.send(build("PUT", "/raw/new", raw.signed_headers("PUT", "/raw/new"), b"x" * 70_000))
    server.store.fail_writes = None
    assert (answer.status, answer.code, answer.headers.get("retry-after")) == (status, code, retry)
    assert b"secret detail" not in answer.body
    assert answer.headers["x-amz-request-id"].encode() in answer.body
    assert server.keys("raw") == ["old"]
    assert raw.send(build("PUT", "/raw/new", raw.signed_headers("PUT", "/raw/new"), b"x")).status == 200


def test_bytes_that_are_only_in_a_cloud_that_is_away(server):
    server.store.unavailable = True
    raw = Raw(server.port)
    answer = raw.send(build("GET", "/raw/old", raw.signed_headers("GET", "/raw/old")))
    assert (answer.status, answer.code) == (503, "ServiceUnavailable")
    assert raw.send(build("HEAD", "/raw/old", raw.signed_headers("HEAD", "/raw/old")), "HEAD").status == 200


def test_a_copy_is_tried_again_when_a_chunk_went(server):
    server.store.fail_next_commit = errors.ChunkGone("raced")
    raw = Raw(server.port)
    headers = raw.signed_headers("PUT", "/raw/copy", headers={"x-amz-copy-source": "/raw/old"})
    assert raw.send(build("PUT", "/raw/copy", headers)).status == 200


def test_a_read_that_fails_half_way_breaks_the_connection(server):
    whole = server.store.read

    async def half(refs, start=0, length=None):
        async for piece in whole(refs, start, length):
            yield piece[: len(piece) // 2]
            raise errors.Damaged("half way")

    client = server.client()
    client.put_object(Bucket="raw", Key="large", Body=b"y" * (3 << 20))
    client.close()
    server.store.read = half
    raw = Raw(server.port)
    with raw.connect() as connection:
        connection.sendall(build("GET", "/raw/large", raw.signed_headers("GET", "/raw/large")))
        got = b""
        try:
            while piece := connection.recv(1 << 20):
                got += piece
        except ConnectionResetError:
            pass
    assert got.startswith(b"HTTP/1.1 200")
    assert len(got) < 3 << 20


def test_every_store_error_has_its_answer():
    named = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, Exception)]
    for kind in named:
        error = kind("x", b"chunk") if issubclass(kind, BytesLost) else kind("x")
        assert to_s3_error(error, "id").status >= 500 or kind is errors.ChunkLost


def test_bytes_that_are_lost_are_an_error_that_no_client_tries_again():
    told = to_s3_error(errors.ChunkLost("chunk c is nowhere", b"chunk"), "id")
    assert (told.status, told.code, told.headers) == (405, "MethodNotAllowed", {"Allow": "HEAD, PUT, DELETE"})
    assert "lost" in str(told)
