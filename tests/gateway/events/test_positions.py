"""Where a destination's messages go on: begun by the server's parent before any client, then by the follower."""

import asyncio

from gateway.cli.opening import opened_site
from gateway.cli.serve import _begin_events
from gateway.cli.site import create_site
from gateway.config import load_config
from gateway.events.positions import Position, PositionFile
from gateway.store.document_format import BucketRecord


async def test_what_is_written_before_the_follower_starts_is_behind_where_it_begins(tmp_path):
    path = tmp_path / "site.toml"
    path.write_text('[site]\ndata = "data"\n[notifications]\ndestinations = ["orders=http://127.0.0.1:9/"]\n')
    config = load_config(path, {})
    await asyncio.to_thread(create_site, config)
    async with opened_site(config) as site:
        _begin_events(config, site)
        begun, incarnation = site.replica.last_seq(), site.replica.identity().incarnation
        await site.store.commit(lambda view: view.put_bucket(BucketRecord(name="told", owner="someone")))
        late = Position(incarnation, site.replica.last_seq())
        assert late.seq > begun
        assert PositionFile(site.directory, "orders").begin(late) == Position(incarnation, begun)
        _begin_events(config, site)
        assert PositionFile(site.directory, "orders").load() == Position(incarnation, begun), "it is no beginning"
