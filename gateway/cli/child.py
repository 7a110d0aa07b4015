"""The child's half of ``gateway.supervise``: orders from standard input, ``ready`` on standard output, when to end.

Orders are the parent's checked configuration as JSON: a child parses no file and no environment, so that all processes
of a server agree, and nothing secret stands in an argument list. SIGINT is ignored (a terminal sends it to the whole
group; the parent decides); SIGTERM, or the end of standard input because the parent is gone, means finish.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.config import Config
from gateway.store.store import SiteStore
from gateway.supervise import READY_LINE

_ORDERS_BYTES_MAX: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class Orders:
    """What a child is told: the configuration, its number among its like, the inherited listening socket if any; the
    realm's root key as text, as the parent got it, so that who died can be started again while a service that unwraps
    it does not answer.
    """

    config: Config
    number: int = 0
    listener: int | None = None
    root_key: str = field(default="", repr=False)


def encode_orders(orders: Orders) -> bytes:
    """JSON, for a pipe."""
    return msgspec.json.encode(orders, enc_hook=str)


def decode_orders(data: bytes) -> Orders:
    """What ``encode_orders`` was given."""
    return msgspec.json.decode(data, type=Orders, dec_hook=_decode_path)


def _decode_path(kind: type, value: Any) -> Any:
    assert issubclass(kind, Path)
    return kind(value)


def read_orders() -> Orders:
    """Read the orders from standard input, unbuffered: what follows is only its end. Blocking, before any loop runs."""
    size = int.from_bytes(_read_exactly(4), "little")
    assert size <= _ORDERS_BYTES_MAX
    return decode_orders(_read_exactly(size))


def _read_exactly(size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = os.read(sys.stdin.fileno(), size - len(data))
        if not piece:
            raise SystemExit("the supervisor is gone")
        data += piece
    return data


def report_ready() -> None:
    """Tell the parent that this child is serving."""
    sys.stdout.buffer.write(READY_LINE)
    sys.stdout.buffer.flush()


def watch_index(store: SiteStore, stop: asyncio.Event) -> None:
    """Set ``stop`` when the index' engine gives up in this process: the parent starts another, which can read."""
    loop = asyncio.get_running_loop()
    store.index.on_panic = lambda: loop.call_soon_threadsafe(stop.set)


def watch_parent(stop: asyncio.Event) -> None:
    """Set ``stop`` on SIGTERM or when the parent is gone. Call on the running loop."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stop.set)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    descriptor = sys.stdin.fileno()
    os.set_blocking(descriptor, False)

    def at_end() -> None:
        loop.remove_reader(descriptor)
        stop.set()

    loop.add_reader(descriptor, at_end)
