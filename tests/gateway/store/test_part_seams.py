"""A large object put again and again, whole and in parts: what did not change is stored once, whatever the seams."""

from __future__ import annotations

import random
from pathlib import Path

from gateway.store.document_format import PartRecord, UploadRecord
from gateway.store.object_format import ObjectRecord
from gateway.store.ports import WriteView
from tests.crash.open_store import open_store
from tests.crash.workloads import find_or_make_bucket

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
