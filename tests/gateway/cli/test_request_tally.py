"""All processes of a site count what they ask of the bucket in one place, and the status tells it with its price."""

from __future__ import annotations

import json
import threading

import pytest

from gateway.cli.command import run_command
from gateway.cli.request_tally import TALLY_NAME, TALLY_SIZE, SharedTally, describe_requests
from gateway.cli.site import create_site
from gateway.config import load_config
from gateway.store.layout import DataDirectory
from replication.cloud_requests import HOUR_MS, KINDS, CountedRequests
from replication.tariff import Tariff

PRICES = Tariff(currency="EUR", put_per_1000=0.005, get_per_1000=0.0004)


@pytest.fixture
def directory(tmp_path):
    return DataDirectory.create(tmp_path / "data", b"r" * 16, b"s" * 16)


def test_several_holders_count_in_one_tally(directory):
    tallies = [SharedTally(directory) for _ in range(3)]
    threads = [
        threading.Thread(target=lambda tally=tally: [tally.note("get") for _ in range(200)]) for tally in tallies
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {tally.counted().total["get"] for tally in tallies} == {600}
    for tally in tallies:
        tally.close()
    later = SharedTally(directory)
    assert later.counted().total["get"] == 600, "it outlives who counted"
    later.close()


def test_a_file_of_another_length_is_begun_anew(directory):
    (directory.run / TALLY_NAME).write_bytes(b"\xff" * (TALLY_SIZE + 8))
    tally = SharedTally(directory)
    assert (tally.counted().since_ms, tally.counted().total) == (0, dict.fromkeys(KINDS, 0))
    tally.close()


def test_the_price_of_a_month_is_at_the_pace_of_the_last_hour():
    hour = {"put": 10, "list": 720, "get": 100, "delete": 5}
    told = describe_requests(CountedRequests(1, {}, hour, HOUR_MS), PRICES)
    assert told["an_hour"] == hour
    assert (told["cost_a_month"], told["currency"]) == (round((730 * 0.005 + 100 * 0.0004) * 0.73, 4), "EUR")
    assert describe_requests(CountedRequests(1, {}, hour, HOUR_MS), Tariff())["cost_a_month"] is None
    started = describe_requests(CountedRequests(1, {}, hour, 60_000), PRICES)
    assert (started["an_hour"], started["cost_a_month"]) == (None, None)


def test_the_status_tells_what_is_asked_and_what_that_costs(tmp_path, capsys):
    alone = tmp_path / "alone.toml"
    alone.write_text('[site]\ndata = "data"\n')
    create_site(load_config(alone, {}))
    config = tmp_path / "site.toml"
    cloud = '[cloud]\nbucket = "realm"\naccess_key = "a"\nsecret_key = "s"\n[tariff]\nput_per_1000 = 0.005\n'
    config.write_text(f'[site]\ndata = "data"\n{cloud}')
    config.chmod(0o600)
    tally = SharedTally(DataDirectory.open(tmp_path / "data"))
    tally.note("list")
    tally.close()
    assert run_command(["status", "--json", "--config", str(config)], {}) == 0
    told = json.loads(capsys.readouterr().out)["cloud_requests"]
    assert told["total"]["list"] == 1
    assert (told["an_hour"], told["cost_a_month"]) == (None, None), "a minute says nothing of an hour"
    assert run_command(["status", "--config", str(config)], {}) == 0
    assert "asked of the bucket: 0 PUT, 1 LIST, 0 GET, 0 DELETE, in all; too soon" in capsys.readouterr().out
    assert run_command(["status", "--json", "--config", str(alone)], {}) == 0
    assert json.loads(capsys.readouterr().out)["cloud_requests"] is None, "without a cloud there is nothing to ask"
