"""Counting requests: one small memory-mapped file a worker, written by it alone, summed by the admin listener.

A request costs a few additions to a mapped array; nothing is locked, formatted or sent. Files survive their worker,
so sums never go back when one is restarted into the same file. Layout: 16 bytes header (magic, version, slots), then
for each operation of S3 (by name, plus one for what was not recognised) ``_SLOTS`` unsigned 64-bit numbers: status
classes 2xx 3xx 4xx 5xx · latency buckets · microseconds in all · bytes in · bytes out. Not durable, not a format that
is kept: a file of another layout is started afresh.
"""

from __future__ import annotations

import mmap
import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from gateway.s3.routing import Operation

_MAGIC: Final = b"SKMC"
_HEADER: Final = struct.Struct("<4sIQ")
BUCKETS_US: Final = (250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 1_000_000, 10_000_000)
_CLASSES: Final = ("2xx", "3xx", "4xx", "5xx")
_LATENCY: Final = len(_CLASSES)
_SUM: Final = _LATENCY + len(BUCKETS_US) + 1
_IN: Final = _SUM + 1
_OUT: Final = _IN + 1
_SLOTS: Final = _OUT + 1
_NAMES: Final = (*sorted(operation.value for operation in Operation), "Unknown")
_SIZE: Final = _HEADER.size + 8 * _SLOTS * len(_NAMES)
UNKNOWN: Final = len(_NAMES) - 1
ROW_OF: Final = {operation: _NAMES.index(operation.value) for operation in Operation}


class RequestMetrics:
    """The counters of one worker. ``path`` None: in memory only."""

    def __init__(self, path: Path | None = None) -> None:
        self._map = _map_file(path) if path is not None else mmap.mmap(-1, _SIZE)
        if self._map[: _HEADER.size] != _HEADER.pack(_MAGIC, 1, _SLOTS):
            self._map[:] = bytes(_SIZE)
            self._map[: _HEADER.size] = _HEADER.pack(_MAGIC, 1, _SLOTS)
        self._view = memoryview(self._map)[_HEADER.size :].cast("Q")

    def observe(self, operation: Operation | None, status: int, elapsed_us: int, bytes_in: int, bytes_out: int) -> None:
        """Count one answered request."""
        base = _SLOTS * (UNKNOWN if operation is None else ROW_OF[operation])
        view = self._view
        view[base + min(max(status // 100 - 2, 0), 3)] += 1
        view[base + _LATENCY + bisect_left(BUCKETS_US, elapsed_us)] += 1
        view[base + _SUM] += elapsed_us
        view[base + _IN] += bytes_in
        view[base + _OUT] += bytes_out

    def numbers(self) -> list[int]:
        """Every number, for a sum."""
        return self._view.tolist()


def _map_file(path: Path) -> mmap.mmap:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a+b") as file:
        if file.seek(0, 2) != _SIZE:
            file.truncate(0)
            file.truncate(_SIZE)
        return mmap.mmap(file.fileno(), _SIZE)


def sum_files(directory: Path) -> list[int]:
    """The sum of all workers' numbers; files of another layout do not count."""
    total = [0] * (_SLOTS * len(_NAMES))
    for path in sorted(directory.glob("*.counters")):
        data = path.read_bytes()
        if len(data) == _SIZE and data[: _HEADER.size] == _HEADER.pack(_MAGIC, 1, _SLOTS):
            numbers = memoryview(data)[_HEADER.size :].cast("Q")
            total = [one + other for one, other in zip(total, numbers, strict=True)]
    return total


def to_families(numbers: list[int]) -> Iterator[Metric]:
    """Prometheus families of summed numbers; operations never asked for are left out."""
    requests = CounterMetricFamily("skerry_requests", "Requests answered.", labels=("operation", "status"))
    latency = HistogramMetricFamily(
        "skerry_request_seconds", "Time from headers read to answer made.", labels=("operation",)
    )
    received = CounterMetricFamily("skerry_received_bytes", "Bytes of request bodies.", labels=("operation",))
    sent = CounterMetricFamily("skerry_sent_bytes", "Bytes of answers' bodies.", labels=("operation",))
    for row, name in enumerate(_NAMES):
        slots = numbers[row * _SLOTS : (row + 1) * _SLOTS]
        if not any(slots[:_LATENCY]):
            continue
        for label, count in zip(_CLASSES, slots, strict=False):
            requests.add_metric((name, label), count)
        latency.add_metric((name,), list(_cumulate(slots[_LATENCY:_SUM])), slots[_SUM] / 1e6)
        received.add_metric((name,), slots[_IN])
        sent.add_metric((name,), slots[_OUT])
    yield from (requests, latency, received, sent)


def _cumulate(counts: Iterable[int]) -> Iterator[tuple[str, float]]:
    """(upper bound in seconds, count up to it) as Prometheus has buckets."""
    so_far = 0
    for bound, count in zip((*BUCKETS_US, None), counts, strict=True):
        so_far += count
        yield ("+Inf" if bound is None else repr(bound / 1e6)), so_far
