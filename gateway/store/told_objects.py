"""Which objects in the cloud a batch or a checkpoint may tell of, and which are relied on only once it did.

Stands between ``apply`` (and ``state_fold``) and ``cloud_rows``. A doom is ended when its objects are gone: no row is
left of them, so nothing refuses a place in one of them that is told late, and nothing takes away one that a site has
which missed the end. Objects are doomed, and dooms ended, in the very log under which they stand. So:

* who has heard a log as far as whoever tells of an object under it knew it, and does not know the object, has heard its
  end: it is **no news** (an old checkpoint; a log that is read once more since more buckets are to be taken in);
* where a checkpoint goes further than this site has heard a log, ends are among what is skipped. Until it was joined,
  this site's objects under that log are **awaited**: each is used again once it is told of. Those that are left are
  **untold**: bytes are read there, if it is all there is, but nothing is relied on, and no checkpoint passes it on.

A later location of an object makes it usable again. What was heard is never taken back (``subscription_rows``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gateway.store.cloud_rows import OBJECT_AWAITED, OBJECT_UNTOLD, CloudRows, find_object, read_object, scan_objects
from gateway.store.index import Transaction
from gateway.store.index_format import State
from gateway.store.log_format import Located
from gateway.store.subscription_rows import heard_of
from replication.cloud_names import log_of
from replication.ports import FrameLocation, Origin


class ToldObjects:
    """One write transaction's part. ``site``: this one's first name. ``told``, below: up to which
    batch whoever says something had heard each log.
    """

    def __init__(self, transaction: Transaction, cloud: CloudRows, site: bytes, state: State) -> None:
        self._transaction, self._cloud, self._site, self._state = transaction, cloud, site, state

    def locate(self, located: Iterable[FrameLocation | Located], told: Mapping[Origin, int]) -> None:
        """Take in where frames lie, as far as it is news."""
        known: dict[str, bool] = {}
        news: list[FrameLocation | Located] = []
        for place in located:
            name = place.object_name
            if name not in known:
                known[name] = self._is_news(name, told)
            if known[name]:
                news.append(place)
        self._cloud.locate(news)

    def begin(self, told: Mapping[Origin, int]) -> None:
        """A checkpoint that goes so far is to be joined; another one that was under way is forgotten."""
        skipped = {log for log, n in told.items() if n > self._heard(log)}
        for name, number in list(scan_objects(self._transaction, "", "")):
            flags, _ = read_object(self._transaction, number)
            awaited = OBJECT_AWAITED if log_of(name) in skipped else 0
            if flags & OBJECT_AWAITED != awaited:
                self._cloud.flag(number, flags ^ OBJECT_AWAITED)

    def end(self) -> None:
        """All of the checkpoint is joined."""
        self._stop_waiting(OBJECT_UNTOLD)

    def give_up(self) -> None:
        """No checkpoint is joined any more: what was to be told of is as sure as it was, since logs tell of ends."""
        self._stop_waiting(0)

    def _stop_waiting(self, then: int) -> None:
        for _, number in list(scan_objects(self._transaction, "", "")):
            flags, _ = read_object(self._transaction, number)
            if flags & OBJECT_AWAITED:
                self._cloud.flag(number, flags & ~OBJECT_AWAITED | then)

    def _is_news(self, name: str, told: Mapping[Origin, int]) -> bool:
        log = log_of(name)
        return log is None or told.get(log, 0) > self._heard(log) or find_object(self._transaction, name) is not None

    def _heard(self, log: Origin) -> int:
        if log == (self._state.site or self._site, self._state.incarnation):
            return self._state.shipped_n
        return heard_of(self._transaction, log)
