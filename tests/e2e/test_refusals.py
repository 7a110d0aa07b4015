"""Seen from outside: what a site refuses to start with, what it says without a cloud, and honest status with one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clouds import TestCloud
from tests.support.fault_proxy import CAPTIVE_PORTAL, PASS, FaultProxy
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site, SiteFailed

pytestmark = pytest.mark.e2e


@pytest.fixture
def settings(cloud: TestCloud, proxy: FaultProxy) -> CloudSettings:
    return CloudSettings(proxy.endpoint, cloud.create_bucket(), cloud.access_key, cloud.secret_key)


@pytest.fixture
def first(settings: CloudSettings, tmp_path: Path) -> Iterator[Site]:
    """A site that made the realm in the bucket."""
    site = Site(tmp_path / "first", "first", cloud=settings).start()
    yield site
    site.kill()


def files_of(cloud: TestCloud, bucket: str) -> dict[str, str]:
    rows = cloud.client().list_objects_v2(Bucket=bucket).get("Contents", ())
    return {row["Key"]: row["ETag"] for row in rows}


def test_without_a_cloud_nothing_is_safe_to_lose(tmp_path: Path) -> None:
    with Site(tmp_path / "alone", "alone") as site:
        site.client().create_bucket(Bucket="box")
        site.client().put_object(Bucket="box", Key="k", Body=b"v")
        assert "ReplicationStatus" not in site.client().head_object(Bucket="box", Key="k")
        status = site.status()
        assert status["safe_to_lose"] is False
        assert "cloud" in str(status).lower()


def test_a_wrong_realm_key_is_refused_and_changes_nothing(
    first: Site, settings: CloudSettings, cloud: TestCloud, tmp_path: Path
) -> None:
    wait_until(lambda: first.status()["backlog_changes"] == 0, "first has shipped")
    first.stop()
    before = files_of(cloud, settings.bucket)
    other = Site(tmp_path / "other", "other").start()  # a realm of its own, for its key
    other.stop()
    realm = {"realm": {"key_file": str(other.data / "keys" / "realm.key")}}
    joiner = Site(tmp_path / "joiner", "joiner", cloud=settings, settings=realm)
    with pytest.raises(SiteFailed, match="key"):
        joiner.start()
    joiner.kill()
    assert files_of(cloud, settings.bucket) == before


def test_a_bucket_of_another_realm_is_refused(
    first: Site, settings: CloudSettings, cloud: TestCloud, tmp_path: Path
) -> None:
    wait_until(lambda: first.status()["backlog_changes"] == 0, "first has shipped")
    first.stop()
    before = files_of(cloud, settings.bucket)
    stranger = Site(tmp_path / "stranger", "stranger").start()
    stranger.client().create_bucket(Bucket="mine")
    stranger.stop()
    stranger.cloud = settings
    stranger.write_config()
    done = stranger.run("replicate", "--once", check=False)
    assert done.returncode != 0
    assert "realm" in (done.stdout + done.stderr)
    assert files_of(cloud, settings.bucket) == before


def test_a_captive_portal_is_no_cloud(first: Site, proxy: FaultProxy) -> None:
    """Its 200 is no confirmation: the backlog stays, and is shipped once the real cloud answers."""
    wait_until(lambda: first.status()["safe_to_lose"], "first has shipped")
    proxy.set(CAPTIVE_PORTAL)
    client = first.client()
    client.create_bucket(Bucket="ashore")
    client.put_object(Bucket="ashore", Key="k", Body=b"v" * 1000)
    [rule] = client.get_bucket_replication(Bucket="ashore")["ReplicationConfiguration"]["Rules"]
    assert (rule["ID"], rule["Status"], rule["Destination"]["Bucket"]) == (
        "skerry-realm",
        "Enabled",
        "arn:aws:s3:::ashore",
    )
    done = first.run("replicate", "--once", check=False)
    assert done.returncode != 0
    status = first.status()
    assert status["backlog_changes"] == 4, "the bucket, its ownership and public access documents, the object"
    assert status["safe_to_lose"] is False
    assert client.head_object(Bucket="ashore", Key="k")["ReplicationStatus"] == "PENDING"
    proxy.set(PASS)
    wait_until(lambda: first.status()["safe_to_lose"], "shipped")
    assert client.head_object(Bucket="ashore", Key="k")["ReplicationStatus"] == "COMPLETED"


def test_a_bad_configuration_names_line_and_reason(tmp_path: Path) -> None:
    site = Site(tmp_path / "site", "site", settings={"server": {"workers": 1000}})
    done = site.run("config", "check", check=False)
    assert done.returncode != 0
    assert "workers" in done.stdout + done.stderr
    assert "skerry.toml" in done.stdout + done.stderr
    shutil.rmtree(site.directory)
