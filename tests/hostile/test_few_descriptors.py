"""More connections than the system gives a worker descriptors: the others are told so, and the store keeps its own."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from tests.gateway.http.raw import Raw, read_answer
from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(180)]
DESCRIPTORS = 400
LIMITED = (
    "-c",
    f"import resource, runpy; resource.setrlimit(resource.RLIMIT_NOFILE, ({DESCRIPTORS}, {DESCRIPTORS})); "
    "runpy.run_module('gateway', run_name='__main__', alter_sys=True)",
)


def test_who_only_connects_takes_no_descriptor_of_the_store(tmp_path: Path) -> None:
    site = Site(tmp_path, "few", entry=LIMITED)
    with site:
        client = site.client()
        client.create_bucket(Bucket="good")
        connections = [Raw(site.port).connect() for _ in range(DESCRIPTORS)]
        try:
            with contextlib.suppress(ConnectionError):  # it was refused already
                connections[-1].sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            answer = read_answer(connections[-1])  # a slow machine lets it in for one that was idle for five seconds
            assert (answer.status, answer.code) in ((503, "SlowDown"), (403, "AccessDenied"))
            for number in range(5):  # of a connection that it had before
                body = bytes([number]) * 300_000
                client.put_object(Bucket="good", Key=f"{number}", Body=body)
                assert client.get_object(Bucket="good", Key=f"{number}")["Body"].read() == body
        finally:
            for connection in connections:
                connection.close()
        client.close()
    assert "open files" in site.log
