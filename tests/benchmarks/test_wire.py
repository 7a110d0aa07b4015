"""Every byte of a tape has a name: real rounds of a site, put into HTTP as it goes over the wire."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from benchmarks.wire import Line, WireOdd, list_lines
from replication.cloud_memory import MemoryCloud
from replication.offload import run_at_once
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Shipper
from tests.gateway.store.store_site import KEYRING, StoreSite

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
LISTED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\n<a>\r\n0\r\n\r\n"
GONE = b"HTTP/1.1 204 No Content\r\n\r\n"


class TapedCloud(MemoryCloud):
    """Keeps each call as the pieces that HTTP would make of it; every connection has three calls."""

    def __init__(self) -> None:
        super().__init__()
        self.tape: list[tuple[int, bool, bytes]] = []
        self.calls = 0

    async def put(self, name: str, data: bytes, *, if_absent: bool = False) -> None:
        await super().put(name, data, if_absent=if_absent)
        head = b"PUT /b/realm-of-ours/%s HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % (name.encode(), len(data))
        self._tell(head + data, CONTINUE + ANSWER)

    async def delete(self, name: str) -> None:
        await super().delete(name)
        self._tell(b"DELETE /b/realm-of-ours/%s HTTP/1.1\r\n\r\n" % name.encode(), GONE)

    async def list(self, prefix: str, *, after: str = "", count_max: int = 1000) -> list[str]:
        self._tell(b"GET /b?list-type=2 HTTP/1.1\r\n\r\n", LISTED)
        return await super().list(prefix, after=after, count_max=count_max)

    def _tell(self, request: bytes, reply: bytes) -> None:
        number, self.calls = self.calls // 3, self.calls + 1
        half = len(request) // 2
        self.tape += [(number, False, request[:half]), (number, False, request[half:]), (number, True, reply)]


async def ship(path: Path, inline_bytes_max: int) -> TapedCloud:
    """A body and an edit of it, shipped one after the other."""
    cloud, body = TapedCloud(), random.Random(1).randbytes(1 << 20)
    settings = ReplicationSettings(limits=ShipLimits(inline_bytes_max=inline_bytes_max))
    async with StoreSite(path) as site:
        replica = site.store.replica
        shipper = Shipper(
            *(replica, replica, cloud, lambda: KEYRING, settings),
            wall_ms=lambda: 1_700_000_000_000,
            offload=run_at_once,
        )
        for content in (body, body[:500_000] + b"edited" + body[500_000:]):
            await site.put(b"k", content)
            while await shipper.ship_round():
                pass
    return cloud


def named(lines: list[Line], beginning: str) -> dict[str, int]:
    return {line.what: line.size for line in lines if line.what.startswith(beginning)}


@pytest.mark.parametrize("inline_bytes_max", [0, 8 << 20])
async def test_the_names_add_up_to_what_was_said(tmp_path: Path, inline_bytes_max: int) -> None:
    cloud = await ship(tmp_path / "d", inline_bytes_max)
    lines = list_lines(cloud.tape, "realm-of-ours", KEYRING)
    assert sum(line.size for line in lines) == sum(len(piece) for _, _, piece in cloud.tape)
    holder = "log batch" if inline_bytes_max else "pack"
    found = named(lines, holder)
    assert found[f"{holder}: whole chunks"] > 1_000_000 - 300_000
    assert 0 < found[f"{holder}: patches of chunks"] < 2_000
    objects = sum(sum(named(lines, kind).values()) for kind in ("log batch:", "pack:", "index:"))
    assert objects == sum(len(data) for name, data in cloud.objects.items() if name.startswith("sites/"))


async def test_what_is_cut_or_unasked_is_odd(tmp_path: Path) -> None:
    tape = (await ship(tmp_path / "d", 0)).tape
    for wrong in (tape[:-1], [*tape, (99, True, ANSWER)], [*tape, (98, False, b"PUT /b/x HTTP/1.1\r\n")]):
        with pytest.raises(WireOdd):
            list_lines(wrong, "realm-of-ours", KEYRING)
