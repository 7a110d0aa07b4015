"""``python -m tests.simulation [--kind K] [--seeds N] [--from K] | --seed S``: many worlds, or the story of one.

Prints what was lived through. Stops at the first world in which a promise did not hold, with its seed and the shortest
story that still shows it: exit code 1.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice
from typing import NamedTuple

from tests.simulation.checks import Broken
from tests.simulation.clocks import DAY_MS
from tests.simulation.departing_world import DepartingWorld
from tests.simulation.forgotten_world import ForgottenWorld
from tests.simulation.leaning_world import LeaningWorld
from tests.simulation.rekeying_world import rekeying_world
from tests.simulation.retaining_world import RetainingWorld
from tests.simulation.returning_world import ReturningWorld
from tests.simulation.world import World, live_with

KINDS: dict[str, Callable[..., World]] = {
    "plain": World,
    "departing": DepartingWorld,
    "leaning": LeaningWorld,
    "retaining": RetainingWorld,
    "returning": ReturningWorld,
    "forgotten": ForgottenWorld,
    "rekeying": rekeying_world,
}
BLOCK = 100
TOLD_S = 30.0


class Lived(NamedTuple):
    """What some worlds add up to. ``broken``: seed and reason of the first that did not hold; then the rest is void."""

    worlds: int
    sites: int
    days: float
    changes: int
    faults: Counter[str]
    deeds: Counter[str]
    broken: tuple[int, str] | None = None


def live_block(first: int, count: int, kind: str = "plain") -> Lived:
    """Let the worlds of consecutive seeds live."""
    sites = changes = 0
    days = 0.0
    faults: Counter[str] = Counter()
    deeds: Counter[str] = Counter()
    for seed in range(first, first + count):
        world = KINDS[kind](seed)
        try:
            live_with(world)
        except Broken as broken:
            return Lived(seed - first, sites, days, changes, faults, deeds, (seed, str(broken)))
        sites += world.named
        days += (world.time.now_ms - world.time.started_ms) / DAY_MS
        changes += len(world.ledger.written)
        faults += world.faults
        deeds += world.deeds
    return Lived(count, sites, days, changes, faults, deeds)


def add(total: Lived, more: Lived) -> Lived:
    """Both together; the first that broke stays."""
    sums = (total.worlds + more.worlds, total.sites + more.sites, total.days + more.days, total.changes + more.changes)
    return Lived(*sums, total.faults + more.faults, total.deeds + more.deeds, total.broken or more.broken)


def _be_quiet() -> None:
    """Every parting is told once, which in many worlds is thousands of lines."""
    logging.disable(logging.WARNING)


def live_all(first: int, count: int, processes: int, kind: str) -> Lived:
    """Blocks of seeds side by side, a bounded number of them waiting."""
    total = Lived(0, 0, 0.0, 0, Counter(), Counter())
    began = told = time.monotonic()
    blocks: Iterator[tuple[int, int, str]] = (
        (at, min(BLOCK, first + count - at), kind) for at in range(first, first + count, BLOCK)
    )
    with ProcessPoolExecutor(processes, initializer=_be_quiet) as pool:
        waiting = [pool.submit(live_block, *block) for block in islice(blocks, 2 * processes)]
        while waiting and total.broken is None:
            total = add(total, waiting.pop(0).result())
            waiting += [pool.submit(live_block, *block) for block in islice(blocks, 1)]
            if time.monotonic() - told > TOLD_S:
                told = time.monotonic()
                print(f"{total.worlds:,} worlds, {total.worlds / (told - began):,.0f}/s", file=sys.stderr, flush=True)
        for future in waiting:
            future.cancel()
    return total


def shorten(seed: int, kind: str) -> World | Broken:
    """The story of a world that breaks, without every step that it breaks without."""
    skipped: set[int] = set()
    steps = KINDS[kind](seed).shape.steps
    for step in range(steps):
        if _breaks(seed, kind, skipped | {step}):
            skipped.add(step)
    world = KINDS[kind](seed, skipped=skipped)
    try:
        live_with(world)
    except Broken as broken:
        for at, now_ms, told in world.story:
            print(f"  step {at:3}  day {(now_ms - world.time.started_ms) / DAY_MS:8.3f}  {told}")
        return broken
    return world


def _breaks(seed: int, kind: str, skipped: set[int]) -> bool:
    try:
        live_with(KINDS[kind](seed, skipped=skipped))
    except Broken:
        return True
    return False


def tell(total: Lived, took_s: float) -> None:
    """What was lived through, as a table."""
    print(
        f"{total.worlds:,} worlds, {total.sites:,} sites, {total.days:,.0f} simulated days, {total.changes:,} changes"
    )
    print("faults: " + ", ".join(f"{name} {count:,}" for name, count in total.faults.most_common()))
    print("deeds: " + ", ".join(f"{name} {count:,}" for name, count in total.deeds.most_common()))
    print(f"{took_s:,.0f} s, {total.worlds / max(took_s, 1e-9):,.0f} worlds/s")


def main() -> int:
    """Run; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1000, help="how many worlds (default: %(default)s)")
    parser.add_argument("--from", dest="first", type=int, default=1, help="the first seed (default: %(default)s)")
    parser.add_argument("--processes", type=int, default=2, help="how many side by side (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="only this world, with its story if it breaks")
    parser.add_argument(
        "--kind", choices=KINDS, default="plain", help="of worlds: see the README (default: %(default)s)"
    )
    arguments = parser.parse_args()
    began = time.monotonic()
    _be_quiet()
    if arguments.seed is None:
        total = live_all(arguments.first, arguments.seeds, arguments.processes, arguments.kind)
    else:
        total = live_block(arguments.seed, 1, arguments.kind)
    tell(total, time.monotonic() - began)
    if total.broken is None:
        print("every promise held in every world")
        return 0
    seed, reason = total.broken
    print(f"BROKEN: {reason}\nthe shortest story of seed {seed} that shows it:")
    print(f"  {shorten(seed, arguments.kind)}\nagain: make simulate SEED={seed} KIND={arguments.kind}")
    return 1


if __name__ == "__main__":
    sys.exit(main())
