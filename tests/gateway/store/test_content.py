"""Writing bodies: chunks, deduplication, syncs, and what an abandoned body leaves."""

from __future__ import annotations

import asyncio
import errno
import random
from pathlib import Path

import pytest

from gateway.store.chunk_writer import INLINE_MAX
from gateway.store.errors import DiskFull, ReadOnlyStore, StoreError
from gateway.store.page_format import leaves
from gateway.store.staging import INLINE
from replication.change_format import Ref
from replication.frame_format import CODEC_PATCH, CODEC_STORED, CODEC_ZSTD
from tests.gateway.store.bytes_site import BytesSite
from tests.gateway.store.failing_files import FailingFiles

MIB = 1 << 20


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


BODY = noise(1, 24 * MIB)


@pytest.fixture
def files() -> FailingFiles:
    return FailingFiles()


@pytest.fixture
def site(tmp_path: Path, files: FailingFiles):
    made = BytesSite(tmp_path / "d", files)
    yield made
    made.close()


def read(site: BytesSite, refs: tuple[Ref, ...]) -> bytes:
    return b"".join([site.local.read_chunk(leaf.ref.id) or b"?" for leaf in leaves(refs, site._load_page)])


def stored(site: BytesSite) -> int:
    """Bytes appended since the last call."""
    size, site.appended = site.appended, 0
    return size


@pytest.mark.parametrize("step", [1000, 65_536, 3 * MIB, 24 * MIB])
async def test_bodies_come_back_however_they_are_fed(site: BytesSite, step: int) -> None:
    for size in (1, 5000, INLINE_MAX, INLINE_MAX + 1, 300_000, 9 * MIB):
        body = noise(size, size)
        content = await site.put(body, step=min(step, size))
        assert content.size == size
        assert read(site, content.refs) == body
    assert (await site.put(b"")).refs == ()


async def test_small_bodies_ride_with_the_commit_and_sync_nothing(site: BytesSite, files: FailingFiles) -> None:
    files.calls.clear()
    async with site.writer() as writer:
        await writer.write(noise(1, INLINE_MAX // 2))
        await writer.write(memoryview(noise(2, INLINE_MAX // 2)))
        content = await writer.finish()
        staged = site.staging.get(content.refs[0].id)
        assert staged is not None
        assert staged.number == INLINE
        assert not {"append", "fdatasync"} & set(files.calls)
    assert len(site.staging) == 0


async def test_large_bodies_are_synced_before_finish_returns(site: BytesSite, files: FailingFiles) -> None:
    async with site.writer() as writer:
        await writer.write(BODY)
        files.calls.clear()
        await writer.finish()
        assert "fdatasync" in files.calls
        assert "append" not in files.calls[files.calls.index("fdatasync") :]
        files.calls.clear()
        async with site.writer() as again:
            await again.write(BODY)
            await again.finish()
            assert "append" not in files.calls, "what another writer has staged is shared"
            assert len(site.staging) > 0
    assert len(site.staging) == 0


async def test_the_same_bytes_are_stored_once(site: BytesSite) -> None:
    first = await site.put(BODY)
    assert len(BODY) <= stored(site) < len(BODY) + 20_000
    assert (await site.put(BODY)).refs == first.refs
    assert stored(site) == 0
    await site.put(bytes(16 * MIB))
    assert stored(site) < 10_000, "chunks that recur within a body, and compress"


async def test_codecs_are_chosen_by_content(site: BytesSite) -> None:
    text = await site.put(b"a line that comes again and again\n" * 5000)
    plain = await site.put(noise(3, 100_000))
    assert site.rows[text.refs[0].id].codec == CODEC_ZSTD
    assert site.rows[plain.refs[0].id].codec == CODEC_STORED


async def test_fixed_chunks(site: BytesSite) -> None:
    content = await site.put(BODY[: 9 * MIB], fixed=True)
    assert [ref.size for ref in content.refs] == [4 * MIB, 4 * MIB, MIB]


# what replaces something


@pytest.fixture
async def old(site: BytesSite) -> tuple[Ref, ...]:
    content = await site.put(BODY)
    stored(site)
    return content.refs


async def put_parts(site: BytesSite, body: bytes, replaces: tuple[Ref, ...], size: int = 8 * MIB) -> tuple[Ref, ...]:
    refs: list[Ref] = []
    for start in range(0, len(body), size):
        refs += (await site.put(body[start : start + size], replaces, start)).refs
    return tuple(refs)


CHANGED = BODY[: 11 * MIB] + noise(7, 1024) + BODY[11 * MIB + 1024 :]
INSERTED = noise(8, 1024) + BODY


async def test_a_change_in_the_middle_costs_a_few_kilobytes(site: BytesSite, old: tuple[Ref, ...]) -> None:
    content = await site.put(CHANGED, old)
    assert stored(site) < 3000
    assert read(site, content.refs) == CHANGED


async def test_an_insertion_in_front_costs_a_few_kilobytes(site: BytesSite, old: tuple[Ref, ...]) -> None:
    content = await site.put(INSERTED, old)
    assert stored(site) < 3000
    assert read(site, content.refs) == INSERTED


async def test_the_same_in_parts(site: BytesSite) -> None:
    old = await put_parts(site, BODY, ())
    stored(site)
    refs = await put_parts(site, CHANGED, old)
    assert stored(site) < 3000
    assert read(site, refs) == CHANGED
    refs = await put_parts(site, INSERTED, old)
    assert stored(site) < 6000
    assert read(site, refs) == INSERTED


async def test_parts_over_a_whole_put_and_the_other_way_round(site: BytesSite, old: tuple[Ref, ...]) -> None:
    refs = await put_parts(site, INSERTED, old)
    assert stored(site) < 10_000
    assert read(site, refs) == INSERTED
    content = await site.put(CHANGED, refs)
    assert stored(site) < 10_000
    assert read(site, content.refs) == CHANGED


async def test_megabytes_put_in_front_cost_those_megabytes(site: BytesSite) -> None:
    old = await put_parts(site, BODY, ())
    stored(site)
    longer = noise(9, 3 * MIB) + BODY
    refs = await put_parts(site, longer, old)
    assert stored(site) < 5 * MIB
    assert read(site, refs) == longer


async def test_patches_are_never_based_on_patches(site: BytesSite, old: tuple[Ref, ...]) -> None:
    refs, body = old, BODY
    for turn in range(6):
        body = body[: 5 * MIB] + b"turn %d" % turn + body[5 * MIB :]
        refs = (await site.put(body, refs)).refs
        assert stored(site) < 4000
    assert read(site, refs) == body
    patches = [row for row in site.rows.values() if row.codec == CODEC_PATCH]
    assert len(patches) >= 6
    by_name = {(row.segment, row.slot): row for row in site.rows.values()}
    for patch in patches:
        for base in patch.bases:
            assert by_name[base.segment, base.slot].codec != CODEC_PATCH


async def test_what_resembles_nothing_is_stored_plain(site: BytesSite, old: tuple[Ref, ...]) -> None:
    other = noise(99, 20 * MIB)
    content = await site.put(other, old)
    assert stored(site) < len(other) + 20_000
    assert read(site, content.refs) == other


async def test_old_chunks_that_are_gone_or_damaged_are_no_reason_to_fail(
    site: BytesSite, files: FailingFiles, old: tuple[Ref, ...]
) -> None:
    leaf = next(iter(leaves(old, site._load_page)))
    del site.rows[leaf.ref.id]
    files.fail["pread"] = (3, errno.EIO)
    content = await site.put(INSERTED, old)
    files.fail.clear()
    assert read(site, content.refs) == INSERTED


# errors, cancelling, memory


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, DiskFull), (errno.EDQUOT, DiskFull), (errno.EIO, StoreError)]
)
async def test_a_failed_append_fails_the_body_and_only_it(
    site: BytesSite, files: FailingFiles, number: int, kind: type[StoreError]
) -> None:
    files.fail["append"] = (3, number)
    with pytest.raises(kind):
        await site.put(BODY)
    files.fail.clear()
    assert len(site.staging) == 0
    content = await site.put(BODY)
    assert read(site, content.refs) == BODY
    assert site.budget.used == 0


async def test_a_failed_sync_makes_the_site_read_only(site: BytesSite, files: FailingFiles) -> None:
    files.fail["fdatasync"] = (0, errno.EIO)
    with pytest.raises(ReadOnlyStore):
        await site.put(BODY)
    files.fail.clear()
    assert site.shared.read_only
    with pytest.raises(ReadOnlyStore):
        await site.put(BODY[: 5 * MIB])


async def test_a_cancelled_body_leaves_nothing_behind(site: BytesSite) -> None:
    entered = site.shared.epoch
    never = asyncio.Event()

    async def upload() -> None:
        async with site.writer() as writer:
            for start in range(0, len(BODY), MIB):
                await writer.write(BODY[start : start + MIB])
            await never.wait()

    task = asyncio.create_task(upload())
    while not len(site.staging):
        await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.get_running_loop().run_in_executor(site.executor, int)
    while site.budget.used:
        await asyncio.sleep(0)
    assert len(site.staging) == 0
    site.shared.advance_epoch()
    assert site.shared.oldest_active() == entered + 1


async def test_many_slow_bodies_share_a_small_budget_without_starving(tmp_path: Path) -> None:
    site = BytesSite(tmp_path / "d", budget=6 * MIB)
    bodies = [noise(n, 5 * MIB) for n in range(12)]
    most = 0

    async def upload(body: bytes) -> bytes:
        nonlocal most
        async with site.writer() as writer:
            for start in range(0, len(body), 1 << 17):
                await writer.write(body[start : start + (1 << 17)])
                most = max(most, site.budget.used)
                await asyncio.sleep(0)
            content = await writer.finish()
            site.commit(content.refs)
        return read(site, content.refs)

    assert await asyncio.gather(*map(upload, bodies)) == bodies
    assert most <= 6 * MIB
    assert site.budget.used == 0
    site.close()


async def test_idle_bodies_give_their_memory_to_a_busy_one(tmp_path: Path) -> None:
    site = BytesSite(tmp_path / "d", budget=4 * MIB)
    async with site.writer() as idle:
        await idle.write(noise(1, 3 * MIB))
        assert (await site.put(BODY)).size == len(BODY)
        await idle.write(noise(2, 100_000))
        content = await idle.finish()
        site.commit(content.refs)
    assert read(site, content.refs) == noise(1, 3 * MIB) + noise(2, 100_000)
    site.close()
