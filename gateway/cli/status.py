"""``skerry status``: what the cloud lacks, what collided, what came from other sites, whether this site may be lost."""

from __future__ import annotations

import argparse
import asyncio
from datetime import UTC, datetime
from typing import Any

from gateway.cli.fleet_view import format_waits
from gateway.cli.opening import opened_site
from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_command
from gateway.cli.outcomes import EXIT_NO, EXIT_OK, describe_bytes, print_json, print_table
from gateway.cli.site_status import describe_site


def add_parser(subcommands: Subcommands) -> None:
    """Add ``status``."""
    parser = new_command(
        subcommands,
        "status",
        "The state of a site, counted from its log: exact beside a running server and without one.",
        "skerry status --data ./data --json",
    )
    add_site_options(parser)
    parser.add_argument(
        "--exit-code", action="store_true", help="exit with 1 if the site is not safe to lose (0 otherwise)"
    )
    parser.set_defaults(run=_show_status)


def _show_status(arguments: argparse.Namespace) -> int:
    document = asyncio.run(_read_status(arguments))
    if arguments.json:
        print_json(document)
    else:
        _print_status(document)
    return EXIT_NO if arguments.exit_code and not document["safe_to_lose"] else EXIT_OK


async def _read_status(arguments: argparse.Namespace) -> dict[str, Any]:
    async with opened_site(load_site_config(arguments)) as site:
        return describe_site(site)


def _describe_dead(dead: dict[str, Any]) -> str:
    why = ", ".join(f"{count} {reason.replace('_', ' ')}" for reason, count in sorted(dead["kept"].items()))
    text = f"{dead['total']} kept{f' ({why})' if why else ''}, {dead['ended']} ended since the daemon's start"
    if not dead["due_ms"]:
        return text
    due = datetime.fromtimestamp(dead["due_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return f"{text}; what everybody has seen by now goes from {due} on"


def _describe_requests(asked: dict[str, Any]) -> str:
    """Requests in the last hour, or in what has passed of the first, and what a month of such hours costs."""
    if asked["since_ms"] is None:
        return "nothing yet"
    if asked["an_hour"] is None:
        kinds = ", ".join(f"{count} {kind.upper()}" for kind, count in asked["total"].items())
        return f"{kinds}, in all; too soon to say how many an hour"
    kinds = ", ".join(f"{count:.0f} {kind.upper()}" for kind, count in asked["an_hour"].items())
    price = asked["cost_a_month"]
    money = "" if price is None else f"; {price:.2f} {asked['currency']} a month at that"
    return f"{kinds} an hour (counted for {asked['counted_s'] / 60:.0f} min){money}"


def _print_status(document: dict[str, Any]) -> None:
    print(f"site {document['site']} ({document['site_id']})")
    age = document["oldest_unsent_age_s"]
    waiting = "" if age is None else f", the oldest for {age:.0f} s"
    backlog = f"{document['backlog_changes']} changes, {describe_bytes(document['backlog_bytes'])}"
    print(f"not in the cloud yet: {backlog}{waiting}")
    print(f"in open uploads, never shipped: {describe_bytes(document['open_upload_bytes'])}")
    void = f"; permanent deletes that a lock made void: {document['void_purges']}" if document["void_purges"] else ""
    print(f"conflicts: {document['conflicts']}; broken conditions: {document['broken_conditions']}{void}")
    print(f"safe to lose: {'yes' if document['safe_to_lose'] else 'no'}")
    for reason in document["reasons"]:
        print(f"  - {reason}")
    if held := document["cloud_objects"]:
        sizes = [describe_bytes(held[name]) for name in ("live_bytes", "dead_bytes", "doomed_bytes")]
        print("its objects in the bucket: {} alive, {} dead, {} doomed".format(*sizes))
    if asked := document["cloud_requests"]:
        print(f"asked of the bucket: {_describe_requests(asked)}")
    if dead := document["tombstones"]:
        print(f"tombstones: {_describe_dead(dead)}")
    kinds = ("packs_deleted", "batches_deleted", "orphans_deleted")
    if (done := document["cloud_collected"]) and any(done[kind] for kind in kinds):
        counts = f"{done['packs_deleted']} packs, {done['batches_deleted']} batches of its log"
        print(f"deleted in the bucket since it began to: {counts}, {done['orphans_deleted']} leftovers")
    for parting in document["partings"][-3:]:
        at = datetime.fromtimestamp(parting["at_ms"] / 1000, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
        issued = f"{parting['changes_issued_anew']} changes were issued anew"
        print(f"{at}: went on from site {parting['site_id']}, {parting['incarnation']}: {parting['reason']}; {issued}")
    for warning in document["warnings"]:
        print(f"warning: {warning}")
    if document["sites"]:
        rows = [
            (
                *(site["name"], site["site_id"], site["incarnation"], site["applied_batches"], site["applied_changes"]),
                site["stopped"],
            )
            for site in document["sites"]
        ]
        for line in format_waits(document["waiting_for"]):
            print(line)
        print_table(("OTHER SITE", "ID", "INCARNATION", "BATCHES APPLIED", "CHANGES", "STOPPED"), rows)
