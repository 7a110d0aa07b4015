"""A realm of four real sites as their operators see it: listed from anywhere, named, retired, forgotten, revoked."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.clouds import TestCloud
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]
QUICK_ACKS = {"ship_interval_s": 0.2, "poll_interval_s": 0.2, "ack_interval_s": 0.2, "status_interval_s": 0.5}


@pytest.fixture(scope="module")
def realm(cloud: TestCloud, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Site]]:
    """The office's server runs; the others are machines that replicate when told."""
    tmp_path = tmp_path_factory.mktemp("realm")
    where = CloudSettings(cloud.endpoint, cloud.create_bucket(), cloud.access_key, cloud.secret_key)
    with Site(tmp_path / "office", "office", cloud=where, settings={"replication": QUICK_ACKS}) as office:
        office.run("replicate", "--once")
        joined: dict[str, Any] = {"realm": {"key_file": str(office.data / "keys" / "realm.key")}}
        sites = {"office": office}
        for name in ("shop", "van", "kiosk"):
            sites[name] = Site(tmp_path / name, name, cloud=where, settings=joined)
            sites[name].run("restore", "--lazy")
        exchange(sites)
        exchange(sites)  # those that came first hear of the last one
        yield sites


def exchange(sites: dict[str, Site], *names: str) -> None:
    """Everybody named, and the office always, ships, takes in and acknowledges; who changed something goes first."""
    for name in names or sites:
        if name != "office":  # its server replicates all the while
            sites[name].run("replicate", "--once")


def await_list(site: Site, condition: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """The list once it is so: the office's server takes in by itself what others ship."""
    rows: dict[str, Any] = {}

    def is_so() -> bool:
        rows.clear()
        rows.update(list_sites(site))
        return condition(rows)

    try:
        wait_until(is_so, "the list of sites is as it should be", 60)
    except TimeoutError as late:
        raise AssertionError(f"{late}: {rows}") from None
    return rows


def nobody_waited_for(rows: dict[str, Any]) -> bool:
    return rows["waiting_for"] == []


def list_sites(site: Site) -> dict[str, Any]:
    """The rows of ``sites list`` by name, and ``waiting_for``."""
    document = json.loads(site.run("sites", "list", "--json").stdout)
    return {row["name"]: row for row in document["sites"]} | {"waiting_for": document["waiting_for"]}


def test_every_site_shows_all_others(realm: dict[str, Site]) -> None:
    for name in ("office", "shop"):
        site = realm[name]
        rows = await_list(site, nobody_waited_for)
        assert {row for row in rows if row != "waiting_for"} == set(realm)
        assert rows[name]["state"] == "this site"
        for other in realm.keys() - {name}:
            assert rows[other]["state"] == "member"
            assert rows[other]["free_bytes"] > 0
            assert (rows[other]["backlog_changes"], rows[other]["is_waited_for"]) == (0, True)
            assert rows[other]["last_seen_age_s"] < 600
            assert rows[other]["collects"] is True
    assert "office" in realm["office"].run("sites", "list").stdout
    status = realm["office"].status()
    assert (len(status["fleet"]), status["waiting_for"], status["stable_cut_age_s"]) == (4, [], 0.0)


def test_who_is_behind_is_named(realm: dict[str, Site]) -> None:
    office, shop = realm["office"], realm["shop"]
    office.client().create_bucket(Bucket="news")
    wait_until(lambda: office.status()["backlog_changes"] == 0, "the office's server has shipped", 60)
    exchange(realm, "shop")
    is_shop_heard = lambda rows: {wait["name"] for wait in rows["waiting_for"]} == {"van", "kiosk"}  # noqa: E731
    waits = await_list(office, is_shop_heard)["waiting_for"]
    assert all(wait["changes_not_acknowledged"] >= 1 for wait in waits)
    assert "waiting for van" in shop.run("status").stdout
    exchange(realm)
    await_list(office, nobody_waited_for)


def test_a_lost_site_is_forgotten(realm: dict[str, Site]) -> None:
    office, shop, van = realm["office"], realm["shop"], realm["van"]
    van.run("sites", "name", "van", "van of old")  # never shipped: given up with it
    for words, why in (
        (("van", "--heir", "office"), "say --yes"),
        (("van", "--heir", "office", "--yes"), "spoke"),
    ):
        refused = office.run("sites", "forget", *words, check=False)
        assert (refused.returncode, why in refused.stderr) == (3, True), refused.stderr
    van_id = list_sites(office)["van"]["site_id"]
    said = office.run("sites", "forget", "van", "--heir", "office", "--yes", "--force", "--json")
    assert json.loads(said.stdout)["site_id"] == van_id
    wait_until(lambda: office.status()["backlog_changes"] == 0, "the office's server has shipped", 60)
    exchange(realm, "kiosk", "shop")
    for site in (office, shop):
        rows = await_list(site, lambda rows: not rows["van"]["is_waited_for"]) if site is office else list_sites(site)
        assert (rows["van"]["state"], rows["van"]["is_waited_for"]) == ("forgotten", False)
        assert rows["van"]["heir"] == rows["office"]["site_id"]
        assert rows["waiting_for"] == []


def test_a_site_retires(realm: dict[str, Site]) -> None:
    office, shop = realm["office"], realm["shop"]
    shop.run("sites", "name", "office", "head office")  # shipped with its last batches
    assert shop.run("sites", "retire", check=False).returncode == 3
    assert "may be switched off" in shop.run("sites", "retire", "--yes").stdout
    exchange(realm, "kiosk")
    rows = await_list(office, lambda rows: rows["shop"]["state"] == "retired" and nobody_waited_for(rows))
    assert (rows["shop"]["state"], rows["shop"]["is_waited_for"]) == ("retired", False)
    assert rows["head office"]["state"] == "this site"
    assert rows["waiting_for"] == []
    assert shop.run("safe", check=False).returncode == 0
    office.run("sites", "name", "head office", "office")


def test_a_stolen_site_is_revoked(realm: dict[str, Site]) -> None:
    office, kiosk = realm["office"], realm["kiosk"]
    told = office.run("sites", "revoke", "kiosk", "--yes").stdout
    for word in ("delete the access key", "skerry rekey", "skerry user rotate", "is revoked"):
        assert word in told
    kiosk.settings = {**kiosk.settings, "replication": {"pull": False}}  # the thief does not care what others say
    kiosk.write_config()
    kiosk.run("sites", "name", "kiosk", "mine now")
    kiosk.run("replicate", "--once")
    rows = await_list(office, lambda rows: any(log["refused"] for log in rows["kiosk"]["logs"]))
    assert rows["office"]["state"] == "this site"
    assert rows["kiosk"]["state"] == "revoked"
    assert any("refused" in log["refused"] for log in rows["kiosk"]["logs"])
    assert rows["waiting_for"] == []
    assert any("revoked" in warning for warning in office.status()["warnings"])
    kiosk.settings = {**kiosk.settings, "replication": {"pull": True}}
    kiosk.write_config()
    kiosk.run("replicate", "--once")
    told = kiosk.status()
    assert "revoked" in told["replication"]["ended"]
    assert not told["safe_to_lose"], "what it wrote since is nowhere"
    assert any("revoked" in reason for reason in told["reasons"])


def test_metrics_tell_of_the_fleet(realm: dict[str, Site]) -> None:
    import urllib.request

    url = f"http://127.0.0.1:{realm['office'].admin_port}/metrics"
    with urllib.request.urlopen(url, timeout=10) as answer:
        numbers = dict(line.rsplit(" ", 1) for line in answer.read().decode().splitlines() if line[0] != "#")
    assert float(numbers["skerry_stable_cut_age_seconds"]) == 0.0
    assert float(numbers["skerry_fleet_sites"]) == 1.0
    assert float(numbers["skerry_refused_logs"]) >= 1.0
