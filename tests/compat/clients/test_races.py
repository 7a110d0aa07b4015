"""The race probe: conditional writes from many connections to several worker processes at once, counted.

Raw HTTP over presigned URLs, one connection a writer, so that the client is not what is slow; a barrier lets all
writers of a key go at once. Which process answered is told by ``x-amz-id-2``, which is its own for each. The figures
are printed past pytest's capture. ``SKERRY_RACE_ROUNDS`` makes it longer; ``make compat`` does.
"""

from __future__ import annotations

import http.client
import json
import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.compat.clients.features import proves
from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
CLIENT = "race probe (raw HTTP)"
WORKERS = 3
ROUNDS = int(os.environ.get("SKERRY_RACE_ROUNDS", "2"))
KEYS, CREATORS = 50, 20
SWAPPERS, SWAPS = 50, 2
LOST = {412, 409}
"""PreconditionFailed, and ConditionalRequestConflict: what a writer that did not win may be told."""


@pytest.fixture(scope="module")
def racing(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("races"), "races", workers=WORKERS) as site:
        site.client().create_bucket(Bucket="race")
        yield site


@pytest.fixture
def say(capsys: pytest.CaptureFixture[str]) -> Callable[[str], None]:
    """Print a line past pytest's capture."""

    def write(text: str) -> None:
        with capsys.disabled():
            print(f"\n{text}", flush=True)

    return write


class Writer:
    """One connection and what it counted. Each new one may land on another worker process."""

    def __init__(self, site: Site) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", site.port, timeout=60)
        self.statuses: Counter[int] = Counter()
        self.processes: Counter[str] = Counter()

    def send(self, method: str, url: str, body: bytes | None = None, **headers: str) -> tuple[int, Any, bytes]:
        """Status, headers, body."""
        parts = urlsplit(url)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        self.connection.request(method, f"{parts.path}?{parts.query}", body=body, headers=named)
        answer = self.connection.getresponse()
        read = answer.read()
        self.statuses[answer.status] += 1
        self.processes[answer.headers["x-amz-id-2"]] += 1
        return answer.status, answer.headers, read


def sum_up(writers: list[Writer]) -> tuple[Counter[int], Counter[str]]:
    statuses: Counter[int] = sum((writer.statuses for writer in writers), Counter())
    processes: Counter[str] = sum((writer.processes for writer in writers), Counter())
    for writer in writers:
        writer.connection.close()
    return statuses, processes


def presign(site: Site, method: str, key: str) -> str:
    client = site.client(signature_version="s3v4")
    url: str = client.generate_presigned_url(method, Params={"Bucket": "race", "Key": key}, ExpiresIn=600)
    return url


@proves("if_none_match")
def test_one_creator_wins_each_key(racing: Site, say: Callable[[str], None]) -> None:
    keys = [f"round-{number // KEYS}/key-{number % KEYS}" for number in range(ROUNDS * KEYS)]
    client = racing.client(signature_version="s3v4")
    urls = [client.generate_presigned_url("put_object", Params={"Bucket": "race", "Key": key}) for key in keys]
    gate = threading.Barrier(CREATORS)
    writers = [Writer(racing) for _ in range(CREATORS)]
    won: list[list[int]] = [[] for _ in keys]

    def create(number: int) -> None:
        for index, url in enumerate(urls):
            gate.wait(60)
            status, _, _ = writers[number].send("PUT", url, f"{number}".encode() * 100, If_None_Match="*")
            if status == 200:
                won[index].append(number)

    begun = time.monotonic()
    with ThreadPoolExecutor(CREATORS) as pool:
        list(pool.map(create, range(CREATORS)))
    took_s = time.monotonic() - begun
    statuses, processes = sum_up(writers)
    assert [len(winners) for winners in won] == [1] * len(keys)
    assert set(statuses) <= {200} | LOST
    for key, winners in zip(keys, won, strict=True):
        assert client.get_object(Bucket="race", Key=key)["Body"].read() == f"{winners[0]}".encode() * 100
    assert len(processes) > 1, "one process served it all: no race between processes"
    total = sum(statuses.values())
    say(
        f"create once: {ROUNDS} rounds of {KEYS} keys, {CREATORS} creators each: {total} PUTs in {took_s:.1f} s "
        f"({total / took_s:.0f}/s), {statuses[200]} won, {total - statuses[200]} refused; "
        f"by process {sorted(processes.values())}"
    )


@proves("if_match")
def test_no_swap_is_lost(racing: Site, say: Callable[[str], None]) -> None:
    """Each writer appends itself to a list by compare-and-swap; all of them must be in it in the end, once for each."""
    racing.client().put_object(Bucket="race", Key="list", Body=b"[]")
    get, put = presign(racing, "get_object", "list"), presign(racing, "put_object", "list")
    writers = [Writer(racing) for _ in range(SWAPPERS)]
    gate = threading.Barrier(SWAPPERS)

    def swap(number: int) -> None:
        gate.wait(60)
        done = 0
        while done < SWAPS:
            status, headers, body = writers[number].send("GET", get)
            assert status == 200, body
            wanted = [*json.loads(body), [number, done]]
            status, _, said = writers[number].send("PUT", put, json.dumps(wanted).encode(), If_Match=headers["ETag"])
            assert status == 200 or status in LOST, said
            done += status == 200

    begun = time.monotonic()
    with ThreadPoolExecutor(SWAPPERS) as pool:
        list(pool.map(swap, range(SWAPPERS)))
    took_s = time.monotonic() - begun
    statuses, processes = sum_up(writers)
    final = json.loads(racing.client().get_object(Bucket="race", Key="list")["Body"].read())
    assert sorted(final) == [[number, done] for number in range(SWAPPERS) for done in range(SWAPS)]
    assert len(processes) > 1, "one process served it all: no race between processes"
    refused = sum(statuses[status] for status in LOST)
    say(
        f"compare and swap: {SWAPPERS} writers, {SWAPS} swaps each: {len(final)} kept of {len(final)} acknowledged, "
        f"{refused} refused and tried again, in {took_s:.1f} s; by process {sorted(processes.values())}"
    )
