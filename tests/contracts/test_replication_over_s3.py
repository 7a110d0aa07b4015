"""Two real stores and a restored one over an S3 server: the whole way of the data without HTTP in front."""

import asyncio
import random
import secrets

from replication.open_cloud import open_cloud
from replication.puller import Puller
from replication.restore import restore_site
from replication.settings import CloudSettings, ReplicationSettings
from replication.shipper import Shipper
from tests.contracts.real_site import RealSite
from tests.contracts.test_replica import Remote
from tests.replication.buckets import make_bucket
from tests.replication.fixed_realm import KEYRING

MIB = 1 << 20


async def ship(site, cloud):
    shipper = Shipper(site.replica, site.replica, cloud, lambda: KEYRING, ReplicationSettings(), wall_ms=site.wall_ms)
    return sum([shipped.bytes async for shipped in rounds(shipper)])


async def rounds(shipper):
    while shipped := await shipper.ship_round():
        yield shipped


async def test_ship_pull_patch_and_restore(moto_endpoint, tmp_path):
    settings = CloudSettings(
        bucket="realm-" + secrets.token_hex(6),
        prefix="p",
        endpoint_url=moto_endpoint,
        addressing="path",
        access_key="a",
        secret_key="s",
    )
    await asyncio.to_thread(make_bucket, settings)
    cloud = await open_cloud(settings)
    a, b, fresh = (RealSite(tmp_path / name, KEYRING, name.encode()) for name in ("a", "b", "fresh"))
    try:
        for site in (a, b, fresh):
            site.use_cloud(cloud)
        large = bytearray(random.Random(5).randbytes(24 * MIB))
        await a.put(b"secret-name", bytes(large))
        for number in range(20):
            await a.put(b"small-%d" % number, b"plain secret content %d" % number)
        assert 24 * MIB < await ship(a, cloud) < 25 * MIB
        large[12 * MIB : 12 * MIB + 1024] = random.Random(6).randbytes(1024)
        await a.put(b"secret-name", bytes(large))
        assert await ship(a, cloud) < 16 * 1024, "1 KiB changed in the middle ships a few KB"
        puller = Puller(b.replica, cloud, lambda: KEYRING, wall_ms=b.wall_ms)
        assert (await puller.pull_round()).stopped == 0
        assert b.visible() == a.visible()
        assert await b.read(b"secret-name") == bytes(large)
        await restore_site(cloud, lambda: KEYRING, fresh.replica, wall_ms=fresh.wall_ms, remote=Remote(fresh))
        fresh.store.set_fetcher(None)
        assert fresh.visible() == a.visible()
        assert await fresh.read(b"secret-name") == bytes(large)
        for name in await cloud.list(""):
            data = await cloud.get(name)
            assert b"secret" not in data
            assert b"bucket" not in data
    finally:
        for site in (a, b, fresh):
            site.close()
        await cloud.close()
