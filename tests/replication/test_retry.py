"""Retries and limits on a virtual clock: what is tried again, how long, and what passes at once."""

import asyncio

import pytest

from replication.cloud_memory import MemoryCloud
from replication.link import Link
from replication.link_hours import Limit, LinkLimits
from replication.ports import CloudExists, CloudMissing, CloudRefused, CloudUnreachable
from replication.retry import Reachability, RetryingCloud
from replication.settings import RetrySettings
from replication.throttle import HEAD_BYTES, Pacer, ThrottledCloud

SETTINGS = RetrySettings(backoff_base_s=1, backoff_max_s=8, deadline_s=100, circuit_failures=1000)


class Clock:
    def __init__(self):
        self.now_s = 1000.0
        self.slept = []

    def now(self):
        return self.now_s

    async def sleep(self, seconds):
        self.slept.append(seconds)
        self.now_s += seconds
        await asyncio.sleep(0)


class Failing(MemoryCloud):
    """Raises what it is told, call by call, then works."""

    def __init__(self, *errors):
        super().__init__()
        self.errors = list(errors)
        self.calls = 0

    async def get(self, name, *, offset=0, length=None):
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return b"data"


def retrying(cloud, clock, settings=SETTINGS):
    return RetryingCloud(cloud, settings, now=clock.now, sleep=clock.sleep, uniform=lambda low, high: high)


async def test_unreachable_is_tried_again_with_growing_pauses():
    clock, inner = Clock(), Failing(*[CloudUnreachable("timeout")] * 6)
    cloud = retrying(inner, clock)
    assert cloud.reachability is Reachability.UNKNOWN
    assert await cloud.get("x") == b"data"
    assert clock.slept == [1, 2, 4, 8, 8, 8]
    assert cloud.reachability is Reachability.OK
    assert cloud.last_error == ""


@pytest.mark.parametrize(
    ("error", "reachability"),
    [
        (CloudMissing("no"), Reachability.OK),
        (CloudExists("no"), Reachability.OK),
        (CloudRefused("no"), Reachability.REFUSED),
    ],
)
async def test_definite_answers_pass_at_once(error, reachability):
    clock, inner = Clock(), Failing(error)
    cloud = retrying(inner, clock)
    with pytest.raises(type(error)):
        await cloud.get("x")
    assert (inner.calls, clock.slept, cloud.reachability) == (1, [], reachability)


async def test_deadline_ends_it():
    clock, inner = Clock(), Failing(*[CloudUnreachable("timeout")] * 1000)
    cloud = retrying(inner, clock)
    with pytest.raises(CloudUnreachable):
        await cloud.get("x")
    assert 90 < clock.now_s - 1000 <= 100
    assert cloud.reachability is Reachability.UNREACHABLE


async def test_open_circuit_fails_at_once_then_lets_one_try():
    clock, inner = Clock(), Failing(*[CloudUnreachable("timeout")] * 4)
    settings = RetrySettings(backoff_base_s=0, deadline_s=100, circuit_failures=3, circuit_open_s=10)
    cloud = retrying(inner, clock, settings)
    with pytest.raises(CloudUnreachable):
        await cloud.get("x")
    assert inner.calls == 3
    with pytest.raises(CloudUnreachable, match="not tried"):
        await cloud.get("x")
    assert inner.calls == 3
    clock.now_s += 10
    with pytest.raises(CloudUnreachable):
        await cloud.get("x")
    assert inner.calls == 4
    cloud.wake()
    assert await cloud.get("x") == b"data"


async def test_wake_ends_a_wait():
    inner = Failing(CloudUnreachable("timeout"))
    never = asyncio.Event()

    async def sleep(seconds):
        await never.wait()

    cloud = RetryingCloud(inner, SETTINGS, sleep=sleep)
    task = asyncio.create_task(cloud.get("x"))
    while inner.calls == 0:
        await asyncio.sleep(0)
    for _ in range(5):
        await asyncio.sleep(0)
    assert not task.done()
    cloud.wake()
    assert await task == b"data"


async def test_waiting_can_be_cancelled():
    cloud = RetryingCloud(Failing(CloudUnreachable("timeout")), SETTINGS, uniform=lambda low, high: 3600 if high else 0)
    task = asyncio.create_task(RetryingCloud(Failing(CloudUnreachable("x")), RetrySettings(deadline_s=1e9)).get("x"))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with pytest.raises(CloudUnreachable):
        await cloud.get("x")


async def test_rates_hold_on_average_and_one_alone_starts_at_once():
    clock = Clock()
    link = Link(LinkLimits(Limit(100), Limit(1000)))
    cloud = ThrottledCloud(MemoryCloud(), Pacer(link, None, clock.now, clock.sleep))
    for _ in range(3):
        await cloud.put("x", bytes(500))
    assert clock.slept == [pytest.approx((HEAD_BYTES + 500) / 100)] * 2, "the first starts at once"
    bucket = MemoryCloud()
    await bucket.put("x", bytes(500))
    cloud = ThrottledCloud(bucket, Pacer(link, None, clock.now, clock.sleep))
    begin = clock.now_s
    for _ in range(4):
        await cloud.get("x", offset=0, length=500)
    assert clock.now_s - begin == pytest.approx(3 * (HEAD_BYTES + 500) / 1000)
