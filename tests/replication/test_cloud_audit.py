"""The audit of the cloud: sound when it is, and whatever is missing, swapped or flipped over there is named."""

import random
import re
from dataclasses import replace

import pytest

from replication.checkpoint_writer import CheckpointWriter
from replication.cloud_audit import AuditLimits, CloudAudit
from replication.cloud_memory import MemoryCloud
from replication.cloud_names import log_name
from replication.frame_format import decode_header
from replication.ports import CloudUnreachable
from replication.puller import Puller
from tests.replication.faulty_cloud import REFUSED, FaultyCloud
from tests.replication.fixed_realm import KEYRING
from tests.replication.test_restore import new_site, origin_of, ship

WHOLE = AuditLimits(batches_max=None, frames_max=None)


class Located:
    """What the store offers, of a site in memory."""

    def __init__(self, site):
        self.frames = {decode_header(place.header).chunk_id: place for place in site.placed()}

    def located(self, after, count_max):
        return [self.frames[name] for name in sorted(self.frames) if name > after][:count_max]


@pytest.fixture
async def world():
    """A site that shipped packs and inline frames, and took in another's log."""
    cloud, site, other = MemoryCloud(), new_site(b"here"), new_site(b"there")
    for number in range(12):
        site.put(b"k%d" % number, random.Random(number).randbytes(300 + 40 * number))
        other.put(b"o%d" % number, random.Random(-number).randbytes(100))
        await ship(site, cloud)
    await ship(other, cloud)
    await Puller(site, cloud, lambda: KEYRING, wall_ms=site.wall_ms).pull_round()
    return cloud, site, other


async def audit(cloud, site, limits=WHOLE):
    found = CloudAudit(site, Located(site), cloud, lambda: KEYRING, limits, seed=b"1")
    return await found.run()


async def test_what_is_whole_is_sound(world):
    cloud, site, _ = world
    report = await audit(cloud, site)
    assert report.sound
    assert report.logs == 2
    assert report.batches_read == report.batches_listed == site.shipped().n + sum(p.n for p in site.pulled().values())
    assert report.frames_read == report.frames_known == len(Located(site).frames) > 20


async def test_a_sample_reads_less(world):
    cloud, site, _ = world
    report = await audit(cloud, site, AuditLimits(batches_max=2, frames_max=5))
    assert (report.batches_read, report.frames_read) == (4, 5)
    assert report.frames_known > 5


async def test_every_object_that_is_gone_is_named(world):
    cloud, site, _ = world
    kinds = {"/log/", "/packs/"}
    names = [name for name in cloud.objects if any(kind in name for kind in kinds)]
    assert all(any(kind in name for name in names) for kind in kinds)
    for name in names:
        kept = cloud.objects.pop(name)
        report = await audit(cloud, site, AuditLimits(batches_max=1, frames_max=0))
        assert name in [finding.name for finding in report.findings], name
        cloud.objects[name] = kept


async def test_every_flipped_byte_that_counts_is_named(world):
    cloud, site, _ = world
    chance = random.Random(7)
    for name in [name for name in cloud.objects if "/log/" in name]:
        kept = cloud.objects[name]
        place = chance.randrange(len(kept))
        cloud.objects[name] = kept[:place] + bytes([kept[place] ^ 1]) + kept[place + 1 :]
        assert name in [finding.name for finding in (await audit(cloud, site)).findings], (name, place)
        cloud.objects[name] = kept
    for location in Located(site).frames.values():
        kept, size = cloud.objects[location.object_name], decode_header(location.header).stored_size
        place = location.offset + chance.randrange(size)
        cloud.objects[location.object_name] = kept[:place] + bytes([kept[place] ^ 1]) + kept[place + 1 :]
        assert not (await audit(cloud, site)).sound
        cloud.objects[location.object_name] = kept


async def test_a_whole_log_of_other_writes_is_named(world):
    """As after a restore of the bucket, or by who holds the realm's key."""
    cloud, site, _ = world
    liar = new_site(b"here")
    for number in range(12):
        liar.put(b"k%d" % number, b"something else")
    elsewhere = MemoryCloud()
    await ship(liar, elsewhere)
    name = log_name(origin_of(site), site.shipped().n)
    cloud.objects[name] = next(iter(data for key, data in elsewhere.objects.items() if "/log/" in key))
    assert name in [finding.name for finding in (await audit(cloud, site)).findings]


async def test_unreachable_is_no_finding(world):
    cloud, site, _ = world
    with pytest.raises(CloudUnreachable):
        await audit(FaultyCloud(cloud, random.Random(3), {REFUSED: 1.0}), site)


async def test_what_left_behind_a_checkpoint_is_no_loss_and_the_checkpoint_is_relied_on(world):
    cloud, site, _ = world
    await CheckpointWriter(site, site, cloud, lambda: KEYRING, wall_ms=site.wall_ms).write()
    origin, last = origin_of(site), site.shipped().n
    site.put(b"later", b"later")
    await ship(site, cloud)
    whole = dict(cloud.objects)
    located = {place.object_name for place in site.placed()}
    gone = [name for n in range(1, last + 1) if (name := log_name(origin, n)) not in located]
    assert len(gone) > 1
    for name in gone:
        del cloud.objects[name]
    assert (await audit(cloud, site)).sound
    behind = log_name(origin, last + 1)
    del cloud.objects[behind]
    assert {finding.name for finding in (await audit(cloud, site)).findings} == {behind}
    cloud.objects[behind] = whole[behind]
    part = next(name for name in cloud.objects if re.search("checkpoint/[0-9a-f]{16}-", name))
    del cloud.objects[part]
    findings = (await audit(cloud, site)).findings
    assert any("lacks 1 of its" in finding.reason for finding in findings)
    assert {finding.name for finding in findings if finding.reason == "the batch is missing"} == set(gone)


async def test_a_checkpoint_that_names_another_log_is_found(world):
    cloud, site, _ = world
    writer = CheckpointWriter(site, site, cloud, lambda: KEYRING, wall_ms=site.wall_ms)
    draft = await writer.scan()
    log = draft.manifest.vector[origin_of(site)]
    other = replace(log, position=replace(log.position, chain=bytes(32)))
    vector = {**draft.manifest.vector, origin_of(site): other}
    await writer.publish(replace(draft, manifest=replace(draft.manifest, vector=vector)))
    (finding,) = (await audit(cloud, site)).findings
    assert "a checkpoint stands in for" in finding.reason
