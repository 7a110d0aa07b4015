"""Collection: dead space comes back, and nothing that anyone needs goes."""

from __future__ import annotations

import errno
import random
from pathlib import Path

import pytest

from gateway.store.document_format import PartRecord, UploadRecord
from gateway.store.errors import Damaged, StoreError
from gateway.store.object_format import ObjectRecord
from gateway.store.segment_format import KIND_DATA
from gateway.store.shared import Shared
from gateway.store.store import rebuild_store_index
from tests.gateway.store.failing_files import FailingFiles
from tests.gateway.store.store_site import KEYRING, SETTINGS, StoreSite

MIB = 1 << 20


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


async def test_deleted_bytes_come_back_and_the_rest_stays(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d", segment_size=4 * MIB) as site:
        kept = {b"kept%d" % n: noise(n, 300_000 + n) for n in range(6)}
        for n, (key, data) in enumerate(kept.items()):
            await site.put(key, data)
            await site.put(b"gone%d" % n, noise(100 + n, 3 * MIB))
        before = site.disk_bytes()
        for n in range(6):
            await site.delete(b"gone%d" % n)
        assert site.collect_all() > 0
        assert site.disk_bytes() < before - 10 * MIB
        assert site.chunk_count() == len(kept)
        for key, data in kept.items():
            assert await site.get(key) == data
    async with StoreSite(tmp_path / "d") as site:
        for key, data in kept.items():
            assert await site.get(key) == data


async def test_a_reader_keeps_what_it_reads(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d", segment_size=2 * MIB) as site:
        data = noise(1, 12 * MIB)
        await site.put(b"a", data)
        await site.put(b"b", noise(2, 5000))
        reading = site.store.read(site.content(b"a"))
        first = await anext(reading)
        await site.delete(b"a")
        site.collect_all()
        rest = b"".join([piece async for piece in reading])
        assert first + rest == data
        assert site.chunk_count() > 1
        site.collect_all()
        assert site.chunk_count() == 1


async def test_a_writer_keeps_what_it_deduplicated_against(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d", segment_size=2 * MIB) as site:
        data = noise(1, 6 * MIB)
        await site.put(b"a", data)
        async with site.store.writer() as writer:
            await writer.write(data)
            content = await writer.finish()
            await site.delete(b"a")
            site.collect_all()
            assert site.chunk_count() > 0
        site.collect_all()
        assert site.chunk_count() == 0
        assert content.size == len(data)


async def test_a_writer_may_use_what_was_condemned_after_it_looked(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        data = noise(1, 6 * MIB)
        await site.put(b"a", data)
        async with site.store.writer() as writer:
            await writer.write(data)
            content = await writer.finish()
            await site.delete(b"a")
            while site.store.collector.collect_step():
                pass
            record = ObjectRecord(size=content.size, content=content.refs)
            await site.store.commit(lambda view: view.put_object(site.uid, b"b", record, versioned=False))
        site.collect_all()
        assert await site.get(b"b") == data


async def test_what_was_pardoned_is_not_dropped_by_the_older_sentence(tmp_path: Path) -> None:
    """Condemned, used again, deleted again: a writer that found it in between has a later epoch than the sentence."""
    async with StoreSite(tmp_path / "d") as site:
        data = noise(1, 400_000)
        await site.put(b"a", data)
        async with site.store.writer() as early:
            await early.write(data)
            content = await early.finish()
            await site.delete(b"a")
            while site.store.collector.collect_step():
                pass
            record = ObjectRecord(size=content.size, content=content.refs)
            await site.store.commit(lambda view: view.put_object(site.uid, b"b", record, versioned=False))
            await site.delete(b"b")
        site.store.shared.advance_epoch()
        async with site.store.writer() as late:
            await late.write(data)
            content = await late.finish()
            site.collect_all()
            await site.store.commit(lambda view: view.put_object(site.uid, b"c", record, versioned=False))
        site.collect_all()
        assert await site.get(b"c") == data


async def test_a_segment_whose_live_frames_cannot_be_found_is_not_tried_for_ever(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d", segment_size=2 * MIB) as site:
        await site.put(b"good", noise(1, 300_000))
        await site.put(b"gone", noise(2, MIB))
        await site.put(b"more", noise(3, 3 * MIB))
        with site.store.view() as view:
            place = view.chunk(site.store.frames.chunk_id(noise(1, 300_000)))
        assert place is not None
        path = site.directory.segment_path(place.number, KIND_DATA)
        with path.open("r+b") as file:
            file.seek(place.offset)
            file.write(b"damage")
        await site.delete(b"gone")
        site.collect_all()
        assert path.exists()


async def test_condemned_chunks_are_written_again(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        data = noise(1, 400_000)
        await site.put(b"a", data)
        await site.delete(b"a")
        holder = site.store.shared.enter()
        while site.store.collector.collect_step():
            pass
        with site.store.view() as view:
            place = view.chunk(site.store.frames.chunk_id(data))
        assert place is not None
        assert place.condemned
        await site.put(b"b", data)
        site.store.shared.leave(holder)
        site.collect_all()
        assert await site.get(b"b") == data
        assert site.chunk_count() == 1


async def test_bases_stay_while_patches_need_them(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d", segment_size=MIB) as site:
        first = noise(1, 2 * MIB)
        second = first[:MIB] + b"changed" + first[MIB:]
        await site.put(b"a", first)
        stored = site.disk_bytes()
        await site.put(b"a", second)
        assert site.disk_bytes() - stored < 10_000
        site.collect_all()
        assert await site.get(b"a") == second
        await site.put(b"b", noise(9, 3 * MIB))
        await site.delete(b"a")
        site.collect_all()
        assert await site.get(b"b") == noise(9, 3 * MIB)
        live = site.chunk_count()
        await site.delete(b"b")
        site.collect_all()
        assert live > site.chunk_count() == 0


async def test_pages_let_their_children_go(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d", segment_size=8 * MIB) as site:
        data = noise(1, 24 * MIB)
        await site.put(b"a", data)
        assert len(site.content(b"a")) == 1, "a page"
        await site.put(b"b", data)
        await site.delete(b"a")
        site.collect_all()
        assert await site.get(b"b") == data
        await site.delete(b"b")
        site.collect_all()
        assert site.chunk_count() == 0


async def test_aborted_uploads_are_let_go(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        upload = UploadRecord(id="u1", uid=site.uid, key=b"k")
        await site.store.commit(lambda view: view.open_upload(upload))
        for number in range(1, 150):
            async with site.store.writer() as writer:
                await writer.write(b"part %d" % number)
                content = await writer.finish()
                part = PartRecord(number=number, size=content.size, content=content.refs)
                await site.store.commit(lambda view, part=part: view.put_part("u1", part))
        site.collect_all()
        assert site.chunk_count() == 149
        await site.store.commit(lambda view: view.close_upload("u1"))
        site.collect_all()
        assert site.chunk_count() == 0


async def test_log_segments_give_back_dead_inline_frames(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d", segment_size=MIB) as site:
        for n in range(200):
            await site.put(b"k%d" % n, noise(n, 16_000))
        for n in range(199):
            await site.delete(b"k%d" % n)
        before = sum(path.stat().st_blocks for path in site.directory.segments.glob("*.log"))
        site.collect_all()
        after = sum(path.stat().st_blocks for path in site.directory.segments.glob("*.log"))
        assert after < before * 0.7
        assert await site.get(b"k199") == noise(199, 16_000)
    rebuild_store_index(site.directory, KEYRING, SETTINGS)
    async with StoreSite(tmp_path / "d") as site:
        assert await site.get(b"k199") == noise(199, 16_000)
        with site.store.view() as view:
            assert view.current(site.uid, b"k5") is None


async def test_what_was_collected_stays_away_after_a_rebuild(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d", segment_size=2 * MIB) as site:
        for n in range(8):
            await site.put(b"k%d" % n, noise(n, MIB + 5))
        for n in range(0, 8, 2):
            await site.delete(b"k%d" % n)
        site.collect_all()
    rebuild_store_index(site.directory, KEYRING, SETTINGS)
    async with StoreSite(tmp_path / "d") as site:
        for n in range(1, 8, 2):
            assert await site.get(b"k%d" % n) == noise(n, MIB + 5)
        site.collect_all()
        for n in range(1, 8, 2):
            assert await site.get(b"k%d" % n) == noise(n, MIB + 5)
        assert site.content(b"k0") == ()


async def test_damage_is_left_where_it_is(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d", segment_size=2 * MIB) as site:
        await site.put(b"good", noise(1, 300_000))
        await site.put(b"gone", noise(2, MIB))
        await site.put(b"more", noise(3, 3 * MIB))
        with site.store.view() as view:
            place = view.chunk(site.store.frames.chunk_id(noise(1, 300_000)))
        assert place is not None
        path = site.directory.segment_path(place.number, KIND_DATA)
        with path.open("r+b") as file:
            file.seek(place.offset + 5000)
            file.write(b"damage")
        await site.delete(b"gone")
        with pytest.raises(Damaged, match=f"segment {place.number}"):
            site.collect_all()
        site.collect_all()
        assert path.exists()
        assert await site.get(b"more") == noise(3, 3 * MIB)


@pytest.mark.parametrize("call", ["append", "fdatasync", "unlink"])
async def test_a_failing_step_loses_nothing(tmp_path: Path, call: str) -> None:
    files = FailingFiles()
    async with StoreSite(tmp_path / "d", files=files, segment_size=2 * MIB) as site:
        for n in range(8):
            await site.put(b"k%d" % n, noise(n, MIB - 4096))
        for n in range(0, 8, 2):
            await site.delete(b"k%d" % n)
        for n in range(0, 8, 2):
            await site.put(b"s%d" % n, noise(n + 50, 1000))
        files.fail[call] = (1, errno.ENOSPC if call == "append" else errno.EIO)
        with pytest.raises((StoreError, OSError)):
            site.collect_all()
        files.fail.clear()
    async with StoreSite(tmp_path / "d") as site:
        site.collect_all()
        for n in range(1, 8, 2):
            assert await site.get(b"k%d" % n) == noise(n, MIB - 4096)


async def test_files_no_row_knows_are_taken_away_but_not_the_newest(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        await site.put(b"a", noise(1, 100_000))
        orphan = site.directory.segment_path(0, KIND_DATA)
        orphan.write_bytes(b"a header that was never written whole")
        site.collect_all()
        assert not orphan.exists()
        assert len(list(site.directory.segments.glob("*.data"))) == 1
    async with StoreSite(tmp_path / "d") as site:
        await site.delete(b"a")
        site.collect_all()
        assert len(list(site.directory.segments.glob("*.data"))) == 1, "the highest number stays, dead or not"


async def test_segments_others_append_to_are_left_alone(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        await site.put(b"a", noise(1, 100_000))
        neighbour = Shared(site.directory)
        theirs = site.directory.segment_path(4, KIND_DATA)
        for number in (4, 6):
            site.directory.segment_path(number, KIND_DATA).write_bytes(b"a neighbour's")
        neighbour.set_open_segment(KIND_DATA, 4)
        site.collect_all()
        assert theirs.exists()
        neighbour.close()
        site.collect_all()
        assert not theirs.exists()


async def test_what_was_staged_in_a_doomed_segment_and_committed_since_stays(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d", segment_size=MIB) as site:
        data = noise(1, 6 * MIB)
        async with site.store.writer() as writer:
            await writer.write(data)
            content = await writer.finish()
            site.collect_all()  # finds segments in which nothing is alive yet, and must wait
            record = ObjectRecord(size=content.size, etag="e", content=content.refs)
            await site.store.commit(lambda view: view.put_object(site.uid, b"k", record, versioned=False))
        site.collect_all()
        assert await site.get(b"k") == data
        assert (await site.store.verify()).sound


async def test_a_file_that_cannot_be_unlinked_is_said_and_tried_again(tmp_path: Path) -> None:
    files = FailingFiles()
    async with StoreSite(tmp_path / "d", segment_size=2 * MIB, files=files) as site:
        await site.put(b"gone", noise(1, 5 * MIB))
        await site.put(b"kept", noise(2, 3 * MIB))
        before = site.disk_bytes()
        await site.delete(b"gone")
        files.fail["unlink"] = (0, errno.EIO)
        with pytest.raises(StoreError):
            site.collect_all()
        del files.fail["unlink"]
        site.collect_all()
        assert site.disk_bytes() < before - 4 * MIB
        assert await site.get(b"kept") == noise(2, 3 * MIB)
