"""``skerry lost``: bytes that replication waits for and that cannot be had; and, explicitly, that they are lost.

The log stops in front of a change whose bytes are damaged or gone, here and in the cloud. Ways on, best first: bring
the bytes back (they are looked for all the time: in the cloud, in what other sites ship, in what clients write again);
overwrite or delete the version; or accept the loss here, and the version goes without its bytes.
"""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from gateway.cli.opening import OpenSite, opened_site
from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_command
from gateway.cli.outcomes import EXIT_NO, EXIT_OK, EXIT_USAGE, complain, print_json
from gateway.config import Config
from gateway.store.loss_search import LostChunk


def add_parser(subcommands: Subcommands) -> None:
    """Add ``lost``."""
    parser = new_command(
        subcommands,
        "lost",
        "Name the objects whose bytes replication waits for and cannot get, neither on this site nor in the cloud.\n"
        "What can be mended is. Uploading, overwriting or deleting such an object lets replication go on; so does\n"
        "--accept: then the version stays, on every site, reading it is an error, and a copy that turns up, or is\n"
        "uploaded again, heals it. Exit code 1:\n"
        "something is lost and not accepted.",
        "skerry lost photos a/b.jpg --accept --config site.toml",
    )
    parser.add_argument("bucket", nargs="?", default="", metavar="BUCKET", help="only what objects of it need")
    parser.add_argument("key", nargs="?", default="", metavar="KEY", help="only what this one needs")
    parser.add_argument("--accept", action="store_true", help="say that what is listed is lost, and go on without")
    add_site_options(parser)
    parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    if arguments.accept and arguments.bucket and not arguments.key:
        complain("--accept takes one object (BUCKET KEY), or, without any, everything that is listed")
        return EXIT_USAGE
    document = asyncio.run(_look(load_site_config(arguments), arguments))
    if arguments.json:
        print_json(document)
    else:
        _print(document)
    return EXIT_NO if any(not one["accepted"] for one in document["chunks"]) else EXIT_OK


async def _look(config: Config, arguments: argparse.Namespace) -> dict[str, Any]:
    async with opened_site(config) as site:
        found = await _find(site, arguments.bucket, arguments.key)
        accepted = 0
        if arguments.accept:
            accepted = await site.store.accept_losses(found)
            found = await _find(site, arguments.bucket, arguments.key)
        return {"accepted_now": accepted, "chunks": [_describe(one) for one in found]}


async def _find(site: OpenSite, bucket: str, key: str) -> list[LostChunk]:
    found = await site.store.find_losses()
    return [
        one for one in found if not bucket or any(of.bucket == bucket and key in ("", of.key) for of in one.objects)
    ]


def _describe(lost: LostChunk) -> dict[str, Any]:
    return {
        "chunk": lost.chunk_id.hex(),
        "bytes": lost.place.raw_size,
        "reason": lost.reason,
        "accepted": lost.accepted,
        "unknown": lost.unknown,
        "objects": [one._asdict() for one in lost.objects],
    }


def _print(document: dict[str, Any]) -> None:
    for one in document["chunks"]:
        state = "accepted" if one["accepted"] else "unknown" if one["unknown"] else "lost"
        names = [f"{of['bucket']}/{of['key']} (version {of['version_id']})" for of in one["objects"]]
        print(f"{state}: {', '.join(names) or 'no object'}: {one['reason']}")
    if document["accepted_now"]:
        print(f"{document['accepted_now']} chunks are accepted as lost")
    elif not document["chunks"]:
        print("nothing that replication waits for is lost")
