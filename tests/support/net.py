"""Loopback ports and bounded waiting, for tests that drive real processes."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable

PROCESSES_MAX = 8


def find_free_ports(count: int, first: int = 20000, last: int = 32000) -> int:
    """The first of ``count`` neighbouring TCP ports that are free on loopback now.

    Below the ephemeral range, so that no outgoing connection takes one of them before its server binds it.
    """
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):  # each test process has ports of its own
        share = (last - first) // PROCESSES_MAX
        first += int(worker.removeprefix("gw")) % PROCESSES_MAX * share
        last = first + share
    start = first + (time.monotonic_ns() // 1000) % (last - first - count)
    for base in [*range(start, last - count, count), *range(first, start, count)]:
        if all(is_port_free(base + i) for i in range(count)):
            return base
    raise RuntimeError(f"no {count} neighbouring free ports between {first} and {last}")


def is_port_free(port: int) -> bool:
    """Whether a server could bind ``port`` on loopback now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def wait_until(true: Callable[[], bool], what: str, timeout_s: float = 120.0, every_s: float = 0.05) -> None:
    """Poll ``true`` until it holds: for things outside this process. ``TimeoutError`` naming ``what`` in the end."""
    deadline = time.monotonic() + timeout_s
    while not true():
        if time.monotonic() > deadline:
            raise TimeoutError(f"{what}: not so after {timeout_s:.0f} s")
        time.sleep(every_s)
