"""Worlds in which machines go away, are forgotten, and come back, while logs are cut and dooms end behind them.

As ``returning_world``, but what comes back is a machine that the realm did not wait for, and that does not know it yet:
it relies on what may be gone, until it hears, and goes on as another site. Until then it gives no local copies up (see
"Not there yet" in replication/DESIGN.md), and may show a value that everybody else has let go of.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from replication.departures import DepartureRefused, count_unread, forget_site
from replication.puller import list_heads
from tests.simulation.departing_world import DepartingWorld
from tests.simulation.machine import Machine
from tests.simulation.returning_world import CHANCES, PHASES, live_phase, rest_and_look

SITES_MIN, SITES_MAX = 3, 4


class ForgottenWorld(DepartingWorld):
    def __init__(self, seed: int, skipped: Collection[int] = ()) -> None:
        super().__init__(seed, skipped)
        self.shape = replace(self.shape, steps=12, keys=1, troubles=0.0, chances=CHANCES)
        self.collecting = replace(self.collecting, point_in_time_ms=0, grace_ms=0, live_share_min=1.0)
        del self.machines[SITES_MAX:]
        while len(self.machines) < SITES_MIN:
            self.join()
        for machine in self.machines:
            machine.start()

    async def run(self) -> None:
        for phase in range(PHASES):
            await live_phase(self, phase)
            self.rng.seed(f"{self.seed} away {phase}")
            await self._go_away(self.rng.choice(self.machines))
            await rest_and_look(self)
            self.rng.seed(f"{self.seed} back {phase}")
            self._come_back()
        await rest_and_look(self)

    async def _depart(self) -> None:
        """Nobody leaves but between two phases."""

    async def _go_away(self, machine: Machine) -> None:
        if len(self.machines) == 1 or not machine.store.shipped().n or self.rng.random() > 0.7:
            return
        self.machines.remove(machine)
        self.away.append(machine)
        self.tell("go away", machine.name)
        by, site = self.rng.choice(self.machines), machine.store.identity().site
        known = {one for one, _ in by.store.pulled()}
        if self.rng.random() > 0.8 or site not in known or by.store.identity().site in self.forgotten:
            return
        if count_unread(by.store, site, await list_heads(self.bucket)):
            return  # who insists all the same gives up what the bucket holds
        try:
            await forget_site(by.store, site, by.store.identity().site, self.time.now_ms, insist=True)
        except DepartureRefused as refused:
            self.tell("refuse", by.name, refused)
        else:
            self.forgotten.add(site)
            self.tell("forget", by.name, site[:8])

    def _come_back(self) -> None:
        for machine in list(self.away):
            if self.rng.random() < 0.8:
                self.away.remove(machine)
                machine.start()
                self.machines.append(machine)
                self.sharings += machine.store.identity().site in self.forgotten
                self.tell("come back", machine.name)

    async def _act(self, machine: Machine) -> None:
        collect = machine.store.collect
        if machine.store.identity().site in self.forgotten:
            machine.store.collect = lambda: 0  # type: ignore[method-assign]
        try:
            await super()._act(machine)
        finally:
            machine.store.collect = collect  # type: ignore[method-assign]
