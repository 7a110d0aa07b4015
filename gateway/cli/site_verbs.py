"""What ``skerry sites name|retire|forget|revoke`` do, and what they say to the operator.

Each is asked about first unless ``--yes``; nothing is done without a person at the terminal or that word. This site is
whom its log says it is: a copied machine goes on under another id than its data directory was made with.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from gateway.cli.fleet_view import see_fleet
from gateway.cli.opening import OpenSite, opened_site
from gateway.cli.options import load_cloud_config, load_site_config
from gateway.cli.outcomes import EXIT_FAILED, EXIT_OK, complain, print_json
from gateway.cli.replicator import replicate_once
from gateway.cli.site_status import read_report
from replication.change_format import ChangeInvalid
from replication.departures import DepartureRefused, forget_site, name_site, retire_site
from replication.fleet import resolve_site
from replication.ports import CloudError, Origin
from replication.puller import list_heads

Act = Callable[[OpenSite, bytes], Awaitable[dict[str, Any]]]


def name(arguments: argparse.Namespace) -> int:
    """Call a site something."""

    async def act(site: OpenSite, named: bytes) -> dict[str, Any]:
        await name_site(site.replica, named, arguments.name)
        return {"site_id": named.hex(), "name": arguments.name}

    return _run(arguments, act, "", lambda said: f"site {said['site_id']} is called {said['name']!r}")


def forget(arguments: argparse.Namespace) -> int:
    """Declare a site lost for good."""

    async def act(site: OpenSite, named: bytes) -> dict[str, Any]:
        return await _remove(site, named, arguments.heir, revoked=False, insist=arguments.force)

    question = "What only that machine has is given up, for good."
    return _run(arguments, act, question, lambda said: "\n".join([*_say_cut(said), "Nobody waits for it any more."]))


def revoke(arguments: argparse.Namespace) -> int:
    """Trust a stolen site no more."""

    async def act(site: OpenSite, named: bytes) -> dict[str, Any]:
        said = await _remove(site, named, arguments.heir, revoked=True, insist=True)
        return {**said, "to_do": _left_to_do(site, said["site_id"])}

    def tell(said: dict[str, Any]) -> str:
        steps = [f"  {number}. {step}" for number, step in enumerate(said["to_do"], 1)]
        return "\n".join([*_say_cut(said), "The box still holds keys. Now, in this order:", *steps])

    return _run(arguments, act, "Nothing that it ships from now on is taken in, for good.", tell)


def retire(arguments: argparse.Namespace) -> int:
    """End a site in good order."""
    load_cloud_config(arguments)  # without a cloud there is nobody to retire from

    async def act(site: OpenSite, named: bytes) -> dict[str, Any]:
        await retire_site(site.replica, named, time.time_ns() // 1_000_000)
        here = named == site.replica.identity().site
        if here:
            await replicate_once(site)
            if site.replica.backlog().changes:
                raise DepartureRefused("its log has ended, and it was written to meanwhile: that stays on this disk")
        return {"site_id": named.hex(), "here": here}

    def tell(said: dict[str, Any]) -> str:
        if not said["here"]:
            return f"site {said['site_id']} was told to retire: it obeys when it hears of it (see `skerry sites list`)"
        return f"site {said['site_id']} has shipped all it had and ended its log; it may be switched off"

    return _run(arguments, act, "It ships all it has and ends its log, for good.", tell)


def _run(arguments: argparse.Namespace, act: Act, question: str, tell: Callable[[dict[str, Any]], str]) -> int:
    async def run() -> dict[str, Any] | None:
        async with opened_site(load_site_config(arguments)) as site:
            _, fleet = see_fleet(site, read_report(site))
            named = site.replica.identity().site if arguments.site is None else resolve_site(fleet, arguments.site)
            called = next((one.name for one in fleet if one.site == named), "")
            if question and not arguments.yes and not _is_confirmed(f"{called} ({named.hex()})", question):
                return None
            return await act(site, named)

    try:
        said = asyncio.run(run())
    except (LookupError, DepartureRefused, ChangeInvalid) as error:
        complain(str(error.args[0]))
        return EXIT_FAILED
    if said is None:
        complain("nothing was done")
        return EXIT_FAILED
    if arguments.json:
        print_json(said)
    else:
        print(tell(said))
    return EXIT_OK


async def _remove(
    site: OpenSite, named: bytes, heir_named: str | None, *, revoked: bool, insist: bool
) -> dict[str, Any]:
    _, fleet = see_fleet(site, read_report(site))
    heir = resolve_site(fleet, heir_named) if heir_named else site.replica.identity().site
    now_ms = time.time_ns() // 1_000_000
    heads = None if revoked or insist else await _ask_heads(site)
    removal = await forget_site(site.replica, named, heir, now_ms, heads=heads, revoked=revoked, insist=insist)
    cut = {incarnation.hex(): n for incarnation, n in sorted(removal.cut.items())}
    return {"site_id": named.hex(), "heir": removal.heir.hex(), "cut": cut, "revoked": removal.revoked}


async def _ask_heads(site: OpenSite) -> Mapping[Origin, int] | None:
    """To which batch each log reaches in the bucket; None without a cloud."""
    if site.cloud is None:
        return None
    try:
        return await list_heads(site.cloud)
    except CloudError as error:
        raise DepartureRefused(
            f"the bucket does not say how far its log reaches, and what was not taken in would not count: {error}; try "
            "again, or say --force"
        ) from None


def _say_cut(said: dict[str, Any]) -> list[str]:
    state = "revoked" if said["revoked"] else "forgotten"
    lines = [f"site {said['site_id']} is {state}; site {said['heir']} looks after its objects in the bucket"]
    return lines + [f"its log {incarnation} counts up to batch {n}" for incarnation, n in said["cut"].items()]


def _left_to_do(site: OpenSite, revoked: str) -> list[str]:
    cloud = site.config.cloud
    where = f"bucket {cloud.bucket}, prefix {cloud.prefix or '(none)'}" if cloud else "the cloud"
    return [
        f"At the cloud's provider, delete the access key of that site's user ({where}): until then it can read the "
        f"realm and write below sites/{revoked}/.",
        "Rotate the realm's keys: `skerry keys rotate-root`, the new key on every site, `skerry keys drop-root`, "
        "`skerry keys rotate --new-recovery-key`; then seal anew what is under the old ones: `skerry rekey`, and when "
        "that is done `skerry keys drop-epoch`. Whoever has the box and a copy of the bucket can read what was written "
        "before.",
        "Rotate the S3 access keys that were used on it: `skerry user list`, then `skerry user rotate` for each; and "
        "the KMS keys and customer keys that its clients held.",
        "Let this be heard: `skerry replicate --once` here, then see on the other sites that `skerry sites list` "
        "calls it revoked.",
    ]


def _is_confirmed(what: str, question: str) -> bool:
    if not sys.stdin.isatty():
        complain("this is for good: say --yes")
        return False
    return input(f"{what}: {question} Type yes to go on: ").strip() == "yes"
