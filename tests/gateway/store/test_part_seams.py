"""A large object put again and again, whole and in parts: what did not change is stored once, whatever the seams."""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import pytest

from gateway.store import part_seams
from gateway.store.document_format import PartRecord, UploadRecord
from gateway.store.object_format import ObjectRecord
from gateway.store.part_seams import SeamMender
from gateway.store.ports import WriteView
from gateway.store.predecessor import Predecessor
from replication.change_format import REF_DATA, REF_PAGE, Ref
from tests.crash.open_store import open_store
from tests.crash.workloads import find_or_make_bucket
from tests.gateway.store.store_site import StoreSite

PART = 4 << 20
SIZE = 16 << 20


async def test_seams_of_one_upload_are_bases_for_the_next(tmp_path: Path) -> None:
    """Whole, parts, whole, parts: chunks over a seam are patches of both sides, and must serve as bases."""
    choose = random.Random(1)
    data = choose.randbytes(SIZE)
    (tmp_path / "site").mkdir(mode=0o700)
    async with open_store(tmp_path / "site") as store:
        uid = await store.commit(find_or_make_bucket)

        def used() -> int:
            return sum(len(path.read_bytes().rstrip(b"\0")) for path in (tmp_path / "site" / "segments").iterdir())

        async def put(step: int) -> None:
            with store.view() as view:
                before = view.current(uid, b"key")
            replaces = before.record.content if before is not None else ()
            await store.commit(lambda view: view.open_upload(UploadRecord(id="upload", uid=uid, key=b"key")))
            for number, offset in enumerate(range(0, len(data), step), start=1):
                async with store.writer(replaces=replaces, offset_hint=offset) as writer:
                    await writer.write(data[offset : offset + step])
                    refs = (await writer.finish()).refs
                    part = PartRecord(number=number, etag="e", content=refs)
                    await store.commit(lambda view, part=part: view.put_part("upload", part))
            with store.view() as view:
                parts = list(view.parts("upload"))
            content = await store.splice([ref for part in parts for ref in part.content])

            def complete(view: WriteView) -> None:
                record = ObjectRecord(size=content.size, etag="e", modified_ms=view.now_ms, content=content.refs)
                view.put_object(uid, b"key", record, versioned=False)
                view.close_upload("upload")

            await store.commit(complete)

        await put(PART)
        for step in (len(data) + 10_000, PART, PART):
            data = choose.randbytes(1024) + data
            before = used()
            await put(step)
            assert used() - before < 64 * 1024


async def upload(site: StoreSite, key: bytes, body: bytes) -> list[Ref]:
    """Put a body in parts over what the key has; the chunks of the whole."""
    replaces = site.content(key)
    parts: list[Ref] = []
    for number, offset in enumerate(range(0, len(body), PART)):
        async with site.store.writer(replaces=replaces, offset_hint=offset) as writer:
            await writer.write(body[offset : offset + PART])
            content = await writer.finish()
            record = ObjectRecord(size=content.size, etag="e", content=content.refs)
            await site.store.commit(
                lambda view, key=b"part%d" % number, record=record: view.put_object(
                    site.uid, key, record, versioned=False
                )
            )
        parts += content.refs
    content = await site.store.splice(parts, replaces=replaces)
    record = ObjectRecord(size=content.size, etag="e", content=content.refs)
    await site.store.commit(lambda view: view.put_object(site.uid, key, record, versioned=False))
    return await flatten(site, content.refs)


async def flatten(site: StoreSite, refs: Sequence[Ref]) -> list[Ref]:
    found: list[Ref] = []
    for ref in refs:
        found += [ref] if ref.kind == REF_DATA else await flatten(site, await site.store.reader.load_page(ref))
    return found


async def test_completing_walks_the_old_pages_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What mends seams and what writes pages see one walk."""
    data = random.Random(4).randbytes(SIZE)
    loaded: list[Ref] = []
    async with StoreSite(tmp_path / "d") as site:
        await upload(site, b"key", data)
        splicer = site.store._splicer
        load_page = splicer._load_page
        monkeypatch.setattr(splicer, "_load_page", lambda ref: loaded.append(ref) or load_page(ref))
        await upload(site, b"key", data[:-1])
    assert [ref.kind for ref in loaded] == [REF_PAGE]


@pytest.mark.parametrize("inserted", [1024, 700_000])
async def test_borders_that_only_moved_cost_nothing(tmp_path: Path, inserted: int) -> None:
    """What is put in at the front moves all borders: but for the front, the content is made of the old chunks."""
    choose = random.Random(2)
    data = choose.randbytes(SIZE)
    async with StoreSite(tmp_path / "d") as site:
        before = await upload(site, b"key", data)
        data = choose.randbytes(inserted) + data
        after = await upload(site, b"key", data)
        fresh = [ref for ref in after if ref not in before]
        assert sum(ref.size for ref in fresh) < 4 << 20, "at the front only"
        assert set(before[3:]) <= set(after)
        assert await site.get(b"key") == data
        for number in range(5):
            await site.delete(b"part%d" % number)
        site.collect_all()
        assert (await site.store.verify()).sound
        assert await site.get(b"key") == data


async def test_what_lies_beside_a_border_is_looked_at(tmp_path: Path) -> None:
    """Runs as long as what the old content has there, and not the same."""
    choose = random.Random(3)
    data = choose.randbytes(SIZE)
    async with StoreSite(tmp_path / "d") as site:
        await upload(site, b"key", data)
        changed = bytearray(choose.randbytes(1024) + data)
        for border in range(PART, SIZE, PART):
            changed[border + choose.choice([-900, 900])] ^= 1
        await upload(site, b"key", bytes(changed))
        assert await site.get(b"key") == bytes(changed)
        assert (await site.store.verify()).sound


def chunk(name: str) -> Ref:
    """A chunk whose plaintext is its name, and whose id is that, padded."""
    return Ref(REF_DATA, name.encode().ljust(32, b"\0"), len(name))


class Mending:
    """A mender over chunks by name: ``old`` is what the old content is made of; those in ``gone`` are not here."""

    def __init__(self, *old: str, gone: tuple[str, ...] = ()) -> None:
        self.gone = {chunk(name).id for name in gone}
        self.read: list[str] = []
        self.mender = SeamMender(
            Predecessor([chunk(name) for name in old], lambda ref: None),
            self._read,
            lambda plaintext, claimed: claimed == plaintext.ljust(32, b"\0"),
            lambda chunk_id: chunk_id not in self.gone,
        )

    def _read(self, chunk_id: bytes) -> bytes | None:
        self.read.append(name := chunk_id.rstrip(b"\0").decode())
        return None if chunk_id in self.gone else name.encode()

    def mend(self, *new: str) -> list[str]:
        return [ref.id.rstrip(b"\0").decode() for ref, _ in self.mender.mend([(chunk(name), 0) for name in new])]


def test_a_run_gives_way_to_what_is_the_same() -> None:
    assert Mending("one", "two", "three", "four").mend("one", "tw", "othree", "four") == ["one", "two", "three", "four"]
    assert Mending("one", "two", "three").mend("one", "twot", "hree") == ["one", "two", "three"], "at the end"
    assert Mending("one", "two", "three").mend("o", "netwo", "three") == ["one", "two", "three"], "at the front"


def test_a_run_stays_where_anything_speaks_against_it() -> None:
    assert Mending("one", "two", "six").mend("one", "tw", "x", "six") == ["one", "tw", "x", "six"], "other bytes"
    longer = Mending("one", "two", "six")
    assert longer.mend("one", "tw", "oo", "six") == ["one", "tw", "oo", "six"]
    assert longer.read == [], "of another length, and so not read"
    same = Mending("one", "two", "six")
    assert same.mend("one", "tvo", "six") == ["one", "tvo", "six"]
    assert same.read == [], "cut as the old content is, and so not the same"
    assert Mending("one", "two", "six", gone=("two",)).mend("one", "t", "wo", "six") == ["one", "t", "wo", "six"]
    assert Mending("one", "two", "six", gone=("wo",)).mend("one", "t", "wo", "six") == ["one", "t", "wo", "six"]


def test_reading_has_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(part_seams, "READ_BYTES_MAX", 4)
    limited = Mending("one", "two", "six", "ten", "end")
    kept = limited.mend("one", "t", "wo", "six", "te", "n", "end")
    assert kept == ["one", "two", "six", "te", "n", "end"], "the second run is beyond the limit"
    monkeypatch.setattr(part_seams, "RUN_BYTES_MAX", 2)
    assert Mending("one", "two", "six").mend("one", "t", "wo", "six") == ["one", "t", "wo", "six"]


def test_behind_a_page_nothing_is_known() -> None:
    mending = Mending("one", "two", "six")
    page = Ref(REF_PAGE, b"p" * 32, 3)
    refs = [(page, 1), (chunk("t"), 0), (chunk("wo"), 0), (chunk("six"), 0)]
    assert mending.mender.mend(refs) == refs
