"""Segments that are mostly dead are given up although a process appends to them, or they have the highest number."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.store import collect
from gateway.store.segment_format import KIND_DATA
from tests.gateway.store.store_site import StoreSite

KIB = 1 << 10


@pytest.fixture(autouse=True)
def small_segments_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(collect, "SEAL_DEAD_BYTES_MIN", 256 * KIB)


def body(number: int) -> bytes:
    return random.Random(number).randbytes(120 * KIB)


async def fill_and_delete(site: StoreSite) -> None:
    for number in range(5):
        await site.put(b"%d" % number, body(number))
    for number in range(1, 5):
        await site.delete(b"%d" % number)


async def test_a_segment_that_is_appended_to_is_sealed_when_asked_and_given_back(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "site") as site:
        await fill_and_delete(site)
        (number,) = site.directory.segment_numbers(KIND_DATA)
        site.collect_all()
        assert site.directory.segment_numbers(KIND_DATA) == [number], "nobody has sealed it yet"
        assert site.store.shared.asked_to_seal() == number
        site.store.tidy()
        site.collect_all()
        assert number not in site.directory.segment_numbers(KIND_DATA)
        assert site.disk_bytes() < 200 * KIB
        assert await site.get(b"0") == body(0)
        await site.put(b"more", body(9))
        site.store.tidy()  # asked for long ago: another segment now
        assert len(site.store.shared.open_segments() - {0}) == 2, "the new segment is announced, and the log's"
        assert await site.get(b"more") == body(9)


async def test_a_segment_that_is_mostly_alive_is_not_asked_for(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "site") as site:
        for number in range(5):
            await site.put(b"%d" % number, body(number))
        await site.delete(b"0")
        site.collect_all()
        assert site.store.shared.asked_to_seal() == 0


async def test_the_highest_number_is_given_to_another_and_never_used_twice(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "site") as site:
        await fill_and_delete(site)
    async with StoreSite(tmp_path / "site") as site:  # nobody appends to it now, but its number is the highest
        (number,) = site.directory.segment_numbers(KIND_DATA)
        site.collect_all()
        numbers = site.directory.segment_numbers(KIND_DATA)
        assert number not in numbers
        assert min(numbers) > number
        assert await site.get(b"0") == body(0)
        assert (await site.store.verify()).sound


async def test_files_that_were_unlinked_are_let_go_of(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "site") as site:
        await fill_and_delete(site)
        await site.get(b"0")
        (number,) = site.directory.segment_numbers(KIND_DATA)
        held = site.store.segments._open[number]
        site.directory.segment_path(number, KIND_DATA).unlink()  # as another process does, which counts it, too
        site.store.shared.count_unlinked()
        site.store.tidy()
        assert number not in site.store.segments._open
        del held
