"""Sites leave: whoever knew more of a forgotten one says so, and all end with the same part of its logs."""

from __future__ import annotations

import pytest

from replication.cloud_memory import MemoryCloud
from replication.cloud_names import log_name
from replication.departures import UNHEARD_MS_MIN, DepartureRefused, forget_site, name_site, retire_site, why_out
from replication.member_format import read_register
from replication.membership import take_census
from replication.offload import run_at_once
from replication.ports import CloudUnreachable
from replication.puller import Puller
from replication.settings import ReplicationSettings
from replication.shipper import CutOpen, LogEnded, Shipper
from tests.replication.fixed_realm import KEYRING
from tests.replication.memory_site import MemorySite

NOW = 1_700_000_000_000
LATER = NOW + UNHEARD_MS_MIN


class Machine:
    """A site with its shipper and puller; ``heard`` names whose logs it can read."""

    def __init__(self, name, bucket, store=None):
        self.store, self.bucket = store or MemorySite(KEYRING, name, lambda: NOW), bucket
        store, keyring = self.store, lambda: KEYRING
        self.shipper = Shipper(
            store, store, bucket, keyring, ReplicationSettings(), wall_ms=store.wall_ms, offload=run_at_once
        )
        self.puller = Puller(store, bucket, keyring, wall_ms=store.wall_ms)

    @classmethod
    def again(cls, machine):
        """The same disk after a restart."""
        return cls(b"", machine.bucket, machine.store)

    @property
    def site(self):
        return self.store.identity().site

    @property
    def log(self):
        return (self.site, self.store.identity().incarnation)

    async def ship(self):
        await self.shipper.ship_round(speak=True)
        while await self.shipper.ship_round():
            pass

    async def pull(self):
        while (await self.puller.pull_round()).batches:
            pass

    def register(self):
        return read_register(self.store.statements())


@pytest.fixture
def machines():
    bucket = MemoryCloud()
    return [Machine(name, bucket) for name in (b"a", b"b", b"c")]


async def rest(*machines):
    for _ in range(6):
        for machine in machines:
            await machine.ship()
        for machine in machines:
            await machine.pull()


async def test_all_end_with_what_the_best_informed_had(machines):
    a, b, lost = machines
    lost.store.put(b"early", b"early")
    await rest(a, b, lost)
    lost.store.put(b"late", b"late")
    await lost.ship()
    await b.pull()  # a has not heard of it
    await forget_site(a.store, lost.site, a.site, LATER)
    assert a.register().removed[lost.site].counts(lost.log[1]) < b.store.pulled()[lost.log].n
    await a.ship()
    assert lost.site in take_census(a.store).members()  # b may know more: it is still waited for
    await rest(a, b)
    lost.store.put(b"too late", b"too late")
    await lost.ship()
    await rest(a, b)
    assert a.store.visible() == b.store.visible()
    values = {item for (family, item), _ in a.store.visible().items() if family == 1}
    assert values == {b"early", b"late"}
    assert lost.site not in take_census(a.store).members()
    assert take_census(a.store).cut()[a.log] == a.store.shipped().seq
    state = a.puller.states[lost.log]
    assert (state.stopped, "refused" in state.refused, "forgotten" in state.refused) == ("", True, True)


async def test_who_knows_that_another_has_taken_in_more_catches_up_before_it_forgets(machines):
    """The other may retire before it hears of it, and would say nothing any more."""
    a, b, lost = machines
    await rest(a, b, lost)
    lost.store.put(b"late", b"late")
    await lost.ship()
    await b.pull()
    await b.ship()
    name = log_name(lost.log, lost.store.shipped().n)
    withheld = a.bucket.objects.pop(name)
    await a.pull()
    with pytest.raises(DepartureRefused, match=f"site {b.site.hex()} has taken in more"):
        await forget_site(a.store, lost.site, a.site, LATER)
    a.bucket.objects[name] = withheld
    await a.pull()
    await forget_site(a.store, lost.site, a.site, LATER)
    assert a.register().removed[lost.site].counts(lost.log[1]) == lost.store.shipped().n


async def test_who_is_in_wrong_hands_is_revoked_at_once(machines):
    a, b, thief = machines
    await rest(a, b, thief)
    thief.store.put(b"late", b"late")
    await thief.ship()
    await b.pull()
    await b.ship()
    a.bucket.objects.pop(log_name(thief.log, thief.store.shipped().n))
    await a.pull()
    await forget_site(a.store, thief.site, a.site, LATER, revoked=True)


async def test_a_site_without_the_late_part_fetches_it_up_to_the_greatest_cut(machines):
    a, b, lost = machines
    await rest(a, b, lost)
    for number in range(3):
        lost.store.put(b"late %d" % number, b"late")
        await lost.ship()
    await a.pull()
    await forget_site(a.store, lost.site, b.site, LATER)
    await rest(a, b)
    assert b.store.pulled()[lost.log] == a.store.pulled()[lost.log]
    assert b.register().removed[lost.site].heir == b.site


async def test_who_comes_late_reads_what_is_said_of_a_site_before_its_log(machines):
    a, b, thief = (
        sorted(machines, key=lambda machine: machine.site)[1:] + sorted(machines, key=lambda one: one.site)[:1]
    )
    await rest(a, b, thief)
    await forget_site(a.store, thief.site, a.site, LATER, revoked=True)
    await a.ship()
    for number in range(3):
        thief.store.put(b"stolen %d" % number, b"stolen")
        await thief.ship()
    fresh = Machine(b"fresh", a.bucket)
    await rest(fresh, b, a)  # the thief's log is the first by name
    for machine in (fresh, b):
        assert machine.store.visible() == a.store.visible()
        assert machine.store.pulled()[thief.log].n == a.store.pulled()[thief.log].n
    assert a.register().removed[thief.site].dots == fresh.register().removed[thief.site].dots


async def test_a_log_waits_for_one_that_has_something_to_say_of_its_site(machines):
    a, b, thief = machines
    await rest(a, b, thief)
    await forget_site(a.store, thief.site, a.site, LATER, revoked=True)
    await a.ship()
    thief.store.put(b"stolen", b"stolen")
    await thief.ship()
    newest = log_name(a.log, a.store.shipped().n)
    kept = a.bucket.objects.pop(newest)
    before = b.store.pulled()[thief.log]
    await b.pull()
    assert b.store.pulled()[thief.log] == before
    assert "has to say of its site" in b.puller.states[thief.log].refused
    a.bucket.objects[newest] = kept
    await b.pull()
    assert "revoked" in b.puller.states[thief.log].refused
    assert b.store.pulled()[thief.log] == before


async def test_two_who_forget_one_another_say_that_the_realm_has_parted(machines):
    a, b, _ = machines
    await rest(*machines)
    await forget_site(a.store, b.site, a.site, LATER)
    await forget_site(b.store, a.site, b.site, LATER)
    await rest(a, b)
    assert (a.puller.accusers, b.puller.accusers) == ([b.site], [a.site])


async def test_a_forgotten_site_waits_until_all_have_said_how_far_its_log_counts(machines):
    a, b, lost = machines
    await rest(*machines)
    lost.store.put(b"late", b"late")
    await lost.ship()
    await b.pull()
    await forget_site(a.store, lost.site, a.site, LATER)
    await a.ship()
    await lost.pull()
    with pytest.raises(CutOpen, match=b.site.hex()):
        await lost.ship()
    assert lost.shipper.waits
    await b.pull()
    await b.ship()  # it had taken in more, and says so
    await lost.pull()
    assert take_census(lost.store).undecided(lost.site) == [a.site]
    await rest(a, b)
    await lost.pull()
    assert take_census(lost.store).undecided(lost.site) == []


async def test_the_forgotten_site_learns_of_it(machines):
    a, _, lost = machines
    await rest(*machines)
    assert why_out(lost.store) == ""
    await forget_site(a.store, lost.site, a.site, LATER, revoked=True)
    await a.ship()
    await lost.pull()
    assert "revoked" in why_out(lost.store)


async def test_a_forgotten_site_may_be_revoked_and_never_taken_back(machines):
    a, b, lost = machines
    await rest(*machines)
    await forget_site(a.store, lost.site, a.site, LATER)
    again = await forget_site(a.store, lost.site, b.site, LATER)
    assert (again.heir, again.revoked) == (a.site, False)
    await forget_site(a.store, lost.site, a.site, LATER, revoked=True)
    await rest(a, b)
    await forget_site(b.store, lost.site, b.site, LATER)
    await rest(a, b)
    assert a.register() == b.register()
    assert a.register().removed[lost.site].revoked


async def test_what_makes_no_sense_is_refused(machines):
    a, b, lost = machines
    await rest(*machines)
    with pytest.raises(DepartureRefused, match="spoke 0 minutes ago"):
        await forget_site(a.store, lost.site, a.site, NOW)
    with pytest.raises(DepartureRefused, match="retire"):
        await forget_site(a.store, a.site, b.site, LATER)
    with pytest.raises(DepartureRefused, match="not known"):
        await forget_site(a.store, b"x" * 16, a.site, LATER)
    with pytest.raises(DepartureRefused, match="the heir"):
        await forget_site(a.store, lost.site, b"x" * 16, LATER)
    await retire_site(a.store, b.site, LATER)
    with pytest.raises(DepartureRefused, match="stays"):
        await forget_site(a.store, lost.site, b.site, LATER)
    (log,) = [origin for origin in a.store.pulled() if origin[0] == lost.site]
    ahead = {log: a.store.pulled()[log].n + 2}
    with pytest.raises(DepartureRefused, match="holds 2 batches of it"):
        await forget_site(a.store, lost.site, a.site, LATER, heads=ahead)
    assert not a.register().removed
    await forget_site(a.store, lost.site, a.site, NOW, heads=ahead, insist=True)
    with pytest.raises(DepartureRefused, match="forgotten already"):
        await retire_site(a.store, lost.site, LATER)


async def test_names_replicate(machines):
    a, b, _ = machines
    await rest(*machines)
    await name_site(a.store, b.site, "Lädchen 7")
    await rest(*machines)
    assert b.register().names == {b.site: "Lädchen 7"}


async def test_a_site_that_retires_ships_all_ends_its_log_and_is_not_waited_for(machines):
    a, b, leaving = machines
    await rest(*machines)
    leaving.store.put(b"last", b"last")
    await retire_site(a.store, leaving.site, LATER)  # told by another
    await a.ship()
    await leaving.pull()
    assert leaving.shipper.is_to_end
    with pytest.raises(LogEnded, match="retired"):
        await leaving.ship()
    with pytest.raises(LogEnded):
        await Machine.again(leaving).ship()
    assert leaving.store.backlog().changes == 0
    await a.pull()
    assert a.store.remote_logs()[leaving.log].closed
    assert a.store.visible()[1, b"last"]
    assert leaving.site not in take_census(a.store).members()
    await rest(a, b)
    assert take_census(a.store).cut()[a.log] == a.store.shipped().seq


async def test_retiring_is_taken_up_again_after_a_lost_reply(machines):
    a, _, leaving = machines
    await rest(*machines)
    await retire_site(leaving.store, leaving.site, LATER)
    put = leaving.bucket.put

    async def lose_the_reply(name, data, **options):
        await put(name, data, **options)
        if "/log/" in name and leaving.store.backlog().changes == 0:
            raise CloudUnreachable("the reply was lost")

    leaving.bucket.put = lose_the_reply
    with pytest.raises(CloudUnreachable):
        await leaving.ship()
    leaving.bucket.put = put
    with pytest.raises(LogEnded):
        await Machine.again(leaving).ship()
    await a.pull()
    assert a.store.remote_logs()[leaving.log].closed


async def test_a_revoked_site_is_out_for_good(machines):
    a, b, _ = machines
    await rest(*machines)
    await forget_site(a.store, b.site, a.site, LATER, revoked=True)
    await a.ship()
    b.store.put(b"mine", b"mine")
    await b.pull()
    shipped = b.store.shipped()
    with pytest.raises(LogEnded, match="revoked"):
        await b.ship()
    assert b.store.shipped() == shipped


async def test_a_forgotten_machine_that_returns_goes_on_as_another_site(machines):
    """What it shipped behind the cut nobody takes in: that is issued anew as well, once."""
    a, b, lost = machines
    lost.store.put(b"before", b"1")
    await rest(*machines)
    former = lost.log
    lost.store.put(b"behind the cut", b"2")
    await lost.ship()
    await forget_site(a.store, lost.site, a.site, LATER)
    await a.ship()
    lost.store.put(b"unsent", b"3")
    await rest(a, b)
    await lost.pull()
    await rest(*machines)
    assert lost.log[0] != former[0]
    fresh = Machine(b"fresh", a.bucket)
    await rest(a, b, lost, fresh)
    for machine in (a, b, fresh):
        assert machine.store.visible() == lost.store.visible()
        shown = {item: live for (family, item), live in machine.store.visible().items() if family == 1}
        assert sorted(shown) == [b"before", b"behind the cut", b"unsent"]
        assert all(len(live) == 1 for live in shown.values())
