"""``skerry checkpoint`` and a site that begins with one, as an operator and an S3 client see it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.clouds import TestCloud
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]
KEYS = 30


def test_a_new_site_begins_with_a_checkpoint(cloud: TestCloud, tmp_path: Path) -> None:
    settings = CloudSettings(cloud.endpoint, cloud.create_bucket(), cloud.access_key, cloud.secret_key)
    often = {"replication": {"checkpoint_changes": 20, "ship_interval_s": 0.05, "poll_interval_s": 0.2}}
    with Site(tmp_path / "one", "one", cloud=settings, settings=often) as one:
        client = one.client()
        client.create_bucket(Bucket="box")
        for number in range(KEYS):
            client.put_object(Bucket="box", Key=f"k{number:03}", Body=b"%d" % number * 2000)

        def listed() -> list[dict[str, object]]:
            found: list[dict[str, object]] = json.loads(one.run("checkpoint", "--list", "--json").stdout)
            return found

        wait_until(lambda: bool(listed()), "the server writes one by itself", 60)
        client.delete_object(Bucket="box", Key="k000")
        (written,) = json.loads(one.run("checkpoint", "--json").stdout)
        assert written["problem"] == ""
        assert int(written["changes"]) > KEYS
        client.put_object(Bucket="box", Key="later", Body=b"later")
        realm = {"realm": {"key_file": str(one.data / "keys" / "realm.key")}}
        restored = Site(tmp_path / "two", "two", cloud=settings, settings=realm)
        wait_until(lambda: one.status()["safe_to_lose"], "all is in the cloud", 60)
        told = json.loads(restored.run("restore", "--json").stdout)
        assert told["checkpoint_ms"] == written["made_ms"]
        assert told["changes"] <= 2
        with restored as two:
            rows = two.client().list_objects_v2(Bucket="box")["Contents"]
            assert [row["Key"] for row in rows] == [*(f"k{number:03}" for number in range(1, KEYS)), "later"]
            assert two.client().get_object(Bucket="box", Key="k007")["Body"].read() == b"7" * 2000
            early = two.run("restore", "--at", "2026-01-01", "--bucket", "box", check=False)
            assert early.returncode == 3
            assert "checkpoint" in early.stderr
            two.run("rebuild-index", check=False)
        with Site(tmp_path / "three", "three", cloud=settings, settings=realm) as three:
            other = three.client()

            def has_all() -> bool:
                if all(bucket["Name"] != "box" for bucket in other.list_buckets()["Buckets"]):
                    return False
                return len(other.list_objects_v2(Bucket="box").get("Contents", ())) == KEYS

            wait_until(has_all, "a server that was just started takes it all in", 60)
            other.put_object(Bucket="box", Key="of-three", Body=b"3")
            three.run("replicate", "--once")
            one.run("replicate", "--once")
            assert client.get_object(Bucket="box", Key="of-three")["Body"].read() == b"3"


def test_a_site_that_takes_in_some_buckets(cloud: TestCloud, tmp_path: Path) -> None:
    """Others are not listed there, and asking for one says that it is elsewhere, not that it is absent."""
    settings = CloudSettings(cloud.endpoint, cloud.create_bucket(), cloud.access_key, cloud.secret_key)
    with Site(tmp_path / "one", "one", cloud=settings) as one:
        client = one.client()
        for bucket in ("photos", "tax"):
            client.create_bucket(Bucket=bucket)
            client.put_object(Bucket=bucket, Key="k", Body=bucket.encode())
        one.run("checkpoint")
        some: dict[str, dict[str, Any]] = {
            "realm": {"key_file": str(one.data / "keys" / "realm.key")},
            "replication": {"subscribe": ["photos", "logs-*"]},
        }
        shop = Site(tmp_path / "shop", "shop", cloud=settings, settings=some)
        with shop:
            shop.run("replicate", "--once")
            there = shop.client()
            assert [bucket["Name"] for bucket in there.list_buckets()["Buckets"]] == ["photos"]
            assert there.get_object(Bucket="photos", Key="k")["Body"].read() == b"photos"
            for ask in (
                lambda: there.get_object(Bucket="tax", Key="k"),
                lambda: there.list_objects_v2(Bucket="tax"),
                lambda: there.put_object(Bucket="tax", Key="mine", Body=b""),
                lambda: there.create_bucket(Bucket="tax"),
                lambda: there.create_bucket(Bucket="new"),
            ):
                with pytest.raises(ClientError) as refused:
                    ask()
                assert refused.value.response["Error"]["Code"] == "InvalidBucketState"
            listed = json.loads(shop.run("checkpoint", "--json").stdout)
            assert [found["holds"] for found in listed if found["holds"]] == [["photos", "logs-*"]]
        some["replication"]["subscribe"] = []
        shop.write_config()
        with shop:
            shop.run("replicate", "--once")
            there = shop.client()
            assert [bucket["Name"] for bucket in there.list_buckets()["Buckets"]] == ["photos", "tax"]
            assert there.get_object(Bucket="tax", Key="k")["Body"].read() == b"tax"
