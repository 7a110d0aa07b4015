"""Two weeks of three sites in one run: days of writes on each, links that are cut, slow or full of holes, power cuts.

``python -m tests.e2e.fortnight [--days N] [--seed N]``; a few days of it are a test. A day is a round of deeds, not 24
hours. Every write and delete names what it replaces (If-Match), so what must be left in the end is exact: each
acknowledged value that no acknowledged deed replaced, readable as the current one or as a version, on every site; and
nothing else.
"""

from __future__ import annotations

import argparse
import random
import secrets
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from botocore.exceptions import ClientError

from tests.support.clouds import TestCloud, start_cloud
from tests.support.fault_proxy import BLACK_HOLE, CAPTIVE_PORTAL, PASS, REFUSE, FaultProxy, latency, lossy, reset, slow
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

BUCKET = "island"
KEYS = [f"{place}/{number}" for place in ("orders", "stock", "ä ö/ü") for number in range(4)]
WEATHER = (PASS, REFUSE, REFUSE, BLACK_HOLE, CAPTIVE_PORTAL, slow(50_000), lossy(0.3), reset(200), latency(0.2))
ELSEWHERE = "elsewhere"
Say = Callable[..., None]


class Fortnight:
    """Three sites of one realm, each behind a line of its own, and what they acknowledged."""

    def __init__(self, cloud: TestCloud, directory: Path, seed: int, say: Say = print) -> None:
        self.rng, self.say = random.Random(seed), say
        self.standing: dict[str, str] = {}
        """Value → key, for every acknowledged value that no acknowledged deed replaced."""
        self.deeds: Counter[str] = Counter()
        self._stack = ExitStack()
        self._numbers = 0
        bucket = cloud.create_bucket()
        self.lines = [self._stack.enter_context(FaultProxy(cloud.port)) for _ in range(3)]
        self.sites: list[Site] = []
        for number, line in enumerate(self.lines):
            settings: dict[str, dict[str, Any]] = {"link": {"probe_interval_s": 0.2}, "cloud": {"read_timeout_s": 3.0}}
            if self.sites:
                settings["realm"] = {"key_file": str(self.sites[0].data / "keys" / "realm.key")}
            reach = CloudSettings(line.endpoint, bucket, cloud.access_key, cloud.secret_key)
            site = Site(directory / f"site-{number}", f"site-{number}", cloud=reach, settings=settings).start()
            self._stack.callback(site.kill)
            self.sites.append(site)
        self.sites[0].client().create_bucket(Bucket=BUCKET)
        for site in self.sites:
            wait_until(lambda site=site: has_bucket(site), f"{site.name} knows the bucket")  # type: ignore[misc]

    def __enter__(self) -> Fortnight:
        return self

    def __exit__(self, *exc: object) -> None:
        self._stack.close()

    def live(self, days: int) -> None:
        """Days of writes under changing weather; then the links are mended and everything must come together."""
        for day in range(days):
            for line, site in zip(self.lines, self.sites, strict=True):
                fault = self.rng.choice(WEATHER)
                line.set(fault)
                self.deeds[f"line: {fault.kind.value}"] += 1
                if self.rng.random() < 0.15:
                    site.kill()
                    site.start()
                    self.deeds["power cut"] += 1
            for _ in range(self.rng.randint(6, 15)):
                self._act(self.rng.choice(self.sites))
            self.say(f"day {day + 1}: {sum(self.deeds.values())} deeds, {len(self.standing)} values stand")
        for line in self.lines:
            line.set(PASS)

    def check(self) -> None:
        """All sites show the same: every value that must stand, and no other."""
        for site in self.sites:
            wait_until(lambda site=site: shipped(site), f"{site.name} has shipped", 120)  # type: ignore[misc]
        expected = sorted(self.standing.items())
        for site in self.sites:
            wait_until(lambda site=site: shown(site) == expected, f"{site.name} has it all", 120)  # type: ignore[misc]
        currents = [current(site) for site in self.sites]
        assert currents[0] == currents[1] == currents[2], "all agree on what is current"
        for site in self.sites:
            assert site.run("verify").returncode == 0
            assert site.status()["safe_to_lose"] is True

    def _act(self, site: Site) -> None:
        client, key = site.client(), self.rng.choice(KEYS)
        seen, etag = read(client, key)
        if seen == ELSEWHERE:
            self.deeds["bytes elsewhere, and no link"] += 1
            return
        self._numbers += 1
        value = f"{site.name} value {self._numbers} " + "x" * self.rng.choice([0, 100, 40_000, 400_000])
        try:
            if seen is not None and self.rng.random() < 0.2:
                client.delete_object(Bucket=BUCKET, Key=key, IfMatch=etag)
                self.deeds["delete"] += 1
            else:
                condition = {"IfMatch": etag} if seen is not None else {"IfNoneMatch": "*"}
                client.put_object(Bucket=BUCKET, Key=key, Body=value.encode(), **condition)
                self.standing[value[:40]] = key
                self.deeds["put"] += 1
        except ClientError as error:
            if error.response["Error"]["Code"] not in ("PreconditionFailed", "ConditionalRequestConflict"):
                raise
            self.deeds["somebody was quicker"] += 1
            return
        if seen is not None:
            self.standing.pop(seen, None)


def read(client: Any, key: str) -> tuple[str | None, str]:
    """The beginning of the current value and its ETag; None if there is none."""
    try:
        found = client.get_object(Bucket=BUCKET, Key=key, Range="bytes=0-39")
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchKey":
            return None, ""
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 503:  # of another site, not here yet, and no link
            return ELSEWHERE, ""
        raise
    return found["Body"].read().decode(), found["ETag"]


def has_bucket(site: Site) -> bool:
    return any(bucket["Name"] == BUCKET for bucket in site.client().list_buckets()["Buckets"])


def shipped(site: Site) -> bool:
    return bool(site.status()["backlog_changes"] == 0)


def shown(site: Site) -> list[tuple[str, str]] | None:
    """(beginning of the value, key) of everything that can be read, by version; None: it changed while one looked."""
    try:
        return sorted(versions(site))
    except ClientError as error:
        if error.response["Error"]["Code"] == "NoSuchVersion":  # listed, and then a change arrived that replaces it
            return None
        raise


def versions(site: Site) -> Iterator[tuple[str, str]]:
    client = site.client()
    for page in client.get_paginator("list_object_versions").paginate(Bucket=BUCKET):
        for row in page.get("Versions", ()):
            found = client.get_object(Bucket=BUCKET, Key=row["Key"], VersionId=row["VersionId"], Range="bytes=0-39")
            yield found["Body"].read().decode(), row["Key"]


def current(site: Site) -> dict[str, str]:
    rows = site.client().list_objects_v2(Bucket=BUCKET).get("Contents", ())
    return {row["Key"]: row["ETag"] for row in rows}


def main(arguments: list[str]) -> int:
    """Run it as a program: the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.fortnight", description=__doc__)
    parser.add_argument("--days", type=int, default=14)
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    asked = parser.parse_args(arguments)
    print(f"seed {asked.seed}")
    cloud = start_cloud()
    try:
        with tempfile.TemporaryDirectory() as name, Fortnight(cloud, Path(name), asked.seed) as fortnight:
            fortnight.live(asked.days)
            fortnight.check()
            print(
                f"{asked.days} days: {dict(fortnight.deeds)}; {len(fortnight.standing)} values stand on all three sites"
            )
    finally:
        cloud.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
