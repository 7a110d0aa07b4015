"""A rebuilt index equals the one that grew live, whatever happened before; and what cannot be rebuilt is said."""

from __future__ import annotations

import random
import shutil

import pytest

from gateway.store.errors import Damaged
from gateway.store.index import Index, IndexUnreadable
from gateway.store.logical_dump import logical_dump
from gateway.store.rebuild import rebuild_index
from gateway.store.segment_format import KIND_LOG
from tests.gateway.store.index_site import MAP_SIZE, IndexSite
from tests.gateway.store.workload import Workload


def dump(site):
    return list(logical_dump(site.index, site.open_pages))


def rebuild(site):
    """Close the site's index, rebuild it from its segments, open it again: what was found."""
    site.committer.close()
    site.index.close()
    found = rebuild_index(site.directory, site.log, site.reader, site.open_pages, map_size=MAP_SIZE)
    site.reopen_index()
    return found


@pytest.mark.parametrize("seed", range(12))
def test_rebuilt_equals_live(tmp_path, seed):
    print("seed", seed)
    with IndexSite(tmp_path / "a", log_size_max=64 << 10) as site:
        workload = Workload(site, random.Random(seed))
        workload.run(120)
        live = dump(site)
        assert any(table == "chunks" for table, _, _ in live)
        rebuild(site)
        assert dump(site) == live
        with site.view() as view:  # and every local chunk that is needed can be read where the new index says
            chunks = [(key, view.chunk(key)) for table, key, _ in live if table == "chunks"]
        pages = site.open_pages(site.find_chunk)
        for chunk_id, place in chunks:
            assert place.local
            assert site.frames.chunk_id(pages.read_plaintext(chunk_id, place)) == chunk_id
        workload.run(30)  # and it can be written on
        live = dump(site)
        rebuild(site)
        assert dump(site) == live


def test_an_index_of_rubbish_is_unreadable_and_an_empty_one_needs_a_rebuild(tmp_path):
    with IndexSite(tmp_path / "a") as site:
        Workload(site, random.Random(1)).run(20)
        live = dump(site)
    data = tmp_path / "a" / "index" / "data.mdb"
    data.write_bytes(b"\xa5" * 8192)
    with pytest.raises(IndexUnreadable):
        Index(tmp_path / "a" / "index", MAP_SIZE)
    shutil.rmtree(tmp_path / "a" / "index")
    (tmp_path / "a" / "index").mkdir(mode=0o700)
    with pytest.raises(RuntimeError, match="rebuild"):
        IndexSite(tmp_path / "a", refuse_rebuild=True)
    with IndexSite(tmp_path / "a") as again:
        rebuild(again)
        assert dump(again) == live


def test_a_torn_end_is_reported(tmp_path):
    with IndexSite(tmp_path / "a") as site:
        Workload(site, random.Random(2)).run(10)
        assert rebuild(site).torn is False
        with site.directory.segment_path(site.log.segment_numbers()[-1], KIND_LOG).open("ab") as file:
            file.write(b"SKB1 half a header")
        assert rebuild(site).torn is True


def test_a_missing_log_segment_is_damage_and_the_old_index_stays(tmp_path):
    with IndexSite(tmp_path / "a", log_size_max=4096) as site:
        Workload(site, random.Random(3)).run(40)
        live = dump(site)
        numbers = site.log.segment_numbers()
        assert len(numbers) > 3
        site.directory.segment_path(numbers[1], KIND_LOG).unlink()
        site.reader.close()
        site.committer.close()
        site.index.close()
        with pytest.raises(Damaged, match="missing or damaged"):
            rebuild_index(site.directory, site.log, site.reader, site.open_pages, map_size=MAP_SIZE)
        site.reopen_index()
        assert dump(site) == live


def test_a_damaged_stretch_of_a_data_segment_is_reported_and_the_frames_behind_it_found(tmp_path):
    with IndexSite(tmp_path / "a") as site:
        uid = b"u" * 16
        puts = [site.put(uid, b"k%d" % n, b"body %d" % n, inline=False) for n in range(3)]
        with site.view() as view:
            places = [view.chunk(version.record.content[0].id) for version in puts]
        path = site.directory.segment_path(places[1].number, places[1].kind)
        data = bytearray(path.read_bytes())
        data[places[1].offset + 20] ^= 1
        path.write_bytes(data)
        found = rebuild(site)
        assert [(broken.start, broken.end) for broken in found.broken] == [(places[1].offset, places[2].offset)]
        with site.view() as view:
            local = [view.chunk(version.record.content[0].id).local for version in puts]
        assert local == [True, False, True]
