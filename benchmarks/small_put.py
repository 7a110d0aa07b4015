"""How many durable 4 KiB objects can be written per second? Each a key of its own, header-signed with its SHA-256."""

from __future__ import annotations

import itertools

from benchmarks.stand import CONNECTIONS, Figure, Stand, best_site_round, fresh_body

SIZE = 4096
NUMBERS = itertools.count()


def put_objects(stand: Stand, count: int, size: int, stem: str) -> list[bytes]:
    """Signed requests that put ``count`` new random objects ``stem/00000000`` …"""
    signer = stand.signer()
    return [signer.sign("PUT", f"/bench/{stem}/{number:08d}", body=fresh_body(size)) for number in range(count)]


def measure(stand: Stand) -> list[Figure]:
    """Durable PUT 4 KiB, against bare aiohttp answering 4 KiB."""
    count = 4000 if stand.quick else 20_000
    load, cpu = best_site_round(
        stand, lambda: stand.load_site(put_objects(stand, count, SIZE, f"put-{next(NUMBERS)}"), once=True)
    )
    bare = stand.bare_rate(f"/{SIZE}")
    return [
        Figure(
            "durable PUT 4 KiB",
            load.per_second,
            "req/s",
            "bare GET 4 KiB",
            load.per_second / bare,
            0.16,
            per_cpu_second=load.requests / cpu,
            cpu_ratio=load.requests / cpu / stand.bare_cpu_rate(f"/{SIZE}"),
            generator_share=load.generator_share,
            note=f"{CONNECTIONS} connections, p99 {load.percentile(0.99) * 1000:.1f} ms",
        )
    ]
