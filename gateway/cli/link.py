"""``skerry link``: what the link to the cloud may carry now, and saying otherwise for a while without a restart."""

from __future__ import annotations

import argparse
import re
import time
from typing import Any, Final

from gateway.cli.link_state import override_path, read_override, site_link, write_override
from gateway.cli.options import Subcommands, add_site_options, load_cloud_config, new_command, new_parser
from gateway.cli.outcomes import EXIT_OK, EXIT_USAGE, complain, print_json
from gateway.config import Config
from gateway.store.layout import DataDirectory
from replication.link import Override
from replication.link_hours import HoursInvalid, Limit, read_limit

_SPAN: Final = re.compile(r"(\d+)([smhd])")
_SPAN_S: Final = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def add_parser(subcommands: Subcommands) -> None:
    """Add ``link`` and its verbs."""
    link = new_command(
        subcommands,
        "link",
        "What the link to the cloud may carry now. All processes of the site share one limit each way.",
        "skerry link set --up 256k --for 2h --config site.toml",
    )
    verbs = link.add_subparsers(dest="verb", required=True, metavar="VERB")
    show = new_parser(
        verbs, "show", "what holds now", "What holds now, and where it comes from.", "skerry link show --data ./data"
    )
    set_ = new_parser(
        verbs,
        "set",
        "other limits from now on",
        "Other limits from now on, in place of [cloud]'s and [link]'s; running processes follow within a second.\n"
        "RATE: bytes per second (64k, 1.5M), full, or pause.",
        "skerry link set --up pause --for 8h --data ./data",
    )
    set_.add_argument("--up", metavar="RATE", help="uploads")
    set_.add_argument("--down", metavar="RATE", help="downloads")
    set_.add_argument("--for", dest="span", metavar="SPAN", help="for so long: 90s, 30m, 2h, 1d (default: until clear)")
    clear = new_parser(
        verbs, "clear", "back to the configuration", "Back to the configuration.", "skerry link clear --data ./data"
    )
    for parser in (show, set_, clear):
        add_site_options(parser)
        parser.set_defaults(run=_run)


def _run(arguments: argparse.Namespace) -> int:
    config = load_cloud_config(arguments)
    directory = DataDirectory.open(config.data)
    path = override_path(directory)
    if arguments.verb == "clear":
        path.unlink(missing_ok=True)
    elif arguments.verb == "set":
        try:
            write_override(path, _read_word(arguments, read_override(path)))
        except HoursInvalid as error:
            complain(str(error))
            return EXIT_USAGE
    document = _describe(config, directory)
    if arguments.json:
        print_json(document)
    else:
        print(f"up: {document['up']}\ndown: {document['down']}\nfrom: {document['from']}")
    return EXIT_OK


def _read_word(arguments: argparse.Namespace, before: Override) -> Override:
    if arguments.up is None and arguments.down is None:
        raise HoursInvalid("give --up or --down, or both")
    found = _SPAN.fullmatch(arguments.span) if arguments.span is not None else None
    if arguments.span is not None and found is None:
        raise HoursInvalid(f"--for: {arguments.span!r} is no span of time: use 90s, 30m, 2h or 1d")
    until_ms = _now_ms() + int(found[1]) * _SPAN_S[found[2]] * 1000 if found else 0
    if before.until_ms and before.until_ms <= _now_ms():
        before = Override()
    up = read_limit(arguments.up) if arguments.up is not None else before.up
    down = read_limit(arguments.down) if arguments.down is not None else before.down
    return Override(up, down, until_ms)


def _describe(config: Config, directory: DataDirectory) -> dict[str, Any]:
    said = read_override(override_path(directory))
    limits = site_link(config, directory).limits()
    holds = (said.up or said.down) and not 0 < said.until_ms <= _now_ms()
    return {
        "up": str(limits.up),
        "down": str(limits.down),
        "up_bytes_per_s": _rate(limits.up),
        "down_bytes_per_s": _rate(limits.down),
        "until_ms": said.until_ms if holds and said.until_ms else None,
        "from": "skerry link set" if holds else "the configuration",
    }


def _rate(limit: Limit) -> int | None:
    """Bytes per second; None without a limit, 0 while paused."""
    return 0 if limit.paused else limit.bytes_per_s or None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
