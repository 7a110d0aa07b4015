"""The test stand: Skerry and bare aiohttp, in turn on the same one core, the load on another.

A question gets a ``Stand`` and gives back ``Figure``s. Everything is taken in one run on one machine: ratios are what
counts, absolute figures are this machine's.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy

from benchmarks.load import Load, run_load
from benchmarks.signing import Signer
from tests.support.net import find_free_ports, is_port_free, wait_until
from tests.support.site import CloudSettings, Site

CONNECTIONS = 64
CLOCK_TICKS = os.sysconf("SC_CLK_TCK")
ROUNDS = 3
NEVER = {"ship_interval_s": 86_400.0, "poll_interval_s": 86_400.0, "ship_bytes": 1 << 40}
"""No replication while anything else is measured."""
_RANDOM = numpy.random.default_rng()


@dataclass(frozen=True)
class Figure:
    """One answer: what was measured, in which unit, against what, and the ratio that DESIGN §8 asks for (if any)."""

    name: str
    value: float
    unit: str
    against: str = ""
    ratio: float | None = None
    budget: float | None = None
    is_ceiling: bool = False
    per_cpu_second: float | None = None
    cpu_ratio: float | None = None
    """As ``ratio``, but per CPU second of both sides: what neighbours on the machine distort least."""
    generator_share: float = 0.0
    note: str = ""

    @property
    def is_met(self) -> bool | None:
        """Whether the budget is kept; None if there is none."""
        if self.budget is None:
            return None
        measured = self.value if self.ratio is None else self.ratio
        return measured <= self.budget if self.is_ceiling else measured >= self.budget


@dataclass
class Stand:
    """Where the questions are put. ``seconds`` is the length of one measurement; ``server_cpu`` is the servers'."""

    seconds: float
    quick: bool
    server_cpu: int
    load_cpu: int
    directory: Path
    site: Site
    bare_port: int
    bare: subprocess.Popen[bytes]
    sink: subprocess.Popen[bytes]
    rates: dict[str, float] = field(default_factory=dict)
    """Yardsticks measured so far, by name: taken once a run."""
    cpu_rates: dict[str, float] = field(default_factory=dict)
    """The same per CPU second of the yardstick's process."""

    def signer(self) -> Signer:
        """A signer of the site's first user, as of now."""
        return Signer(f"127.0.0.1:{self.site.port}", self.site.access_key, self.site.secret_key)

    def bare_rate(self, path: str, connections: int = CONNECTIONS, body_bytes: int = 0) -> float:
        """What bare aiohttp does of ``GET path``: requests per second, or bytes if ``body_bytes`` is given."""
        name = f"{path} {connections}"
        if name not in self.rates:
            request = f"GET {path} HTTP/1.1\r\nHost: bare\r\n\r\n".encode()
            before = self.bare_cpu_seconds()
            loads = [self.load_bare([request], connections, body_bytes) for _ in range(self.rounds)]
            moved = sum(load.body_bytes if body_bytes else load.requests for load in loads)
            self.cpu_rates[name] = moved / max(self.bare_cpu_seconds() - before, 1 / CLOCK_TICKS)
            best = max(loads, key=lambda load: load.per_second)
            self.rates[name] = best.bytes_per_second if body_bytes else best.per_second
        return self.rates[name]

    def bare_cpu_rate(self, path: str, connections: int = CONNECTIONS) -> float:
        """As ``bare_rate``, which was asked for, per CPU second of bare aiohttp."""
        return self.cpu_rates[f"{path} {connections}"]

    def bare_cpu_seconds(self) -> float:
        """User and system time of bare aiohttp so far."""
        fields = Path(f"/proc/{self.bare.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / CLOCK_TICKS

    def load_bare(self, requests: list[bytes], connections: int, body_bytes: int = 0) -> Load:
        """Load on bare aiohttp."""
        return run_load(self.bare_port, requests, connections=connections, seconds=self.seconds, body_bytes=body_bytes)

    @property
    def rounds(self) -> int:
        """How many times each measurement is taken; the best counts, for yardstick and server alike."""
        return 1 if self.quick else ROUNDS

    def load_site(
        self, requests: list[bytes], connections: int = CONNECTIONS, body_bytes: int = 0, *, once: bool = False
    ) -> tuple[Load, float]:
        """Load on the site: the load, and the CPU seconds all of the site's processes used meanwhile."""
        before = self.site_cpu_seconds()
        load = run_load(
            self.site.port,
            requests,
            connections=connections,
            seconds=3600 if once else self.seconds,
            once=once,
            body_bytes=body_bytes,
        )
        return load, self.site_cpu_seconds() - before

    @property
    def sink_port(self) -> int:
        """Where the in-memory cloud answers."""
        return self.bare_port + 1

    def set_replication(self, *, ship_interval_s: float) -> None:
        """Restart the site with replication at work: what waits is shipped, and what comes."""
        self.site.stop()
        self.site.settings["replication"] = {"ship_interval_s": ship_interval_s, "poll_interval_s": 10.0}
        self.site.write_config()
        self.site.start()

    def site_cpu_seconds(self) -> float:
        """User and system time of every process of the site so far."""
        assert self.site.process is not None
        group = self.site.process.pid
        total = 0
        for path in Path("/proc").glob("[0-9]*/stat"):
            try:
                fields = path.read_text().rpartition(")")[2].split()
            except (FileNotFoundError, ProcessLookupError):
                continue
            if int(fields[2]) == group:
                total += int(fields[11]) + int(fields[12])
        return total / CLOCK_TICKS

    def close(self) -> None:
        """Stop everything and remove the data."""
        self.site.stop()
        for process in (self.bare, self.sink):
            process.terminate()
            process.wait(20)
        shutil.rmtree(self.directory, ignore_errors=True)


def best_of(measure: Callable[[], Load], rounds: int) -> Load:
    """The round with the most requests per second: what the program can do, not what the neighbours let it."""
    return max((measure() for _ in range(rounds)), key=lambda load: load.per_second)


def best_site_round(stand: Stand, measure: Callable[[], tuple[Load, float]]) -> tuple[Load, float]:
    """As ``best_of``, with CPU seconds."""
    return max((measure() for _ in range(stand.rounds)), key=lambda pair: pair[0].per_second)


def open_stand(*, quick: bool) -> Stand:
    """Start everything. The site replicates to an in-memory sink on the load's core."""
    cpus = sorted(os.sched_getaffinity(0))
    server_cpu, load_cpu = cpus[0], cpus[-1]
    os.sched_setaffinity(0, {load_cpu})
    directory = Path(tempfile.mkdtemp(prefix="skerry-bench-"))
    port = find_free_ports(2)
    bare = subprocess.Popen([sys.executable, "-m", "benchmarks.bare", str(port), str(server_cpu)])
    sink = subprocess.Popen([sys.executable, "-m", "benchmarks.sink", str(port + 1), str(load_cpu)])
    for up in (port, port + 1):
        wait_until(lambda up=up: not is_port_free(up), f"port {up} is taken")  # type: ignore[misc]
    cloud = CloudSettings(f"http://127.0.0.1:{port + 1}", "bench", "sink", "sink-secret")
    settings: dict[str, dict[str, Any]] = {"replication": dict(NEVER)}
    site = Site(directory / "site", "bench", cloud=cloud, workers=1, settings=settings, cpu=server_cpu)
    stand = Stand(1.0 if quick else 4.0, quick, server_cpu, load_cpu, directory, site, port, bare, sink)
    try:
        site.start()
        site.client().create_bucket(Bucket="bench")
    except BaseException:
        site.kill()
        stand.close()
        raise
    return stand


def measure_disk(directory: Path) -> tuple[float, float]:
    """fdatasync after appending 4 KiB and after 4 MiB, on the disk of the data: median milliseconds."""
    medians = []
    for size, count in ((4096, 100), (4 << 20, 10)):
        path = directory / "fdatasync"
        data = os.urandom(size)
        taken = []
        with path.open("wb", buffering=0) as file:
            for _ in range(count):
                file.write(data)
                began = time.perf_counter()
                os.fdatasync(file.fileno())
                taken.append((time.perf_counter() - began) * 1000)
        path.unlink()
        medians.append(sorted(taken)[count // 2])
    return medians[0], medians[1]


def measure_md5(cpu: int) -> float:
    """MD5 bytes per second on the server's core."""
    here = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        data = os.urandom(64 << 20)
        began = time.perf_counter()
        for _ in range(4):
            hashlib.md5(data, usedforsecurity=False).digest()
        return 4 * len(data) / (time.perf_counter() - began)
    finally:
        os.sched_setaffinity(0, here)


def fresh_body(size: int) -> bytes:
    """Random bytes never used before: nothing deduplicates, nothing compresses. Several times faster than urandom."""
    return _RANDOM.bytes(size)
