"""Forty real sites, one cloud bucket: ``python -m tests.e2e.forty [--sites N] [--idle SECONDS] [--seed N]``.

Each site is real processes with a line of its own to the cloud (``counting_lines``), default cadence, one worker. A
quarter take in all buckets, most their own and the common one, some their own only; two only ship. All write; ten at a
time write the same keys with their lines cut, so that they collide. Then, by commands and from outside alone:

1. all agree: what a site takes in is compared byte for byte, every version of every key; nothing else is shown;
2. one site is revoked and writes on, one is lost with unsent writes, forgotten and comes back, one retires;
3. all agree again: what the revoked one wrote later is nowhere, what the lost one had is everywhere, any site tells who
   is what;
4. nobody writes for a while, and then one site alone: what that costs in requests, each for itself.

Printed: times, memory, requests per hour and site by kind, what they would cost. What is asserted is never a time.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.e2e.many_sites import COMMON, HOT_KEYS, KINDS, Member, Realm, is_shipped, memory_of, tell_requests
from tests.support.clouds import start_cloud
from tests.support.net import wait_until

PUT_PER_1000, GET_PER_1000 = 0.005, 0.0004
"""USD: S3 Standard, us-east-1, as AWS prints them: PUT, COPY, POST, LIST; GET. DELETE is free."""
HOURS_A_MONTH: Final = 730
PATIENCE_S: Final = 900.0


class Story:
    """What happens to them, in this order; ``say`` prints a line with the time since the beginning."""

    def __init__(self, realm: Realm) -> None:
        self.realm, self.began_s = realm, time.monotonic()

    def say(self, text: str) -> None:
        print(f"{time.monotonic() - self.began_s:6.0f} s  {text}", flush=True)

    def begin(self) -> None:
        """All start, and hear of each other."""
        realm = self.realm
        realm.start()
        takes = Counter(member.takes for member in realm.members)
        self.say(f"{len(realm.members)} sites serve; they take in: {dict(takes)}")
        for member in (realm.office, realm.members[-1]):
            wait_until(lambda member=member: self.knows_all(member), f"{member.name} knows all", PATIENCE_S, 1.0)  # type: ignore[misc]
        self.say(f"`skerry sites list` of {realm.office.name} and of {realm.members[-1].name} shows all of them")

    def knows_all(self, member: Member) -> bool:
        return set(self.realm.states(member)) == {each.name for each in self.realm.members}

    def write(self, name: str) -> None:
        """Everybody writes; some collide; all must agree."""
        apart, hot = self.realm.write_apart(name), self.realm.collide(name)
        self.say(f"{apart} objects written by all, {hot} values of {HOT_KEYS} keys by sites with their lines cut")
        took_s, versions, size = self.realm.settle()
        self.say(
            f"all agree {took_s:.0f} s after the last write: {versions:,} versions, {size / 1e6:,.0f} MB read back "
            f"from {len(self.realm.there())} sites, each value as it was acknowledged, the same one current everywhere"
        )

    def tell_memory(self) -> None:
        sizes = [memory_of(member.site) / (1 << 20) for member in self.realm.there()]
        mean = sum(sizes) / len(sizes)
        self.say(f"memory of a site, all its processes: {mean:.0f} MiB on average, {max(sizes):.0f} at most")

    def lose_some(self) -> None:
        """One is revoked, one lost, one retires, while the others write."""
        realm = self.realm
        retiring, stolen, lost = realm.members[-3:]
        for member in (stolen, lost):
            wait_until(lambda member=member: is_shipped(member), f"{member.name} has shipped", PATIENCE_S, 0.5)  # type: ignore[misc]
        realm.lines.cut(lost.line)
        realm.put(lost, lost.name, "written/on/the/island")
        realm.put(lost, COMMON, "written/on/the/island/too", size=700_000)
        lost.site.kill()
        lost.is_gone = True
        self.say(f"{lost.name}: its line is cut, it writes two objects, and its power fails")
        realm.office.site.run("sites", "revoke", stolen.name, "--yes")
        wait_until(lambda: is_shipped(realm.office), "the office has shipped", PATIENCE_S, 0.5)
        realm.put(stolen, stolen.name, "by/the/thief", counts=False)
        stolen.is_gone = True
        realm.office.site.run("sites", "forget", lost.name, "--heir", realm.office.name, "--yes", "--force")
        realm.office.site.run("sites", "retire", retiring.name, "--yes")
        self.say(f"{realm.office.name} says: {stolen.name} is revoked, {lost.name} forgotten, {retiring.name} retires")
        wanted = {stolen.name: "revoked", lost.name: "forgotten", retiring.name: "retired"}
        retiring.is_gone = True
        watchers = [realm.office, *realm.rng.sample([each for each in realm.there() if each.takes != "ship only"], 3)]
        for member in watchers:
            wait_until(
                lambda member=member: wanted.items() <= realm.states(member).items(),  # type: ignore[misc]
                f"{member.name} tells who left",
                PATIENCE_S,
                2.0,
            )
        self.say(f"{', '.join(member.name for member in watchers)} all tell so")

    def come_back(self) -> None:
        """The forgotten machine returns, and what it had unsent with it; those that only shipped now acknowledge."""
        realm, lost = self.realm, self.realm.members[-1]
        for member in realm.there():
            if member.takes == "ship only":
                realm.take_in_own(member)
                self.say(f"{member.name} took in nothing, so all waited for it: from now on it takes in its own bucket")
        realm.lines.mend(lost.line)
        lost.site.start()
        lost.is_gone = False
        began_s = time.monotonic()
        told = Counter[str]()

        def is_another() -> bool:
            status = lost.site.status()
            told.update(reason for reason in status["reasons"] if "forgotten" in reason)
            return bool(status["partings"])

        wait_until(is_another, f"{lost.name} goes on as another", PATIENCE_S, 2.0)
        self.say(f"{lost.name} is back, and went on as a new site {time.monotonic() - began_s:.0f} s later")
        assert told, "meanwhile it never called itself safe to lose"
        self.say(f"  meanwhile it said: {next(iter(told))}")

    def count(self, what: str, seconds: float, act: float = 0.0) -> None:
        """Count requests for so long; every ``act`` seconds (0: never) one site writes an object of 4 KB."""
        some = self.realm.there()
        for member in some:
            member.asked, member.told = Counter(member.line.counts), tell_requests(member.site)
        began_s, written = time.monotonic(), 0
        while (passed_s := time.monotonic() - began_s) < seconds:
            if act and passed_s >= written * act:
                written += 1
                self.realm.put(self.realm.office, COMMON, f"ticks/{what}/{written}", size=4_000)
            time.sleep(0.5)  # not synchronisation: requests per time is what is asked for
        asked = [member.line.counts - member.asked for member in some]
        told = [tell_requests(member.site) - member.told for member in some]
        self.say(f"{what}, {passed_s:.0f} s, requests an hour and site:")
        off = max(abs(one[kind] - other[kind]) for one, other in zip(asked, told, strict=True) for kind in KINDS)
        self.say(f"  what sites tell of themselves (skerry_cloud_*_requests) differs by {off} requests at most")
        assert off <= 10 + max(max(one.values()) for one in told) // 20, "sites and lines count the same"
        for label, chosen in (("the writer", asked[:1]), ("each other", asked[1:])) if act else (("each", asked),):
            hourly = {kind: 3600 * sum(one[kind] for one in chosen) / passed_s / len(chosen) for kind in KINDS}
            price = (hourly["PUT"] + hourly["LIST"]) * PUT_PER_1000 / 1000 + hourly["GET"] * GET_PER_1000 / 1000
            kinds = ", ".join(f"{count:,.0f} {kind}" for kind, count in hourly.items())
            size = sum(one["bytes up"] + one["bytes down"] for one in chosen) / passed_s / len(chosen)
            self.say(f"  {label}: {kinds}; {size:,.0f} bytes/s; {price * HOURS_A_MONTH:.2f} USD a month")


def main(arguments: list[str]) -> int:
    """Run it as a program: the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.forty", description=__doc__)
    parser.add_argument("--sites", type=int, default=40)
    parser.add_argument("--idle", type=float, default=120.0, help="for so many seconds requests are counted, at least")
    parser.add_argument("--ack", type=float, default=600.0, help="[replication] ack_interval_s of the sites")
    parser.add_argument("--seed", type=int, default=secrets.randbits(32))
    asked = parser.parse_args(arguments)
    for number in (
        signal.SIGINT,
        signal.SIGTERM,
    ):  # ends all processes, in the background of a shell, too
        signal.signal(number, lambda *_: sys.exit("ended from outside"))
    assert asked.sites >= 14, "at least 14 sites: ten collide, three leave, one stays"
    directory = Path(tempfile.mkdtemp(prefix="skerry-forty-"))
    with ExitStack() as stack:
        cloud = start_cloud()
        stack.callback(cloud.stop)
        print(f"seed {asked.seed}; a {cloud.kind} cloud; {os.cpu_count()} cores; in {directory}", flush=True)
        story = Story(Realm(cloud, directory, asked.sites, asked.seed, stack, asked.ack))
        story.begin()
        story.write("first")
        story.tell_memory()
        story.lose_some()
        story.come_back()
        story.write("second")
        story.tell_memory()
        story.count("nobody writes", asked.idle)
        story.count("one site writes an object every 10 s", max(asked.idle, asked.ack), act=10.0)
    shutil.rmtree(directory)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
