"""Who belongs to the realm, and what all of them have seen: the causally stable cut that collection rests on.

Stands above ``ChangeLog`` (positions and acks of every log taken in) and below whatever deletes: tombstones, packs,
own batches. Pure: no clock, no I/O.

A **member** is a site with a head in the bucket or a log taken in here, but for those that are out (below). Its **live
logs** are those that did not end with ``closed``. All of them are waited for: incarnations are random, so none can be
called the newest, and a copy of a machine that still ships is still to be heard. A member whose every log is closed
is about to go on under another name: until it does, or is declared out, it holds everything back.

A site is **out**

* retired: it said so itself, every log of it that is known ended with ``closed``, and all of it was taken in; or
* forgotten: somebody said so, with a **cut**: how far each of its logs counts. A site that had taken in more raises the
  cut (the greatest that anybody names stands) before it acknowledges that statement. So when every remaining member
  has acknowledged every statement, and the cut was taken in, there is nothing of that site left to come.

What an ack means: *every change its writer made before it had applied that much stands in this log at or before the
batch that carries the ack* (``acknowledging`` sees to it). Hence what is in the cut was seen by all, and whoever
changed something without having seen it has been heard here.

Laws, tested in ``tests/replication/test_membership.py``:

* the cut is never beyond what any live log of any other member acknowledged, nor beyond what was taken in here;
* it grows with acks and positions and never with members: one more member can only lower it;
* a log's writer is not asked about its own log; nobody is asked about what came after it was forgotten;
* ``waiting_for`` a target is empty if and only if the target is in the cut.

A death may be forgotten when its own dot **and every dot it replaces** are in the cut: logs arrive in any order, so a
member may have applied a delete and not yet what it deleted.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field

from replication.crdt import Dot
from replication.member_format import Removal, read_register
from replication.ports import ChangeLog, Origin, RemoteLog

Members = Mapping[bytes, Collection[Origin]]
"""The live logs of every member, by site; of the own site, those besides the own log."""


@dataclass(frozen=True, slots=True)
class Holder:
    """Who holds back what: this live log (None: the member has none) has acknowledged ``acked`` of ``origin`` only.

    ``since_ms``: when it was last heard, by its own clock; 0: never.
    """

    site: bytes
    log: Origin | None
    origin: Origin
    acked: int
    since_ms: int


@dataclass(frozen=True, slots=True)
class Census:
    """What this site knows of the realm at one moment.

    ``me``: its own log, shipped up to ``own_seq``; ``logs``: the others as taken in; ``heads``: how far logs reach in
    the bucket, as last listed (those never taken in count, too); ``removed`` and ``retired``: what was said of sites.
    """

    me: Origin
    own_seq: int
    logs: Mapping[Origin, RemoteLog]
    heads: Mapping[Origin, int] = field(default_factory=dict)
    removed: Mapping[bytes, Removal] = field(default_factory=dict)
    retired: Collection[bytes] = ()

    @property
    def positions(self) -> dict[Origin, int]:
        """How far each log was taken in; of the own one, what is confirmed to be in the bucket."""
        return {**{origin: log.position.seq for origin, log in self.logs.items()}, self.me: self.own_seq}

    @property
    def acks(self) -> dict[Origin, Mapping[Origin, int]]:
        """What each log's writer acknowledged."""
        return {origin: log.acks for origin, log in self.logs.items()}

    def members(self) -> dict[bytes, frozenset[Origin]]:
        """Everybody who is waited for."""
        sites = {site for site, _ in (*self.logs, *self.heads)} | {self.me[0]}
        live = {site: self._live_logs(site) for site in sites}
        staying = {site: logs for site, logs in live.items() if site not in self.removed and not self._is_gone(site)}
        staying.setdefault(self.me[0], live[self.me[0]])
        asked = [log for logs in staying.values() for log in logs]
        for site, removal in self.removed.items():
            heard = all(_covers(log, self.acks.get(log, {}), dot) for log in asked for dot in removal.dots)
            if site in live and site != self.me[0] and not (heard and self._is_cut_reached(site, removal)):
                staying[site] = live[site]
        return staying

    def heir_of(self, site: bytes, members: Members) -> bytes:
        """Who looks after what a site that is out has left: its heir, or else the first of those that stay."""
        removal = self.removed.get(site)
        return removal.heir if removal is not None and removal.heir in members else min(members)

    def inherited(self) -> dict[Origin, int]:
        """Logs of sites that are out whose heir this site is, and how far they were taken in here: as far as they
        count. If two think so at once, both do what there is to do: each step is right whoever takes it.
        """
        members, me = self.members(), self.me[0]
        out = {site for site, _ in self.logs} - members.keys()
        mine = {site for site in out if self.heir_of(site, members) == me}
        return {origin: log.position.n for origin, log in self.logs.items() if origin[0] in mine}

    def inherited_from_retired(self) -> frozenset[Origin]:
        """Those of them whose site ended them itself, and was not forgotten: there is nothing behind their end."""
        return frozenset(origin for origin in self.inherited() if origin[0] not in self.removed)

    def cut(self) -> dict[Origin, int]:
        """For each log the greatest sequence number that is causally stable."""
        return stable_cut(self.me, self.positions, self.acks, self.members())

    def waiting_for(self, target: Mapping[Origin, int] | None = None) -> list[Holder]:
        """Who holds back ``target`` (default: all that was taken in, and all that was shipped)."""
        spoke = {origin: log.sent_ms for origin, log in self.logs.items()}
        return waiting_for(target or self.positions, self.me, self.positions, self.acks, self.members(), spoke)

    def undecided(self, site: bytes) -> list[bytes]:
        """Which sites may yet raise the cut of a site that was forgotten: those that stay and did not acknowledge every
        statement on it, and those that ended their logs and may go on under another name.
        """
        dots, found = self.removed[site].dots, []
        for other in sorted({origin[0] for origin in (*self.logs, *self.heads)} - {site, self.me[0]}):
            if other not in self.removed and not self._is_gone(other):
                logs = self._live_logs(other)
                if not logs or not all(_covers(log, self.acks.get(log, {}), dot) for log in logs for dot in dots):
                    found.append(other)
        return found

    def _live_logs(self, site: bytes) -> frozenset[Origin]:
        known = {origin for origin in (*self.logs, *self.heads) if origin[0] == site and origin != self.me}
        return frozenset(origin for origin in known if origin not in self.logs or not self.logs[origin].closed)

    def _is_gone(self, site: bytes) -> bool:
        return site in self.retired and site != self.me[0] and not self._live_logs(site)

    def _is_cut_reached(self, site: bytes, removal: Removal) -> bool:
        reached = {origin[1]: log.position.n for origin, log in self.logs.items() if origin[0] == site}
        return all(reached.get(incarnation, 0) >= n for incarnation, n in removal.cut.items())


def stable_cut(
    me: Origin, positions: Mapping[Origin, int], acks: Mapping[Origin, Mapping[Origin, int]], members: Members
) -> dict[Origin, int]:
    """For each log of ``positions`` the greatest sequence number that every live log of every member acknowledged.

    ``positions``: how far each log was taken in here, the own one included; ``acks``: by log, what its writer had
    applied of every other. Sequence numbers are those of the last change; 0 is nothing.
    """
    asked = [log for logs in members.values() for log in logs if log != me]
    if any(not logs for site, logs in members.items() if site != me[0]):
        return dict.fromkeys(positions, 0)
    return {
        origin: min([seq, *(acks.get(log, {}).get(origin, 0) for log in asked if log != origin)])
        for origin, seq in positions.items()
    }


def is_stable(cut: Mapping[Origin, int], dots: Iterable[Dot]) -> bool:
    """Whether all these changes are in the cut."""
    return all(dot.seq <= cut.get((dot.site, dot.incarnation), 0) for dot in dots)


def waiting_for(
    target: Mapping[Origin, int],
    me: Origin,
    positions: Mapping[Origin, int],
    acks: Mapping[Origin, Mapping[Origin, int]],
    members: Members,
    spoke_ms: Mapping[Origin, int],
) -> list[Holder]:
    """Who keeps ``target`` out of the cut, and when it was heard last; this site itself, if it lacks some of it."""
    found = [
        Holder(*(me[0], me, origin), positions.get(origin, 0), 0)
        for origin, seq in target.items()
        if positions.get(origin, 0) < seq
    ]
    for site, logs in members.items():
        if not logs and site != me[0]:
            since_ms = max((ms for origin, ms in spoke_ms.items() if origin[0] == site), default=0)
            found += [Holder(site, None, origin, 0, since_ms) for origin, seq in target.items() if seq]
        for log in logs:
            given = acks.get(log, {})
            found += [
                Holder(site, log, origin, given.get(origin, 0), spoke_ms.get(log, 0))
                for origin, seq in target.items()
                if log not in (me, origin) and given.get(origin, 0) < seq
            ]
    return sorted(found, key=lambda holder: (holder.site, holder.log or (b"", b""), holder.origin))


def take_census(log: ChangeLog, heads: Mapping[Origin, int] | None = None) -> Census:
    """The census as of now, from the log; ``heads``: of logs that were not taken in yet, if they were listed."""
    identity, said = log.identity(), read_register(log.statements())
    me, logs = (identity.site, identity.incarnation), log.remote_logs()
    return Census(me, log.shipped().seq, logs, dict(heads or {}), said.removed, said.retired.keys())


def _covers(log: Origin, acks: Mapping[Origin, int], dot: Dot) -> bool:
    origin = (dot.site, dot.incarnation)
    return log == origin or acks.get(origin, 0) >= dot.seq
