"""Reference counts of chunks: records, pages, patch bases, the collector's queue, and refusals of what is gone."""

from __future__ import annotations

import random

import pytest

from gateway.store.chunk_rows import RELEASE_CHUNK, read_segment
from gateway.store.errors import ChunkGone
from gateway.store.index_format import CHUNK_HOLDS
from gateway.store.object_format import ObjectRecord
from gateway.store.release_queue import drain_release
from gateway.store.version_ids import NULL
from replication.frame_format import FrameName, decode_header
from tests.gateway.store.index_site import IndexSite

UID = b"u" * 16
BODY = random.Random(7).randbytes(4000)


@pytest.fixture
def site(tmp_path):
    with IndexSite(tmp_path / "a") as opened:
        yield opened


def put(site, key, *refs):
    site.commit(lambda view: view.put_object(UID, key, ObjectRecord(content=refs), versioned=False))


def remove(site, key):
    site.commit(lambda view: view.remove_version(UID, key, NULL))


def counts(site, *refs):
    with site.view() as view:
        rows = [view.chunk(ref.id) for ref in refs]
    return [row.refcount if row is not None else None for row in rows]


def drain(site):
    site.commit(lambda view: drain_release(view.transaction, view.edit_index().chunks))


def test_a_page_holds_its_children_from_its_first_reference_until_the_collector_lets_them_go(site):
    leaves = [site.stage(b"leaf %d" % number, inline=number < 2) for number in range(3)]
    inner = site.stage_page((leaves[0], leaves[1]))
    outer = site.stage_page((inner, leaves[2]), inline=False)
    put(site, b"k", outer)
    put(site, b"l", outer)
    assert counts(site, *leaves, inner, outer) == [1, 1, 1, 1, 2]
    put(site, b"m", leaves[0])
    remove(site, b"k")
    remove(site, b"l")
    assert counts(site, *leaves, inner, outer) == [2, 1, 1, 1, 0]
    drain(site)
    assert counts(site, *leaves, inner, outer) == [1, None, None, None, None]


def test_a_page_that_is_needed_again_before_it_was_collected_still_holds_its_children_once(site):
    leaf = site.stage(b"leaf")
    page = site.stage_page((leaf,))
    put(site, b"k", page)
    remove(site, b"k")
    put(site, b"l", page)
    assert counts(site, leaf, page) == [1, 1]
    drain(site)
    assert counts(site, leaf, page) == [1, 1]
    with site.view() as view:
        assert view.chunk(page.id).flags & CHUNK_HOLDS
        assert [key for key, _ in view.transaction.scan(view.transaction.tables.release)] == []


def test_a_patch_holds_its_base_while_it_is_the_local_frame(site):
    base = site.stage(BODY)
    put(site, b"base", base)
    place = site.find_chunk(base.id)
    patch = site.stage(BODY + b"!", bases=(FrameName(base.id, place.segment, place.slot),), base=BODY)
    put(site, b"patch", patch)
    assert counts(site, base, patch) == [2, 1]
    remove(site, b"base")
    drain(site)
    assert counts(site, base, patch) == [1, 1]
    assert site.open_pages(site.find_chunk).read_plaintext(patch.id, site.find_chunk(patch.id)) == BODY + b"!"
    remove(site, b"patch")
    drain(site)
    assert counts(site, base, patch) == [None, None]


def test_a_patch_whose_base_is_another_frame_by_now_is_refused(site):
    base = site.stage(BODY)
    put(site, b"base", base)
    wrong = FrameName(base.id, b"x" * 24, 9)
    patch = site.stage(BODY + b"!", bases=(wrong,), base=BODY)
    with pytest.raises(ChunkGone):
        put(site, b"patch", patch)


@pytest.mark.parametrize("again", [False, True])
def test_a_condemned_chunk_is_pardoned_by_a_commit_that_needs_it(site, again):
    """Its writer found it before it was condemned, or wrote it again because it was."""
    ref = site.stage(b"body")
    put(site, b"k", ref)
    remove(site, b"k")
    site.staging.release(site)
    assert site.commit(lambda view: view.edit_index().chunks.condemn(ref.id)) is True
    put(site, b"l", site.stage(b"body", inline=False) if again else ref)
    row = site.find_chunk(ref.id)
    assert (row.refcount, row.local, row.condemned) == (1, True, False)
    assert site.commit(lambda view: view.edit_index().chunks.condemn(ref.id)) is False
    assert site.commit(lambda view: view.edit_index().chunks.drop(ref.id)) is False
    assert site.open_pages(site.find_chunk).read_plaintext(ref.id, row) == b"body"


def test_an_unreferenced_chunk_that_was_not_condemned_yet_is_taken_up_again(site):
    ref = site.stage(b"body")
    put(site, b"k", ref)
    remove(site, b"k")
    site.staging.release(site)
    with site.view() as view:
        assert list(dict(view.transaction.scan(view.transaction.tables.release))) == [RELEASE_CHUNK + ref.id]
    put(site, b"l", ref)
    with site.view() as view:
        assert list(view.transaction.scan(view.transaction.tables.release)) == []


def test_live_bytes_of_segments_follow_places_moves_and_drops(site):
    ref = site.stage(BODY, inline=False)
    put(site, b"k", ref)
    row = site.find_chunk(ref.id)
    size = row.header_size + row.stored_size

    def live(number):
        with site.view() as view:
            return read_segment(view.transaction, number).live_bytes

    assert live(row.number) == size
    site.commit(lambda view: view.edit_index().chunks.move(ref.id, row, 1000, row.kind, 128))
    assert (live(row.number), live(1000)) == (0, size)
    remove(site, b"k")
    drain(site)
    assert live(1000) == 0


def test_a_refused_request_leaves_live_bytes_as_they_were(site):
    put(site, b"k", site.stage(b"first", inline=False))

    def refuse(view):
        view.put_object(UID, b"x", ObjectRecord(content=(site.stage(b"second", inline=False),)), versioned=False)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        site.commit(refuse)
    put(site, b"l", site.stage(b"third", inline=False))
    with site.view() as view:
        rows = [view.chunk(site.frames.chunk_id(body)) for body in (b"first", b"third")]
        live = read_segment(view.transaction, rows[0].number).live_bytes
    assert live == sum(row.header_size + row.stored_size for row in rows)


def test_frames_of_one_batch_lie_where_their_rows_say(site):
    bodies = [BODY[: 100 * n] for n in (1, 7, 3, 7)]  # one of them twice
    refs = [site.stage(body) for body in bodies]

    def decide(view):
        for number, ref in enumerate(refs):
            view.put_object(UID, b"%d" % number, ObjectRecord(content=(ref,)), versioned=False)

    site.commit(decide)
    with site.view() as view:
        rows = {ref.id: view.chunk(ref.id) for ref in refs}
        numbers = {row.number for row in rows.values()}
        live = sum(read_segment(view.transaction, number).live_bytes for number in numbers)
    for chunk_id, row in rows.items():
        found = decode_header(site.reader.read(row.number, row.kind, row.offset, row.header_size))
        assert found.name == FrameName(chunk_id, row.segment, row.slot)
    assert live == sum(row.header_size + row.stored_size for row in rows.values())
    assert [rows[ref.id].refcount for ref in refs] == [1, 2, 1, 2]
