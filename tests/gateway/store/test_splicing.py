"""Joining the contents of parts without copying their bytes."""

from __future__ import annotations

import random
from pathlib import Path

from gateway.store.object_format import REFS_DIRECT_MAX, ObjectRecord
from gateway.store.page_format import PAGE_REFS_MIN
from replication.change_format import REF_DATA, REF_PAGE, Ref
from tests.gateway.store.store_site import StoreSite

MIB = 1 << 20


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


async def put_spliced(site: StoreSite, key: bytes, refs: tuple[Ref, ...]) -> None:
    content = await site.store.splice(refs)
    assert len(content.refs) <= REFS_DIRECT_MAX
    record = ObjectRecord(size=content.size, etag="e", content=content.refs)
    await site.store.commit(lambda view: view.put_object(site.uid, key, record, versioned=False))


async def height(site: StoreSite, refs: tuple[Ref, ...]) -> int:
    above = 0
    while refs and refs[0].kind == REF_PAGE:
        refs, above = await site.store.reader.load_page(refs[0]), above + 1
    return above


async def test_parts_become_one_content(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        parts = [noise(n, size) for n, size in enumerate((14 * MIB, 300_000, 5, 14 * MIB, 20_000, 5 * MIB))]
        refs: list[Ref] = []
        for n, part in enumerate(parts):
            await site.put(b"part%d" % n, part)
            refs += site.content(b"part%d" % n)
        assert {ref.kind for ref in refs} == {REF_DATA, REF_PAGE}
        await put_spliced(site, b"whole", tuple(refs))
        for n in range(len(parts)):
            await site.delete(b"part%d" % n)
        site.collect_all()
        assert await site.get(b"whole") == b"".join(parts)
        assert await site.get(b"whole", 14 * MIB - 3, 10) == b"".join(parts)[14 * MIB - 3 :][:10]
        assert (await site.store.verify()).sound


async def test_few_refs_stay_as_they_are_and_none_are_nothing(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        await site.put(b"a", b"small")
        refs = site.content(b"a")
        assert (await site.store.splice(refs * 3)).refs == refs * 3
        assert await site.store.splice(()) == ((), 0)


async def test_splicing_again_and_again_does_not_deepen_the_tree(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        expected = b""
        for turn in range(40):
            await site.put(b"part", b"turn %d" % turn)
            await put_spliced(site, b"log", site.content(b"log") + site.content(b"part"))
            expected += b"turn %d" % turn
        assert await site.get(b"log") == expected
        assert await height(site, site.content(b"log")) == 1
        assert (await site.store.verify()).sound


async def test_large_pages_are_taken_over_and_small_ones_opened(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        chunks = [b"%d" % n for n in range(PAGE_REFS_MIN + 50)]
        refs: list[Ref] = []
        for n, chunk in enumerate(chunks):
            await site.put(b"c%d" % n, chunk)
            refs += site.content(b"c%d" % n)
        await put_spliced(site, b"large", tuple(refs))
        await put_spliced(site, b"mixed", (*refs[:3], *site.content(b"large"), *refs[:20], *site.content(b"large")))
        body = b"".join(chunks)
        assert await site.get(b"mixed") == b"".join(chunks[:3]) + body + b"".join(chunks[:20]) + body
        assert await height(site, site.content(b"mixed")) == 1
        assert len(site.content(b"mixed")) == 4
        assert (await site.store.verify()).sound
        for n in range(len(chunks)):
            await site.delete(b"c%d" % n)
        await site.delete(b"large")
        site.collect_all()
        assert (await site.store.verify()).sound
        await site.delete(b"mixed")
        site.collect_all()
        assert site.chunk_count() == 0


async def test_pages_stay_staged_while_the_content_lives(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "d") as site:
        refs: list[Ref] = []
        for n in range(REFS_DIRECT_MAX + 1):
            await site.put(b"c%d" % n, b"%d" % n)
            refs += site.content(b"c%d" % n)
        content = await site.store.splice(refs)
        site.collect_all()
        assert site.store.staging.get(content.refs[0].id) is not None
        page = content.refs[0].id
        del content
        assert site.store.staging.get(page) is None
        assert site.store.shared.advance_epoch()
        assert site.store.shared.oldest_active() == site.store.shared.epoch
