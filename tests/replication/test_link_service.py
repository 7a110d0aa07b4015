"""The daemon keeps to its link: pauses, what is urgent passes, and the link's return is noticed."""

import asyncio

from replication.batch_format import decode_batch
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import log_name
from replication.link import Link, Override
from replication.link_hours import Limit
from replication.link_watch import LinkWatch, address_of, knock
from replication.ports import CloudUnreachable
from replication.retry import Reachability
from replication.settings import CloudSettings, ReplicationSettings, ShipLimits
from tests.replication.faulty_cloud import FaultyCloud
from tests.replication.fixed_realm import KEYRING
from tests.replication.memory_site import MemorySite
from tests.replication.test_service import Daemon, until
from tests.replication.test_service import realm as realm  # a fixture
from tests.replication.test_shipper import new_shipper, new_site, origin_of

PAUSED = Limit(paused=True)


class Word:
    """An operator who may change his mind."""

    def __init__(self, said):
        self.said = said

    def __call__(self):
        return self.said


async def test_nothing_goes_up_in_a_pause_until_it_ends(realm):
    word, bucket = Word(Override(up=PAUSED)), MemoryCloud()
    async with Daemon(realm, bucket, b"a", link=Link(override=word)) as a:
        await until(lambda: a.site.shipped().n)  # its first word passes
        a.site.put(b"k", b"v")
        before = set(bucket.objects)
        await until(lambda: "up paused" in a.reports[-1].link)
        for _ in range(500):
            await asyncio.sleep(0)
        assert set(bucket.objects) == before
        assert a.site.backlog().changes == 1
        word.said = Override()
        await until(lambda: not a.site.backlog().changes)


async def test_what_is_urgent_passes_a_pause_with_what_was_written_before_it_and_no_more(realm):
    urgent = [0]
    options = {"link": Link(override=Word(Override(up=PAUSED)))}
    options["urgent_seq"] = lambda after: urgent[0] if urgent[0] > after else 0
    async with Daemon(realm, MemoryCloud(), b"a", **options) as a:
        await until(lambda: a.site.shipped().n)
        for key in (b"1", b"2", b"3"):
            a.site.put(key, b"v" + key)
        urgent[0] = 2
        await until(lambda: a.site.shipped().seq == 2)
        for _ in range(200):
            await asyncio.sleep(0)
        assert a.site.shipped().seq == 2


async def test_no_news_is_taken_in_while_downloads_pause(realm):
    word, bucket = Word(Override(down=PAUSED)), MemoryCloud()
    async with Daemon(realm, bucket, b"b") as b:
        b.site.put(b"k", b"v")
        await until(lambda: not b.site.backlog().changes)
    async with Daemon(realm, bucket, b"a", link=Link(override=word)) as a:
        a.site.put(b"own", b"v")
        await until(lambda: not a.site.backlog().changes)
        assert not a.site.pulled()
        word.said = Override()
        a.service.wake()
        await until(lambda: a.site.pulled())


async def test_a_round_may_end_at_a_change():
    site, bucket = new_site(), MemoryCloud()
    shipper = new_shipper(site, bucket)
    for key in (b"1", b"2", b"3"):
        site.put(key, b"v" + key)
    await shipper.ship_round(2)
    batch = decode_batch(KEYRING, origin_of(site), 1, bucket.objects[log_name(origin_of(site), 1)])
    assert len(batch.changes) == 2
    assert (await shipper.ship_round(2)).changes == 1, "a mark that lies behind says nothing"


async def test_packs_that_arrived_are_not_sent_again_in_the_same_process():
    class Counting(FaultyCloud):
        def __init__(self, bucket):
            super().__init__(bucket)
            self.sent, self.broken = [], True

        async def put(self, name, data, **options):
            if "/packs/" in name:
                if self.broken and len(self.sent) == 2:
                    raise CloudUnreachable("reset")
                self.sent.append(name)
            await super().put(name, data, **options)

    site = MemorySite(KEYRING, b"a", lambda: 1_700_000_000_000, 0)
    cloud = Counting(MemoryCloud())
    settings = ReplicationSettings(limits=ShipLimits(inline_bytes_max=0, pack_bytes_max=1024), uploads_max=1)
    shipper = new_shipper(site, cloud, settings)
    for number in range(4):
        site.put(b"%d" % number, bytes([number]) * 900)
    try:
        await shipper.ship_round()
    except CloudUnreachable:
        cloud.broken = False
    assert (await shipper.ship_round()).changes == 4
    assert len(cloud.sent) == len(set(cloud.sent)) == 4


async def test_the_links_return_is_noticed_once_and_wakes_everyone(realm):
    answers = [True, False, False, True, True, True]

    async def knock_once():
        return answers.pop(0) if answers else True

    watch = LinkWatch(knock_once)
    assert [await watch.is_back() for _ in range(6)] == [False, False, False, True, False, False]
    async with Daemon(realm, MemoryCloud(), b"a", watch=LinkWatch(knock_once), probe_interval_s=0) as a:
        await until(lambda: a.service.report().published)
        woken = []
        a.service.wake = lambda: woken.append(True)
        answers[:] = [False, True]
        a.service._cloud.reachability = Reachability.UNREACHABLE
        await until(lambda: woken)


async def test_a_knock_tells_whether_somebody_listens():
    server = await asyncio.start_server(lambda reader, writer: writer.close(), "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    assert await knock("127.0.0.1", port)
    server.close()
    await server.wait_closed()
    assert not await knock("127.0.0.1", port)


def test_who_is_knocked_at():
    assert address_of(CloudSettings("b")) == ("s3.us-east-1.amazonaws.com", 443)
    assert address_of(CloudSettings("b", endpoint_url="http://127.0.0.1:7480")) == ("127.0.0.1", 7480)
    through = CloudSettings("b", endpoint_url="https://s3.example", proxy_url="http://proxy.example:3128")
    assert address_of(through) == ("proxy.example", 3128)
