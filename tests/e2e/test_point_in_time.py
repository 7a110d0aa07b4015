"""``skerry restore --at``: a bucket as it was, on its own site and on another that took the changes in later."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.support.clouds import TestCloud
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

pytestmark = pytest.mark.e2e
LARGE = 300_000


def now() -> str:
    """The time, with everything before it at least a millisecond older, and everything after younger."""
    time.sleep(0.005)  # not synchronisation: the clock's resolution
    text = datetime.now(UTC).isoformat()
    time.sleep(0.005)
    return text


def objects(client: Any, bucket: str) -> dict[str, bytes]:
    rows = client.list_objects_v2(Bucket=bucket).get("Contents", ())
    return {row["Key"]: client.get_object(Bucket=bucket, Key=row["Key"])["Body"].read() for row in rows}


def restore_at(site: Site, at: str, bucket: str, *more: str, check: bool = True) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(
        site.run("restore", "--at", at, "--bucket", bucket, *more, "--json", check=check).stdout
    )
    return found


def live_through(client: Any, bucket: str, *, versioned: bool) -> list[tuple[str, dict[str, bytes]]]:
    """Some history: (time, what the bucket showed then). Another bucket needs the same bytes: what nothing needs is
    collected, on a site without a cloud for good, as soon as it comes to it.
    """
    client.create_bucket(Bucket=bucket)
    client.create_bucket(Bucket=f"{bucket}-bytes")
    if versioned:
        client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    moments = [(now(), objects(client, bucket))]
    steps = [
        {"a": b"first", "b": b"b" * LARGE, "dir/c": b""},
        {"a": b"second", "b": None},
        {"a": None, "d": b"d" * LARGE, "b": b"again"},
        {"a": b"third", "d": b"d" * LARGE + b"more"},
    ]
    for step in steps:
        for key, body in step.items():
            if body is None:
                client.delete_object(Bucket=bucket, Key=key)
            else:
                client.put_object(Bucket=f"{bucket}-bytes", Key=sha256(body).hexdigest(), Body=body)
                client.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"made": "then"})
        moments.append((now(), objects(client, bucket)))
    assert len({tuple(sorted(shown)) for _, shown in moments}) > 2
    return moments


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    with Site(tmp_path_factory.mktemp("alone") / "site", "site") as site:
        yield site


@pytest.mark.parametrize("versioned", [False, True])
def test_a_bucket_is_listed_and_read_as_it_was(alone: Site, versioned: bool) -> None:
    site, client, box = alone, alone.client(), f"box-{versioned}".lower()
    moments = live_through(client, box, versioned=versioned)
    for number, (at, shown) in list(enumerate(moments))[:-1]:
        restored = restore_at(site, at, box, "--as", f"{box}-then-{number}")
        assert restored["missing"] == []
        assert restored["objects"] == len(shown)
        assert objects(client, f"{box}-then-{number}") == shown
    assert client.head_object(Bucket=f"{box}-then-1", Key="a")["Metadata"] == {"made": "then"}
    assert objects(client, box) == moments[-1][1]
    only = restore_at(site, moments[1][0], box, "--prefix", "dir/")
    assert only["bucket"].startswith(f"{box}-at-")
    assert (only["objects"], objects(client, only["bucket"])) == (1, {"dir/c": b""})


def test_a_read_only_one_is_changed_by_nobody(alone: Site) -> None:
    client = alone.client()
    client.create_bucket(Bucket="kept")
    client.put_object(Bucket="kept", Key="k", Body=b"then")
    assert restore_at(alone, now(), "kept", "--as", "kept-then", "--read-only")["objects"] == 1
    for change in (
        lambda: client.put_object(Bucket="kept-then", Key="k", Body=b"now"),
        lambda: client.delete_object(Bucket="kept-then", Key="k"),
        lambda: client.create_multipart_upload(Bucket="kept-then", Key="new"),
        lambda: client.copy_object(Bucket="kept-then", Key="k2", CopySource="kept/k"),
    ):
        with pytest.raises(ClientError, match="AccessDenied"):
            change()
    assert objects(client, "kept-then") == {"k": b"then"}
    client.delete_bucket_policy(Bucket="kept-then")
    client.delete_object(Bucket="kept-then", Key="k")
    client.delete_bucket(Bucket="kept-then")


def test_what_cannot_be_is_said(alone: Site) -> None:
    site = alone
    site.client().create_bucket(Bucket="box")
    for words, code in (
        (("--at", "yesterday", "--bucket", "box"), 2),
        (("--at", "2026-01-01"), 2),
        (("--at", "2026-01-01", "--bucket", "none"), 3),
        (("--at", "2026-01-01", "--bucket", "box", "--as", "box"), 3),
    ):
        done = site.run("restore", *words, check=False)
        assert (done.returncode, bool(done.stderr)) == (code, True), words


def test_another_site_gives_the_same_answer_and_fetches_what_it_never_had(cloud: TestCloud, tmp_path: Path) -> None:
    settings = CloudSettings(cloud.endpoint, cloud.create_bucket(), cloud.access_key, cloud.secret_key)
    with Site(tmp_path / "one", "one", cloud=settings) as one:
        client = one.client()
        client.create_bucket(Bucket="box")
        client.put_object(Bucket="box", Key="k", Body=b"v1" * LARGE)
        wait_until(lambda: one.status()["safe_to_lose"], "the first is in the cloud", 60)
        at, shown = now(), objects(client, "box")
        client.put_object(Bucket="box", Key="k", Body=b"other" * LARGE)
        client.put_object(Bucket="box", Key="late", Body=b"late")
        wait_until(lambda: one.status()["safe_to_lose"], "so is the second", 60)
        realm = {"realm": {"key_file": str(one.data / "keys" / "realm.key")}}
        with Site(tmp_path / "two", "two", cloud=settings, settings=realm) as two:
            two.run("replicate", "--once")
            restored = restore_at(two, at, "box", "--as", "then")
            assert (restored["objects"], restored["missing"]) == (1, [])
            two.run("replicate", "--once")
            one.run("replicate", "--once")
            assert objects(client, "then") == shown
