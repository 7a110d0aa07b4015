"""``skerry sites``: the sites of the realm as this one knows them, and what a site's cloud user may do."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from gateway.cli.opening import opened_site
from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_parser
from gateway.cli.outcomes import EXIT_OK, EXIT_USAGE, complain, print_json, print_table
from gateway.cli.site import open_site
from gateway.cli.site_status import describe_site
from replication.site_policy import site_policy


def add_parser(subcommands: Subcommands) -> None:
    """Add ``sites`` and its verbs."""
    sites = new_parser(
        subcommands,
        "sites",
        "the sites of the realm",
        "The sites of the realm.",
        "skerry sites list --config site.toml",
    )
    verbs = sites.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = new_parser(
        verbs,
        "list",
        "this site and those it took changes from",
        "This site and every log of another that it took in, with how far.",
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


def _list(arguments: argparse.Namespace) -> int:
    async def read() -> dict[str, Any]:
        async with opened_site(load_site_config(arguments)) as site:
            return describe_site(site)

    document = asyncio.run(read())
    this = {key: document[key] for key in ("site", "site_id", "incarnation", "realm")}
    if arguments.json:
        print_json({"this": this, "others": document["sites"]})
        return EXIT_OK
    rows: list[tuple[object, ...]] = [(this["site_id"], this["incarnation"], "this site", "")]
    rows += [
        (other["site_id"], other["incarnation"], other["applied_changes"], other["stopped"])
        for other in document["sites"]
    ]
    print_table(("SITE", "INCARNATION", "CHANGES TAKEN IN", "STOPPED"), rows)
    return EXIT_OK


def _policy(arguments: argparse.Namespace) -> int:
    config = load_site_config(arguments)
    if config.cloud is None:
        complain("no cloud is configured: [cloud] bucket is not set")
        return EXIT_USAGE
    print(site_policy(config.cloud.bucket, config.cloud.prefix, open_site(config).directory.site))
    return EXIT_OK
