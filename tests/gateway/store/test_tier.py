"""Choosing what to evict: least recently used first, others' before own, never the pinned or the unsent."""

import random
import secrets

import pytest

from gateway.store.document_format import BucketRecord
from gateway.store.tier import DiskUse, TierPass, find_excess, measure_disk
from gateway.store.tier_census import CANDIDATES_MAX, Candidate, Coldest
from gateway.store.tier_settings import TierSettings, check_prefixes
from gateway.store.tier_touches import Touches
from tests.gateway.store.held_frames import HeldFrames
from tests.gateway.store.recount import recount
from tests.gateway.store.store_site import StoreSite

MIB = 1 << 20
FAST = TierSettings(evict_bytes_per_s=0)


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size)


@pytest.fixture
def cloud() -> HeldFrames:
    return HeldFrames()


@pytest.fixture
async def site(tmp_path, cloud):
    async with StoreSite(tmp_path / "d", fetcher=cloud, segment_size=4 * MIB) as site:
        yield site


def is_local(site: StoreSite, key: bytes) -> bool:
    return all(site.store.find_chunk(ref.id).local for ref in site.content(key))


def age(site: StoreSite, ages: dict[bytes, int]) -> None:
    """Make contents look as if last read so many seconds after now (nothing waits)."""
    for key, seconds in ages.items():
        ref = site.content(key)[0]
        site.store.touches.touch(ref.id)
        index = int.from_bytes(ref.id[:3], "little") & ((1 << 20) - 1)
        site.store.touches._words[index] += seconds


async def fill(site: StoreSite, cloud: HeldFrames, keys: list[bytes]) -> dict[bytes, bytes]:
    bodies = {key: noise(at, MIB // 4) for at, key in enumerate(keys)}
    for key, body in bodies.items():
        await site.put(key, body)
    await cloud.ship(site)
    return bodies


async def test_the_least_recently_used_goes_first_and_no_more_than_asked(site, cloud):
    keys = [b"a", b"b", b"c", b"d", b"e", b"f"]
    bodies = await fill(site, cloud, keys)
    order = [b"d", b"a", b"f", b"c", b"b", b"e"]
    age(site, {key: 1000 + at for at, key in enumerate(order)})
    summary = await TierPass(site.store, FAST).run(MIB // 2 + 8192)
    assert [key for key in order if not is_local(site, key)] == order[:3]
    assert summary.evicted_bytes >= MIB // 2 + 8192
    assert not summary.short_bytes
    assert summary.census.evictable_bytes >= 6 * (MIB // 4)
    assert summary.census.versions == 6
    for key, body in bodies.items():
        assert await site.get(key) == body
    recount(site.store.index, site.store.parts.open_pages)


async def test_reading_makes_warm(site, cloud):
    await fill(site, cloud, [b"a", b"b", b"c"])
    age(site, {b"a": -500, b"b": -400, b"c": -300})
    for key in (b"a", b"b", b"c"):  # modified a moment ago, which is what counts where that is later
        site.store.touches._words[int.from_bytes(site.content(key)[0].id[:3], "little") & ((1 << 20) - 1)] += 10_000
    await TierPass(site.store, FAST).run(1)
    assert not is_local(site, b"a")
    await site.get(b"a")
    assert is_local(site, b"a")


async def test_the_unsent_and_the_pinned_stay_and_what_is_missing_is_said(site, cloud):
    await fill(site, cloud, [b"pinned/x", b"free"])
    await site.put(b"unsent", noise(9, MIB // 4))
    settings = TierSettings(evict_bytes_per_s=0, pinned=("bucket/pinned/",))
    summary = await TierPass(site.store, settings).run(10 * MIB)
    assert [is_local(site, key) for key in (b"pinned/x", b"free", b"unsent")] == [True, False, True]
    assert summary.short_bytes == 10 * MIB - summary.evicted_bytes
    assert summary.census.pinned_bytes > 0
    assert summary.census.unreplicated_bytes > 0
    again = await TierPass(site.store, settings).look()
    assert again.remote_only_bytes == MIB // 4
    assert again.evictable_bytes == 0


async def test_what_another_site_wrote_goes_before_what_is_colder_and_own(tmp_path, cloud):
    async with (
        StoreSite(tmp_path / "a", site=b"a" * 16) as other,
        StoreSite(tmp_path / "b", fetcher=cloud, site=b"b" * 16) as site,
    ):
        await other.put(b"theirs", noise(1, MIB // 4))
        await cloud.ship(other, site)
        await site.put(b"ours", noise(2, MIB // 4))
        await cloud.ship(site)
        assert await site.get(b"theirs") == noise(1, MIB // 4)
        age(site, {b"ours": -1000, b"theirs": 1000})
        await TierPass(site.store, FAST).run(1)
        assert (is_local(site, b"ours"), is_local(site, b"theirs")) == (True, False)


async def test_versions_that_share_chunks_go_together(site, cloud):
    data = noise(1, 3 * MIB)
    await site.put(b"k", data, versioned=True)
    await site.put(b"k", data + noise(2, MIB), versioned=True)
    await site.put(b"copy", data)
    await cloud.ship(site)
    await TierPass(site.store, FAST).run(None)
    assert not any(is_local(site, key) for key in (b"k", b"copy"))
    assert (await TierPass(site.store, FAST).look()).resident_bytes == 0


async def test_only_what_lies_below_a_prefix_goes(site, cloud):
    await fill(site, cloud, [b"a/1", b"a/2", b"b/1"])
    assert (await TierPass(site.store, FAST, bucket="bucket", prefix=b"a/").run(None)).evicted_versions == 2
    assert [is_local(site, key) for key in (b"a/1", b"a/2", b"b/1")] == [False, False, True]
    assert not (await TierPass(site.store, FAST, bucket="other").run(None)).evicted_versions


async def test_many_versions_are_walked_in_short_views(site, cloud):
    await site.store.commit(lambda view: view.put_bucket(BucketRecord(name="more", owner="me", created_ms=1)))
    for number in range(600):
        await site.put(b"%05d" % number, b"x" * 600 + b"%d" % number)
    await cloud.ship(site)
    sums = await TierPass(site.store, FAST).look()
    assert sums.versions == 600
    assert sums.evictable_bytes > 0
    assert sums.remote_only_bytes == 0
    summary = await TierPass(site.store, FAST).run(None)
    assert summary.evicted_versions == 600
    assert await site.get(b"00311") == b"x" * 600 + b"311"


async def test_disk_comes_back_and_what_is_about_to_does_not_count_twice(site, cloud):
    await site.put(b"k", noise(1, 20 * MIB))
    await cloud.ship(site)
    before = measure_disk(site.store)
    await TierPass(site.store, FAST).run(None)
    between = measure_disk(site.store)
    assert between.live < before.live - 19 * MIB
    site.collect_all()
    assert site.disk_bytes() < 6 * MIB  # what is appended to is left alone
    assert before.total == between.total > 0


def test_the_marks():
    use = DiskUse(total=1000, used=900, live=500, dead=0)
    assert find_excess(use, TierSettings()) == 0
    assert find_excess(use, TierSettings(evict_above_percent=90)) == 0
    assert find_excess(use, TierSettings(evict_above_percent=89)) == 900 - 790
    assert find_excess(use, TierSettings(evict_above_percent=89, evict_to_percent=50)) == 400
    assert find_excess(use._replace(dead=200), TierSettings(evict_above_percent=89)) == 0
    assert find_excess(use, TierSettings(local_bytes_max=500)) == 0
    assert find_excess(use, TierSettings(local_bytes_max=400)) == 140
    assert find_excess(use, TierSettings(local_bytes_max=400, evict_above_percent=80, evict_to_percent=10)) == 800


def test_pinned_prefixes():
    assert check_prefixes(("bucket/", "bucket/a/b")) is None
    assert check_prefixes(("bucket",))
    assert check_prefixes(("/a/",))
    settings = TierSettings(pinned=("bucket/a", "all/"))
    assert settings.is_pinned("bucket", b"abc")
    assert settings.is_pinned("all", b"x")
    assert not settings.is_pinned("bucket", b"b")
    assert not settings.is_pinned("allx", b"x")


def test_only_the_coldest_are_kept():
    seed = secrets.randbits(32)
    print(f"seed: {seed}")
    chance = random.Random(seed)
    offered = [Candidate(chance.randrange(10**6), 0, chance.randrange(1, 100), ()) for _ in range(2000)]
    coldest = Coldest(5000)
    for one in offered:
        coldest.offer(one)
    kept, expected, total = coldest.take(), [], 0
    for one in sorted(offered, key=lambda one: one.used_s):
        if total >= 5000:
            break
        expected.append(one.used_s)
        total += one.resident
    assert [one.used_s for one in kept] == expected
    everything = Coldest(None)
    for number in range(CANDIDATES_MAX + 5):
        everything.offer(Candidate(number, 0, 1, ()))
    assert [everything.take()[-1].used_s] == [CANDIDATES_MAX - 1]


def test_touches_outlive_the_process_and_a_full_disk(tmp_path):
    class Full:
        def open_shared(self, path):
            raise OSError(28, "full")

    files = __import__("gateway.store.files", fromlist=["Files"]).Files()
    one, two = Touches(files, tmp_path / "t"), Touches(files, tmp_path / "t")
    one.touch(b"a" * 32)
    assert two.last_s(b"a" * 32) > 0
    assert two.last_s(b"b" * 32) == 0
    one.flush()
    one.close()
    two.close()
    again = Touches(files, tmp_path / "t")
    assert again.last_s(b"a" * 32) > 0
    again.close()
    alone = Touches(Full(), tmp_path / "t")
    alone.touch(b"a" * 32)
    assert alone.last_s(b"a" * 32) > 0
    alone.close()
