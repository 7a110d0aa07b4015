"""Promise 4: neither bytes nor names nor metadata of what was written can be found in the cloud bucket, nor in its
names.
"""

from __future__ import annotations

from pathlib import Path

from gateway.store.object_format import ObjectRecord
from replication.cloud_memory import MemoryCloud
from replication.settings import ReplicationSettings, ShipLimits
from replication.shipper import Shipper
from tests.contracts.real_site import RealSite
from tests.replication.fixed_realm import KEYRING

BUCKET, KEY, CONTENT = "secret-bucket", b"secret-key", b"secret content " * 40
PACKED = ReplicationSettings(limits=ShipLimits(inline_bytes_max=0, pack_bytes_max=1 << 20))


async def ship_everything(site: RealSite, cloud: MemoryCloud, settings: ReplicationSettings) -> None:
    shipper = Shipper(site.replica, site.replica, cloud, lambda: KEYRING, settings, wall_ms=site.wall_ms)
    while await shipper.ship_round():
        pass


async def write_secrets(site: RealSite, number: int) -> None:
    await site.put(KEY + b"%d" % number, CONTENT + b"%d" % number, bucket=BUCKET)
    with site.store.view() as view:
        uid = view.bucket(BUCKET).uid
    record = ObjectRecord(size=0, etag="secret-etag", owner="secret-owner", metadata={"secret-name": "secret-value"})
    await site.store.commit(lambda view: view.put_object(uid, KEY + b"-meta%d" % number, record, versioned=False))


async def test_nothing_written_can_be_found_in_the_bucket(tmp_path: Path) -> None:
    site, cloud = RealSite(tmp_path / "site", KEYRING, b"secret-site"), MemoryCloud()
    try:
        for number, settings in enumerate((ReplicationSettings(), PACKED)):
            await write_secrets(site, number)
            await ship_everything(site, cloud, settings)
        kinds = {"packs", "log", "index", "heads"}
        assert {kind for kind in kinds if any(kind in name for name in cloud.objects)} == kinds
        for name, data in cloud.objects.items():
            assert "secret" not in name
            assert b"secret" not in data, name
    finally:
        site.close()
