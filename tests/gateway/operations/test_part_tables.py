"""Part tables in the real store: long ones are patched against the one they replace, as bodies are, and no border is
crossed."""

from __future__ import annotations

import random
from base64 import b64encode
from pathlib import Path

import pytest

from gateway.identity.principals import Principal
from gateway.identity.users import new_access_key, new_user
from gateway.operations import buckets
from gateway.operations.context import Context, OperationSettings
from gateway.operations.multipart import CreateRequest, UploadName, create_upload
from gateway.operations.multipart_complete import CompleteRequest, NamedPart, complete_upload
from gateway.operations.objects_get import read_part_table
from gateway.s3.encryption import SEAL_EXTRA, SealRecord, encode_seal
from gateway.store import index_format
from gateway.store.document_format import PartRecord
from gateway.store.object_format import ObjectRecord
from replication.change_format import REF_DATA, Ref
from replication.frame_format import CODEC_PATCH
from tests.gateway.store.store_site import StoreSite

COUNT = 1000


def checksum(seed: int) -> str:
    """Some CRC64NVME."""
    return b64encode(random.Random(seed).randbytes(8)).decode()


class Tables:
    """Objects of a thousand parts each, whose checksums are all there is to them."""

    def __init__(self, site: StoreSite, context: Context) -> None:
        self.site, self.context = site, context
        self.sums = [checksum(number) for number in range(COUNT)]

    def change(self, number: int) -> None:
        """Another part in the place of one."""
        self.sums[number] = checksum(COUNT + number)

    async def complete(self, bucket: str, key: bytes, extra: dict[str, bytes] | None = None) -> ObjectRecord:
        """Upload and complete; the record as it is then."""
        store = self.site.store
        async with store.writer() as writer:
            await writer.write(b"part")
            content = await writer.finish()
            upload = await create_upload(self.context, CreateRequest(bucket, key))
            if extra:
                upload.extra.update(extra)

            def put_parts(view):
                view.open_upload(upload)
                for number, value in enumerate(self.sums, 1):
                    sums = {"CRC64NVME": value}
                    part = PartRecord(number=number, size=4, etag="0" * 32, content=content.refs, checksums=sums)
                    view.put_part(upload.id, part)

            await store.commit(put_parts)
        named = [NamedPart(number, "0" * 32) for number in range(1, COUNT + 1)]
        return (await complete_upload(self.context, CompleteRequest(UploadName(bucket, key, upload.id), named))).record

    def place(self, ref: Ref | None) -> index_format.ChunkPlace:
        assert ref is not None
        assert ref.kind == REF_DATA
        place = self.site.store.find_chunk(ref.id)
        assert place is not None
        return place


@pytest.fixture
async def tables(tmp_path: Path):
    async with StoreSite(tmp_path / "d") as site:
        user = new_user("ann", now_ms=0)
        principal = Principal(user, new_access_key(user.id, now_ms=0))
        context = Context(principal, "id", site.store, OperationSettings(part_bytes_min=1))
        await site.store.commit(lambda view: view.put_user(user))
        await buckets.create_bucket(context, "shared")
        await buckets.create_bucket(context, "cctv", "local")
        yield Tables(site, context)


async def test_a_long_table_costs_what_changed_in_it(tables):
    first = await tables.complete("shared", b"k")
    whole = tables.place(first.parts)
    assert whole.codec != CODEC_PATCH
    tables.change(500)
    second = await tables.complete("shared", b"k")
    patch = tables.place(second.parts)
    assert [base.chunk_id for base in patch.bases] == [first.parts.id]
    assert patch.stored_size < 200 < whole.stored_size // 50
    entries = await read_part_table(tables.site.store, second)
    assert [entry.checksum for entry in entries] == tables.sums
    tables.change(2)
    third = await tables.complete("shared", b"k")
    assert tables.place(third.parts).bases == patch.bases, "a patch rests on what is whole"
    tables.site.collect_all()
    assert (await tables.site.store.verify()).sound


async def test_the_border_of_local_buckets_holds_for_tables(tables):
    """A shared table that is the same as a local one must not rest on an older local one: its frame leaves the site."""
    await tables.complete("cctv", b"k")
    tables.change(500)
    local = await tables.complete("cctv", b"k")
    shared = await tables.complete("shared", b"k")
    assert local.parts.id != shared.parts.id
    assert tables.place(shared.parts).bases == ()


async def test_the_border_of_keys_holds_for_tables(tables):
    await tables.complete("shared", b"k")
    tables.change(500)
    sealed = await tables.complete("shared", b"k", {SEAL_EXTRA: encode_seal(SealRecord(salt=bytes(16)))})
    assert tables.place(sealed.parts).bases == ()
    tables.change(501)
    assert tables.place((await tables.complete("shared", b"k")).parts).bases == ()
