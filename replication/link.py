"""What the link to the cloud may carry now: the configured limits, the hours of the week, an operator's live word.

Stands between the configuration and who uses the link: ``throttle`` asks for rates, ``service`` whether to ship and
pull at all. An operator's word (``Override``) wins over hours, hours over the plain limits. The debt that a limit makes
(``Debts``) may be shared by all processes of a site, so that the limit is the site's and not each one's.

Not here: files (the composition root keeps override and debts), pacing itself (throttle).
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol

import msgspec

from replication.link_hours import Limit, LinkHours, LinkLimits
from replication.settings import CloudSettings, LinkSettings

UP, DOWN = 0, 1
"""The two ways of a link, as indices of debts."""


class Override(msgspec.Struct, frozen=True):
    """What an operator said live: a way's limit (None: as configured), and until when it holds (0: until told)."""

    up: Limit | None = None
    down: Limit | None = None
    until_ms: int = 0


class Debts(Protocol):
    """When each way is free again, on the machine's monotonic clock."""

    def take(self, way: int, now_s: float, seconds: float) -> float:
        """Owe so many seconds of a way: when they may begin. Atomic among all who share the debts."""


class OwnDebts:
    """The debts of one process alone."""

    def __init__(self) -> None:
        self._free_at = [0.0, 0.0]

    def take(self, way: int, now_s: float, seconds: float) -> float:
        """See ``Debts``."""
        begin = max(now_s, self._free_at[way])
        self._free_at[way] = begin + seconds
        return begin


class Link:
    """The link of one site, as every process of it sees it."""

    def __init__(
        self,
        plain: LinkLimits | None = None,
        hours: LinkHours | None = None,
        override: Callable[[], Override] = Override,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.plain = plain or LinkLimits()
        self._hours = hours or LinkHours()
        self._override = override
        self._wall_ms = wall_ms

    def limits(self) -> LinkLimits:
        """What holds now."""
        now_ms, said = self._wall_ms(), self._override()
        found = self._hours.at(now_ms, self.plain)
        if said.until_ms and now_ms >= said.until_ms:
            return found
        return LinkLimits(said.up or found.up, said.down or found.down)

    def bytes_per_s(self, way: int) -> int:
        """The rate that holds for what is carried now; 0: none. A pause keeps nobody who must pass from passing."""
        limits = self.limits()
        limit, plain = (limits.up, self.plain.up) if way == UP else (limits.down, self.plain.down)
        return plain.bytes_per_s if limit.paused else limit.bytes_per_s


def configured_link(cloud: CloudSettings, settings: LinkSettings, override: Callable[[], Override] = Override) -> Link:
    """The link that a configuration describes."""
    plain = LinkLimits(Limit(cloud.upload_bytes_per_s), Limit(cloud.download_bytes_per_s))
    return Link(plain, LinkHours(settings.hours, settings.time_zone), override)
