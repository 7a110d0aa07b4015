"""Does a large PUT with replication running make small GETs wait? p99 of GET 4 KiB at 4 connections, then beside them.

Light load on purpose: at full load latency only tells the queue's length. The writer and the replication's sink share
the load generator's core, so the figure is, if anything, too high.
"""

from __future__ import annotations

import multiprocessing
import urllib.request

from benchmarks.large import put_request
from benchmarks.load import Load, run_load
from benchmarks.small_get import get_requests
from benchmarks.stand import Figure, Stand

CONNECTIONS = 4


def write_large(stand: Stand) -> None:
    """Put new large objects, one behind the other, until terminated."""
    turn = 0
    while True:
        run_load(stand.site.port, [put_request(stand, f"tail-{turn}")], connections=1, seconds=60, once=True)
        turn += 1


def sunk_bytes(stand: Stand) -> int:
    """Body bytes the sink took so far."""
    with urllib.request.urlopen(f"http://127.0.0.1:{stand.sink_port}/-/bytes") as reply:
        return int(reply.read())


def measure_beside(stand: Stand, requests: list[bytes], seconds: float) -> tuple[Load, int]:
    """The GETs while large objects are put and shipped; and the bytes shipped meanwhile."""
    before = sunk_bytes(stand)
    writer = multiprocessing.get_context("fork").Process(target=write_large, args=(stand,), daemon=True)
    writer.start()
    try:
        busy = run_load(stand.site.port, requests, connections=CONNECTIONS, seconds=seconds)
    finally:
        writer.terminate()
        writer.join()
    return busy, sunk_bytes(stand) - before


def measure(stand: Stand) -> list[Figure]:
    """p99 beside a large PUT and replication, as a multiple of the quiet p99."""
    requests = get_requests(stand, "tail")
    seconds = stand.seconds * 2
    stand.set_replication(ship_interval_s=0.2)
    quiet = run_load(stand.site.port, requests, connections=CONNECTIONS, seconds=seconds)
    busy, shipped = measure_beside(stand, requests, seconds)
    halves = f"p50 {quiet.percentile(0.5) * 1000:.2f} → {busy.percentile(0.5) * 1000:.2f} ms"
    return [
        Figure(
            "GET 4 KiB p99 beside large PUT and replication",
            busy.percentile(0.99) * 1000,
            "ms",
            f"quiet p99 {quiet.percentile(0.99) * 1000:.2f} ms",
            busy.percentile(0.99) / quiet.percentile(0.99),
            5.0,
            is_ceiling=True,
            generator_share=busy.generator_share,
            note=f"{CONNECTIONS} connections; {halves}; {shipped / 1e6:.0f} MB shipped meanwhile",
        )
    ]
