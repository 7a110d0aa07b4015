"""What an adversary sends: each of these was a hole once."""

import pytest

from tests.gateway.http.raw import build


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
