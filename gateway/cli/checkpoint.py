"""``skerry checkpoint``: write a checkpoint of the realm into the bucket now, and say which there are.

A server writes them by itself (``[replication] checkpoint_changes``); this is for operators who are about to bring up a
new site, or want to know whether one would have to replay. Works beside a running server, whose background process
steps aside meanwhile.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from datetime import UTC, datetime
from typing import Any, Final

from gateway.cli.logs import configure_logs
from gateway.cli.opening import OpenSite, opened_site
from gateway.cli.options import Subcommands, add_site_options, load_cloud_config, new_command
from gateway.cli.outcomes import EXIT_FAILED, EXIT_OK, EXIT_USAGE, complain, describe_bytes, print_json
from gateway.cli.progress import Progress
from gateway.cli.replication_turn import once_turn
from gateway.cli.replicator import make_service
from gateway.config import Config
from replication.checkpoint_writer import NotShippedYet
from replication.checkpoints import FoundCheckpoint, list_checkpoints
from replication.ports import StateNotReady

ATTEMPTS_MAX: Final = 20
"""Each ships what the gateway wrote during the scan before it."""


def add_parser(subcommands: Subcommands) -> None:
    """Add ``checkpoint``."""
    parser = new_command(
        subcommands,
        "checkpoint",
        "Write a checkpoint of the realm into the bucket: a new site joins it instead of replaying every log. Ships\n"
        "and takes in everything first. With --list: only say which checkpoints there are.",
        "skerry checkpoint --config site.toml",
    )
    parser.add_argument("--list", action="store_true", help="only list the checkpoints in the bucket")
    add_site_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    config = load_cloud_config(arguments)
    configure_logs(config.log.level, "checkpoint")
    if not arguments.list and not config.replication.pull:
        complain("this site takes nothing in (replication.pull = false): it cannot tell the realm's state")
        return EXIT_USAGE
    try:
        found = asyncio.run(_act(config, write=not arguments.list))
    except (NotShippedYet, StateNotReady) as reason:
        complain(f"no checkpoint can be written now: {reason}")
        return EXIT_FAILED
    documents = [_describe(one) for one in found]
    if arguments.json:
        print_json(documents)
    else:
        for document in documents:
            print(_say(document))
        if not documents:
            print("there is no checkpoint in the bucket: a new site replays every log")
    return EXIT_OK


async def _act(config: Config, *, write: bool) -> list[FoundCheckpoint]:
    async with opened_site(config) as site:
        assert site.cloud is not None
        await site.realm.refresh(site.cloud)
        if write:
            async with once_turn(site.directory):
                await _write(site)
        return await list_checkpoints(site.cloud, site.realm.keyring)


async def _write(site: OpenSite) -> None:
    service = make_service(site)
    checkpointing = service.checkpointing
    assert checkpointing is not None
    await service.run_once()
    with Progress("checkpoint", "slices") as bar:
        checkpointing.writer.on_slice = lambda: bar.advance(1)
        draft = await checkpointing.writer.scan()
    for attempt in range(ATTEMPTS_MAX):
        try:
            await checkpointing.writer.publish(draft)
            return
        except NotShippedYet:
            if attempt == ATTEMPTS_MAX - 1:
                raise
            await service.run_once()


def _describe(found: FoundCheckpoint) -> dict[str, Any]:
    document: dict[str, Any] = {"site": found.name.origin[0].hex(), "n": found.name.n, "problem": found.problem}
    manifest = found.manifest
    if manifest is not None:
        document |= {
            "made_ms": manifest.made_ms,
            "age_s": max(0, time.time_ns() // 1_000_000 - manifest.made_ms) / 1000,
            "bytes": manifest.size,
            "parts": len(manifest.parts),
            "slices": manifest.slices,
            "changes": sum(log.position.seq for log in manifest.vector.values()),
            "holds": list(manifest.holds),
        }
    return document


def _say(document: dict[str, Any]) -> str:
    if document["problem"]:
        return f"of site {document['site']}: not usable: {document['problem']}"
    made = datetime.fromtimestamp(document["made_ms"] / 1000, UTC).isoformat(timespec="seconds")
    holds = f", holds only {', '.join(document['holds'])}" if document["holds"] else ""
    size = f"{describe_bytes(document['bytes'])} in {document['parts']} parts"
    return f"of site {document['site']}, {made}: {document['changes']} changes, {size}{holds}"
