"""A realm of many real sites for ``forty``: processes, a counted line each, what each takes in, and what must be there.

Everything is seen from outside: over S3, by commands, on the admin port, from ``/proc``. Nothing of the server is
imported. Not here: the order of events and what it costs (``forty``).
"""

from __future__ import annotations

import json
import os
import random
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tests.e2e.contents import digest
from tests.support.clouds import TestCloud
from tests.support.counting_lines import Line, Lines
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

COMMON: Final = "common"
STARTED_AT_ONCE: Final = 2
AT_WORK: Final = 4
WRITES: Final = 4
HOT_KEYS: Final = 5
KINDS: Final = ("PUT", "LIST", "GET", "DELETE")
COLLIDING: Final = 10
SIZES: Final = (90, 4_000, 20_000, 150_000, 600_000)
SETTLE_S: Final = 900.0

Told = dict[str, dict[str, set[str]]]
"""Bucket → key → digests of all values that must be readable there, by version."""


@dataclass
class Member:
    """A site of the realm, its line, and what it takes in of others: ``all``, ``some``, ``own`` or ``ship only``."""

    site: Site
    line: Line
    takes: str
    is_gone: bool = False
    asked: Counter[str] = field(default_factory=Counter)
    told: Counter[str] = field(default_factory=Counter)

    @property
    def name(self) -> str:
        return self.site.name

    def wants(self, bucket: str) -> bool:
        """Whether it shows a bucket."""
        return self.takes == "all" or bucket == self.name or (self.takes == "some" and bucket == COMMON)


def choose_takes(number: int, count: int) -> str:
    """Who takes in what: the first always all; the last three are those that leave, and take in all, some, all."""
    if number == 0 or number % 4 == 1 or number == count - 1:
        return "all"
    if number in (2, count // 2) and number < count - 3:
        return "ship only"
    return "own" if number % 8 == 3 else "some"


class Realm:
    """Many sites of one realm, and what each bucket must hold."""

    def __init__(
        self, cloud: TestCloud, directory: Path, count: int, seed: int, stack: ExitStack, ack_s: float
    ) -> None:
        self.rng = random.Random(seed)
        self.expected: Told = {}
        self._stack = stack
        bucket = cloud.create_bucket("forty")
        lines = stack.enter_context(Lines(count, cloud.port))
        self.lines = lines
        self.members: list[Member] = []
        for number, line in enumerate(lines.lines):
            name, takes = f"site-{number:02}", choose_takes(number, count)
            reach = CloudSettings(line.endpoint, bucket, cloud.access_key, cloud.secret_key)
            replication: dict[str, Any] = {"ship_interval_s": 1.0, "poll_interval_s": 5.0}  # the defaults
            replication["ack_interval_s"] = ack_s
            if takes == "ship only":
                replication["pull"] = False
            elif takes != "all":
                replication["subscribe"] = [name, *([COMMON] if takes == "some" else [])]
            settings: dict[str, dict[str, Any]] = {
                "replication": replication,
                "cloud": {"connections_max": 4},
                "store": {"threads": 1, "reserve_bytes": 64 << 20},
                "link": {"probe_interval_s": 1.0},
            }
            if self.members:
                settings["realm"] = {"key_file": str(self.office.site.data / "keys" / "realm.key")}
            site = Site(directory / name, name, cloud=reach, settings=settings, ready_timeout_s=300, forked=False)
            self.members.append(Member(site, line, takes))

    @property
    def office(self) -> Member:
        return self.members[0]

    def there(self) -> list[Member]:
        """Who is not gone."""
        return [member for member in self.members if not member.is_gone]

    def start(self) -> None:
        """Start all, a few at a time; each makes its bucket."""
        self._start([self.office])
        for first in range(1, len(self.members), STARTED_AT_ONCE):
            self._start(self.members[first : first + STARTED_AT_ONCE])
        self.office.site.client().create_bucket(Bucket=COMMON)
        self.expected[COMMON] = {}
        self.each(lambda member: self._make_bucket(member), self.members)

    def _start(self, some: Sequence[Member]) -> None:
        for member in some:
            member.site.start(wait=False)
            self._stack.callback(member.site.kill)
        for member in some:
            member.site.wait_ready()

    def _make_bucket(self, member: Member) -> None:
        member.site.client().create_bucket(Bucket=member.name)
        self.expected[member.name] = {}

    def take_in_own(self, member: Member) -> None:
        """Let a site that only shipped take in its own bucket from now on, and so acknowledge what others do."""
        member.site.stop()
        member.takes = "own"
        del member.site.settings["replication"]["pull"]
        member.site.settings["replication"]["subscribe"] = [member.name]
        member.site.write_config()
        member.site.start()

    def each(self, act: Callable[[Member], Any], some: Iterable[Member]) -> list[Any]:
        """Do it on several sites at a time; what it gave, in order."""
        with ThreadPoolExecutor(AT_WORK) as pool:
            return list(pool.map(act, some))

    def put(self, member: Member, bucket: str, key: str, *, size: int = 0, counts: bool = True) -> None:
        """Put a new value; it must be everywhere in the end if it ``counts``."""
        body = self.rng.randbytes(size or self.rng.choice(SIZES))
        member.site.client().put_object(Bucket=bucket, Key=key, Body=body)
        if counts:
            self.expected[bucket].setdefault(key, set()).add(digest(body))

    def write_apart(self, round_name: str) -> int:
        """Each site writes keys that nobody else does, in its own bucket and the common one; how many."""
        plan = []
        for member in self.there():
            for bucket in filter(member.wants, (member.name, COMMON)):
                plan += [(member, bucket, f"{round_name}/{member.name}/{number}") for number in range(WRITES)]
        for one in plan:
            self.put(*one)
        return len(plan)

    def collide(self, round_name: str) -> int:
        """Ten sites that cannot hear one another write the same keys; how many values there are of them."""
        able = [member for member in self.there() if member.wants(COMMON)]
        some = self.rng.sample(able, min(COLLIDING, len(able)))
        for member in some:
            self.lines.cut(member.line)
        for member in some:
            for number in range(HOT_KEYS):
                self.put(member, COMMON, f"hot/{round_name}/{number}", size=500)
        for member in some:
            self.lines.mend(member.line)
        return len(some) * HOT_KEYS

    def settle(self) -> tuple[float, int, int]:
        """Wait until all that is to be shown is shown, everywhere; then compare all. Seconds, versions, bytes."""
        began_s = time.monotonic()
        for member in self.there():
            wait_until(lambda member=member: is_shipped(member), f"{member.name} has shipped", SETTLE_S, 0.5)  # type: ignore[misc]
        for member in self.there():
            wait_until(lambda member=member: self.has_all(member), f"{member.name} lists all", SETTLE_S, 0.5)  # type: ignore[misc]
        took_s = time.monotonic() - began_s
        read = self.each(self.compare, self.there())
        winners = {key: {found[1][key] for found in read if key in found[1]} for found in read for key in found[1]}
        divided = {key: values for key, values in winners.items() if len(values) > 1}
        assert not divided, f"sites differ on what is current: {divided}"
        return took_s, sum(found[2] for found in read), sum(found[3] for found in read)

    def has_all(self, member: Member) -> bool:
        """Whether a site lists as many versions of each key as it must; fails if it lists a bucket it must not."""
        wanted = {bucket for bucket in self.expected if member.wants(bucket)}
        client = member.site.client()
        shown = {row["Name"] for row in client.list_buckets()["Buckets"]}
        assert shown <= wanted, f"{member.name} shows {shown - wanted}"
        counts = lambda bucket: Counter(row["Key"] for row in list_versions(client, bucket))  # noqa: E731
        return shown == wanted and all(
            counts(bucket) == {key: len(values) for key, values in self.expected[bucket].items()} for bucket in wanted
        )

    def compare(self, member: Member) -> tuple[str, dict[tuple[str, str], str], int, int]:
        """Read every version of all that a site takes in: name, the current values' digests, versions and bytes."""
        client, current, versions, size = member.site.client(), {}, 0, 0
        for bucket in filter(member.wants, self.expected):
            found: dict[str, set[str]] = {}
            for row in list_versions(client, bucket):
                body = client.get_object(Bucket=bucket, Key=row["Key"], VersionId=row["VersionId"])["Body"].read()
                found.setdefault(row["Key"], set()).add(digest(body))
                versions, size = versions + 1, size + len(body)
                if row["IsLatest"]:
                    current[bucket, row["Key"]] = digest(body)
            assert found == self.expected[bucket], f"{member.name}, {bucket}: other values than were acknowledged"
        return member.name, current, versions, size

    def states(self, member: Member) -> dict[str, str]:
        """Name → state, as this site tells of the fleet. A name may be there twice: the id stands behind the second."""
        told: dict[str, str] = {}
        for row in json.loads(member.site.run("sites", "list", "--json").stdout)["sites"]:
            name = row["name"] if row["name"] not in told else f"{row['name']} {row['site_id']}"
            told[name] = row["state"]
        return told


def list_versions(client: Any, bucket: str) -> list[dict[str, Any]]:
    pages = client.get_paginator("list_object_versions").paginate(Bucket=bucket)
    return [row for page in pages for row in page.get("Versions", ())]


def read_metrics(site: Site) -> dict[str, float]:
    """The numbers of the admin port."""
    with urllib.request.urlopen(f"http://127.0.0.1:{site.admin_port}/metrics", timeout=60) as answer:
        lines = [line for line in answer.read().decode().splitlines() if line and line[0] != "#"]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def tell_requests(site: Site) -> Counter[str]:
    """What a site says that it asked of the bucket so far, by kind."""
    numbers = read_metrics(site)
    return Counter({kind: int(numbers[f"skerry_cloud_{kind.lower()}_requests"]) for kind in KINDS})


def is_shipped(member: Member) -> bool:
    return read_metrics(member.site)["skerry_backlog_changes"] == 0


def memory_of(site: Site) -> int:
    """Bytes of all processes of a site: what is theirs alone, and their share of what several have (PSS)."""
    assert site.process is not None
    total = 0
    for place in Path("/proc").iterdir():
        try:
            if place.name.isdigit() and os.getpgid(int(place.name)) == site.process.pid:
                rolled = (place / "smaps_rollup").read_text()
                total += int(rolled.split("\nPss:")[1].split()[0]) << 10
        except (OSError, IndexError):
            continue  # ended meanwhile
    return total
