"""A rebuilt index over segments that were collected: what the log says was there once need not be there any more."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.store.layout import DataDirectory
from gateway.store.logical_dump import logical_dump
from gateway.store.object_format import ObjectRecord
from gateway.store.segment_format import KIND_DATA
from gateway.store.store import rebuild_store_index
from replication.cloud_memory import MemoryCloud
from replication.frame_format import CODEC_PATCH
from replication.hydrate import CloudFetcher
from replication.offload import run_at_once
from replication.puller import Puller
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Shipper
from tests.gateway.store.index_site import IndexSite
from tests.gateway.store.recount import recount
from tests.gateway.store.store_site import KEYRING, SETTINGS, StoreSite

MIB = 1 << 20
UID = b"u" * 16


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


async def test_a_dead_patch_whose_base_is_gone_is_not_deduplicated_against(tmp_path: Path) -> None:
    first = noise(1, 300_000)
    second = first[:150_000] + b"changed" + first[150_000:]
    async with StoreSite(tmp_path / "d", segment_size=2 * MIB) as site:
        await site.put(b"k", first)
        await site.put(b"filler", noise(2, 2 * MIB - 400_000))
        await site.put(b"kept", noise(3, MIB))
        await site.put(b"k", second)
        await site.put(b"kept too", noise(4, 2 * MIB))
        await site.delete(b"k")
        await site.delete(b"filler")
        site.collect_all()
    rebuild_store_index(site.directory, KEYRING, SETTINGS)
    async with StoreSite(tmp_path / "d") as site:
        await site.put(b"again", second)
        site.collect_all()
        assert await site.get(b"again") == second
        recount(site.store.index, site.store.parts.open_pages)


async def test_a_dead_page_whose_children_are_gone_is_not_deduplicated_against(tmp_path: Path) -> None:
    body = noise(1, 16 * MIB)
    async with StoreSite(tmp_path / "d", segment_size=6 * MIB) as site:
        await site.put(b"k", body)
        assert len(site.content(b"k")) == 1, "a page"
        await site.put(b"kept", noise(3, 6 * MIB))
        await site.delete(b"k")
        site.collect_all()
        with site.store.view() as view:
            assert view.chunk(site.store.frames.chunk_id(body[: 1 << 18])) is None
    rebuild_store_index(site.directory, KEYRING, SETTINGS)
    async with StoreSite(tmp_path / "d") as site:
        await site.put(b"again", body)
        site.collect_all()
        assert await site.get(b"again") == body
        recount(site.store.index, site.store.parts.open_pages)


def test_pages_within_pages_that_were_moved_out_of_the_log_keep_what_they_list(tmp_path: Path) -> None:
    """Their batches' frames were given back, so no batch places them: they are found, whatever their ids."""
    with IndexSite(tmp_path / "a") as site:
        tops = []
        for number in range(6):
            children = tuple(site.stage(b"%d-%d" % (number, n) * 900, inline=False) for n in range(3))
            inner = tuple(site.stage_page(children[: n + 1]) for n in range(3))
            tops.append((site.stage_page(inner), children))
        for number, (top, _) in enumerate(tops):
            record = ObjectRecord(content=(top,))
            site.commit(
                lambda view, key=b"k%d" % number, record=record: view.put_object(UID, key, record, versioned=False)
            )
        site.put(UID, b"newest", b"the newest batch is never touched")
        with site.view() as view:
            rows = {
                key: view.chunk(key)
                for key, _ in view.transaction.scan(view.transaction.tables.chunks)
                if view.chunk(key).kind != KIND_DATA
            }
        move_out_of_the_log(site, rows)
    rebuild_store_index(DataDirectory.open(tmp_path / "a"), KEYRING, SETTINGS)
    with IndexSite(tmp_path / "a") as site:
        recount(site.index, site.open_pages)
        for top, children in tops:
            assert site.find_chunk(top.id).local
            assert all(site.find_chunk(child.id).refcount >= 1 for child in children)


def move_out_of_the_log(site: IndexSite, rows) -> None:
    """As the collector does: copies to a data segment, rows swung, then the log's space given back."""
    places = {}
    for chunk_id, row in rows.items():
        data = site.reader.read(row.number, row.kind, row.offset, row.header_size + row.stored_size)
        places[chunk_id] = site.appenders[0].append([data])
    site.appenders[0].sync()

    def swing(view):
        chunks = view.edit_index().chunks
        for chunk_id, place in places.items():
            chunks.move(chunk_id, chunks.get(chunk_id), place.number, KIND_DATA, place.offset)

    site.commit(swing)
    with site.view() as view:
        newest = view.state().batch
    for number in site.log.segment_numbers():
        for batch in site.log.scan(number).batches:
            if batch.header.number < newest and batch.header.frames_size:
                with site.directory.segment_path(number, 1).open("r+b") as file:
                    file.seek(batch.offset + batch.header.size - batch.header.frames_size)
                    file.write(bytes(batch.header.frames_size))


async def test_what_was_fetched_and_what_was_patched_against_it_is_here_after_a_rebuild(tmp_path: Path) -> None:
    """The log places the patch before anyone knows of its base: that must not make it, unsent as it is, dead."""
    cloud = MemoryCloud()
    first = noise(1, 200_000)
    second = first[:100_000] + b"changed" + first[100_000:]
    third = first[:50_000] + b"changed elsewhere" + first[50_000:]
    settings = ReplicationSettings(limits=ShipLimits(inline_bytes_max=0))
    async with StoreSite(tmp_path / "a") as a, StoreSite(tmp_path / "b", site=b"b" * 16) as b:
        await a.put(b"k", first)
        await a.put(b"patched there", first)
        await a.put(b"patched there", second)
        replica = a.store.replica
        shipper = Shipper(*(replica, replica, cloud, lambda: KEYRING, settings), wall_ms=lambda: 1, offload=run_at_once)
        while await shipper.ship_round():
            pass
        b.store.set_fetcher(CloudFetcher(cloud))
        await Puller(b.store.replica, cloud, lambda: KEYRING, wall_ms=lambda: 1).pull_round()
        assert await b.get(b"k") == first
        assert await b.get(b"patched there") == second
        await b.put(b"k", third)
        place = b.store.find_chunk(b.store.frames.chunk_id(third))
        assert place is not None
        assert place.codec == CODEC_PATCH
        b.collect_all()
        before = list(logical_dump(b.store.index, b.store.parts.open_pages))
    rebuild_store_index(b.directory, KEYRING, SETTINGS)
    async with StoreSite(tmp_path / "b") as b:
        assert list(logical_dump(b.store.index, b.store.parts.open_pages)) == before
        b.collect_all()
        assert await b.get(b"k") == third, "without a cloud"
        assert await b.get(b"patched there") == second


async def test_a_pulled_patch_without_its_base_is_not_deduplicated_against(tmp_path: Path) -> None:
    """It came inline; its base is only in the cloud. What is put here must be here."""
    cloud = MemoryCloud()
    first = noise(1, 200_000)
    second = first[:100_000] + b"changed" + first[100_000:]
    async with StoreSite(tmp_path / "a") as a, StoreSite(tmp_path / "b", site=b"b" * 16) as b:
        replica = a.store.replica
        for body, limits in ((first, ShipLimits(inline_bytes_max=0)), (second, ShipLimits())):
            await a.put(b"k", body)
            shipper = Shipper(
                *(replica, replica, cloud, lambda: KEYRING, ReplicationSettings(limits=limits)),
                wall_ms=lambda: 1,
                offload=run_at_once,
            )
            while await shipper.ship_round():
                pass
        await Puller(b.store.replica, cloud, lambda: KEYRING, wall_ms=lambda: 1).pull_round()
        await b.put(b"own", second)
        assert await b.get(b"own") == second, "without a cloud"


@pytest.mark.parametrize("whole", [True, False])
async def test_of_two_copies_of_a_frame_one_that_a_crash_left_half_does_not_count(tmp_path: Path, whole: bool) -> None:
    body = noise(1, 100_000)
    async with StoreSite(tmp_path / "d") as site:
        await site.put(b"k", body)
        chunk_id = site.store.frames.chunk_id(body)
        place = site.store.find_chunk(chunk_id)
        assert place is not None
        data = site.store.segments.read(place.number, place.kind, place.offset, place.header_size + place.stored_size)
    async with StoreSite(tmp_path / "d") as site:  # the copy goes to a segment of a higher number
        copy = site.store.appender.append([data if whole else data[:50_000] + bytes(len(data) - 50_000)])
        assert copy.number > place.number
    rebuild_store_index(site.directory, KEYRING, SETTINGS)
    async with StoreSite(tmp_path / "d") as site:
        assert await site.get(b"k") == body
        found = site.store.find_chunk(chunk_id)
        assert found is not None
        assert found.number == (copy.number if whole else place.number)
