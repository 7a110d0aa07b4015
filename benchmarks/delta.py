"""``python -m benchmarks.delta [--scale X]``: what an edit costs on the wire and in the cloud, beside other stores.

For each edit every store first takes the content as it was, then as it is after the edit; counted is what the second
time put on the wire (both ways, HTTP and all) and added to the cloud. One run, the same bytes, one table and one plot.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import NamedTuple

from benchmarks.delta_edits import Edit, make_edits
from benchmarks.delta_peers import open_peers
from tests.support.clouds import TestCloud, start_cloud

OUT = Path(__file__).parent / "out"


class Cost(NamedTuple):
    """One store's figures for one edit; sizes in bytes."""

    edit: str
    size: int
    peer: str
    wire: int
    kept: int


def measure(edit: Edit, cloud: TestCloud, directory: Path) -> list[Cost]:
    """Fresh stores for each edit, so that nothing of another edit is known to them."""
    costs = []
    for peer in open_peers(cloud, directory):
        try:
            peer.store(edit.before)
            before = peer.kept()
            wire = peer.store(edit.after)
            costs.append(Cost(edit.name, len(edit.after), peer.name, wire, peer.kept() - before))
        finally:
            peer.close()
    return costs


def format_cost(cost: Cost, ours: Cost) -> str:
    """One line of the table; the ratio is what the store sent for each byte that Skerry sent."""
    ratio = f"{cost.wire / ours.wire:>9,.1f} ×" if cost is not ours else ""
    return f"{cost.edit:42} {cost.size / 1e6:>7,.1f} {cost.peer:8} {cost.wire:>13,} {cost.kept:>13,} {ratio}".rstrip()


def draw(costs: list[Cost], path: Path) -> None:
    """Bars on a logarithmic scale: bytes on the wire, an edit a group, a store a colour."""
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
    axes.set_yticks([row + 0.4 - height / 2 for row in range(len(edits))], edits)
    axes.set_xscale("log")
    axes.set_xlabel("bytes on the wire for the edit (further left is better)")
    axes.invert_yaxis()
    axes.legend()
    canvas.tight_layout()
    canvas.savefig(path, dpi=120)
    pyplot.close(canvas)


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.delta", description=__doc__)
    parser.add_argument("--scale", type=float, default=1.0, help="of the contents' sizes (default: %(default)s)")
    arguments = parser.parse_args()
    cloud, costs = start_cloud(), []
    print(
        f"{'edit':42} {'MB':>7} {'store':8} {'wire bytes':>13} {'cloud bytes':>13}  "
        f"sent per byte of ours; cloud: {cloud.kind}"
    )
    try:
        for edit in make_edits(arguments.scale):
            with tempfile.TemporaryDirectory(prefix="skerry-delta-") as directory:
                found = measure(edit, cloud, Path(directory))
            for cost in found:
                print(format_cost(cost, found[0]), flush=True)
            costs += found
    finally:
        cloud.stop()
    OUT.mkdir(exist_ok=True)
    (OUT / "delta.json").write_text(json.dumps([cost._asdict() for cost in costs], indent=1) + "\n")
    draw(costs, OUT / "delta.png")
    print(f"plot in {OUT / 'delta.png'}")


if __name__ == "__main__":
    main()
