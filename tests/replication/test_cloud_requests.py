"""What is asked of the bucket is counted, each request by its kind, and an hour is told as an hour."""

from __future__ import annotations

import pytest

from replication.cloud_requests import HOUR_MS, KINDS, SLOTS, OwnTally, count_one, tell
from replication.cloud_s3 import open_s3
from replication.ports import CloudError
from replication.settings import CloudSettings
from replication.tariff import HOURS_A_MONTH, Tariff
from tests.replication.test_cloud_s3 import ACTS, OddServer, answer, fault

START_MS = 1_795_000_000_000
ASKED = {"put": "put", "create": "put", "get": "get", "range": "get", "list": "list", "delete": "delete"}


@pytest.mark.parametrize("act", ASKED)
@pytest.mark.parametrize("reply", [answer(200), fault(503, "SlowDown"), b""], ids=["an answer", "a refusal", "silence"])
async def test_every_request_is_counted_whatever_becomes_of_it(act, reply):
    tally = OwnTally()
    acts = ACTS | {"delete": lambda cloud: cloud.delete("x")}
    async with OddServer(reply) as server:
        settings = CloudSettings("b", endpoint_url=server.url, addressing="path", access_key="AK", secret_key="s")
        cloud = await open_s3(settings, tally=tally)
        try:
            await acts[act](cloud)
        except CloudError:
            pass
        finally:
            await cloud.close()
    assert tally.counted().total == dict.fromkeys(KINDS, 0) | {ASKED[act]: 1}


def count(numbers, kinds, at_ms):
    for kind in kinds:
        count_one(numbers, kind, at_ms)


def test_an_hour_that_passed_whole_is_what_a_site_asks_in_an_hour():
    numbers = [0] * SLOTS
    assert tell(numbers, START_MS).since_ms == 0
    count(numbers, ["list"] * 10, START_MS)
    told = tell(numbers, START_MS + HOUR_MS // 2)
    assert (told.hour["list"], told.hour_ms, told.per_hour()["list"]) == (10, HOUR_MS // 2, 20)
    count(numbers, ["list"] * 7 + ["get"], START_MS + HOUR_MS - 1)
    told = tell(numbers, START_MS + HOUR_MS + 5)
    assert (told.hour["list"], told.hour["get"], told.hour_ms) == (17, 1, HOUR_MS)
    count(numbers, ["put"], START_MS + HOUR_MS + 5)
    told = tell(numbers, START_MS + HOUR_MS + 6)
    assert (told.hour["list"], told.hour["put"]) == (17, 0), "the hour that has just begun says little"
    assert told.total == {"put": 1, "list": 17, "get": 1, "delete": 0}


def test_telling_changes_nothing():
    numbers = [0] * SLOTS
    count(numbers, ["list"], START_MS)
    before = list(numbers)
    tell(numbers, START_MS + 5 * HOUR_MS)
    assert numbers == before


@pytest.mark.parametrize("at_ms", [START_MS - 1, START_MS + 2 * HOUR_MS, START_MS + 900 * HOUR_MS])
def test_a_gap_or_a_clock_that_was_set_begins_a_new_hour(at_ms):
    numbers = [0] * SLOTS
    count(numbers, ["list"] * 5, START_MS)
    count(numbers, ["get"], at_ms)
    told = tell(numbers, at_ms + 60_000)
    assert (told.hour["list"], told.hour["get"], told.hour_ms) == (0, 1, 60_000)
    assert told.total["list"] == 5


def test_what_a_month_of_polling_costs():
    tariff = Tariff(put_per_1000=0.005, get_per_1000=0.0004)
    assert tariff.requests(720, 0) * HOURS_A_MONTH == pytest.approx(2.628)
