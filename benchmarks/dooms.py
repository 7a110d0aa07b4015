"""``python -m benchmarks.dooms [--objects N]``: what N objects deleted in the bucket cost the index, for ever.

One site dooms N packs, one by one and sixteen at a time (as many as a round of collection looks at), and takes each
doom to its end as the collector does (settled, discarded). Told, by object: pages of the index in use and bytes of
changes to ship, without what any change costs. No bucket is needed: nothing is shipped.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks.join import open_site
from benchmarks.tombstones import PAGES
from gateway.store.store import SiteStore
from replication.cloud_names import packs_prefix
from replication.collection_ports import DoomState

TABLES: Final = ("items", "objects", "dooms")
"""Those with rows of a doom and of its objects; its log positions go with the log."""


def measure_index(store: SiteStore) -> int:
    """Bytes of pages in use."""
    with store.view() as view:
        stats = [view.transaction.raw.stat(getattr(view.transaction.tables, name)) for name in TABLES]
    return sum(sum(stat[kind] for kind in PAGES) * stat["psize"] for stat in stats)


async def run(root: Path, objects: int, at_once: int) -> tuple[int, int]:
    """Bytes of index and of changes that this many doomed objects cost."""
    store = open_site(root / str(at_once), b"one")
    identity = store.replica.identity()
    prefix = packs_prefix((identity.site, identity.incarnation))
    before, sent = measure_index(store), store.replica.backlog().bytes
    for _ in range(0, objects, at_once):
        await store.holdings.doom([prefix + os.urandom(32).hex() for _ in range(at_once)])
    for doom in store.holdings.dooms():
        for state in (DoomState.SETTLED, DoomState.DISCARDED):
            await store.holdings.record_doom(doom.dot, state)
    cost = measure_index(store) - before, store.replica.backlog().bytes - sent
    store.close()
    return cost


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dooms", description=__doc__)
    parser.add_argument("--objects", type=int, default=1_600, help="how many are doomed (default: %(default)s)")
    objects = parser.parse_args().objects
    with tempfile.TemporaryDirectory() as root:
        for at_once in (1, 16):
            index, changes = asyncio.run(run(Path(root), objects, at_once))
            print(
                f"{at_once:>2} at once: {index / objects:>6,.0f} bytes of index and {changes / objects:>5,.0f} bytes of"
                f" changes for each of {objects:,} objects"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
