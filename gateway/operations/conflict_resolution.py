"""What people decide about a collision: which of its values is the object's; and losers whose time is over.

One commit each, so a decision is whole or not at all; it names exactly the versions it was shown, and is refused if the
key has changed since. Every step is an ordinary write: other sites take it in like any other, and what they wrote
meanwhile stays. Locked losers stay.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from msgspec import structs

from gateway.operations.object_lock import weigh_version
from gateway.s3.object_lock import Verdict
from gateway.store.conflicts import Conflict
from gateway.store.ports import Bucket, Version, WriteView
from gateway.store.version_documents import ACKNOWLEDGED

_MARK: Final = b"acknowledged"


class NotResolved(Exception):
    """The decision cannot be carried out: the key has changed, or there is no such version in the conflict."""


class Resolved(NamedTuple):
    """The current version now, losers that went, and broken conditions that were acknowledged."""

    winner: str
    removed: int
    acknowledged: int


def resolve(view: WriteView, bucket: Bucket, found: Conflict | None, shown: Conflict, keep: str) -> Resolved:
    """Make the version ``keep`` (an id; "": the winner) the object's value, drop the other losers, acknowledge broken
    conditions.

    ``shown`` is the conflict as the decision was made on it, ``found`` as this view has it. Raises ``NotResolved``;
    nothing is done then.
    """
    key = shown.key
    if found is None:
        raise NotResolved("there is no conflict at this key (any more)")
    if _orders(found) != _orders(shown):
        raise NotResolved("the key was written since the conflict was shown: look again")
    kept = _choose(found, keep)
    winner = found.winner
    for broken in found.broken:  # while they are there: a null object's documents end with it
        view.put_version_document(bucket.uid, broken.version, ACKNOWLEDGED, _MARK)
    if kept is not None and kept != winner:
        record = structs.replace(kept.record, condition=None)
        winner = view.put_object(bucket.uid, key, record, versioned=bucket.versioning == "Enabled")
    removed = 0
    for loser in found.losers:
        if weigh_version(view, bucket.uid, loser) is Verdict.ALLOWED:
            removed += view.remove_version(bucket.uid, key, loser.id) is not None
    return Resolved("" if winner is None else winner.id.text, removed, len(found.broken))


def _choose(found: Conflict, keep: str) -> Version | None:
    if not keep:
        return found.winner
    among = [version for version in (found.winner, *found.losers) if version is not None]
    for version in among:
        if version.id.text == keep:
            return version
    raise NotResolved(f"no version {keep} takes part in the conflict: " + ", ".join(one.id.text for one in among))


def _orders(conflict: Conflict) -> tuple[bytes | None, frozenset[bytes], frozenset[bytes]]:
    return (
        None if conflict.winner is None else conflict.winner.order,
        frozenset(loser.order for loser in conflict.losers),
        frozenset(broken.version.order for broken in conflict.broken),
    )


def expire_losers(view: WriteView, bucket: Bucket, found: Conflict, before_ms: int) -> int:
    """Drop the losers of a key, as this view has them, that were written before a time and are not locked: how many.

    By the time of their own writing, so that sites which do the same at once agree; each drop names its victim and
    touches no other (DESIGN §5).
    """
    removed = 0
    for loser in found.losers:
        if loser.record.modified_ms <= before_ms and weigh_version(view, bucket.uid, loser) is Verdict.ALLOWED:
            removed += view.remove_version(bucket.uid, found.key, loser.id) is not None
    return removed
