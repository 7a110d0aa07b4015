"""Conditional writes have exactly one winner, whatever the number of worker processes."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.e2e.contents import read_object
from tests.support.site import Site

pytestmark = pytest.mark.e2e
CREATORS = 50
ROUNDS = 4


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("winner"), "winner", workers=2, forked=False) as site:
        site.client().create_bucket(Bucket="race")
        yield site


def race(site: Site, key: str, **condition: str) -> dict[str, list[int]]:
    """Fifty writers at once, each with a connection and a body of its own: outcome → who had it."""
    client = site.client()
    gate = threading.Barrier(CREATORS)
    outcomes: dict[str, list[int]] = {}

    def write(number: int) -> tuple[str, int]:
        body = f"{number}".encode() * 100
        gate.wait(30)
        try:
            client.put_object(Bucket="race", Key=key, Body=body, **condition)
        except ClientError as error:
            return error.response["Error"]["Code"], number
        return "won", number

    with ThreadPoolExecutor(CREATORS) as pool:
        for outcome, number in pool.map(write, range(CREATORS)):
            outcomes.setdefault(outcome, []).append(number)
    return outcomes


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_fifty_concurrent_creators_have_one_winner(site: Site, attempt: int) -> None:
    outcomes = race(site, f"create-{attempt}", IfNoneMatch="*")
    assert Counter({code: len(who) for code, who in outcomes.items()})["won"] == 1, outcomes
    assert outcomes.keys() <= {"won", "PreconditionFailed", "ConditionalRequestConflict"}
    winner = outcomes["won"][0]
    assert read_object(site.client(), ("race", f"create-{attempt}")) == f"{winner}".encode() * 100


@pytest.mark.parametrize("attempt", range(ROUNDS))
def test_fifty_concurrent_replacements_have_one_winner(site: Site, attempt: int) -> None:
    key = f"replace-{attempt}"
    etag = site.client().put_object(Bucket="race", Key=key, Body=b"before")["ETag"]
    outcomes = race(site, key, IfMatch=etag)
    assert len(outcomes["won"]) == 1, outcomes
    winner = outcomes["won"][0]
    assert read_object(site.client(), ("race", key)) == f"{winner}".encode() * 100


def test_both_workers_took_part(site: Site) -> None:
    """The race means nothing if one process served it all."""
    assert site.process is not None
    children = Path(f"/proc/{site.process.pid}/task/{site.process.pid}/children").read_text().split()
    names = [Path(f"/proc/{child}/cmdline").read_bytes() for child in children]
    assert len(names) >= 2, names
