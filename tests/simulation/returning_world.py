"""Worlds in which machines are started from old backups, over and over, while logs are cut and dooms end behind them.

Elsewhere that takes more than a world has time for: something is doomed, everybody lets go of it, its owner deletes it,
ends the doom, and cuts its log behind a checkpoint, all after a backup was taken that relies on it. Here life comes in
phases: at the end of each all that is there comes to rest and collects until nothing is left to be collected; then some
are rolled back to what was put by in an earlier phase. Checkpoints are many, and none is written at a phase's end by
some, so that old ones are joined, too. Checked besides the promises of every world, at every rest: whatever a site
relies on is in the bucket (``check_relied_on``).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from tests.simulation.checks import check_world
from tests.simulation.shape import Shape, shape_of
from tests.simulation.world import World

CHANCES = [30, 14, 12, 8, 22, 0, 8, 1, 2]
PHASES = 4


def returning_shape(seed: int) -> Shape:
    """Few keys, whose values come again and again; a link that may be bad, but no other bad days."""
    shape = shape_of(seed)
    return replace(shape, sites=2 + seed % 2, steps=12, keys=1, troubles=0.0, cloned=True, chances=CHANCES)


class ReturningWorld(World):
    def __init__(self, seed: int, skipped: Collection[int] = ()) -> None:
        super().__init__(seed, returning_shape(seed), skipped)
        self.collecting = replace(self.collecting, point_in_time_ms=0, grace_ms=0, live_share_min=1.0)
        for machine in self.machines:
            machine.start()

    async def run(self) -> None:
        for phase in range(PHASES):
            await live_phase(self, phase)
            await rest_and_look(self)
            self.rng.seed(f"{self.seed} back {phase}")
            for machine in self.machines:
                if machine.backup is not None and self.rng.random() < 0.5:
                    self._roll_back(machine)
        await rest_and_look(self)

    async def _live_step(self) -> None:
        await super()._live_step()
        self._put_by()

    def _put_by(self) -> None:
        machine = self.rng.choice(self.machines)
        if self.rng.random() < 0.15 and not machine.store.backlog().changes:
            machine.backup = machine.store.fork()
            self.tell("back up", machine.name)


async def live_phase(world: World, phase: int) -> None:
    """The steps of one phase: a hundred numbers each, so that a step is the same whatever stands before it."""
    for step in range(phase * 100, phase * 100 + world.shape.steps):
        world.step = step
        if step in world.skipped:
            continue
        world.rng.seed(f"{world.seed} {world.step}")
        world.time.pass_time(world.rng)
        await world._live_step()
    world.step = phase * 100 + world.shape.steps


async def rest_and_look(world: World) -> None:
    """Everything that is there comes to rest, is looked at, collects until nothing is left, and is looked at again. Bad
    links stay bad.
    """
    rates = {id(machine): machine.link.rates for machine in world.machines}
    world.rng.seed(f"{world.seed} rest {world.step}")
    await world.come_to_rest()
    await check_world(world)
    await world.clean_up()
    await check_world(world)
    for machine in world.machines:
        machine.link.rates = rates.get(id(machine), {})
