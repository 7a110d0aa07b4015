"""Machines that are one site by mistake: a copied disk, an old backup, a box that was replaced and still lives.

None of them is told anything: each finds out by itself, and everything that was written anywhere is everywhere.
"""

from __future__ import annotations

import shutil
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.clouds import TestCloud
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(300)]
BOUND_S = 120.0


@pytest.fixture
def one(cloud: TestCloud, tmp_path: Path) -> Iterator[Site]:
    settings = CloudSettings(cloud.endpoint, cloud.create_bucket(), cloud.access_key, cloud.secret_key)
    with Site(tmp_path / "one", "one", cloud=settings) as site:
        site.client().create_bucket(Bucket="box")
        put(site, "before")
        wait_shown(["before"], site)
        yield site


def put(site: Site, *keys: str) -> None:
    for key in keys:
        site.client().put_object(Bucket="box", Key=key, Body=f"{key} of {site.name} ".encode() * 3000)


def wait_shown(keys: list[str], *sites: Site) -> None:
    """Until every site shows exactly these keys, one version each, and has nothing left to send."""

    def is_so() -> bool:
        return all(
            [version["Key"] for version in site.client().list_object_versions(Bucket="box").get("Versions", [])] == keys
            and not site.status()["backlog_changes"]
            for site in sites
        )

    wait_until(is_so, f"{keys} on {[site.name for site in sites]}", BOUND_S)


def read(site: Site, key: str) -> bytes:
    return bytes(site.client().get_object(Bucket="box", Key=key)["Body"].read())


def test_two_machines_with_one_disk_converge_with_everything(one: Site, tmp_path: Path) -> None:
    put(one, "perhaps-unsent")
    one.stop()
    two = Site(tmp_path / "two", "two", cloud=one.cloud)
    shutil.copytree(one.data, two.data)
    with two:
        one.start()
        put(one, "a1", "a2", "both")
        put(two, "b1", "b2")
        two.client().delete_object(Bucket="box", Key="before")
        wait_shown(["a1", "a2", "b1", "b2", "both", "perhaps-unsent"], one, two)
        for site in (one, two):
            assert read(site, "a1") == b"a1 of one " * 3000
            assert read(site, "b2") == b"b2 of two " * 3000
        wait_until(lambda: all(site.status()["safe_to_lose"] for site in (one, two)), "both are safe to lose", BOUND_S)
        told = [site.status() for site in (one, two)]
        assert told[0]["site_id"] != told[1]["site_id"]
        partings = [parting for status in told for parting in status["partings"]]
        assert partings
        assert all(parting["reason"] and parting["at_ms"] for parting in partings)
        with urllib.request.urlopen(f"http://127.0.0.1:{one.admin_port}/metrics", timeout=5) as answer:
            assert f"skerry_partings {len(told[0]['partings'])}" in answer.read().decode()
        assert "are issued anew as site" in one.log + two.log
        put(one, "later")
        wait_shown(["a1", "a2", "b1", "b2", "both", "later", "perhaps-unsent"], one, two)


def test_an_old_backup_gets_back_what_it_forgot(one: Site, tmp_path: Path) -> None:
    one.stop()
    shutil.copytree(one.data, tmp_path / "backup")
    site_id = one.start().status()["site_id"]
    put(one, "since")
    wait_shown(["before", "since"], one)
    one.stop()
    shutil.rmtree(one.data)
    shutil.copytree(tmp_path / "backup", one.data)
    one.start()
    put(one, "new")
    wait_shown(["before", "new", "since"], one)
    assert read(one, "since") == b"since of one " * 3000
    status = one.status()
    assert status["site_id"] == site_id, "it is the site it was, under another incarnation"
    assert [parting["changes_issued_anew"] <= 1 for parting in status["partings"]] == [True]
    one.stop()
    one.run("rebuild-index")
    one.start()
    wait_shown(["before", "new", "since"], one)


def test_a_replaced_box_that_still_lives_goes_on_as_another_site(one: Site, tmp_path: Path) -> None:
    site_id = one.status()["site_id"]
    key = {"realm": {"key_file": str(one.data / "keys" / "realm.key")}}
    new = Site(tmp_path / "new", "new", cloud=one.cloud, settings=key)
    new.run("restore", "--replace", site_id)
    with new:
        put(one, "written-by-the-old-box")
        put(new, "written-by-the-new-box")
        wait_shown(["before", "written-by-the-new-box", "written-by-the-old-box"], one, new)
        status = one.status()
        assert status["site_id"] not in (site_id, new.status()["site_id"])
        assert "replaced" in status["partings"][0]["reason"]
