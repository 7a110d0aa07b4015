"""``skerry evict``: give up local copies of cold objects now, or say what could go.

The server keeps to ``[tier]`` by itself; this is for operators who need the space now. Works beside a running server.
Whatever it is asked, it gives up nothing that the cloud does not verifiably have, and nothing pinned.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from gateway.cli import tier_runner
from gateway.cli.logs import configure_logs
from gateway.cli.opening import opened_site
from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_command
from gateway.cli.outcomes import EXIT_FAILED, EXIT_NO, EXIT_OK, EXIT_USAGE, complain, describe_bytes, print_json
from gateway.config import Config


def add_parser(subcommands: Subcommands) -> None:
    """Add ``evict``."""
    parser = new_command(
        subcommands,
        "evict",
        "Give up the local copies of cold objects that the cloud verifiably has; reading fetches them again.\n"
        "Least recently used first; never what is pinned or not in the cloud yet. Exit code 1: less than --bytes\n"
        "could go.",
        "skerry evict --now --bucket films --prefix 2019/ --config site.toml",
    )
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dry-run", action="store_true", help="only say how many bytes could go")
    what.add_argument("--now", action="store_true", help="evict: all that may go, or --bytes of it")
    parser.add_argument("--bytes", type=int, metavar="N", help="with --now: so many bytes, coldest first")
    parser.add_argument("--bucket", default="", help="only objects of this bucket")
    parser.add_argument("--prefix", default="", help="with --bucket: only keys that begin so")
    add_site_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    config = load_site_config(arguments)
    configure_logs(config.log.level, "evict")
    if arguments.prefix and not arguments.bucket:
        complain("--prefix needs --bucket")
        return EXIT_USAGE
    if arguments.bytes is not None and (arguments.dry_run or arguments.bytes < 1):
        complain("--bytes must be positive, and goes with --now")
        return EXIT_USAGE
    if config.cloud is None:
        complain("no cloud is configured: nothing can be evicted")
        return EXIT_FAILED
    document = asyncio.run(_evict(config, arguments))
    if document is None:
        complain(f"there is no bucket {arguments.bucket!r} on this site")
        return EXIT_FAILED
    if arguments.json:
        print_json(document)
    else:
        print(_describe(document))
    return EXIT_NO if document.get("short_bytes") else EXIT_OK


async def _evict(config: Config, arguments: argparse.Namespace) -> dict[str, Any] | None:
    where = {"bucket": arguments.bucket, "prefix": arguments.prefix.encode()}
    async with opened_site(config) as site:
        if arguments.bucket:
            with site.store.view() as view:
                if view.bucket(arguments.bucket) is None:
                    return None
        if arguments.dry_run:
            return vars(await tier_runner.count(site, **where))
        summary = await tier_runner.run_pass(site, arguments.bytes, **where)
        return {name: value for name, value in vars(summary).items() if name != "census"} | vars(summary.census)


def _describe(document: dict[str, Any]) -> str:
    if "evicted_bytes" not in document:
        return (
            f"{describe_bytes(document['evictable_bytes'])} could go; "
            f"{describe_bytes(document['pinned_bytes'])} are pinned, "
            f"{describe_bytes(document['unreplicated_bytes'])} are not in the cloud yet, "
            f"{describe_bytes(document['remote_only_bytes'])} are only there"
        )
    short = document["short_bytes"]
    more = f"; {describe_bytes(short)} more could not go: pinned, or not in the cloud yet" if short else ""
    return f"evicted {describe_bytes(document['evicted_bytes'])} of {document['evicted_versions']} versions{more}"
