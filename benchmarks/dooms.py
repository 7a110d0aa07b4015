"""``python -m benchmarks.dooms [--objects N]``: what N objects deleted in the bucket cost the index, and what is left.

One site dooms N packs, one by one and sixteen at a time (as many as a round of collection looks at), takes each doom to
its end as the collector does (settled, discarded, ended), ships that, and ends the tombstones as well, as it does once
every site has seen them long enough. Told, by object: pages of the index in use at each of these, and bytes of changes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
import tempfile
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.join import DirectoryCloud, keyring, open_site, wall_ms
from benchmarks.tombstones import PAGES
from gateway.store.store import SiteStore
from replication.cloud_names import packs_prefix
from replication.collection_ports import DoomState
from replication.settings import ReplicationSettings
from replication.shipper import Shipper
from replication.tombstones import TombstoneKeeper

TABLES: Final = ("items", "objects", "dooms")
"""Those with rows of a doom and of its objects; its log positions go with the log."""


class Cost(NamedTuple):
    """Bytes of index while objects are doomed, when their dooms are ended, when that is forgotten; of changes."""

    doomed: int
    ended: int
    forgotten: int
    changes: int


def measure_index(store: SiteStore) -> int:
    """Bytes of pages in use."""
    with store.view() as view:
        stats = [view.transaction.raw.stat(getattr(view.transaction.tables, name)) for name in TABLES]
    return sum(sum(stat[kind] for kind in PAGES) * stat["psize"] for stat in stats)


async def run(root: Path, objects: int, at_once: int) -> Cost:
    """What this many doomed objects cost."""
    store, cloud = open_site(root / str(at_once), b"one"), DirectoryCloud(root / f"bucket-{at_once}")
    identity = store.replica.identity()
    prefix = packs_prefix((identity.site, identity.incarnation))
    before, sent = measure_index(store), store.replica.backlog().bytes
    for _ in range(0, objects, at_once):
        await store.holdings.doom([prefix + os.urandom(32).hex() for _ in range(at_once)])
    dooms = store.holdings.dooms()
    for doom in dooms:
        for state in (DoomState.SETTLED, DoomState.DISCARDED):
            await store.holdings.record_doom(doom.dot, state)
    doomed = measure_index(store) - before
    await store.holdings.end_dooms([doom.dot for doom in dooms])
    ended, changes = measure_index(store) - before, store.replica.backlog().bytes - sent
    shipper = Shipper(store.replica, store.replica, cloud, keyring, ReplicationSettings(), wall_ms=wall_ms)
    while await shipper.ship_round():
        pass
    keeper = TombstoneKeeper(store.replica, store.graveyard, cloud, 0, trusted_ms=wall_ms)
    for _ in range(2):  # the first finds the horizon
        await keeper.end_due()
    cost = Cost(doomed, ended, measure_index(store) - before, changes + store.replica.backlog().bytes)
    store.close()
    return cost


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.dooms", description=__doc__)
    parser.add_argument("--objects", type=int, default=1_600, help="how many are doomed (default: %(default)s)")
    objects = parser.parse_args().objects
    with tempfile.TemporaryDirectory() as root:
        for at_once in (1, 16):
            cost = Cost(*(value / objects for value in asyncio.run(run(Path(root), objects, at_once))))
            print(
                f"{at_once:>2} at once: {cost.doomed:>5,.0f} bytes of index while doomed, {cost.ended:>4,.0f} ended,"
                f" {cost.forgotten:>4,.0f} forgotten; {cost.changes:>5,.0f} of changes, for each of {objects:,} objects"
            )
    return 0


if __name__ == "__main__":
    sys.exit(main())
