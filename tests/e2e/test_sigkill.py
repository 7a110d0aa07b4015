"""SIGKILL loses nothing acknowledged: of the server under load, of the replication in the middle of shipping.

``SKERRY_SIGKILL_ROUNDS`` makes it longer. Each round kills every process of the site at once, at a random moment.
"""

from __future__ import annotations

import os
import random
import secrets
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.e2e.contents import digest, digest_objects, list_site, wait_converged
from tests.support.clouds import TestCloud
from tests.support.fault_proxy import FaultProxy
from tests.support.site import CloudSettings, Site

ROUNDS = int(os.environ.get("SKERRY_SIGKILL_ROUNDS", "6"))
pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(240 + 15 * ROUNDS)]
SHIPPING_ROUNDS = max(2, ROUNDS // 3)
WRITERS = 4


class Writer(threading.Thread):
    """Puts, overwrites, deletes and uploads in parts until the server goes away; remembers what may be there.

    ``certain``: key → digest (None: deleted) of the last acknowledged write. ``possible``: key → digest of the write
    that was in flight, which may have happened or not, but never in part.
    """

    def __init__(self, site: Site, number: int, seed: int, known: dict[str, str | None]) -> None:
        super().__init__(daemon=True)
        self.client = site.client(read_timeout=20)
        self.number, self.random = number, random.Random(seed)
        self.certain = {key: sha for key, sha in known.items() if key.startswith(f"w{number}/")}
        self.possible: dict[str, str | None] = {}
        self.acknowledged = 0

    def run(self) -> None:
        try:
            while True:
                self.step()
        except (ClientError, BotoCoreError, OSError):
            return  # the server is gone, which is the point; what was in flight stays in ``possible``

    def step(self) -> None:
        key = f"w{self.number}/{self.random.randrange(60)}"
        if self.random.random() < 0.2:
            self.possible = {key: None}
            self.client.delete_object(Bucket="box", Key=key)
        else:
            size = self.random.choice((10, 4096, 40_000, 300_000, 3_000_000))
            data = self.random.randbytes(size)
            self.possible = {key: digest(data)}
            if size == 3_000_000 and self.random.random() < 0.5:
                self.upload_in_parts(key, self.random.randbytes(5 << 20), data)
            else:
                self.client.put_object(Bucket="box", Key=key, Body=data)
        self.certain.update(self.possible)
        self.possible = {}
        self.acknowledged += 1

    def upload_in_parts(self, key: str, first: bytes, last: bytes) -> None:
        self.possible = {key: digest(first + last)}
        upload = self.client.create_multipart_upload(Bucket="box", Key=key)["UploadId"]
        parts = []
        for number, body in enumerate((first, last), start=1):
            done = self.client.upload_part(Bucket="box", Key=key, UploadId=upload, PartNumber=number, Body=body)
            parts.append({"PartNumber": number, "ETag": done["ETag"]})
        self.client.complete_multipart_upload(Bucket="box", Key=key, UploadId=upload, MultipartUpload={"Parts": parts})


def check_round(client: Any, writers: list[Writer]) -> dict[str, str | None]:
    """Compare the site with what the writers know; what is there now."""
    listing = list_site(client)
    found = {name[1]: sha for name, sha in digest_objects(client, listing).items()}
    for writer in writers:
        for key in writer.certain.keys() | writer.possible.keys():
            allowed = {writer.certain.get(key)} | ({writer.possible[key]} if key in writer.possible else set())
            assert found.get(key) in allowed, f"{key}: {found.get(key)}, allowed were {allowed}"
    return dict(found)


def run_round(site: Site, seed: int, known: dict[str, str | None], life_s: float) -> tuple[int, dict[str, str | None]]:
    """Load, kill after ``life_s``, start again, compare: writes acknowledged, and what is there."""
    writers = [Writer(site, number, seed + number, known) for number in range(WRITERS)]
    for writer in writers:
        writer.start()
    time.sleep(life_s)  # not synchronisation: the moment of death is the random input of this test
    site.kill()
    for writer in writers:
        writer.join(30)
        assert not writer.is_alive()
    site.start()
    return sum(writer.acknowledged for writer in writers), check_round(site.client(), writers)


def test_sigkill_under_load_loses_nothing_acknowledged(tmp_path: Path) -> None:
    seed = secrets.randbits(32)
    print(f"seed: {seed}")
    moments = random.Random(seed)
    site = Site(tmp_path / "site", "victim", workers=2).start()
    try:
        site.client().create_bucket(Bucket="box")
        known: dict[str, str | None] = {}
        total = 0
        for number in range(ROUNDS):
            count, known = run_round(site, seed + 100 * number, known, moments.uniform(0.3, 1.2))
            total += count
        print(f"{total} writes acknowledged in {ROUNDS} rounds")
        assert total > ROUNDS
        site.run("verify")
        site.stop()
        site.run("rebuild-index")
        site.start()
        after = {name[1]: sha for name, sha in digest_objects(site.client(), list_site(site.client())).items()}
        assert after == known
        site.stop()
    finally:
        site.kill()


def test_sigkill_while_shipping_loses_nothing(cloud: TestCloud, proxy: FaultProxy, tmp_path: Path) -> None:
    seed = secrets.randbits(32)
    print(f"seed: {seed}")
    moments = random.Random(seed)
    settings = CloudSettings(proxy.endpoint, cloud.create_bucket(), cloud.access_key, cloud.secret_key)
    a = Site(tmp_path / "a", "a", cloud=settings).start()
    b: Site | None = None
    try:
        a.client().create_bucket(Bucket="box")
        known: dict[str, str | None] = {}
        for number in range(SHIPPING_ROUNDS):
            _, known = run_round(a, seed + 100 * number, known, moments.uniform(0.5, 1.5))
        realm = {"realm": {"key_file": str(a.data / "keys" / "realm.key")}}
        b = Site(tmp_path / "b", "b", cloud=settings, settings=realm).start()
        wait_converged(a, b, 90)
        there = {name[1]: sha for name, sha in digest_objects(b.client(), list_site(b.client())).items()}
        assert there == known
        b.stop()
        a.stop()
    finally:
        for site in (a, b):
            if site is not None:
                site.kill()
