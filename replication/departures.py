"""How sites leave the realm: told to retire, forgotten, revoked; and what each site owes to such a statement.

Between the membership's items (``member_format``) and those who act: commands (``forget_site``, ``retire_site``), the
puller (``Register.counts``: beyond a cut nothing is taken in), the shipper (``raise_cuts`` before every
acknowledgement; ``why_out`` before every round).

A **cut** makes forgetting converge without anybody writing into the forgotten site's log: whoever states it names how
far it has taken in each log; whoever had taken in more says so before it acknowledges the statement, and from then on
nobody goes further than the greatest that was named. So every site ends with the same part of those logs, whatever the
forgotten machine still ships meanwhile, and whoever owns its bucket credentials.

Not here: collecting the packs of a forgotten site (its heir's business), closing its log in the bucket.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from replication.member_format import (
    ForgottenRecord,
    NameRecord,
    Removal,
    RetiredRecord,
    encode_member,
    forgotten_item,
    name_item,
    read_register,
    retired_item,
)
from replication.ports import ChangeLog, Origin

UNHEARD_MS_MIN: Final = 3_600_000
"""A site that spoke in the last hour is probably alive: forgetting it has to be insisted on."""


class DepartureRefused(ValueError):
    """What was asked makes no sense for this site, or must be insisted on; the message says why."""


async def name_site(log: ChangeLog, site: bytes, name: str) -> None:
    """Call a site something, whatever it calls itself. ``ChangeInvalid`` for a name that cannot be."""
    await log.state(name_item(site), encode_member(NameRecord(name=name)))


async def retire_site(log: ChangeLog, site: bytes, now_ms: int) -> None:
    """Tell a site (this one, or another) to end its log once all of it is shipped. No effect if it was told."""
    said = read_register(log.statements())
    _check_known(log, site)
    if site in said.removed:
        raise DepartureRefused("it was forgotten already")
    if site not in said.retired:
        await log.state(retired_item(site, log.identity().site), encode_member(RetiredRecord(at_ms=now_ms)))


async def forget_site(
    log: ChangeLog,
    site: bytes,
    heir: bytes,
    now_ms: int,
    *,
    heads: Mapping[Origin, int] | None = None,
    revoked: bool = False,
    insist: bool = False,
) -> Removal:
    """Declare a site out, as far as its logs were taken in here. For good. Saying it again changes nothing but that a
    forgotten site may be revoked, too.

    ``DepartureRefused`` for this site itself, for an heir that is no member, and, unless ``insist``, for a site that
    spoke within ``UNHEARD_MS_MIN`` (by its clock), or (if it is not in wrong hands) of which the bucket holds more than
    was taken in here, or another is known to have. ``heads``: to which batch each log reaches there, if that was asked.
    """
    me, said = log.identity().site, read_register(log.statements())
    _check_known(log, site)
    if site == me:
        raise DepartureRefused("a site does not forget itself: `skerry sites retire` ships all and ends its log")
    known = said.removed.get(site)
    if known is not None and known.revoked >= revoked:
        return known
    _check_known(log, heir, "the heir")
    if heir == site or heir in said.removed or heir in said.retired:
        raise DepartureRefused("the heir is to be a site that stays")
    spoke_ms = max((log.sent_ms for (other, _), log in log.remote_logs().items() if other == site), default=0)
    if not insist and now_ms - spoke_ms < UNHEARD_MS_MIN:
        minutes = max(0, (now_ms - spoke_ms) // 60_000)
        raise DepartureRefused(
            f"it spoke {minutes} minutes ago: a site that lives is told to retire (`skerry sites retire`); if "
            "it is lost for good all the same, say --force"
        )
    if not (insist or revoked) and (unread := count_unread(log, site, heads or {})):
        raise DepartureRefused(
            f"the bucket holds {unread} batches of it that this site has not taken in, and that would not count: let "
            "this site catch up first (`skerry replicate --once`), or say --force"
        )
    if not (insist or revoked) and (ahead := _who_heard_more(log, site)):
        raise DepartureRefused(
            f"site {ahead.hex()} has taken in more of its log than this one: let this site catch up first "
            "(`skerry replicate --once`), for a site that retired raises no cut any more; or say --force"
        )
    cut = {incarnation: position.n for (other, incarnation), position in log.heard().items() if other == site}
    before = known or Removal({}, heir, frozenset(), at_ms=now_ms)
    await _state_removal(log, site, before, cut, revoked=revoked)
    return read_register(log.statements()).removed[site]


async def raise_cuts(log: ChangeLog) -> None:
    """Say of every forgotten site whose logs were taken in further here than anybody named how far that is."""
    me = log.identity().site
    for site, removal in read_register(log.statements()).removed.items():
        reached = {incarnation: position.n for (other, incarnation), position in log.heard().items() if other == site}
        if site != me and any(n > removal.counts(incarnation) for incarnation, n in reached.items()):
            await _state_removal(log, site, removal, reached, revoked=removal.revoked)


def stated_by_me(log: ChangeLog) -> set[bytes]:
    """Of which sites this one says that they are out."""
    me, said = log.identity().site, log.statements()
    return {site for site in read_register(said).removed if any(one.item == forgotten_item(site, me) for one in said)}


def why_out(log: ChangeLog) -> str:
    """Why nothing of this site is taken in any more, for people; empty if it is a member. Revoked says so."""
    removal = read_register(log.statements()).removed.get(log.identity().site)
    if removal is None:
        return ""
    done = "revoked: nobody trusts it any more" if removal.revoked else "forgotten"
    return f"this site was {done}; site {removal.heir.hex()} inherits what it has in the bucket"


def counted_batches(log: ChangeLog) -> int | None:
    """If this site was forgotten: how many batches of its own log count; nobody takes in more. None if it was not."""
    identity = log.identity()
    removal = read_register(log.statements()).removed.get(identity.site)
    return None if removal is None else removal.counts(identity.incarnation)


def is_revoked(log: ChangeLog) -> bool:
    """Whether this very site was revoked."""
    removal = read_register(log.statements()).removed.get(log.identity().site)
    return removal is not None and removal.revoked


def is_retiring(log: ChangeLog) -> bool:
    """Whether this very site was told to retire."""
    return log.identity().site in read_register(log.statements()).retired


async def _state_removal(
    log: ChangeLog, site: bytes, known: Removal, reached: dict[bytes, int], *, revoked: bool
) -> None:
    cut = {one: max(reached.get(one, 0), known.counts(one)) for one in reached.keys() | known.cut.keys()}
    record = ForgottenRecord(
        at_ms=known.at_ms, cut=tuple(sorted(cut.items())), heir=known.heir, revoked=revoked or known.revoked
    )
    await log.state(forgotten_item(site, log.identity().site), encode_member(record))


def count_unread(log: ChangeLog, site: bytes, heads: Mapping[Origin, int]) -> int:
    """Batches of a site's logs that the bucket holds, by ``heads``, and that were not taken in here."""
    heard = log.heard()
    return sum(
        max(0, n - (heard[origin].n if origin in heard else 0)) for origin, n in heads.items() if origin[0] == site
    )


def _who_heard_more(log: ChangeLog, site: bytes) -> bytes | None:
    """A site that acknowledged more of this one's logs than was taken in here."""
    heard = {origin: position.seq for origin, position in log.heard().items()}
    for (who, _), acks in log.acks().items():
        if any(origin[0] == site and seq > heard.get(origin, 0) for origin, seq in acks.items()):
            return who
    return None


def _check_known(log: ChangeLog, site: bytes, who: str = "the site") -> None:
    if site != log.identity().site and all(other != site for other, _ in log.heard()):
        raise DepartureRefused(f"{who} {site.hex()} is not known here: nothing of it was taken in")
