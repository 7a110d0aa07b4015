"""``python -m benchmarks.delta [--scale X] [--repositories N] [--wire]``: what an edit costs on the wire and in the
cloud, beside other stores.

For each edit every store first takes the content as it was, then as it is after the edit; counted is what the second
time put on the wire (both ways, HTTP and all) and added to the cloud. One run, the same bytes, one table and one plot.

restic and borg draw at random, for each repository, where they cut: what they send for a small edit is the chunk
around it, which may have any size. ``--repositories`` makes so many of each; told is the median, and the range.
``new`` is what the edit brought that follows from nothing before (``delta_edits``): no store can send less, so it is
also said how many bytes went for each of it. ``--wire`` names every byte that Skerry sent and got (``wire``).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.delta_edits import Edit, make_edits
from benchmarks.delta_peers import Peer, SkerryPeer, list_others
from tests.support.clouds import TestCloud, start_cloud

OUT = Path(__file__).parent / "out"


class Cost(NamedTuple):
    """One store's figures for one edit; sizes in bytes. ``wires``: of each repository, ascending; ``wire`` their
    median, ``kept`` that of what the cloud grew by.
    """

    edit: str
    size: int
    new: int | None
    peer: str
    wire: int
    kept: int
    wires: list[int]


def measure(edit: Edit, cloud: TestCloud, directory: Path, *, repositories: int, wire: bool) -> list[Cost]:
    """Fresh stores for each edit, so that nothing of another edit is known to them. Ours comes first."""
    ours = SkerryPeer(cloud, directory / "ours", tape=wire)
    try:
        costs = [_summarise(edit, ours.name, [_apply(edit, ours)])]
        if wire:
            print_wire(edit, ours, costs[0].wire)
    finally:
        ours.close()
    for number, open_peer in enumerate(list_others()):
        found, name = [], ""
        for repository in range(repositories):
            with tempfile.TemporaryDirectory(dir=directory, prefix=f"{number}-{repository}-") as place:
                peer = open_peer(cloud, Path(place))
                name = peer.name
                try:
                    found.append(_apply(edit, peer))
                finally:
                    peer.close()
        costs.append(_summarise(edit, name, found))
    return costs


def _apply(edit: Edit, peer: Peer) -> tuple[int, int]:
    peer.store(edit.before)
    before = peer.kept()
    wire = peer.store(edit.after)
    return wire, peer.kept() - before


def _summarise(edit: Edit, name: str, found: list[tuple[int, int]]) -> Cost:
    wires = sorted(wire for wire, _ in found)
    kept = statistics.median_low([kept for _, kept in found])
    return Cost(edit.name, len(edit.after), edit.new, name, statistics.median_low(wires), kept, wires)


def print_wire(edit: Edit, ours: SkerryPeer, wire: int) -> None:
    """Every byte of the edit by name."""
    lines = ours.list_wire()
    print(f"\n{edit.name}: {wire:,} bytes on the wire, by name")
    for line in lines:
        print(f"{line.size:>13,} {line.count:>5} × {line.what}")
    odd = wire - sum([line.size for line in lines])
    if odd:
        print(f"{odd:>13,} not on the tape")
    print(flush=True)


def format_cost(cost: Cost, ours: Cost) -> str:
    """One line of the table; the ratio is what the store sent for each byte that Skerry sent, at the median."""
    ratio = f"{cost.wire / ours.wire:>9,.1f} ×" if cost is not ours else ""
    new = f"{cost.wire / cost.new:>9,.2f}" if cost.new else f"{'':9}"
    spread = f"  {cost.wires[0]:,} to {cost.wires[-1]:,}" if len(cost.wires) > 1 else ""
    line = f"{cost.edit:42} {cost.size / 1e6:>7,.1f} {cost.peer:8} {cost.wire:>13,} {cost.kept:>13,} {new} {ratio:11}"
    return (line + spread).rstrip()


def draw(costs: list[Cost], path: Path) -> None:
    """Bars on a logarithmic scale: bytes on the wire, an edit a group, a store a colour; a line: what none can save."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot

    edits, peers = list(dict.fromkeys(cost.edit for cost in costs)), list(dict.fromkeys(cost.peer for cost in costs))
    canvas, axes = pyplot.subplots(figsize=(9, 0.9 * len(edits) + 1.2))
    colours = dict(zip(peers, ("#2a7f62", "#b5483a", "#c9a13b"), strict=False))
    height = 0.8 / len(peers)
    for place, peer in enumerate(peers):
        wires = [next(cost.wire for cost in costs if (cost.edit, cost.peer) == (edit, peer)) for edit in edits]
        axes.barh([row + place * height for row in range(len(edits))], wires, height, label=peer, color=colours[peer])
    for row, edit in enumerate(edits):
        if new := next(cost.new for cost in costs if cost.edit == edit):
            axes.plot([new, new], [row - height / 2, row + 0.8 - height / 2], color="black", linewidth=1.5)
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(edits))], edits)
    axes.set_xscale("log")
    axes.set_xlabel("bytes on the wire for the edit (further left is better; black: what of it is new and random)")
    axes.invert_yaxis()
    axes.legend()
    canvas.tight_layout()
    canvas.savefig(path, dpi=120)
    pyplot.close(canvas)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delta", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the contents' sizes (default: %(default)s)")
    parser.add_argument("--repositories", type=int, default=1, help="of restic and borg each (default: %(default)s)")
    parser.add_argument("--wire", action="store_true", help="name every byte that Skerry sent and got")
    arguments = parser.parse_args()
    costs: list[Cost] = []
    print(
        f"{'edit':42} {'MB':>7} {'store':8} {'wire bytes':>13} {'cloud bytes':>13} {'per new':>9} "
        "sent per byte of ours (median), least and most"
    )
    for edit in make_edits(arguments.scale):
        cloud = start_cloud()  # one for each edit: Ceph keeps what was deleted for hours, in memory here
        try:
            with tempfile.TemporaryDirectory(prefix="skerry-delta-") as directory:
                options = {"repositories": max(1, arguments.repositories), "wire": arguments.wire}
                found = measure(edit, cloud, Path(directory), **options)
        finally:
            cloud.stop()
        for cost in found:
            print(format_cost(cost, found[0]), flush=True)
        costs += found
    print(f"cloud: {cloud.kind}")
    OUT.mkdir(exist_ok=True)
    (OUT / "delta.json").write_text(json.dumps([cost._asdict() for cost in costs], indent=1) + "\n")
    draw(costs, OUT / "delta.png")
    print(f"plot in {OUT / 'delta.png'}")


if __name__ == "__main__":
    main()
