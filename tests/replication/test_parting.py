"""Where a site's log and the bucket's part, read over a cloud whose answers come damaged."""

from replication.cloud_memory import MemoryCloud
from replication.cloud_names import log_name
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
