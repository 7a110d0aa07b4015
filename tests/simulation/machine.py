"""One machine of a world: a disk, a clock, a link, and the processes that die in a crash.

A crash may come before and after every call to the cloud and every durable step of the store. What still runs of a
dead process finds every call raising ``Crash``, so nothing happens after it. The disk stays; a start is a new shipper
and puller over it, as after a power cut.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from replication.checkpoint_writer import CheckpointWriter, Draft, NotShippedYet
from replication.collector import CollectedRound, Collector
from replication.hydrate import CloudFetcher
from replication.joining import Joiner
from replication.offload import run_at_once
from replication.ports import CloudError, StateNotReady
from replication.puller import Puller
from replication.sealing import Keyring, SealBroken
from replication.settings import ReplicationSettings
from replication.shipper import LogEnded, Shipper
from replication.site_status_format import SiteStatus, encode_site_status
from replication.status import DaemonReport, assess
from replication.subscription import ALL
from replication.tombstones import TombstoneKeeper
from tests.replication.faulty_cloud import Crash, FaultyCloud
from tests.replication.fixed_realm import KEYRING
from tests.replication.memory_site import FrameGone, MemorySite
from tests.simulation.clocks import SiteClock
from tests.simulation.shape import CHANCES, LIMITS
from tests.simulation.subscriptions import choose_list
from tests.simulation.tombstone_checks import announced_logs, check_endings

if TYPE_CHECKING:
    from tests.simulation.world import World


class MortalStore:
    """The store as a process sees it: it may die around every durable step."""

    def __init__(self, store: MemorySite, link: FaultyCloud, true_ms: Callable[[], int]) -> None:
        self._store, self._link, self._true_ms = store, link, true_ms

    def __getattr__(self, name: str):
        return getattr(self._store, name)

    async def record_shipped(self, *given) -> None:
        self._link.may_crash("before the cursor")
        await self._store.record_shipped(*given)
        self._link.may_crash("after the cursor")

    async def record_pulled(self, *given) -> None:
        self._link.may_crash("before a batch is applied")
        await self._store.record_pulled(*given)
        self._link.may_crash("after a batch was applied")

    async def subscribe(self, patterns) -> None:
        if (patterns or ALL) != self._store.subscription.shown:
            self._link.may_crash("before it subscribes")
            await self._store.subscribe(patterns)
            self._link.may_crash("after it subscribed")

    async def begin_join(self, *given) -> None:
        self._link.may_crash("before a join")
        await self._store.begin_join(*given)
        self._link.may_crash("after a join began")

    async def fold_slice(self, *given) -> None:
        self._link.may_crash("before a slice")
        await self._store.fold_slice(*given)
        self._link.may_crash("after a slice")

    async def end_join(self) -> None:
        self._link.may_crash("before a join is done")
        await self._store.end_join()
        self._link.may_crash("after a join is done")

    async def restate(self, *given) -> int:
        self._link.may_crash("before it writes again")
        count = await self._store.restate(*given)
        self._link.may_crash("after it wrote again")
        return count

    async def issue_anew(self, *given) -> int:
        self._link.may_crash("before it issues anew")
        count = await self._store.issue_anew(*given)
        self._link.may_crash("after it issued anew")
        return count

    async def doom(self, *given) -> None:
        self._link.may_crash("before a doom")
        await self._store.doom(*given)
        self._link.may_crash("after a doom")

    async def record_horizon(self, *given) -> None:
        self._link.may_crash("before a horizon")
        await self._store.record_horizon(*given)
        self._store.horizon_known_ms = self._true_ms()
        self._link.may_crash("after a horizon")

    async def end_tombstones(self, *given) -> int:
        self._link.may_crash("before tombstones end")
        count = await self._store.end_tombstones(*given)
        self._link.may_crash("after tombstones ended")
        return count

    async def record_doom(self, *given) -> None:
        self._link.may_crash("before a doom went on")
        await self._store.record_doom(*given)
        self._link.may_crash("after a doom went on")


class Machine:
    refresh_keys: Callable[[], Awaitable[None]] | None = None

    def keyring(self) -> Keyring:
        """The realm's keys as this machine's processes know them."""
        return KEYRING

    def make_store(self, name: str, seed: int) -> MemorySite:
        """An empty disk."""
        return MemorySite(KEYRING, name.encode(), self.clock.wall_ms, seed)

    def tell_status(self, unsent: int) -> bytes:
        """What it tells of itself with every batch."""
        return encode_site_status(SiteStatus(name=self.name, backlog_changes=unsent))

    def __init__(self, world: World, name: str, store: MemorySite | None = None) -> None:
        self.world, self.name, rng = world, name, world.rng
        self.clock = SiteClock(world.time, rng)
        self.store = store or self.make_store(name, rng.randrange(1 << 30))
        self.store.wall_ms = self.clock.wall_ms
        self.link = FaultyCloud(world.bucket, rng, world.shape.rates, struck=world.faults)
        self.settings = ReplicationSettings(
            limits=rng.choice(LIMITS if world.shape.chances is CHANCES else LIMITS[::2]),
            uploads_max=2,
            prefetch_max=rng.randint(1, 3),
        )
        self.backup: MemorySite | None = None
        self.wanted = choose_list(world, name) if world.subscribes else ()
        """Which buckets it is to take in (none: all), as of its last start."""
        self.start()

    def start(self) -> None:
        self.link = self.link.restarted()
        self.store.fetcher = CloudFetcher(self.link)
        self._running: set[str] = set()
        self.mortal = mortal = MortalStore(self.store, self.link, lambda: self.world.time.now_ms)
        wall_ms = self.clock.wall_ms
        self.shipper = Shipper(
            *(mortal, mortal, self.link, self.keyring, self.settings),
            wall_ms=wall_ms,
            offload=run_at_once,
            draw=self.world.rng.randbytes,
            tell_status=self.tell_status,
            bring=self.store.bring,
            refresh_keys=self.refresh_keys,
        )
        self.puller = Puller(
            *(mortal, self.link, self.keyring),
            wall_ms=wall_ms,
            refresh_keys=self.refresh_keys,
            prefetch_max=self.settings.prefetch_max,
            own_log_ahead=self.shipper.look_again,
        )
        self.joiner = Joiner(mortal, mortal, self.link, self.keyring, refresh_keys=self.refresh_keys)
        self.checkpoints = CheckpointWriter(
            *(mortal, mortal, self.link, self.keyring), wall_ms=wall_ms, offload=run_at_once, part_bytes=400
        )
        self.draft: Draft | None = None
        fetcher = CloudFetcher(self.link)
        self.collector = Collector(
            *(mortal, mortal, self.shipper, self.link, fetcher, self.store.bring, self.keyring),
            replace(self.world.collecting, enabled=self.collects),
            wall_ms=wall_ms,
            steady_ms=lambda: self.world.time.now_ms,
            offload=run_at_once,
        )
        self.keeper = TombstoneKeeper(
            *(mortal, mortal, self.link, self.world.tombstones_ms),
            trusted_ms=lambda: self.world.time.now_ms,
            offload=run_at_once,
        )

    @property
    def collects(self) -> bool:
        """Whether it deletes in the bucket: not if it does not know all of the realm."""
        return not self.wanted

    @property
    def ends_tombstones(self) -> bool:
        return self.world.forgets and not self.wanted

    async def pull(self) -> str:
        await self.mortal.subscribe(self.wanted)
        if not self.store.shipped().n:  # everybody waits for its acks before it reads anything
            await self.shipper.ship_round(speak=True)
        joined = await self.joiner.join_if_useful(self.puller.cut)
        if joined is not None:
            self.world.deeds["joined by checkpoint"] += 1
        return str(await self.puller.pull_round())

    async def checkpoint(self) -> str:
        """Scan, or make the last scan count once all it saw is shipped."""
        try:
            if self.draft is None:
                self.draft = await self.checkpoints.scan()
            manifest = await self.checkpoints.publish(self.draft)
        except (NotShippedYet, StateNotReady) as reason:
            if isinstance(reason, StateNotReady):
                self.draft = None
            return f"checkpoint: {reason}"
        self.draft = None
        self.world.deeds["checkpoint written"] += 1
        return f"{len(manifest.parts)} parts, {manifest.slices} slices"

    async def replicate(self, verb: str) -> str:
        """One round, and what came of it; a cloud that does not answer is waited out. One round of a kind at a time."""
        kind = "pull" if verb == "tidy" else verb
        if kind in self._running:
            return f"{verb}: under way already"
        running = self._running
        running.add(kind)
        try:
            done = await self._verbs().get(verb, self.shipper.ship_round)()
        except (LogEnded, SealBroken) as error:  # SealBroken: damaged on its way; the daemon tries again
            return f"{verb}: {error}"
        except Crash:
            return f"{verb}: crash"
        except CloudError as error:
            return f"{verb}: {error}"
        except FrameGone:
            return f"{verb}: collected meanwhile"
        finally:
            running.discard(kind)
        return f"{verb}: {done}"

    async def tidy(self) -> CollectedRound:
        """Collection in the bucket as the daemon goes about it: all news first, acknowledgements last."""
        if self.shipper.fenced or not self.store.shipped().n:
            await self.shipper.ship_round(speak=True)  # what parted goes on as another first
        await self.mortal.subscribe(self.wanted)
        await self.joiner.join_if_useful(self.puller.cut)
        pulled = await self.puller.pull_round()
        await self.joiner.join_if_useful()  # it may be over now
        if self.store.joining() is not None:
            return CollectedRound()
        done = await self.collect(caught_up=not pulled.stopped)
        if self.ends_tombstones and not pulled.stopped:
            done = done.plus(CollectedRound(ended=await self._end_tombstones()))
        while await self.shipper.ship_round(speak=self.shipper.owes_acks):
            pass
        return done

    async def collect(self, *, caught_up: bool) -> CollectedRound:
        """What the daemon collects in a turn."""
        return await self.collector.collect_round(caught_up=caught_up)

    async def _end_tombstones(self) -> int:
        """Look three times: a horizon that was just found must wait all the same."""
        ended = 0
        for _ in range(3):
            known, logs = len(self.store.endings), announced_logs(self.world)
            try:
                ended += await self.keeper.end_due()
            finally:
                check_endings(self.world, self, known, logs)
        return ended

    def _verbs(self):
        return {
            "speak": lambda: self.shipper.ship_round(speak=True),
            "pull": self.pull,
            "checkpoint": self.checkpoint,
            "tidy": self.tidy,
        }

    async def fetch(self, rng: random.Random) -> str:
        """A client reads something whose bytes may lie in the bucket only."""
        store = self.store
        refs = [ref for ref in store.live_refs() if store.read(ref.id) is None and store.locate([ref.id])]
        if not refs:
            return ""
        self.store.fetcher = CloudFetcher(self.link)
        try:
            await self.store.bring([rng.choice(refs).id])
        except (Crash, CloudError, ValueError) as error:
            return f"fetch: {error}"
        return "fetch"

    def says_safe(self) -> bool:
        """The exact answer of ``skerry status``, with a realm that is published and has a recovery key."""
        report = DaemonReport(self.clock.wall_ms(), fenced=self.shipper.fenced or self.shipper.waits, published=True)
        store = self.store
        status = assess(
            store.backlog(), store.shipped(), report, has_cloud=True, recoverable=True, now_ms=self.clock.wall_ms()
        )
        return status.safe_to_lose
