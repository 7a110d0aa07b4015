"""Fetching remote bytes: neighbours in one request, nothing twice at once, bounded, exact, cancellable."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from replication.cloud_memory import MemoryCloud
from replication.frame_format import CODEC_STORED, KIND_DATA, FrameHeader, decode_header, encode_header
from replication.hydrate import GAP_BYTES_MAX, RANGE_BYTES_MAX, CloudFetcher, plan_ranges
from replication.ports import CloudError, CloudMissing, FrameLocation


def place(name, offset, size, number=0):
    header = FrameHeader(
        CODEC_STORED, KIND_DATA, 0, number, size, size - 16, b"e" * 16, b"s" * 24, bytes(32), b"t" * 32
    )
    return FrameLocation(encode_header(header), name, offset)


class Gated(MemoryCloud):
    """Counts requests and lets them through when told."""

    def __init__(self):
        super().__init__()
        self.objects = {"a": bytes(range(256)) * 8, "b": bytes(2048)}
        self.open = asyncio.Event()
        self.calls, self.running, self.most = [], 0, 0

    async def get(self, name, *, offset=0, length=None):
        self.calls.append((name, offset, length))
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            await self.open.wait()
            return await super().get(name, offset=offset, length=length)
        finally:
            self.running -= 1


async def spin():
    for _ in range(10):
        await asyncio.sleep(0)


async def test_order_lengths_and_one_request_for_neighbours():
    cloud = Gated()
    cloud.open.set()
    places = [place("a", 300, 20), place("b", 0, 16), place("a", 40, 30), place("a", 40, 30)]
    frames = await CloudFetcher(cloud).fetch(places)
    assert [frame.header for frame in frames] == [one.header for one in places]
    data = cloud.objects["a"]
    assert [frame.ciphertext for frame in frames] == [data[300:320], bytes(16), data[40:70], data[40:70]]
    assert sorted(cloud.calls) == [("a", 40, 280), ("b", 0, 16)]


async def test_single_flight():
    cloud = Gated()
    fetcher = CloudFetcher(cloud)
    tasks = [asyncio.create_task(fetcher.fetch([place("a", 0, 20)])) for _ in range(5)]
    await spin()
    cloud.open.set()
    assert len({task[0].ciphertext for task in await asyncio.gather(*tasks)}) == 1
    assert len(cloud.calls) == 1
    await fetcher.fetch([place("a", 0, 20)])
    assert len(cloud.calls) == 2, "nothing is cached here"


async def test_concurrency_is_bounded():
    cloud = Gated()
    cloud.objects = {f"o{number}": bytes(64) for number in range(20)}
    fetcher = CloudFetcher(cloud, concurrency_max=3)
    task = asyncio.create_task(fetcher.fetch([place(name, 0, 20) for name in cloud.objects]))
    await spin()
    cloud.open.set()
    assert len(await task) == 20
    assert cloud.most == 3


async def test_one_waiter_cancelled_leaves_the_other():
    cloud = Gated()
    fetcher = CloudFetcher(cloud)
    first, second = (asyncio.create_task(fetcher.fetch([place("a", 0, 20)])) for _ in range(2))
    await spin()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    cloud.open.set()
    assert (await second)[0].ciphertext == cloud.objects["a"][:20]


async def test_failures_reach_every_waiter_and_are_forgotten():
    cloud = Gated()
    fetcher = CloudFetcher(cloud)
    tasks = [asyncio.create_task(fetcher.fetch([place("c", 0, 20), place("a", 0, 20)])) for _ in range(2)]
    await spin()
    cloud.open.set()
    assert [type(error) for error in await asyncio.gather(*tasks, return_exceptions=True)] == [CloudMissing] * 2
    cloud.objects["c"] = bytes(20)
    assert len(await fetcher.fetch([place("c", 0, 20)])) == 1
    with pytest.raises(CloudError):
        await fetcher.fetch([place("c", 10, 20)])


async def test_close_cancels():
    cloud = Gated()
    fetcher = CloudFetcher(cloud)
    task = asyncio.create_task(fetcher.fetch([place("a", 0, 20)]))
    await spin()
    await fetcher.close()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert cloud.running == 0


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(0, 40 << 20), st.integers(16, 4 << 20)), max_size=20))
@settings(deadline=None)
def test_ranges_cover_exactly_what_is_wanted(wanted):
    places = [place(name, offset, size, number) for number, (name, offset, size) in enumerate(wanted)]
    spans = plan_ranges(places)
    covered = [one for span in spans for one in span.frames]
    assert sorted(covered, key=repr) == sorted(places, key=repr)
    for span in spans:
        ends = [one.offset + decode_header(one.header).stored_size for one in span.frames]
        assert span.offset == span.frames[0].offset
        assert span.offset + span.length == max(ends)
        assert len(span.frames) == 1 or span.length <= RANGE_BYTES_MAX
        for before, after in zip(span.frames, span.frames[1:], strict=False):
            assert (
                after.offset - max(e for e, o in zip(ends, span.frames, strict=True) if o.offset <= before.offset)
                <= GAP_BYTES_MAX
            )
