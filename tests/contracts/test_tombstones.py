"""The contract of ``Graveyard``, and the end of tombstones over it: the site in memory and the real store alike."""

from contextlib import suppress

import pytest

from replication.cloud_memory import MemoryCloud
from replication.collection_ports import Horizon
from replication.departures import forget_site, retire_site
from replication.offload import run_at_once
from replication.restore import restore_site
from replication.settings import ReplicationSettings
from replication.shipper import LogEnded, Shipper
from replication.tombstones import TombstoneKeeper
from tests.contracts.test_replica import Memory, make_site, new_shipper, pull  # noqa: F401
from tests.replication.fixed_realm import KEYRING

DAY_MS = 86_400_000
NOW_MS = 1_800_000_000_000


class Graves:
    """A site's daemon, as far as tombstones go, with the time that the cloud tells."""

    def __init__(self, site, cloud, age_ms=DAY_MS):
        self.site, self.cloud, self.now_ms = site, cloud, NOW_MS
        self.graveyard = site.replica if isinstance(site, Memory) else site.store.graveyard
        self.keeper = TombstoneKeeper(
            site.replica, self.graveyard, cloud, age_ms, trusted_ms=lambda: self.now_ms, offload=run_at_once
        )

    def kept(self):
        """Tombstones of this site's state, by why they are kept; those that are due are not among them."""
        return dict(self.graveyard.find_tombstones(lambda site: True, b"", 1 << 30).kept)


async def speak(site, cloud):
    shipper = Shipper(site.replica, site.replica, cloud, lambda: KEYRING, ReplicationSettings(), wall_ms=site.wall_ms)
    speaks = not site.replica.shipped().n
    while await shipper.ship_round(speak=speaks or shipper.owes_acks):
        speaks = False


async def talk(cloud, *sites):
    """Everybody ships all it has, takes in all there is, and acknowledges it."""
    for _ in range(3):
        for site in sites:
            await speak(site, cloud)
            await pull(site, cloud)
    for site in sites:
        await pull(site, cloud)


async def end(graves):
    """What the daemon does from its first look until everything is done that can be."""
    ended = 0
    for _ in range(3):
        graves.now_ms += DAY_MS
        ended += await graves.keeper.end_due()
    return ended


def rows(site):
    """How many items the state holds: keys, dead or not."""
    if isinstance(site, Memory):
        return sum(1 for (family, _), entry in site.replica.entries.items() if family == 1 and entry.live)
    return sum(1 for table, _, _ in site.dump() if table == "heads")


async def deleted_on_both(make_site, cloud):  # noqa: F811
    a, b = make_site(b"a"), make_site(b"b")
    await a.put(b"stays", b"here")
    await a.put(b"goes", b"away")
    await talk(cloud, a, b)
    await a.remove(b"goes")
    await talk(cloud, a, b)
    assert (rows(a), rows(b)) == (2, 2), "the delete is kept"
    return a, b


async def test_what_everybody_saw_die_is_forgotten_by_everybody(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b = await deleted_on_both(make_site, cloud)
    before = [site.visible() for site in (a, b)] if not isinstance(a, Memory) else None
    assert await end(Graves(a, cloud)) == 1
    await talk(cloud, a, b)
    assert (rows(a), rows(b)) == (1, 1)
    assert before is None or [site.visible() for site in (a, b)] == before
    for site in (a, b):
        dump = site.dump()
        site.rebuild()
        assert site.dump() == dump
    fresh, joined = make_site(b"f"), make_site(b"j")
    for site, state in ((fresh, None), (joined, joined.state)):
        site.use_cloud(cloud)
        await restore_site(cloud, lambda: KEYRING, site.replica, wall_ms=site.wall_ms, state=state)
        assert site.visible() == a.visible()
        assert rows(site) == 1
    await b.put(b"goes", b"again")
    await talk(cloud, a, b)
    assert await a.read(b"goes") == b"again"
    assert a.visible() == b.visible()


async def test_a_silent_site_keeps_every_tombstone(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b = await deleted_on_both(make_site, cloud)
    c = make_site(b"c")
    await talk(cloud, a, b, c)
    await b.put(b"late", b"1")
    await b.remove(b"late")
    await talk(cloud, a, b)  # c hears nothing of it
    graves = Graves(b, cloud)
    assert await end(graves) == 0
    assert graves.graveyard.horizon() is None
    await talk(cloud, a, b, c)
    assert await graves.keeper.end_due() == 0
    account = graves.keeper.account
    assert account.kept == {"not_yet_stable": 2}
    assert account.due_ms == account.horizon_ms + DAY_MS == graves.graveyard.horizon().since_ms + DAY_MS
    assert await end(graves) == 1
    assert (graves.keeper.account.kept, graves.keeper.account.ended) == ({"of_other_sites": 1}, 1)
    assert await end(Graves(a, cloud)) == 1


async def test_a_site_that_joins_counts_before_it_has_read_anything(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b = await deleted_on_both(make_site, cloud)
    graves = Graves(a, cloud)
    assert await graves.keeper.end_due() == 0
    assert graves.graveyard.horizon().since_ms == NOW_MS
    c = make_site(b"c")
    await speak(c, cloud)
    assert await end(graves) == 0, "c is there, and has acknowledged nothing"
    await talk(cloud, a, b, c)
    assert await end(graves) == 1


async def test_nothing_is_ended_before_its_time_or_by_an_unknown_time(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, _ = await deleted_on_both(make_site, cloud)
    graves = Graves(a, cloud)
    graves.now_ms = None
    for _ in range(3):
        assert await graves.keeper.end_due() == 0
    assert graves.graveyard.horizon() is None
    graves.now_ms = NOW_MS
    assert await graves.keeper.end_due() == 0
    graves.now_ms += DAY_MS - 1
    assert await graves.keeper.end_due() == 0
    graves.now_ms = None
    assert await graves.keeper.end_due() == 0
    a.restart()
    graves = Graves(a, cloud)
    assert graves.graveyard.horizon().since_ms == NOW_MS, "a restart does not begin the wait anew"
    graves.now_ms = NOW_MS + DAY_MS
    assert await graves.keeper.end_due() == 1


async def test_a_tombstone_beside_what_lives_stays(make_site):  # noqa: F811
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await a.put(b"k", b"first")
    await talk(cloud, a, b)
    await b.put(b"k", b"unseen")
    await a.put(b"k", b"other")
    await a.remove(b"k")
    await talk(cloud, a, b)
    graves = Graves(a, cloud)
    assert await end(graves) == 0
    assert graves.kept() == {"beside_what_lives": 1}
    assert a.visible() == b.visible()


async def test_what_is_not_in_the_horizon_waits(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b = await deleted_on_both(make_site, cloud)
    graves = Graves(a, cloud)
    await graves.keeper.end_due()
    await a.put(b"later", b"1")
    await a.remove(b"later")
    await talk(cloud, a, b)
    graves.now_ms += DAY_MS
    assert await graves.keeper.end_due() == 1
    assert graves.keeper.account.kept == {"not_yet_stable": 1}
    assert rows(a) == 2
    assert await end(graves) == 1


async def test_the_heir_ends_what_a_forgotten_site_left(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b = await deleted_on_both(make_site, cloud)
    c = make_site(b"c")
    await talk(cloud, a, b, c)
    gone, heir = a.replica.identity().site, c.replica.identity().site
    await forget_site(b.replica, gone, heir, b.wall_ms(), insist=True)
    await talk(cloud, b, c)
    assert await end(Graves(b, cloud)) == 0
    assert await end(Graves(c, cloud)) == 1
    await talk(cloud, b, c)
    assert (rows(b), rows(c)) == (1, 1)


async def test_the_first_that_stays_ends_what_a_retired_site_left(make_site):  # noqa: F811
    cloud = MemoryCloud()
    a, b = await deleted_on_both(make_site, cloud)
    c = make_site(b"c")
    await talk(cloud, a, b, c)
    gone = a.replica.identity().site
    await retire_site(b.replica, gone, b.wall_ms())
    await talk(cloud, b, c)
    await pull(a, cloud)
    shipper = new_shipper(a, cloud)
    with suppress(LogEnded):
        while await shipper.ship_round(speak=shipper.is_to_end):
            pass
    assert shipper.ended
    await talk(cloud, b, c)
    first, second = sorted((b, c), key=lambda site: site.replica.identity().site)
    assert await end(Graves(second, cloud)) == 0
    assert await end(Graves(first, cloud)) == 1


@pytest.mark.parametrize("count", [1, 2, 1000])
async def test_a_walk_in_pieces_sees_everything_once(make_site, count):  # noqa: F811
    cloud, a = MemoryCloud(), make_site(b"a")
    for number in range(5):
        await a.put(b"%d" % number, b"x")
        await a.remove(b"%d" % number)
    await speak(a, cloud)
    graves = Graves(a, cloud)
    origin = (a.replica.identity().site, a.replica.identity().incarnation)
    await graves.graveyard.record_horizon(Horizon({origin: a.replica.last_seq()}, {}, NOW_MS))
    due, after, pieces = [], b"", 0
    while pieces == 0 or after:
        found = graves.graveyard.find_tombstones(lambda site: True, after, count)
        due, after, pieces = [*due, *found.due], found.after, pieces + 1
        assert pieces < 100
    assert len(due) == len(set(due)) == 5
    assert await graves.graveyard.end_tombstones(due) == 5
    assert await graves.graveyard.end_tombstones(due) == 0, "once is enough"
    assert rows(a) == 0
