"""While hostile or broken clients do their worst, a good one is served and the server's memory stays bounded.

A real server, one worker, its deadlines shortened. ``SKERRY_HOSTILE_CONNECTIONS`` says how many idle connections.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Iterator

import pytest

from tests.gateway.http.raw import Raw, read_answer
from tests.gateway.http.server import ACCESS_KEY, SECRET
from tests.hostile.attacks import (
    ATTACKS,
    BUCKET,
    CACHED_KEY,
    CONNECTIONS,
    LARGE_BYTES,
    LARGE_KEY,
    MANY_BUCKET,
    MANY_KEYS,
    MEDIUM_BYTES,
    MEDIUM_KEY,
)
from tests.hostile.watching import Attack, Place, endure
from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    server = {"connections_max": CONNECTIONS + 1000, "header_timeout_s": 2.0, "body_idle_timeout_s": 10.0}
    directory = tmp_path_factory.mktemp("hostile")
    site = Site(directory, "hostile", access_key=ACCESS_KEY, secret_key=SECRET, settings={"server": server})
    with site:
        client = site.client()
        for name in (BUCKET, MANY_BUCKET):
            client.create_bucket(Bucket=name)
        client.put_object(Bucket=BUCKET, Key=LARGE_KEY, Body=random.Random(2).randbytes(LARGE_BYTES))
        client.put_object(Bucket=BUCKET, Key=CACHED_KEY, Body=random.Random(3).randbytes(LARGE_BYTES))
        client.put_object(Bucket=BUCKET, Key=MEDIUM_KEY, Body=random.Random(1).randbytes(MEDIUM_BYTES))
        for number in range(MANY_KEYS):
            key = "p" * (900 + number % 100) + "/" + f"{number:04}" + "x" * 10
            client.put_object(Bucket=MANY_BUCKET, Key=key, Body=b"")
        client.close()
        yield Place(site, Raw(site.port))


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.__name__)
def test_a_good_client_is_served_meanwhile(place: Place, attack: Attack) -> None:
    place.site.stop()  # every attack meets a server that has just begun, its cache filled
    place.site.start()
    client = place.site.client()
    for key in (LARGE_KEY, CACHED_KEY):
        client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    client.close()
    endure(place, attack)


def test_nothing_was_stored_by_any_of_it(place: Place) -> None:
    client = place.site.client()
    found = client.list_objects_v2(Bucket=BUCKET)["Contents"]
    client.close()
    assert {item["Key"] for item in found} <= {"k", LARGE_KEY, CACHED_KEY, MEDIUM_KEY}


def test_connections_above_the_cap_are_told_when_to_come_back(place: Place) -> None:
    """Those that come late are refused, or let in for one that was idle for seconds meanwhile, as is promised."""
    place.site.stop()
    place.site.start()
    connections, told = [], []
    try:
        for _ in range(CONNECTIONS + 1100):
            connections.append(place.raw.connect())
        for connection in connections[-20:]:
            with contextlib.suppress(ConnectionError):  # it was refused already
                connection.sendall(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n")
            told.append(read_answer(connection))
        let_in = sum(answer.status == 403 for answer in told)
        gone = sum(_is_closed(connection) for connection in connections[:-20])
        assert gone >= let_in, "nobody gave way, and somebody was let in"
    finally:
        for connection in connections:
            connection.close()
    for answer in told:
        if answer.status != 403:
            assert (answer.status, answer.code) == (503, "SlowDown")
            assert int(answer.headers["retry-after"]) >= 1


def _is_closed(connection: socket.socket) -> bool:
    """Whether the server has ended it, or told it that it is one too many."""
    connection.setblocking(False)
    try:
        return len(connection.recv(1)) <= 1
    except BlockingIOError:
        return False
    except ConnectionError:
        return True
