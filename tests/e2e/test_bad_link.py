"""A bad link is normal: whatever the line does to a site, its own clients notice nothing, and the cloud has it all soon
after.
"""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from replication.cloud_s3 import open_s3
from replication.ports import CloudUnreachable
from replication.settings import CloudSettings as ClientSettings
from tests.support.authority import make_authority
from tests.support.clouds import TestCloud
from tests.support.fault_proxy import BLACK_HOLE, PASS, FaultProxy, lossy, reset, reset_up, slow, truncate
from tests.support.forward_proxy import ForwardProxy
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def line(cloud: TestCloud) -> Iterator[FaultProxy]:
    with FaultProxy(cloud.port) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def site(cloud: TestCloud, line: FaultProxy, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    settings = CloudSettings(line.endpoint, cloud.create_bucket(), cloud.access_key, cloud.secret_key)
    knobs = {"cloud": {"read_timeout_s": 3.0}, "link": {"probe_interval_s": 0.2}}
    site = Site(tmp_path_factory.mktemp("link") / "site", "site", cloud=settings, settings=knobs).start()
    site.client().create_bucket(Bucket="box")
    yield site
    site.kill()


def is_shipped(site: Site) -> bool:
    return site.status()["backlog_changes"] == 0


def how_far(client: Any, key: str) -> str:
    return str(client.head_object(Bucket="box", Key=key)["ReplicationStatus"])


FAULTS = {
    "swallowed": (BLACK_HOLE, 1 << 20),
    "reset in the middle of every pack": (reset_up(300_000), 3 << 20),
    "reset in every answer": (reset(20), 1 << 16),
    "every answer cut short": (truncate(40), 1 << 16),
}
PASSABLE = {
    "a third of all segments lost": (lossy(0.3), [1 << 20]),
    "10 kB/s, each way": (slow(10_000), [40_000]),
    "no connection lives longer than 400 kB": (reset_up(400_000), [100_000] * 12),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_the_line_does_not_carry_is_kept_and_sent_when_it_does(site: Site, line: FaultProxy, name: str) -> None:
    fault, size = FAULTS[name]
    body = os.urandom(size)
    asked, sent = line.accepted, line.bytes_up
    line.set(fault)
    site.client().put_object(Bucket="box", Key=name, Body=body)
    assert site.client().get_object(Bucket="box", Key=name)["Body"].read() == body
    wait_until(lambda: line.accepted > asked or line.bytes_up > sent, "it was tried")
    if "pack" not in name:
        assert site.status()["safe_to_lose"] is False
    line.set(PASS)
    wait_until(lambda: is_shipped(site), f"shipped after: {name}", timeout_s=60)
    assert site.run("audit-cloud", "--whole").returncode == 0


@pytest.mark.parametrize("name", PASSABLE)
def test_what_a_line_can_carry_it_does_carry(site: Site, line: FaultProxy, name: str) -> None:
    """Without anybody mending it: pieces get smaller until they fit."""
    fault, sizes = PASSABLE[name]
    line.set(fault)
    try:
        for number, size in enumerate(sizes):
            site.client().put_object(Bucket="box", Key=f"{name} {number}", Body=os.urandom(size))
        wait_until(lambda: is_shipped(site), f"shipped over: {name}", timeout_s=100)
    finally:
        line.set(PASS)


def test_a_pause_holds_back_all_but_what_is_urgent_and_ends_by_word(site: Site) -> None:
    client = site.client()
    wait_until(lambda: is_shipped(site), "shipped")
    site.stop()
    site.settings["link"]["urgent"] = ["box/alarms/"]
    site.settings["link"]["hours"] = ["daily 00:00-24:00 up=pause"]
    site.write_config()
    site.start()
    client.put_object(Bucket="box", Key="bulk", Body=os.urandom(100_000))
    wait_until(lambda: "paused" in json.dumps(site.status()["replication"]["link"]), "the pause is told")
    assert not is_shipped(site)
    client.put_object(Bucket="box", Key="alarms/fire", Body=b"!")
    client.put_object(Bucket="box", Key="later", Body=b"can wait")
    wait_until(lambda: how_far(client, "alarms/fire") == "COMPLETED", "what is urgent is shipped")
    assert how_far(client, "later") == "PENDING"
    assert site.run("link", "set", "--up", "full").returncode == 0
    wait_until(lambda: is_shipped(site), "shipped by the operator's word")
    site.run("link", "clear")


def test_a_limit_holds_for_the_whole_site_and_can_be_changed_live(site: Site, line: FaultProxy) -> None:
    wait_until(lambda: is_shipped(site), "shipped")
    site.run("link", "set", "--up", "200k")
    before, begin = line.bytes_up, time.monotonic()
    site.client().put_object(Bucket="box", Key="alarms/limited", Body=os.urandom(1_000_000))
    wait_until(lambda: is_shipped(site), "shipped", timeout_s=60)
    sent, took = line.bytes_up - before, time.monotonic() - begin
    piece = 1_000_000  # one transfer alone starts at once; what follows has waited for it
    assert sent > 1_000_000
    assert sent - piece <= took * 200 * 1024
    site.run("link", "clear")


def test_through_a_proxy_to_a_cloud_with_a_root_of_its_own(tmp_path: Path) -> None:
    authority = make_authority(tmp_path / "ca", "s3.test")
    tls = {"server": {"tls_certificate_file": str(authority.chain), "tls_key_file": str(authority.key)}}
    with Site(tmp_path / "cloud", "cloud", settings=tls) as far, ForwardProxy() as forward:
        far.client(verify=str(authority.root)).create_bucket(Bucket="realm")
        reach = {"ca_file": str(authority.root), "proxy_url": forward.url}
        settings = CloudSettings(far.endpoint, "realm", far.access_key, far.secret_key)
        with Site(tmp_path / "site", "site", cloud=settings, settings={"cloud": reach}) as site:
            site.client().create_bucket(Bucket="box")
            wait_until(lambda: site.status()["safe_to_lose"], "shipped")
        assert forward.connected
        untrusting = Site(tmp_path / "other", "other", cloud=settings, settings={"cloud": {"proxy_url": forward.url}})
        assert untrusting.run("replicate", "--once", check=False).returncode != 0


def test_requests_signed_by_another_clock_are_good_as_long_as_the_cloud_takes_that_time(tmp_path: Path) -> None:
    with Site(tmp_path / "cloud", "cloud") as far:
        far.client().create_bucket(Bucket="realm")

        async def put(ahead_s: float) -> None:
            keys = {"access_key": far.access_key, "secret_key": far.secret_key}
            cloud = await open_s3(ClientSettings("realm", endpoint_url=far.endpoint, addressing="path", **keys))
            try:
                cloud._ahead_s = ahead_s
                await cloud.put("x", b"data")
            finally:
                await cloud.close()

        asyncio.run(put(600))
        asyncio.run(put(-600))
        with pytest.raises(CloudUnreachable, match="clock"):
            asyncio.run(put(3600))
