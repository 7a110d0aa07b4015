"""The ``skerry`` command: one parser, one file per subcommand, and the mapping of typed errors to exit codes.

A subcommand's file has ``add_parser(subcommands)``, which sets ``run`` (arguments → exit code). Configuration is loaded
in ``options``; this file only dispatches and says, in one line without a traceback, what went wrong.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version

from gateway.cli import config_check
from gateway.cli.outcomes import EXIT_CLOUD, EXIT_CODES_TEXT, EXIT_FAILED, EXIT_INTERRUPTED, EXIT_USAGE, complain
from gateway.config import ConfigError
from gateway.store.errors import StoreError
from replication.ports import CloudError

_COMMANDS = (config_check,)


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
        return run(arguments)
    except ConfigError as error:
        for problem in error.problems:
            complain(str(problem))
        return EXIT_USAGE
    except CloudError as error:
        complain(f"cloud: {error}")
        return EXIT_CLOUD
    except StoreError as error:
        complain(str(error))
        return EXIT_FAILED
    except KeyboardInterrupt:
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read us went away (`| head`); without this Python complains again while flushing.
        with open(os.devnull, "wb") as sink:
            os.dup2(sink.fileno(), sys.stdout.fileno())
        return EXIT_FAILED
