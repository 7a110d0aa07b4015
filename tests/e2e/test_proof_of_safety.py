"""``safe``, ``audit-cloud``, ``drill``, ``savings`` of a real site: yes when it is so, no when something was lost."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.clouds import TestCloud
from tests.support.fault_proxy import BLACK_HOLE, PASS, FaultProxy
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

pytestmark = pytest.mark.e2e
SIZE = 3 << 20


@pytest.fixture
def settings(cloud: TestCloud, proxy: FaultProxy) -> CloudSettings:
    return CloudSettings(proxy.endpoint, cloud.create_bucket(), cloud.access_key, cloud.secret_key)


@pytest.fixture
def site(settings: CloudSettings, tmp_path: Path) -> Iterator[Site]:
    """With prices; one large object twice, a small one, and a deleted one."""
    prices = {"tariff": {"currency": "EUR", "upload_per_gb": 2.0, "storage_per_gb_month": 0.02}}
    with Site(tmp_path / "site", "site", cloud=settings, settings=prices) as site:
        client = site.client()
        client.create_bucket(Bucket="box")
        body = os.urandom(SIZE)
        for key in ("one", "two"):
            client.put_object(Bucket="box", Key=key, Body=body)
        client.put_object(Bucket="box", Key="gone", Body=b"x")
        client.delete_object(Bucket="box", Key="gone")
        client.put_object(Bucket="box", Key="small", Body=b"small")
        yield site
        site.kill()


def ask(site: Site, *words: str) -> tuple[int, dict[str, Any]]:
    done = site.run(*words, "--json", check=False)
    return done.returncode, json.loads(done.stdout)


def test_safe_only_when_everything_is_over_there(site: Site, proxy: FaultProxy) -> None:
    assert ask(site, "safe", "--wait", "60") == (
        0,
        {"safe_to_lose": True, "reasons": [], "backlog_changes": 0, "backlog_bytes": 0},
    )
    proxy.set(BLACK_HOLE)
    site.client().put_object(Bucket="box", Key="unsent", Body=b"unsent")
    code, answer = ask(site, "safe")
    assert (code, answer["safe_to_lose"], answer["backlog_changes"]) == (1, False, 1)
    proxy.set(PASS)
    assert ask(site, "safe", "--wait", "90")[0] == 0
    client, before = site.client(), proxy.bytes_up
    client.create_bucket(Bucket="cctv", CreateBucketConfiguration={"LocationConstraint": "local"})
    client.put_object(Bucket="cctv", Key="camera", Body=os.urandom(SIZE))
    assert ask(site, "safe", "--except-local", "--wait", "90")[0] == 0
    code, answer = ask(site, "safe")
    assert (code, answer["reasons"]) == (1, ["bucket cctv stays here: 1 versions are nowhere else"])
    assert proxy.bytes_up - before < SIZE // 4
    assert ask(site, "drill")[0] == 0, "what stays here is not missed there"
    client.delete_object(Bucket="cctv", Key="camera")
    wait_until(lambda: site.status()["scrub"]["whole_rotation_ended_ms"], "everything was read back once", 60)
    assert site.status()["scrub"]["findings"] == []
    assert 0 < site.status()["scrub"]["oldest_unverified_age_s"] < 600


def test_what_the_cloud_lost_is_named(site: Site, cloud: TestCloud, settings: CloudSettings) -> None:
    assert ask(site, "safe", "--wait", "60")[0] == 0
    code, audit = ask(site, "audit-cloud", "--whole")
    assert (code, audit["findings"]) == (0, [])
    assert audit["batches_read"] == audit["batches_listed"] > 0
    assert audit["frames_read"] == audit["frames_known"] >= 2  # the large one may be a single chunk
    code, drill = ask(site, "drill", "--whole")
    assert (code, drill["findings"], drill["unsent"]) == (0, [], 0)
    assert (drill["versions"], drill["read"], drill["read_bytes"]) == (3, 3, 2 * SIZE + 5)
    assert site.status()["drill"]["sound"] is True
    assert not list((site.data / "run").glob("skerry-drill-*"))
    s3 = cloud.client()
    packs = [row["Key"] for row in s3.list_objects_v2(Bucket=settings.bucket)["Contents"] if "/packs/" in row["Key"]]
    s3.delete_object(Bucket=settings.bucket, Key=packs[0])
    code, audit = ask(site, "audit-cloud", "--frames", "0")
    assert code == 1
    assert [finding["name"] for finding in audit["findings"]] == [packs[0].removeprefix(settings.prefix + "/")]
    code, drill = ask(site, "drill", "--objects", "1000")
    assert code == 1
    assert drill["findings"]
    assert any("drill" in warning for warning in site.status()["warnings"])


def test_a_batch_that_was_swapped_is_named(site: Site, cloud: TestCloud, settings: CloudSettings) -> None:
    assert ask(site, "safe", "--wait", "60")[0] == 0
    s3 = cloud.client()
    logs = [row["Key"] for row in s3.list_objects_v2(Bucket=settings.bucket)["Contents"] if "/log/" in row["Key"]]
    s3.put_object(Bucket=settings.bucket, Key=logs[0], Body=b"other bytes")
    assert ask(site, "audit-cloud")[0] == 1
    done = site.run("drill", check=False)
    assert done.returncode not in (0, 2)
    assert not list((site.data / "run").glob("skerry-drill-*"))


def test_savings_are_counted_from_the_log(site: Site) -> None:
    code, answer = ask(site, "savings")
    written = answer["written"]
    assert code == 0
    assert (written["object_writes"], written["written_bytes"]) == (4, 2 * SIZE + 6)
    assert SIZE < written["ship_bytes"] < SIZE + 100_000  # the second time, only its record
    assert answer["upload_saved_bytes"] == written["written_bytes"] - written["ship_bytes"]
    assert answer["held"]["raw_bytes"] < SIZE + 100_000
    assert answer["money"]["currency"] == "EUR"
    assert answer["money"]["upload_saved"] == pytest.approx(answer["upload_saved_bytes"] * 2.0 / 1e9)
    assert "1 : 2.0" in site.run("savings").stdout
