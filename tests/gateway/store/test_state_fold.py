"""A site that joined by checkpoint is the same as one that took in every log from its beginning, whatever happened."""

from __future__ import annotations

import asyncio
import itertools
import random

import msgspec
import pytest

from gateway.store import state_export
from gateway.store.document_format import BucketRecord
from gateway.store.item_format import bucket_uid
from gateway.store.logical_dump import logical_dump
from gateway.store.object_format import ObjectRecord
from gateway.store.state_replica import StateReplica
from gateway.store.store import rebuild_index
from replication.ports import JoinState, LogPosition, PulledBatch, StateNotReady
from tests.gateway.store.index_site import SITE_A, SITE_B, SITE_C, IndexSite, UnsyncedFiles
from tests.gateway.store.recount import recount
from tests.gateway.store.test_replica import pull_some
from tests.gateway.store.workload import Workload, replica_of, ship_some

Logs = list[list[PulledBatch]]
CONTENT = ("items", "names", "counts", "marks", "conflicts", "origins", "heads", "versions")


def state_of(site: IndexSite) -> StateReplica:
    return StateReplica(site.site, site.view, site.committer)


def content_of(site: IndexSite, *, tables=CONTENT) -> dict[tuple[str, bytes], object]:
    """All of the logical dump that the realm's changes determine, and the counts of the writer's state."""
    found: dict[tuple[str, bytes], object] = {}
    for table, key, value in logical_dump(site.index, site.open_pages):
        if table == "state":
            found["counts", b""] = (value.conflicts, value.broken, value.void_purges)
        elif table in tables:
            found[table, key] = value
    return found


def differences(one: IndexSite, other: IndexSite) -> list[object]:
    ours, theirs = content_of(one), content_of(other)
    own = {("origins", site.site + replica_of(site).identity().incarnation) for site in (one, other)}
    keys = sorted((ours.keys() | theirs.keys()) - own)
    return [(key, ours.get(key), theirs.get(key)) for key in keys if not same(key, ours.get(key), theirs.get(key))]


def same(key, ours, theirs) -> bool:
    if key[0] == "origins" and ours and theirs:  # of its own log the writer does not know which acks it sent
        return msgspec.msgpack.decode(ours)[:3] == msgspec.msgpack.decode(theirs)[:3]
    return ours == theirs


class Realm:
    """Sites that work at random, and all batches they shipped."""

    def __init__(self, tmp_path, seed: int, names=(SITE_A, SITE_B, SITE_C)) -> None:
        self.path, self.rng = tmp_path, random.Random(seed)
        self.sites = [IndexSite(tmp_path / name[:1].decode(), name, files=UnsyncedFiles()) for name in names]
        self.more: list[IndexSite] = []
        for drift, site in enumerate(self.sites):
            site.clock = itertools.count(1_700_000_000_000 + 50 * drift)
        self.workloads = [Workload(site, random.Random(seed * 100 + n), keys=3) for n, site in enumerate(self.sites)]
        for workload in self.workloads:
            workload.stable_cut = dict  # what is forgotten takes its clocks along, which are compared here
        for workload in self.workloads:
            workload.ship = lambda: None
        self.logs: Logs = [[] for _ in self.sites]

    def step(self, n: int) -> None:
        self.workloads[n].run(self.rng.randrange(6))
        if self.rng.random() < 0.6:
            self.ship(n, self.rng.randrange(1, 9))
        pull_some(self.sites[n], self.logs, self.rng, n, 2)

    def ship(self, n: int, count: int) -> bool:
        batch = asyncio.run(ship_some(self.sites[n], count))
        if batch is not None:
            self.logs[n].append(batch)
        return batch is not None

    def live(self, steps: int) -> None:
        for _ in range(steps):
            for n in range(len(self.sites)):
                self.step(n)

    def ship_all(self) -> None:
        for n in range(len(self.sites)):
            while self.ship(n, 100):
                pass

    def fresh(self, name: bytes) -> IndexSite:
        site = IndexSite(self.path / name[:1].decode(), name, files=UnsyncedFiles())
        self.more.append(site)
        return site

    def pull_all(self, site: IndexSite, own: int = -1) -> None:
        pull_some(site, self.logs, self.rng, own, 10_000)

    def close(self) -> None:
        for site in (*self.sites, *self.more):
            site.close()


@pytest.fixture
def make_realm(tmp_path, monkeypatch):
    made: list[Realm] = []
    monkeypatch.setattr(state_export, "ROWS_MAX", 3)
    monkeypatch.setattr(state_export, "BYTES_MAX", 1500)
    monkeypatch.setattr(state_export, "MARKS_AT_ONCE", 2)

    def make(seed: int, **more) -> Realm:
        print("seed", seed)
        made.append(Realm(tmp_path, seed, **more))
        return made[-1]

    yield make
    for realm in made:
        realm.close()


def export(site: IndexSite, between=lambda: None):
    """A checkpoint of a site; ``between``: what happens while it is scanned."""
    state = state_of(site)
    start = state.begin_export()
    slices, cursor = list(start.slices), b""
    while True:
        data, cursor = state.export_slice(cursor)
        if data:
            slices.append(data)
        if not cursor:
            return start.vector, slices
        between()


def begin(site: IndexSite, vector, number: int = 1) -> None:
    origin = next(iter(vector), (b"W" * 16, b"w" * 8))
    asyncio.run(state_of(site).begin_join(JoinState(origin, number, 1, vector, 0, False, {})))


def join(site: IndexSite, vector, slices) -> None:
    begin(site, vector)
    for number, data in enumerate(slices):
        asyncio.run(state_of(site).fold_slice(number, data))
    asyncio.run(state_of(site).end_join())
    asyncio.run(state_of(site).finish_join())


def check(realm: Realm, joined: IndexSite, own: int = -1) -> None:
    """It has everything, as a site that replayed has, and a rebuilt index of it is equal."""
    realm.pull_all(joined, own)
    replayed = realm.fresh(b"R" * 16)
    realm.pull_all(replayed)
    assert differences(joined, replayed) == []
    recount(joined.index, joined.open_pages)
    here, there = (content_of(site, tables=("cloud", "chunks")) for site in (joined, replayed))
    needed = {key for table, key in here if table == "chunks"}
    assert {row for row in there if row[0] == "cloud" and row[1][:32] in needed} <= here.keys()
    before = list(logical_dump(joined.index, joined.open_pages))
    joined.committer.close()
    joined.index.close()
    rebuild_index(joined.directory, joined.log, joined.reader, joined.open_pages, map_size=1 << 30)
    joined.reopen_index()
    after = list(logical_dump(joined.index, joined.open_pages))
    assert [row for row in before if row not in after] == [row for row in after if row not in before] == []


@pytest.mark.parametrize("seed", range(3))
def test_joined_is_as_replayed(make_realm, seed):
    realm = make_realm(seed)
    realm.live(6 + seed % 5)
    realm.ship_all()
    vector, slices = export(realm.sites[seed % 3])
    joined = realm.fresh(b"J" * 16)
    join(joined, vector, slices)
    realm.live(2)
    realm.ship_all()
    check(realm, joined)


@pytest.mark.parametrize("seed", range(12, 18))
def test_a_scan_beside_writes_and_pulls_is_caught_up_with(make_realm, seed):
    realm = make_realm(seed)
    realm.live(6 + seed % 5)
    vector, slices = export(realm.sites[0], lambda: realm.step(realm.rng.randrange(3)))
    realm.ship_all()
    joined = realm.fresh(b"J" * 16)
    join(joined, vector, slices)
    realm.live(1)
    realm.ship_all()
    check(realm, joined)


@pytest.mark.parametrize("seed", range(36, 42))
def test_one_joins_whatever_it_has(make_realm, seed):
    """It has logs taken in, writes meanwhile, gives up half of a checkpoint and takes another one."""
    realm = make_realm(seed)
    joining, rng = realm.sites[2], realm.rng
    realm.live(rng.randrange(4))
    silent = [realm.logs[n] for n in range(3)]
    pull, working = rng.random() < 0.5, [0, 1]
    for _ in range(6):
        for n in working:
            realm.step(n)
        if pull:
            pull_some(joining, silent, rng, 2, 1)
    first = export(realm.sites[0], lambda: realm.step(rng.randrange(2)))
    for _ in range(3):
        for n in working:
            realm.step(n)
    second = export(realm.sites[1], lambda: realm.step(rng.randrange(2)))
    for n in working:
        while realm.ship(n, 100):
            pass
    begin(joining, first[0])
    for number, data in enumerate(first[1][: rng.randrange(len(first[1]) + 1)]):
        asyncio.run(state_of(joining).fold_slice(number, data))
        realm.workloads[2].run(rng.randrange(2))
    begin(joining, second[0], 2)
    for number, data in enumerate(second[1]):
        asyncio.run(state_of(joining).fold_slice(number, data))
        if rng.random() < 0.3:
            realm.workloads[2].run(1)
    asyncio.run(state_of(joining).end_join())
    asyncio.run(state_of(joining).finish_join())
    realm.pull_all(joining, 2)
    realm.workloads[2].run(3)
    realm.ship_all()
    check(realm, joining, 2)


def test_what_was_replaced_before_it_was_seen_stays_away(make_realm):
    """The writer knows the replacement and not yet what it replaces: whoever joins must not take that for news."""
    realm = make_realm(0)
    a, b, c = realm.sites
    a.commit(lambda view: view.put_bucket(BucketRecord(name="one", owner="ann")))
    uid = bucket_uid("one", "ann")
    for number in range(3):
        a.put(uid, b"k%d" % number, b"old")
    realm.ship(0, 100)
    realm.pull_all(b, 1)
    for number in range(3):
        b.put(uid, b"k%d" % number, b"new")
    realm.ship(1, 100)
    asyncio.run(replica_of(c).record_pulled(realm.logs[1][0]))
    vector, slices = export(c)
    joined = realm.fresh(b"J" * 16)
    join(joined, vector, slices)
    check(realm, joined)
    with joined.view() as view:
        assert len(list(view.scan_versions(uid))) == 3


def test_what_stays_on_a_site_is_no_checkpoint_s_to_remove(make_realm):
    """Others know the place of such a change in the order, and nothing else: that they do not tell it means nothing."""
    realm = make_realm(0)
    a, b, _ = realm.sites
    uid = b.commit(lambda view: view.put_bucket(BucketRecord(name="here", owner="ann"), local=True)).uid
    version = b.put(uid, b"k", b"stays", versioned=True)
    b.commit(lambda view: view.put_version_document(uid, version, "tags", b"mine"))
    realm.ship_all()
    realm.pull_all(a, 0)
    vector, slices = export(a)
    join(b, vector, slices)
    with b.view() as view:
        (found,) = view.scan_versions(uid)
        assert view.version_documents(uid, found) == {"tags": b"mine"}
    with a.view() as view:
        assert list(view.scan_versions(uid)) == []


def test_nothing_is_acknowledged_before_the_last_slice(make_realm):
    realm = make_realm(99)
    realm.live(6)
    realm.ship_all()
    vector, slices = export(realm.sites[0])
    joined = realm.fresh(b"J" * 16)
    begin(joined, vector)
    for number, data in enumerate(slices):
        assert replica_of(joined).pulled() == {}
        assert state_of(joined).joining().slices == number
        asyncio.run(state_of(joined).fold_slice(number, data))
    with pytest.raises(ValueError, match="follow"):
        asyncio.run(state_of(joined).fold_slice(len(slices) + 1, slices[0]))
    asyncio.run(state_of(joined).end_join())
    assert dict(replica_of(joined).pulled()) == {origin: known.position for origin, known in vector.items()}
    assert state_of(joined).joining().folded
    with pytest.raises(StateNotReady):
        state_of(joined).begin_export()
    asyncio.run(state_of(joined).finish_join())
    assert state_of(joined).joining() is None


def test_a_key_of_very_many_versions_is_told_in_pieces(make_realm):
    realm = make_realm(7)
    site = realm.sites[0]
    site.commit(lambda view: view.put_bucket(BucketRecord(name="one", owner="ann")))
    uid = bucket_uid("one", "ann")
    for number in range(60):
        record = ObjectRecord(metadata={"n": str(number), "pad": "x" * 200})
        site.commit(lambda view, record=record: view.put_object(uid, b"k", record, versioned=True))
        if number % 7 == 0:
            site.commit(lambda view: view.put_object(uid, b"k", ObjectRecord(), versioned=False))
        if number % 5 == 0:
            with site.view() as view:
                found = realm.rng.choice(list(view.scan_versions(uid)))
            site.commit(lambda view, found=found: view.remove_version(uid, b"k", found.id))
    realm.ship_all()
    vector, slices = export(site)
    assert len(slices) > 8
    joined = realm.fresh(b"J" * 16)
    join(joined, vector, slices)
    check(realm, joined)
    assert LogPosition() not in replica_of(joined).pulled().values()
