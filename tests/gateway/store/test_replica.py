"""The store as replication sees it: cursor, backlog, frames to ship, and sites that converge whatever the order."""

from __future__ import annotations

import asyncio
import itertools
import random

import pytest

from gateway.store.conflicts import count_conflicts
from gateway.store.document_format import BucketRecord, PartRecord, UploadRecord
from gateway.store.endings import is_ending
from gateway.store.errors import Damaged
from gateway.store.item_format import bucket_uid
from gateway.store.logical_dump import logical_dump
from gateway.store.object_format import ObjectRecord
from gateway.store.version_ids import NULL
from replication.change_format import Change, ChangeInvalid, decode_change
from replication.frame_format import FrameName, decode_header
from replication.ports import Backlog, FrameLocation, LogPosition, PulledBatch
from tests.gateway.store.index_site import SITE_A, SITE_B, SITE_C, IndexSite, UnsyncedFiles
from tests.gateway.store.workload import Workload, positions_of, replica_of, ship_some

UID = b"u" * 16


@pytest.fixture
def site(tmp_path):
    with IndexSite(tmp_path / "a") as opened:
        yield opened


@pytest.fixture
def other(tmp_path):
    with IndexSite(tmp_path / "b", SITE_B) as opened:
        yield opened


async def test_changes_are_dense_and_bounded(site):
    for number in range(7):
        site.put(UID, b"k%d" % number, b"x" * 100)
    replica = replica_of(site)
    assert replica.last_seq() == 7
    changes = replica.read_changes(0, 100, 1 << 20)
    assert [decode_change(data).dot.seq for data in changes] == list(range(1, 8))
    assert replica.read_changes(2, 3, 1 << 20) == changes[2:5]
    assert replica.read_changes(2, 100, len(changes[2]) + len(changes[3])) == changes[2:4]
    assert replica.read_changes(2, 100, 1) == changes[2:3]
    assert replica.read_changes(7, 100, 1 << 20) == []


async def test_the_backlog_is_exact_and_survives_a_restart(site, tmp_path):
    replica = replica_of(site)
    assert replica.backlog() == Backlog(0, 0, None, 0)
    puts = [site.put(UID, b"k%d" % number, bytes([number]) * 1000) for number in range(4)]
    site.put(UID, b"same", bytes([0]) * 1000)  # its chunk is counted already
    changes = replica.read_changes(0, 100, 1 << 20)
    frames = [site.find_chunk(version.record.content[0].id).stored_size for version in puts]
    backlog = replica.backlog()
    assert backlog.changes == 5
    assert backlog.bytes == sum(map(len, changes)) + sum(frames)
    with site.view() as view:
        first_ms = view.state().clock >> 16
    assert backlog.oldest_ms is not None
    assert backlog.oldest_ms <= first_ms
    await replica.record_shipped(LogPosition(1, 2, b"c" * 32), [])
    rest = replica.backlog()
    assert (rest.changes, rest.bytes) == (3, sum(map(len, changes[2:])) + sum(frames[2:]))
    site.close()
    with IndexSite(tmp_path / "a") as again:
        assert replica_of(again).backlog() == rest
        assert replica_of(again).shipped() == LogPosition(1, 2, b"c" * 32)


async def test_the_cursor_within_a_batch_counts_what_is_left_of_it(site):
    def three(view):
        for number in range(3):
            view.put_object(UID, b"k%d" % number, ObjectRecord(metadata={"a": "b" * number}), versioned=False)

    site.commit(three)
    replica = replica_of(site)
    changes = replica.read_changes(0, 10, 1 << 20)
    for shipped in (1, 2, 3):
        await replica.record_shipped(LogPosition(shipped, shipped, bytes(32)), [])
        assert replica.backlog().bytes == sum(map(len, changes[shipped:]))


async def test_the_cursor_never_goes_back_nor_beyond(site):
    site.put(UID, b"k", b"x")
    site.put(UID, b"l", b"x")
    replica = replica_of(site)
    await replica.record_shipped(LogPosition(2, 1, b"c" * 32), [])
    await replica.record_shipped(LogPosition(2, 1, b"c" * 32), [])
    for position in (LogPosition(1, 1, b"c" * 32), LogPosition(3, 0), LogPosition(3, 9), LogPosition(2, 1, b"d" * 32)):
        with pytest.raises(ValueError):
            await replica.record_shipped(position, [])
    assert replica.shipped() == LogPosition(2, 1, b"c" * 32)


async def test_open_uploads_are_told_apart_and_counted_when_they_complete(site):
    replica = replica_of(site)
    site.commit(lambda view: view.open_upload(UploadRecord(id="up", uid=UID, key=b"k")))
    part = PartRecord(number=1, size=900, content=(site.stage(b"p" * 900),))
    site.commit(lambda view: view.put_part("up", part))
    assert (replica.backlog().changes, replica.backlog().bytes, replica.backlog().open_upload_bytes) == (0, 0, 900)

    def complete(view):
        view.put_object(UID, b"k", ObjectRecord(content=part.content), versioned=False)
        view.close_upload("up")

    site.commit(complete)
    stored = site.find_chunk(part.content[0].id).stored_size
    change = replica.read_changes(0, 10, 1 << 20)[0]
    assert (replica.backlog().bytes, replica.backlog().open_upload_bytes) == (stored + len(change), 0)
    assert len(replica.unshipped_frames([change])) == 1


async def test_frames_to_ship_are_closed_under_pages_and_bases_bases_first(site):
    body = random.Random(1).randbytes(5000)
    base = site.put(UID, b"base", body, inline=False).record.content[0]
    place = site.find_chunk(base.id)
    name = FrameName(base.id, place.segment, place.slot)
    patch = site.stage(body + b"!", bases=(name,), base=body)
    plain = site.stage(b"plain")
    page = site.stage_page((patch, plain))
    outer = site.stage_page((page, plain), inline=False)
    site.commit(lambda view: view.put_object(UID, b"k", ObjectRecord(content=(outer,)), versioned=False))
    replica = replica_of(site)
    change = replica.read_changes(1, 1, 1 << 20)
    headers = replica.unshipped_frames(change)
    ids = [decode_header(header).chunk_id for header in headers]
    assert sorted(ids) == sorted({base.id, patch.id, plain.id, page.id, outer.id})
    assert ids.index(base.id) < ids.index(patch.id)
    await replica.record_shipped(LogPosition(1, 1), [FrameLocation(header, "p", 0) for header in headers[:2]])
    assert set(replica.unshipped_frames(change)) <= set(headers[2:])
    assert set(replica.locate([b"?" * 32, *ids])) == set(ids[:2])
    await replica.record_shipped(LogPosition(2, 2), [FrameLocation(header, "p", 0) for header in headers])
    assert replica.unshipped_frames(change) == []
    assert replica.backlog().bytes == 0
    location = replica.locate_frame(*name)
    assert location is not None
    assert decode_header(location.header).name == name


async def test_a_damaged_frame_is_not_shipped(site):
    ref = site.put(UID, b"k", b"precious", inline=False).record.content[0]
    place = site.find_chunk(ref.id)
    path = site.directory.segment_path(place.number, place.kind)
    data = bytearray(path.read_bytes())
    data[place.offset + place.header_size] ^= 1
    path.write_bytes(data)
    replica = replica_of(site)
    header = replica.unshipped_frames(replica.read_changes(0, 1, 1 << 20))[0]
    with pytest.raises(Damaged):
        replica.read_frame(header)


async def test_a_pulled_batch_is_applied_once_and_gaps_are_refused(site, other):
    put = other.put(UID, b"k", b"from b")
    batch = await ship_some(other, 5)
    replica = replica_of(site)
    gap = PulledBatch(batch.origin, LogPosition(2, 2), batch.changes)
    with pytest.raises(ValueError):
        await replica.record_pulled(gap)
    for _ in range(2):
        await replica.record_pulled(batch)
    with site.view() as view:
        found = view.current(UID, b"k")
        assert found == put
        assert view.is_replicated(found)
        assert view.is_replica(found)
        assert view.chunk(put.record.content[0].id).refcount == 1
        assert site.open_pages(view.chunk).read_chunk(put.record.content[0].id) == b"from b"
    assert replica.pulled() == {batch.origin: batch.position}
    assert replica.last_seq() == 0
    assert replica.acks() == {batch.origin: {}}
    wrong = PulledBatch(batch.origin, LogPosition(2, 3), [*batch.changes, *batch.changes])
    with pytest.raises(ChangeInvalid):
        await replica.record_pulled(wrong)


async def test_bytes_that_are_only_in_the_cloud_are_known_there(site, other):
    put = other.put(UID, b"k", b"far away")
    batch = await ship_some(other, 5)
    replica = replica_of(site)
    without = PulledBatch(batch.origin, batch.position, batch.changes, (), batch.located)
    await replica.record_pulled(without)
    chunk_id = put.record.content[0].id
    with site.view() as view:
        assert not view.chunk(chunk_id).local
        assert view.locate(chunk_id) == batch.located[0]
    assert replica.remote_only(b"", 10) == [batch.located[0]]
    assert replica.remote_only(chunk_id, 10) == []
    site.put(UID, b"mine", b"far away")  # written here again, but not shipped again
    assert site.find_chunk(chunk_id).local
    changes = replica.read_changes(0, 10, 1 << 20)
    assert replica.unshipped_frames(changes) == []
    assert replica.backlog().bytes == len(changes[0])


async def test_is_replicated_follows_the_cursor(site):
    one, two = site.put(UID, b"1", b"x"), site.put(UID, b"2", b"y")
    await replica_of(site).record_shipped(LogPosition(1, 1), [])
    with site.view() as view:
        assert (view.is_replicated(one), view.is_replicated(two)) == (True, False)
        assert not view.is_replica(one)


def state_of(site: IndexSite):
    """What must be equal on every site: everything a client can see."""
    seen: dict[object, object] = {}
    with site.view() as view:
        seen["buckets"] = view.buckets()
        seen["users"], seen["keys"] = view.users(), view.access_keys("u")
        for bucket in view.buckets():
            versions = list(view.scan_versions(bucket.uid))
            documents = [view.version_documents(bucket.uid, version) for version in versions]
            seen[bucket.uid] = versions, documents, list(view.scan_heads(bucket.uid))
        seen["conflicts"] = count_conflicts(view).conflicts
    for table, key, value in logical_dump(site.index, site.open_pages):
        if table in ("items", "counts", "names"):
            seen[table, key] = value
    return seen


@pytest.mark.parametrize("seed", range(8))
def test_sites_converge_in_any_order_of_delivery(tmp_path, seed):
    """Three sites work at random, ship and pull at random; once everyone has everything, all look the same."""
    print("seed", seed)
    rng = random.Random(seed)
    names = (SITE_A, SITE_B, SITE_C)
    sites = [IndexSite(tmp_path / name[:1].decode(), name, files=UnsyncedFiles()) for name in names]
    for drift, site in enumerate(sites):
        site.clock = itertools.count(1_700_000_000_000 + 50 * drift)
    workloads = [Workload(site, random.Random(seed * 100 + n), keys=2) for n, site in enumerate(sites)]
    horizons = Horizons(sites)
    for n, workload in enumerate(workloads):
        workload.ship = lambda: None
        workload.stable_cut = lambda n=n: horizons.known_to(n)
    logs: list[list[PulledBatch]] = [[], [], []]
    try:
        for _ in range(12):
            horizons.look()
            for n, site in enumerate(sites):
                workloads[n].run(rng.randrange(6))
                if rng.random() < 0.6 and (batch := asyncio.run(ship_some(site, rng.randrange(1, 9)))):
                    logs[n].append(batch)
                pull_some(site, logs, rng, n, 2)
        for n, site in enumerate(sites):
            while batch := asyncio.run(ship_some(site, 100)):
                logs[n].append(batch)
        for n, site in enumerate(sites):
            pull_some(site, logs, rng, n, 1000)
        states = [state_of(site) for site in sites]
        assert states[0] == states[1] == states[2]
        endings = [one for site in sites for one in own_changes(site) if is_ending(one)]
        print("conflicts", states[0]["conflicts"], "tombstones ended", len(endings))
        for site in sites:
            marks = [row for row in logical_dump(site.index, site.open_pages) if row[0] == "marks"]
            assert marks == []  # every dot was seen: nothing is left to remember
            assert replica_of(site).backlog().changes == 0
    finally:
        for site in sites:
            site.close()


def own_changes(site: IndexSite) -> list[Change]:
    return [decode_change(data) for data in replica_of(site).read_changes(0, 1 << 30, 1 << 40)]


class Horizons:
    """What everybody has, with all that rests on: ``replication/tombstones`` by looking at every site."""

    def __init__(self, sites: list[IndexSite]) -> None:
        self._sites, self._shipped = sites, {}
        self._found: list[tuple[dict, dict]] = []

    def look(self) -> None:
        positions = [positions_of(site) for site in self._sites]
        if all(known.get(log, 0) >= seq for known in positions for log, seq in self._shipped.items()):
            made = {log: seq for site in self._sites for log, seq in positions_of(site).items() if log[0] == site.site}
            self._found.append((self._shipped, made))
            replicas = [replica_of(site) for site in self._sites]
            self._shipped = {(one.identity().site, one.identity().incarnation): one.shipped().seq for one in replicas}

    def known_to(self, n: int) -> dict:
        positions = positions_of(self._sites[n])
        heard = [cut for cut, made in self._found if all(positions.get(log, 0) >= seq for log, seq in made.items())]
        return heard[-1] if heard else {}


def pull_some(site: IndexSite, logs, rng: random.Random, own: int, count: int) -> None:
    """Take in up to ``count`` batches of the others' logs, each log in order, logs interleaved at random."""
    replica = replica_of(site)
    for _ in range(count):
        known = replica.pulled()
        ready = [
            log[position.n]
            for n, log in enumerate(logs)
            if n != own and log
            for position in [known.get(log[0].origin, LogPosition())]
            if position.n < len(log)
        ]
        if not ready:
            return
        asyncio.run(replica.record_pulled(rng.choice(ready)))


def test_a_removed_loser_is_gone_everywhere_and_never_becomes_current(tmp_path):
    with IndexSite(tmp_path / "a") as a, IndexSite(tmp_path / "b", SITE_B) as b:
        for site in (a, b):
            site.commit(lambda view: view.put_bucket(BucketRecord(name="bk", owner="o")))
        uid = bucket_uid("bk", "o")
        a.put(uid, b"k", b"loser")
        b.put(uid, b"k", b"x")
        b.put(uid, b"k", b"winner")

        async def exchange(source, target):
            while batch := await ship_some(source, 50):
                await replica_of(target).record_pulled(batch)

        asyncio.run(exchange(a, b))
        asyncio.run(exchange(b, a))
        with a.view() as view:
            winner, loser = list(view.scan_versions(uid))
            assert (winner.id, winner.is_latest, loser.is_latest) == (NULL, True, False)
            assert loser.id.order == loser.order
            assert view.version(uid, b"k", loser.id) == loser
            assert count_conflicts(view).conflicts == 1
        assert b.commit(lambda view: view.remove_version(uid, b"k", loser.id)).order == loser.order
        asyncio.run(exchange(b, a))
        for site in (a, b):
            with site.view() as view:
                assert [version.id for version in view.scan_versions(uid)] == [NULL]
                assert view.current(uid, b"k").order == winner.order
                assert count_conflicts(view)[:2] == (0, 0)
        assert state_of(a) == state_of(b)


@pytest.mark.parametrize("versioned", [False, True])
def test_a_replacement_that_arrives_before_what_it_replaces(tmp_path, versioned):
    """C hears of B's change first, though it replaces one of A's: the older must not come up as a conflict or a
    ghost.
    """

    async def world(a, b, c):
        old = a.put(UID, b"k", b"old", versioned=versioned)
        a.commit(lambda view: view.put_document(UID, "policy", b"old"))
        from_a = await ship_some(a, 9)
        await replica_of(b).record_pulled(from_a)
        if versioned:
            b.commit(lambda view: view.remove_version(UID, b"k", old.id))
        else:
            b.put(UID, b"k", b"new")
        b.commit(lambda view: view.put_document(UID, "policy", b"new"))
        await replica_of(c).record_pulled(await ship_some(b, 9))
        early = [row for row in logical_dump(c.index, c.open_pages) if row[0] == "marks"]
        assert len(early) == (1 if versioned else 2)  # a purge replaces nothing: it hides
        await replica_of(c).record_pulled(from_a)
        for site in (b, c):
            with site.view() as view:
                assert view.document(UID, "policy") == b"new"
                bodies = [version.record.etag for version in view.scan_versions(UID)]
                assert bodies == ([] if versioned else [b"new".hex()])
                assert count_conflicts(view).conflicts == 0
                assert view.chunk(old.record.content[0].id).refcount == 0
        assert [row for row in logical_dump(c.index, c.open_pages) if row[0] == "marks"] == []

    with (
        IndexSite(tmp_path / "a") as a,
        IndexSite(tmp_path / "b", SITE_B) as b,
        IndexSite(tmp_path / "c", SITE_C) as c,
    ):
        asyncio.run(world(a, b, c))
