"""Worlds of real stores that collect in the bucket: patches, pages, copies by reference, uploads and evictions, and the
packs they lean on repacked, doomed, settled and deleted meanwhile.

Beside ``real_world``: its sites evict what is in the cloud, and take turns as the daemon does (all news, a round of
collection, acknowledgements). What is dead may go at once. At the end everybody collects until nothing is left to be
collected, and all promises must hold then: also for a site restored from what is left.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from gateway.store.errors import ChunkUnavailable
from replication.collector import Collector
from replication.hydrate import CloudFetcher
from replication.offload import run_at_once
from replication.ports import CloudError
from replication.settings import CollectSettings
from tests.simulation.real_world import WEIGHTS, LiveSite, World, keyring

SETTINGS = CollectSettings(point_in_time_ms=0, grace_ms=0, acquaint_ms=1 << 60, live_share_min=0.8)
TURNS_MAX = 40


class CollectingSite(LiveSite):
    deleted = 0

    def start_daemon(self) -> None:
        super().start_daemon()
        replica, holdings = self.store.replica, self.store.holdings
        fetcher = CloudFetcher(self.cloud)
        self.collector = Collector(
            *(replica, holdings, self.shipper, self.cloud, fetcher, self.bring, keyring, SETTINGS),
            wall_ms=lambda: self.world.now_ms + self.skew_ms,
            steady_ms=lambda: self.world.now_ms,
            offload=run_at_once,
        )

    async def tidy(self) -> bool:
        """One turn of the daemon; whether anything was done."""
        if not self.store.replica.shipped().n:
            await self.shipper.ship_round(speak=True)
        pulled = await self.puller.pull_round()
        done = await self.collector.collect_round(caught_up=not pulled.stopped)
        self.deleted += done.deleted
        moved = bool(done) or bool(pulled.batches)
        while await self.shipper.ship_round(speak=self.shipper.owes_acks):
            moved = True
        return moved

    async def collect_in_the_bucket(self) -> None:
        try:
            await self.tidy()
        except (CloudError, ChunkUnavailable):
            return

    async def evict(self) -> None:
        found = self.pick_version()
        if found is not None:
            await self.store.evict(found[1].record.content)


class CollectingWorld(World):
    site_type = CollectingSite
    weights = {**WEIGHTS, "copy": 10, "purge": 12, "upload": 5, "evict": 12, "collect_in_the_bucket": 16}

    async def act(self, site: LiveSite, deed: str) -> None:
        with suppress(ChunkUnavailable):  # 503: it takes evicted bytes that the cloud does not give now
            await super().act(site, deed)

    async def clean_up(self) -> None:
        """Everybody, until nobody has anything left to collect."""
        quiet = 0
        for _ in range(TURNS_MAX):
            self.now_ms += 1000
            moved = [await site.tidy() for site in self.sites]
            quiet = 0 if any(moved) else quiet + 1
            if quiet == 4:  # a walk may take two turns
                return
        raise AssertionError("collection does not come to rest")


async def live(path: Path, seed: int, steps: int = 150) -> int:
    """One world, from its seed; how many packs were deleted."""
    world = CollectingWorld(path, seed)
    try:
        await world.live(steps)
        await world.come_to_rest()
        await world.clean_up()
        await world.come_to_rest()
        await world.check()
        return sum(site.deleted for site in world.sites)
    finally:
        world.close()
