"""A mirror: current objects of all sites, plain, in another bucket of the cloud; what is not its own stays."""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.support.clouds import TestCloud
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

pytestmark = pytest.mark.e2e
LARGE = os.urandom(17 << 20)


def mirrored(cloud: TestCloud, bucket: str) -> dict[str, bytes]:
    client = cloud.client()
    found = {}
    for row in client.list_objects_v2(Bucket=bucket).get("Contents", ()):
        with contextlib.suppress(client.exceptions.NoSuchKey):  # deleted between the listing and now
            found[row["Key"]] = client.get_object(Bucket=bucket, Key=row["Key"])["Body"].read()
    return found


def is_caught_up(site: Site) -> bool:
    reports = site.status()["mirrors"]
    return bool(reports) and reports[0]["behind_batches"] == 0 and not reports[0]["last_error"]


def put(client: Any, key: str, body: bytes, **more: Any) -> None:
    client.put_object(Bucket="reports", Key=key, Body=body, **more)


def told_of(site: Site) -> list[tuple[Any, ...]]:
    """What ``mirror list`` says."""
    rows = json.loads(site.run("mirror", "list", "--json").stdout)
    return [(row["bucket"], row["site_id"], row["left_out"]) for row in rows]


def test_a_mirror_shows_what_all_sites_wrote_merged_and_nothing_else(cloud: TestCloud, tmp_path: Path) -> None:
    settings = CloudSettings(cloud.endpoint, cloud.create_bucket(), cloud.access_key, cloud.secret_key)
    target = cloud.create_bucket("analytics")
    cloud.client().put_object(Bucket=target, Key="north/foreign", Body=b"not ours")
    with Site(tmp_path / "one", "one", cloud=settings) as one:
        here = one.client()
        here.create_bucket(Bucket="reports")
        put(here, "before", b"there before the mirror", ContentType="text/plain", Metadata={"who": "me"})
        put(here, "gone", b"x")
        put(here, "secret", b"kms", ServerSideEncryption="aws:kms")
        assert one.run("mirror", "set", "reports", "--to", target, "--prefix", "north/").returncode == 0
        expected = {"north/foreign": b"not ours", "north/before": b"there before the mirror", "north/gone": b"x"}
        wait_until(lambda: mirrored(cloud, target) == expected, "the mirror begins with what is there")
        head = cloud.client().head_object(Bucket=target, Key="north/before")
        assert (head["ContentType"], head["Metadata"]["who"]) == ("text/plain", "me")

        key_file = one.data / "keys" / "realm.key"
        realm = {"realm": {"key_file": str(key_file)}}
        with Site(tmp_path / "two", "two", cloud=settings, settings=realm) as two:
            wait_until(lambda: "reports" in str(two.client().list_buckets()), "two knows the bucket")
            put(two.client(), "from two", b"merged")
            here.delete_object(Bucket="reports", Key="gone")
            here.delete_object(Bucket="reports", Key="foreign")
            put(here, "large", LARGE)
            put(here, "before", b"edited")
            expected |= {"north/from two": b"merged", "north/large": LARGE, "north/before": b"edited"}
            del expected["north/gone"]
            wait_until(lambda: mirrored(cloud, target) == expected, "changes of both sites are mirrored")
            wait_until(lambda: is_caught_up(one), "the place in the log is kept")

            one.stop()
            put(two.client(), "after", b"two takes over")
            assert two.run("mirror", "set", "reports", "--to", target, "--prefix", "north/").returncode == 0
            expected["north/after"] = b"two takes over"
            wait_until(lambda: mirrored(cloud, target) == expected, "another site goes on with it")
            wait_until(lambda: told_of(two) == [("reports", "this site", 1)], "the account is that of the new site")
            assert two.run("mirror", "off", "reports").returncode == 0
            assert json.loads(two.run("mirror", "list", "--json").stdout) == []


def test_what_cannot_be_mirrored_is_said(cloud: TestCloud, tmp_path: Path) -> None:
    settings = CloudSettings(cloud.endpoint, cloud.create_bucket(), cloud.access_key, cloud.secret_key)
    with Site(tmp_path / "site", "site", cloud=settings) as site:
        client = site.client()
        client.create_bucket(Bucket="here", CreateBucketConfiguration={"LocationConstraint": "local"})
        client.create_bucket(Bucket="box")
        for words, said in (
            (("set", "here", "--to", "elsewhere"), "never leave"),
            (("set", "absent", "--to", "elsewhere"), "no bucket"),
            (("set", "box", "--to", settings.bucket), "realm's own"),
        ):
            done = site.run("mirror", *words, check=False)
            assert done.returncode == 3
            assert said in done.stderr
        assert site.run("mirror", "set", "box", "--to", "no-such-bucket-anywhere").returncode == 0
        client.put_object(Bucket="box", Key="k", Body=b"v")
        wait_until(lambda: "NoSuchBucket" in json.dumps(site.status()["mirrors"]), "status tells why not")
        wait_until(lambda: site.status()["backlog_changes"] == 0, "and replication goes on")
