"""The contract of ``Cloud``, over every implementation: memory, moto over HTTP, and a real cloud where one is named.

``SKERRY_TEST_S3_ENDPOINT=http://host:port`` (with ``SKERRY_TEST_S3_ACCESS_KEY`` and ``…_SECRET_KEY``) names a real one,
for instance Ceph's RADOS Gateway. Wrappers are held to the same contract.
"""

import asyncio
import os
import secrets

import pytest

from replication.cloud_memory import MemoryCloud
from replication.cloud_s3 import open_s3
from replication.conditional import CreateOnce, SingleWriterCloud, probe_create_once
from replication.link import Link
from replication.link_hours import Limit, LinkLimits
from replication.listing import list_all
from replication.ports import CloudError, CloudExists, CloudMissing
from replication.retry import RetryingCloud
from replication.settings import CloudSettings, RetrySettings
from replication.throttle import Pacer, ThrottledCloud
from tests.replication.buckets import make_bucket

ORIGIN = (b"s" * 16, b"i" * 8)
KINDS = ["memory", "retrying memory", "throttled memory", "single-writer memory", "moto"]
if "SKERRY_TEST_S3_ENDPOINT" in os.environ:
    KINDS.append("named")


@pytest.fixture(params=KINDS)
async def cloud(request):
    match request.param:
        case "memory":
            yield MemoryCloud()
        case "retrying memory":
            yield RetryingCloud(MemoryCloud(), RetrySettings())
        case "throttled memory":
            yield ThrottledCloud(MemoryCloud(), Pacer(Link(LinkLimits(Limit(0), Limit(1 << 40)))))
        case "single-writer memory":
            yield SingleWriterCloud(MemoryCloud())
        case kind:
            endpoint = (
                request.getfixturevalue("moto_endpoint") if kind == "moto" else os.environ["SKERRY_TEST_S3_ENDPOINT"]
            )
            settings = CloudSettings(
                bucket="contract-" + secrets.token_hex(6),
                prefix="some/prefix/",
                endpoint_url=endpoint,
                addressing="path",
                access_key=os.environ.get("SKERRY_TEST_S3_ACCESS_KEY", "cloudaccess"),
                secret_key=os.environ.get("SKERRY_TEST_S3_SECRET_KEY", "cloudsecret"),
            )
            await asyncio.to_thread(make_bucket, settings)
            opened = await open_s3(settings)
            yield opened
            await opened.close()


@pytest.mark.parametrize("size", [0, 1, 100_000])
async def test_put_then_get(cloud, size):
    data = secrets.token_bytes(size)
    await cloud.put("sites/a/log/1", data)
    assert await cloud.get("sites/a/log/1") == data


async def test_put_replaces(cloud):
    await cloud.put("x", b"one")
    await cloud.put("x", b"two")
    assert await cloud.get("x") == b"two"


async def test_create_only_once(cloud):
    await cloud.put("x", b"one", if_absent=True)
    with pytest.raises(CloudExists):
        await cloud.put("x", b"two", if_absent=True)
    assert await cloud.get("x") == b"one"


async def test_missing_is_said_by_the_bucket(cloud):
    with pytest.raises(CloudMissing):
        await cloud.get("nothing")
    with pytest.raises(CloudMissing):
        await cloud.get("nothing", offset=3, length=4)


async def test_ranges_are_exact(cloud):
    await cloud.put("x", bytes(range(100)))
    assert await cloud.get("x", offset=10, length=5) == bytes(range(10, 15))
    assert await cloud.get("x", offset=0, length=100) == bytes(range(100))
    assert await cloud.get("x", offset=90) == bytes(range(90, 100))


@pytest.mark.parametrize(("offset", "length"), [(90, 20), (100, 1), (1000, 1), (100, None)])
async def test_a_range_that_is_not_there_is_an_error_not_fewer_bytes(cloud, offset, length):
    await cloud.put("x", bytes(range(100)))
    with pytest.raises(CloudError):
        await cloud.get("x", offset=offset, length=length)


async def test_list_is_ascending_relative_and_pages(cloud):
    names = [f"heads/{number:03d}" for number in range(25)]
    for name in [*names[::-1], "heads", "headss/1", "other/1"]:
        await cloud.put(name, b"")
    assert await cloud.list("heads/") == names
    assert await cloud.list("heads/", count_max=10) == names[:10]
    assert await cloud.list("heads/", after=names[9], count_max=10) == names[10:20]
    assert await cloud.list("heads/", after="heads/0095") == names[10:]
    assert await cloud.list("heads/", after=names[-1]) == []
    assert await cloud.list("nobody/") == []


@pytest.mark.parametrize("count", [9, 10, 11, 30])
async def test_every_page_of_a_long_list(cloud, count, monkeypatch):
    monkeypatch.setattr("replication.listing.PAGE_COUNT", 10)
    names = [f"long/{number:04d}" for number in range(count)]
    for name in [*names, "longer/1"]:
        await cloud.put(name, b"")
    assert await list_all(cloud, "long/") == names


async def test_delete_is_idempotent(cloud):
    await cloud.put("x", b"one")
    await cloud.delete("x")
    await cloud.delete("x")
    with pytest.raises(CloudMissing):
        await cloud.get("x")
    assert await cloud.list("x") == []


async def test_many_at_once(cloud):
    await asyncio.gather(*[cloud.put(f"many/{number:02d}", bytes([number])) for number in range(40)])
    found = await asyncio.gather(*[cloud.get(f"many/{number:02d}") for number in range(40)])
    assert found == [bytes([number]) for number in range(40)]


async def test_one_creator_wins(cloud):
    async def create(number):
        try:
            await cloud.put("race", bytes([number]), if_absent=True)
        except CloudExists:
            return None
        return number

    winners = [number for number in await asyncio.gather(*map(create, range(8))) if number is not None]
    if not isinstance(cloud, SingleWriterCloud):
        assert len(winners) == 1
    assert await cloud.get("race") == bytes([winners[-1]])


async def test_probe_finds_it_enforced(cloud):
    assert await probe_create_once(cloud, ORIGIN) is CreateOnce.ENFORCED
    assert await probe_create_once(cloud, ORIGIN) is CreateOnce.ENFORCED


async def test_cancelled_calls_leave_it_usable(cloud):
    await cloud.put("x", b"one")
    for _ in range(5):
        task = asyncio.create_task(cloud.get("x"))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    assert await cloud.get("x") == b"one"
