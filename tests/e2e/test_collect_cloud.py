"""Collection in the bucket as an operator sees it: two sites write, delete most, and the bucket shrinks."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.clouds import TestCloud
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

pytestmark = [pytest.mark.e2e, pytest.mark.slow, pytest.mark.timeout(300)]
OBJECTS = 16
SIZE = 400_000
"""More than a batch takes in itself (256 KiB): it goes in packs."""
KEPT = 4
SETTINGS = {
    "replication": {
        **{"ship_interval_s": 0.05, "poll_interval_s": 0.2, "ack_interval_s": 0.2},
        **{"checkpoint_batches": 5, "checkpoint_interval_s": 1},
    },
    "retention": {"point_in_time_days": 0, "grace_days": 0, "collect_interval_s": 1},
}


def bucket_bytes(cloud: TestCloud, bucket: str) -> int:
    """What the bucket holds, counted by a stranger."""
    pages = cloud.client().get_paginator("list_objects_v2").paginate(Bucket=bucket)
    return sum(row["Size"] for page in pages for row in page.get("Contents", ()))


def body(number: int) -> bytes:
    return random.Random(number).randbytes(SIZE)


def collect(site: Site) -> dict[str, Any]:
    """What ``skerry collect-cloud`` says it did and found."""
    told: dict[str, Any] = json.loads(site.run("collect-cloud", "--json").stdout)
    return told


def test_the_bucket_shrinks_and_nothing_alive_is_lost(cloud: TestCloud, tmp_path: Path) -> None:
    bucket = cloud.create_bucket()
    settings = CloudSettings(cloud.endpoint, bucket, cloud.access_key, cloud.secret_key)
    with Site(tmp_path / "one", "one", cloud=settings, settings=SETTINGS) as one:
        realm = {"realm": {"key_file": str(one.data / "keys" / "realm.key")}}
        with Site(tmp_path / "two", "two", cloud=settings, settings={**SETTINGS, **realm}) as two:
            client, other = one.client(), two.client()
            client.create_bucket(Bucket="box")
            for number in range(OBJECTS):
                client.put_object(Bucket="box", Key=f"k{number:03}", Body=body(number))

            def everywhere(count: int) -> Callable[[], bool]:
                def look() -> bool:
                    if all(found["Name"] != "box" for found in other.list_buckets()["Buckets"]):
                        return False
                    return other.list_objects_v2(Bucket="box")["KeyCount"] == count

                return look

            wait_until(everywhere(OBJECTS), "the other site lists all", 60)
            wait_until(lambda: one.status()["safe_to_lose"], "all is in the cloud", 60)
            before = bucket_bytes(cloud, bucket)
            assert before > OBJECTS * SIZE
            for number in range(KEPT, OBJECTS):
                client.delete_object(Bucket="box", Key=f"k{number:03}")
            other.copy_object(Bucket="box", Key="copied", CopySource={"Bucket": "box", "Key": "k000"})
            wait_until(everywhere(KEPT + 1), "the deletes arrive", 60)

            def shrunk() -> bool:
                return bucket_bytes(cloud, bucket) < before / 2

            wait_until(shrunk, "the bucket shrinks by itself", 120)

            def cut() -> bool:
                client.put_object(Bucket="box", Key="k000", Body=body(0))  # bytes that are there: one more change
                told = one.status()["cloud_collected"]
                return bool(told["batches_deleted"] and told["packs_deleted"])

            wait_until(cut, "the beginning of its log leaves the bucket", 120, every_s=0.3)
            wait_until(lambda: two.status()["safe_to_lose"], "the copy is in the cloud", 60)
            assert collect(one)["objects_to_doom"] == 0

            def held_by_both() -> bool:
                """Whose object holds what was copied hangs on whether they knew each other when it was: then the site
                that copied relied on the other's, else it sent the bytes itself, and the other let go of its own.
                """
                return collect(one)["live_bytes"] + collect(two)["live_bytes"] >= KEPT * SIZE

            wait_until(held_by_both, "all that is alive lies in objects that stay", 60)
            held = one.status()["cloud_objects"]
            assert held["bytes"] == held["live_bytes"] + held["dead_bytes"] + held["doomed_bytes"]
            for number in range(KEPT):
                assert other.get_object(Bucket="box", Key=f"k{number:03}")["Body"].read() == body(number)
            assert client.get_object(Bucket="box", Key="copied")["Body"].read() == body(0)
        restored = Site(tmp_path / "three", "three", cloud=settings, settings=realm)
        restored.run("restore", "--json")
        with restored as three:
            fresh = three.client()
            for key, number in [*((f"k{number:03}", number) for number in range(KEPT)), ("copied", 0)]:
                assert fresh.get_object(Bucket="box", Key=key)["Body"].read() == body(number)


def test_a_dry_run_changes_nothing(cloud: TestCloud, tmp_path: Path) -> None:
    bucket = cloud.create_bucket()
    settings = CloudSettings(cloud.endpoint, bucket, cloud.access_key, cloud.secret_key)
    off = {**SETTINGS, "retention": {"point_in_time_days": 0, "grace_days": 0, "collect_cloud": False}}
    with Site(tmp_path / "one", "one", cloud=settings, settings=off) as one:
        client = one.client()
        client.create_bucket(Bucket="box")
        client.put_object(Bucket="box", Key="k", Body=body(1))
        wait_until(lambda: one.status()["safe_to_lose"], "all is in the cloud", 60)
        client.delete_object(Bucket="box", Key="k")
        wait_until(lambda: one.status()["safe_to_lose"], "the delete is in the cloud", 60)
        told = json.loads(one.run("collect-cloud", "--dry-run", "--json").stdout)
        assert told["objects_to_doom"] == 1
        assert told["dead_bytes"] > SIZE
        assert (told["doomed"], told["deleted"]) == (0, 0)
        assert bucket_bytes(cloud, bucket) > SIZE
