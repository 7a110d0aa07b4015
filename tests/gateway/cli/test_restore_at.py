"""``skerry restore --at``: times longer ago than bytes are kept for; what is written anew."""

import random
from types import SimpleNamespace

from gateway.cli.restore_at import _bring_one, is_beyond, parse_time
from gateway.store.history import PastObject
from gateway.store.object_format import ObjectRecord
from replication.settings import DAY_MS
from tests.gateway.store.store_site import StoreSite


def test_what_is_longer_ago_than_the_retention_may_be_gone():
    now_ms = parse_time("2026-11-29T12:00:00Z")
    assert not is_beyond(now_ms - 7 * DAY_MS, 7.0, now_ms)
    assert is_beyond(now_ms - 7 * DAY_MS - 1, 7.0, now_ms)
    assert is_beyond(now_ms - 1, 0.0, now_ms)


async def test_a_part_table_that_is_written_anew_stays_one_chunk(tmp_path):
    """10,000 parts with SHA-256 sums are 560 KB: cut by content that would be several, of which one was kept."""
    async with StoreSite(tmp_path / "d") as site:
        async with site.store.writer(fixed=True) as writer:
            await writer.write(random.Random(1).randbytes(3 << 20))
            table = (await writer.finish()).refs[0]
            record = ObjectRecord(etag="etag-10000", part_count=10_000, parts=table)
            await site.store.commit(lambda view: view.put_object(site.uid, b"then", record, versioned=False))
        with site.store.view() as view:
            bucket = view.bucket("bucket")
        missing = []
        assert await _bring_one(SimpleNamespace(store=site.store), bucket, PastObject(b"anew", record), missing)
        assert not missing
        with site.store.view() as view:
            assert view.current(site.uid, b"anew").record.parts == table
