"""The realm's keys are rotated under a running realm of two sites, and the recovery key still opens everything."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path
from typing import Any

import pytest

from tests.support.clouds import TestCloud
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

pytestmark = pytest.mark.e2e
BOUND_S = 60.0


def ask(site: Site, *words: str) -> Any:
    return json.loads(site.run("keys", *words, "--json").stdout)


def body_of(key: str) -> bytes:
    """Incompressible, and too large to travel within a log entry."""
    return random.Random(key).randbytes(400_000)


def put(site: Site, key: str) -> None:
    site.client().put_object(Bucket="box", Key=key, Body=body_of(key))


def wait_readable(site: Site, *keys: str) -> None:
    def is_so() -> bool:
        if not site.client().list_buckets()["Buckets"]:
            return False
        listed = [found["Key"] for found in site.client().list_objects_v2(Bucket="box").get("Contents", [])]
        return listed == sorted(keys)

    wait_until(is_so, f"{keys} on {site.name}", BOUND_S)
    for key in keys:
        assert site.client().get_object(Bucket="box", Key=key)["Body"].read() == body_of(key)


@pytest.mark.timeout(300)
def test_epochs_and_root_are_rotated_under_a_running_realm(cloud: TestCloud, tmp_path: Path) -> None:
    settings = CloudSettings(cloud.endpoint, cloud.create_bucket(), cloud.access_key, cloud.secret_key)
    # A site that has nothing to say speaks now and then all the same, sealed with its newest key.
    often = {"replication": {"status_interval_s": 1.0, "ack_interval_s": 1.0}}
    with Site(tmp_path / "one", "one", cloud=settings, workers=2, settings=often) as one:
        recovery = re.search(r"skerry-recovery-key-1 [0-9a-f ]+", one.log)
        assert recovery is not None
        one.client().create_bucket(Bucket="box")
        put(one, "first")
        old_key = one.data / "keys" / "realm.key"
        joined = {"realm": {"key_file": str(old_key)}}
        with Site(tmp_path / "two", "two", cloud=settings, settings=joined) as two:
            wait_readable(two, "first")
            assert len(ask(one, "rotate")["epochs"]) == 2
            # Both sites run on: each hears of it, and reads what the other seals with the new key.
            wait_until(lambda: len(ask(two, "list")["epochs"]) == 2, "the other site knows the epoch", BOUND_S)
            put(one, "second")
            put(two, "third")
            for site in (one, two):
                wait_readable(site, "first", "second", "third")

            new_key = tmp_path / "new.key"
            told = ask(one, "rotate-root", "--new-key-file", str(new_key))
            assert sorted(root["recovery"] for root in told["roots"]) == [False, False, True]
            old = next(root["fingerprint"] for root in told["roots"] if root["in_use"])
            for site in (one, two):
                site.stop()
                site.settings = {**site.settings, "realm": {"key_file": str(new_key)}}
                site.write_config()
                site.start()
            one.run("keys", "drop-root", old)
            put(two, "fourth")
            for site in (one, two):
                wait_readable(site, "first", "fourth", "second", "third")
    kept = tmp_path / "kit"
    kept.write_text(recovery.group(0).strip() + "\n")
    kept.chmod(0o600)
    restored = Site(tmp_path / "three", "three", cloud=settings, settings={"realm": {"key_file": str(kept)}})
    assert json.loads(restored.run("restore", "--json").stdout)["bytes"] >= 4 * 400_000
