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

pytestmark = [pytest.mark.e2e, pytest.mark.slow]
BOUND_S = 180.0
SETTINGS = {
    "replication": {"ship_interval_s": 0.05, "poll_interval_s": 0.2, "ack_interval_s": 0.2, "status_interval_s": 0.5},
    "retention": {"point_in_time_days": 0, "grace_days": 0, "collect_interval_s": 1},
}


def body_of(key: str) -> bytes:
    return random.Random(key).randbytes(400_000 if key.startswith("large") else 2000)


def ask(site: Site, *words: str) -> Any:
    return json.loads(site.run(*words, "--json").stdout)


def left(site: Site, epoch: str) -> Any:
    """What is left under an epoch, as the site's daemon last saw it: a look into its report costs the site nothing."""
    found = json.loads((site.data / "run" / "replication.json").read_bytes())
    return found["epochs"].get(epoch)


def first_epoch(site: Site) -> dict[str, Any]:
    found: dict[str, Any] = ask(site, "keys", "list")["epochs"][0]
    return found


def check(site: Site, keys: list[str]) -> None:
    for key in keys:
        assert site.client().get_object(Bucket="box", Key=key)["Body"].read() == body_of(key)


@pytest.mark.timeout(600)
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

            nothing = {"here": 0, "bucket": 0}
            wait_until(lambda: left(one, old) == left(two, old) == nothing, "both sites are done", BOUND_S)

            def may_go() -> bool:  # once each has heard of the other
                return one.run("keys", "drop-epoch", old, check=False).returncode == 0

            wait_until(may_go, "nobody needs the epoch", BOUND_S)
            wait_until(lambda: not list((two.data / "keys" / old).glob("*")), "the other gave the key up", BOUND_S)
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
