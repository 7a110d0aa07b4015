"""The destinations of a site's events: names to URLs, as ``[notifications]`` gives them."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final, NamedTuple
from urllib.parse import urlsplit

_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,80}")
_SCHEMES: Final = ("http", "https", "mqtt", "mqtts", "nats", "tls")
_WITH_PATH: Final = ("mqtt", "mqtts", "nats", "tls")


class Destination(NamedTuple):
    """A place that events are delivered to."""

    name: str
    url: str


@dataclass(frozen=True, slots=True)
class NotificationSettings:
    """[notifications]: where events of buckets can go. A name stands for the queue, topic and function of that name."""

    destinations: tuple[str, ...] = field(default=(), repr=False)  # "name=https://host/path", mqtt or nats likewise
    authorization: tuple[str, ...] = field(default=(), repr=False)  # "name=Bearer …": the header sent along
    timeout_s: float = 10.0  # for one delivery
    retry_max_s: float = 300.0  # the longest pause between tries
    age_max_s: float = 86_400.0  # after this an event that was not taken is given up

    @property
    def names(self) -> tuple[str, ...]:
        """The destinations' names."""
        return tuple([destination.name for destination in parse_destinations(self.destinations)])

    def authorization_of(self, name: str) -> str:
        """The Authorization header for a destination; empty for none."""
        return dict(entry.split("=", 1) for entry in self.authorization).get(name, "")


def parse_destinations(entries: tuple[str, ...]) -> list[Destination]:
    """``name=URL`` entries; ``ValueError`` with what is wrong."""
    found = []
    for entry in entries:
        name, equals, url = entry.partition("=")
        if not equals or not _NAME.fullmatch(name):
            raise ValueError(f"must be NAME=URL with 1 to 80 of A-Z a-z 0-9 _ . - in the name, not {name!r}")
        parts = urlsplit(url)
        if parts.scheme not in _SCHEMES or not parts.hostname:
            raise ValueError(
                f"{name}: must be a URL such as https://host/path, mqtt://host/topic or nats://host/subject"
            )
        if parts.scheme in _WITH_PATH and len(parts.path) < 2:
            raise ValueError(f"{name}: the path of the URL must name a topic or subject")
        found.append(Destination(name, url))
    if len({destination.name for destination in found}) != len(found):
        raise ValueError("the names must be unique")
    return found


def check_destinations(entries: tuple[str, ...]) -> str | None:
    """What is wrong with them, or None."""
    try:
        parse_destinations(entries)
    except ValueError as error:
        return str(error)
    return None


def check_authorization(entries: tuple[str, ...]) -> str | None:
    """What is wrong with the headers, or None; never says one."""
    return (
        None
        if all(_NAME.fullmatch(entry.partition("=")[0]) and "=" in entry for entry in entries)
        else "must be NAME=VALUE"
    )
