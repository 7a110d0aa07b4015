"""How fast do large bodies go in (all hashes, sealing and syncs included) and out, and 64 KiB ranges out of one?"""

from __future__ import annotations

import itertools
import random

from benchmarks.signing import UNSIGNED
from benchmarks.stand import Figure, Stand, best_site_round, fresh_body, measure_md5

RANGE = 65536
NUMBERS = itertools.count()


def large_size(stand: Stand) -> int:
    """Bytes of the large object."""
    return (64 << 20) if stand.quick else (256 << 20)


def put_request(stand: Stand, key: str, *, signed: bool = False) -> bytes:
    """One PUT of a new random large object."""
    payload = None if signed else UNSIGNED
    return stand.signer().sign("PUT", f"/bench/{key}", body=fresh_body(large_size(stand)), payload=payload)


def measure_put(stand: Stand) -> list[Figure]:
    """Large PUT, one connection, against MD5 (which its ETag needs) on the same core."""
    size, md5, figures = large_size(stand), measure_md5(stand.server_cpu), []
    for name, signed in (("large PUT", False), ("large PUT, signed payload", True)):
        load, cpu = best_site_round(
            stand,
            lambda signed=signed: stand.load_site(  # type: ignore[misc]
                [put_request(stand, f"large-{next(NUMBERS)}", signed=signed)], 1, size, once=True
            ),
        )
        figures.append(
            Figure(
                name,
                load.bytes_per_second / 1e6,
                "MB/s",
                f"MD5 {md5 / 1e6:.0f} MB/s",
                load.bytes_per_second / md5,
                None if signed else 0.45,
                per_cpu_second=load.body_bytes / cpu / 1e6,
                generator_share=load.generator_share,
                note=f"{size >> 20} MiB, one connection",
            )
        )
    return figures


def measure_get(stand: Stand) -> list[Figure]:
    """Large GET, two connections, against bare aiohttp streaming as much."""
    size = large_size(stand)
    stand.load_site([put_request(stand, "large-get")], 1, once=True)
    request = stand.signer().sign("GET", "/bench/large-get")
    load, cpu = best_site_round(stand, lambda: stand.load_site([request, request], 2, size))
    bare = stand.bare_rate(f"/stream/{size}", 2, size)
    return [
        Figure(
            "large GET",
            load.bytes_per_second / 1e6,
            "MB/s",
            f"bare streaming {bare / 1e6:.0f} MB/s",
            load.bytes_per_second / bare,
            0.3,
            per_cpu_second=load.body_bytes / cpu / 1e6,
            cpu_ratio=load.body_bytes / cpu / stand.bare_cpu_rate(f"/stream/{size}", 2),
            generator_share=load.generator_share,
            note=f"{size >> 20} MiB, two connections",
        )
    ]


def measure_range(stand: Stand) -> list[Figure]:
    """Ranged GETs of 64 KiB at random offsets of a large object, against bare aiohttp answering 64 KiB."""
    size = large_size(stand)
    stand.load_site([put_request(stand, "large-range")], 1, once=True)
    signer, choose = stand.signer(), random.Random(1)
    starts = [choose.randrange(size - RANGE) for _ in range(2000)]
    requests = [
        signer.sign("GET", "/bench/large-range", headers={"range": f"bytes={at}-{at + RANGE - 1}"}) for at in starts
    ]
    load, cpu = best_site_round(stand, lambda: stand.load_site(requests, 16, RANGE))
    bare = stand.bare_rate(f"/{RANGE}", 16)
    return [
        Figure(
            "ranged GET 64 KiB",
            load.per_second,
            "req/s",
            "bare GET 64 KiB",
            load.per_second / bare,
            0.2,
            per_cpu_second=load.requests / cpu,
            cpu_ratio=load.requests / cpu / stand.bare_cpu_rate(f"/{RANGE}", 16),
            generator_share=load.generator_share,
            note=f"random offsets in {size >> 20} MiB, 16 connections",
        )
    ]


def measure(stand: Stand) -> list[Figure]:
    """All of the above."""
    return [*measure_put(stand), *measure_get(stand), *measure_range(stand)]
