"""How many pages of 1,000 keys per second? ListObjectsV2 at every place of a bucket prefix with 10,000 keys."""

from __future__ import annotations

from benchmarks.small_put import put_objects
from benchmarks.stand import Figure, Stand, best_site_round


def measure(stand: Stand) -> list[Figure]:
    """LIST of 1,000 keys: pages per second, 16 connections."""
    count = 2000 if stand.quick else 10_000
    stand.load_site(put_objects(stand, count, 64, "list"), once=True)
    signer = stand.signer()
    query = {"list-type": "2", "prefix": "list/", "max-keys": "1000"}
    requests = [
        signer.sign("GET", "/bench", query | {"start-after": f"list/{after:08d}"})
        for after in range(0, count - 1000, 97)
    ]
    load, cpu = best_site_round(stand, lambda: stand.load_site(requests, 16))
    return [
        Figure(
            "LIST 1,000 keys",
            load.per_second,
            "pages/s",
            budget=300.0,
            per_cpu_second=load.requests / cpu,
            generator_share=load.generator_share,
            note=f"of {count:,} keys, 16 connections",
        )
    ]
