"""A rebuilt index equals the one that grew live, whatever happened before; and what cannot be rebuilt is said."""

from __future__ import annotations

import asyncio
import os
import random
import shutil

import pytest

from gateway.store.conflicts import count_conflicts
from gateway.store.errors import Damaged
from gateway.store.index import Index, IndexUnreadable
from gateway.store.logical_dump import logical_dump
from gateway.store.rebuild import rebuild_index
from gateway.store.segment_format import KIND_LOG
from gateway.store.version_ids import NULL
from replication.change_format import decode_change
from replication.crdt import Dot
from replication.ports import LogPosition
from tests.gateway.store.index_site import MAP_SIZE, IndexSite
from tests.gateway.store.workload import Workload, replica_of, ship_some

UID = b"u" * 16


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


def tear_the_end(site):
    with site.directory.segment_path(site.log.segment_numbers()[-1], KIND_LOG).open("ab") as file:
        file.write(b"SKB1 half a header")


def test_a_torn_end_takes_a_new_incarnation_and_issues_the_unsent_anew(tmp_path):
    with IndexSite(tmp_path / "a") as site:
        replica = replica_of(site)
        shipped = site.put(UID, b"shipped", b"1")
        asyncio.run(ship_some(site, 1))
        site.put(UID, b"unsent", b"replaced")
        unsent = [site.put(UID, b"unsent", b"2"), site.put(UID, b"version", b"3", versioned=True)]
        site.commit(lambda view: view.remove_version(UID, b"shipped", NULL))
        before, backlog = replica.identity(), replica.backlog()
        assert rebuild(site).torn is False
        tear_the_end(site)
        assert rebuild(site).torn is True
        replica = replica_of(site)
        after = replica.identity()
        assert (after.site, after.incarnation != before.incarnation) == (before.site, True)
        assert replica.shipped() == LogPosition()
        assert replica.backlog().changes == backlog.changes == 4
        assert replica.backlog().bytes >= backlog.bytes
        changes = [decode_change(data) for data in replica.read_changes(0, 10, 1 << 20)]
        assert [change.dot for change in changes] == [Dot(site.site, after.incarnation, seq) for seq in (1, 2, 3, 4)]
        assert Dot(site.site, before.incarnation, 1) in changes[3].replaces
        with site.view() as view:
            assert [key for key, _ in view.scan_heads(UID)] == [b"unsent", b"version"]
            assert [found.record for found in view.scan_versions(UID)] == [version.record for version in unsent]
            assert view.current(UID, b"version").id == unsent[1].id  # the same version id, the same clock
            assert view.current(UID, b"version").order[:8] == unsent[1].order[:8]
            assert view.is_replicated(shipped)
            assert not view.is_replicated(unsent[0])
            assert count_conflicts(view)[:2] == (0, 0)
        live = dump(site)
        site.put(UID, b"more", b"4")
        assert replica.last_seq() == 5
        live = dump(site)
        rebuild(site)
        assert [row for row in dump(site) if row[0] == "heads"] == [row for row in live if row[0] == "heads"]


def test_an_acknowledged_batch_that_the_log_lost_is_damage_unless_the_index_goes_too(tmp_path):
    with IndexSite(tmp_path / "a") as site:
        site.put(UID, b"k", b"x")
        path = site.directory.segment_path(site.log.segment_numbers()[-1], KIND_LOG)
        os.truncate(path, path.stat().st_size - 1)
        site.committer.close()
        site.index.close()
        site.reader.close()
        arguments = (site.directory, site.log, site.reader, site.open_pages)
        with pytest.raises(Damaged, match="acknowledged"):
            rebuild_index(*arguments, map_size=MAP_SIZE)
        (tmp_path / "a" / "index" / "data.mdb").unlink()
        assert rebuild_index(*arguments, map_size=MAP_SIZE).torn is True
        site.reopen_index()
        with site.view() as view:
            assert view.current(UID, b"k") is None


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
        puts = [site.put(UID, b"k%d" % n, b"body %d" % n, inline=False) for n in range(3)]
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
