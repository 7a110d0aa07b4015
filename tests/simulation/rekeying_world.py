"""Worlds in which keys are rotated, everything is sealed anew under the later ones, and the old ones end.

Beside all that happens in other worlds somebody says ``keys rotate``, ``rekey`` or ``keys drop-epoch`` on some machine,
again and again. Every second world is one of copies and backups, every other one of sites that retire, are forgotten
and come back (``departing_world``). What is checked besides their promises:

* whenever a machine acted: it has the key to whatever lies on its disk, and to whatever a client sees here some key is
  here or in the bucket;
* when ``drop-epoch`` does not refuse: nothing that counts is sealed under that epoch, in the bucket or on the disk of
  any machine that is known to others;
* at the end, where everybody is there, every epoch that was to end can be dropped, and then nothing at all is sealed
  under one that was; the bucket and the realm's root key, by the keys that are left, rebuild everything.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from replication.cloud_names import (
    REALM,
    SITES_PREFIX,
    split_head_name,
    split_index_name,
    split_log_name,
)
from replication.key_rotation import DROPPED_PREFIX
from replication.member_format import read_register
from replication.membership import take_census
from replication.puller import list_heads
from replication.sealing import Keyring
from tests.replication.fixed_realm import KEYRING
from tests.simulation.checks import Broken
from tests.simulation.departing_world import DepartingWorld
from tests.simulation.machine import Machine
from tests.simulation.rekeying_machine import RekeyingMachine, open_objects, realm_objects
from tests.simulation.world import World

CHANCES = [28, 18, 14, 4, 24, 1, 6, 2, 3]
COMMANDS = {"rotate": 2, "renew": 1, "rekey": 4, "drop": 4}
COMMANDED = 0.25
EPOCHS_MAX = 5
STEPS_MORE = 15


class Rekeying(World):
    """What is added to a world of another kind."""

    machine_kind = RekeyingMachine
    machines: list[RekeyingMachine]

    def __init__(self, seed: int, skipped: Collection[int] = ()) -> None:
        self._epochs = dict(KEYRING.epochs)
        self._opened: tuple[frozenset[str], Keyring] | None = None
        self.dropped: set[bytes] = set()
        super().__init__(seed, skipped=skipped)
        self.shape = replace(self.shape, chances=CHANCES, steps=self.shape.steps + STEPS_MORE)

    # keys

    @property
    def keyring(self) -> Keyring:
        return replace(KEYRING, epochs=self._epochs)

    @property
    def published(self) -> Keyring:
        objects = self.bucket.objects
        names = frozenset(name for name in objects if name.startswith("keys/"))
        if self._opened is None or self._opened[0] != names:
            self._opened = (names, open_objects(objects).keyring)
        return self._opened[1]

    def keys_at_join(self) -> dict[str, bytes]:
        """What a new machine takes from the bucket; the first one puts it there."""
        if REALM not in self.bucket.objects:
            self.bucket.objects |= realm_objects()
        kept = ("realm", "keys/")
        return {
            name: data
            for name, data in self.bucket.objects.items()
            if name.startswith(kept) and not name.startswith(DROPPED_PREFIX)
        }

    def note_keys(self, keyring: Keyring) -> None:
        self._epochs |= keyring.epochs

    def note_dropped(self, machine: RekeyingMachine, epoch: bytes) -> None:
        if f"{DROPPED_PREFIX}{epoch.hex()}" in self.bucket.objects:
            self.dropped.add(epoch)
            self.tell("an epoch ends", machine.name, epoch.hex())

    # what happens

    async def _live_step(self) -> None:
        await super()._live_step()
        if self.rng.random() < COMMANDED and self.machines:
            machine = self.rng.choice(self.machines)
            verb = self.rng.choices(list(COMMANDS), list(COMMANDS.values()))[0]
            if len(self._epochs) < EPOCHS_MAX or verb in ("rekey", "drop"):
                self.tell(verb, machine.name, await machine.command(verb))
            if machine.link.crashed:
                machine.start()
        for machine in self.machines:
            self.check_keys(machine)

    def check_keys(self, machine: RekeyingMachine) -> None:
        """It can open what lies on its disk."""
        known = open_objects(machine.store.keys).keyring.epochs
        for epoch, count in machine.store.sealed_here().items():
            if count and epoch not in known:
                raise Broken(f"{machine.name} gave up the key to {count} things on its disk")

    def check_drop(self, machine: RekeyingMachine, epoch: bytes) -> None:
        """Nobody needs this epoch."""
        announced = {head.origin for name in self.bucket.objects if (head := split_head_name(name))}
        for other in (*self.machines, *self.away):
            identity = other.store.identity()
            known = (identity.site, identity.incarnation) in announced and not self.is_out(identity.site)
            if known and not self.sharings and other.store.sealed_here().get(epoch):
                raise Broken(f"{machine.name} may end an epoch that lies on the disk of {other.name}")
        if not self.sharings:
            for name in self.sealed_under(epoch):
                if (bytes.fromhex(name[6:38]), bytes.fromhex(name[39:55])) in announced and self._counts(machine, name):
                    raise Broken(f"{machine.name} may end the epoch of {name}")

    def sealed_under(self, epoch: bytes) -> list[str]:
        """Objects in the bucket that are, or in which something is, but for what stands behind a cut."""
        objects = self.bucket.objects
        return [name for name, data in objects.items() if name.startswith(SITES_PREFIX) and epoch in data]

    def _counts(self, machine: RekeyingMachine, name: str) -> bool:
        """Whether an object of a known log counts: not what a site that is out had put behind its cut, for all this
        machine knows.
        """
        site, incarnation = bytes.fromhex(name[6:38]), bytes.fromhex(name[39:55])
        removal = read_register(machine.store.statements()).removed.get(site)
        if removal is None:
            return True
        n = split_log_name(name) or split_index_name(name)
        if n is not None:
            return n <= removal.counts(incarnation)
        others = [one.store for one in self.machines if all(site != former[0] for former in one.store.former_logs())]
        return any(held.name == name for store in others for held in store.held_objects(name[:-1], "", 1, 0))

    # the end

    async def come_to_rest(self) -> None:
        await super().come_to_rest()
        for machine in self.machines:
            self.check_keys(machine)

    async def _turn(self) -> bool:
        for machine in self.machines:
            await machine.enter()
        return await super()._turn()

    async def _checkpoint(self, machine: Machine) -> None:
        if machine is self.machines[0] and self.rng.random() < 0.8:
            for verb in ("rotate", "rekey"):
                self.tell(verb, machine.name, await self.machines[0].command(verb))
        await super()._checkpoint(machine)

    async def _collect_all(self, machine: RekeyingMachine) -> bool:
        before = machine.store.reported, dict(machine.store.sealed_here())
        machine.store.seal_anew(1 << 30)
        collected = await super()._collect_all(machine)
        return collected or before != (machine.store.reported, dict(machine.store.sealed_here()))

    async def clean_up(self) -> None:
        await super().clean_up()
        await self._end_epochs()

    async def _end_epochs(self) -> None:
        machine, retired = self.machines[0], self.published.retired & self.published.epochs.keys()
        here = {machine.store.identity().site for machine in self.machines}
        missing = take_census(machine.store, await list_heads(self.bucket)).members().keys() - here
        if retired and not missing and not any(one.wanted for one in self.machines):
            for one in (*self.machines, *self.machines):
                await one.enter()
                await one.tidy()
                await one.shipper.ship_round(speak=True)  # as it says now and then how far it is
            await machine.pull()
            self.tell("drop", machine.name, told := await machine.command("drop"))
            if not retired <= self.dropped:
                raise Broken(f"everybody is there, and an epoch cannot end: {told}")
            for one in self.machines:
                await one.tidy()
                if left := one.realm.keyring().epochs.keys() & self.dropped:
                    raise Broken(f"{one.name} keeps the keys of {len(left)} epochs that ended")
            if self.published.epochs.keys() & self.dropped:
                raise Broken("the bucket holds the keys of epochs that ended")
            for epoch in self.dropped:
                for name in self.sealed_under(epoch):
                    if self._counts(machine, name):
                        raise Broken(f"an epoch has ended, and {name} is sealed under it")
            self.deeds["epochs ended where everybody was there"] += 1


class CopiedRekeyingWorld(Rekeying):
    """With copies of machines, and backups."""


class DepartingRekeyingWorld(Rekeying, DepartingWorld):
    """With sites that retire, are forgotten and come back."""


def rekeying_world(seed: int, skipped: Collection[int] = ()) -> Rekeying:
    """The world of a seed."""
    return (DepartingRekeyingWorld if seed % 2 else CopiedRekeyingWorld)(seed, skipped)
