"""Worlds whose clocks are right, and whose sites keep for twenty days what nobody needs any more: is it kept that long?

Elsewhere clocks jump, and nothing can be said of how long something was kept. Here it can, whenever an object leaves
the bucket:

* a pack, or a batch with frames in it: whatever of them any machine needed within the retention lies in another object;
* a batch: it was sent before the retention, so a bucket can be read as it was at any time within.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from replication.batch_format import decode_batch
from replication.cloud_names import is_pack_name, split_log_name
from replication.settings import CollectSettings
from tests.replication.fixed_realm import KEYRING
from tests.replication.memory_site import MemorySite
from tests.simulation.clocks import DAY_MS
from tests.simulation.machine import Machine
from tests.simulation.shape import Shape, shape_of
from tests.simulation.world import World

CHANCES = [34, 18, 12, 8, 28, 0, 6, 2, 0]
RETENTION_MS = 20 * DAY_MS


class LeftEarly(AssertionError):
    """Something left the bucket before its time."""


def retaining_shape(seed: int) -> Shape:
    """Much collection, small rounds, no bad days: who goes away is not asked what it keeps."""
    return replace(shape_of(seed), sites=2, steps=70, keys=1, troubles=0.0, rates={}, cloned=False, chances=CHANCES)


class RetainingWorld(World):
    def __init__(self, seed: int, skipped: Collection[int] = ()) -> None:
        super().__init__(seed, retaining_shape(seed), skipped)
        self.collecting = CollectSettings(
            point_in_time_ms=RETENTION_MS, grace_ms=0, acquaint_ms=self.collecting.acquaint_ms, live_share_min=0.9
        )
        self.bucket.on_any_leaving = self._check_age
        for machine in self.machines:
            machine.start()

    def join(self) -> Machine:
        machine = super().join()
        machine.clock.skew_ms = 0
        return machine

    def _check_age(self, name: str) -> None:
        n, since_ms = split_log_name(name), self.time.now_ms - RETENTION_MS
        if n is not None:
            origin = (bytes.fromhex(name[6:38]), bytes.fromhex(name[39:55]))
            if decode_batch(KEYRING, origin, n, self.bucket.objects[name]).sent_ms > since_ms:
                raise LeftEarly(f"a batch left that was sent within the retention: {name}")
        if n is not None or is_pack_name(name):
            for machine in self.machines:
                self._check_needed(machine.name, machine.store, name, since_ms)
            self.deeds["left in time"] += 1

    def _check_needed(self, who: str, store: MemorySite, name: str, since_ms: int) -> None:
        needed = {ref.id for ref in store.live_refs()}
        for frame, places in store.places.items():
            was_needed = frame.chunk_id in needed or store.released.get(frame.chunk_id, 0) > since_ms
            if name in places and was_needed and not self._is_elsewhere(store, frame.chunk_id, name):
                raise LeftEarly(f"{who} needed within the retention what lies in {name} only")

    def _is_elsewhere(self, store: MemorySite, chunk: bytes, leaving: str) -> bool:
        names = {name for frame, places in store.places.items() if frame.chunk_id == chunk for name in places}
        return any(name in self.bucket.objects for name in names - {leaving})
