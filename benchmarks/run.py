"""``python -m benchmarks.run [--quick] [QUESTION …]``: every figure of DESIGN §8 in one run, as a table and a plot.

Exit code 0 whatever the figures say: this measures, it does not judge (a shared machine would make it cry wolf).
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from benchmarks import large, listing, quiet_tail, small_get, small_put
from benchmarks.plot import draw_plot
from benchmarks.stand import Figure, Stand, measure_disk, open_stand

OUT = Path(__file__).parent / "out"
QUESTIONS: dict[str, Callable[[Stand], list[Figure]]] = {
    "get": small_get.measure,
    "put": small_put.measure,
    "large": large.measure,
    "list": listing.measure,
    "tail": quiet_tail.measure,
}


def format_figure(figure: Figure) -> str:
    """One line of the table."""
    ratio = f"{figure.ratio:.2f} ×" if figure.ratio is not None else ""
    sign = "≤" if figure.is_ceiling else "≥"
    budget = f"{sign} {figure.budget:g}" if figure.budget is not None else ""
    verdict = {True: "kept", False: "MISSED", None: ""}[figure.is_met]
    cpu = f"{figure.per_cpu_second:,.0f}" if figure.per_cpu_second else ""
    by_cpu = f"{figure.cpu_ratio:.2f} ×" if figure.cpu_ratio is not None else ""
    warn = " (generator-bound)" if figure.generator_share > 0.9 else ""
    cells = f"{figure.name:47} {figure.value:>10,.1f} {figure.unit:8} {ratio:>7} {budget:>6} {verdict:7} {cpu:>8}"
    return f"{cells} {by_cpu:>7}  {figure.against}; {figure.note}{warn}".rstrip("; ")


def main() -> None:
    """Measure, print, draw."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="short rounds: tells whether it runs, not how fast it is")
    parser.add_argument("question", nargs="*", help=f"which ones, of {', '.join(QUESTIONS)}; default: all")
    arguments = parser.parse_args()
    if unknown := set(arguments.question) - QUESTIONS.keys():
        parser.error(f"unknown question: {', '.join(sorted(unknown))}")
    began = time.monotonic()
    stand = open_stand(quick=arguments.quick)
    figures: list[Figure] = []
    try:
        small, big = measure_disk(stand.directory)
        print(f"{platform.machine()}, Python {platform.python_version()}; server on core {stand.server_cpu},", end=" ")
        print(f"load on core {stand.load_cpu}; fdatasync {small:.2f} ms / 4 KiB, {big:.1f} ms / 4 MiB")
        units = f"{'figure':>10} {'unit':8} {'ratio':>7} {'budget':>6} {'':7} {'per CPU-s':>8}"
        print(f"{'':47} {units} {'by CPU':>7} against; how")
        for name in arguments.question or QUESTIONS:
            for figure in QUESTIONS[name](stand):
                figures.append(figure)
                print(format_figure(figure), flush=True)
    finally:
        stand.close()
    OUT.mkdir(exist_ok=True)
    (OUT / "figures.json").write_text(json.dumps([asdict(figure) for figure in figures], indent=1) + "\n")
    draw_plot(figures, OUT / "figures.png")
    print(f"{time.monotonic() - began:.0f} s; plot in {OUT / 'figures.png'}")


if __name__ == "__main__":
    main()
