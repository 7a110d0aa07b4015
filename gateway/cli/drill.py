"""``skerry drill``: restore from the bucket into a scratch directory, compare with this site, say what is missing."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

import msgspec

from gateway.cli.drill_report import DrillReport
from gateway.cli.drill_runner import run_drill
from gateway.cli.opening import opened_site
from gateway.cli.options import Subcommands, add_site_options, load_cloud_config, new_command
from gateway.cli.outcomes import EXIT_NO, EXIT_OK, EXIT_USAGE, complain, describe_bytes, print_json
from gateway.cli.progress import PhaseProgress
from gateway.config import Config


def add_parser(subcommands: Subcommands) -> None:
    """Add ``drill``."""
    parser = new_command(
        subcommands,
        "drill",
        "Restore the realm from the bucket into a scratch directory, compare every version that is said to be in the "
        "cloud, read some of them whole, and remove the directory. Exit code 1: something did not come back.",
        "skerry drill --config site.toml --objects 1000",
    )
    add_site_options(parser)
    parser.add_argument(
        "--objects", type=int, metavar="N", help="versions to read whole (default: [drill] objects_max)"
    )
    parser.add_argument("--whole", action="store_true", help="read every version whole; needs room for all of them")
    parser.add_argument(
        "--scratch", type=Path, metavar="DIR", help="where there is room (default: in the data directory)"
    )
    parser.set_defaults(run=_drill)


def _drill(arguments: argparse.Namespace) -> int:
    config = load_cloud_config(arguments)
    if arguments.objects is not None and arguments.objects < 0:
        complain(f"--objects: must not be negative, and is {arguments.objects}")
        return EXIT_USAGE
    wanted = config.drill.objects_max if arguments.objects is None else arguments.objects
    report = asyncio.run(_run(config, None if arguments.whole else wanted, arguments.scratch or config.drill.scratch))
    if arguments.json:
        print_json({"sound": report.sound, **msgspec.to_builtins(report)})
    else:
        _print(report)
    return EXIT_OK if report.sound else EXIT_NO


async def _run(config: Config, objects_max: int | None, scratch: Path | None) -> DrillReport:
    async with opened_site(config) as site:
        with PhaseProgress() as bars:
            return await run_drill(site, objects_max=objects_max, scratch=scratch, progress=bars.tell)


def _print(report: DrillReport) -> None:
    print(
        f"{report.versions} versions of {describe_bytes(report.bytes)} compared in {report.took_s:.1f} s; "
        f"{report.read} of them ({describe_bytes(report.read_bytes)}) read from the bucket; "
        f"{report.unsent} are not sent yet"
    )
    for finding in report.findings:
        print(finding)
    print("the bucket gives this site back" if report.sound else "NOT SOUND: keep this site")
