"""``skerry collect-cloud``: take back what nothing needs in the bucket now, or say what of it there is.

The daemon does the same once in ``[retention] collect_interval_s``. Works beside a running server, which steps aside
meanwhile. Only this site's own packs are emptied and deleted, and only when every member has let go of them, so a first
run may only doom what a later one deletes; ``skerry status`` says who is waited for.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from typing import Any, Final

from gateway.cli.logs import configure_logs
from gateway.cli.opening import OpenSite, opened_site
from gateway.cli.options import Subcommands, add_site_options, load_cloud_config, new_command
from gateway.cli.outcomes import EXIT_FAILED, EXIT_OK, complain, describe_bytes, print_json
from gateway.cli.replicator import collect_once
from gateway.config import Config
from replication.cloud_names import site_prefix
from replication.collector import CollectedRound, is_worth_it
from replication.status import CloudAccount

OBJECTS_AT_ONCE: Final = 64


def add_parser(subcommands: Subcommands) -> None:
    """Add ``collect-cloud``."""
    parser = new_command(
        subcommands,
        "collect-cloud",
        "Empty and delete this site's packs in the bucket that are mostly dead for longer than [retention] says, once\n"
        "every other site has let go of them, and the batches of its log that a checkpoint of its own stands in for\n"
        "(`skerry checkpoint`); not where [retention] collect_cloud is off. --dry-run: only say what there is.",
        "skerry collect-cloud --dry-run --config site.toml",
    )
    parser.add_argument("--dry-run", action="store_true", help="change nothing, say how much is alive, dead and doomed")
    add_site_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    config = load_cloud_config(arguments)
    configure_logs(config.log.level, "collect-cloud")
    if not arguments.dry_run and not config.retention.collect_cloud:
        complain("[retention] collect_cloud is off: set it to true to have anything deleted, or ask with --dry-run")
        return EXIT_FAILED
    document = asyncio.run(_collect(config, dry=arguments.dry_run))
    if arguments.json:
        print_json(document)
    else:
        print(_describe(document))
    return EXIT_OK


async def _collect(config: Config, *, dry: bool) -> dict[str, Any]:
    async with opened_site(config) as site:
        done = CollectedRound() if dry else await collect_once(site)
        account, due = await asyncio.to_thread(_count, site)
        return {
            "objects": account.objects,
            "bytes": account.bytes,
            "live_bytes": account.live_bytes,
            "dead_bytes": account.dead_bytes,
            "doomed_bytes": account.doomed_bytes,
            "objects_to_doom": due,
            "doomed": done.doomed,
            "deleted": done.deleted,
            "moved_bytes": done.moved_bytes,
            "batches_deleted": done.batches,
            "indexes_deleted": done.indexes,
            "orphans_deleted": done.orphans,
            "tombstones_ended": done.ended,
        }


def _count(site: OpenSite) -> tuple[CloudAccount, int]:
    """What this site has in the bucket, and how many of the objects are due to go."""
    settings = site.config.retention.collecting()
    since_ms = time.time_ns() // 1_000_000 - settings.point_in_time_ms
    account, due, after = CloudAccount(), 0, ""
    prefix = site_prefix(site.replica.identity().site)
    while held := site.store.holdings.held_objects(prefix, after, OBJECTS_AT_ONCE, since_ms):
        for one in held:
            account.add(one)
            due += is_worth_it(one, settings)
            after = one.name
    return account, due


def _describe(document: dict[str, Any]) -> str:
    size = {name: describe_bytes(value) for name, value in document.items() if name.endswith("bytes")}
    lines = [
        f"{document['objects']} objects with {size['bytes']} in the bucket: {size['live_bytes']} alive, "
        f"{size['dead_bytes']} dead, {size['doomed_bytes']} doomed",
        f"{document['objects_to_doom']} objects are to be doomed",
    ]
    if document["doomed"] or document["deleted"] or document["moved_bytes"]:
        lines.append(
            f"now: {document['doomed']} doomed, {document['deleted']} deleted, {size['moved_bytes']} moved to new ones"
        )
    if document["batches_deleted"] or document["indexes_deleted"]:
        lines.append(
            f"of this site's log {document['batches_deleted']} batches and {document['indexes_deleted']} indexes were "
            "deleted, which its checkpoint stands in for"
        )
    if document["orphans_deleted"]:
        lines.append(f"{document['orphans_deleted']} objects were deleted that interrupted rounds had left")
    if document["tombstones_ended"]:
        lines.append(f"{document['tombstones_ended']} tombstones were ended: every site had seen them long enough")
    return "\n".join(lines)
