"""What a site in memory takes in: the rules are the real store's (``subscription_rows``), only the rows are not.

A bucket's name is its uid here, so every name has been heard. Mixed into ``MemorySite``, whose attributes it uses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gateway.store.item_format import FAMILY_NULL_SLOT, FAMILY_VERSION, FAMILY_VERSION_DOCUMENT, UID_SIZE
from gateway.store.log_format import VectorRow
from gateway.store.subscription_rows import Scope, SubscriptionRow, is_shown, resubscribe
from replication.crdt import Dot
from replication.ports import Identity, JoinState, LogPosition, Origin, RemoteLog
from replication.subscription import ALL

OF_OBJECTS = (FAMILY_NULL_SLOT, FAMILY_VERSION, FAMILY_VERSION_DOCUMENT)


def name_of(uid: bytes) -> str:
    return uid.decode(errors="replace")


class MemorySubscription:
    """The part of a site in memory that takes in some buckets only."""

    subscription = SubscriptionRow()
    remotes: dict[Origin, RemoteLog]
    join: JoinState | None
    applied: set[Dot]
    former: dict[Origin, int]
    _identity: Identity

    def subscribed(self) -> tuple[str, ...]:
        taken = self.subscription.taken
        return () if taken == ALL else taken

    async def subscribe(self, patterns: tuple[str, ...]) -> None:
        wanted = patterns or ALL
        if wanted == self.subscription.shown:
            return
        known = {
            origin: VectorRow(*origin, log.position.n, log.position.seq, log.position.chain)
            for origin, log in self.remotes.items()
        }
        is_new = not known and self.join is None
        self.subscription, rewinds = resubscribe(self.subscription, wanted, known, is_new=is_new)
        if rewinds:
            self.remotes, self.join = {}, None
            self.applied = {dot for dot in self.applied if self.is_own(dot)}

    def scope(self) -> Scope | None:
        """None if everything is taken in as it comes."""
        scope = Scope(self.subscription, name_of, lambda change: name_of(change.item))
        return None if scope.everything else scope

    def shows(self, family: int, item: bytes) -> bool:
        """Whether clients see an item: settings of all buckets are everywhere."""
        return family not in OF_OBJECTS or self.shows_bucket(item[:UID_SIZE])

    def shows_bucket(self, uid: bytes) -> bool:
        return is_shown(self.subscription, name_of(uid))

    def heard(self) -> Mapping[Origin, LogPosition]:
        """How far logs were ever taken in, and acknowledged: a rewind takes none of that back."""
        found = {row.origin: LogPosition(row.n, row.seq, row.chain) for row in self.subscription.high}
        for origin, log in self.remotes.items():
            if log.position.n >= found.get(origin, LogPosition()).n:
                found[origin] = log.position
        return found

    def _settle_rewind(self) -> None:
        row, nothing = self.subscription, RemoteLog(LogPosition())
        if row.high and all(self.remotes.get(known.origin, nothing).position.n >= known.n for known in row.high):
            self.subscription = SubscriptionRow(row.taken, row.shown)

    def is_own(self, dot: Dot) -> bool:
        origin = (dot.site, dot.incarnation)
        return origin == (self._identity.site, self._identity.incarnation) or dot.seq <= self.former.get(origin, 0)

    def _pass_over(self, changes: Sequence[bytes]) -> tuple[bytes, ...]:
        scope = self.scope()
        return tuple(changes) if scope is None else scope.pass_over(tuple(changes))
