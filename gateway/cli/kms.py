"""``skerry kms``: the realm's own keys for SSE-KMS. Works beside a running server: all of it sees a change at once.

Key material is never shown. Deleting a key is for good: what was encrypted with it can be read by no site any more.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from typing import Any, TypeVar

from gateway.cli.opening import opened_site
from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_command, new_parser
from gateway.cli.outcomes import EXIT_FAILED, EXIT_OK, complain, print_json, print_table
from gateway.operations.kms_keys import DELETED, DISABLED, ENABLED, NamedKey, create_key, list_keys, set_state
from gateway.s3.resource_arns import kms_key_arn, parse_key_name
from gateway.s3.times import format_iso
from gateway.store.ports import WriteView

Result = TypeVar("Result")


def add_parser(subcommands: Subcommands) -> None:
    """Add ``kms`` and its verbs."""
    kms = new_command(
        subcommands,
        "kms",
        "The realm's keys for server-side encryption with KMS. NAME is a key's name, alias or ARN.",
        "skerry kms create invoices --data ./data",
    )
    verbs = kms.add_subparsers(dest="verb", required=True, metavar="VERB")
    example = "skerry kms list --data ./data"
    listing = new_parser(verbs, "list", "all keys and their states", "All keys and their states.", example)
    listing.set_defaults(run=_list)
    for verb, state, what in (
        ("create", None, "make a key"),
        ("enable", ENABLED, "let a disabled key be used again"),
        ("disable", DISABLED, "let a key open and seal nothing until it is enabled"),
        ("delete", DELETED, "destroy a key: what it encrypted can never be read again"),
    ):
        example = f"skerry kms {verb} invoices --data ./data" + (" --yes" if state == DELETED else "")
        parser = new_parser(verbs, verb, what, what.capitalize() + ".", example)
        parser.add_argument("name", metavar="NAME")
        if state == DELETED:
            parser.add_argument("--yes", action="store_true", help="do it without asking")
        parser.set_defaults(run=_change, state=state)
    for parser in verbs.choices.values():
        add_site_options(parser)


def _run(arguments: argparse.Namespace, decide: Callable[[WriteView], Result]) -> tuple[Result, str]:
    async def run() -> tuple[Result, str]:
        async with opened_site(load_site_config(arguments)) as site:
            return await site.store.commit(decide), site.config.server.region

    return asyncio.run(run())


def _list(arguments: argparse.Namespace) -> int:
    async def read() -> tuple[list[NamedKey], str]:
        async with opened_site(load_site_config(arguments)) as site:
            with site.store.view() as view:
                return list_keys(view), site.config.server.region

    keys, region = asyncio.run(read())
    if arguments.json:
        print_json({"keys": [_describe(key, region) for key in keys]})
        return EXIT_OK
    rows = [(key.name, key.record.state, format_iso(key.record.created_ms)) for key in keys]
    print_table(("NAME", "STATE", "CREATED"), rows)
    return EXIT_OK


def _change(arguments: argparse.Namespace) -> int:
    name = parse_key_name(arguments.name)
    if name is None:
        return _fail(f"{arguments.name!r} cannot be a key's name")
    state = arguments.state
    if state == DELETED and not arguments.yes and not _is_confirmed(name):
        return _fail("nothing was deleted")
    try:
        key, region = _run(arguments, lambda view: set_state(view, name, state) if state else create_key(view, name))
    except (LookupError, ValueError) as error:
        return _fail(str(error.args[0]))
    if arguments.json:
        print_json(_describe(key, region))
    else:
        print(f"key {key.name}: {key.record.state}\n{kms_key_arn(region, key.name)}")
    return EXIT_OK


def _fail(reason: str) -> int:
    complain(reason)
    return EXIT_FAILED


def _is_confirmed(name: str) -> bool:
    if not sys.stdin.isatty():
        complain("deleting a key is for good: say --yes")
        return False
    return input(f"Everything encrypted with {name} will be lost on every site. Type its name to go on: ") == name


def _describe(key: NamedKey, region: str) -> dict[str, Any]:
    return {
        "name": key.name,
        "arn": kms_key_arn(region, key.name),
        "state": key.record.state,
        "created_ms": key.record.created_ms,
    }
