"""Worlds in which sites fall silent, retire, are forgotten and come back: is the stable cut true, does all converge?

What is added to a ``World``: machines speak without changes (acks), are told to retire, or are declared lost by another
(while they are away, cut off, or, by a mistake, alive). A machine that was forgotten and hears of it goes on as another
site. What is checked besides the promises of every world:

* **the cut is true**, whenever a machine acted: what it calls stable every other machine that is waited for has taken
  in, and whatever one of them wrote without having taken it in, this machine has taken in, too;
* at rest, **nobody who is there holds anything back**, and the fleet that any site sees is exact: name, backlog, state;
* at rest all have the same part of the logs of those forgotten; what lies beyond the cut is in no site's state, unless
  the machine came back and issued it anew.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Mapping
from dataclasses import replace

from replication.change_format import Change, decode_change
from replication.cloud_names import is_pack_name, site_prefix
from replication.collector import is_worth_it
from replication.departures import DepartureRefused, forget_site, retire_site
from replication.fleet import SiteState, list_fleet
from replication.freight import Doubtful
from replication.member_format import Register, read_register
from replication.membership import Census, take_census
from replication.ports import Origin
from replication.puller import list_heads
from replication.shipper import CutOpen, LogEnded
from replication.site_status_format import SiteStatus
from tests.replication.memory_site import MemorySite
from tests.simulation.checks import Broken
from tests.simulation.ledger import token_of
from tests.simulation.machine import Machine
from tests.simulation.shape import shape_of
from tests.simulation.world import World


def departing_shape(seed: int):
    """Few sites, no copies: a copy is two machines of one name, which other worlds are about."""
    return replace(shape_of(seed), cloned=False, troubles=0.1)


def note_what_was_seen(store: MemorySite) -> None:
    """Keep what had been taken in when each own change was made."""
    write, store.own_seen = store.write, {}

    def noting(*given, **more) -> Change:
        change = write(*given, **more)
        store.own_seen[change.dot] = {origin: position.seq for origin, position in store.heard().items()}
        return change

    store.write = noting


class DepartingWorld(World):
    retired: list[Machine]

    def __init__(self, seed: int, skipped: Collection[int] = ()) -> None:
        self.retired = []
        self.forgotten: set[bytes] = set()
        super().__init__(seed, departing_shape(seed), skipped)
        self.bucket.on_any_leaving = self._check_heir

    def join(self) -> Machine:
        machine = super().join()
        note_what_was_seen(machine.store)
        return machine

    # what happens

    async def _act(self, machine: Machine) -> None:
        if self.rng.random() < 0.12 and not machine.link.crashed:
            self.tell("speak", machine.name, await machine.replicate("speak"))
        await super()._act(machine)

    async def _live_step(self) -> None:
        await super()._live_step()
        if self.rng.random() < 0.06 and len(self.machines) > 1:
            await self._depart()
        for machine in list(self.machines):
            if machine.shipper.ended:
                self._switch_off(machine)
        heads = await list_heads(self.bucket)
        for machine in self.machines:
            check_cut(self, machine, heads)

    async def _depart(self) -> None:
        """Somebody decides that some site is to retire, or is lost."""
        by = self.rng.choice(self.machines)
        known = sorted({site for site, _ in by.store.pulled()})
        if not known or by.store.identity().site in self.forgotten:
            return  # two who forget one another part for good, and say so: no merge can undo that
        site = self.rng.choice(known)
        try:
            if self.rng.random() < 0.35:
                await retire_site(by.store, self.rng.choice([site, by.store.identity().site]), self.time.now_ms)
                self.tell("tell to retire", by.name)
            elif self.rng.random() < 0.5 or self._is_away(site):
                await forget_site(by.store, site, self._heir(by, known), self.time.now_ms, insist=True)
                self.forgotten.add(site)
                self.tell("forget", by.name, site[:8])
        except DepartureRefused as refused:
            self.tell("refuse", by.name, refused)

    def _heir(self, by: Machine, known: list[bytes]) -> bytes:
        """Whoever says it, or, in every fourth world, anybody it knows: who hears of it by another's log."""
        me = by.store.identity().site
        return random.Random(f"heir {self.seed} {self.step}").choice([me, *known]) if self.seed % 4 == 3 else me

    def _check_heir(self, name: str) -> None:
        """A pack of a lost site leaves, and not by itself: every member knows that the site is out."""
        owner = bytes.fromhex(name[6:38]) if is_pack_name(name) else b""
        everybody = [*self.machines, *self.away]
        if owner not in self.forgotten or any(other.store.identity().site == owner for other in everybody):
            return
        dooms = [doom for other in everybody for doom in other.store.dooms() if name in doom.names]
        if any(doom.dot.site == owner for doom in dooms):
            return  # its own last requests
        for other in everybody:
            site, register = other.store.identity().site, read_register(other.store.statements())
            if other.store.shipped().n and not self.is_out(site) and owner not in register.removed:
                raise Broken(f"an heir deleted what a lost site had left before {other.name} knew: {name}")

    def _is_away(self, site: bytes) -> bool:
        return all(machine.store.identity().site != site for machine in self.machines)

    def _switch_off(self, machine: Machine) -> None:
        """It retired. What was written after its log ended was told to be unsafe."""
        self._forfeit(machine)
        self.machines.remove(machine)
        self.retired.append(machine)
        self.old_links.append(machine.link)
        self.tell("retired", machine.name)
        if not self.machines:
            self.join()
            self.machines[0].link.rates = machine.link.rates

    # the end

    async def come_to_rest(self) -> None:
        await super().come_to_rest()
        for machine in [one for one in self.machines if one.shipper.waits]:
            self.machines.remove(machine)  # it waits for somebody who is away to say how far its log counts
            self.away.append(machine)
            self.tell("wait for the cut", machine.name)
        if not self.machines:
            raise Broken("everybody waits for somebody else")
        self.register = read_register(self.machines[0].store.statements())
        await self._forfeit_beyond_cuts()

    async def clean_up(self) -> None:
        await super().clean_up()  # what is doomed is acknowledged when nothing is needed of it any more
        await self.come_to_rest()
        heads = await list_heads(self.bucket)
        for machine in self.machines:
            check_cut(self, machine, heads)
            self._check_fleet(machine, heads)
            self._check_heirlooms(machine)
            self._check_heirs(machine)

    def is_out(self, site: bytes) -> bool:
        told = [read_register(machine.store.statements()) for machine in (*self.machines, *self.retired)]
        return any(_is_out(site, register) for register in told)

    def counted(self, origin: Origin, head_n: int) -> int:
        removal = self.register.removed.get(origin[0])
        return head_n if removal is None else min(head_n, removal.counts(origin[1]))

    async def _ship_all(self) -> bool:
        """As in any world, and everybody acknowledges what it owes."""
        moved = False
        for machine in list(self.machines):
            try:
                while await machine.shipper.ship_round(speak=machine.shipper.owes_acks or machine.shipper.is_to_end):
                    moved = True
            except CutOpen:
                pass
            except Doubtful:
                moved = True
            except LogEnded:
                self._switch_off(machine)
                moved = True
        return moved

    async def _forfeit_beyond_cuts(self) -> None:
        for origin, head_n in (await list_heads(self.bucket)).items():
            for n in range(self.counted(origin, head_n) + 1, head_n + 1):
                batch = self.witness.batch(origin, n) or []
                self.ledger.forfeit(token_of(decode_change(change).body) for change in batch)

    def _check_heirlooms(self, machine: Machine) -> None:
        """Nothing is left of a site that is out but what its heir needs, or was never told of."""
        if machine.wanted:
            return  # it deletes nothing
        for site in {site for site, _ in take_census(machine.store).inherited()}:
            for held in machine.store.held_objects(site_prefix(site), "", 1 << 30, machine.clock.wall_ms()):
                if held.name in self.bucket.objects and is_worth_it(held, self.collecting):
                    raise Broken(f"{machine.name} left what is dead of a site whose heir it is: {held}")
                self.deeds["objects that an heir looked after"] += 1

    def _check_heirs(self, machine: Machine) -> None:
        """Whoever is to look after what a site left that is out knows that it is."""
        census = take_census(machine.store)
        members, inherited = census.members(), {site for site, _ in census.inherited()}
        for site in {site for site, _ in census.logs} - members.keys():
            removal = census.removed.get(site)
            heir = removal.heir if removal is not None and removal.heir in members else min(members)
            if heir == census.me[0] and site not in inherited:
                raise Broken(f"{machine.name} does not know that it is an heir")

    def _check_fleet(self, machine: Machine, heads: Mapping[Origin, int]) -> None:
        register, census = read_register(machine.store.statements()), take_census(machine.store, heads)
        if register != self.register:
            raise Broken(f"{machine.name} was told other things of the sites than {self.machines[0].name}")
        present = {other.store.identity().site: other for other in self.machines}
        holders = {holder.site for holder in census.waiting_for()}
        if holders & present.keys():
            raise Broken(f"{machine.name} waits for a site that is there and has seen all")
        for row in list_fleet(census, register, SiteStatus(name=machine.name), self.time.now_ms):
            other = present.get(row.site)
            if other is not None and other is not machine:
                backlog = None if row.status is None else row.status.backlog_changes
                if (row.name, row.state, backlog) != (other.name, SiteState.MEMBER, 0):
                    raise Broken(f"{machine.name} sees {other.name} as {row}")
            if row.site not in holders and row.site not in present and not _is_out(row.site, register):
                self.deeds["an absent site that had seen all"] += 1


def _is_out(site: bytes, register: Register) -> bool:
    return site in register.removed or site in register.retired


def check_cut(world: DepartingWorld, machine: Machine, heads: Mapping[Origin, int]) -> None:
    """What ``machine`` calls stable is so."""
    census, register = take_census(machine.store, heads), read_register(machine.store.statements())
    cut = {origin: seq for origin, seq in census.cut().items() if seq}
    for other in (*world.machines, *world.away):
        if other is not machine and not _is_out(other.store.identity().site, register):
            _check_seen(machine, other, cut, census)


def _check_seen(machine: Machine, other: Machine, cut: Mapping[Origin, int], census: Census) -> None:
    identity = other.store.identity()
    own, taken_in = (identity.site, identity.incarnation), other.store.heard()
    if own not in heads_or_logs(census):
        return  # it did not announce itself yet: it has nothing of this realm
    for origin, seq in cut.items():
        if origin != own and (origin not in taken_in or taken_in[origin].seq < seq):
            raise Broken(f"{machine.name} calls stable what {other.name} has not taken in")
    heard = census.positions.get(own, 0)
    for dot, seen in other.store.own_seen.items():
        unheard = (dot.site, dot.incarnation) == own and dot.seq > heard
        if unheard and any(origin != own and seen.get(origin, 0) < stable for origin, stable in cut.items()):
            raise Broken(f"{machine.name} calls stable what {other.name} had not seen when it wrote {dot.seq}")


def heads_or_logs(census: Census) -> set[Origin]:
    return {*census.logs, *census.heads}
