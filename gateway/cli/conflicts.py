"""``skerry conflicts``: what merging left to people: two writes that collided, conditions that did not hold after all.

Without a verb it lists, and leaves alone: the losing value is an ordinary version that S3 clients read and delete by
its version id. The verbs are in ``conflict_verbs``.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from gateway.cli.conflict_verbs import add_verbs
from gateway.cli.opening import opened_site
from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_command, new_parser
from gateway.cli.outcomes import EXIT_FAILED, EXIT_NO, EXIT_OK, complain, print_json, print_table
from gateway.store.conflicts import Conflict, scan_conflicts
from gateway.store.ports import Version


def add_parser(subcommands: Subcommands) -> None:
    """Add ``conflicts``."""
    parser = new_command(
        subcommands,
        "conflicts",
        "Keys that collided, with the winner and the kept losers. A loser is read with get-object --version-id, and "
        "dropped with delete-object --version-id.",
        "skerry conflicts --data ./data --bucket photos",
    )
    add_site_options(parser)
    parser.add_argument("--bucket", metavar="NAME", help="only of this bucket")
    parser.add_argument("--exit-code", action="store_true", help="exit with 1 if there are any")
    parser.set_defaults(run=_show_conflicts)
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", title="more than a list")
    listing = new_parser(
        verbs,
        "list",
        "every key that collided (without a verb, too)",
        "Keys that collided, with the winner and the kept losers.",
        "skerry conflicts list --data ./data",
    )
    add_site_options(listing)
    listing.add_argument("--bucket", metavar="NAME", help="only of this bucket")
    listing.add_argument("--exit-code", action="store_true", help="exit with 1 if there are any")
    listing.set_defaults(run=_show_conflicts)
    add_verbs(verbs)


def _show_conflicts(arguments: argparse.Namespace) -> int:
    found = asyncio.run(_read_conflicts(arguments))
    if found is None:
        complain(f"there is no bucket {arguments.bucket!r} here")
        return EXIT_FAILED
    if arguments.json:
        print_json({"conflicts": found})
    else:
        rows = []
        for conflict in found:
            name = f"{conflict['bucket'] or '(deleted bucket)'}/{conflict['key']}"
            rows += [(name, "lost", loser["version_id"], loser["etag"], loser["size"]) for loser in conflict["losers"]]
            rows += [
                (name, f"broken {broken['condition']}", broken["version_id"], broken["etag"], broken["size"])
                for broken in conflict["broken_conditions"]
            ]
        print_table(("OBJECT", "WHAT", "VERSION ID", "ETAG", "SIZE"), rows)
    return EXIT_NO if found and arguments.exit_code else EXIT_OK


async def _read_conflicts(arguments: argparse.Namespace) -> list[dict[str, Any]] | None:
    """What collided; None if the bucket that was named is not there."""
    async with opened_site(load_site_config(arguments)) as site:
        with site.store.view() as view:
            uid = b""
            if arguments.bucket:
                bucket = view.bucket(arguments.bucket)
                if bucket is None:
                    return None
                uid = bucket.uid
            return [_describe(conflict) for conflict in scan_conflicts(view, uid)]


def _describe(conflict: Conflict) -> dict[str, Any]:
    return {
        "bucket": conflict.bucket,
        "key": conflict.key.decode("utf-8", "replace"),
        "winner": None if conflict.winner is None else _describe_version(conflict.winner),
        "losers": [_describe_version(loser) for loser in conflict.losers],
        "broken_conditions": [
            {**_describe_version(broken.version), "condition": broken.header} for broken in conflict.broken
        ],
    }


def _describe_version(version: Version) -> dict[str, Any]:
    record = version.record
    return {
        "version_id": version.id.text,
        "etag": record.etag,
        "size": record.size,
        "modified_ms": record.modified_ms,
        "delete_marker": record.marker,
    }
