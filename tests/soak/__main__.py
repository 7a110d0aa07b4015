"""``python -m tests.soak [--minutes N] [--seed N]``: two sites, a cloud, mixed SDK load, and everything goes wrong.

Processes are killed (workers, background, supervisors, whole sites), lines to the cloud are cut, slowed and broken,
one site's disk is full now and then. Then all is mended, the sites must agree, both must show what a model allows,
every byte of it, and ``verify`` must be clean on both. One seed repeats the mishaps, not the moments.
"""

from __future__ import annotations

import argparse
import random
import secrets
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.e2e.contents import wait_converged
from tests.kill.model import SHARED_BUCKET, check_model
from tests.kill.processes import BACKGROUND, EVERYTHING, SUPERVISOR, WORKER, kill_somebody
from tests.soak.disks import BallastDisk, Disk, ReserveDisk, mounted
from tests.soak.load import Contender, SoakWriter, check_contended
from tests.support.clouds import start_cloud
from tests.support.fault_proxy import BLACK_HOLE, PASS, REFUSE, FaultProxy, latency, lossy, reset_up, slow
from tests.support.net import wait_until
from tests.support.site import CloudSettings, Site

VICTIMS: Final = (WORKER, WORKER, BACKGROUND, SUPERVISOR, EVERYTHING)
FAULTS: Final = (REFUSE, BLACK_HOLE, slow(50_000), latency(0.3), reset_up(200_000), lossy(0.05))
DISK_BYTES: Final = 16 << 30
"""Of a sparse image; an hour's load, all dead bytes included, must not fill it for ever."""
CONTENDED_BUCKET: Final = "contended"
WRITERS: Final = 3
_SETTLE_S: Final = 1200.0
_START_S: Final = 600.0
_TELL_EVERY_S: Final = 60.0


class Soak:
    """The world of one run."""

    def __init__(self, directory: Path, stack: ExitStack, seed: int) -> None:
        self.random = random.Random(seed)
        self.counts: Counter[str] = Counter()
        cloud = start_cloud()
        stack.callback(cloud.stop)
        self.lines = [stack.enter_context(FaultProxy(cloud.port)) for _ in range(2)]
        place = directory / "disk"
        is_mounted = stack.enter_context(mounted(place, DISK_BYTES))
        bucket = cloud.create_bucket("soak")
        near, far = (CloudSettings(line.endpoint, bucket, cloud.access_key, cloud.secret_key) for line in self.lines)
        small = {"store": {"reserve_bytes": 64 << 20}}
        knobs = {"cloud": {"read_timeout_s": 10.0}}
        self.a = Site(place / "a", "site-a", near, workers=2, settings=small | knobs).start()
        stack.callback(self.a.kill)
        key = directory / "realm.key"
        shutil.copyfile(self.a.data / "keys" / "realm.key", key)
        key.chmod(0o600)
        self.b = Site(
            directory / "b", "site-b", far, workers=2, settings={"realm": {"key_file": str(key)}} | knobs
        ).start()
        stack.callback(self.b.kill)
        self.sites = (self.a, self.b)
        for site in self.sites:  # an hour of work is not to be lost to a neighbour's minute
            site.ready_timeout_s = _START_S
        self.disk: Disk = BallastDisk(place) if is_mounted else ReserveDisk(self.a)
        print(f"a {cloud.kind} cloud; what gets full: {'a file system of its own' if is_mounted else 'a reserve'}")
        self.writers = [SoakWriter(self.sites[n % 2], n, seed + n) for n in range(2 * WRITERS)]
        self.contenders = [Contender(site, CONTENDED_BUCKET, seed - n) for n, site in enumerate(self.sites, start=1)]

    def begin(self) -> None:
        """Make the buckets, on one site; begin to write when both have them."""
        client, other = self.a.client(), self.b.client()
        names = {SHARED_BUCKET, CONTENDED_BUCKET, *(writer.bucket for writer in self.writers)}
        for name in names:
            client.create_bucket(Bucket=name)
        wait_until(lambda: {each["Name"] for each in other.list_buckets()["Buckets"]} == names, "both have them", 120)
        for thread in (*self.writers, *self.contenders):
            thread.start()

    def misfortune(self) -> None:
        """One thing goes wrong, for a while."""
        kind = self.random.choices(("kill", "line", "disk"), (6, 3, 1))[0]
        getattr(self, f"_{kind}")()
        for writer in self.writers:
            if writer.failure is not None:
                raise writer.failure
        time.sleep(self.random.uniform(0.5, 4.0))  # not synchronisation: the moment is this run's input

    def _kill(self) -> None:
        victim = self.random.choice(VICTIMS)
        self.counts[f"kill {victim}"] += kill_somebody(self.random.choice(self.sites), victim, self.random)

    def _line(self) -> None:
        fault, line = self.random.choice(FAULTS), self.random.choice(self.lines)
        line.set(fault)
        self.counts[f"line {fault.kind.value}"] += 1
        time.sleep(self.random.uniform(1, 8))
        if self.random.random() < 0.5:
            self._kill()
        line.set(PASS)

    def _disk(self) -> None:
        self.disk.fill()
        self.counts["disk full"] += 1
        try:
            time.sleep(self.random.uniform(1, 8))
            if self.random.random() < 0.5:
                self.counts["kill worker, disk full"] += kill_somebody(self.a, WORKER, self.random)
        finally:
            self.disk.free()

    def tell(self) -> str:
        """What the writers have done so far."""
        writers = self.writers
        return (
            f"{sum(writer.done.total() for writer in writers)} writes acknowledged, "
            f"{sum(writer.bytes for writer in writers)} bytes, "
            f"{sum(writer.unanswered for writer in writers)} without an answer, "
            f"{sum(writer.reads for writer in writers)} read back meanwhile"
        )

    def settle(self) -> str:
        """Mend everything, compare everything; what was compared."""
        for line in self.lines:
            line.set(PASS)
        for site in self.sites:
            site.wait_ready()
        for thread in (*self.writers, *self.contenders):
            thread.end()
        began = time.monotonic()
        wait_converged(self.a, self.b, _SETTLE_S)
        took_s = time.monotonic() - began
        clients = [site.client() for site in self.sites]
        looked_at = {check_model(client, list(self.writers)) for client in clients}
        contended = check_contended(clients, CONTENDED_BUCKET, self.contenders)
        for site in self.sites:
            site.run("verify", timeout_s=600)
        names = f"{looked_at.pop()} keys and documents, {contended} contended ones"
        return f"agreed after {took_s:.0f} s; {names}, compared on both; verify clean on both"


def run(minutes: float, seed: int) -> str:
    """One run; its figures. What a run leaves that failed is kept, and where is said."""
    directory = Path(tempfile.mkdtemp(prefix="skerry-soak-"))
    print(f"seed: {seed}; in {directory}", flush=True)
    with ExitStack() as stack:
        soak = Soak(directory, stack, seed)
        try:
            soak.begin()
            began_s = told_s = time.monotonic()
            while (now_s := time.monotonic()) < began_s + 60 * minutes:
                if now_s > told_s + _TELL_EVERY_S:
                    told_s = now_s
                    print(f"{(now_s - began_s) / 60:.0f} min: {dict(soak.counts)}; {soak.tell()}", flush=True)
                soak.misfortune()
            compared = soak.settle()
        except BaseException:
            traceback.print_exc()
            print(f"{dict(soak.counts)}; {soak.tell()}", *(site.log for site in soak.sites), sep="\n", flush=True)
            raise
    shutil.rmtree(directory)
    return f"{minutes:g} minutes: {dict(soak.counts)}; {soak.tell()}; {compared}"


def main() -> int:
    """Run it and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--seed", type=int, default=None)
    arguments = parser.parse_args()
    print(run(arguments.minutes, secrets.randbits(32) if arguments.seed is None else arguments.seed))
    return 0


if __name__ == "__main__":
    sys.exit(main())
