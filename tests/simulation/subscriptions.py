"""Worlds in which machines take in some buckets of the realm, or none, and change their minds.

Every eighth world (``has_subscriptions``), of every kind, with three buckets. About half of the machines take in less
than all; now and then one is given another list and started again: a longer one rewinds it, a shorter one hides. As
in the real daemon a machine that is to take in less than all deletes nothing in the bucket and ends no tombstones, and
its clients see and write what it shows.

Dice of their own, made of seed, step and name: other worlds live as if none of this were there.
"""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

from gateway.store.item_format import UID_SIZE
from replication.crdt import Dot
from replication.subscription import matches
from tests.replication.memory_site import Item, MemorySite
from tests.replication.memory_subscription import OF_OBJECTS, name_of

if TYPE_CHECKING:
    from tests.simulation.world import World


class WronglyShown(AssertionError):
    """A machine shows, or hides, what it should not."""


State = dict[Item, tuple[tuple[Dot, bytes], ...]]
BUCKETS = 3
CHANGED_MIND = 0.12
NOTHING = ("none-of-them",)
SHORT = [
    NOTHING, NOTHING, *[(f"bucket-{number:09}",) for number in range(BUCKETS)],
    ("bucket-000000000", "bucket-000000002"), ("bucket-00000000*",),
]  # fmt: skip
"""What a machine may be told to take in that is not to take in all."""


def has_subscriptions(seed: int) -> bool:
    """Whether there are any in the world of a seed."""
    return seed % 8 == 5


def choose_list(world: World, name: str) -> tuple[str, ...]:
    """What a machine is to take in, from this step on."""
    return random.Random(f"subscribing {world.seed} {world.step} {name}").choice([(), (), (), *SHORT])


def change_minds(world: World) -> None:
    """Perhaps some machine is given another list in this step, and started with it."""
    rng = random.Random(f"changed mind {world.seed} {world.step}")
    if rng.random() < CHANGED_MIND and world.machines:
        machine = rng.choice(world.machines)
        wanted = rng.choice([(), *SHORT])
        if wanted != machine.wanted:
            machine.wanted = wanted
            machine.start()
            world.tell("subscribe", machine.name, *wanted)


def shown_of(store: MemorySite, state: State) -> State:
    """The part of a state that this machine is to show."""
    return {item: live for item, live in state.items() if store.shows(*item)}


def check_shown(name: str, store: MemorySite, mine: State, whole: State) -> None:
    """At rest it shows exactly what it subscribed to of the whole state; it holds nothing else, but what it wrote."""
    if store.subscription.high:
        raise WronglyShown(f"{name} still takes in what it subscribed to")
    if shown_of(store, mine) != shown_of(store, whole):
        raise WronglyShown(f"{name} does not show exactly what it subscribed to")
    for (family, item), live in mine.items():
        of_others = any(not store.is_own(dot) for dot, _ in live)
        if family in OF_OBJECTS and of_others and not matches(store.subscription.taken, name_of(item[:UID_SIZE])):
            raise WronglyShown(f"{name} took in what it did not subscribe to: {item!r}")
