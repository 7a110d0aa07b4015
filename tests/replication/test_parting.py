"""Whose the bucket's log is, and what of it is ours, where reads deny what is there. The rest: ``test_shipper``."""

import pytest

from replication.change_format import decode_change
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import log_name
from replication.ports import CloudMissing, CloudUnreachable
from tests.replication.test_shipper import new_shipper, new_site, origin_of, ship_all


async def test_a_batch_that_is_denied_for_a_while_has_not_left(monkeypatch):
    """Found by simulated world 1224650: what a copy had sent word for word was issued anew by the other."""
    site, cloud = new_site(), MemoryCloud()
    site.put(b"k", b"both have it")
    clone = site.fork()
    site.put(b"o", b"original")
    for _ in range(2):
        clone.put(b"c", b"clone")
        await ship_all(new_shipper(clone, cloud))
    real, asked = cloud.get, []

    async def denying(name, **more):
        asked.append(name)
        if asked.count(log_name(origin_of(site), 1)) > 1:
            raise CloudMissing(name)
        return await real(name, **more)

    monkeypatch.setattr(cloud, "get", denying)
    with pytest.raises(CloudUnreachable, match="could not be had"):
        await new_shipper(site, cloud).ship_round()
    monkeypatch.undo()
    await ship_all(new_shipper(site, cloud))
    assert [decode_change(change).item for change in site.own] == [b"o"]
