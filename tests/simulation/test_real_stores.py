"""A few random worlds over real stores: a lying cloud, restarts, collisions. They converge and lose nothing."""

import random

import pytest

from gateway.store.item_format import FAMILY_NULL_SLOT
from replication.cloud_memory import MemoryCloud
from replication.ports import CloudError
from replication.puller import Puller
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Shipper
from tests.contracts.real_site import RealSite
from tests.replication.faulty_cloud import Crash, FaultyCloud
from tests.replication.fixed_realm import KEYRING
from tests.simulation.shape import RATES

SETTINGS = ReplicationSettings(
    limits=ShipLimits(changes_max=4, inline_bytes_max=60_000, pack_bytes_max=200_000, frames_max=5)
)


class Machine:
    """A real store and the processes over it."""

    def __init__(self, path, name, bucket, rng):
        self.link = FaultyCloud(bucket, rng, RATES)
        self.site = RealSite(path, KEYRING, name)
        self.start()

    def start(self):
        site = self.site
        self.link = self.link.restarted()
        site.use_cloud(self.link.inner)
        self.shipper = Shipper(site.replica, site.replica, self.link, lambda: KEYRING, SETTINGS, wall_ms=site.wall_ms)
        self.puller = Puller(site.replica, self.link, lambda: KEYRING, wall_ms=site.wall_ms)

    def restart(self):
        self.site.restart()
        self.start()

    async def replicate(self, verb):
        try:
            await (self.shipper.ship_round() if verb == "ship" else self.puller.pull_round())
        except Crash:
            self.restart()
        except CloudError:
            pass

    async def come_to_rest(self):
        self.link.rates = {}
        await self.link.settle()
        self.restart()
        while await self.shipper.ship_round():
            pass


async def act(machines, rng, keys, contents):
    machine = rng.choice(machines)
    match rng.randrange(8):
        case 0 | 1 | 2:
            await machine.site.put(rng.choice(keys), rng.choice(contents))
        case 3:
            held = {version[1] for version in machine.site.visible() if version[3]}
            if held:
                await machine.site.remove(rng.choice(sorted(held)))
        case 4:
            machine.restart()
        case _:
            await machine.replicate(rng.choice(["ship", "pull"]))


@pytest.mark.parametrize("seed", range(1, 16))
async def test_world(seed, tmp_path):
    rng, bucket = random.Random(seed), MemoryCloud()
    machines = [Machine(tmp_path / str(n), b"site-%d" % n, bucket, rng) for n in range(2)]
    keys = [b"key-%d" % number for number in range(4)]
    contents = [rng.randbytes(size) for size in (10, 5_000, 30_000, 150_000, 900_000)]
    try:
        for _ in range(60):
            await act(machines, rng, keys, contents)
        for machine in machines:
            await machine.come_to_rest()
        for machine in machines:
            assert (await machine.puller.pull_round()).stopped == 0
        first, second = (machine.site for machine in machines)
        assert first.visible() == second.visible(), f"seed {seed}"
        changes = [change for site in (first, second) for change in site.own_changes()]
        replaced = {dot for change in changes for dot in change.replaces}
        alive = [
            change
            for change in changes
            if change.family == FAMILY_NULL_SLOT and not change.dead and change.dot not in replaced
        ]
        assert len(alive) == len(first.visible()), f"seed {seed}: an acknowledged write is lost or back"
        for _, key, _, latest, _ in first.visible():
            if latest:
                content = await first.read(key)
                assert content in contents
                assert await second.read(key) == content
        for site in (first, second):
            assert site.replica.backlog().changes == site.replica.backlog().bytes == 0
    finally:
        for machine in machines:
            machine.site.close()
