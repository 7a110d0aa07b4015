"""A patch whose named base was replaced by another full frame of its chunk: it is still shipped and read everywhere."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from gateway.store.document_format import UserRecord, encode_record
from gateway.store.hydration import install_frame
from gateway.store.item_format import FAMILY_USER
from replication.change_format import Change, ChangeTooNew, encode_change
from replication.cloud_memory import MemoryCloud
from replication.crdt import Dot
from replication.frame_format import CODEC_PATCH, KIND_DATA
from replication.hydrate import CloudFetcher
from replication.offload import run_at_once
from replication.ports import LogPosition, PulledBatch
from replication.puller import Puller
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Shipper
from tests.gateway.store.store_site import KEYRING, StoreSite


def now_ms() -> int:
    return 1_700_000_000_000


async def mend(site: StoreSite, plaintext: bytes) -> None:
    """Give a chunk another full frame, as mending a damaged one does."""
    store, chunk_id = site.store, site.store.frames.chunk_id(plaintext)
    place = store.find_chunk(chunk_id)
    assert place is not None
    frame = store.frames.seal(KIND_DATA, chunk_id, plaintext)
    number, offset = store.appender.append([frame.encoded_header, frame.ciphertext])
    store.appender.sync()
    damaged = (place.number, place.offset)
    assert await store.commit(lambda view: install_frame(view, frame.header, number, offset, damaged))


async def test_a_patch_goes_out_with_the_frame_that_took_its_base_s_place(tmp_path: Path) -> None:
    cloud = MemoryCloud()
    first = random.Random(1).randbytes(200_000)
    second = first[:100_000] + b"changed" + first[100_000:]
    limits = ReplicationSettings(limits=ShipLimits(inline_bytes_max=0))
    async with StoreSite(tmp_path / "a") as a, StoreSite(tmp_path / "b", site=b"b" * 16) as b:
        await a.put(b"k", first)
        await a.put(b"k", second)
        place = a.store.find_chunk(a.store.frames.chunk_id(second))
        assert place is not None
        assert place.codec == CODEC_PATCH
        await mend(a, first)
        shipper = Shipper(
            *(a.store.replica, a.store.replica, cloud, lambda: KEYRING, limits), wall_ms=now_ms, offload=run_at_once
        )
        while await shipper.ship_round():
            pass
        b.store.set_fetcher(CloudFetcher(cloud))
        await Puller(b.store.replica, cloud, lambda: KEYRING, wall_ms=now_ms).pull_round()
        assert await b.get(b"k") == second


async def test_a_value_of_a_newer_skerry_is_refused_before_it_is_applied(tmp_path: Path) -> None:
    """Applied, it would fail whoever lists users from then on."""
    origin = (b"n" * 16, b"newer---")
    async with StoreSite(tmp_path / "a") as site:
        for family, body in ((FAMILY_USER, encode_record(UserRecord(version=2, id="u"))), (200, b"?")):
            change = encode_change(Change(Dot(*origin, 1), 1 << 16, family, b"u", body=body))
            with pytest.raises(ChangeTooNew):
                await site.store.replica.record_pulled(PulledBatch(origin, LogPosition(1, 1, b"c" * 32), [change]))
        with site.store.view() as view:
            assert view.users() == []
        assert site.store.replica.pulled() == {}
