"""What an adversary sends: each of these was a hole once."""

import pytest

from tests.gateway.http.raw import build, read_answer


@pytest.mark.parametrize(
    "query",
    [
        "x-amz-meta-a=%0d%0aSet-Cookie%3a%20x",
        "x-amz-meta-a%0d%0aset-cookie=1",
        "x-amz-meta-a%3a%20b=1",
        "x-amz-website-redirect-location=%2F%0d%0ax",
    ],
)
def test_a_presigned_query_brings_no_header_that_none_could_be(server, raw, query):
    path = "/raw/poisoned"
    presigned = raw.presigned_query("PUT", path, query=query)
    answer = raw.send(build("PUT", f"{path}?{presigned}", {"host": raw.host}, b"x"))
    assert (answer.status, answer.code) == (400, "InvalidArgument")
    assert "poisoned" not in server.keys("raw")


LARGE = {
    "DELETE": ("POST", "/raw?delete", 2 << 20),
    "COMPLETE": ("POST", "/raw/k?uploadId=x", 4 << 20),
    "LIFECYCLE": ("PUT", "/raw?lifecycle", 2 << 20),
    "REPLICATION": ("PUT", "/raw?replication", 2 << 20),
}


@pytest.mark.parametrize("name", LARGE)
@pytest.mark.parametrize("bucket", ["raw", "nosuchbucket"])
def test_strangers_are_refused_before_their_documents_are_read(raw, name, bucket):
    method, target, size = LARGE[name]
    head = {"host": raw.host, "content-length": str(size), "content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    with raw.connect() as connection:
        connection.sendall(build(method, target.replace("/raw", f"/{bucket}"), head))  # and none of the body
        answer = read_answer(connection)
    assert answer.code == ("AccessDenied" if bucket == "raw" else "NoSuchBucket")


def test_strangers_are_heard_but_shortly_by_iam(raw):
    form = {"host": raw.host, "content-type": "application/x-www-form-urlencoded"}
    with raw.connect() as connection:
        connection.sendall(build("POST", "/", {**form, "content-length": str(1 << 20)}))
        assert read_answer(connection).code == "MalformedInput"
    answer = raw.send(build("POST", "/", form, b"Action=GetUser&Version=2010-05-08&x=" + b"x" * 60_000), "POST")
    assert answer.code == "MissingAuthenticationToken"
