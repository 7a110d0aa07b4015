"""``python -m benchmarks.tombstones [--keys N]``: what N deleted keys cost the index, and what is left of that.

One site puts N objects of 64 bytes beside a tenth as many that stay, deletes the N, ships, and then ends its tombstones
as the daemon does (``replication/tombstones``; the age is 0, so that nobody waits for it). Told: pages of the index in
use (what is freed is used again; the file does not get smaller), rows in it, and what ending them took: seconds of this
process, bytes of changes. The bucket is a directory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.join import BUCKET, DirectoryCloud, keyring, open_site, remove_objects, wall_ms, write_objects
from gateway.store.document_format import BucketRecord
from gateway.store.index_format import TABLES
from gateway.store.store import SiteStore
from replication.settings import ReplicationSettings
from replication.shipper import Shipper
from replication.tombstones import TombstoneKeeper

PAGES: Final = ("branch_pages", "leaf_pages", "overflow_pages")
STEPS_MAX: Final = 10_000


def measure_index(store: SiteStore) -> dict[str, int]:
    """Pages in use, in bytes, and the rows of keys, dead or not."""
    with store.view() as view:
        raw, tables = view.transaction.raw, view.transaction.tables
        stats = {name: raw.stat(getattr(tables, name)) for name in TABLES}
    pages = {name: sum(stat[kind] for kind in PAGES) * stat["psize"] for name, stat in stats.items()}
    return {
        "heads": stats["heads"]["entries"],
        "versions": stats["versions"]["entries"],
        "bytes": sum(pages.values()),
        "key_bytes": pages["heads"] + pages["versions"],
    }


async def run(root: Path, keys: int) -> dict[str, Any]:
    """The figures."""
    cloud, store = DirectoryCloud(root / "bucket"), open_site(root / "one", b"one")
    shipper = Shipper(store.replica, store.replica, cloud, keyring, ReplicationSettings(), wall_ms=wall_ms)
    uid = (await store.commit(lambda view: view.put_bucket(BucketRecord(name=BUCKET, owner="someone")))).uid
    write_objects(store, uid, range(keys + keys // 10), "x")
    remove_objects(store, uid, range(keys))
    while await shipper.ship_round():
        pass
    for _ in range(STEPS_MAX):
        if not store.collector.collect_step():
            break
    before = measure_index(store)
    keeper = TombstoneKeeper(store.replica, store.graveyard, cloud, 0, trusted_ms=wall_ms)
    await keeper.end_due()  # finds the horizon
    log_bytes, began_s, cpu_s = store.replica.backlog().bytes, time.monotonic(), time.process_time()
    ended = await keeper.end_due()
    took_s, cpu_s = time.monotonic() - began_s, time.process_time() - cpu_s
    told = {
        "keys": keys,
        "ended": ended,
        "seconds": round(took_s, 2),
        "cpu_seconds": round(cpu_s, 2),
        "change_bytes": store.replica.backlog().bytes - log_bytes,
        "before": before,
        "after": measure_index(store),
    }
    store.close()
    return told


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tombstones", description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000, help="how many are deleted (default: %(default)s)")
    parser.add_argument("--json", action="store_true", help="print one JSON document")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as root:
        told = asyncio.run(run(Path(root), arguments.keys))
    if arguments.json:
        print(json.dumps(told))
        return 0
    for name in ("before", "after"):
        line = "{:>6}: {bytes:>12,} bytes of index, {key_bytes:>12,} of them for {heads:,} keys with {versions:,} rows"
        print(line.format(name, **told[name]))
    print(
        f"{told['ended']:,} tombstones of {told['keys']:,} ended in {told['seconds']} s "
        f"({told['cpu_seconds']} s of CPU), {told['change_bytes']:,} bytes of changes to ship"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
