"""The ``skerry`` command: one parser, one file per subcommand, and nothing else.

A subcommand's file has ``add_parser(subcommands)``, which sets ``run`` (arguments → exit code). Configuration is loaded
in ``options``, errors become exit codes in ``failures``; this file only dispatches.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

from gateway.cli import (
    audit_cloud,
    checkpoint,
    collect_cloud,
    config_check,
    conflicts,
    drill,
    evict,
    inspect,
    keys,
    kms,
    lifecycle,
    link,
    mirror,
    rebuild_index,
    replicate,
    restore,
    safe,
    savings,
    serve,
    sites,
    status,
    user,
    verify,
)
from gateway.cli.failures import run_reporting
from gateway.cli.outcomes import EXIT_CODES_TEXT, EXIT_FAILED

_COMMANDS = (
    *(serve, replicate, status, user, conflicts, sites, verify, rebuild_index, restore, inspect, config_check, kms),
    keys,
    lifecycle,
    evict,
    link,
    mirror,
    *(safe, audit_cloud, drill, checkpoint, collect_cloud, savings),
)


def build_parser() -> argparse.ArgumentParser:
    """The whole command line."""
    parser = argparse.ArgumentParser(
        prog="skerry",
        description="An S3 endpoint for a site that is sometimes an island.",
        epilog=EXIT_CODES_TEXT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"skerry {version('skerry')}")
    subcommands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for command in _COMMANDS:
        command.add_parser(subcommands)
    return parser


def run_command(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Run one command line: its exit code. Errors a person can do something about are one line; others a traceback."""
    arguments = build_parser().parse_args(argv)
    arguments.environment = environment
    run: Callable[[argparse.Namespace], int] = arguments.run
    try:
        return run_reporting(lambda: run(arguments))
    except BrokenPipeError:
        # Whoever read us went away (`| head`); without this Python complains again while flushing.
        with open(os.devnull, "wb") as sink:
            os.dup2(sink.fileno(), sys.stdout.fileno())
        return EXIT_FAILED
