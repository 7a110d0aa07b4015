"""A real file system of a site's own (ext4 on a loop device): it fills up, it is cut off, it turns read-only.

``cut``: the kernel is told to shut the file system down without writing its journal out (EXT4_IOC_SHUTDOWN), in the
middle of load. What was not synced is lost, as when power fails; what the kernel itself had in its hands is torn as it
will. Then the file system is mounted again, and everything acknowledged must be there. ``SKERRY_DISK_CUTS`` says how
often. Needs root and a loop device: skipped, with the reason, where these are not to be had.
"""

from __future__ import annotations

import os
import random
import secrets
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from gateway.store.reserve import ASK_EVERY_BYTES
from tests.kill.model import SHARED_BUCKET, Writer, check_model
from tests.kill.processes import kill_all
from tests.soak.disks import BallastDisk, mounted, remount, shut_down
from tests.support.site import Site

CUTS = int(os.environ.get("SKERRY_DISK_CUTS", "1"))
DISK_BYTES = 1 << 30
RESERVE_BYTES = 64 << 20
BODY_BYTES = 4 << 20
WRITERS = 3

pytestmark = [
    *(pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240 + 30 * CUTS)),
    pytest.mark.usefixtures("zygote"),  # a start is most of what these tests would take
]


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    with mounted(place, DISK_BYTES) as is_mounted:
        if not is_mounted:
            pytest.skip("no file system can be mounted here: root, a loop device and mkfs.ext4 are needed")
        yield place


def make_site(disk: Path, workers: int = 2) -> Site:
    settings = {"store": {"reserve_bytes": RESERVE_BYTES}, "site": {"data": str(disk / "data")}}
    return Site(disk.parent / "site", "real", workers=workers, settings=settings)


def write_for_a_while(disk: Path, writers: list[Writer], life_s: float) -> None:
    """Load until the file system is gone, then until everybody has noticed."""
    for writer in writers:
        writer.start()
    time.sleep(life_s)  # not synchronisation: the moment is this test's input
    shut_down(disk)
    for writer in writers:
        writer.end()


def test_what_was_acknowledged_is_there_after_the_file_system_was_cut_off(disk: Path) -> None:
    seed = int(os.environ.get("SKERRY_KILL_SEED") or secrets.randbits(32))
    print(f"seed: {seed}")
    chance, done, looked_at = random.Random(seed), Counter[str](), 0
    site = make_site(disk).start()
    known: list[Writer] = []
    try:
        client = site.client()
        for name in (SHARED_BUCKET, *(f"own-{number}" for number in range(CUTS * WRITERS))):
            client.create_bucket(Bucket=name)
        for cut in range(CUTS):
            writers = [Writer(site, cut * WRITERS + number, chance.randrange(1 << 32)) for number in range(WRITERS)]
            write_for_a_while(disk, writers, chance.uniform(0.5, 2.5))
            kill_all(site)
            remount(disk)
            site.start()
            known += writers
            looked_at += check_model(site.client(), known)
            site.run("verify")
        site.stop()
        site.run("rebuild-index")
        site.start()
        looked_at += check_model(site.client(), known)
        site.stop()
    finally:
        site.kill()
    for writer in known:
        done.update(writer.done)
    print(f"{CUTS} cuts; {done.total()} writes acknowledged {dict(done)}; {looked_at} keys and documents compared")
    assert done.total() > CUTS


def put_until_refused(client: Any, prefix: str) -> tuple[int, list[str]]:
    """The status of the refusal, and the keys taken before it: free space is asked for now and then, so that what
    others take at once is noticed late, by so many bytes of a worker at most.
    """
    taken: list[str] = []
    for number in range(ASK_EVERY_BYTES // BODY_BYTES + 1):
        try:
            client.put_object(Bucket=SHARED_BUCKET, Key=f"{prefix}/{number}", Body=os.urandom(BODY_BYTES))
        except ClientError as error:
            return int(error.response["ResponseMetadata"]["HTTPStatusCode"]), taken
        taken.append(f"{prefix}/{number}")
    return 200, taken


def test_a_full_file_system_refuses_writes_and_takes_them_again(disk: Path) -> None:
    site = make_site(disk, workers=1)
    body = b"b" * 300_000
    with site:
        client = site.client()
        client.create_bucket(Bucket=SHARED_BUCKET)
        for key in ("kept", "deleted"):
            client.put_object(Bucket=SHARED_BUCKET, Key=key, Body=body)
        for left_bytes in (RESERVE_BYTES // 2, 0):  # others have taken half of the reserve; all of it
            ballast = BallastDisk(disk, left_bytes)
            ballast.fill()
            assert os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize <= left_bytes + (1 << 20)
            status, taken = put_until_refused(client, str(left_bytes))
            print(f"{left_bytes >> 20} MiB left: {len(taken)} more writes taken, then {status}")
            assert status == 507
            assert client.get_object(Bucket=SHARED_BUCKET, Key="kept")["Body"].read() == body
            if left_bytes:
                for key in ("deleted", *taken):
                    client.delete_object(Bucket=SHARED_BUCKET, Key=key)
            ballast.free()
            client.put_object(Bucket=SHARED_BUCKET, Key="after", Body=body)
            assert client.get_object(Bucket=SHARED_BUCKET, Key="after")["Body"].read() == body
        assert [item["Key"] for item in client.list_objects_v2(Bucket=SHARED_BUCKET)["Contents"]] == ["after", "kept"]
        site.run("verify")


def test_a_file_system_that_turned_read_only_is_read_and_said(disk: Path) -> None:
    site = make_site(disk, workers=1).start()
    client = site.client()
    client.create_bucket(Bucket=SHARED_BUCKET)
    client.put_object(Bucket=SHARED_BUCKET, Key="before", Body=b"b" * 300_000)
    site.stop()
    remount(disk, "ro")
    try:
        told = site.run("verify", check=False)
        assert told.returncode, told.stdout
        assert "read-only" in (told.stdout + told.stderr).lower(), told.stderr
        assert "Traceback" not in told.stderr
        site.forked = False  # of which it is not known how it ended
        site.start(wait=False)
        assert site.process is not None
        assert site.process.wait(60), "a server that cannot write must not start"
        site.process = None
        assert "Traceback" not in site.log
        assert "read-only" in site.log.lower(), site.log
    finally:
        site.kill()
        remount(disk)
    site.forked = True
    with site:
        assert site.client().get_object(Bucket=SHARED_BUCKET, Key="before")["Body"].read() == b"b" * 300_000
