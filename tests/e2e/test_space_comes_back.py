"""What is deleted gives its space back while the server runs: also what is still appended to, or open in workers."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from tests.kill.processes import list_children
from tests.support.net import wait_until
from tests.support.site import Site

MIB = 1 << 20
pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def segment_bytes(site: Site) -> int:
    return sum(path.stat().st_size for path in (site.data / "segments").glob("*.data"))


def held_files(site: Site) -> list[str]:
    """Files that were unlinked and that some process of the site still holds open."""
    found = []
    for pid in list_children(site):
        for descriptor in Path(f"/proc/{pid}/fd").iterdir():
            try:
                target = os.readlink(descriptor)
            except FileNotFoundError:
                continue
            if target.endswith(".data (deleted)"):
                found.append(target)
    return found


def test_deletes_give_space_back_without_a_restart(tmp_path: Path) -> None:
    with Site(tmp_path, "small", workers=2) as site:
        client = site.client()
        client.create_bucket(Bucket="bucket")
        bodies = {f"key-{number}": random.Random(number).randbytes(4 * MIB) for number in range(12)}
        for key, body in bodies.items():
            client.put_object(Bucket="bucket", Key=key, Body=body)
        client.put_object(Bucket="bucket", Key="kept", Body=b"kept" * 30_000)
        for key, body in bodies.items():
            assert client.get_object(Bucket="bucket", Key=key)["Body"].read() == body
        assert segment_bytes(site) > 48 * MIB
        for key in bodies:
            client.delete_object(Bucket="bucket", Key=key)
        wait_until(lambda: segment_bytes(site) < 10 * MIB, "dead segments are given back", 60, every_s=0.3)
        wait_until(lambda: not held_files(site), "nobody holds what was unlinked", 20, every_s=0.3)
        assert client.get_object(Bucket="bucket", Key="kept")["Body"].read() == b"kept" * 30_000
        client.put_object(Bucket="bucket", Key="after", Body=b"after" * 30_000)
        assert client.get_object(Bucket="bucket", Key="after")["Body"].read() == b"after" * 30_000
    site.run("verify")
