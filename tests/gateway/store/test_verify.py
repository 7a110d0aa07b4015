"""Verification: what is damaged is named, and mended where the cloud has it."""

from __future__ import annotations

import random
from pathlib import Path

from msgspec.structs import replace

from gateway.store.document_format import PartRecord, UploadRecord
from gateway.store.index_format import decode_batch_row, encode_chunk
from tests.gateway.store.held_frames import HeldFrames
from tests.gateway.store.store_site import StoreSite
from tests.gateway.store.test_reading import damage, last_chunk

MIB = 1 << 20


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


async def fill(site: StoreSite) -> None:
    """Some of everything: small, paged, patched, shared, versioned, deleted, uploaded, replaced."""
    big = noise(1, 14 * MIB)
    await site.put(b"big", big)
    await site.put(b"big", big[: 5 * MIB] + b"change" + big[5 * MIB :])
    await site.put(b"copy", big)
    await site.put(b"text", b"line of text\n" * 50_000)
    for n in range(30):
        await site.put(b"small%d" % (n % 20), noise(n, 2000), versioned=n % 3 == 0)
    await site.delete(b"small7")
    await site.store.commit(lambda view: view.open_upload(UploadRecord(id="u", uid=site.uid, key=b"up")))
    for number in (1, 2, 2):
        async with site.store.writer() as writer:
            await writer.write(noise(number, 200_000))
            content = await writer.finish()
            part = PartRecord(number=number, size=content.size, content=content.refs)
            await site.store.commit(lambda view, part=part: view.put_part("u", part))


async def test_a_sound_site_is_sound_before_and_after_collection(tmp_path: Path) -> None:
    told: list[str] = []
    async with StoreSite(tmp_path / "d", segment_size=4 * MIB) as site:
        await fill(site)
        report = await site.store.verify(progress=lambda what, done, total: told.append(what))
        assert report.sound
        assert report.batches > 30
        assert report.chunks > 20
        assert report.frame_bytes > 14 * MIB
        site.collect_all()
        report = await site.store.verify()
        assert report.sound, report
        await site.delete(b"copy")
        await site.store.commit(lambda view: view.close_upload("u"))
        site.collect_all()
        assert (await site.store.verify()).sound
    assert set(told) == {"index", "batches", "segments", "chunks"}


async def test_bad_frames_are_named_and_mended(tmp_path: Path) -> None:
    cloud = HeldFrames()
    async with StoreSite(tmp_path / "d") as site:
        await fill(site)
        await cloud.ship(site)
        bad = [site.content(b"small3")[0].id, await last_chunk(site, b"copy")]
        for chunk_id in bad:
            damage(site, chunk_id)
        places = {chunk_id: site.store.find_chunk(chunk_id) for chunk_id in bad}
        report = await site.store.verify()
        assert not report.sound
        named = {(frame.chunk_id, frame.segment, frame.offset) for frame in report.bad_frames}
        assert {(chunk_id.hex(), place.number, place.offset) for chunk_id, place in places.items()} <= named
        site.store.set_fetcher(cloud)
        report = await site.store.verify(mend=True)
        assert report.sound
        assert all(frame.mended for frame in report.bad_frames)
        report = await site.store.verify()
        assert report.sound
        assert not report.bad_frames


async def test_bad_batches_are_named(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        await fill(site)
        with site.store.view() as view:
            (_, data) = list(view.transaction.scan(view.transaction.tables.batches))[5]
        row = decode_batch_row(data)
        with site.directory.segment_path(row.segment, 1).open("r+b") as file:
            file.seek(row.offset + 150)
            file.write(b"damage")
        report = await site.store.verify()
        assert not report.sound
        assert [text for text in report.bad_batches if f"segment {row.segment}, offset {row.offset}" in text]


async def test_wrong_counts_and_missing_chunks_are_found(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        await fill(site)
        counted, missing = site.content(b"small3")[0].id, site.content(b"small4")[0].id

        def spoil(view) -> None:
            applier = view.edit_index()
            row = applier.chunks.get(counted)
            tables = applier.transaction.tables
            applier.transaction.put(tables.chunks, counted, encode_chunk(replace(row, refcount=row.refcount + 1)))
            applier.chunks.take_away(missing, applier.chunks.get(missing))

        await site.store.commit(spoil)
        report = await site.store.verify()
        assert not report.sound
        assert [(wrong.chunk_id, wrong.recorded - wrong.counted) for wrong in report.wrong_counts] == [
            (counted.hex(), 1)
        ]
        assert [chunk.chunk_id for chunk in report.missing] == [missing.hex()]


async def test_stretches_without_frames_are_told(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        await site.put(b"a", noise(1, 100_000))
        await site.put(b"b", noise(2, 100_000))
        place = site.store.find_chunk(site.content(b"a")[0].id)
        assert place is not None
        with site.directory.segment_path(place.number, place.kind).open("r+b") as file:
            file.seek(place.offset)
            file.write(bytes(4))
        report = await site.store.verify()
        stretches = [(stretch.segment, stretch.start) for stretch in report.broken_stretches]
        assert stretches == [(place.number, place.offset)]
        assert [frame.offset for frame in report.bad_frames] == [place.offset]
