"""The island's story, told against real processes: two sites, a cloud and a bad line between. Test and demo share it.

Each stage acts and then asserts; ``reach`` runs the stages up to one, each once, so that any of them can be asked for
alone. ``say`` narrates with figures.
"""

from __future__ import annotations

import json
import random
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import boto3

from tests.e2e.contents import (
    Entry,
    Name,
    describe_difference,
    digest,
    digest_objects,
    list_site,
    read_object,
    wait_converged,
)
from tests.support.clouds import TestCloud
from tests.support.fault_proxy import BLACK_HOLE, PASS, REFUSE, Fault, FaultProxy, slow
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

SLOW_BYTES_PER_S = 20_000
FAULTS: dict[str, Fault] = {"refused": REFUSE, "black-holed": BLACK_HOLE, "slow": slow(SLOW_BYTES_PER_S)}
SECRET_METADATA = "the-treasure-is-under-the-lighthouse"
USER = ("SKIPPER0000000001", "the-skippers-secret-000000000001")
KEYS_OF_USER = {"aws_access_key_id": USER[0], "aws_secret_access_key": USER[1]}
TAGS = [{"Key": "berth", "Value": "the-northern-quay"}]
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "harbour-master-reads",
            "Effect": "Allow",
            "Principal": "*",
            "Action": "s3:GetObject",
            "Resource": "arn:aws:s3:::tree-of-packages/public/*",
            "Condition": {"IpAddress": {"aws:SourceIp": "10.11.12.0/24"}},
        }
    ],
}
SAMPLE = 40
"""Objects read back after an outage besides those it touched; after the last stages all are."""
DELTA_LIMIT_BYTES = 100_000
BUCKET_CHANGES = 3
"""A new bucket comes with its ownership and its public access block."""
TREE, BIG = "tree-of-packages", "harbour-archive"


@dataclass(frozen=True)
class Scale:
    """How much of everything: files of the tree, size of the big files, objects in each round of an outage."""

    files_max: int
    big_bytes: int
    big_count: int
    round_objects: int
    timeout_s: float


CI = Scale(files_max=200, big_bytes=64 << 20, big_count=1, round_objects=24, timeout_s=90)
FULL = Scale(files_max=6000, big_bytes=200 << 20, big_count=3, round_objects=60, timeout_s=180)


@dataclass
class Story:
    """The world of the story. ``current`` is what must be readable: name → SHA-256; ``collided`` its both values."""

    cloud: TestCloud
    directory: Path
    scale: Scale
    say: Callable[[str], None]
    proxy: FaultProxy
    random: random.Random
    environment: dict[str, str] = field(default_factory=dict)
    bucket: str = ""
    current: dict[Name, str] = field(default_factory=dict)
    collided: dict[Name, set[str]] = field(default_factory=dict)
    deltas: dict[str, int] = field(default_factory=dict)
    done: list[str] = field(default_factory=list)
    a: Site = field(init=False)
    b: Site = field(init=False)
    big: bytes = b""

    STAGES = ("begin", "load", "read_far", "refused", "black-holed", "slow", "patch", "scan", "restore")

    def reach(self, stage: str) -> Story:
        """Run what is missing up to ``stage``. A stage that failed fails again at once for all behind it."""
        for name in self.STAGES[: self.STAGES.index(stage) + 1]:
            if name in self.done:
                continue
            assert f"{name} began" not in self.done, f"the stage {name!r} failed before"
            self.done.append(f"{name} began")
            if name in FAULTS:
                self.live_through(name, FAULTS[name])
            else:
                getattr(self, name)()
            self.done.append(name)
        return self

    # The stages.

    def begin(self) -> None:
        """Site A makes the realm; site B joins with A's key."""
        self.bucket = self.cloud.create_bucket("realm")
        settings = CloudSettings(self.proxy.endpoint, self.bucket, self.cloud.access_key, self.cloud.secret_key)
        self.a = Site(self.directory / "a", "site-a", settings, workers=2, environment=self.environment).start()
        self.key = self.directory / "realm.key"
        shutil.copyfile(self.a.data / "keys" / "realm.key", self.key)
        self.key.chmod(0o600)
        realm = {"realm": {"key_file": str(self.key)}}
        self.b = Site(self.directory / "b", "site-b", settings, settings=realm, environment=self.environment).start()
        self.say(f"a {self.cloud.kind} cloud, site A with two workers, site B with one; the line goes through a proxy")

    def load(self) -> None:
        """A tree of packages and big files into A with aws-cli, default settings."""
        tree = self.directory / "tree"
        count, size = copy_packages(tree, self.scale.files_max)
        client = self.a.client()
        client.create_bucket(Bucket=TREE)
        client.create_bucket(Bucket=BIG)
        began = time.monotonic()
        self.a.aws("s3", "sync", "--no-progress", "--quiet", str(tree), f"s3://{TREE}/lib/python")
        took = time.monotonic() - began
        self.say(
            f"aws s3 sync of {count:,} files, {size / 1e6:.0f} MB, into A: {took:.1f} s ({count / took:.0f} files/s)"
        )
        for path in tree.rglob("*"):
            if path.is_file():
                self.current[TREE, f"lib/python/{path.relative_to(tree)}"] = digest(path.read_bytes())
        self.big = self.random.randbytes(self.scale.big_bytes)
        bigs = self.directory / "big"
        bigs.mkdir()
        for number in range(self.scale.big_count):
            data = self.big if number == 0 else self.random.randbytes(self.scale.big_bytes)
            (bigs / f"volume-{number}.tar").write_bytes(data)
            self.current[BIG, f"volume-{number}.tar"] = digest(data)
        began = time.monotonic()
        self.a.aws("s3", "sync", "--no-progress", "--quiet", str(bigs), f"s3://{BIG}")
        rate = self.scale.big_bytes * self.scale.big_count / 1e6 / (time.monotonic() - began)
        self.say(f"{self.scale.big_count} files of {self.scale.big_bytes >> 20} MiB: {rate:.0f} MB/s")
        client.put_object(Bucket=TREE, Key="with-metadata", Body=b"x" * 100, Metadata={"place": SECRET_METADATA})
        self.current[TREE, "with-metadata"] = digest(b"x" * 100)
        client.put_object_tagging(Bucket=TREE, Key="with-metadata", Tagging={"TagSet": TAGS})
        client.put_bucket_policy(Bucket=TREE, Policy=json.dumps(POLICY))
        self.a.run("user", "add", "skipper", "--access-key", USER[0], "--secret-key", USER[1])

    def read_far(self) -> None:
        """Everything is replicated; B lists and reads it all, byte-identical."""
        began = time.monotonic()
        wait_converged(self.a, self.b, self.scale.timeout_s)
        self.say(f"replicated, and listed alike by B, {time.monotonic() - began:.1f} s later")
        began = time.monotonic()
        self.check_contents(self.b)
        self.say(f"B read all {len(self.current):,} objects byte-identical in {time.monotonic() - began:.1f} s")
        head = self.b.client().head_object(Bucket=TREE, Key="with-metadata")
        assert head["Metadata"] == {"place": SECRET_METADATA}

    def live_through(self, name: str, fault: Fault) -> None:
        """The line goes bad, both sites go on, the line comes back, and nothing is lost."""
        self.proxy.set(fault)
        began, before = time.monotonic(), dict(self.current)
        written = [self.write_apart(site, name) for site in (self.a, self.b)]
        collisions = [self.collide(name, number) for number in range(self.scale.round_objects // 4)]
        took = time.monotonic() - began
        for site, changes in zip((self.a, self.b), written, strict=True):
            # A slow line has carried some of it by now. Over any other all that was written is still to be sent.
            self.check_backlog(site, 1 if name == "slow" else changes + len(collisions), wait_tried=name == "refused")
        self.say(f"link {name}: both sites went on for {took:.1f} s, {len(collisions)} keys written on both")
        self.proxy.set(PASS)
        began = time.monotonic()
        wait_converged(self.a, self.b, self.scale.timeout_s)
        self.settle(collisions)
        changed = {name for name, sha in self.current.items() if before.get(name) != sha}
        sample = changed | set(self.random.sample(sorted(self.current), min(SAMPLE, len(self.current))))
        for site in (self.a, self.b):
            self.check_contents(site, sample)
            self.check_collisions(site)
        took = time.monotonic() - began
        self.say(f"link back: identical listings and bytes, both values of every collision, after {took:.1f} s")

    def patch(self) -> None:
        """A KiB changed in the middle, a KiB inserted at the front: a few KB are shipped, however it is uploaded."""
        client, key = self.a.client(), "volume-0.tar"
        middle = len(self.big) // 2

        def fresh() -> bytes:
            return self.random.randbytes(1024)

        changes: dict[str, Callable[[bytes], bytes]] = {
            "1 KiB changed in the middle": lambda old: (
                old[:middle] + self.random.randbytes(1024) + old[middle + 1024 :]
            ),
            "1 KiB inserted at the front": lambda old: self.random.randbytes(1024) + old,
        }
        path = self.directory / "big" / key
        for how in ("one PUT", "aws-cli multipart"):
            for what, change in changes.items():
                self.big = change(self.big)
                before = self.cloud_bytes()
                if how == "one PUT":
                    client.put_object(Bucket=BIG, Key=key, Body=self.big)
                else:
                    path.write_bytes(self.big)
                    self.a.aws("s3", "cp", "--no-progress", "--quiet", str(path), f"s3://{BIG}/{key}")
                self.current[BIG, key] = digest(self.big)
                wait_converged(self.a, self.b, self.scale.timeout_s)
                self.deltas[f"{what}, {how}"] = shipped = self.cloud_bytes() - before
                self.say(f"{what} of {len(self.big) >> 20} MiB, {how}: {shipped / 1000:.1f} KB shipped")
        self.check_contents(self.b, {(BIG, key)})

    def scan(self) -> None:
        """``strings`` over the whole bucket: no key, bucket name, metadata or content."""
        client = self.cloud.client()
        names, size = [], 0
        printable: list[bytes] = []
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket):
            for row in page.get("Contents", ()):
                names.append(row["Key"])
                data = read_object(client, (self.bucket, row["Key"]))
                size += len(data)
                printable += re.findall(rb"[\t -~]{6,}", data)
                head = client.head_object(Bucket=self.bucket, Key=row["Key"])
                printable += [f"{k}={v}".encode() for k, v in head["Metadata"].items()]
        text = b"\n".join([*printable, *(name.encode() for name in names)])
        needles = self.needles()
        found = [needle for needle in needles if needle in text]
        self.say(f"{len(names):,} cloud objects, {size / 1e6:.0f} MB, searched for {len(needles):,} names and contents")
        assert not found, found[:10]
        assert size > self.scale.big_bytes * self.scale.big_count * 0.9, "the cloud cannot hold what was written"

    def restore(self) -> None:
        """A's directory is gone; the bucket and the key alone bring everything back."""
        wait_converged(self.a, self.b, self.scale.timeout_s)
        listing = list_site(self.a.client())
        versions = list_versions(self.a)
        self.a.stop()
        shutil.rmtree(self.a.data)
        self.a.settings["realm"] = {"key_file": str(self.key)}
        self.a.write_config()
        self.a.run_killed("restore", after_s=self.random.uniform(0.8, 2.5))
        began = time.monotonic()
        self.a.run("restore", timeout_s=self.scale.timeout_s)
        self.a.start()
        took = time.monotonic() - began
        assert not describe_difference(listing, list_site(self.a.client()))
        self.proxy.set(REFUSE)  # what was restored lies here
        assert list_versions(self.a) == versions
        self.check_contents(self.a)
        self.check_collisions(self.a)
        self.check_beside(self.a)
        self.proxy.set(PASS)
        self.say(f"A's directory deleted, a restore killed, another done in {took:.1f} s: everything is back")

    # What they are made of.

    def check_backlog(self, site: Site, least: int, *, wait_tried: bool) -> None:
        """So much waits to be sent, also after it was tried in vain (``wait_tried``: where that is told soon)."""
        told = site.status()

        def has_tried() -> bool:
            nonlocal told
            told = site.status()
            return told["backlog_changes"] < least or "PUT" in told["replication"]["last_error"]

        if wait_tried:
            wait_until(has_tried, f"{site.name} tries to ship", self.scale.timeout_s)
        assert told["backlog_changes"] >= least, told
        assert told["safe_to_lose"] is False, told

    def write_apart(self, site: Site, round_name: str) -> int:
        """New objects, overwrites, deletes and a new bucket on one site, of keys that the other leaves alone; how many
        changes that makes.
        """
        client, mine = site.client(), f"{site.name}-{round_name}"
        new = f"new-{mine}"
        client.create_bucket(Bucket=new)
        for number in range(self.scale.round_objects):
            self.put(client, (TREE, f"islands/{mine}/{number}"), 3000 * number + 10)
            self.put(client, (new, f"{number}"), 500)
        # Each site overwrites and deletes every other of the tree's files, so that the two never touch the same.
        parity = 0 if site is self.a else 1
        tree = sorted(name for name in self.current if name[0] == TREE and name[1].startswith("lib/"))[parity::2]
        touched = self.random.sample(tree, min(self.scale.round_objects, len(tree)))
        for name in touched:
            if self.random.random() < 0.5:
                self.put(client, name, 2000)
            else:
                client.delete_object(Bucket=name[0], Key=name[1])
                del self.current[name]
        return BUCKET_CHANGES + 2 * self.scale.round_objects + len(touched)

    def put(self, client: Any, name: Name, size: int) -> str:
        """Put random bytes; their digest, which is also what the name must be from now on."""
        data = self.random.randbytes(size)
        client.put_object(Bucket=name[0], Key=name[1], Body=data)
        self.current[name] = digest(data)
        return self.current[name]

    def collide(self, round_name: str, number: int) -> Name:
        """The same key on both sites with different bytes: a new key, or (even numbers) one that both had."""
        name = (TREE, f"both/{round_name}/{number}") if number % 2 else (TREE, f"both/again/{number}")
        self.collided[name] = {self.put(self.b.client(), name, 700), self.put(self.a.client(), name, 700)}
        return name

    def settle(self, collisions: list[Name]) -> None:
        """Learn which value won (both sites were found to list the same); it must be one of the two."""
        for name in collisions:
            self.current[name] = digest(read_object(self.a.client(), name))
            assert self.current[name] in self.collided[name], f"{name}: neither of the two values"

    def check_contents(self, site: Site, names: set[Name] | None = None) -> None:
        """Every object that must be there is, and no other; all have their bytes, or those in ``names``."""
        listing = {name: entry for name, entry in list_site(site.client()).items() if name[1]}
        assert not describe_difference(dict.fromkeys(listing), dict.fromkeys(self.current)), site.name
        wanted = {name: sha for name, sha in self.current.items() if names is None or name in names}
        found = digest_objects(site.client(), wanted)
        assert not describe_difference(found, wanted), f"{site.name}: {describe_difference(found, wanted)}"

    def check_collisions(self, site: Site) -> None:
        """Each collision is reported, and both values can be read by version id."""
        reported = site.run("conflicts", "--json").stdout
        client = site.client()
        for name, values in self.collided.items():
            assert name[1] in reported, f"{name} is not in: {reported[:2000]}"
            rows = client.list_object_versions(Bucket=name[0], Prefix=name[1])["Versions"]
            losers = [row for row in rows if row["Key"] == name[1] and row["VersionId"].startswith("conflict-")]
            assert losers, f"{site.name}: {name} has no conflict version"
            ids = [row["VersionId"] for row in rows if row["Key"] == name[1]]
            found = {digest(read_object(client, name, VersionId=version)) for version in ids}
            assert values <= found, f"{site.name}: {name}: a value is lost"

    def check_beside(self, site: Site) -> None:
        """What comes with objects: metadata, tags, a bucket's policy, a user who may come in and own buckets."""
        client = site.client()
        assert client.head_object(Bucket=TREE, Key="with-metadata")["Metadata"] == {"place": SECRET_METADATA}
        assert client.get_object_tagging(Bucket=TREE, Key="with-metadata")["TagSet"] == TAGS
        assert json.loads(client.get_bucket_policy(Bucket=TREE)["Policy"]) == POLICY
        user = boto3.client("s3", endpoint_url=site.endpoint, region_name="us-east-1", **KEYS_OF_USER)
        user.create_bucket(Bucket="the-skippers-own")
        assert [bucket["Name"] for bucket in user.list_buckets()["Buckets"]] == ["the-skippers-own"]
        user.close()

    def cloud_bytes(self) -> int:
        """What the realm's bucket holds, in bytes."""
        pages = self.cloud.client().get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return sum(row["Size"] for page in pages for row in page.get("Contents", ()))

    def needles(self) -> list[bytes]:
        """Names, metadata and lines of content that the cloud must not see."""
        keys = [key.encode() for _, key in self.current if len(key) >= 10]
        names = {part.encode() for _, key in self.current for part in key.split("/") if len(part) >= 10}
        buckets = {bucket.encode() for bucket, _ in self.current}
        lines: list[bytes] = []
        for path in sorted((self.directory / "tree").rglob("*.py"))[:100]:
            lines += [line.strip() for line in path.read_bytes().splitlines() if len(line.strip()) >= 12][:5]
        users = [self.a.access_key.encode(), self.a.secret_key.encode(), *(word.encode() for word in USER)]
        beside = [SECRET_METADATA, TAGS[0]["Value"], "harbour-master-reads"]
        return [*keys, *names, *buckets, *lines, *users, *(word.encode() for word in beside)]

    def close(self) -> None:
        """End both sites, however they are."""
        for name in ("a", "b"):
            if hasattr(self, name):
                getattr(self, name).kill()


def list_versions(site: Site) -> dict[Name, list[tuple[str, int, str]]]:
    """Every version of every key: ids, sizes and ETags, newest first."""
    client = site.client()
    found: dict[Name, list[tuple[str, int, str]]] = {}
    for bucket in client.list_buckets()["Buckets"]:
        for page in client.get_paginator("list_object_versions").paginate(Bucket=bucket["Name"]):
            for row in page.get("Versions", ()):
                entry = (row["VersionId"], row["Size"], row["ETag"])
                found.setdefault((bucket["Name"], row["Key"]), []).append(entry)
    return found


def copy_packages(target: Path, files_max: int) -> tuple[int, int]:
    """Copy up to ``files_max`` files of this environment's own packages: their count and bytes."""
    source = Path(boto3.__file__).parents[1]
    count = size = 0
    for path in sorted(source.rglob("*")):
        if count == files_max:
            break
        if (
            path.is_file()
            and not path.is_symlink()
            and "__pycache__" not in path.parts
            and path.stat().st_size < 5 << 20
        ):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, copy)
            count, size = count + 1, size + path.stat().st_size
    return count, size


__all__ = ["CI", "FAULTS", "FULL", "Entry", "Scale", "Story"]
