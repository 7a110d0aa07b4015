"""``skerry restore``: a site from the bucket and the realm's key (or the recovery key) alone.

The restored site is a new one with an id of its own; the lost one's changes are taken in like any other site's.
Interrupted, it goes on where it was. ``--replace`` ends the lost site's log first: a machine believed lost that comes
back finds itself fenced instead of writing on.
"""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import re
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from gateway.cli.opening import OpenSite, opened_site
from gateway.cli.options import Subcommands, add_site_options, load_cloud_config, new_command
from gateway.cli.outcomes import EXIT_OK, EXIT_USAGE, complain, describe_bytes, print_json
from gateway.cli.progress import PhaseProgress
from gateway.cli.replication_turn import once_turn
from gateway.cli.replicator import make_service
from gateway.cli.restore_at import add_options, restore_at
from gateway.cli.site import is_new_site, join_site
from gateway.config import Config
from gateway.store.errors import BadDataDirectory
from gateway.store.store import SiteStore
from replication.ports import CloudRefused, FrameLocation
from replication.puller import list_heads
from replication.restore import RestoreProgress, RestoreSummary, close_log, restore_site

_SITE_ID = re.compile(r"[0-9a-f]{32}")


def add_parser(subcommands: Subcommands) -> None:
    """Add ``restore``."""
    parser = new_command(
        subcommands,
        "restore",
        "Rebuild a site in an empty data directory from the bucket and the realm's root key or recovery key. With "
        "--at, on a site in use: make a bucket beside another, with what that one held at a time.",
        "skerry restore --config site.toml\n  skerry restore --data ./data --at 2026-11-24T05:00:00Z --bucket photos",
    )
    add_site_options(parser)
    parser.add_argument(
        "--lazy", action="store_true", help="take in the logs only; bytes are fetched when they are first read"
    )
    parser.add_argument(
        "--history",
        action="store_true",
        help="replay every log instead of beginning with a checkpoint: times before it can be looked back to, too",
    )
    parser.add_argument(
        "--replace", metavar="SITE_ID", help="end the lost site's log, so that it is fenced if it comes back"
    )
    add_options(parser)
    parser.set_defaults(run=_restore)


def _restore(arguments: argparse.Namespace) -> int:
    if arguments.at is not None:
        return restore_at(arguments)
    config = load_cloud_config(arguments)
    if arguments.replace and not _SITE_ID.fullmatch(arguments.replace):
        complain(f"--replace: a site id is 32 hex digits, not {arguments.replace!r}")
        return EXIT_USAGE
    if is_new_site(config):
        join_site(config)
    replaced, summary = asyncio.run(_run(config, arguments.replace, lazy=arguments.lazy, history=arguments.history))
    document: dict[str, Any] = {**dataclasses.asdict(summary), "replaced_logs": replaced}
    if arguments.json:
        print_json(document)
    else:
        began = f"a checkpoint of {_describe_time(summary.checkpoint_ms)} and " if summary.checkpoint_ms else ""
        print(f"restored {began}{summary.changes} changes of {summary.logs} logs into {config.data}")
        fetched = (
            "bytes come when they are first read" if arguments.lazy else describe_bytes(summary.bytes) + " fetched"
        )
        print(f"{fetched}; {replaced} logs of the lost site were ended" if arguments.replace else fetched)
        if arguments.replace:
            print(
                f"others wait for it until: skerry sites forget {arguments.replace} --heir {config.site_name} --force"
            )
    return EXIT_OK


def _describe_time(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


async def _run(config: Config, replace: str | None, *, lazy: bool, history: bool) -> tuple[int, RestoreSummary]:
    async with opened_site(config) as site, once_turn(site.directory):
        if site.replica.last_seq():
            raise BadDataDirectory(f"{config.data} has changes of its own: restore into an empty directory")
        replaced = await _close_logs(site, bytes.fromhex(replace)) if replace else 0
        with PhaseProgress() as bars:
            return replaced, await _take_in(site, bars, lazy=lazy, history=history)


async def _take_in(site: OpenSite, bars: PhaseProgress, *, lazy: bool, history: bool) -> RestoreSummary:
    def tell(progress: RestoreProgress) -> None:
        bars.tell(progress.phase, progress.done, progress.total)

    cloud = site.cloud
    assert cloud is not None
    await site.realm.refresh(cloud)
    await _announce(site)
    return await restore_site(
        cloud,
        site.realm.keyring,
        site.replica,
        wall_ms=lambda: time.time_ns() // 1_000_000,
        refresh_keys=lambda: site.realm.refresh(cloud),
        progress=tell,
        remote=None if lazy else RemoteStore(site.store),
        state=None if history else site.store.folded_state,
    )


async def _announce(site: OpenSite) -> None:
    """Say that there is such a site before anything is read: from then on nothing it still needs is deleted."""
    if site.replica.shipped().n:
        return
    try:
        await make_service(site).shipper.ship_round(speak=True)
    except CloudRefused as error:
        complain(f"cannot announce this site in the bucket ({error}): what it needs may be collected meanwhile")


class RemoteStore:
    """``RemoteBytes`` over a store: what it misses it fetches, verifies and keeps, as at a first read."""

    def __init__(self, store: SiteStore) -> None:
        self._store = store

    def remote_only(self, after: bytes, count_max: int) -> list[FrameLocation]:
        """Frames needed and known only in the cloud."""
        return self._store.replica.remote_only(after, count_max)

    async def bring(self, chunk_ids: Sequence[bytes]) -> int:
        """Fetch chunks: how many bytes they hold."""
        return sum(map(len, await asyncio.gather(*self._store.hydrator.begin(chunk_ids))))


async def _close_logs(site: OpenSite, lost: bytes) -> int:
    """End every log of the lost site: how many there are."""
    assert site.cloud is not None
    origins = [origin for origin in await list_heads(site.cloud) if origin[0] == lost]
    if not origins:
        raise BadDataDirectory(f"the bucket holds no log of site {lost.hex()}")
    for origin in origins:
        await close_log(site.cloud, site.realm.keyring(), origin, time.time_ns() // 1_000_000)
    return len(origins)
