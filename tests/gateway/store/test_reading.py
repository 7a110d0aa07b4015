"""Reading: every size and range, damage at its piece, and readers that go away."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest
from msgspec.structs import replace

from gateway.store.errors import ChunkUnavailable, Damaged
from gateway.store.frames import FrameMaker
from gateway.store.object_format import ObjectRecord
from gateway.store.segment_format import KIND_DATA
from gateway.store.stretches import Stretches
from replication.change_format import REF_DATA, Ref
from replication.ports import Frame
from tests.gateway.store.failing_files import FailingFiles
from tests.gateway.store.held_frames import HeldFrames
from tests.gateway.store.store_site import KEYRING, StoreSite

MIB = 1 << 20


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.mark.parametrize("size", [0, 1, 16 << 10, (16 << 10) + 1, 65_536, 65_537, 300_000, 5 * MIB, 23 * MIB + 7])
async def test_what_was_put_is_got(tmp_path: Path, size: int) -> None:
    async with StoreSite(tmp_path / "d") as site:
        data = noise(size, size)
        await site.put(b"k", data)
        refs = site.content(b"k")
        assert await site.read(refs) == data
        small = site.store.read_small(refs)
        assert small in (data, None)
        assert small is None or size <= 65_536
        source = random.Random(1)
        for _ in range(30):
            start, length = source.randrange(size + 1), source.randrange(size + 10)
            assert await site.read(refs, start, length) == data[start : start + length]
        assert await site.read(refs, size, 10) == b""
        assert await site.read(refs, 0, 0) == b""


async def test_pieces_are_at_most_four_mebibytes(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        await site.put(b"k", bytes(30 * MIB))
        assert max([len(piece) async for piece in site.store.read(site.content(b"k"))]) <= 4 * MIB


async def test_damage_is_said_at_the_piece_that_has_it(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        data = noise(1, 10 * MIB)
        await site.put(b"k", data)
        await site.put(b"small", noise(2, 5000))
        for chunk_id in (site.content(b"small")[0].id, await last_chunk(site, b"k")):
            damage(site, chunk_id)
    async with StoreSite(tmp_path / "d") as site:
        got = bytearray()

        async def read_all() -> None:
            async for piece in site.store.read(site.content(b"k")):
                got.extend(piece)

        with pytest.raises(Damaged, match="does not authenticate"):
            await read_all()
        assert data.startswith(got)
        assert 0 < len(got) < len(data)
        assert site.store.read_small(site.content(b"small")) is None
        with pytest.raises(Damaged):
            await site.get(b"small")
        assert site.store.shared.advance_epoch(), "a failed read no longer holds the epoch"


async def last_chunk(site: StoreSite, key: bytes) -> bytes:
    ref = site.content(key)[-1]
    while ref.kind != REF_DATA:
        ref = (await site.store.reader.load_page(ref))[-1]
    return ref.id


def damage(site: StoreSite, chunk_id: bytes) -> None:
    place = site.store.find_chunk(chunk_id)
    assert place is not None
    with site.directory.segment_path(place.number, place.kind).open("r+b") as file:
        file.seek(place.offset + place.header_size + 100)
        byte = file.read(1)
        file.seek(-1, 1)
        file.write(bytes([byte[0] ^ 1]))


async def test_an_abandoned_read_lets_go(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        await site.put(b"k", noise(1, 10 * MIB))
        epoch = site.store.shared.epoch
        reading = site.store.read(site.content(b"k"))
        await anext(reading)
        assert site.store.shared.advance_epoch()
        assert site.store.shared.oldest_active() == epoch
        del reading
        assert site.store.shared.oldest_active() == epoch + 1


async def test_refs_that_lie_about_their_size_are_not_followed(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        await site.put(b"k", noise(1, 100_000))
        ref = site.content(b"k")[0]
        with pytest.raises(Damaged, match="another size"):
            await site.read((Ref(ref.kind, ref.id, ref.size - 1),))
        with pytest.raises(Damaged, match="neither on this site"):
            await site.read((Ref(REF_DATA, bytes(32), 5),))


# what is only in the cloud


async def test_remote_bytes_are_fetched_verified_kept_and_read_again_without_the_cloud(tmp_path: Path) -> None:
    cloud = HeldFrames()
    async with (
        StoreSite(tmp_path / "a") as a,
        StoreSite(tmp_path / "b", site=b"t" * 16, fetcher=cloud) as b,
    ):
        first = noise(1, 20 * MIB)
        second = first[: 9 * MIB] + b"changed" + first[9 * MIB :]
        objects = {b"small": noise(2, 5000), b"k": first, b"patched": second}
        await a.put(b"small", objects[b"small"])
        await a.put(b"k", first)
        async with a.store.writer(replaces=a.content(b"k")) as writer:
            await writer.write(second)
            content = await writer.finish()
            record = ObjectRecord(size=content.size, etag="e", content=content.refs)
            await a.store.commit(lambda view: view.put_object(a.uid, b"patched", record, versioned=False))
        await cloud.ship(a, b)
        uid = b.uid
        b.uid = a.uid
        for key in (b"patched", b"k", b"small"):
            assert b.store.read_small(b.content(key)) is None
            assert await b.get(key) == objects[key]
        assert any(len(asked) > 1 for asked in cloud.asked), "neighbours are asked for together"
        cloud.reachable = False
        calls = len(cloud.asked)
        for key, data in objects.items():
            assert await b.get(key) == data
        assert len(cloud.asked) == calls
        b.uid = uid
        assert (await b.store.verify()).sound


async def test_an_unreachable_cloud_is_unknown_not_absent(tmp_path: Path) -> None:
    cloud = HeldFrames()
    async with StoreSite(tmp_path / "a") as a, StoreSite(tmp_path / "b", site=b"t" * 16) as b:
        await a.put(b"k", noise(1, 100_000))
        await cloud.ship(a, b)
        b.uid = a.uid
        with pytest.raises(ChunkUnavailable, match="none is configured"):
            await b.get(b"k")
        b.store.set_fetcher(cloud)
        cloud.reachable = False
        with pytest.raises(ChunkUnavailable, match="no answer"):
            await b.get(b"k")
        cloud.reachable = True
        held, cloud.frames = cloud.frames, {}
        with pytest.raises(Damaged, match="missing there"):
            await b.get(b"k")
        cloud.frames = {name: Frame(frame.header, frame.ciphertext[:-1] + b"x") for name, frame in held.items()}
        with pytest.raises(Damaged, match="authenticate"):
            await b.get(b"k")
        cloud.frames = held
        assert await b.get(b"k") == noise(1, 100_000)


async def test_what_is_fetched_is_synced_before_the_index_points_at_it(tmp_path: Path) -> None:
    cloud, files = HeldFrames(), FailingFiles()
    async with (
        StoreSite(tmp_path / "a") as a,
        StoreSite(tmp_path / "b", site=b"t" * 16, fetcher=cloud, files=files) as b,
    ):
        await a.put(b"k", noise(1, 100_000))
        await cloud.ship(a, b)
        b.uid = a.uid
        files.calls.clear()
        await b.get(b"k")
        assert files.calls[-2:] == ["fdatasync", "sync_directory"], "the index alone syncs nothing"
        place = b.store.find_chunk(b.content(b"k")[0].id)
        assert place is not None
        assert place.local


async def test_many_readers_fetch_a_chunk_once(tmp_path: Path) -> None:
    cloud = HeldFrames()
    async with (
        StoreSite(tmp_path / "a") as a,
        StoreSite(tmp_path / "b", site=b"t" * 16, fetcher=cloud) as b,
    ):
        await a.put(b"k", noise(1, 100_000))
        await cloud.ship(a, b)
        b.uid = a.uid
        cloud.gate = asyncio.Event()
        reads = [asyncio.create_task(b.get(b"k")) for _ in range(8)]
        while not cloud.asked:
            await asyncio.sleep(0)
        reads[0].cancel()
        cloud.gate.set()
        assert await asyncio.gather(*reads[1:]) == [noise(1, 100_000)] * 7
        assert len(cloud.asked) == 1


async def test_a_full_disk_still_serves_what_is_remote(tmp_path: Path) -> None:
    cloud = HeldFrames()
    async with (
        StoreSite(tmp_path / "a") as a,
        StoreSite(tmp_path / "b", site=b"t" * 16, fetcher=cloud) as b,
    ):
        await a.put(b"k", noise(1, 100_000))
        await cloud.ship(a, b)
        b.uid = a.uid
        b.store.reserve._reserve_bytes = 1 << 60
        b.store.reserve.learn(0)
        for _ in range(2):
            assert await b.get(b"k") == noise(1, 100_000)
        assert len(cloud.asked) == 2


async def test_a_damaged_frame_is_mended_from_the_cloud(tmp_path: Path) -> None:
    cloud = HeldFrames()
    async with StoreSite(tmp_path / "a") as a:
        await a.put(b"k", noise(1, 3 * MIB))
        await cloud.ship(a)
        chunk_id = await last_chunk(a, b"k")
        damage(a, chunk_id)
    async with StoreSite(tmp_path / "a") as a:
        with pytest.raises(Damaged):
            await a.get(b"k")
        a.store.set_fetcher(cloud)
        assert await a.get(b"k") == noise(1, 3 * MIB)
        assert len(cloud.asked) == 1
        place = a.store.find_chunk(chunk_id)
        assert place is not None
        assert place.kind == KIND_DATA
        a.store.set_fetcher(None)
        assert await a.get(b"k") == noise(1, 3 * MIB)
        assert (await a.store.verify()).sound


async def whole(site: StoreSite, key: bytes) -> tuple[bytes, int]:
    """A large chunk in the middle of an object that is stored as it is, opened once in part: its id, its offset."""
    refs, at = list(site.content(key)), 0
    while refs[0].kind != REF_DATA:
        refs[:1] = await site.store.reader.load_page(refs[0])
    for ref in refs:
        if at and ref.size > MIB // 2:
            break
        at += ref.size
    await site.get(key, at + 1000, 10)
    site.store.parts.cache._chunks.clear()
    return ref.id, at


def opened(site: StoreSite, monkeypatch) -> list[int]:
    """Sizes of the frames that are opened whole from now on."""
    sizes: list[int] = []
    open_frame = site.store.frames.open

    def record(header, ciphertext, base=b""):
        sizes.append(header.raw_size)
        return open_frame(header, ciphertext, base)

    monkeypatch.setattr(site.store.frames, "open", record)
    return sizes


async def test_ranges_out_of_a_chunk_that_was_opened_once_open_stretches_only(tmp_path: Path, monkeypatch) -> None:
    async with StoreSite(tmp_path / "d") as site:
        data = noise(1, 9 * MIB + 5)
        await site.put(b"k", data)
        await whole(site, b"k")
        for start in range(0, len(data), MIB // 8):
            await site.get(b"k", start, 1)
        site.store.parts.cache._chunks.clear()
        sizes, source = opened(site, monkeypatch), random.Random(2)
        refs = site.content(b"k")
        for _ in range(200):
            start, length = source.randrange(len(data)), source.randrange(1, 100_000)
            assert await site.read(refs, start, length) == data[start : start + length]
            inside = min(length, len(data) - start)
            assert site.store.read_now(refs, start, inside) == data[start : start + inside]
        for start in (0, len(data) - 1, len(data) - 70_000, 32 << 10, (32 << 10) - 1):
            assert await site.read(refs, start, 65_536) == data[start : start + 65_536]
        assert sizes == []
        assert site.store.read_now(refs, 0, MIB) is None  # not short
        site.store.reader._pages.clear()
        assert site.store.read_now(refs, 0, 10) in (None, data[:10])


async def test_what_has_to_be_waited_for_is_not_read_now(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        await site.put(b"k", noise(1, 3 * MIB))
        assert site.store.read_now(site.content(b"k"), 1000, 10) is None


async def test_compressed_chunks_and_patches_are_opened_whole(tmp_path: Path, monkeypatch) -> None:
    async with StoreSite(tmp_path / "d") as site:
        text = b"".join(b"%d line of text\n" % number for number in range(60_000))
        data = noise(1, 3 * MIB)
        await site.put(b"text", text)
        await site.put(b"patched", data)
        await site.put(b"patched", data[:MIB] + b"!" + data[MIB:])
        for key, body in ((b"text", text), (b"patched", data[:MIB] + b"!" + data[MIB:])):
            for _ in range(2):
                for start in (0, 300_000, MIB - 10):
                    assert await site.get(key, start, 70_000) == body[start : start + 70_000]
                site.store.parts.cache._chunks.clear()


async def test_a_stretch_that_is_damaged_is_not_returned_and_the_rest_is(tmp_path: Path, monkeypatch) -> None:
    async with StoreSite(tmp_path / "d") as site:
        data = noise(1, 9 * MIB)
        await site.put(b"k", data)
        chunk_id, at = await whole(site, b"k")
        place = site.store.find_chunk(chunk_id)
        path = site.directory.segment_path(place.number, KIND_DATA)
        with path.open("r+b") as file:
            file.seek(place.offset + place.header_size + 100_000)
            byte = file.read(1)
            file.seek(-1, 1)
            file.write(bytes([byte[0] ^ 1]))
        sizes = opened(site, monkeypatch)
        assert await site.get(b"k", at + 200_000, 1000) == data[at + 200_000 : at + 201_000]
        assert site.store.read_now(site.content(b"k"), at + 99_000, 2000) is None
        assert sizes == []
        with pytest.raises(Damaged, match="does not authenticate"):
            await site.get(b"k", at + 99_000, 2000)


async def test_stretches_of_a_frame_are_found_where_it_was_moved_and_not_in_another_frame(
    tmp_path: Path, monkeypatch
) -> None:
    async with StoreSite(tmp_path / "d", segment_size=2 * MIB) as site:
        data = noise(1, 9 * MIB)
        await site.put(b"k", data)
        chunk_id, at = await whole(site, b"k")
        before = site.store.find_chunk(chunk_id)
        sizes = opened(site, monkeypatch)
        moved = replace(before, offset=before.offset + 1)
        assert site.store.local.read_stretch(chunk_id, moved, 5000, 6000) is None
        assert site.store.local.read_stretch(chunk_id, replace(before, slot=before.slot + 1), 5000, 6000) is None
        assert site.store.local.read_stretch(chunk_id, before, 5000, 6000) == data[at + 5000 : at + 6000]
        assert sizes == []


def test_what_is_known_of_frames_is_bounded() -> None:
    known, frames = Stretches(20_000), FrameMaker(KEYRING)
    for number in range(60):
        plaintext = noise(number, 1 << 18)
        frame = frames.seal(0, frames.chunk_id(plaintext), plaintext)
        known.learn(KEYRING, frame.header, plaintext)
        known.learn(KEYRING, frame.header, plaintext)
    assert 0 < known._bytes <= 20_000
    assert known._bytes == sum(400 + len(entry.tags) for entry in known._known.values())
