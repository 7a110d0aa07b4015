"""``skerry config check``: whether a configuration can be used, and what a site would run with.

Reads only; starts nothing. Secrets are shown as being set, never as what they are.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gateway.cli.options import Subcommands, add_site_options, config_path, load_site_config, new_command, new_parser
from gateway.cli.outcomes import EXIT_OK, EXIT_USAGE, complain, print_json
from gateway.config import SECTIONS, Config, ConfigError
from gateway.config_reader import settable_fields


def add_parser(subcommands: Subcommands) -> None:
    """Add ``config check``."""
    config = new_command(
        subcommands,
        "config",
        "Look at a configuration.",
        "skerry config check --config site.toml",
    )
    verbs = config.add_subparsers(dest="verb", required=True, metavar="VERB")
    parser = new_parser(
        verbs,
        "check",
        "say whether a configuration can be used",
        "Check a configuration file and SKERRY_* variables: every wrong key with file, line and reason (exit code 2).",
        "skerry config check --config site.toml",
    )
    parser.add_argument("file", nargs="?", type=Path, metavar="FILE", help="the same as --config FILE")
    add_site_options(parser)
    parser.set_defaults(run=check_config)


def check_config(arguments: argparse.Namespace) -> int:
    """Load, and say what was found."""
    if arguments.file is not None:
        arguments.config = arguments.file
    try:
        config = load_site_config(arguments, try_files=True)
    except ConfigError as error:
        if arguments.json:
            print_json({"valid": False, "problems": [problem._asdict() for problem in error.problems]})
        else:
            for problem in error.problems:
                complain(str(problem))
        return EXIT_USAGE
    if arguments.json:
        print_json({"valid": True, "config": describe_config(config)})
    else:
        print(f"{config_path(arguments) or 'configuration'}: good")
    return EXIT_OK


def describe_config(config: Config) -> dict[str, dict[str, Any] | None]:
    """Section → key → value as JSON can hold it, with secrets masked; None for a section that is not there."""
    described: dict[str, dict[str, Any] | None] = {}
    for name, schema in SECTIONS.items():
        section = getattr(config, name)
        described[name] = section and {
            field.name: _describe_value(getattr(section, field.name), secret=not field.repr)
            for field in settable_fields(schema)
        }
    return described


def _describe_value(value: Any, *, secret: bool) -> Any:
    if secret and value:
        return "***"
    return str(value) if isinstance(value, Path) else value
