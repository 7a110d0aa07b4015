"""The end of tombstones: when what is dead may be forgotten, and by whom.

A tombstone (a deleted slot, a purged version, a doom that is over) is kept for what may still arrive: a write that had
not seen it, and that would show again without it. It is **ended** by an ordinary own change, made once by one site,
that replaces the tombstone *and itself*: wherever it is applied nothing is left of either. So ending is merged, logged,
rebuilt, shipped, told in checkpoints and understood by older releases like any write, and no two sites can come to
differ over it, whoever hears of it when. What the rules here add is that nothing *shows* again by it:

    horizon   a cut P and a moment. P: how far every log was taken in here; then the heads were listed; then all that
              was listed was taken in here, too (H); then all of H came to be in the causally stable cut
    age       then ``age_ms`` passed, by trusted time (the cloud's clock, never the site's)
    end       then, while all of H is in the stable cut as of heads listed just now (who joins counts from its first
              batch on), each site ends the tombstones it made, and those that belonged to sites that are out, if

              * its dot is in P, and so is whatever else stands at that item and hangs on it;
              * nothing that lives stands beside it (which rows that is, by kind, the ``Graveyard`` says).

Why nothing shows again. *What can be late?* A change that had not seen the tombstone T. Every live log acknowledged T,
and an ack says that all its writer made before it had applied that much is at or before that batch, which was taken in
here: so there is none in any live log, and those that were late once stand here; one that lives at T's item keeps T.

*Why H, and not the cut alone?* The cut holds dots, not their pasts: a member may have T, and a value w, and not yet the
write r between them (r replaced w, T replaced r; logs arrive in any order). There T is all that hides w. What P's
changes had seen was in the bucket before they were, hence in the listing that came after P was taken in, hence in H:
every member has r, too.

*Who reads T's end before T?* Only who joins, by replay: what T replaced is marked, whatever comes when; a purge, which
hides its version instead of replacing it, is ended by a change that names the value, too. A checkpoint tells neither
the tombstone nor the value, and its vector says that both were seen: joining it removes them.

What can still come: a machine that was forgotten, or a copy of one, and that goes on as a new site. It issues anew what
it alone had, with the same clocks. Where T stands such a write may lose to it (and is kept as a conflict version);
where T was ended it is current, on every site alike: an acknowledged write that no delete had seen. It brings back
nothing that anybody deleted: what others had of it is in their state, replaced, and what it replaces are dots that are
replaced already. Configuration is another matter: a policy, or a disabled key, of a year ago must not win because its
removal was forgotten, so tombstones of buckets, their documents, users, keys and roles are never ended. There are as
many as such names were ever used, not as many as there are deletes.

Not here: which rows make a tombstone (the store), when to look (``collecting``), what the bucket keeps of the log.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from replication.collection_ports import Graveyard, Horizon
from replication.member_format import read_register
from replication.membership import Census, take_census
from replication.offload import Offload, run_in_thread
from replication.ports import ChangeLog, Cloud, Origin
from replication.puller import list_heads
from replication.status import TombstoneAccount

ITEMS_AT_ONCE = 500
YOUNG = "not_old_enough"


@dataclass(slots=True)
class _Candidate:
    """A horizon to be: P, then the heads as listed after it (batches), then H, once they were taken in."""

    me: Origin
    cut: Mapping[Origin, int]
    heads: Mapping[Origin, int]
    resting_on: Mapping[Origin, int] | None = None


class TombstoneKeeper:
    """Ends tombstones for one site, by its one daemon. ``trusted_ms``: the cloud's clock, None if it is not known."""

    def __init__(
        self,
        log: ChangeLog,
        graveyard: Graveyard,
        cloud: Cloud,
        age_ms: int,
        *,
        trusted_ms: Callable[[], int | None],
        offload: Offload = run_in_thread,
        account: TombstoneAccount | None = None,
    ) -> None:
        self._log, self._graveyard, self._cloud, self._age_ms = log, graveyard, cloud, age_ms
        self._trusted_ms, self._offload = trusted_ms, offload
        self._candidate: _Candidate | None = None
        self._walked: Horizon | None = None
        self._ended, self._has_counted = 0, False
        self.account = account
        """As of the last whole walk, of a former daemon at first; None before the first of all."""

    async def end_due(self) -> int:
        """Go on as far as that is possible now: how many tombstones were ended. ``CloudError``, the store's errors: the
        next call goes on.
        """
        horizon, census = await self._offload(self._graveyard.horizon), await self._take_census()
        if horizon is None or horizon == self._walked:
            await self._prepare()
        elif self._is_due(horizon) and _is_within(horizon.resting_on, census.cut()):
            ended = await self._walk(census, ends=True)
            self._walked = horizon
            return ended
        if not self._has_counted:
            await self._walk(census, ends=False)
        return 0

    def _is_due(self, horizon: Horizon) -> bool:
        now_ms = self._trusted_ms()
        return now_ms is not None and now_ms - horizon.since_ms >= self._age_ms

    async def _walk(self, census: Census, *, ends: bool) -> int:
        """Look at everything, and end what is due, or only count it."""
        is_mine = _share_of(census)
        kept: Counter[str] = Counter()
        ended, after = 0, b""
        while True:
            found = await self._offload(
                lambda after=after: self._graveyard.find_tombstones(is_mine, after, ITEMS_AT_ONCE)  # type: ignore[misc]
            )
            kept.update(found.kept)
            if ends and found.due:
                ended += await self._graveyard.end_tombstones(found.due)
            elif found.due:
                kept[YOUNG] += len(found.due)
            after = found.after
            if not after:
                break
        self._ended, self._has_counted = self._ended + ended, True
        horizon = None if ends else await self._offload(self._graveyard.horizon)
        since_ms = horizon.since_ms if horizon is not None else 0
        self.account = TombstoneAccount(dict(kept), self._ended, since_ms, since_ms and since_ms + self._age_ms)
        return ended

    async def _prepare(self) -> None:
        """Find a new horizon."""
        identity = self._log.identity()
        me = (identity.site, identity.incarnation)
        candidate = self._candidate
        if candidate is None or candidate.me != me:
            cut = self._positions(me)  # before the heads are listed: what these changes had seen is there by then
            candidate = self._candidate = _Candidate(me, cut, await list_heads(self._cloud))
        if candidate.resting_on is None and self._has_reached(candidate.heads, me):
            candidate.resting_on = self._positions(me)
        if candidate.resting_on is None:
            return
        census, now_ms = await self._take_census(), self._trusted_ms()
        if now_ms is not None and _is_within(candidate.resting_on, census.cut()):
            await self._graveyard.record_horizon(Horizon(candidate.cut, candidate.resting_on, now_ms))
            self._candidate = None
            if self.account is not None:
                self.account = TombstoneAccount(self.account.kept, self._ended, now_ms, now_ms + self._age_ms)

    def _positions(self, me: Origin) -> dict[Origin, int]:
        own = {me: self._log.shipped().seq}
        return {**{origin: position.seq for origin, position in self._log.pulled().items()}, **own}

    def _has_reached(self, heads: Mapping[Origin, int], me: Origin) -> bool:
        """Whether all that was listed was taken in here; of sites that were forgotten, what counts."""
        removed = read_register(self._log.statements()).removed
        reached = {**{origin: position.n for origin, position in self._log.pulled().items()}, me: self._log.shipped().n}
        for (site, incarnation), n in heads.items():
            counted = min(n, removed[site].counts(incarnation)) if site in removed else n
            if reached.get((site, incarnation), 0) < counted:
                return False
        return True

    async def _take_census(self) -> Census:
        return take_census(self._log, await list_heads(self._cloud))


def _is_within(wanted: Mapping[Origin, int], cut: Mapping[Origin, int]) -> bool:
    return all(cut.get(origin, 0) >= seq for origin, seq in wanted.items())


def _share_of(census: Census) -> Callable[[bytes], bool]:
    """Whose tombstones this site ends: its own, and those of sites that are out, if it is their heir, or the first of
    those that stay. (If two think so at once, both do it: that costs a change.)
    """
    members, me = census.members(), census.me[0]

    def is_mine(site: bytes) -> bool:
        return site == me if site in members else census.heir_of(site, members) == me

    return is_mine
