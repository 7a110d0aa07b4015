"""The contract of ``ChangeLog`` and ``FrameStore``: one suite over the site in memory and the real store."""

import dataclasses
import random

import pytest

from replication.change_format import Change, ChangeInvalid, decode_change, encode_change
from replication.cloud_memory import MemoryCloud
from replication.crdt import Dot
from replication.frame_format import decode_header
from replication.hydrate import CloudFetcher
from replication.member_format import NameRecord, encode_member, name_item, read_register
from replication.ports import FrameLocation, LogPosition, PulledBatch, RemoteLog
from replication.puller import Puller
from replication.restore import restore_site
from replication.sealing import open_frame
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Shipper
from tests.contracts.real_site import RealSite
from tests.replication.fixed_realm import KEYRING
from tests.replication.memory_site import MemorySite

PACKED = ReplicationSettings(limits=ShipLimits(inline_bytes_max=0, pack_bytes_max=1 << 20, changes_max=4))
INLINE = ReplicationSettings()
BOTH = pytest.mark.parametrize("settings", [INLINE, PACKED], ids=["inline", "packed"])


class Memory:
    """The site in memory under the real site's verbs."""

    def __init__(self, name, replica=None):
        self.replica = replica or MemorySite(KEYRING, name, self.wall_ms)

    def copy(self, name):
        return Memory(name, self.replica.fork())

    def rebuild(self):
        pass

    def dump(self):
        return []

    @property
    def state(self):
        return self.replica

    def wall_ms(self):
        return 1_700_000_000_000

    def collect(self):
        self.replica.collect()

    def set_keyring(self, keyring):
        self.replica.set_keyring(keyring)

    def use_cloud(self, cloud):
        self.replica.fetcher = CloudFetcher(cloud)

    async def bring(self, chunk_ids):
        return await self.replica.bring(chunk_ids)

    async def put(self, key, content):
        self.replica.put(key, content)

    async def remove(self, key):
        self.replica.remove(key)

    async def read(self, key):
        site = self.replica
        dot, _ = site.visible()[(1, key)][0]
        chunk = site.refs[dot][0].id
        if site.read(chunk) is None:
            await site.bring([chunk])
        return site.read(chunk)

    def visible(self):
        return self.replica.visible()

    def own_changes(self):
        return [decode_change(data) for data in self.replica.own]

    def restart(self):
        pass

    def close(self):
        pass


@pytest.fixture(params=["memory", "real"])
def make_site(request, tmp_path):
    made = []

    def make(name, copy_of=None):
        if copy_of is not None:
            made.append(copy_of.copy(name))
        else:
            made.append(
                Memory(name) if request.param == "memory" else RealSite(tmp_path / name.decode(), KEYRING, name)
            )
        return made[-1]

    yield make
    for site in made:
        site.close()


def new_shipper(site, cloud, settings=INLINE):
    return Shipper(site.replica, site.replica, cloud, lambda: KEYRING, settings, wall_ms=site.wall_ms)


async def ship(site, cloud, settings=INLINE):
    shipper, rounds = new_shipper(site, cloud, settings), []
    while shipped := await shipper.ship_round():
        rounds.append(shipped)
    return rounds


async def pull(site, cloud):
    site.use_cloud(cloud)
    pulled = await Puller(site.replica, cloud, lambda: KEYRING, wall_ms=site.wall_ms).pull_round()
    assert pulled.stopped == 0
    return pulled


async def get_acquainted(a, b, cloud):
    """``a`` acknowledges the log of ``b``, which only then relies on what ``a`` has in the bucket."""
    await b.put(b"hello", b"from b")
    await ship(b, cloud)
    await pull(a, cloud)
    await a.put(b"hello", b"from a")
    await ship(a, cloud)
    await pull(b, cloud)


def origin_of(site):
    identity = site.replica.identity()
    return (identity.site, identity.incarnation)


def noise(size, seed=0):
    return random.Random(seed).randbytes(size)


async def test_fresh_site(make_site):
    site = make_site(b"a")
    log = site.replica
    assert (log.last_seq(), log.shipped(), dict(log.pulled())) == (0, LogPosition(), {})
    backlog = log.backlog()
    assert (backlog.changes, backlog.bytes, backlog.oldest_ms, backlog.open_upload_bytes) == (0, 0, None, 0)
    assert log.read_changes(0, 10, 1000) == []
    assert log.unshipped_frames([]) == []
    assert log.locate([bytes(32)]) == {}
    assert log.locate_frame(bytes(32), bytes(24), 0) is None


async def test_changes_are_dense_and_limits_hold(make_site):
    site = make_site(b"a")
    for number in range(6):
        await site.put(b"k%d" % number, noise(100, number))
    log, last = site.replica, site.replica.last_seq()
    every = log.read_changes(0, 100, 1 << 20)
    assert [decode_change(data).dot for data in every] == [(*origin_of(site), seq) for seq in range(1, last + 1)]
    assert log.read_changes(2, 3, 1 << 20) == every[2:5]
    assert log.read_changes(0, 100, 1) == every[:1]
    assert log.read_changes(last, 100, 100) == []


async def test_identity_and_log_survive_a_restart(make_site):
    site = make_site(b"a")
    await site.put(b"k", noise(50_000))
    before = (site.replica.identity(), site.replica.read_changes(0, 10, 1 << 20), site.replica.backlog())
    site.restart()
    assert (site.replica.identity(), site.replica.read_changes(0, 10, 1 << 20), site.replica.backlog()) == before


async def test_backlog_counts_bytes_and_falls_to_nothing(make_site):
    site, cloud = make_site(b"a"), MemoryCloud()
    await site.put(b"small", noise(1000))
    await site.put(b"large", noise(300_000, 1))
    backlog = site.replica.backlog()
    assert backlog.changes == site.replica.last_seq()
    assert 301_000 < backlog.bytes < 310_000
    assert backlog.oldest_ms is not None
    await ship(site, cloud)
    assert site.replica.backlog() == dataclasses.replace(backlog, changes=0, bytes=0, oldest_ms=None)
    site.restart()
    assert site.replica.backlog().changes == 0


async def test_unshipped_frames_can_be_read_and_open(make_site):
    site = make_site(b"a")
    await site.put(b"k", noise(200_000))
    headers = site.replica.unshipped_frames(site.replica.read_changes(0, 10, 1 << 20))
    assert headers
    assert len(set(headers)) == len(headers)
    for encoded in headers:
        frame, header = site.replica.read_frame(encoded), decode_header(encoded)
        assert frame.header == encoded
        assert len(frame.ciphertext) == header.stored_size
        open_frame(KEYRING, header, frame.ciphertext)


async def test_record_shipped_places_frames_and_never_goes_back(make_site):
    site = make_site(b"a")
    await site.put(b"k", noise(20_000))
    log, last = site.replica, site.replica.last_seq()
    headers = log.unshipped_frames(log.read_changes(0, 10, 1 << 20))
    places = [FrameLocation(header, "sites/x/packs/y", 100 * number) for number, header in enumerate(headers)]
    ahead = LogPosition(1, 0, b"1" * 32)
    await log.record_shipped(ahead, places)
    assert log.shipped() == ahead, "frames may go ahead of their change"
    assert log.unshipped_frames(log.read_changes(0, 10, 1 << 20)) == []
    position = LogPosition(2, last, b"2" * 32)
    await log.record_shipped(position, [])
    for place in places:
        header = decode_header(place.header)
        assert log.locate([header.chunk_id]) == {header.chunk_id: place}
        assert log.locate_frame(*header.name) == place
    for back in (ahead, LogPosition(3, last - 1, b"3" * 32)):
        with pytest.raises(ValueError, match="back"):
            await log.record_shipped(back, [])
    site.restart()
    assert site.replica.shipped() == position


@BOTH
async def test_two_sites_converge_and_read_each_other(make_site, settings):
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await a.put(b"a", noise(200_000, 1))
    await b.put(b"b", noise(10, 2))
    await a.put(b"both", b"of a")
    await b.put(b"both", b"of b")
    for site in (a, b):
        await ship(site, cloud, settings)
    for site in (a, b):
        await pull(site, cloud)
    assert a.visible() == b.visible() != []
    for key in (b"a", b"b", b"both"):
        assert await a.read(key) == await b.read(key)
    assert await b.read(b"a") == noise(200_000, 1)
    await b.put(b"both", b"settled by b")
    await a.remove(b"b")
    for site in (a, b):
        await ship(site, cloud, settings)
    for site in (a, b, a):
        await pull(site, cloud)
    assert a.visible() == b.visible()
    state = a.visible()
    for site in (a, b):
        site.restart()
        assert site.visible() == state
        assert site.replica.backlog().changes == 0


async def test_what_came_from_elsewhere_is_not_shipped_again(make_site):
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await a.put(b"a", noise(100_000))
    await ship(a, cloud)
    before = b.replica.last_seq()
    await pull(b, cloud)
    assert b.replica.last_seq() == before
    assert await ship(b, cloud) == [] if before == 0 else True


async def pulled_batch(make_site, cloud=None):
    """A batch of a's log, as a puller would hand it on."""
    a = make_site(b"a")
    await a.put(b"k", noise(3000))
    changes = a.replica.read_changes(0, 100, 1 << 20)
    frames = [a.replica.read_frame(header) for header in a.replica.unshipped_frames(changes)]
    return PulledBatch(origin_of(a), LogPosition(1, len(changes), b"1" * 32), changes, frames)


async def test_record_pulled_is_idempotent_and_takes_no_gap(make_site):
    batch, b = await pulled_batch(make_site), make_site(b"b")
    with pytest.raises(ValueError, match=r"gap|follow"):
        await b.replica.record_pulled(
            dataclasses.replace(batch, position=LogPosition(2, batch.position.seq, bytes(32)))
        )
    assert dict(b.replica.pulled()) == {}
    await b.replica.record_pulled(batch)
    state = b.visible()
    await b.replica.record_pulled(batch)
    assert b.visible() == state != []
    assert dict(b.replica.pulled()) == {batch.origin: batch.position}
    assert await b.read(b"k") == noise(3000)
    site = b
    site.restart()
    assert site.visible() == state
    assert dict(site.replica.pulled()) == {batch.origin: batch.position}


async def test_a_batch_without_changes_moves_the_position_only(make_site):
    batch, b = await pulled_batch(make_site), make_site(b"b")
    ahead = PulledBatch(batch.origin, LogPosition(1, 0, b"0" * 32), (), batch.frames)
    await b.replica.record_pulled(ahead)
    assert dict(b.replica.pulled()) == {batch.origin: ahead.position}
    following = dataclasses.replace(batch, position=LogPosition(2, batch.position.seq, b"2" * 32), frames=())
    placed = [FrameLocation(frame.header, "sites/x/log/1", 0) for frame in batch.frames]
    await b.replica.record_pulled(dataclasses.replace(following, located=placed))
    assert b.visible() != []


async def test_a_bad_batch_leaves_nothing(make_site):
    batch, b = await pulled_batch(make_site), make_site(b"b")
    bad = dataclasses.replace(batch, changes=[*batch.changes[:-1], b"no change"])
    with pytest.raises(ChangeInvalid):
        await b.replica.record_pulled(bad)
    assert b.visible() in ([], {})
    assert dict(b.replica.pulled()) == {}
    await b.replica.record_pulled(batch)
    assert b.visible() not in ([], {})


@pytest.mark.parametrize("size", [100_000, 400_000], ids=["came inline", "came packed"])
async def test_deduplication_with_what_came_from_elsewhere_ships_no_bytes_twice(make_site, size):
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    content = noise(size)
    await a.put(b"a", content)
    await ship(a, cloud)
    await get_acquainted(a, b, cloud)
    assert await b.read(b"a") == content
    await b.put(b"copy", content)
    rounds = await ship(b, cloud)
    assert sum(one.frames for one in rounds) <= 1
    assert sum(one.bytes for one in rounds) < 20_000
    await pull(a, cloud)
    assert await a.read(b"copy") == content


async def test_remote_only_names_what_is_missing_until_it_is_here(make_site):
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await a.put(b"a", noise(300_000))
    await ship(a, cloud, PACKED)
    await pull(b, cloud)
    missing = b.replica.remote_only(b"", 100)
    assert missing
    ids = [decode_header(place.header).chunk_id for place in missing]
    assert ids == sorted(ids)
    assert b.replica.remote_only(ids[-1], 100) == []
    assert await b.read(b"a") == noise(300_000)
    assert b.replica.remote_only(b"", 100) == []
    assert a.replica.remote_only(b"", 100) == []


class Remote:
    """What restore needs of a site."""

    def __init__(self, site):
        self.remote_only, self.bring = site.replica.remote_only, site.bring


@BOTH
async def test_restore_brings_everything_with_its_bytes(make_site, settings):
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    contents = {b"k%d" % number: noise(number * 40_000, number) for number in range(5)}
    for key, content in contents.items():
        await a.put(key, content)
    await b.put(b"k1", b"collides")
    for site in (a, b):
        await ship(site, cloud, settings)
    for site in (a, b):
        await pull(site, cloud)
    fresh = make_site(b"fresh")
    fresh.use_cloud(cloud)
    await restore_site(cloud, lambda: KEYRING, fresh.replica, wall_ms=fresh.wall_ms, remote=Remote(fresh))
    assert fresh.visible() == a.visible() == b.visible()
    fresh.use_cloud(MemoryCloud())
    fresh.restart()
    for key, content in contents.items():
        assert await fresh.read(key) == (content if key != b"k1" else await a.read(key))


async def test_what_a_log_said_of_itself_is_kept(make_site):
    a, other, third = make_site(b"a"), (b"o" * 16, b"i" * 8), (b"t" * 16, b"i" * 8)
    first = PulledBatch(other, LogPosition(1, 0, b"1" * 32), (), acks={third: 4}, sent_ms=7, status=b"well")
    await a.replica.record_pulled(first)
    await a.replica.record_pulled(PulledBatch(other, LogPosition(2, 0, b"2" * 32), (), acks={}, sent_ms=8, closed=True))
    a.restart()
    log = a.replica.remote_logs()[other]
    assert log == RemoteLog(LogPosition(2, 0, b"2" * 32), {third: 4}, 8, closed=True, status=b"well")
    assert a.replica.acks() == {other: {third: 4}}  # acknowledged once is acknowledged


async def test_statements_on_sites_replicate(make_site):
    a, b, cloud = make_site(b"a"), make_site(b"b"), MemoryCloud()
    assert a.replica.statements() == []
    await a.replica.state(name_item(b"s" * 16), encode_member(NameRecord(name="old")))
    await a.replica.state(name_item(b"s" * 16), encode_member(NameRecord(name="shop")))
    with pytest.raises(ChangeInvalid):
        await b.replica.record_pulled(invalid_statement())
    await ship(a, cloud)
    await pull(b, cloud)
    b.restart()
    for site in (a, b):
        (said,) = site.replica.statements()
        assert (said.item, said.dot.seq, said.dead) == (name_item(b"s" * 16), 2, False)
        assert read_register([said]).names == {b"s" * 16: "shop"}


def invalid_statement():
    origin = (b"o" * 16, b"i" * 8)
    change = Change(Dot(*origin, 1), 1, 9, b"name/no site", body=b"?")
    return PulledBatch(origin, LogPosition(1, 1, b"1" * 32), (encode_change(change),))
