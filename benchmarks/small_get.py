"""How many signed GETs of 4 KiB objects per second? Over 2,000 objects, warm, each answer verified and decrypted."""

from __future__ import annotations

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
    """Signed GET 4 KiB, against bare aiohttp answering 4 KiB."""
    requests = get_requests(stand)
    load, cpu = best_site_round(stand, lambda: stand.load_site(requests, body_bytes=SIZE))
    bare = stand.bare_rate(f"/{SIZE}")
    return [
        Figure(
            "signed GET 4 KiB",
            load.per_second,
            "req/s",
            "bare GET 4 KiB",
            load.per_second / bare,
            0.45,
            per_cpu_second=load.requests / cpu,
            cpu_ratio=load.requests / cpu / stand.bare_cpu_rate(f"/{SIZE}"),
            generator_share=load.generator_share,
            note=f"{CONNECTIONS} connections, p99 {load.percentile(0.99) * 1000:.1f} ms",
        )
    ]
