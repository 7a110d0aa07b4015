"""``skerry lifecycle run``: one pass over the site's lifecycle rules, now or as if it were another time.

The server makes one by itself every day; this is for operators who will not wait, and for tests. Works beside a running
server. Locks are judged by the real clock, whatever ``--at`` says.
"""

from __future__ import annotations

import argparse
import asyncio

from gateway.cli.lifecycle_runner import run_pass
from gateway.cli.logs import configure_logs
from gateway.cli.opening import opened_site
from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_command, new_parser
from gateway.cli.outcomes import EXIT_OK, EXIT_USAGE, complain, describe_bytes, print_json
from gateway.config import Config
from gateway.operations.lifecycle_pass import Summary
from gateway.s3.times import parse_iso_ms


def add_parser(subcommands: Subcommands) -> None:
    """Add ``lifecycle``."""
    parser = new_command(
        subcommands,
        "lifecycle",
        "Look at every version under lifecycle rules and do what is due: expire, remove, give a colder class, abort\n"
        "uploads. The server does so after every midnight UTC.",
        "skerry lifecycle run --config site.toml --at 2030-01-01T00:00:00Z",
    )
    actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    run = new_parser(
        actions,
        "run",
        "make one pass",
        "Make one pass over all buckets with rules.",
        "skerry lifecycle run --config site.toml",
    )
    add_site_options(run)
    run.add_argument("--at", metavar="TIME", help="judge as if it were this time (ISO 8601, UTC); locks stay")
    run.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    config = load_site_config(arguments)
    configure_logs(config.log.level, "lifecycle")
    at_ms = None
    if arguments.at is not None:
        at_ms = parse_iso_ms(arguments.at if "T" in arguments.at else arguments.at + "T00:00:00Z")
        if at_ms is None:
            complain(f"--at must be a time such as 2030-01-01T00:00:00Z, not {arguments.at!r}")
            return EXIT_USAGE
    summary = asyncio.run(_make_pass(config, at_ms))
    if arguments.json:
        print_json(vars(summary))
    else:
        print(_describe(summary))
    return EXIT_OK


async def _make_pass(config: Config, at_ms: int | None) -> Summary:
    async with opened_site(config) as site:
        return await run_pass(site, at_ms)


def _describe(summary: Summary) -> str:
    """A line or two for a person."""
    done = (
        (summary.expired, "expired"),
        (summary.removed, "noncurrent versions removed"),
        (summary.markers_removed, "delete markers removed"),
        (summary.transitioned, "given a colder class"),
        (summary.aborted, "uploads aborted"),
        (summary.restores_ended, "restored copies ended"),
        (summary.losers_dropped, "losing values of collisions dropped"),
        (summary.locked, "due, but locked"),
        (summary.waiting, "due, but not in the cloud yet"),
    )
    told = ", ".join(f"{count} {what}" for count, what in done if count) or "nothing was due"
    freed = f"; {describe_bytes(summary.evicted_bytes)} given up locally" if summary.evicted_bytes else ""
    return f"{summary.versions} versions in {summary.buckets} buckets: {told}{freed}"
