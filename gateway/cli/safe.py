"""``skerry safe``: may this site be lost, now? One word for a person, an exit code for a script.

The same answer as in ``skerry status``, counted from the log. With ``--wait`` it asks again until the answer is yes or
the time is over: what a script does before it switches a box off for good.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Final

from gateway.cli.opening import opened_site
from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_command
from gateway.cli.outcomes import EXIT_NO, EXIT_OK, EXIT_USAGE, complain, print_json
from gateway.cli.site_status import assess_site
from replication.status import ReplicationStatus

POLL_S: Final = 0.5


def add_parser(subcommands: Subcommands) -> None:
    """Add ``safe``."""
    parser = new_command(
        subcommands,
        "safe",
        "Whether everything this site acknowledged could be rebuilt from the bucket and the recovery key. Exit code 0: "
        "yes; 1: no, with the reasons.",
        "skerry safe --data ./data --wait 600 && poweroff",
    )
    add_site_options(parser)
    parser.add_argument(
        "--wait",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="wait for a yes so long (replication must be running)",
    )
    parser.add_argument(
        "--except-local", action="store_true", help="but for buckets that were told to stay on this site (local)"
    )
    parser.set_defaults(run=_tell)


def _tell(arguments: argparse.Namespace) -> int:
    if arguments.wait < 0:
        complain(f"--wait: must not be negative, and is {arguments.wait:g}")
        return EXIT_USAGE
    status = asyncio.run(_ask(arguments))
    reasons = list(status.unsafe_reasons)
    if arguments.json:
        backlog = {"backlog_changes": status.backlog_changes, "backlog_bytes": status.backlog_bytes}
        print_json({"safe_to_lose": status.safe_to_lose, "reasons": reasons, **backlog})
    else:
        print("safe to lose" if status.safe_to_lose else "NOT safe to lose")
        for reason in reasons:
            print(f"  - {reason}")
    return EXIT_OK if status.safe_to_lose else EXIT_NO


async def _ask(arguments: argparse.Namespace) -> ReplicationStatus:
    deadline_s = time.monotonic() + arguments.wait
    async with opened_site(load_site_config(arguments)) as site:
        while True:
            status = assess_site(site, except_local=arguments.except_local)
            left_s = deadline_s - time.monotonic()
            if status.safe_to_lose or left_s <= 0:
                return status
            await asyncio.sleep(min(POLL_S, left_s))
