"""The scrub: a rotation reads everything, goes on where it was, names what is bad and mends what the cloud has."""

import random

import msgspec
import pytest

from gateway.store.log_rows import read_batch_row
from gateway.store.scrub import ScrubState, first_write_ms
from gateway.store.segment_format import KIND_DATA, KIND_LOG
from tests.gateway.store.store_site import StoreSite
from tests.gateway.store.test_evict import HeldFrames

MIB = 1 << 20


def noise(seed, size):
    return random.Random(seed).randbytes(size)


@pytest.fixture
def cloud():
    return HeldFrames()


@pytest.fixture
async def site(tmp_path, cloud):
    async with StoreSite(tmp_path / "d", fetcher=cloud) as site:
        for number in range(80):
            await site.put(b"%d" % number, noise(number, 20_000))
        await site.put(b"large", noise(1000, 6 * MIB))
        yield site


async def rotate(site, state=None, now_ms=1000):
    scrubber = site.store.scrubber(state or ScrubState())
    await scrubber.step(now_ms)
    while scrubber.state.is_under_way:
        await scrubber.step(now_ms + 5)
    return scrubber.state


def flip(site, key):
    """Damage the first frame of an object on the disk."""
    place = site.store.find_chunk(site.content(key)[0].id)
    path = site.store.directory.segment_path(place.number, place.kind)
    data = bytearray(path.read_bytes())
    data[place.offset + place.header_size + 3] ^= 1
    path.write_bytes(data)
    site.store.parts.cache._chunks.clear()


async def test_a_rotation_reads_everything(site):
    state = await rotate(site)
    report = await site.store.verify()
    assert (state.batches, state.chunks, state.frame_bytes) == (report.batches, report.chunks, report.frame_bytes)
    assert state.findings == ()
    assert (state.begun_ms, state.whole_begun_ms, state.whole_ended_ms) == (1000, 1000, 1005)
    assert state.oldest_ms() == 1000
    assert msgspec.json.decode(msgspec.json.encode(state), type=ScrubState) == state


async def test_it_goes_on_where_it_was_and_ages_by_whole_rotations(site):
    scrubber = site.store.scrubber(ScrubState())
    for _ in range(4):
        await scrubber.step(7)
    assert scrubber.state.is_under_way
    assert scrubber.state.oldest_ms() == 7
    whole = await rotate(site, scrubber.state)
    assert whole.chunks == (await site.store.verify()).chunks, "nothing is read twice"
    scrubber = site.store.scrubber(whole)
    await scrubber.step(5_000_000)
    assert scrubber.state.is_under_way
    assert scrubber.state.oldest_ms() == 7, "until this rotation is whole"
    assert (await rotate(site, scrubber.state)).oldest_ms() == 5_000_000


async def test_damage_is_named_and_stays_named_until_a_rotation_finds_none(site):
    flip(site, b"5")
    state = await rotate(site)
    chunk = site.content(b"5")[0].id.hex()
    assert len(state.findings) == 1
    assert chunk in state.findings[0]
    assert state.mended == 0
    flip(site, b"5")  # back
    assert (await rotate(site, state, 2000)).findings == ()


async def test_what_the_cloud_has_is_mended(site, cloud):
    await cloud.ship(site)
    flip(site, b"5")
    flip(site, b"large")
    state = await rotate(site)
    assert (state.findings, state.mended) == ((), 2)
    assert (await site.store.verify()).sound
    assert await site.get(b"large") == noise(1000, 6 * MIB)


async def test_a_chunk_that_is_nowhere_is_named_at_the_end_if_nothing_told_of_it_meanwhile(site, cloud):
    await cloud.ship(site)
    content = site.content(b"5")
    assert await site.store.evict(content) > 0
    for told in (False, True):
        scrubber = site.store.scrubber(ScrubState())
        located = forget(site, content[0].id)
        await scrubber.step(1)
        while scrubber.state.is_under_way and not scrubber.state.missing:
            await scrubber.step(1)
        if told:
            restore(site, located)
        while scrubber.state.is_under_way:
            await scrubber.step(1)
        assert len(scrubber.state.findings) == (0 if told else 1)
        restore(site, located)


def forget(site, chunk_id):
    """As if the log that says where a chunk lies had not come yet: what it would say."""
    transaction = site.store.index.begin_write()
    located = dict(transaction.scan(transaction.tables.cloud, chunk_id, chunk_id))
    for key in located:
        transaction.delete(transaction.tables.cloud, key)
    transaction.commit()
    return located


def restore(site, located):
    transaction = site.store.index.begin_write()
    for key, value in located.items():
        transaction.put(transaction.tables.cloud, key, value)
    transaction.commit()


async def test_a_damaged_log_batch_is_named(site):
    with site.store.view() as view:
        row = read_batch_row(view.transaction, 3)
    path = site.store.directory.segment_path(row.segment, KIND_LOG)
    data = bytearray(path.read_bytes())
    data[row.offset + 110] ^= 1
    path.write_bytes(data)
    state = await rotate(site)
    assert any(finding.startswith("log: ") and "batch 3" in finding for finding in state.findings)


async def test_a_clock_that_jumps_neither_ends_nor_repeats_a_rotation(site):
    state = await rotate(site, now_ms=9_000_000)
    scrubber = site.store.scrubber(state)
    await scrubber.step(1000)  # set back since
    steps = 1
    while scrubber.state.is_under_way:
        await scrubber.step(1000 - steps)
        steps += 1
        assert steps < 1000, "it begins again and again"
    assert (scrubber.state.begun_ms, scrubber.state.whole_begun_ms) == (1000, 1000)


async def test_before_the_first_whole_rotation_the_oldest_byte_is_as_old_as_the_site(site):
    with site.store.view() as view:
        written_ms = first_write_ms(view)
    assert written_ms > 0
    scrubber = site.store.scrubber(ScrubState())
    await scrubber.step(written_ms + 5_000_000)
    assert scrubber.state.is_under_way
    assert scrubber.state.oldest_ms() == written_ms, "bytes that nobody read back since they were written"


async def test_a_damaged_value_of_the_index_is_found(site):
    with site.store.index.begin_write() as transaction:
        heads = transaction.tables.heads
        key, value = next(transaction.scan(heads))
        transaction.raw.put(key, value + b"\0\0\0\0", db=heads)
        transaction.commit()
    state = await rotate(site)
    assert len(state.findings) == 1
    assert state.findings[0].startswith("index: table heads")
    assert not (await site.store.verify()).sound


async def test_a_damaged_segment_header_is_named_and_collection_moves_what_lies_behind_it(site):
    site.store.appender.roll()
    await site.put(b"next", noise(5, 40_000))
    number = site.store.directory.segment_numbers(KIND_DATA)[0]
    path = site.store.directory.segment_path(number, KIND_DATA)
    path.write_bytes(b"\0" + path.read_bytes()[1:])
    state = await rotate(site)
    told = f"segment {number}.data, offset 0: not a segment: it does not begin with a segment header"
    assert state.findings == (told,)
    report = await site.store.verify()
    assert not report.sound
    assert report.bad_segments
    site.collect_all()
    assert not path.exists()
    assert (await site.store.verify()).sound
    assert await site.get(b"large") == noise(1000, 6 * MIB)


async def test_what_is_damaged_names_the_objects_that_need_it(site):
    data = noise(77, 3 * MIB)
    await site.put(b"patched", data)
    await site.put(b"patched", data[:MIB] + b"another" + data[MIB + 7 :])
    flip(site, b"large")
    flip(site, b"3")
    report = await site.store.verify()
    assert {name for frame in report.bad_frames for name in frame.objects} == {"bucket/large", "bucket/3"}
    state = await rotate(site)
    assert sum("needed by bucket/" in finding for finding in state.findings) == 2
