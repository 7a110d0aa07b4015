"""A flipped bit on a running site's disk: no wrong byte to a client, and seen in status, metrics and exit codes."""

from __future__ import annotations

import urllib.request
from pathlib import Path

import pytest
from botocore.exceptions import ClientError

from tests.support.net import wait_until
from tests.support.site import Site

pytestmark = [pytest.mark.e2e, pytest.mark.slow]


def read_gauge(site: Site, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{site.admin_port}/metrics", timeout=10) as answer:
        lines = answer.read().decode().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"skerry_{name} "))


def test_a_flipped_bit_is_told_everywhere_and_never_served(tmp_path: Path) -> None:
    site = Site(tmp_path, "damaged")
    with site:
        site.client().create_bucket(Bucket="bucket")
        for key in ("sound", "harmed"):
            site.client().put_object(Bucket="bucket", Key=key, Body=key.encode() * 20_000)
    segment = max((site.data / "segments").glob("*.data"), key=lambda path: path.stat().st_size)
    data = bytearray(segment.read_bytes())
    data[-20] ^= 4  # the last frame written
    segment.write_bytes(data)
    done = site.run("verify", check=False)
    assert done.returncode == 1
    assert "needed by bucket/harmed" in done.stdout
    (site.data / "run" / "scrub.json").unlink(missing_ok=True)
    with site:
        client = site.client(retries={"total_max_attempts": 1})
        assert client.get_object(Bucket="bucket", Key="sound")["Body"].read() == b"sound" * 20_000
        with pytest.raises((ClientError, OSError)):
            client.get_object(Bucket="bucket", Key="harmed")["Body"].read()
        wait_until(lambda: read_gauge(site, "scrub_findings") == 1, "the scrub tells of it", 60, every_s=0.3)
        (warning,) = [text for text in site.status()["warnings"] if "scrub" in text]
        assert segment.stem in warning
        assert "needed by bucket/harmed" in warning
        assert 0 < read_gauge(site, "oldest_unverified_age_seconds") < 600
        client.put_object(Bucket="bucket", Key="harmed", Body=b"written again")
        assert client.get_object(Bucket="bucket", Key="harmed")["Body"].read() == b"written again"
