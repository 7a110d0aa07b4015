"""A change whose bytes cannot be had, on its site or in the bucket: the site in memory and the real store alike."""

import pytest

from gateway.store.errors import ChunkGone, ChunkLost, ChunkUnavailable, Damaged, DamagedChunk
from gateway.store.log_format import Evicted
from gateway.store.losses import scan_accepted
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import is_pack_name
from replication.departures import forget_site
from replication.freight import DOUBTS_MAX, Doubtful
from replication.ports import BytesLost, CloudUnreachable
from replication.shipper import Shipper
from tests.contracts.real_site import RealSite
from tests.contracts.test_replica import BOTH, INLINE, KEYRING, PACKED, Memory, noise, origin_of, pull, ship
from tests.replication.memory_losses import LosingSite


class LosingMemory(Memory):
    """The site in memory that may lose bytes."""

    def __init__(self, name, replica=None):
        super().__init__(name, replica or LosingSite(KEYRING, name, self.wall_ms))

    def chunk_of(self, key):
        dot, _ = self.replica.visible()[(1, key)][0]
        return self.replica.refs[dot][0].id

    def damage(self, key):
        self.replica.damage(self.chunk_of(key))

    async def accept(self):
        lost = [ref.id for ref in self.replica.live_refs() if not self._can_be_had(ref.id)]
        for chunk in lost:
            self.replica.accept(chunk)
        return len(lost)

    def _can_be_had(self, chunk):
        try:
            return self.replica.read(chunk) is not None or bool(self.replica.locate([chunk]))
        except ValueError:
            return bool(self.replica.locate([chunk]))

    async def bring(self, chunk_ids):
        return await self.replica.bring(chunk_ids)


class LosingReal(RealSite):
    """The real one."""

    def chunk_of(self, key):
        with self.store.view() as view:
            return view.current(view.bucket("bucket").uid, key).record.content[0].id

    def damage(self, key):
        place = self.store.find_chunk(self.chunk_of(key))
        with self.directory.segment_path(place.number, place.kind).open("r+b") as file:
            file.seek(place.offset + place.header_size + place.stored_size // 2)
            file.write(b"damage")

    async def accept(self):
        return await self.store.accept_losses(await self.store.find_losses())

    async def bring(self, chunk_ids):
        return await self.store.hydrator.bring(chunk_ids)


@pytest.fixture(params=["memory", "real"])
def make_site(request, tmp_path):
    made = []

    def make(name):
        is_real = request.param == "real"
        made.append(LosingReal(tmp_path / name.decode(), KEYRING, name) if is_real else LosingMemory(name))
        return made[-1]

    yield make
    for site in made:
        site.close()


def shipper_of(site, cloud, settings=INLINE):
    return Shipper(
        *(site.replica, site.replica, cloud, lambda: KEYRING, settings), wall_ms=site.wall_ms, bring=site.bring
    )


async def run_into_loss(shipper):
    """Ship what can be; the loss that stops it, once it is certain."""
    doubts = 0
    while True:
        try:
            if await shipper.ship_round() is None:
                return None
        except Doubtful:
            doubts += 1
        except BytesLost as loss:
            assert doubts == DOUBTS_MAX - 1
            return loss


@BOTH
async def test_what_stands_before_a_lost_chunk_goes_and_what_follows_waits_until_it_is_accepted(make_site, settings):
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    for number in range(6):
        await a.put(b"k%d" % number, noise(9000, number))
    a.damage(b"k3")
    lost, shipper = a.chunk_of(b"k3"), shipper_of(a, cloud, settings)
    assert (await run_into_loss(shipper)).chunk_id == lost
    assert [one.chunk for one in shipper.lost] == [lost.hex()]
    assert shipper.lost[0].holds_back
    await pull(b, cloud)
    assert await b.read(b"k2") == noise(9000, 2), "what stands before it went"
    assert not any(b"k3" in str(row).encode() for row in b.visible()), "no change is seen before its bytes"
    held = a.replica.backlog()
    spoken = await shipper.ship_round(speak=True)
    assert spoken.changes == 0, "its word goes: others see that it lives"
    assert a.replica.backlog() == held
    with pytest.raises(BytesLost):
        await shipper.ship_round()
    assert await a.accept() == 1
    while await shipper.ship_round():
        pass
    assert shipper.lost == ()
    assert a.replica.backlog().changes == a.replica.backlog().bytes == 0
    await pull(b, cloud)
    assert b.visible() == a.visible(), "the version is there, everywhere"
    assert await b.read(b"k5") == noise(9000, 5)
    before = a.dump()
    a.rebuild()
    assert a.dump() == before
    assert await ship(a, cloud, settings) == []


@BOTH
async def test_a_damaged_chunk_that_the_bucket_has_is_mended_on_the_way(make_site, settings):
    """It lies there where nothing is relied on: its owner does not know this site yet."""
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await b.put(b"same", noise(9000, 1))
    await ship(b, cloud, settings)
    await pull(a, cloud)
    await a.put(b"mine", noise(9000, 1))
    await a.bring([a.chunk_of(b"mine")])
    a.damage(b"mine")
    shipper = shipper_of(a, cloud, settings)
    while await shipper.ship_round():
        pass
    assert a.replica.backlog().changes == 0
    assert await a.read(b"mine") == noise(9000, 1)


async def test_what_is_only_where_nobody_relies_on_it_and_is_gone_stops_nothing_for_ever(make_site):
    """A machine that was forgotten and returns: its old log told of bytes, and their object is not there any more."""
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await b.put(b"theirs", noise(30_000, 1))
    await ship(b, cloud, PACKED)
    await pull(a, cloud)
    await a.put(b"before", noise(5000, 2))
    await a.put(b"mine", noise(30_000, 1))
    if isinstance(a, LosingMemory):
        a.replica.lose(a.chunk_of(b"mine"))
    packs = {name: data for name, data in cloud.objects.items() if is_pack_name(name)}
    for name in packs:
        del cloud.objects[name]
    shipper = shipper_of(a, cloud, PACKED)
    a.use_cloud(cloud)
    if isinstance(a, LosingReal) and a.store.find_chunk(a.chunk_of(b"mine")).local:
        a.damage(b"mine")
    loss = await run_into_loss(shipper)
    assert loss.chunk_id == a.chunk_of(b"mine")
    assert a.replica.shipped().seq == a.replica.last_seq() - 1, "only what needs it is held back"
    cloud.objects.update(packs)
    while await shipper.ship_round():
        pass
    assert shipper.lost == (), "it came back, and was found by itself"
    assert await a.read(b"mine") == noise(30_000, 1)


async def test_what_the_cloud_does_not_say_is_not_lost(make_site):
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await b.put(b"same", noise(30_000, 1))
    await ship(b, cloud, PACKED)
    await pull(a, cloud)
    await a.put(b"mine", noise(30_000, 1))
    await a.bring([a.chunk_of(b"mine")])
    a.damage(b"mine")

    class Silent:
        def __getattr__(self, name):
            async def call(*given, **more):
                raise CloudUnreachable("no answer")

            return call

    a.use_cloud(Silent())
    shipper = shipper_of(a, cloud, PACKED)
    for _ in range(2 * DOUBTS_MAX):
        with pytest.raises((CloudUnreachable, ChunkUnavailable)):
            await shipper.ship_round()
    assert shipper.lost == ()
    if isinstance(a, LosingReal):
        (found,) = await a.store.find_losses()
        assert found.unknown
        assert await a.store.accept_losses([found]) == 0


@BOTH
async def test_a_lost_change_that_is_overwritten_goes_without_its_value(make_site, settings):
    cloud, a, b = MemoryCloud(), make_site(b"a"), make_site(b"b")
    await a.put(b"k", noise(9000, 1))
    a.damage(b"k")
    shipper = shipper_of(a, cloud, settings)
    assert await run_into_loss(shipper) is not None
    await a.put(b"k", noise(9000, 2))
    a.collect()
    assert await run_into_loss(shipper) is None
    await pull(b, cloud)
    assert await b.read(b"k") == noise(9000, 2)


@BOTH
async def test_a_copy_that_turns_up_heals_every_site(make_site, settings):
    cloud, a, b, c = MemoryCloud(), make_site(b"a"), make_site(b"b"), make_site(b"c")
    await a.put(b"k", noise(9000, 1))
    a.damage(b"k")
    shipper = shipper_of(a, cloud, settings)
    await run_into_loss(shipper)
    await a.accept()
    while await shipper.ship_round():
        pass
    await pull(c, cloud)
    await b.put(b"other", noise(9000, 1))
    await ship(b, cloud, settings)
    for site in (a, c):
        await pull(site, cloud)
        assert await site.read(b"k") == noise(9000, 1)
    if isinstance(a, LosingReal):
        with a.store.view() as view:
            assert list(scan_accepted(view.transaction)) == [], "what is here again is lost no more"
        assert await a.store.find_losses() == []


@pytest.fixture
def real(tmp_path):
    site = LosingReal(tmp_path / "a", KEYRING, b"a")
    yield site
    site.close()


def is_replicated(site, key):
    with site.store.view() as view:
        return view.is_replicated(view.current(view.bucket("bucket").uid, key))


async def test_reads_of_what_is_accepted_say_so_and_writing_it_again_heals(real):
    cloud = MemoryCloud()
    await real.put(b"k", noise(200_000, 1))
    real.damage(b"k")
    real.use_cloud(cloud)
    with pytest.raises(DamagedChunk):
        await real.store.hydrator.bring([real.chunk_of(b"k")])
    (found,) = await real.store.find_losses()
    assert [(one.bucket, one.key, one.version_id, one.is_latest) for one in found.objects] == [
        ("bucket", "k", "null", True)
    ]
    assert await real.store.accept_losses([found]) == 1
    (again,) = await real.store.find_losses()
    assert again.accepted
    assert await real.store.accept_losses([found, again]) == 0
    with pytest.raises(ChunkLost):
        await real.read(b"k")
    await ship(real, cloud)
    assert not is_replicated(real, b"k"), "its change is in the cloud, its bytes are not"
    real.restart()
    real.use_cloud(cloud)
    with pytest.raises(ChunkLost):
        await real.read(b"k")
    await real.put(b"again", noise(200_000, 1))
    assert await real.read(b"k") == noise(200_000, 1)
    assert await real.store.find_losses() == []
    await ship(real, cloud)
    assert is_replicated(real, b"k")
    before = real.dump()
    real.rebuild()
    assert real.dump() == before
    assert await real.read(b"k") == noise(200_000, 1)
    assert (await real.store.verify()).sound


async def test_a_copied_version_whose_bytes_are_lost_is_refused_as_a_write(real):
    await real.put(b"k", noise(200_000, 1))
    real.damage(b"k")
    assert await real.store.accept_losses(await real.store.find_losses()) == 1
    with real.store.view() as view:
        bucket = view.bucket("bucket")
        record = view.current(bucket.uid, b"k").record
    with pytest.raises(ChunkGone):
        await real.store.commit(lambda view: view.put_object(bucket.uid, b"copy", record, versioned=False))


def give_up(site, chunk_id):
    """The chunk is not here any more, whatever the cloud has."""
    row = site.store.find_chunk(chunk_id)
    record = Evicted(((chunk_id, row.segment, row.slot, row.raw_size),))
    return site.store.commit(lambda view: view.stage_record(record))


async def put_paged(site):
    """An object whose chunks are listed by a page: ids of the page and of the chunks."""
    await site.put(b"paged", noise(14 << 20, 1))
    with site.store.view() as view:
        (page,) = view.current(view.bucket("bucket").uid, b"paged").record.content
    return page.id, [ref.id for ref in await site.store.reader.load_page(page)]


async def test_a_chunk_that_is_missing_below_a_page_stops_the_round(real):
    """Nothing goes without its bytes in silence, wherever in the tree they are missing."""
    cloud = MemoryCloud()
    _, children = await put_paged(real)
    await give_up(real, children[3])
    shipper = shipper_of(real, cloud, PACKED)
    assert (await run_into_loss(shipper)).chunk_id == children[3]
    assert real.replica.shipped().seq == 1, "the bucket went"
    (found,) = await real.store.find_losses()
    assert [one.key for one in found.objects] == ["paged"]
    assert await real.store.accept_losses([found]) == 1
    assert await run_into_loss(shipper) is None
    assert real.replica.backlog().changes == 0


async def test_a_damaged_page_stops_the_round_until_it_is_accepted(real):
    cloud, fresh = MemoryCloud(), LosingReal(real.path.with_name("fresh"), KEYRING, b"fresh")
    page, children = await put_paged(real)
    await real.put(b"after", noise(9000, 2))
    place = real.store.find_chunk(page)
    with real.directory.segment_path(place.number, place.kind).open("r+b") as file:
        file.seek(place.offset + place.header_size)
        file.write(b"damage")
    shipper = shipper_of(real, cloud, PACKED)
    assert (await run_into_loss(shipper)).chunk_id == page
    (found,) = await real.store.find_losses()
    assert (found.chunk_id, [one.key for one in found.objects]) == (page, ["paged"])
    assert await real.store.accept_losses([found]) == 1
    assert await run_into_loss(shipper) is None
    assert real.store.holdings.closed_pages(10) == [], "nobody waits for it any more"
    await pull(fresh, cloud)
    assert await fresh.read(b"after") == noise(9000, 2)
    with pytest.raises(ChunkUnavailable):
        await fresh.read(b"paged")
    await real.remove(b"paged")
    real.collect()
    real.rebuild()
    assert real.store.find_chunk(children[0]) is None, "what it listed is kept until the index is made anew"
    fresh.close()


async def test_what_hangs_on_a_damaged_base_is_found(real):
    cloud = MemoryCloud()
    await real.put(b"k", noise(3 << 20, 1))
    with real.store.view() as view:
        refs = view.current(view.bucket("bucket").uid, b"k").record.content
    assert len(refs) > 1
    changed = bytearray(noise(3 << 20, 1))
    changed[100:110] = b"0123456789"
    await real.put(b"k", bytes(changed))
    with real.store.view() as view:
        current = view.current(view.bucket("bucket").uid, b"k").record.content
        (patch,) = [ref.id for ref in current if ref not in refs]
        (base,) = view.chunk(patch).bases
    place = real.store.find_chunk(base.chunk_id)
    with real.directory.segment_path(place.number, place.kind).open("r+b") as file:
        file.seek(place.offset + place.header_size + 100)
        file.write(b"damage")
    real.store.chunk_cache.charge(1 << 40)
    found = await real.store.find_losses()
    assert {one.chunk_id for one in found} == {base.chunk_id, patch}
    assert {one.key for lost in found for one in lost.objects} == {"k"}
    assert await real.store.accept_losses(found) == 2
    assert await run_into_loss(shipper_of(real, cloud, PACKED)) is None
    assert origin_of(real)


async def test_a_machine_that_returns_goes_on_although_bytes_it_relied_on_are_gone(tmp_path):
    """It was forgotten; what it has to issue anew refers to bytes in another's pack, and that pack went meanwhile."""
    cloud = MemoryCloud()
    a, b = LosingReal(tmp_path / "a", KEYRING, b"a"), LosingReal(tmp_path / "b", KEYRING, b"b")
    third = LosingReal(tmp_path / "third", KEYRING, b"third")
    await a.put(b"big", noise(300_000))
    await ship(a, cloud, PACKED)
    for one, other in ((b, a), (a, b)):
        await pull(one, cloud)
        await one.put(b"of-" + one.path.name.encode(), b"x")
        await ship(one, cloud, PACKED)
        await pull(other, cloud)
    with b.store.view() as view:
        uid, record = view.bucket("bucket").uid, view.current(view.bucket("bucket").uid, b"big").record
    await b.store.commit(lambda view: view.put_object(uid, b"copy", record, versioned=False))
    await b.put(b"later", noise(9000, 3))
    for name in [name for name in cloud.objects if is_pack_name(name) and a.directory.site.hex() in name]:
        del cloud.objects[name]
    await forget_site(a.replica, b.directory.site, a.directory.site, a.wall_ms(), insist=True)
    await ship(a, cloud, PACKED)
    await pull(b, cloud)
    shipper, loss = shipper_of(b, cloud, PACKED), None
    for _ in range(20):
        try:
            await shipper.ship_round()
        except CloudUnreachable:  # first the cut is to be settled, then bytes are asked for again and again
            await pull(a, cloud)
            await ship(a, cloud, PACKED)
            await pull(b, cloud)
        except BytesLost as error:
            loss = error
    assert origin_of(b)[0] != b.directory.site, "it goes on as another site"
    assert loss.chunk_id == b.chunk_of(b"copy")
    assert (await shipper.ship_round(speak=True)).position.n >= 1, "others hear of the new site"
    (found,) = await b.store.find_losses()
    assert {one.key for one in found.objects} == {"big", "copy"}
    assert await b.store.accept_losses([found]) == 1
    assert await run_into_loss(shipper) is None
    await pull(third, cloud)
    assert await third.read(b"later") == noise(9000, 3)
    with pytest.raises((ChunkUnavailable, DamagedChunk)):
        await third.read(b"copy")
    await third.put(b"found again", noise(300_000))
    await ship(third, cloud, PACKED)
    for site in (a, b):
        await pull(site, cloud)
        assert await site.read(b"copy" if site is b else b"big") == noise(300_000)
    for site in (a, b, third):
        site.close()


@pytest.mark.parametrize("size", [5000, 100_000])
async def test_what_is_known_to_be_damaged_is_not_deduplicated_against(real, size):
    """Who uploads the same bytes again heals every version that has them, with nothing said by anybody."""
    cloud = MemoryCloud()
    await real.put(b"k", noise(size, 1))
    real.damage(b"k")
    shipper = shipper_of(real, cloud)
    assert await run_into_loss(shipper) is not None
    await real.put(b"again", noise(size, 1))
    for _ in range(2):
        real.store.chunk_cache.charge(1 << 40)
        assert await real.read(b"k") == await real.read(b"again") == noise(size, 1)
        before = real.dump()
        real.rebuild()
        assert real.dump() == before
    assert (await real.store.verify()).sound
    assert await run_into_loss(shipper_of(real, cloud)) is None
    assert real.replica.backlog().changes == 0


async def test_a_reader_that_meets_damage_lets_it_be_written_again(real):
    await real.put(b"k", noise(200_000, 1))
    real.damage(b"k")
    with pytest.raises(Damaged):
        await real.read(b"k")
    assert real.store.find_chunk(real.chunk_of(b"k")).refcount == 1
    real.collect()
    with real.store.view() as view:
        bucket = view.bucket("bucket")
        record = view.current(bucket.uid, b"k").record
    await real.store.commit(lambda view: view.put_object(bucket.uid, b"copy", record, versioned=False))
    with pytest.raises(Damaged):
        await real.read(b"copy")
    await real.put(b"k", noise(200_000, 1))
    assert await real.read(b"copy") == await real.read(b"k") == noise(200_000, 1)


async def test_damage_that_was_met_is_not_taken_for_the_bytes_of_who_deletes_and_uploads(real):
    await real.put(b"k", noise(200_000, 1))
    real.damage(b"k")
    with pytest.raises(Damaged):
        await real.read(b"k")
    await real.remove(b"k")
    await real.put(b"k", noise(200_000, 1))
    real.store.chunk_cache.charge(1 << 40)
    assert await real.read(b"k") == noise(200_000, 1)
    real.collect()
    assert await real.read(b"k") == noise(200_000, 1)
