"""``skerry rekey``: have everything sealed anew that lies under an older epoch than the current one.

Only a mark is made here, which travels to every site: the work is the collectors', on each site's disk and in the
bucket, beside everything else (``replication/DESIGN.md``, Keys). How far it is, ``skerry keys list`` says; at the end
``skerry keys drop-epoch`` ends the key itself.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from gateway.cli.epoch_progress import describe_epochs
from gateway.cli.opening import opened_site
from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_command
from gateway.cli.outcomes import EXIT_FAILED, EXIT_OK, complain, print_json
from gateway.cli.site_status import read_report


def add_parser(subcommands: Subcommands) -> None:
    """Add ``rekey``."""
    parser = new_command(
        subcommands,
        "rekey",
        "Have everything sealed anew that lies under an older epoch than the current one: on this site, in the\n"
        "bucket, on every other site. Running sites do it in the background, and need their [retention] grace_days\n"
        "and point_in_time_days for it: what may be looked back to stays as it is until then. Begin an epoch first:\n"
        "`skerry keys rotate`. `skerry keys list` says how far it is; when nothing is left, `skerry keys drop-epoch`\n"
        "ends the old key: who kept it opens nothing with it any more that still lies anywhere. Backups of a site\n"
        "taken before are then the last place where it does. Who has a root key of then, too, and reads the bucket of\n"
        "today, opens what lies under the new epoch, unless that began with `keys rotate --new-recovery-key`.",
        "skerry rekey --config site.toml",
    )
    add_site_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    async def rekey() -> dict[str, Any]:
        async with opened_site(load_site_config(arguments)) as site:
            if site.cloud is not None:
                await site.realm.refresh(site.cloud)
            retired = await site.realm.retire_epochs(site.cloud)
            return {
                "retired": [epoch.hex() for epoch in retired],
                "epochs": describe_epochs(site, read_report(site), exact=True),
            }

    document = asyncio.run(rekey())
    if arguments.json:
        print_json(document)
    elif document["retired"]:
        for epoch in document["epochs"]:
            if epoch["retired"]:
                print(f"epoch {epoch['id']} is to end: {epoch['sealed_here']} things on this disk are sealed under it")
        print("running sites seal them anew from now on; how far they are says")
        print("  skerry keys list")
    if not document["retired"]:
        complain("there is one epoch only: begin another with `skerry keys rotate`, then seal anew what is older")
        return EXIT_FAILED
    return EXIT_OK
