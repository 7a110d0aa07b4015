"""One-line faults of subscriptions, each of which the simulated worlds must notice: see ``test_planted``."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from gateway.store import subscription_rows
from gateway.store.item_format import FAMILY_DOOM
from replication.ports import ExportStart
from replication.settings import CollectSettings
from tests.replication.memory_site import MemorySite
from tests.simulation.machine import Machine
from tests.simulation.shape import shape_of
from tests.simulation.world import World

CHANCES = [36, 20, 16, 3, 18, 0, 7, 0, 0]
OFTEN = [34, 16, 12, 1, 30, 0, 7, 0, 0]
EAGER = CollectSettings(point_in_time_ms=0, grace_ms=0, acquaint_ms=0, live_share_min=1.0, objects_max=16)


def in_subscribing(seed: int, **more: Any) -> World:
    """With three sites that collect what they can, a good link, and lists that change."""
    seed = 8 * seed + 5
    shape = replace(shape_of(seed), sites=3, steps=70, keys=2, troubles=0.0, rates={}, chances=CHANCES)
    world = World(seed, replace(shape, **more))
    world.collecting = EAGER
    for machine in world.machines:
        machine.start()
    return world


def in_wasting(seed: int) -> World:
    """Of a long life, in which much is overwritten and collected."""
    return in_subscribing(seed, steps=120, keys=1, chances=OFTEN)


def pass_over_dooms(patch):
    """Acknowledged, and what is needed of their objects is not moved."""
    families = subscription_rows._OBJECT_FAMILIES | {FAMILY_DOOM}
    patch.setattr(subscription_rows, "_OBJECT_FAMILIES", families)


def forget_where_lies_what_is_passed_over(patch):
    real = MemorySite.record_pulled

    async def record_pulled(self, batch):
        if self._pass_over(batch.changes) != tuple(batch.changes):
            batch = replace(batch, located=())
        await real(self, batch)

    patch.setattr(MemorySite, "record_pulled", record_pulled)


def forget_where_things_lie_with_a_shorter_list(patch):
    real = MemorySite.subscribe

    async def subscribe(self, patterns):
        before = self.subscription
        await real(self, patterns)
        if before != self.subscription and before.taken == self.subscription.taken:
            self.places = {}

    patch.setattr(MemorySite, "subscribe", subscribe)


def forget_dooms_when_it_rewinds(patch):
    """Nothing caps its acknowledgements, and what it reads again lies in objects that are gone."""
    real = MemorySite.subscribe

    async def subscribe(self, patterns):
        before = self.remotes
        await real(self, patterns)
        if self.remotes is not before:
            self.doomed = {}

    patch.setattr(MemorySite, "subscribe", subscribe)


def take_in_more_without_a_rewind(patch):
    real = subscription_rows.resubscribe

    def resubscribe(row, wanted, known, *, is_new):
        found, _ = real(row, wanted, known, is_new=is_new)
        return replace_row(found), False

    def replace_row(row):
        return subscription_rows.SubscriptionRow(row.taken, row.shown)

    patch.setattr("tests.replication.memory_subscription.resubscribe", resubscribe)


def call_part_of_the_realm_the_whole(patch):
    real = MemorySite.begin_export

    def begin_export(self):
        start = real(self)
        return ExportStart(start.vector, start.slices)

    patch.setattr(MemorySite, "begin_export", begin_export)


def end_tombstones_that_it_does_not_see_all_of(patch):
    patch.setattr(Machine, "ends_tombstones", property(lambda self: self.world.forgets))


PLANTED = [
    forget_where_lies_what_is_passed_over,
    forget_where_things_lie_with_a_shorter_list,
    take_in_more_without_a_rewind,
    call_part_of_the_realm_the_whole,
    end_tombstones_that_it_does_not_see_all_of,
]
PLANTED_IN_WASTING = [pass_over_dooms, forget_dooms_when_it_rewinds]
