"""``skerry rebuild-index``: the index anew from the segments, which are the truth. Not beside a running server."""

from __future__ import annotations

import argparse

from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_command
from gateway.cli.outcomes import EXIT_NO, EXIT_OK, print_json
from gateway.cli.progress import PhaseProgress
from gateway.cli.site import open_site
from gateway.store.store import rebuild_store_index


def add_parser(subcommands: Subcommands) -> None:
    """Add ``rebuild-index``."""
    parser = new_command(
        subcommands,
        "rebuild-index",
        "Make the index anew from the segments, while no server runs. The old one stays until the new one is whole. "
        "Exit code 1: it was made, and damage was found on the way.",
        "skerry rebuild-index --data ./data",
    )
    add_site_options(parser)
    parser.set_defaults(run=_rebuild)


def _rebuild(arguments: argparse.Namespace) -> int:
    config = load_site_config(arguments)
    keys = open_site(config)
    with PhaseProgress() as progress:
        rebuilt = rebuild_store_index(keys.directory, keys.realm.keyring(), config.store, progress.tell)
    broken = [str(stretch) for stretch in rebuilt.broken]
    if arguments.json:
        document = {"batches": rebuilt.batches, "frames": rebuilt.frames, "torn": rebuilt.torn, "broken": broken}
        print_json(document)
    else:
        print(f"index made anew from {rebuilt.batches} log batches and {rebuilt.frames} frames")
        if rebuilt.torn:
            print("the log's end was torn: what was not acknowledged is not in it")
        for stretch in broken:
            print(f"damage: {stretch}")
    return EXIT_NO if broken else EXIT_OK
