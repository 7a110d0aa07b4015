"""What is sent of changes whose bytes were collected before they were ever shipped, and that nothing else goes bare."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.store.errors import Damaged
from gateway.store.object_rows import DROP_BODY
from gateway.store.store import rebuild_store_index
from replication.change_format import decode_change
from replication.parting import is_same_change
from replication.ports import LogPosition, PulledBatch
from tests.gateway.store.store_site import KEYRING, SETTINGS, StoreSite


def changes_of(site: StoreSite) -> list[bytes]:
    return site.store.replica.read_changes(0, 100, 1 << 20)


async def pull(site: StoreSite, origin, changes, n: int) -> None:
    last = decode_change(changes[-1]).dot.seq
    position = LogPosition(n, last, bytes([n]) * 32)
    await site.store.replica.record_pulled(PulledBatch(origin, position, changes))


async def test_a_value_that_was_collected_unsent_is_not_shown_to_others(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "a") as a:
        await a.put(b"k", b"first" * 9000)
        sent = a.store.replica.sendable(changes_of(a))
        assert sent == changes_of(a)
        await a.put(b"k", b"second" * 9000)
        a.collect_all()
        replica, changes = a.store.replica, changes_of(a)
        bucket, put, overwrite = replica.sendable(changes)
        assert (bucket, overwrite) == (changes[0], changes[2])
        bare = decode_change(put)
        assert (bare.dead, bare.refs, bare.body) == (True, (), DROP_BODY)
        assert is_same_change(changes[1], put)
        assert not is_same_change(changes[2], put)
        assert not is_same_change(put, changes[1])
        assert len(replica.unshipped_frames([bucket, put, overwrite])) == 1
        with pytest.raises(Damaged, match="neither here nor in the cloud"):
            replica.unshipped_frames(changes)
        with a.store.view() as view:
            at_home = view.current(a.uid, b"k")
        identity = replica.identity()
    async with StoreSite(tmp_path / "b", site=b"b" * 16) as b:
        origin = (identity.site, identity.incarnation)
        await pull(b, origin, [bucket, put], 1)
        with b.store.view() as view:
            assert view.current(b.uid, b"k") is None
            assert list(view.scan_versions(b.uid)) == []
        await pull(b, origin, [overwrite], 2)
        with b.store.view() as view:
            assert view.current(b.uid, b"k") == at_home


async def test_a_version_purged_unsent_leaves_others_the_tombstone(tmp_path: Path) -> None:
    async with StoreSite(tmp_path / "a") as a:
        version = await a.put(b"k", b"first" * 9000, versioned=True)
        await a.delete(b"k", version.id)
        a.collect_all()
        changes = changes_of(a)
        _, put, purge = a.store.replica.sendable(changes)
        assert decode_change(put).dead
        assert purge == changes[2]
        identity = a.store.replica.identity()
        with a.store.view() as view:
            at_home = list(view.transaction.scan(view.transaction.tables.versions))
    async with StoreSite(tmp_path / "b", site=b"b" * 16) as b:
        await pull(b, (identity.site, identity.incarnation), [changes[0], put, purge], 1)
        with b.store.view() as view:
            assert list(view.scan_versions(b.uid)) == []
            left = list(view.transaction.scan(view.transaction.tables.versions))
        # At home it knows what it hides, too; what a key's rows are filed under is each site's own.
        assert [key[8:] for key, _ in left] == [key[8:] for key, _ in at_home]


async def test_after_a_rebuild_it_is_still_known_which_values_are_gone(tmp_path: Path) -> None:
    """A rebuilt index counts references that wait for the collector: they do not make a change stand."""
    async with StoreSite(tmp_path / "a", segment_size=1 << 20) as a:
        body = bytes(range(256)) * 100
        await a.put(b"k", body)
        await a.put(b"k", body + b"more")  # a patch against the first
        await a.delete(b"k")
        await a.put(b"other", b"x" * 2_000_000)
        a.collect_all()
    rebuild_store_index(a.directory, KEYRING, SETTINGS)
    async with StoreSite(tmp_path / "a") as a:
        sent = a.store.replica.sendable(changes_of(a))
        assert len(a.store.replica.unshipped_frames(sent)) >= 1
