"""``skerry mirror``: plain copies of a bucket's current objects in a bucket of the same cloud, for others to read."""

from __future__ import annotations

import argparse
import asyncio
from typing import Any

from gateway.cli.mirror_reports import describe_mirrors
from gateway.cli.opening import OpenSite, opened_site
from gateway.cli.options import Subcommands, add_site_options, load_cloud_config, new_command, new_parser
from gateway.cli.outcomes import EXIT_FAILED, EXIT_OK, complain, print_json, print_table
from gateway.operations.mirror_document import MIRROR, Mirror, decode_mirror, encode_mirror
from gateway.store.item_format import is_local_uid
from gateway.store.ports import WriteView


def add_parser(subcommands: Subcommands) -> None:
    """Add ``mirror`` and its verbs."""
    mirror = new_command(
        subcommands,
        "mirror",
        "Plain copies of a bucket's current objects, as all sites' writes merged, in a bucket of the same cloud: for\n"
        "analytics and whoever else reads there. Not encrypted by Skerry, and no replica: nothing is read back.",
        "skerry mirror set reports --to analytics --prefix north/ --config site.toml",
    )
    verbs = mirror.add_subparsers(dest="verb", required=True, metavar="VERB")
    list_ = new_parser(
        verbs, "list", "which buckets are mirrored", "Which buckets are mirrored.", "skerry mirror list --data ./data"
    )
    set_ = new_parser(
        verbs,
        "set",
        "mirror a bucket, this site doing it",
        "Mirror a bucket from now on. This site does it; said again on another site, that one does. What lies under\n"
        "the prefix and was not written by the mirror is never deleted. Objects under SSE-C or SSE-KMS and archived\n"
        "ones are left out.",
        "skerry mirror set reports --to analytics --prefix north/ --config site.toml",
    )
    set_.add_argument("bucket", metavar="BUCKET")
    set_.add_argument(
        "--to", required=True, metavar="CLOUD_BUCKET", help="a bucket that the site may write in its cloud"
    )
    set_.add_argument("--prefix", default="", help="what the copies' keys begin with")
    off = new_parser(
        verbs,
        "off",
        "mirror a bucket no more",
        "Mirror a bucket no more. What was written stays.",
        "skerry mirror off reports --data ./data",
    )
    off.add_argument("bucket", metavar="BUCKET")
    for parser in (list_, set_, off):
        add_site_options(parser)
        parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    return asyncio.run(_act(arguments))


async def _act(arguments: argparse.Namespace) -> int:
    config = load_cloud_config(arguments)
    async with opened_site(config) as site:
        if arguments.verb != "list":
            failure = await site.store.commit(lambda view: _set(view, site, arguments))
            if failure:
                complain(failure)
                return EXIT_FAILED
        rows = _list(site)
    if arguments.json:
        print_json(rows)
    else:
        head = ("bucket", "to", "by", "behind", "left out", "error")
        print_table(head, [tuple(map(str, row.values())) for row in rows])
    return EXIT_OK


def _set(view: WriteView, site: OpenSite, arguments: argparse.Namespace) -> str:
    """Change the document: what is wrong, or nothing."""
    bucket = view.bucket(arguments.bucket)
    if bucket is None:
        return f"there is no bucket {arguments.bucket}"
    if arguments.verb == "off":
        view.put_document(bucket.uid, MIRROR, None)
        return ""
    if is_local_uid(bucket.uid):
        return f"bucket {arguments.bucket} is local: its objects never leave this site"
    assert site.config.cloud is not None
    if arguments.to == site.config.cloud.bucket and not arguments.prefix:
        return f"{arguments.to} is the realm's own bucket: use another, or a prefix"
    mirror = Mirror(arguments.to, arguments.prefix, site.replica.identity().site.hex())
    view.put_document(bucket.uid, MIRROR, encode_mirror(mirror))
    return ""


def _list(site: OpenSite) -> list[dict[str, Any]]:
    told = {report["bucket"]: report for report in describe_mirrors(site)}
    me = site.replica.identity().site.hex()
    rows = []
    with site.store.view() as view:
        for bucket in view.buckets():
            body = view.document(bucket.uid, MIRROR)
            mirror = decode_mirror(body) if body is not None else None
            if mirror is not None:
                report = told.get(bucket.name, {})
                rows.append(
                    {
                        "bucket": bucket.name,
                        "to": f"{mirror.bucket}/{mirror.prefix}",
                        "site_id": "this site" if mirror.site == me else mirror.site,
                        "behind_batches": report.get("behind_batches"),
                        "left_out": report.get("left_out"),
                        "last_error": report.get("last_error", ""),
                    }
                )
    return rows
