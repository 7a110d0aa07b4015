"""``skerry replicate``: replication alone, as a daemon, or once until nothing is left to push or pull.

Beside a running server ``--once`` makes its background process step aside for that time; a second daemon is refused.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import os
import signal

from gateway.cli.logs import configure_logs
from gateway.cli.opening import opened_site
from gateway.cli.options import Subcommands, add_site_options, load_cloud_config, new_command
from gateway.cli.outcomes import EXIT_NO, EXIT_OK, describe_bytes, print_json
from gateway.cli.replicator import replicate_forever, replicate_once
from gateway.config import Config
from replication.service import OnceSummary


def add_parser(subcommands: Subcommands) -> None:
    """Add ``replicate``."""
    parser = new_command(
        subcommands,
        "replicate",
        "Ship to the cloud and take in other sites' news. With --once: until nothing is left; exit code 0 means that "
        "everything was shipped and taken in, 1 that the log of another site could not be.",
        "skerry replicate --config site.toml --once",
    )
    add_site_options(parser)
    parser.add_argument("--once", action="store_true", help="push and pull until nothing is left, then end")
    parser.set_defaults(run=_replicate)


def _replicate(arguments: argparse.Namespace) -> int:
    config = load_cloud_config(arguments)
    configure_logs(config.log.level, "replication")
    if not arguments.once:
        os.nice(config.server.replication_nice)
        asyncio.run(_run_daemon(config))
        return EXIT_OK
    summary = asyncio.run(_run_once(config))
    if arguments.json:
        print_json(dataclasses.asdict(summary))
    else:
        shipped = f"shipped {summary.shipped_changes} changes ({describe_bytes(summary.shipped_bytes)})"
        print(f"{shipped}, took in {summary.pulled_changes}")
        if summary.stopped:
            print(f"{summary.stopped} logs of other sites could not be taken in: see skerry status")
    return EXIT_NO if summary.stopped else EXIT_OK


async def _run_once(config: Config) -> OnceSummary:
    async with opened_site(config) as site:
        return await replicate_once(site)


async def _run_daemon(config: Config) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with opened_site(config) as site:
        await replicate_forever(site, stop, patient=False)
