"""One world of a seed: some sites, a lying cloud, skewed clocks, partitions, crashes. Deterministic: no thread, no
wall clock.

``run`` lets the world live, then mends the link, brings everything to rest and checks the promises:

* every site shows the same state (convergence);
* every acknowledged write is still there unless a write that saw it replaced it (promise 3);
* what was removed by someone who saw it is not back;
* every visible value can be read: its bytes are local, or in the bucket where the site says, and open;
* the durable cursor never claims what the bucket does not hold, and a site whose backlog is nothing can be lost at any
  moment: the bucket alone gives all of it back (promises 5 and 6).
"""

from __future__ import annotations

import asyncio
import random

from replication.batch_format import decode_batch
from replication.change_format import decode_change
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import log_name
from replication.frame_format import decode_header
from replication.offload import run_at_once
from replication.ports import CloudError
from replication.puller import Puller
from replication.sealing import chunk_id, open_frame
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Fenced, Shipper
from tests.replication.faulty_cloud import CONFLICT, DUPLICATE, LATE, LOST_REPLY, REFUSED, Crash, FaultyCloud
from tests.replication.fixed_realm import KEYRING
from tests.replication.memory_site import MemorySite

RATES = {
    REFUSED: 0.05,
    LOST_REPLY: 0.06,
    DUPLICATE: 0.04,
    LATE: 0.05,
    CONFLICT: 0.03,
    "crash before": 0.02,
    "crash after": 0.02,
}
LIMITS = [
    ShipLimits(changes_max=3, inline_bytes_max=0, pack_bytes_max=600),
    ShipLimits(changes_max=50, inline_bytes_max=1000, pack_bytes_max=2000),
    ShipLimits(changes_max=4, inline_bytes_max=0, frame_bytes_max=500, pack_bytes_max=300),
]


class Broken(AssertionError):
    """A promise did not hold in this world."""


class SimulatedSite:
    """A site's disk, and the processes that die with it."""

    def __init__(self, world: World, name: bytes, rng: random.Random) -> None:
        self.skew_ms = rng.choice([0, 0, 5, -60_000, 3_600_000])
        self.world = world
        self.rng = rng
        self.store = MemorySite(KEYRING, name, self.wall_ms, rng.randrange(1 << 30))
        self.cloud = FaultyCloud(world.bucket, rng, RATES)
        self.settings = ReplicationSettings(limits=rng.choice(LIMITS), uploads_max=2, prefetch_max=rng.randint(1, 3))
        self.start()

    def wall_ms(self) -> int:
        return self.world.now_ms + self.skew_ms

    def start(self) -> None:
        def keyring():
            return KEYRING

        self.shipper = Shipper(
            self.store, self.store, self.cloud, keyring, self.settings, wall_ms=self.wall_ms, offload=run_at_once
        )
        self.puller = Puller(
            self.store, self.cloud, keyring, wall_ms=self.wall_ms, prefetch_max=self.settings.prefetch_max
        )

    async def replicate(self, verb: str) -> None:
        """One round; a crash is a restart, an unreachable cloud is waited out."""
        try:
            await (self.shipper.ship_round() if verb == "ship" else self.puller.pull_round())
        except Crash:
            self.start()
        except CloudError:
            pass


class World:
    def __init__(self, seed: int, sites: int = 3) -> None:
        self.rng = random.Random(seed)
        self.now_ms = 1_700_000_000_000
        self.bucket = MemoryCloud()
        self.named = 0
        self.lost: list[SimulatedSite] = []
        self.sites = [self.found() for _ in range(sites)]
        self.acknowledged: dict = {}
        self.replaced: set = set()

    def found(self) -> SimulatedSite:
        """A site with an empty disk and an id of its own."""
        self.named += 1
        return SimulatedSite(self, b"site-%d" % self.named, self.rng)

    async def run(self, steps: int = 60) -> None:
        for _ in range(steps):
            self.now_ms += self.rng.choice([0, 1, 1000, 60_000])
            await self.step()
            self.check_cursors()
        await self.come_to_rest()
        self.check()

    async def step(self) -> None:
        site = self.rng.choice(self.sites)
        match self.rng.randrange(11):
            case 0 | 1 | 2:
                item, content = b"item-%d" % self.rng.randrange(5), self.rng.randbytes(self.rng.choice([10, 200, 400]))
                self.acknowledge(site.store.put(item, content, siblings=self.rng.random() < 0.3))
            case 3:
                item = b"item-%d" % self.rng.randrange(5)
                if (1, item) in site.store.visible():
                    self.acknowledge(site.store.remove(item))
            case 4:
                site.cloud.partitioned = not site.cloud.partitioned
            case 5:
                site.start()
            case 6:
                self.lose(site)
            case _:
                verbs = [(each, verb) for each in self.sites for verb in ("ship", "pull")]
                chosen = self.rng.sample(verbs, self.rng.randint(1, 3))
                await asyncio.gather(*[each.replicate(verb) for each, verb in chosen])

    def lose(self, site: SimulatedSite) -> None:
        """A disk that says it is safe to lose is lost; a fresh site takes its place, sometimes one more joins."""
        if site.store.backlog().changes == 0 and not site.shipper.fenced and self.rng.random() < 0.5:
            self.sites.remove(site)
            self.lost.append(site)
            self.sites.append(self.found())
        elif len(self.sites) < 5 and self.rng.random() < 0.2:
            self.sites.append(self.found())

    def acknowledge(self, change) -> None:
        self.acknowledged[change.dot] = change
        self.replaced |= set(change.replaces)

    async def come_to_rest(self) -> None:
        for site in self.lost:
            await site.cloud.settle()  # what a lost machine had sent may still arrive
        for site in self.sites:
            site.cloud.partitioned = False
            site.cloud.rates = {}
            await site.cloud.settle()
            site.start()
        for _ in range(100):
            for site in self.sites:
                while await site.shipper.ship_round():
                    pass
            pulled = [await site.puller.pull_round() for site in self.sites]
            if any(one.stopped for one in pulled):
                raise Broken(f"a log is stopped: {[site.puller.states for site in self.sites]}")
            if not any(one.batches for one in pulled):
                return
        raise Broken("does not come to rest")

    def check_cursors(self) -> None:
        """What a site counts as sent is in the bucket, whatever happened: its log to the cursor, and the bytes it
        needs.
        """
        for site in self.sites:
            store, position = site.store, site.store.shipped()
            origin = (store.identity().site, store.identity().incarnation)
            sent: list[bytes] = []
            for n in range(1, position.n + 1):
                data = self.bucket.objects.get(log_name(origin, n))
                if data is None:
                    raise Broken(f"the cursor claims batch {n}, which the bucket does not hold")
                sent += decode_batch(KEYRING, origin, n, data).changes
            if sent != store.own[: position.seq]:
                raise Broken("the cursor claims changes that the bucket does not hold")
            for ref in store.live_refs():
                self.check_readable(store, ref)

    def check_readable(self, store: MemorySite, ref) -> None:
        plain = store.read(ref.id)
        if plain is None:
            place = store.locate([ref.id]).get(ref.id)
            if place is None or place.object_name not in self.bucket.objects:
                raise Broken("a change is visible whose bytes are nowhere")
            header = decode_header(place.header)
            stored = self.bucket.objects[place.object_name][place.offset :][: header.stored_size]
            plain = open_frame(KEYRING, header, stored)
        if chunk_id(KEYRING, plain) != ref.id:
            raise Broken("the bytes read are not those written")

    def check(self) -> None:
        states = [site.store.visible() for site in self.sites]
        if any(state != states[0] for state in states):
            raise Broken("sites differ after everything came to rest")
        alive = {dot for writes in states[0].values() for dot, _ in writes}
        for dot, change in self.acknowledged.items():
            if dot not in self.replaced and dot not in alive:
                raise Broken(f"an acknowledged write was lost: {change.item!r}")
            if dot in self.replaced and dot in alive:
                raise Broken(f"a replaced write is back: {change.item!r}")
        for site in self.sites:
            if site.store.backlog().changes:
                raise Broken("something is unsent after everything came to rest")
            if [decode_change(data).dot for data in site.store.own] != [
                dot for dot in self.acknowledged if dot.site == site.store.identity().site
            ]:
                raise Broken("a site's log is not what it acknowledged")


def live(seed: int, sites: int = 3, steps: int = 60) -> None:
    """Run the world of one seed."""
    try:
        asyncio.run(World(seed, sites).run(steps))
    except (Broken, Fenced, Crash, CloudError) as error:
        raise Broken(f"seed {seed}: {error!r}") from error
