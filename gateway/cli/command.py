"""The ``skerry`` command: a table of commands, and nothing else.

A command's module has ``add_parser(subcommands)``, which sets ``run`` (arguments → exit code). It is imported when it
is called: all of them together take most of a second. Hence the table has what the list of commands shows.
Configuration is loaded in ``options``, errors become exit codes in ``reporting``; this file only dispatches.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from gateway.cli.outcomes import EXIT_CODES_TEXT, EXIT_FAILED
from gateway.cli.reporting import run_reporting


class Command(NamedTuple):
    """Where a command lives, and what the list of commands says of it."""

    module: str
    summary: str


COMMANDS: Final[Mapping[str, Command]] = {
    "serve": Command("serve", "run the gateway, and replication if a cloud is configured"),
    "replicate": Command("replicate", "replicate without a gateway, or once"),
    "status": Command("status", "backlog, conflicts, and whether this site is safe to lose"),
    "user": Command("user", "users and their access keys"),
    "conflicts": Command("conflicts", "keys that two sites wrote at once"),
    "sites": Command("sites", "the sites of the realm"),
    "verify": Command("verify", "read everything back and say what is damaged"),
    "lost": Command("lost", "bytes that replication waits for and cannot be had"),
    "rebuild-index": Command("rebuild_index", "make the index anew from the segments"),
    "restore": Command("restore", "rebuild a site from the bucket and the key"),
    "inspect": Command("inspect", "what lies in a segment file"),
    "config": Command("config_check", "look at a configuration"),
    "kms": Command("kms", "keys for SSE-KMS"),
    "keys": Command("keys", "the realm's keys: list, rotate"),
    "rekey": Command("rekey", "seal anew what lies under older keys"),
    "lifecycle": Command("lifecycle", "apply the buckets' lifecycle rules now"),
    "evict": Command("evict", "give up local copies that the cloud has"),
    "link": Command("link", "what the link may carry now: show, set, clear"),
    "mirror": Command("mirror", "plain copies of a bucket for others to read: list, set, off"),
    "safe": Command("safe", "may this site be lost? (exit code 0: yes)"),
    "audit-cloud": Command("audit_cloud", "check what the bucket holds against this site's log"),
    "drill": Command("drill", "try out whether the bucket gives this site back"),
    "checkpoint": Command("checkpoint", "write a checkpoint for new sites to begin with"),
    "collect-cloud": Command("collect_cloud", "take back what nothing needs in the bucket"),
    "savings": Command("savings", "bytes written, shipped and kept, and what that saved"),
}


class _ShowVersion(argparse.Action):
    """``--version``: looks the version up only when asked."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version

        print(f"skerry {version('skerry')}")
        parser.exit()


def build_parser(called: str | None = None) -> argparse.ArgumentParser:
    """The command line. Only the command that is ``called`` has its options; the others are names and summaries."""
    parser = argparse.ArgumentParser(
        prog="skerry",
        description="An S3 endpoint for a site that is sometimes an island.",
        epilog=EXIT_CODES_TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_ShowVersion, nargs=0, help="show the version and exit")
    subcommands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        if name == called:
            importlib.import_module(f"gateway.cli.{command.module}").add_parser(subcommands)
        else:
            subcommands.add_parser(name, help=command.summary)
    return parser


def run_command(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one command line: its exit code. Errors a person can do something about are one line; others a traceback."""
    arguments = build_parser(argv[0] if argv else None).parse_args(argv)
    arguments.environment = environment
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run_reporting(lambda: run(arguments))
    except BrokenPipeError:
        # Whoever read us went away (`| head`); without this Python complains again while flushing.
        with open(os.devnull, "wb") as sink:
            os.dup2(sink.fileno(), sys.stdout.fileno())
        return EXIT_FAILED
