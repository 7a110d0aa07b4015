"""An epoch comes to its end under a running realm: everything is sealed anew, then its key is gone for good."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest

from tests.support.clouds import TestCloud
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

pytestmark = pytest.mark.e2e
BOUND_S = 90.0
SETTINGS = {
    "replication": {"ship_interval_s": 0.05, "poll_interval_s": 0.2, "ack_interval_s": 0.2, "status_interval_s": 0.5},
    "retention": {"point_in_time_days": 0, "grace_days": 0, "collect_interval_s": 1},
}


def body_of(key: str) -> bytes:
    return random.Random(key).randbytes(400_000 if key.startswith("large") else 2000)


def ask(site: Site, *words: str) -> Any:
    return json.loads(site.run(*words, "--json").stdout)


def first_epoch(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = ask(site, "keys", "list")["epochs"][0]
    return found


def check(site: Site, keys: list[str]) -> None:
    for key in keys:
        assert site.client().get_object(Bucket="box", Key=key)["Body"].read() == body_of(key)


@pytest.mark.timeout(300)
def test_a_leaked_key_opens_nothing_that_still_lies_anywhere(cloud: TestCloud, tmp_path: Path) -> None:
    bucket = cloud.create_bucket()
    settings = CloudSettings(cloud.endpoint, bucket, cloud.access_key, cloud.secret_key)
    keys = ["large/one", "large/two", "small"]
    with Site(tmp_path / "one", "one", cloud=settings, settings=SETTINGS) as one:
        one.client().create_bucket(Bucket="box")
        joined = {**SETTINGS, "realm": {"key_file": str(one.data / "keys" / "realm.key")}}
        with Site(tmp_path / "two", "two", cloud=settings, settings=joined) as two:
            for key in keys:
                one.client().put_object(Bucket="box", Key=key, Body=body_of(key))
            wait_until(
                lambda: (
                    bool(two.client().list_buckets()["Buckets"])
                    and two.client().list_objects_v2(Bucket="box").get("KeyCount") == len(keys)
                ),
                "the other site has it all",
                BOUND_S,
            )
            check(two, keys)
            old = first_epoch(one)["id"]
            ask(one, "keys", "rotate")
            assert ask(one, "rekey")["retired"] == [old]
            refused = one.run("keys", "drop-epoch", old, check=False)
            assert refused.returncode == 3
            assert "still needed" in refused.stderr

            def is_done() -> bool:
                told = [first_epoch(site) for site in (one, two)]
                return all(
                    epoch.get("sealed_here") == 0 == epoch["objects_in_bucket"] and not epoch["needed_by"]
                    for epoch in told
                    if epoch["retired"]
                ) and all(epoch["retired"] for epoch in told)

            wait_until(is_done, "both sites are done", BOUND_S)
            ask(one, "keys", "drop-epoch", old)
            wait_until(lambda: first_epoch(two)["id"] != old, "the other site gave the key up", BOUND_S)
            for site in (one, two):
                site.stop()
                assert not list((site.data / "keys" / old).glob("*"))
                held = b"".join(path.read_bytes() for path in (site.data / "segments").iterdir())
                assert bytes.fromhex(old) not in held
                site.start()
                check(site, keys)
                assert ask(site, "verify")["sound"]
            assert ask(one, "audit-cloud", "--whole")["sound"]
    client = cloud.client()
    for row in client.list_objects_v2(Bucket=bucket)["Contents"]:
        assert bytes.fromhex(old) not in client.get_object(Bucket=bucket, Key=row["Key"])["Body"].read(), row["Key"]
    restored = Site(tmp_path / "three", "three", cloud=settings, settings={"realm": joined["realm"]})
    assert json.loads(restored.run("restore", "--json").stdout)["bytes"] >= 800_000
