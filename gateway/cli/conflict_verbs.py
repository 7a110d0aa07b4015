"""``skerry conflicts show|resolve|export``: one collision, looked at closely, decided, or carried away as files."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, TypeVar

from gateway.cli.fleet_view import see_fleet
from gateway.cli.opening import OpenSite, opened_site
from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_parser
from gateway.cli.outcomes import EXIT_FAILED, EXIT_NO, EXIT_OK, complain, print_json, print_table
from gateway.cli.site_status import read_report
from gateway.operations.conflict_resolution import NotResolved, Resolved, resolve
from gateway.s3.encryption import SEAL_EXTRA
from gateway.store.conflicts import Conflict, find_conflict
from gateway.store.ports import Bucket, Version
from gateway.store.version_ids import decode_order

Answer = TypeVar("Answer")
METADATA_NAME: Final = "conflict.json"


class NoConflict(Exception):
    """There is no such bucket, or nothing collided at the key."""


def add_verbs(verbs: Subcommands) -> None:
    """Add the verbs that name one key."""
    show = new_parser(
        verbs,
        "show",
        "winner, losers and broken conditions of one key",
        "Everything that is known of one collision: when and on which site each value was written.",
        "skerry conflicts show photos a/b.jpg --data ./data",
    )
    show.set_defaults(run=_show)
    decide = new_parser(
        verbs,
        "resolve",
        "decide which value is the object's",
        "Keep one of the values and drop the others, in one step; broken conditions count as dealt with. Refused if\n"
        "the key was written meanwhile. Locked losers stay.",
        "skerry conflicts resolve photos a/b.jpg --keep-winner --data ./data",
    )
    which = decide.add_mutually_exclusive_group(required=True)
    which.add_argument("--keep", default="", metavar="VERSION_ID", help="the version that is to be current")
    which.add_argument("--keep-winner", action="store_true", help="the one that is current")
    decide.set_defaults(run=_resolve)
    export = new_parser(
        verbs,
        "export",
        "write every value of one key as a file",
        "Write winner and losers as files into a new directory, with what is known of them in conflict.json.",
        "skerry conflicts export photos a/b.jpg --to ./collision --data ./data",
    )
    export.add_argument("--to", type=Path, required=True, metavar="DIR", help="a directory that does not exist yet")
    export.set_defaults(run=_export)
    for parser in (show, decide, export):
        parser.add_argument("bucket", metavar="BUCKET")
        parser.add_argument("key", metavar="KEY")
        add_site_options(parser)


def describe_closely(site: OpenSite, conflict: Conflict) -> dict[str, Any]:
    """One conflict with all that is known of its values."""
    _, fleet = see_fleet(site, read_report(site))
    names = {one.site: one.name for one in fleet}
    return {
        "bucket": conflict.bucket,
        "key": conflict.key.decode("utf-8", "replace"),
        "winner": None if conflict.winner is None else _describe(conflict.winner, names),
        "losers": [_describe(loser, names) for loser in conflict.losers],
        "broken_conditions": [{**_describe(one.version, names), "condition": one.header} for one in conflict.broken],
    }


def _describe(version: Version, names: Mapping[bytes, str]) -> dict[str, Any]:
    record, dot = version.record, decode_order(version.order)[1]
    return {
        "version_id": version.id.text,
        "etag": record.etag,
        "size": record.size,
        "modified_ms": record.modified_ms,
        "delete_marker": record.marker,
        "owner": record.owner,
        "site_id": dot.site.hex(),
        "site_name": names.get(dot.site, ""),
        "content_type": record.headers.get("content-type", ""),
        "metadata": record.metadata,
    }


def _show(arguments: argparse.Namespace) -> int:
    async def read(site: OpenSite, bucket: Bucket, conflict: Conflict) -> dict[str, Any]:
        return describe_closely(site, conflict)

    document = _with_conflict(arguments, read)
    if document is None:
        return EXIT_FAILED
    if arguments.json:
        print_json(document)
        return EXIT_OK
    rows: list[tuple[object, ...]] = []
    named = [("current", document["winner"])] if document["winner"] else []
    named += [("lost", loser) for loser in document["losers"]]
    named += [(f"broken {one['condition']}", one) for one in document["broken_conditions"]]
    for what, one in named:
        when = datetime.fromtimestamp(one["modified_ms"] / 1000, UTC).isoformat(timespec="milliseconds")
        rows.append((what, one["version_id"], when, one["site_name"] or one["site_id"], one["etag"], one["size"]))
    print_table(("WHAT", "VERSION ID", "WRITTEN", "ON SITE", "ETAG", "SIZE"), rows)
    return EXIT_OK


def _resolve(arguments: argparse.Namespace) -> int:
    async def decide(site: OpenSite, bucket: Bucket, conflict: Conflict) -> Resolved:
        key = conflict.key
        return await site.store.committer.commit(
            lambda view: resolve(view, bucket, find_conflict(view, bucket.uid, key), conflict, arguments.keep)
        )

    try:
        resolved = _with_conflict(arguments, decide)
    except NotResolved as error:
        complain(str(error))
        return EXIT_NO
    if resolved is None:
        return EXIT_FAILED
    if arguments.json:
        print_json(resolved._asdict())
    else:
        told = f"{resolved.removed} losers dropped, {resolved.acknowledged} broken conditions acknowledged"
        print(f"current: {resolved.winner or 'nothing'}; {told}")
    return EXIT_OK


def _export(arguments: argparse.Namespace) -> int:
    async def write(site: OpenSite, bucket: Bucket, conflict: Conflict) -> dict[str, Any]:
        arguments.to.mkdir(parents=True)
        document, files = describe_closely(site, conflict), {}
        for version in (conflict.winner, *conflict.losers):
            if version is not None and not version.record.marker:
                files[version.id.text] = await _write_value(site, version, arguments.to)
        document["files"] = files
        (arguments.to / METADATA_NAME).write_text(json.dumps(document, indent=2) + "\n")
        return document

    if arguments.to.exists():
        complain(f"--to: {arguments.to} exists already")
        return EXIT_FAILED
    document = _with_conflict(arguments, write)
    if document is None:
        return EXIT_FAILED
    if arguments.json:
        print_json(document)
    else:
        for version_id, name in document["files"].items():
            print(f"{version_id}: {arguments.to / name}")
    return EXIT_OK


async def _write_value(site: OpenSite, version: Version, directory: Path) -> str:
    """Write one value: the file's name. What a client's key seals is written as it is stored, and named so."""
    sealed = ".sealed" if SEAL_EXTRA in version.record.extra else ""
    path = directory / f"{version.id.text}{sealed}"
    with path.open("xb") as file:
        async for piece in site.store.read(version.record.content):
            file.write(piece)
    return path.name


def _with_conflict(
    arguments: argparse.Namespace, work: Callable[[OpenSite, Bucket, Conflict], Awaitable[Answer]]
) -> Answer | None:
    """Look the conflict up and do something with it; None, and a complaint, if there is none."""

    async def run() -> Answer:
        async with opened_site(load_site_config(arguments)) as site:
            with site.store.view() as view:
                bucket = view.bucket(arguments.bucket)
                found = find_conflict(view, bucket.uid, arguments.key.encode()) if bucket is not None else None
            if bucket is None or found is None:
                raise NoConflict(f"nothing collided at {arguments.bucket}/{arguments.key}")
            return await work(site, bucket, found._replace(bucket=bucket.name))

    try:
        return asyncio.run(run())
    except NoConflict as error:
        complain(str(error))
        return None
