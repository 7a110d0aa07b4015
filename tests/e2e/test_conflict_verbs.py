"""Two sites write one key at once: the collision is shown, carried away, decided, or forgotten after its time."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.support.clouds import TestCloud
from tests.support.site import CloudSettings, Site

pytestmark = pytest.mark.e2e
NO_DAEMON = {"replication": {"ship_interval_s": 3600.0, "poll_interval_s": 3600.0, "backlog_poll_s": 3600.0}}


@pytest.fixture(scope="module")
def sites(cloud: TestCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Site]]:
    """Two sites of a realm that replicate only when told; both know the bucket. No test leaves a conflict behind."""
    tmp_path = tmp_path_factory.mktemp("sites")
    settings = CloudSettings(cloud.endpoint, cloud.create_bucket(), cloud.access_key, cloud.secret_key)
    with Site(tmp_path / "one", "one", cloud=settings, settings=NO_DAEMON) as one:
        one.client().create_bucket(Bucket="box")
        one.run("replicate", "--once")
        joined = NO_DAEMON | {"realm": {"key_file": str(one.data / "keys" / "realm.key")}}
        with Site(tmp_path / "two", "two", cloud=settings, settings=joined) as two:
            two.run("replicate", "--once")
            yield one, two


def exchange(one: Site, two: Site) -> None:
    for site in (one, two, one):
        site.run("replicate", "--once")


def collide(one: Site, two: Site, key: str, **condition: str) -> None:
    for site in (one, two):
        site.client().put_object(Bucket="box", Key=key, Body=site.name.encode(), **condition)
    exchange(one, two)


def ask(site: Site, *words: str) -> Any:
    return json.loads(site.run("conflicts", *words, "--json").stdout)


def test_a_collision_is_shown_exported_and_decided(sites: tuple[Site, Site], tmp_path: Path) -> None:
    one, two = sites
    collide(one, two, "dir/k")
    shown = ask(one, "show", "box", "dir/k")
    assert shown == ask(two, "show", "box", "dir/k")
    assert [value["key"] for value in ask(two, "list")["conflicts"]] == ["dir/k"]
    assert {shown["winner"]["site_name"], shown["losers"][0]["site_name"]} == {"one", "two"}
    assert len({shown["winner"]["site_id"], shown["losers"][0]["site_id"]}) == 2
    assert one.run("conflicts", "list", "--bucket", "boks", check=False).returncode == 3
    for site in sites:
        told = [
            site.client().head_object(Bucket="box", Key="dir/k", **which)["ResponseMetadata"]["HTTPHeaders"]
            for which in ({}, {"VersionId": shown["losers"][0]["version_id"]})
        ]
        assert [headers["x-skerry-conflict-count"] for headers in told] == ["1", "1"]
        assert [headers.get("x-skerry-conflict") for headers in told] == [None, "lost-to-write"]
    exported = ask(one, "export", "box", "dir/k", "--to", str(tmp_path / "out"))
    values = {name: (tmp_path / "out" / name).read_bytes() for name in exported["files"].values()}
    assert sorted(values.values()) == [b"one", b"two"]
    assert one.run("conflicts", "export", "box", "dir/k", "--to", str(tmp_path / "out"), check=False).returncode == 3
    assert one.run("conflicts", "resolve", "box", "dir/k", "--keep", "nonsense", check=False).returncode == 1
    loser = shown["losers"][0]["version_id"]
    lost = values[exported["files"][loser]]
    assert ask(one, "resolve", "box", "dir/k", "--keep", loser)["removed"] == 1
    exchange(one, two)
    for site in sites:
        assert site.client().get_object(Bucket="box", Key="dir/k")["Body"].read() == lost
        assert len(site.client().list_object_versions(Bucket="box", Prefix="dir/k")["Versions"]) == 1
        assert site.status()["conflicts"] == 0
        assert site.run("conflicts", "show", "box", "dir/k", check=False).returncode == 3


def test_a_broken_condition_is_acknowledged(sites: tuple[Site, Site]) -> None:
    one, two = sites
    collide(one, two, "once", IfNoneMatch="*")
    assert one.status()["broken_conditions"] == two.status()["broken_conditions"] == 1
    assert ask(two, "resolve", "box", "once", "--keep-winner") == {
        "winner": "null",
        "removed": 1,
        "acknowledged": 1,
    }
    exchange(one, two)
    for site in sites:
        assert (site.status()["conflicts"], site.status()["broken_conditions"]) == (0, 0)


def test_losers_go_after_their_time_and_on_both_sites_alike(sites: tuple[Site, Site]) -> None:
    one, two = sites
    collide(one, two, "k")
    for days, left in ((29, 1), (31, 0)):
        at = (datetime.now(UTC) + timedelta(days=days)).strftime("%Y-%m-%dT%H:%M:%SZ")
        dropped = [json.loads(site.run("lifecycle", "run", "--at", at, "--json").stdout) for site in sites]
        assert all(told["losers_dropped"] == 1 - left for told in dropped)
        exchange(one, two)
        assert one.status()["conflicts"] == two.status()["conflicts"] == left
    assert one.client().get_object(Bucket="box", Key="k")["Body"].read() in (b"one", b"two")
