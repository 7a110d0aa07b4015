"""Where a site's log and the cloud's part, and what the site goes on as: read from both, decided, changed nowhere here.

A machine finds itself fenced when something stands in the bucket where its next batch should, or when what it shipped
is not there: it was rolled back to a backup, copied, replaced, or the bucket lost something. Then (``plan_reissue``)

1. the **common head** is the newest batch that this site shipped and whose hash is that of the bucket's;
2. own changes behind it that the log in the bucket goes on with word for word are known there: the backup or the copy
   was made after they were. All others have dots that mean other changes elsewhere, and are to be issued anew. Those
   that went without their values, for the copy had overwritten them, are known too; if they still stand here and that
   log has nothing that replaced them, everybody would miss them: they are written again (``ChangeLog.restate``);
3. unless the log has ended the machine stays the site it is, under a new random incarnation, and ends that log when
   it begins the new one (``claim_site``). Of two machines that do so at once the first to end it stays; the other one
   finds it ended and becomes a new site, as does whoever comes back after ``restore --replace``. Nobody ever takes a
   site back from another, so this comes to rest.

Where the log's next name is free, it is ended before anything is issued anew: a put of ours that is still under way
must not arrive after that. Not here: the store's part (``ChangeLog.issue_anew``), when a fence is one (shipper).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from typing import Final

import msgspec

from replication.batch_format import Batch, chain_of, decode_batch
from replication.change_format import decode_change
from replication.cloud_names import log_name
from replication.crdt import Dot
from replication.log_end import end_log, has_left, last_of, successor_of
from replication.ports import ChangeLog, Cloud, CloudMissing, CloudUnreachable, LogPosition, Origin, Reissue
from replication.sealing import Keyring, KeyUnknown

ALL_BYTES: Final = 1 << 62
READS_MAX: Final = 3


@dataclass(frozen=True, slots=True)
class _Continuation:
    """What the bucket's log holds behind the common head: own changes up to ``known_seq`` word for word, in all up to
    ``last_seq`` at least; ``free``: it ends there, and its next name is not taken. ``bare``: see ``Reissue``.
    """

    known_seq: int
    last_seq: int
    closed: bool
    free: bool
    bare: tuple[bytes, ...] = ()


async def plan_reissue(
    log: ChangeLog,
    cloud: Cloud,
    keyring: Keyring,
    reason: str,
    now_ms: int,
    following: Origin,
    *,
    leave_site: bool = False,
    counted: int | None = None,
) -> Reissue:
    """What to issue anew, and as whom: under the incarnation of ``following``, and under its site id if this machine is
    its old site no longer. Both are random, and the same when this is tried again, so that a log that an earlier try
    ended is known for ours. ``leave_site``: go on as a new site whatever the log says. ``counted``: the
    site was forgotten, and only so many batches of its log count: what stands behind them is issued anew as well.

    Raises ``CloudError``, ``KeyUnknown`` for batches of an epoch that is not known here yet.
    """
    identity, shipped = log.identity(), log.shipped()
    origin = (identity.site, identity.incarnation)
    if counted is not None:
        common = next((position for position in log.trail() if position.n <= counted), LogPosition())
        return Reissue(origin, common, common.seq, shipped.seq, *following, reason)
    common = await _find_common(log, cloud, keyring, origin)
    found = await _follow(log, cloud, keyring, origin, common)
    # What was confirmed once, and has no other in its place: whoever took it in has it under its old dot.
    named_seq = shipped.seq if shipped.seq > found.known_seq >= found.last_seq else 0
    kept = (identity.site, following[1])
    leave_site = leave_site or found.closed
    if found.free and not found.closed:
        closing = await end_log(cloud, keyring, origin, now_ms, following if leave_site else kept)
        leave_site = leave_site or successor_of(closing) != kept
    return Reissue(origin, common, found.known_seq, named_seq, *(following if leave_site else kept), reason, found.bare)


async def claim_site(log: ChangeLog, cloud: Cloud, keyring: Keyring, origin: Origin, now_ms: int) -> bool:
    """End every former log of this machine under its site id, before the first batch of its new one: whether it is
    still the site. False if another machine ended one of them, or somebody for good (``restore --replace``).
    """
    former = [one for one in log.former_logs() if one[0] == origin[0] and one != origin]
    for one in former:
        try:
            closing = await end_log(cloud, keyring, one, now_ms, origin)
        except KeyUnknown:
            raise
        except ValueError:
            return False
        if successor_of(closing) not in (origin, *former):
            return False
    return True


async def _find_common(log: ChangeLog, cloud: Cloud, keyring: Keyring, origin: Origin) -> LogPosition:
    """The newest batch we shipped that stands in the bucket as we shipped it."""
    for position in log.trail():
        try:
            data = await cloud.get(log_name(origin, position.n))
            if chain_of(keyring, origin, position.n, data) == position.chain:
                return position
        except CloudMissing:
            if await has_left(cloud, origin, position.n):  # it left the bucket (``log_compaction``)
                return position
    return LogPosition()


async def _follow(log: ChangeLog, cloud: Cloud, keyring: Keyring, origin: Origin, common: LogPosition) -> _Continuation:
    position, known_seq, bare = common, common.seq, dict[Dot, bytes]()

    def end(last_seq: int, *, closed: bool, free: bool = False) -> _Continuation:
        return _Continuation(known_seq, last_seq, closed, free, tuple(bare.values()))

    while True:
        try:
            batch, chain = await _read(cloud, keyring, origin, position.n + 1)
        except CloudMissing:
            if await has_left(cloud, origin, position.n + 1):
                # what followed left the bucket: nobody can tell whose it was
                return end(known_seq + 1, closed=await _is_closed(cloud, keyring, origin))
            return end(position.seq, closed=False, free=True)
        if batch is None or batch.chain != position.chain:
            return end(position.seq, closed=False)
        if batch.closed:
            return end(position.seq, closed=True)
        position = LogPosition(batch.n, batch.last_seq, chain)
        own = log.read_changes(known_seq, len(batch.changes), ALL_BYTES) if batch.changes else []
        same = list(takewhile(lambda pair: is_same_change(*pair), zip(own, batch.changes, strict=False)))
        known_seq += len(same)
        bare.update((decode_change(ours).dot, ours) for ours, theirs in same if ours != theirs)
        for change in map(decode_change, batch.changes):
            for dot in {*change.replaces} - {change.dot}:
                bare.pop(dot, None)
        if known_seq != position.seq:
            return end(position.seq, closed=await _is_closed(cloud, keyring, origin))


async def _is_closed(cloud: Cloud, keyring: Keyring, origin: Origin) -> bool:
    """Whether the log has ended, as far as its heads tell."""
    n = await last_of(cloud, origin)
    if not n:
        return False
    try:
        batch, _ = await _read(cloud, keyring, origin, n)
    except CloudMissing:
        raise CloudUnreachable(f"batch {n}, which a head tells of, is not there (yet)") from None
    return batch is not None and batch.closed


async def _read(cloud: Cloud, keyring: Keyring, origin: Origin, n: int) -> tuple[Batch | None, bytes]:
    """A batch and its hash; None if it does not open, which may come of its way here: so it is read some times."""
    for _ in range(READS_MAX):
        data = await cloud.get(log_name(origin, n))
        try:
            return decode_batch(keyring, origin, n, data), chain_of(keyring, origin, n, data)
        except KeyUnknown:
            raise
        except ValueError:
            continue
    return None, b""


def is_same_change(own: bytes, sent: bytes) -> bool:
    """Whether ``sent`` is this very change of ours: verbatim, or without its value (see ``ChangeLog.sendable``)."""
    if own == sent:
        return True
    ours, theirs = decode_change(own), decode_change(sent)
    if not theirs.dead or theirs.refs or ours.dead:
        return False
    itself = (*ours.replaces, ours.dot)
    return msgspec.structs.replace(ours, dead=True, refs=(), body=theirs.body, replaces=itself) == theirs
