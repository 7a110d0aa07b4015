"""Options that commands share, and the way from them to a ``Config``.

``--config`` names the file (else ``SKERRY_CONFIG``), ``--data`` the data directory alone. Both may be given.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from gateway.config import Config, ConfigError, Overrides, load_config
from gateway.config_reader import Problem

Subcommands = Any
"""argparse's subparsers action, which has no public generic type."""


def new_command(subcommands: Subcommands, name: str, description: str, example: str) -> argparse.ArgumentParser:
    """A command's parser. Its summary stands in ``command``'s table, so that a list of commands needs none of them."""
    return new_parser(subcommands, name, "", description, example)


def new_parser(
    subcommands: Subcommands, name: str, summary: str, description: str, example: str
) -> argparse.ArgumentParser:
    """A verb's parser: a summary for the list, a description and an example for its own ``--help``."""
    parser: argparse.ArgumentParser = subcommands.add_parser(
        name,
        help=summary,
        description=description,
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser


def add_site_options(parser: argparse.ArgumentParser, *, json: bool = True) -> None:
    """``--config``, ``--data`` and, where there is an answer to print, ``--json``."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="configuration (default: $SKERRY_CONFIG, if set)")
    parser.add_argument("--data", type=Path, metavar="DIR", help="data directory; alone, it stands for a configuration")
    if json:
        parser.add_argument("--json", action="store_true", help="print one JSON document")


def config_path(arguments: argparse.Namespace) -> Path | None:
    """The configuration file that was asked for, if any."""
    if arguments.config is not None:
        return Path(arguments.config)
    named = arguments.environment.get("SKERRY_CONFIG")
    return Path(named) if named else None


def load_site_config(arguments: argparse.Namespace, *, try_files: bool = False) -> Config:
    """The configuration these arguments ask for; ``ConfigError`` says everything that is wrong with it.

    ``try_files``: files it names that cannot be read included.
    """
    overrides = Overrides(
        data=arguments.data, listen=getattr(arguments, "listen", None), workers=getattr(arguments, "workers", None)
    )
    return load_config(config_path(arguments), arguments.environment, overrides, try_files=try_files)


def load_cloud_config(arguments: argparse.Namespace) -> Config:
    """The same of a site that has a cloud; without one ``ConfigError``: the command has nothing to work on."""
    config = load_site_config(arguments)
    if config.cloud is None:
        source = str(config_path(arguments) or "configuration")
        raise ConfigError([Problem(source, None, "[cloud] bucket", "not set: no cloud is configured")])
    return config
