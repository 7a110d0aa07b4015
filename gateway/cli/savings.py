"""``skerry savings``: what deduplication, patches and compression kept off the link and out of the cloud.

Counted from the log and the index, not from counters: what applications wrote on this site since its incarnation
began, what the cloud gets for it, what is held now and how small; and, from the workers' counters, what they answered
since the server started. In money where ``[tariff]`` says what things cost.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
from typing import Any

from gateway.cli.opening import OpenSite, opened_site
from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_command
from gateway.cli.outcomes import EXIT_OK, describe_bytes, print_json
from gateway.cli.progress import PhaseProgress
from gateway.store.written_sums import HeldSums, WrittenSums
from replication.tariff import Tariff


def add_parser(subcommands: Subcommands) -> None:
    """Add ``savings``."""
    parser = new_command(
        subcommands,
        "savings",
        "What applications wrote on this site, what of it the cloud got after deduplication, patches and compression, "
        "and what is held now. In money with prices in [tariff].",
        "skerry savings --config site.toml --json",
    )
    add_site_options(parser)
    parser.set_defaults(run=_show)


def _show(arguments: argparse.Namespace) -> int:
    document = asyncio.run(_read(arguments))
    if arguments.json:
        print_json(document)
    else:
        _print(document)
    return EXIT_OK


async def _read(arguments: argparse.Namespace) -> dict[str, Any]:
    async with opened_site(load_site_config(arguments)) as site:
        return _describe(site)


def _describe(site: OpenSite) -> dict[str, Any]:
    with PhaseProgress() as bars:
        total = site.replica.last_seq()
        written = site.replica.sum_written(lambda done: bars.tell("changes", done, total))
        held = site.replica.sum_held()
    saved = written.written_bytes - written.ship_bytes
    return {
        "incarnation": site.replica.identity().incarnation.hex(),
        "written": dataclasses.asdict(written),
        "upload_saved_bytes": saved,
        "held": dataclasses.asdict(held),
        "money": _price(site.config.tariff, written, held),
    }


def _price(tariff: Tariff, written: WrittenSums, held: HeldSums) -> dict[str, Any] | None:
    """What was saved, in the tariff's currency; None without prices."""
    if not tariff.is_told:
        return None
    saved = written.written_bytes - written.ship_bytes
    return {
        "currency": tariff.currency,
        "upload_saved": tariff.upload(saved),
        "storage_saved_per_month": tariff.storage_month(saved),
        "reading_all_from_the_cloud": tariff.download(held.raw_bytes - held.remote_only_bytes),
    }


def _print(document: dict[str, Any]) -> None:
    written, held, money = document["written"], document["held"], document["money"]
    print(f"since incarnation {document['incarnation']} began, on this site:")
    print(
        f"  written by applications: {describe_bytes(written['written_bytes'])} in {written['object_writes']} objects"
    )
    print(f"  the cloud gets for it:   {describe_bytes(written['ship_bytes'])}{_ratio(written)}")
    print(f"  never sent:              {describe_bytes(max(0, document['upload_saved_bytes']))}")
    print("held now, every chunk counted once:")
    print(f"  content: {describe_bytes(held['raw_bytes'])} in {held['chunks']} chunks")
    print(f"  on this disk: {describe_bytes(held['local_bytes'])} (compressed, patched, sealed)")
    print(f"  only in the cloud: {describe_bytes(held['remote_only_bytes'])}")
    if money is None:
        print("no prices: set [tariff] to see money")
        return
    currency = money["currency"]
    print(f"upload saved: {money['upload_saved']:.2f} {currency}")
    print(f"storage saved: {money['storage_saved_per_month']:.2f} {currency} a month")
    print(f"reading what is here once from the cloud: {money['reading_all_from_the_cloud']:.2f} {currency}")


def _ratio(written: dict[str, int]) -> str:
    if not written["ship_bytes"] or not written["written_bytes"]:
        return ""
    return f" (1 : {written['written_bytes'] / written['ship_bytes']:.1f})"
