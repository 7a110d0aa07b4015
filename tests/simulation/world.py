"""One world of a seed: some machines, their bucket, time, and everything that goes wrong. Deterministic: no thread, no
wall clock.

A world lives step by step. In each, a few things happen side by side (clients write, machines ship, pull, fetch), or
one trouble does (a disk is lost, copied, rolled back, a site is replaced, or goes away and comes back). Every step has
dice of its own, made of seed and number, so that leaving one out changes no other: that is how a story is made short.
Then the link is mended, everything comes to rest, and ``checks`` looks at the promises.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from replication.freight import Doubtful
from replication.ports import CloudError, Origin
from replication.restore import RestoreIncomplete, close_log
from replication.sealing import Keyring
from tests.replication.faulty_cloud import Crash, FaultyCloud
from tests.replication.fixed_realm import KEYRING
from tests.replication.memory_site import MemorySite
from tests.simulation.bucket import RememberedBucket
from tests.simulation.checks import (
    Broken,
    Witness,
    check_garbage,
    check_leaving,
    check_machine,
    check_world,
    clients_changes,
)
from tests.simulation.clients import Client
from tests.simulation.clocks import YEAR_MS, TrueClock
from tests.simulation.ledger import Ledger, token_of
from tests.simulation.machine import Machine
from tests.simulation.shape import DEEDS, Shape, collecting_of, shape_of
from tests.simulation.subscriptions import BUCKETS, change_minds, has_subscriptions
from tests.simulation.tombstone_checks import Buried

TURNS_MAX = 60
CLEAN_TURNS_MAX = 200


class World:
    machine_kind: type[Machine] = Machine
    retired: Sequence[Machine] = ()
    keyring: Keyring = KEYRING
    """Every key that the realm ever had: what the checks look through."""

    @property
    def published(self) -> Keyring:
        """The keys as the bucket holds them now."""
        return self.keyring

    def __init__(self, seed: int, shape: Shape | None = None, skipped: Collection[int] = ()) -> None:
        self.seed, self.skipped = seed, frozenset(skipped)
        self.shape = shape or shape_of(seed)
        self.subscribes = has_subscriptions(seed)
        if self.subscribes:
            self.shape = replace(self.shape, buckets=BUCKETS)
        self.rng = random.Random(f"world {seed}")
        self.time = TrueClock()
        self.bucket = RememberedBucket()
        self.bucket.on_leaving = lambda name: check_leaving(self, name)
        self.collecting = collecting_of(self.shape, seed)
        self.witness = Witness(self)
        self.ledger = Ledger()
        self.forgets = seed % 2 == 1
        """Whether tombstones are ended: every second world."""
        self.buried: list[Buried] = []
        self.faults: Counter[str] = Counter()
        self.deeds: Counter[str] = Counter()
        self.story: list[tuple[int, int, str]] = []
        self.step = -1
        self.named = 0
        self.sharings = 0
        """How often something happened by which one identity came to more than one machine, or was ended."""
        self.machines: list[Machine] = []
        self.away: list[Machine] = []
        self.old_links: list[FaultyCloud] = []
        for _ in range(self.shape.sites):
            self.join()

    def tell(self, deed: str, *more: object) -> None:
        self.deeds[deed] += 1
        self.story.append((self.step, self.time.now_ms, " ".join([deed, *map(str, more)])))

    def join(self) -> Machine:
        """A machine with an empty disk and an identity of its own."""
        self.named += 1
        machine = self.machine_kind(self, f"site-{self.named}")
        self.machines.append(machine)
        return machine

    async def run(self) -> None:
        for step in range(self.shape.steps):
            self.step = step
            if step in self.skipped:
                continue
            self.rng.seed(f"{self.seed} {self.step}")
            self.time.pass_time(self.rng)
            await self._live_step()
        self.step = self.shape.steps
        self.rng.seed(f"{self.seed} rest")
        await self.come_to_rest()
        await check_world(self)
        await self.clean_up()
        await check_world(self)
        check_garbage(self)

    @property
    def tombstones_ms(self) -> int:
        """How long a tombstone stays that everybody has seen."""
        return max(self.collecting.grace_ms, self.collecting.point_in_time_ms)

    def is_out(self, site: bytes) -> bool:
        """Whether the realm waits for this site no more."""
        return False

    def counted(self, origin: Origin, head_n: int) -> int:
        """How many batches of a log count at the end; of a site that was forgotten those up to the cut."""
        return head_n

    # what happens

    async def _live_step(self) -> None:
        if self.subscribes:
            change_minds(self)
        if self.rng.random() < self.shape.troubles:
            await self._trouble()
            return
        if self.rng.random() < self.shape.silence:
            machine = self.rng.choice(self.machines)
            machine.link.partitioned = not machine.link.partitioned
            self.tell("cut the link" if machine.link.partitioned else "mend the link", machine.name)
        acting = [self.rng.choice(self.machines) for _ in range(self.rng.choice([1, 2, 3]))]
        await asyncio.gather(*[self._act(machine) for machine in acting])
        for machine in dict.fromkeys(acting):
            if machine.link.crashed:
                machine.start()
            check_machine(self, machine)

    async def _act(self, machine: Machine) -> None:
        deed = self.rng.choices(DEEDS, self.shape.chances)[0]
        for _ in range(self.rng.randint(0, 4)):
            await asyncio.sleep(0)
        if machine.link.crashed:
            return
        match deed:
            case "write":
                for _ in range(self.rng.choice([1, 1, 1, 4])):
                    kind = Client(machine.store, self.ledger, self.rng, self.shape).act()
                    if kind:
                        self.tell(kind, machine.name, f"#{len(self.ledger.written)}")
            case "jump":
                machine.clock.jump(self.rng)
                self.tell("clock jump", machine.name, machine.clock.skew_ms)
            case "collect":
                self.tell("collect", machine.name, machine.store.collect())
            case "restart":
                machine.start()
                self.tell("restart", machine.name)
            case "read":
                self.tell("read", machine.name, await machine.fetch(self.rng))
            case _:
                self.tell(deed, machine.name, await machine.replicate(deed))

    async def _trouble(self) -> None:
        machine = self.rng.choice(self.machines)
        match self.rng.randrange(9):
            case 0 if len(self.machines) < max(8, self.shape.sites):
                self.tell("join", self.join().name)
            case 1 | 2:
                self._lose(machine)
            case 3 if self.away:
                back = self.away.pop(self.rng.randrange(len(self.away)))
                back.start()
                self.machines.append(back)
                self.tell("come back", back.name)
            case 3 | 4 if len(self.machines) > 1:
                self.machines.remove(machine)
                self.away.append(machine)
                self.tell("go away", machine.name)
            case 5 if self.away:
                await self._replace(self.rng.choice(self.away))
            case 6 if self.shape.cloned:
                machine.backup = machine.store.fork()
                self.tell("back up", machine.name)
            case 7 if machine.backup is not None:
                self._roll_back(machine)
            case 8 if self.shape.cloned and len(self.machines) < 8:
                self._clone(machine)

    def _lose(self, machine: Machine) -> None:
        """A disk dies. If it said that it was safe to lose, nothing may be missed."""
        safe = machine.says_safe()
        if not safe:
            if self.rng.random() < 0.5:
                return
            self._forfeit(machine)
        self.machines.remove(machine)
        self.old_links.append(machine.link)
        self.tell("lose a safe disk" if safe else "lose an unsafe disk", machine.name)
        if not self.machines or self.rng.random() < 0.7:
            self.tell("join", self.join().name)

    def _forfeit(self, machine: Machine, kept: MemorySite | None = None) -> None:
        """What it had not sent goes with the disk, but for what is ``kept`` elsewhere."""
        lost = {token_of(change.body) for change in clients_changes(machine.store.own[machine.store.shipped().seq :])}
        self.ledger.forfeit(lost - {token_of(change.body) for change in clients_changes(kept.own)} if kept else lost)

    def _roll_back(self, machine: Machine) -> None:
        assert machine.backup is not None
        self._forfeit(machine, machine.backup)
        self.sharings += 1
        machine.store = machine.backup.fork()
        machine.store.wall_ms = machine.clock.wall_ms
        machine.start()
        self.tell("roll back", machine.name)

    def _clone(self, machine: Machine) -> None:
        self.named, self.sharings = self.named + 1, self.sharings + 1
        other = self.machine_kind(self, f"{machine.name}-copy-{self.named}", machine.store.fork())
        self.machines.append(other)
        self.tell("clone", machine.name, "as", other.name)

    async def _replace(self, machine: Machine) -> None:
        """Somebody believes it lost, ends its log and takes a new site instead. It may come back."""
        self.sharings += 1
        identity = machine.store.identity()
        await close_log(self.bucket, self.published, (identity.site, identity.incarnation), self.time.now_ms)
        self.tell("replace", machine.name, "by", self.join().name)

    # the end

    async def come_to_rest(self) -> None:
        for link in [*self.old_links, *[machine.link for machine in self.away]]:
            await link.settle()  # what a lost machine had sent may still arrive
        for machine in self.machines:
            await machine.link.settle()
            machine.link.partitioned, machine.link.rates = False, {}
            machine.start()
        for _ in range(TURNS_MAX):
            if not await self._turn():
                return
        raise Broken("does not come to rest")

    async def clean_up(self) -> None:
        """Time passes, and everybody collects until nothing is left to be collected."""
        quiet = 0
        self.time.now_ms += 2 * YEAR_MS  # whatever a clock that was ahead has put off
        for machine in self.machines:
            machine.clock.skew_ms = 0
            await self._checkpoint(machine)
        for turn in range(CLEAN_TURNS_MAX):
            self.time.now_ms += self.collecting.point_in_time_ms + self.collecting.grace_ms + 1
            collected = False
            for machine in self.machines:
                try:
                    if turn < 3:  # a batch more ends whatever round was in flight
                        await machine.shipper.ship_round(speak=True)
                    collected = await self._collect_all(machine) or collected
                except CloudError:  # its log parted from the bucket's, or it stumbled over what was late: once more
                    collected = True
                check_machine(self, machine)
            quiet = 0 if collected or turn < 3 else quiet + 1
            if quiet == 3:
                return
        raise Broken("collection does not come to rest")

    async def _checkpoint(self, machine: Machine) -> None:
        """Most write a checkpoint, so that the beginning of their logs may go."""
        if self.rng.random() < 0.7:
            self.tell("checkpoint", machine.name, await machine.replicate("checkpoint"))

    async def _collect_all(self, machine: Machine) -> bool:
        """Until a walk over its objects is at its end; whether there was anything to do."""
        collected, walking = False, True
        while walking:
            done = await machine.tidy()
            self.deeds["objects doomed"] += done.doomed
            self.deeds["objects deleted"] += done.deleted
            self.deeds["batches deleted"] += done.batches
            self.deeds["indexes deleted"] += done.indexes
            self.deeds["orphans deleted"] += done.orphans
            self.deeds["dooms ended"] += done.dooms_ended
            collected, walking = collected or bool(done), machine.collector.is_walking
        return collected

    async def _turn(self) -> bool:
        """Everybody ships all and pulls once; whether anything moved."""
        moved, stopped = await self._ship_all(), ""
        for machine in self.machines:
            await machine.store.subscribe(machine.wanted)
            joined = await machine.joiner.join_if_useful(machine.puller.cut)
            pulled = await machine.puller.pull_round()
            moved = moved or bool(pulled.batches) or joined is not None or pulled.waits
            moved = moved or machine.joiner.may_help(machine.puller.cut)  # which was just found
            if pulled.stopped:
                stopped = f"{machine.name}: a log is stopped: {machine.puller.states}, {machine.joiner.problems}"
        if stopped and not moved:
            raise Broken(stopped)
        return moved

    async def _ship_all(self) -> bool:
        moved = False
        for machine in self.machines:
            try:
                while await machine.shipper.ship_round():
                    moved = True
            except Doubtful:
                moved = True
        return moved


def live(seed: int, skipped: Collection[int] = ()) -> World:
    """Let the world of one seed live; ``Broken`` if a promise does not hold in it."""
    world = World(seed, skipped=skipped)
    live_with(world)
    return world


def live_with(world: World) -> None:
    """Let a world live; ``Broken`` if a promise does not hold in it."""
    asyncio.run(run_world(world))


async def run_world(world: World) -> None:
    try:
        await world.run()
    except Broken as broken:
        raise Broken(f"seed {world.seed}: {broken}") from broken
    except (Crash, CloudError, RestoreIncomplete, AssertionError, ValueError, KeyError, TypeError) as error:
        raise Broken(f"seed {world.seed}: {error!r}") from error
