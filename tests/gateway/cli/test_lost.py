"""``skerry lost``, and what status, safe and metrics tell of bytes that replication waits for and cannot get."""

import asyncio
import json

import pytest

from gateway.cli.admin_status import SiteStatus
from gateway.cli.mirror_reports import MirrorReport
from gateway.cli.mirror_runner import Mirroring
from gateway.cli.opening import opened_site
from gateway.cli.site import create_site
from gateway.cli.site_status import write_report
from gateway.config import Overrides, load_config
from gateway.operations.mirror_document import Mirror
from gateway.store.document_format import BucketRecord
from gateway.store.errors import Damaged
from gateway.store.object_format import ObjectRecord
from replication.ports import LogPosition
from replication.status import DaemonReport, LostBytes
from tests.gateway.cli.test_commands import answer, run

CLOUD = '[cloud]\nendpoint_url = "http://127.0.0.1:1"\nbucket = "realm"\naccess_key = "a"\nsecret_key = "s"\n'


@pytest.fixture
def configured(tmp_path):
    """A site's configuration, with a cloud that nobody asks."""
    create_site(load_config(None, {}, Overrides(data=tmp_path / "data")))
    path = tmp_path / "site.toml"
    path.write_text(f'[site]\ndata = "{tmp_path}/data"\n{CLOUD}')
    return path


def work_on(path, work):
    async def run_it():
        async with opened_site(load_config(path, {}, Overrides())) as site:
            return await work(site)

    return asyncio.run(run_it())


async def put(site, *keys):
    """Objects of 100 kB; the bytes of the last one are damaged. The chunk's id."""
    bucket = await site.store.commit(lambda view: view.put_bucket(BucketRecord(name="photos", owner="ann")))
    for at, key in enumerate(keys):
        async with site.store.writer() as writer:
            await writer.write(bytes([at]) + b"x" * 100_000)
            written = await writer.finish()
            record = ObjectRecord(size=written.size, content=written.refs, etag="e", owner="ann")
            await site.store.commit(
                lambda view, key=key, record=record: view.put_object(bucket.uid, key, record, versioned=False)
            )
    chunk_id = written.refs[0].id
    place = site.store.find_chunk(chunk_id)
    with site.directory.segment_path(place.number, place.kind).open("r+b") as file:
        file.seek(place.offset + place.header_size)
        file.write(b"damage")
    return chunk_id


def tell_lost(path, chunk_id, *, holds_back=True):
    """What the replication process leaves when it met a chunk that cannot be had."""

    async def work(site):
        lost = LostBytes(chunk_id.hex(), "does not authenticate", holds_back)
        write_report(site, DaemonReport(written_ms=1, published=True, recoverable=True, lost=(lost,)))

    work_on(path, work)


def read_gauges(path):
    async def work(site):
        return SiteStatus(site, lambda: True).gauges()

    return work_on(path, work)


def test_what_cannot_be_had_is_named_everywhere_and_can_be_accepted(capsys, configured):
    def ship_all_but_the_last(site):
        return site.replica.record_shipped(LogPosition(1, site.replica.last_seq() - 1, b"h" * 32), [])

    chunk_id = work_on(configured, lambda site: put(site, b"a.jpg", b"b.jpg"))
    work_on(configured, ship_all_but_the_last)
    tell_lost(configured, chunk_id)
    named = {"bucket": "photos", "key": "b.jpg", "version_id": "null", "is_latest": True}
    told = answer(capsys, "status", "--config", configured)
    assert told["lost"]["held_back"] == {"chunk": chunk_id.hex(), "reason": "does not authenticate", **named}
    assert any("photos/b.jpg (version null)" in reason and "skerry lost" in reason for reason in told["reasons"])
    code, out, _ = run(capsys, "safe", "--config", configured)
    assert code == 1
    assert "photos/b.jpg" in out
    assert read_gauges(configured)["lost_held_back"] == 1

    code, out, _ = run(capsys, "lost", "--config", configured)
    assert code == 1
    assert out.startswith("lost: photos/b.jpg (version null): ")
    assert run(capsys, "lost", "photos", "a.jpg", "--config", configured)[0] == 0
    assert run(capsys, "lost", "photos", "--accept", "--config", configured)[0] == 2
    code, out, _ = run(capsys, "lost", "photos", "b.jpg", "--accept", "--json", "--config", configured)
    assert code == 0
    document = json.loads(out)
    assert document["accepted_now"] == 1
    assert [(one["accepted"], one["objects"]) for one in document["chunks"]] == [(True, [named])]

    told = answer(capsys, "status", "--config", configured)
    assert (told["lost"]["held_back"], told["lost"]["accepted_chunks"]) == (None, 1)
    assert not any("photos" in reason for reason in told["reasons"])
    assert any("accepted" in warning for warning in told["warnings"])
    gauges = read_gauges(configured)
    assert (gauges["lost_held_back"], gauges["lost_accepted_chunks"]) == (0, 1)


def test_what_collection_met_is_a_warning(capsys, configured):
    chunk_id = work_on(configured, lambda site: put(site, b"a.jpg"))
    tell_lost(configured, chunk_id, holds_back=False)
    told = answer(capsys, "status", "--config", configured)
    assert told["lost"]["collection"] == [{"chunk": chunk_id.hex(), "reason": "does not authenticate"}]
    assert any("collection in the bucket met 1 chunks" in warning for warning in told["warnings"])


class Remote:
    """A mirror's bucket that keeps what it is given."""

    def __init__(self):
        self.objects = {"b.jpg": b"an older one"}

    async def put(self, name, what, pieces):
        self.objects[name] = b"".join([piece async for piece in pieces])

    async def delete(self, name):
        self.objects.pop(name, None)


def test_a_mirror_goes_on_without_what_is_lost(configured):
    """What is lost and not accepted is waited for; what was is left out, and no older value stays in its place."""
    remote, report = Remote(), MirrorReport("photos", "out/")

    async def mirror(site, *keys):
        with site.store.view() as view:
            bucket = view.bucket("photos")
        mirroring = Mirroring(site)
        try:
            for key in keys:
                await mirroring._mirror_key(bucket, Mirror("out", "", ""), remote, report, key)
        finally:
            mirroring.close()

    async def work(site):
        await put(site, b"a.jpg", b"b.jpg")
        with pytest.raises(Damaged):
            await mirror(site, b"b.jpg")
        await site.store.accept_losses(await site.store.find_losses())
        await mirror(site, b"b.jpg", b"a.jpg")

    work_on(configured, work)
    assert list(remote.objects) == ["a.jpg"]
    assert (report.written, report.left_out) == (1, 1)


def test_nothing_is_lost_on_a_sound_site(capsys, configured):
    code, out, _ = run(capsys, "lost", "--config", configured)
    assert (code, out) == (0, "nothing that replication waits for is lost\n")
