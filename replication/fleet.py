"""The realm as one site sees it: every site with what it last told of itself, and who holds back the stable cut.

Pure: from the census (what was taken in), the register (what was said of sites) and the daemon's account (what its
last look into the bucket told, which a command beside it reads from the report). Any site sees all others, since each
site's status travels with its log.

A **wait** is a live log of a member that has not acknowledged all that was taken in or shipped here; ``since_ms`` is
when this site noticed that it is behind and since when it made no progress. A site that speaks and acknowledges
nothing (its puller is stopped) so grows old here, though it was heard a minute ago.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

import msgspec

from replication.member_format import Register
from replication.membership import Census
from replication.ports import Origin, RemoteLog
from replication.site_status_format import SiteStatus, decode_site_status


class SiteState(Enum):
    """What a site is to the realm. A value is part of ``skerry sites list --json``."""

    HERE = "this site"
    MEMBER = "member"
    RETIRING = "retiring"
    RETIRED = "retired"
    FORGOTTEN = "forgotten"
    REVOKED = "revoked"


class Wait(msgspec.Struct, frozen=True):
    """One log that holds the cut back: whose, how many changes (of all logs) it has not acknowledged, since when.

    ``incarnation`` empty: the site has ended its log and not begun another. ``acked``: of all logs together.
    """

    site: str
    incarnation: str
    behind: int
    acked: int
    since_ms: int


@dataclass(frozen=True, slots=True)
class FleetLog:
    """One log of a site: how far it was taken in here, how far it reaches, whether it ended."""

    incarnation: bytes
    batches: int
    changes: int
    head: int
    closed: bool


@dataclass(frozen=True, slots=True)
class FleetSite:
    """One site. ``status`` and ``seen_ms`` are of its newest batch taken in; ``heir`` inherits from a forgotten one.

    ``is_waited_for``: whether collection waits for its acks.
    """

    site: bytes
    name: str
    state: SiteState
    logs: tuple[FleetLog, ...]
    status: SiteStatus | None
    seen_ms: int
    is_waited_for: bool
    heir: bytes | None = None


def list_fleet(census: Census, register: Register, own: SiteStatus, now_ms: int) -> list[FleetSite]:
    """Every site of the realm that is known here, this one first, then by name and id."""
    me, members = census.me[0], census.members()
    sites = {origin[0] for origin in (*census.logs, *census.heads)} | register.removed.keys() | {me}
    found = []
    for site in sites:
        logs = {origin: census.logs.get(origin) for origin in (*census.logs, *census.heads) if origin[0] == site}
        newest = max((log for log in logs.values() if log), key=lambda log: log.sent_ms, default=None)
        status = own if site == me else decode_site_status(newest.status) if newest else None
        removal = register.removed.get(site)
        found.append(
            FleetSite(
                site,
                register.names.get(site, status.name if status else ""),
                _state_of(site, census, register),
                tuple([_fleet_log(origin, log, census.heads) for origin, log in sorted(logs.items())]),
                status,
                now_ms if site == me else newest.sent_ms if newest else 0,
                site in members and site != me,
                removal.heir if removal else None,
            )
        )
    return sorted(found, key=lambda one: (one.state is not SiteState.HERE, one.name, one.site))


def follow_waits(before: Iterable[Wait], census: Census, now_ms: int) -> tuple[Wait, ...]:
    """Who holds back what now, given what was so before: who made progress since begins anew."""
    known = {(wait.site, wait.incarnation): wait for wait in before}
    positions, found = census.positions, []
    behind: dict[tuple[str, str], int] = {}
    acked: dict[tuple[str, str], int] = {}
    for holder in census.waiting_for():
        key = (holder.site.hex(), holder.log[1].hex() if holder.log else "")
        behind[key] = behind.get(key, 0) + max(0, positions.get(holder.origin, 0) - holder.acked)
        acked[key] = sum(census.acks.get(holder.log, {}).values()) if holder.log else 0
    for key, count in behind.items():
        wait = known.get(key)
        since_ms = wait.since_ms if wait is not None and wait.acked == acked[key] else now_ms
        found.append(Wait(*key, count, acked[key], since_ms))
    return tuple(sorted(found, key=lambda wait: (wait.since_ms, wait.site, wait.incarnation)))


def resolve_site(fleet: Iterable[FleetSite], named: str) -> bytes:
    """The site that an operator means by an id, the beginning of one (8 digits or more), or a name. A name means the
    site that stays, if others that had it are out: a machine that replaces another often takes its name.

    ``LookupError`` if there is none or more than one.
    """
    found = [
        one
        for one in fleet
        if one.name == named or one.site.hex() == named or (len(named) >= 8 and one.site.hex().startswith(named))
    ]
    staying = [one for one in found if one.state in (SiteState.HERE, SiteState.MEMBER, SiteState.RETIRING)]
    matching = [one.site for one in (staying if len(found) > 1 else found)]
    if len(matching) != 1:
        raise LookupError(f"{named!r} is the name or id of {len(found)} sites: give the id; see `skerry sites list`")
    return matching[0]


def _state_of(site: bytes, census: Census, register: Register) -> SiteState:
    removal = register.removed.get(site)
    if removal is not None:
        return SiteState.REVOKED if removal.revoked else SiteState.FORGOTTEN
    if site in register.retired:
        return SiteState.RETIRED if site not in census.members() else SiteState.RETIRING
    return SiteState.HERE if site == census.me[0] else SiteState.MEMBER


def _fleet_log(origin: Origin, log: RemoteLog | None, heads: Mapping[Origin, int]) -> FleetLog:
    if log is None:
        return FleetLog(origin[1], 0, 0, heads.get(origin, 0), closed=False)
    head = max(heads.get(origin, 0), log.position.n)
    return FleetLog(origin[1], log.position.n, log.position.seq, head, log.closed)
