"""Where a site's log and the bucket's part, read over a cloud whose answers come damaged, or deny what is there."""

import pytest

from replication.change_format import decode_change
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import log_name
from replication.ports import CloudMissing, CloudUnreachable
from tests.replication.test_shipper import new_shipper, new_site, origin_of, ship_all


class DamagingCloud(MemoryCloud):
    """Flips a bit of some of the answers about one object."""

    def __init__(self, objects, name, turns):
        super().__init__()
        self.objects, self.name, self.turns, self.asked = objects, name, turns, 0

    async def get(self, name, *given):
        data = await super().get(name, *given)
        if name != self.name:
            return data
        self.asked += 1
        return data[:-1] + bytes([data[-1] ^ 1]) if self.asked in self.turns else data


async def test_a_batch_that_came_wrong_is_not_issued_anew():
    """World 355403: read once, it was taken for another machine's, and what stood in it was issued twice."""
    cloud, site = MemoryCloud(), new_site()
    site.put(b"shared", b"x")
    copy = site.fork()
    site.put(b"only of the first", b"y")
    assert (await new_shipper(site, cloud).ship_round()).changes == 2
    damaging = DamagingCloud(cloud.objects, log_name(origin_of(site), 1), turns=(2, 3))
    shipper = new_shipper(copy, damaging)
    await ship_all(shipper)
    assert damaging.asked > 3
    assert copy.own == [], "the bucket has all of it"
    assert origin_of(copy) != origin_of(site)


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
