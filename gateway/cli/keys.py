"""``skerry keys``: the keys of the realm itself: what opens it, what new data is sealed with, and rotating either.

Works beside a running server, whose processes look for new keys every few seconds. Key material is never shown; keys
are named by their ids and fingerprints. Not here: keys of SSE-KMS, which are the applications' (``skerry kms``).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from gateway.cli.epoch_progress import describe_epochs, find_needs
from gateway.cli.opening import OpenSite, opened_site
from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_command, new_parser
from gateway.cli.outcomes import EXIT_FAILED, EXIT_OK, EXIT_USAGE, complain, print_json, print_table
from gateway.cli.site import describe_cloud, root_key_provider, wrapped_root_key
from gateway.cli.site_status import read_report
from gateway.config import load_config
from replication.keys import describe_recovery
from replication.root_keys import FileRootKey, RootKeyProvider, generate_key_file

Result = TypeVar("Result")
_MARK = re.compile(r"[0-9a-f]{32}")


def add_parser(subcommands: Subcommands) -> None:
    """Add ``keys`` and its verbs."""
    keys = new_command(
        subcommands,
        "keys",
        "The keys of the realm: root keys open it, epochs seal what is written. Rotating uploads no data.",
        "skerry keys list --config site.toml",
    )
    verbs = keys.add_subparsers(dest="verb", required=True, metavar="VERB")
    listing = new_parser(
        verbs,
        "list",
        "root keys by fingerprint, epochs by age",
        "What opens the realm, and which epochs there are.",
        "skerry keys list --config site.toml --json",
    )
    listing.set_defaults(run=_list)
    rotate = new_parser(
        verbs,
        "rotate",
        "begin a new epoch: what is written from now on is sealed with a new key",
        "Begin a new epoch. What is sealed already stays as it is and readable; new segments and packs use the new "
        "key, on every site as soon as it hears of it.",
        "skerry keys rotate --config site.toml",
    )
    rotate.add_argument(
        "--new-recovery-key",
        action="store_true",
        help="renew what wraps the epochs, too, and print a new recovery kit: after a root key leaked with the wrapped "
        "keys, else whoever has them opens the new epoch as soon as he reads it in the bucket. First `rotate-root` and "
        "`drop-root`; the recovery key of before opens nothing that comes later",
    )
    rotate.set_defaults(run=_rotate)
    root = new_parser(
        verbs,
        "rotate-root",
        "let a new root key open the realm",
        "Wrap the realm's keys for a new root key. Nothing is sealed or uploaded again. The old root key works until "
        "`drop-root`; configure the new one on every site first.",
        "skerry keys rotate-root --config site.toml --new-key-file new.key\n"
        "  skerry keys rotate-root --config site.toml --new-config site-with-vault.toml",
    )
    source = root.add_mutually_exclusive_group(required=True)
    source.add_argument("--new-key-file", type=Path, metavar="FILE", help="the new key; made if it is not there")
    source.add_argument(
        "--new-config", type=Path, metavar="FILE", help="a configuration whose [realm] says where it is"
    )
    root.set_defaults(run=_rotate_root)
    drop = new_parser(
        verbs,
        "drop-root",
        "end a root key: it opens the realm no more",
        "End a root key, in the bucket and here; other sites give it up when they hear of it. Who kept both the key "
        "and a copy of the wrapped keys can still open what was sealed until now: rotate the epoch, too.",
        "skerry keys drop-root 0123456789abcdef0123456789abcdef --config site.toml",
    )
    drop.add_argument("mark", metavar="FINGERPRINT")
    drop.set_defaults(run=_drop_root)
    _add_drop_epoch(verbs)
    for parser in verbs.choices.values():
        add_site_options(parser)


def _add_drop_epoch(verbs: Subcommands) -> None:
    ending = new_parser(
        verbs,
        "drop-epoch",
        "end the key of an epoch under which nothing lies any more",
        "End an epoch's key, here and in the bucket; other sites give it up when they hear of it and have nothing\n"
        "under it themselves. Refused, with what and who still needs it, until `skerry rekey` has come to its end on\n"
        "every site (exit code 3). Backups of a site taken before hold the key and what is sealed with it: once they\n"
        "are gone, too, what leaked of its key opens nothing. There is no way back.",
        "skerry keys drop-epoch 0123456789abcdef0123456789abcdef --config site.toml",
    )
    ending.add_argument("epoch", metavar="EPOCH", help="its id, as `skerry keys list` shows it")
    ending.set_defaults(run=_drop_epoch)


def _run(arguments: argparse.Namespace, work: Callable[[OpenSite], Awaitable[Result]]) -> tuple[Result, dict[str, Any]]:
    async def run() -> tuple[Result, dict[str, Any]]:
        async with opened_site(load_site_config(arguments)) as site:
            if site.cloud is not None:
                await site.realm.refresh(site.cloud)
            return await work(site), describe_keys(site)

    return asyncio.run(run())


def describe_keys(site: OpenSite) -> dict[str, Any]:
    """The document of ``skerry keys list --json``."""
    realm = site.realm
    return {
        "realm": realm.realm.id.hex(),
        "recoverable": realm.recoverable,
        "roots": [
            {
                "fingerprint": root.mark.hex(),
                "in_use": root.in_use,
                "recovery": root.recovery,
                "outdated": root.outdated,
            }
            for root in realm.roots()
        ],
        "epochs": describe_epochs(site, read_report(site), exact=True),
    }


def _list(arguments: argparse.Namespace) -> int:
    async def read() -> dict[str, Any]:
        async with opened_site(load_site_config(arguments)) as site:
            return describe_keys(site)

    document = asyncio.run(read())
    if arguments.json:
        print_json(document)
        return EXIT_OK
    kinds = {(True, False): "in use here", (True, True): "recovery key, in use here", (False, True): "recovery key"}
    print_table(
        ("OPENS THE REALM", ""),
        [
            (
                root["fingerprint"],
                kinds.get((root["in_use"], root["recovery"]), "root key")
                + (", opens nothing of late" if root["outdated"] else ""),
            )
            for root in document["roots"]
        ],
    )
    print_table(
        ("EPOCH", "CREATED", ""),
        [(epoch["id"], epoch["created"], _say_epoch(epoch)) for epoch in document["epochs"]],
    )
    return EXIT_OK


def _say_epoch(epoch: dict[str, Any]) -> str:
    if not epoch["retired"]:
        return "current" if epoch["current"] else ""
    in_bucket = "not looked at yet" if epoch["objects_in_bucket"] is None else f"{epoch['objects_in_bucket']} objects"
    waits = f"; waits for {', '.join(epoch['needed_by'])}" if epoch["needed_by"] else ""
    return f"to end: {epoch['sealed_here']} things here, in the bucket {in_bucket}{waits}"


def _drop_epoch(arguments: argparse.Namespace) -> int:
    if not _MARK.fullmatch(arguments.epoch):
        complain(f"an epoch's id is 32 hex digits, not {arguments.epoch!r}: see `skerry keys list`")
        return EXIT_USAGE
    epoch = bytes.fromhex(arguments.epoch)

    async def drop(site: OpenSite) -> list[str]:
        known = next((one for one in site.realm.epochs() if one.id == epoch), None)
        needs = find_needs(site, read_report(site), epoch) if known is not None and known.retired else []
        if not needs:
            await site.realm.drop_epoch(site.cloud, epoch)
        return needs

    needs, document = _run(arguments, drop)
    if needs:
        complain(f"epoch {arguments.epoch} is still needed: {'; '.join(needs)}")
        return EXIT_FAILED
    if arguments.json:
        print_json(document)
    else:
        print(f"the key of epoch {arguments.epoch} is gone: nothing sealed with it opens any more")
    return EXIT_OK


def _rotate(arguments: argparse.Namespace) -> int:
    now_ms, kits = time.time_ns() // 1_000_000, list[str]()

    async def rotate(site: OpenSite) -> bytes:
        def tell(recovery_key: str) -> None:
            kits.append(describe_recovery(site.realm.realm, recovery_key, describe_cloud(site.config.cloud)))
            if not arguments.json:  # before anything counts: who does not see it would have none
                print(kits[0], flush=True)

        if arguments.new_recovery_key:
            return await site.realm.renew(site.cloud, now_ms, tell)
        return await site.realm.rotate_epoch(site.cloud, now_ms)

    epoch, document = _run(arguments, rotate)
    if arguments.json:
        print_json({**document, "recovery_kit": kits[0]} if kits else document)
    else:
        print(f"epoch {epoch.hex()} seals what is written from now on; what there is stays readable")
    return EXIT_OK


def _rotate_root(arguments: argparse.Namespace) -> int:
    provider = _new_provider(arguments)

    async def add(site: OpenSite) -> bytes:
        return await site.realm.add_root(site.cloud, provider)

    mark, document = _run(arguments, add)
    if arguments.json:
        print_json(document)
        return EXIT_OK
    old = [root["fingerprint"] for root in document["roots"] if root["in_use"] and root["fingerprint"] != mark.hex()]
    print(f"root key {mark.hex()} opens the realm now, too")
    print("configure it on every site, restart them, and then, with the new configuration, run")
    print(f"  skerry keys drop-root {' '.join(old) or 'FINGERPRINT'}")
    return EXIT_OK


def _new_provider(arguments: argparse.Namespace) -> RootKeyProvider:
    if arguments.new_config is not None:
        config = load_config(arguments.new_config, os.environ)
        if config.realm.wrapped_key_file and not config.realm.wrapped_key_file.exists():
            wrapped_root_key(config.realm).generate()
        return root_key_provider(config)
    if not arguments.new_key_file.exists():
        generate_key_file(arguments.new_key_file)
    return FileRootKey(arguments.new_key_file)


def _drop_root(arguments: argparse.Namespace) -> int:
    if not _MARK.fullmatch(arguments.mark):
        complain(f"a fingerprint is 32 hex digits, not {arguments.mark!r}: see `skerry keys list`")
        return EXIT_USAGE

    async def drop(site: OpenSite) -> None:
        await site.realm.drop_root(site.cloud, bytes.fromhex(arguments.mark))

    _, document = _run(arguments, drop)
    if arguments.json:
        print_json(document)
    else:
        print(f"root key {arguments.mark} opens the realm no more")
    return EXIT_OK
