"""``skerry user``: users and their access keys. Works beside a running server: all of it sees a change at once.

Secrets are printed where they were made just now (``add``, ``rotate``) and nowhere else.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from gateway.cli.opening import opened_site
from gateway.cli.options import Subcommands, add_site_options, load_site_config, new_command, new_parser
from gateway.cli.outcomes import EXIT_OK, print_json, print_table
from gateway.identity.account_users import ENTITY_NAME, NAME_CHARACTERS_MAX, create_account_user
from gateway.identity.arns import user_arn
from gateway.identity.lifecycle import delete_user, find_user, rotate_keys, set_disabled
from gateway.identity.users import BadIdentity, Issued, add_user, new_access_key, new_user
from gateway.s3.errors import S3Error
from gateway.store.document_format import AccessKeyRecord, UserRecord
from gateway.store.ports import WriteView

Result = TypeVar("Result")


def add_parser(subcommands: Subcommands) -> None:
    """Add ``user`` and its verbs."""
    user = new_command(
        subcommands,
        "user",
        "Users and their access keys. WHO is a name, id, e-mail or access key id. A user is an account of its own, "
        "unless it is made inside another's: then it may what its policies allow (aws iam put-user-policy …).",
        "skerry user add ada --data ./data",
    )
    verbs = user.add_subparsers(dest="verb", required=True, metavar="VERB")
    example = "skerry user add ada --email ada@example.org --data ./data --json"
    add = new_parser(verbs, "add", "make a user with an access key", "Make a user; its key is printed once.", example)
    add.add_argument("name", metavar="NAME")
    _add_key_options(add)
    add.add_argument("--id", default="", metavar="ID", help="user and canonical id (default: 64 random hex digits)")
    add.add_argument("--email", default="", metavar="E")
    add.add_argument("--admin", action="store_true", help="may do everything, like root")
    add.add_argument("--account", default="", metavar="PARENT", help="make it inside this account, without any rights")
    add.set_defaults(run=_add)
    example = "skerry user list --data ./data"
    listing = new_parser(verbs, "list", "all users and their keys", "All users and the ids of their keys.", example)
    listing.set_defaults(run=_list)
    for verb, disabled in (("disable", True), ("enable", False)):
        what = "let a user in no more; keys and buckets stay" if disabled else "let a disabled user in again"
        parser = new_parser(verbs, verb, what, what.capitalize() + ".", f"skerry user {verb} ada --data ./data")
        parser.add_argument("who", metavar="WHO")
        parser.set_defaults(run=_set_disabled, disabled=disabled)
    example = "skerry user delete ada --data ./data"
    delete = new_parser(verbs, "delete", "remove a user that owns no bucket", "Remove a user and its keys.", example)
    delete.add_argument("who", metavar="WHO")
    delete.set_defaults(run=_delete)
    example = "skerry user rotate root --keep --data ./data"
    rotate = new_parser(verbs, "rotate", "give a user a new key", "Give a user a new key; its old ones end.", example)
    rotate.add_argument("who", metavar="WHO")
    _add_key_options(rotate)
    rotate.add_argument("--keep", action="store_true", help="leave the old keys valid")
    rotate.set_defaults(run=_rotate)
    for parser in verbs.choices.values():
        add_site_options(parser)


def _add_key_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--access-key", default="", metavar="K", help="access key id (default: generated)")
    parser.add_argument("--secret-key", default="", metavar="S", help="secret (default: generated)")


def _commit(arguments: argparse.Namespace, decide: Callable[[WriteView], Result]) -> Result:
    async def run() -> Result:
        async with opened_site(load_site_config(arguments)) as site:
            return await site.store.commit(decide)

    return asyncio.run(run())


def _add(arguments: argparse.Namespace) -> int:
    def decide(view: WriteView) -> Issued:
        if arguments.account:
            return _add_inside(view, arguments)
        user = new_user(
            arguments.name,
            now_ms=view.now_ms,
            user_id=arguments.id,
            email=arguments.email,
            admin=arguments.admin,
        )
        key = new_access_key(
            user.id, now_ms=view.now_ms, access_key_id=arguments.access_key, secret=arguments.secret_key
        )
        return add_user(view, user, key)

    issued = _commit(arguments, decide)
    return _show_issued(arguments, issued, [issued.key])


def _add_inside(view: WriteView, arguments: argparse.Namespace) -> Issued:
    """A user inside another's account, as CreateUser and CreateAccessKey make it, but with the key that was given."""
    if arguments.id or arguments.email or arguments.admin:
        raise BadIdentity("a user inside an account has no id, e-mail or admin's rights of its own")
    parent = find_user(view, arguments.account)
    if parent.account:
        raise BadIdentity(f"{parent.name} lives in an account itself")
    if not ENTITY_NAME.fullmatch(arguments.name) or len(arguments.name) > NAME_CHARACTERS_MAX:
        raise BadIdentity("the name of a user inside an account has 1 to 64 of A-Z a-z 0-9 _ + = , . @ -")
    try:
        user = create_account_user(view, parent.id, arguments.name, "/", {})
    except S3Error as error:
        raise BadIdentity(error.text) from None
    key = new_access_key(user.id, now_ms=view.now_ms, access_key_id=arguments.access_key, secret=arguments.secret_key)
    if view.access_key(key.id) is not None:
        raise BadIdentity(f"the access key id {key.id} exists already")
    view.put_access_key(key)
    return Issued(user, key)


def _rotate(arguments: argparse.Namespace) -> int:
    def decide(view: WriteView) -> tuple[Issued, list[AccessKeyRecord]]:
        issued = rotate_keys(
            view, arguments.who, access_key_id=arguments.access_key, secret=arguments.secret_key, keep=arguments.keep
        )
        return issued, view.access_keys(issued.user.id)

    return _show_issued(arguments, *_commit(arguments, decide))


def _set_disabled(arguments: argparse.Namespace) -> int:
    def decide(view: WriteView) -> tuple[UserRecord, list[AccessKeyRecord]]:
        user = set_disabled(view, arguments.who, disabled=arguments.disabled)
        return user, view.access_keys(user.id)

    user, keys = _commit(arguments, decide)
    return _show_user(arguments, user, keys, "disabled" if user.disabled else "enabled")


def _delete(arguments: argparse.Namespace) -> int:
    return _show_user(arguments, _commit(arguments, lambda view: delete_user(view, arguments.who)), [], "deleted")


def _list(arguments: argparse.Namespace) -> int:
    async def read() -> list[tuple[UserRecord, list[AccessKeyRecord]]]:
        async with opened_site(load_site_config(arguments)) as site:
            with site.store.view() as view:
                return [(user, view.access_keys(user.id)) for user in view.users()]

    found = asyncio.run(read())
    if arguments.json:
        print_json({"users": [_describe_user(user, keys) for user, keys in found]})
        return EXIT_OK
    names = {user.id: user.name for user, _ in found}
    rows = [
        (
            user.name,
            "disabled" if user.disabled else "admin" if user.admin else "",
            ", ".join(key.id + (" (disabled)" if key.disabled else "") for key in keys),
            user.email,
            names.get(user.account, user.account),
            user.id,
        )
        for user, keys in found
    ]
    print_table(("NAME", "STATE", "ACCESS KEYS", "E-MAIL", "ACCOUNT", "ID"), rows)
    return EXIT_OK


def _describe_user(user: UserRecord, keys: list[AccessKeyRecord]) -> dict[str, Any]:
    return {
        "id": user.id,
        "name": user.name,
        "canonical_id": user.canonical_id,
        "email": user.email,
        "account": user.account or user.id,
        "arn": user_arn(user),
        "admin": user.admin,
        "disabled": user.disabled,
        "created_ms": user.created_ms,
        "access_keys": [{"access_key": key.id, "disabled": key.disabled} for key in keys],
    }


def _show_issued(arguments: argparse.Namespace, issued: Issued, keys: list[AccessKeyRecord]) -> int:
    user, key = issued
    if arguments.json:
        described = _describe_user(user, keys)
        print_json({**described, "access_key": key.id, "secret_key": key.secret})
    else:
        print(f"user {user.name} ({user.id})\naccess key  {key.id}\nsecret key  {key.secret}   (shown only now)")
    return EXIT_OK


def _show_user(arguments: argparse.Namespace, user: UserRecord, keys: list[AccessKeyRecord], what: str) -> int:
    if arguments.json:
        print_json({**_describe_user(user, keys), "result": what})
    else:
        print(f"user {user.name} ({user.id}): {what}")
    return EXIT_OK
