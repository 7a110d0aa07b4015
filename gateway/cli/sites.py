"""``skerry sites``: the fleet as any site sees it, and what is said of sites: named, retired, forgotten, revoked.

What a verb says is an own change like any other: it is acknowledged here at once, works without the cloud, and reaches
the others with the next batch.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any, Final

from gateway.cli.fleet_view import describe_fleet, describe_waits, format_waits, list_waits, see_fleet
from gateway.cli.opening import opened_site
from gateway.cli.options import (
    Subcommands,
    add_site_options,
    load_cloud_config,
    load_site_config,
    new_command,
    new_parser,
)
from gateway.cli.outcomes import EXIT_OK, describe_bytes, print_json, print_table
from gateway.cli.site_status import read_report
from gateway.cli.site_verbs import forget, name, retire, revoke
from gateway.config import Config
from replication.site_policy import site_policy

_NAMED: Final = "a site's name, id, or the first 8 digits of its id"


def add_parser(subcommands: Subcommands) -> None:
    """Add ``sites`` and its verbs."""
    about = "The sites of the realm: who is there and how they are, and who is no longer to be waited for."
    sites = new_command(subcommands, "sites", about, "skerry sites list --config site.toml")
    verbs = sites.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = new_parser(
        verbs,
        "list",
        "every site, as it told of itself last",
        "Every site of the realm as this one knows it: backlog, free space and days until it is full, what its packs\n"
        "have in the bucket and how much of that is to go (dead: once it was for [retention] point_in_time_days;\n"
        "doomed: once all have let go of it), when it was last heard, how far its logs were taken in, and which sites\n"
        "hold back what may be collected.",
        "skerry sites list --config site.toml --json",
    )
    add_site_options(listing)
    listing.set_defaults(run=_list)
    policy = new_parser(
        verbs,
        "policy",
        "the access policy for this site's cloud user",
        "Print, as AWS IAM JSON, what this site's cloud user needs: read the realm, write only below its own names.",
        "skerry sites policy --config site.toml",
    )
    add_site_options(policy, json=False)
    policy.set_defaults(run=_policy)
    _add_name(verbs)
    _add_retire(verbs)
    _add_forget(verbs)
    _add_revoke(verbs)


def _add_name(verbs: Subcommands) -> None:
    parser = new_parser(
        verbs,
        "name",
        "call a site something",
        "Call a site something on all sites, whatever its own configuration calls it.",
        "skerry sites name 3f9c12ab shop-7 --config site.toml",
    )
    parser.add_argument("site", metavar="SITE", help=_NAMED)
    parser.add_argument("name", metavar="NAME")
    add_site_options(parser)
    parser.set_defaults(run=name)


def _add_retire(verbs: Subcommands) -> None:
    parser = new_parser(
        verbs,
        "retire",
        "end a site in good order: ship all, then end its log",
        "End a site in good order: it ships all it has, ends its log, and is waited for no longer. Without SITE, this\n"
        "one; the command then replicates until that is done. Another site obeys when it hears of it. Its data stays\n"
        "readable from everywhere. Exit code 3 if it could not be done here, 4 if the cloud cannot be reached.",
        "skerry sites retire --config site.toml --yes",
    )
    parser.add_argument("site", metavar="SITE", nargs="?", help=f"{_NAMED}; default: this site")
    _add_yes(parser)
    add_site_options(parser)
    parser.set_defaults(run=retire)


def _add_forget(verbs: Subcommands) -> None:
    parser = new_parser(
        verbs,
        "forget",
        "no longer wait for a site that is lost for good",
        "Declare a site lost for good: what was taken in of it here or anywhere stays, what else it may have is given\n"
        "up, and nobody waits for it. If the machine comes back it is a stranger. A site that spoke within the last\n"
        "hour, or of which the bucket holds what was not taken in here yet, is not forgotten unless --force. There is\n"
        "no way back. Exit code 3 if it is refused.",
        "skerry sites forget shop-7 --heir head-office --config site.toml --yes",
    )
    parser.add_argument("site", metavar="SITE", help=_NAMED)
    parser.add_argument("--heir", metavar="SITE", required=True, help="who looks after its objects in the bucket")
    parser.add_argument("--force", action="store_true", help="even if it spoke within the last hour, or is unread")
    _add_yes(parser)
    add_site_options(parser)
    parser.set_defaults(run=forget)


def _add_revoke(verbs: Subcommands) -> None:
    parser = new_parser(
        verbs,
        "revoke",
        "trust a stolen site no more",
        "A site was stolen: forget it, and refuse and report whatever its log brings from now on. Prints what else\n"
        "there is to do: a stolen box has the realm's keys and its own cloud credentials.",
        "skerry sites revoke shop-7 --config site.toml --yes",
    )
    parser.add_argument("site", metavar="SITE", help=_NAMED)
    parser.add_argument("--heir", metavar="SITE", help="who looks after its objects in the bucket; default: this site")
    _add_yes(parser)
    add_site_options(parser)
    parser.set_defaults(run=revoke)


def _add_yes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--yes", action="store_true", help="do it without asking")


def _list(arguments: argparse.Namespace) -> int:
    async def read() -> dict[str, Any]:
        async with opened_site(load_site_config(arguments)) as site:
            report = read_report(site)
            census, fleet = see_fleet(site, report)
            waits = describe_waits(list_waits(census, report), fleet)
            return {"sites": describe_fleet(fleet, report), "waiting_for": waits}

    document = asyncio.run(read())
    if arguments.json:
        print_json(document)
        return EXIT_OK
    head = (
        "SITE",
        "NAME",
        "STATE",
        "RELEASE",
        "UNSENT",
        "FREE",
        "FULL IN",
        "IN BUCKET",
        "OF IT TO GO",
        "HEARD",
        "TAKEN IN",
    )
    print_table((*head, "REMARK"), [format_site(row) for row in document["sites"]])
    for line in format_waits(document["waiting_for"]):
        print(line)
    return EXIT_OK


def format_site(site: dict[str, Any]) -> tuple[object, ...]:
    """One row of ``sites list``, of what its JSON says."""
    heard = "" if site["last_seen_age_s"] is None else f"{site['last_seen_age_s']:.0f} s ago"
    taken_in = ", ".join(f"{log['applied_batches']}/{log['known_batches']}" for log in site["logs"] if not log["ended"])
    remarks = [log[why] for log in site["logs"] for why in ("stopped", "refused") if log[why]]
    if site["state"] == "member" and site["logs"] and all(log["ended"] for log in site["logs"]):
        remarks.append("its log has ended: it was replaced, or goes on as another site; see `skerry sites forget`")
    return (
        site["site_id"][:8],
        site["name"],
        site["state"],
        site["release"] or "",
        ""
        if site["backlog_changes"] is None
        else f"{site['backlog_changes']} ({describe_bytes(site['backlog_bytes'])})",
        "" if site["free_bytes"] is None else describe_bytes(site["free_bytes"]),
        "" if site["full_in_days"] is None else f"{site['full_in_days']:.1f} days",
        *_in_bucket(site),
        "" if site["state"] == "this site" else heard,
        taken_in,
        "; ".join(remarks),
    )


def _in_bucket(site: dict[str, Any]) -> tuple[str, str]:
    """How much a site's packs have; what of that nothing needs and waits for its time, or for all to let go of it."""
    if site["cloud_live_bytes"] is None:
        return "", ""
    dead, doomed = site["cloud_dead_bytes"], site["cloud_doomed_bytes"]
    parts = [(dead, "dead" if site["collects"] else "dead, kept"), (doomed, "doomed")]
    going = ", ".join(f"{describe_bytes(count)} {what}" for count, what in parts if count)
    return describe_bytes(site["cloud_live_bytes"] + dead + doomed), going


def _policy(arguments: argparse.Namespace) -> int:
    config = load_cloud_config(arguments)
    assert config.cloud is not None
    print(site_policy(config.cloud.bucket, config.cloud.prefix, asyncio.run(_read_site_id(config))))
    return EXIT_OK


async def _read_site_id(config: Config) -> bytes:
    async with opened_site(config) as site:
        return site.replica.identity().site
