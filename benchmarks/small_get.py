"""How many signed GETs of 4 KiB objects per second? Over 2,000 objects: each for the first time, and again and again.

The first read of an object since the worker started looks up its chunk, reads and decrypts it, and costs twice what
later ones do, which find the plaintext in the worker's cache (32 MiB). A short round over both would tell neither.
"""

from __future__ import annotations

from benchmarks.load import Load
from benchmarks.small_put import put_objects
from benchmarks.stand import CONNECTIONS, Figure, Stand, best_site_round

SIZE = 4096
COUNT = 2000


def get_requests(stand: Stand, stem: str = "get") -> list[bytes]:
    """Put the objects, and sign one GET for each."""
    stand.load_site(put_objects(stand, COUNT, SIZE, stem), once=True)
    signer = stand.signer()
    return [signer.sign("GET", f"/bench/{stem}/{number:08d}") for number in range(COUNT)]


def measure(stand: Stand) -> list[Figure]:
    """Signed GET 4 KiB, against bare aiohttp answering 4 KiB: the first reads (once), then what is warm."""
    requests = get_requests(stand)
    first = stand.load_site(requests, body_bytes=SIZE, once=True)
    warm = best_site_round(stand, lambda: stand.load_site(requests, body_bytes=SIZE))
    return [
        describe(stand, "signed GET 4 KiB", warm, 0.45),
        describe(stand, "signed GET 4 KiB, first reads", first, None),
    ]


def describe(stand: Stand, name: str, measured: tuple[Load, float], budget: float | None) -> Figure:
    """The figure of one load and its CPU seconds."""
    load, cpu = measured
    bare = stand.bare_rate(f"/{SIZE}")
    return Figure(
        name,
        load.per_second,
        "req/s",
        "bare GET 4 KiB",
        load.per_second / bare,
        budget,
        per_cpu_second=load.requests / cpu,
        cpu_ratio=load.requests / cpu / stand.bare_cpu_rate(f"/{SIZE}"),
        generator_share=load.generator_share,
        note=f"{CONNECTIONS} connections, p99 {load.percentile(0.99) * 1000:.1f} ms",
    )
