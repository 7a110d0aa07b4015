"""Takes in what other sites wrote: heads → their logs in order → verified batches → ``record_pulled``.

Invariants: a batch is applied only if it opens in its place, carries the chain hash of the one before it, and its
changes go on exactly where those ended; never after a gap or damage, and never without the index that locates its
bytes. One log that cannot be read stops that log, with the reason in its state, and no other. Readers remember how far
each log reached: a head lower than that is a rollback or a withheld log, and is said. Of a site that was forgotten
nothing is taken in beyond the cut, whatever its log still holds: that is told apart (``refused``), and stops nothing.
Whoever forgets a site leaves a mark beside the heads, so that the log that says so is read before that site's.

The realm's subscription filter belongs where a batch is applied (``record_pulled``): a log is always read in full, or
its chain could not be verified. Not here: merging (the store), when to look (service), waiting out failures (retry).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from replication.batch_format import Batch, chain_of, decode_batch, hash_object, locate_inline
from replication.change_format import ChangeInvalid, ChangeTooNew, decode_change
from replication.cloud_index_format import decode_index
from replication.cloud_names import HEADS_PREFIX, INDEX_HASH_SIZE, index_name, log_name, split_head_name, split_out_name
from replication.listing import list_all
from replication.member_format import Removal, read_register
from replication.padded_format import CloudObjectTooNew
from replication.ports import (
    ChangeLog,
    Cloud,
    CloudError,
    CloudMissing,
    CloudRefused,
    CloudUnreachable,
    FrameLocation,
    LogPosition,
    Origin,
    OwnLogAhead,
    PulledBatch,
)
from replication.sealing import Keyring, KeyUnknown
from replication.status import RemoteReport

Outs = Mapping[bytes, Collection[bytes]]
"""Of which sites who has something to say: their logs are read after those who say it."""


class StopReason(Enum):
    """Why a log is not taken in any further."""

    GAP = "a batch is missing from its log"
    DAMAGED = "a batch is damaged"
    CHAIN = "a batch does not follow the one before it: the log was changed after the fact"
    TOO_NEW = "written by a newer Skerry: upgrade this site"
    UNKNOWN_KEY = "sealed under a key this site does not have"
    WITHHELD = "its log reaches less far than it did: rolled back or withheld"


class OriginStopped(Exception):
    """One log cannot be taken in further: which reason, and the detail."""

    def __init__(self, reason: StopReason, detail: str) -> None:
        super().__init__(f"{reason.value} ({detail})")
        self.reason = reason


@dataclass(frozen=True, slots=True)
class OriginState:
    """How far a remote log was taken in, how far it is known to reach, and what stops it (empty: nothing)."""

    position: LogPosition
    head_n: int = 0
    stopped: str = ""
    refused: str = ""
    reason: StopReason | None = None
    sent_ms: int = 0
    applied_ms: int = 0


@dataclass(frozen=True, slots=True)
class PulledRound:
    """What one round took in, how many logs are stopped, and whether something waits for the shipper to look at the
    own log.
    """

    batches: int
    changes: int
    stopped: int
    waits: bool = False


class Puller:
    """Pulls for one site.

    ``refresh_keys`` fetches keys that other sites made, when a log needs one we do not have; ``on_batch`` is told of
    each batch when it is durable; ``own_log_ahead`` that the own log seems to reach further than is known here (and up
    to which change somebody has seen it): the shipper finds out, and until then what that somebody wrote waits.
    """

    def __init__(
        self,
        log: ChangeLog,
        cloud: Cloud,
        keyring: Callable[[], Keyring],
        *,
        wall_ms: Callable[[], int],
        refresh_keys: Callable[[], Awaitable[None]] | None = None,
        prefetch_max: int = 4,
        on_batch: Callable[[PulledBatch], None] = lambda batch: None,
        own_log_ahead: Callable[[int], None] = lambda seq: None,
    ) -> None:
        self._log = log
        self._cloud = cloud
        self._keyring = keyring
        self._wall_ms = wall_ms
        self._refresh_keys = refresh_keys
        self._prefetch_max = prefetch_max
        self._on_batch, self._own_log_ahead = on_batch, own_log_ahead
        self.states: dict[Origin, OriginState] = {}
        self.accusers: list[bytes] = []
        """Sites that are out here and say the same of this one: the realm has parted, and only people can mend that."""

    @property
    def cut(self) -> dict[Origin, LogPosition]:
        """Logs whose next batch is not there although they reach further, and how far they were taken in."""
        return {origin: state.position for origin, state in self.states.items() if state.reason is StopReason.GAP}

    async def pull_round(self) -> PulledRound:
        """Look who has news and take it in. Raises ``CloudUnreachable`` or ``CloudRefused``; else every log was
        tried.
        """
        identity = self._log.identity()
        heads, outs = await list_heads_and_outs(self._cloud)
        known = self._log.pulled()
        said = read_register(self._log.statements())
        self.accusers = sorted(by for by in outs.get(identity.site, ()) if by in said.removed)
        batches = changes = 0
        waits = heads.get((identity.site, identity.incarnation), 0) > self._log.shipped().n
        if waits:
            self._own_log_ahead(0)
        for origin in sorted(heads.keys() | known.keys(), key=lambda origin: (origin[0] in outs, origin)):
            if origin == (identity.site, identity.incarnation):
                continue
            position = known.get(origin, LogPosition())
            state, head_n = self.states.get(origin, OriginState(position)), heads.get(origin, 0)
            removal = read_register(self._log.statements()).removed.get(origin[0])
            refused = _say_refused(removal, origin, head_n) if removal else self._say_unread(origin[0], heads, outs)
            self.states[origin] = replace(state, position=position, head_n=head_n, refused=refused)
            if refused:
                head_n = max(position.n, min(head_n, removal.counts(origin[1]) if removal else 0))
            try:
                async for applied in self._pull_log(origin, position, head_n):
                    batches, changes = batches + 1, changes + applied
                self.states[origin] = replace(self.states[origin], stopped="", reason=None)
            except OwnLogAhead as ahead:
                waits = True
                self._own_log_ahead(ahead.seq)
            except OriginStopped as stop:
                self.states[origin] = replace(self.states[origin], stopped=str(stop), reason=stop.reason)
        return PulledRound(batches, changes, sum(1 for state in self.states.values() if state.stopped), waits)

    def report(self) -> tuple[RemoteReport, ...]:
        """Every log as last seen, for people."""
        return tuple(
            RemoteReport(
                *(origin[0].hex(), origin[1].hex(), state.position.n, state.position.seq, state.head_n),
                *(state.stopped, state.sent_ms, state.applied_ms, state.refused),
            )
            for origin, state in sorted(self.states.items())
        )

    def _say_unread(self, site: bytes, heads: Mapping[Origin, int], outs: Outs) -> str:
        """Whether somebody has something to say of a site that was not read yet: it may be that it is out. Two who say
        it of one another are read like all. Of who is out itself nothing more is heard than counts.
        """
        known, removed = self._log.pulled(), read_register(self._log.statements()).removed
        for by in sorted(outs.get(site, ())):
            last = {log: min(n, removed[by].counts(log[1])) if by in removed else n for log, n in heads.items()}
            unread = any(n > known.get(log, LogPosition()).n for log, n in last.items() if log[0] == by)
            if unread and site not in outs.get(by, ()) and by != self._log.identity().site:
                return f"it waits for what site {by.hex()} has to say of its site, whose log was not taken in yet"
        return ""

    async def _pull_log(self, origin: Origin, position: LogPosition, head_n: int) -> AsyncIterator[int]:
        """Take in one log up to ``head_n``; yields the number of changes of each batch applied."""
        if head_n < position.n:
            raise OriginStopped(StopReason.WITHHELD, f"head {head_n}, known to have reached {position.n}")
        names = deque(log_name(origin, n) for n in range(position.n + 1, head_n + 1))
        fetches: deque[asyncio.Task[bytes]] = deque()
        try:
            while names or fetches:
                while names and len(fetches) < self._prefetch_max:
                    fetches.append(asyncio.create_task(self._cloud.get(names.popleft())))
                batch, following, located = await self._read_batch(origin, position, fetches.popleft())
                if batch.index:
                    located = [*await self._read_index(origin, batch), *located]
                pulled = PulledBatch(
                    *(origin, following, batch.changes, batch.frames, located, batch.acks, batch.sent_ms, batch.closed),
                    status=batch.status,
                )
                await self._apply(pulled)
                self._on_batch(pulled)
                position = following
                self.states[origin] = replace(
                    self.states[origin], position=position, sent_ms=batch.sent_ms, applied_ms=self._wall_ms()
                )
                yield len(batch.changes)
        finally:
            for fetch in fetches:
                fetch.cancel()
            await asyncio.gather(*fetches, return_exceptions=True)

    async def _apply(self, pulled: PulledBatch) -> None:
        """Hand a batch on; a store that does not know the values in it stops that log only."""
        try:
            await self._log.record_pulled(pulled)
        except ChangeTooNew as error:
            raise OriginStopped(StopReason.TOO_NEW, f"batch {pulled.position.n}: {error}") from None
        except ChangeInvalid as error:
            raise OriginStopped(StopReason.DAMAGED, f"batch {pulled.position.n}: {error}") from None

    async def _read_batch(
        self, origin: Origin, position: LogPosition, fetch: asyncio.Task[bytes]
    ) -> tuple[Batch, LogPosition, Sequence[FrameLocation]]:
        """The next batch, the position behind it, and where its inline frames lie (others must not ship them again)."""
        try:
            data = await fetch
        except CloudMissing:
            raise OriginStopped(StopReason.GAP, f"batch {position.n + 1}") from None
        except (CloudUnreachable, CloudRefused):
            raise
        except CloudError as error:
            raise OriginStopped(StopReason.DAMAGED, str(error)) from None
        for refresh_keys in (self._refresh_keys, None):
            try:
                batch, following = verify_batch(self._keyring(), origin, position, data)
            except KeyUnknown:
                if refresh_keys is None:
                    break
                await refresh_keys()
            else:
                return batch, following, locate_inline(origin, batch, data)
        raise OriginStopped(StopReason.UNKNOWN_KEY, f"batch {position.n + 1}")

    async def _read_index(self, origin: Origin, batch: Batch) -> Sequence[FrameLocation]:
        name = index_name(origin, batch.n, batch.index)
        try:
            data = await self._cloud.get(name)
            if hash_object(data)[:INDEX_HASH_SIZE] != batch.index:
                raise OriginStopped(StopReason.DAMAGED, f"index of batch {batch.n}")
            return decode_index(self._keyring(), origin, batch.n, data)
        except CloudMissing:
            raise OriginStopped(StopReason.GAP, f"index of batch {batch.n}") from None
        except CloudObjectTooNew as error:
            raise OriginStopped(StopReason.TOO_NEW, str(error)) from None
        except ValueError as error:
            raise OriginStopped(StopReason.DAMAGED, f"index of batch {batch.n}: {error}") from None


def _say_refused(removal: Removal, origin: Origin, head_n: int) -> str:
    counts = removal.counts(origin[1])
    if head_n <= counts:
        return ""
    who = "revoked" if removal.revoked else "forgotten"
    return f"batches {counts + 1} to {head_n} are refused: its site was {who}, and its log counts up to {counts}"


async def list_heads(cloud: Cloud) -> dict[Origin, int]:
    """How far every log of the realm reaches, as its heads say."""
    return (await list_heads_and_outs(cloud))[0]


async def list_heads_and_outs(cloud: Cloud) -> tuple[dict[Origin, int], dict[bytes, set[bytes]]]:
    """The heads, and of which sites who has something to say (``out_name``)."""
    heads: dict[Origin, int] = {}
    outs: dict[bytes, set[bytes]] = {}
    for name in await list_all(cloud, HEADS_PREFIX):
        if head := split_head_name(name):
            heads[head.origin] = max(head.n, heads.get(head.origin, 0))
        elif out := split_out_name(name):
            outs.setdefault(out[1], set()).add(out[0])
    return heads, outs


def verify_batch(keyring: Keyring, origin: Origin, before: LogPosition, data: bytes) -> tuple[Batch, LogPosition]:
    """The batch in ``data`` if it is the one that follows ``before``, and the position behind it.

    Raises ``OriginStopped``, or ``KeyUnknown`` for an epoch whose key may yet be fetched. Pure.
    """
    n = before.n + 1
    try:
        batch = decode_batch(keyring, origin, n, data)
        changes = [decode_change(change) for change in batch.changes]
    except KeyUnknown:
        raise
    except (CloudObjectTooNew, ChangeTooNew) as error:
        raise OriginStopped(StopReason.TOO_NEW, f"batch {n}: {error}") from None
    except ValueError as error:
        raise OriginStopped(StopReason.DAMAGED, f"batch {n}: {error}") from None
    if batch.chain != before.chain:
        raise OriginStopped(StopReason.CHAIN, f"batch {n}")
    expected = range(before.seq + 1, before.seq + 1 + len(changes))
    if batch.first_seq != before.seq + 1 or [change.dot.seq for change in changes] != list(expected):
        raise OriginStopped(StopReason.DAMAGED, f"batch {n}: its changes do not follow those before")
    if any((change.dot.site, change.dot.incarnation) != origin for change in changes):
        raise OriginStopped(StopReason.DAMAGED, f"batch {n}: it carries changes of another log")
    return batch, LogPosition(n, batch.last_seq, chain_of(keyring, origin, n, data))
