"""Ships the site's change log to the bucket, one round after the other: packs → index → log batch → head → cursor.

Invariants: a batch is put (``If-None-Match: *``) only when every byte its changes need is confirmed to be in the
bucket; the durable cursor advances only over a batch that the bucket confirmed, or that was read back and is word for
word ours. Interrupted anywhere, the next round repeats or adopts: packs have the same name for the same frames, and a
batch that stands at the next name with our own changes is our own, its reply lost. Anything else there is a fence:
another machine writes as this site (a clone, a restored backup) or closed its log. Nothing is overwritten; what the
log there does not hold is issued anew under another incarnation or site id (``parting``), and shipping goes on.

Not here: what goes into a round (``plan``), its frames and packs (``freight``), when (``service``).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from replication.acknowledging import AckLimits, Acknowledging, doom_limits
from replication.batch_format import Batch, chain_of, decode_batch, encode_batch, hash_object, locate_inline
from replication.cloud_index_format import PackedFrames, decode_index, encode_index, locate_packed
from replication.cloud_names import head_name, head_prefix, index_name, log_name, out_name
from replication.crdt import INCARNATION_SIZE, SITE_SIZE
from replication.departures import counted_batches, is_retiring, is_revoked, raise_cuts, stated_by_me, why_out
from replication.frame_format import decode_header
from replication.freight import DOUBTS_MAX, Doubtful, Freight, Load
from replication.listing import list_all
from replication.log_end import goes_on
from replication.membership import take_census
from replication.offload import Offload, run_in_thread
from replication.parting import ALL_BYTES, claim_site, is_same_change, plan_reissue
from replication.ports import (
    BytesLost,
    ChangeLog,
    Cloud,
    CloudError,
    CloudExists,
    CloudMissing,
    CloudUnreachable,
    Frame,
    FrameLocation,
    FrameStore,
    LogPosition,
    Origin,
)
from replication.sealing import Keyring, KeyUnknown
from replication.settings import ReplicationSettings, ShipLimits
from replication.status import LostBytes

logger = logging.getLogger(__name__)
PARTINGS_AT_ONCE = 3


TellStatus = Callable[[int], bytes]
"""What the site tells of itself with a batch (``site_status_format``), given how many of its changes stay unsent."""


class Fenced(Exception):
    """The site's log in the bucket is not this machine's any more: nothing is lost, nothing overwritten."""


class CutOpen(CloudUnreachable):
    """This site was forgotten, and not everybody has said how far its log counts: what to issue anew is not known."""


class LogEnded(Exception):
    """This site retired, or was revoked: it ships nothing any more, under no name. What it writes stays here."""


@dataclass(frozen=True, slots=True)
class ShippedRound:
    """What one confirmed round brought into the bucket; ``bytes`` are those of its frames and log batch."""

    position: LogPosition
    changes: int
    frames: int
    bytes: int


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A batch whose packs and index are in the bucket: the next thing to put, until it is confirmed."""

    origin: Origin
    before: LogPosition
    batch: Batch
    data: bytes
    packed: tuple[FrameLocation, ...]
    inline: tuple[FrameLocation, ...]


class Shipper:
    """Ships for one site. One per site and process; ``keyring`` is asked anew for each round.

    ``ack_limits``: see ``acknowledging``. ``told`` is what the newest confirmed batch acknowledged,
    ``spoken_ms`` when it was written, by this site's clock (0: not known yet).
    """

    def __init__(
        self,
        log: ChangeLog,
        frames: FrameStore,
        cloud: Cloud,
        keyring: Callable[[], Keyring],
        settings: ReplicationSettings,
        *,
        wall_ms: Callable[[], int],
        offload: Offload = run_in_thread,
        ack_limits: AckLimits | None = None,
        tell_status: TellStatus = lambda unsent: b"",
        fit: Callable[[ShipLimits], ShipLimits] = lambda limits: limits,
        refresh_keys: Callable[[], Awaitable[None]] | None = None,
        draw: Callable[[int], bytes] = os.urandom,
        bring: Callable[[Sequence[bytes]], Awaitable[object]] | None = None,
    ) -> None:
        self._log = log
        self._acknowledging = Acknowledging(log, ack_limits or (lambda: doom_limits(log)), lambda: raise_cuts(log))
        self._tell_status = tell_status
        self._refresh_keys, self._draw = refresh_keys, draw
        self._following: Origin | None = None
        self._leave_site = False
        self._freight = Freight(frames, cloud, settings.uploads_max, offload=offload, bring=bring)
        self._cloud = cloud
        self._keyring = keyring
        self._settings = settings
        self._wall_ms = wall_ms
        self._offload = offload
        self._fit = fit
        self._opened: Origin | None = None
        self._attempt: _Attempt | None = None
        self.turn = asyncio.Lock()
        """Held by whoever is about to change this log in the bucket."""
        self._doubts = 0
        self._claimed_seq = 0
        self.wants_look = False
        """Whether the own log in the bucket has to be looked at, even if there is nothing to ship."""
        self._marked: set[bytes] = set()
        self.fenced = ""
        """Why the log is not this machine's, until what it holds is issued anew."""
        self.ended = ""
        """Why nothing is shipped any more, for good: retired, or revoked."""
        self.waits = ""
        """Why nothing is shipped until others have spoken."""
        self.told: Mapping[Origin, int] = {}
        self.spoken_ms = 0

    @property
    def is_to_end(self) -> bool:
        """Whether this site was told to leave and did not yet: to retire, or, forgotten, to go on as another site."""
        return not self.ended and (is_retiring(self._log) or bool(why_out(self._log)))

    @property
    def lost(self) -> tuple[LostBytes, ...]:
        """What cannot be had, on this site or in the bucket, and the first unsent change waits for."""
        lost = self._freight.lost
        return () if lost is None else (LostBytes(lost.chunk_id.hex(), str(lost), holds_back=True),)

    @property
    def owes_acks(self) -> bool:
        """Whether this site has taken in more than it told."""
        return self._acknowledging.owes(self.told)

    @property
    def limits(self) -> ShipLimits:
        """How large a round may get."""
        return self._fit(self._settings.limits)

    async def ship_frames(self, frames: Sequence[Frame]) -> ShippedRound:
        """Commit sealed frames (again) as one pack, in a round without changes. Errors as of ``ship_round``.

        For one pack's worth of them: ``limits``.
        """
        async with self.turn:
            try:
                origin = await self._finish_attempt()
                self._attempt = await self._prepare_frames(origin, self._log.shipped(), frames)
                return await self._commit(self._attempt)
            except Fenced as fence:
                raise CloudUnreachable(f"{fence}: first that is settled") from None

    async def finish_attempt(self) -> None:
        """Confirm what an interrupted call left to be confirmed. Errors as of ``ship_round``."""
        async with self.turn:
            try:
                await self._finish_attempt()
            except Fenced as fence:
                raise CloudUnreachable(f"{fence}: first that is settled") from None

    async def _finish_attempt(self) -> Origin:
        if self.fenced:
            raise Fenced(self.fenced)
        while (origin := await self._begin()) and self._attempt is not None:
            await self._commit(self._attempt)
        return origin

    async def ship_round(self, up_to: int = 0, *, speak: bool = False) -> ShippedRound | None:
        """Ship the next round; None if there is nothing to ship. Raises ``Fenced``, ``LogEnded``, ``CloudError``,
        ``BytesLost``, the store's errors.

        ``up_to``: changes behind this one wait for another round (0: as many as fit). ``speak``: a batch goes even if
        there is no change for it, with what is to be acknowledged and the status. After any error the next call takes
        up where this one was.
        """
        async with self.turn:
            for _ in range(PARTINGS_AT_ONCE):
                if self.fenced:
                    await self._issue_anew(self.fenced)
                with suppress(Fenced):
                    return await self._ship(up_to, speak=speak)
        raise CloudUnreachable(f"this site's log parted from the bucket's again and again: {self.fenced}")

    def look_again(self, claimed_seq: int = 0) -> None:
        """The own log seems to reach further than is known here; somebody has seen it up to ``claimed_seq``."""
        self._claimed_seq = max(self._claimed_seq, claimed_seq)
        self.wants_look = True

    async def _issue_anew(self, reason: str) -> None:
        """Go on as another incarnation or site with what the bucket's log does not hold."""
        await self._await_cut()
        self._following = self._following or (self._draw(SITE_SIZE), self._draw(INCARNATION_SIZE))
        try:
            reissue = await plan_reissue(
                *(self._log, self._cloud, self._keyring(), reason, self._wall_ms(), self._following),
                leave_site=self._leave_site,
                counted=counted_batches(self._log),
            )
        except KeyUnknown as error:
            await self._fetch_keys()
            raise Doubtful(f"{reason}; {error}") from None
        await self._log.restate(reissue.bare)
        changes = await self._log.issue_anew(reissue)
        logger.warning(
            "%s: %d changes are issued anew as site %s, incarnation %s",
            *(reason, changes, reissue.site.hex(), reissue.incarnation.hex()),
        )
        self._opened = self._attempt = self._following = None
        self._doubts, self._claimed_seq, self._leave_site = 0, 0, False
        self.fenced = ""

    async def _fetch_keys(self) -> None:
        if self._refresh_keys is not None:
            await self._refresh_keys()

    async def _ship(self, up_to: int, *, speak: bool) -> ShippedRound | None:
        origin = await self._begin()
        if self._attempt is None:
            self._attempt = await self._prepare(origin, self._log.shipped(), up_to, speak=speak)
        return await self._commit(self._attempt) if self._attempt else None

    async def _begin(self) -> Origin:
        """The log to write; ``_attempt`` is what is still to be confirmed of it."""
        self._check_standing()
        identity = self._log.identity()
        origin, before = (identity.site, identity.incarnation), self._log.shipped()
        if self._opened != origin or self.wants_look:
            await self._open(origin, before)
            self._check_standing()
        if self._attempt is not None and (self._attempt.origin, self._attempt.before) != (origin, before):
            self._attempt = None
        return origin

    def _check_standing(self) -> None:
        """``Fenced`` if this site was forgotten, ``LogEnded`` if it is to ship nothing any more."""
        out = why_out(self._log)
        if is_revoked(self._log):
            self.ended = out
        if self.ended:
            raise LogEnded(self.ended)
        if out:
            raise self._fence(out)

    async def _await_cut(self) -> None:
        """``CutOpen`` while some site may yet say that it had taken in more of this forgotten site's log."""
        self.waits, out = "", why_out(self._log)
        undecided = take_census(self._log).undecided(self._log.identity().site) if out else []
        if undecided:
            names = ", ".join(site.hex() for site in undecided)
            self.waits = f"{out}; how far its log counts is to be said by {names}"
            if self.wants_look:  # others acknowledge a batch whose reply was lost: they are read once it is known
                identity, before = self._log.identity(), self._log.shipped()
                with suppress(CloudMissing, Fenced):
                    await self._confirm(await self._recognise((identity.site, identity.incarnation), before))
                    self.wants_look = False
            raise CutOpen(self.waits)

    async def _open(self, origin: Origin, before: LogPosition) -> None:
        """Compare chains with the cloud, and adopt a batch that we put before an interruption."""
        self.told, self.spoken_ms = {}, 0
        if not before.n and not await claim_site(self._log, self._cloud, self._keyring(), origin, self._wall_ms()):
            self._leave_site = True
            raise self._fence("another machine goes on as this site, or it was replaced")
        if before.n:
            try:
                newest = await self._cloud.get(log_name(origin, before.n))
            except CloudMissing:
                raise self._doubt(f"the bucket no longer holds batch {before.n}, which it had confirmed") from None
            if chain_of(self._keyring(), origin, before.n, newest) != before.chain:
                await self._tell_apart(origin, before.n, newest)
            with suppress(ValueError):  # our own, and whole; should its key be missing, it is told again
                batch = decode_batch(self._keyring(), origin, before.n, newest)
                self.told, self.spoken_ms = batch.acks, batch.sent_ms
                self._end(batch)
        self._acknowledging.begin(self.told)
        adopted = False
        with suppress(CloudMissing):
            self._attempt, adopted = await self._recognise(origin, before), True
        if self._claimed_seq > before.seq and not adopted:
            raise self._doubt(f"another site has change {self._claimed_seq} of this log, and the bucket has not")
        if not adopted and await goes_on(self._cloud, origin, before.n):
            raise self._doubt(f"the bucket's log goes on behind batch {before.n + 1}, which is not there")
        for name in await list_all(self._cloud, head_prefix(origin)):
            if name < head_name(origin, before.n):
                await self._cloud.delete(name)
        self._opened, self._doubts, self.wants_look = origin, 0, self._claimed_seq > before.seq

    async def _tell_apart(self, origin: Origin, n: int, data: bytes) -> None:
        """What is not the batch we shipped: another one, for certain, if it opens; else perhaps damaged on its way."""
        reason = f"batch {n} in the bucket is not the one this site shipped"
        try:
            decode_batch(self._keyring(), origin, n, data)
        except ValueError as error:
            raise self._doubt(f"{reason}: {error}") from None
        raise self._fence(reason)

    async def _prepare(self, origin: Origin, before: LogPosition, up_to: int, *, speak: bool) -> _Attempt | None:
        limits = self._fit(self._settings.limits)
        count_max = min(limits.changes_max, up_to - before.seq) if up_to > before.seq else limits.changes_max
        await self._acknowledging.look()
        await self._mark_outs()
        changes = await self._offload(
            lambda: self._log.sendable(self._log.read_changes(before.seq, count_max, limits.change_bytes_max))
        )
        closed = not changes and is_retiring(self._log)
        if not changes and not speak and not closed:
            return None
        keyring, load = self._keyring(), Load()
        try:
            load = await self._freight.load(self._keyring, origin, before.n + 1, changes, limits)
        except Exception as error:
            may_be_dead = isinstance(error, Doubtful) or not isinstance(error, CloudError)
            if may_be_dead and await self._offload(lambda: self._log.sendable(changes)) != changes:
                return await self._prepare(origin, before, up_to, speak=speak)  # overwritten and collected meanwhile
            if not isinstance(error, BytesLost) or not speak:
                raise
            # No word of this site waits along: before its log is announced it would not even hear what may help.
        sent = changes[: load.changes]
        return await self._prepare_batch(keyring, origin, before, sent, load.packs, load.inline, closed=closed)

    async def _prepare_frames(self, origin: Origin, before: LogPosition, frames: Sequence[Frame]) -> _Attempt:
        await self._acknowledging.look()
        keyring = self._keyring()
        pack = await self._freight.put_pack(keyring, origin, before.n + 1, frames)
        return await self._prepare_batch(keyring, origin, before, (), [pack], ())

    async def _prepare_batch(
        self,
        keyring: Keyring,
        origin: Origin,
        before: LogPosition,
        sent: Sequence[bytes],
        packs: Sequence[PackedFrames],
        inline: tuple[Frame, ...],
        *,
        closed: bool = False,
    ) -> _Attempt:
        n, digest = before.n + 1, b""
        if packs:
            index = encode_index(keyring, origin, n, packs)
            await self._cloud.put(index.name, index.data)
            digest = index.digest
        last_seq = before.seq + len(sent)
        acks, status = self._acknowledging.tell(last_seq), self._tell_status(self._log.last_seq() - last_seq)
        batch = Batch(
            n, before.chain, before.seq + 1, tuple(sent), acks, self._wall_ms(), digest, inline, closed, status
        )
        data = encode_batch(keyring, origin, batch)
        packed = tuple(locate_packed(origin, packs))
        return _Attempt(origin, before, batch, data, packed, tuple(locate_inline(origin, batch, data)))

    async def _mark_outs(self) -> None:
        """Before this site's log says that another is out: a mark, so that it is read before that other's log."""
        for site in stated_by_me(self._log) - self._marked:
            await self._cloud.put(out_name(self._log.identity().site, site), b"")
            self._marked.add(site)

    async def _commit(self, attempt: _Attempt) -> ShippedRound:
        try:
            await self._cloud.put(log_name(attempt.origin, attempt.batch.n), attempt.data, if_absent=True)
        except CloudExists:
            try:
                attempt = await self._recognise(attempt.origin, attempt.before)
            except CloudMissing:
                raise CloudUnreachable(
                    "the bucket says of the log's next name that it is taken and that it is not"
                ) from None
        return await self._confirm(attempt)

    async def _recognise(self, origin: Origin, before: LogPosition) -> _Attempt:
        """What stands at the log's next name, if it is ours; ``CloudMissing`` if nothing does, else ``Fenced``."""
        n = before.n + 1
        data = await self._cloud.get(log_name(origin, n))
        try:
            batch = decode_batch(self._keyring(), origin, n, data)
        except ValueError as error:
            if isinstance(error, KeyUnknown):
                await self._fetch_keys()
            raise self._doubt(f"batch {n} in the bucket is not this site's: {error}") from None
        if batch.closed and not is_retiring(self._log):
            raise self._fence(f"this site's log was closed at batch {n}: it was replaced")
        own = self._log.read_changes(before.seq, len(batch.changes), ALL_BYTES) if batch.changes else []
        same = len(own) == len(batch.changes) and all(map(is_same_change, own, batch.changes))
        heard = self._log.heard()
        if any(seq > heard[log].seq if log in heard else seq for log, seq in batch.acks.items()):
            same = False  # it acknowledges what this machine never took in
        if batch.chain != before.chain or batch.first_seq != before.seq + 1 or not same:
            raise self._fence(f"batch {n} in the bucket holds changes that another machine wrote as this site")
        await self._log.restate([ours for ours, sent in zip(own, batch.changes, strict=True) if ours != sent])
        packed: tuple[FrameLocation, ...] = ()
        if batch.index:
            try:
                index = await self._cloud.get(index_name(origin, n, batch.index))
                packed = tuple(decode_index(self._keyring(), origin, n, index))
            except (CloudMissing, ValueError):
                raise self._doubt(f"the index of batch {n} in the bucket is missing or damaged") from None
        return _Attempt(origin, before, batch, data, packed, tuple(locate_inline(origin, batch, data)))

    async def _confirm(self, attempt: _Attempt) -> ShippedRound:
        batch, origin = attempt.batch, attempt.origin
        await self._cloud.put(head_name(origin, batch.n), b"")
        position = LogPosition(batch.n, batch.last_seq, hash_object(attempt.data))
        await self._log.record_shipped(position, (*attempt.packed, *attempt.inline))
        self._attempt, self._doubts = None, 0
        self.told, self.spoken_ms = batch.acks, batch.sent_ms
        self._end(batch)
        self._freight.forget_sent()
        with suppress(CloudError):  # an old head left behind says nothing wrong, and goes at the next start
            await self._cloud.delete(head_name(origin, batch.n - 1))
        size = len(attempt.data) + sum(decode_header(place.header).stored_size for place in attempt.packed)
        return ShippedRound(position, len(batch.changes), len(attempt.packed) + len(attempt.inline), size)

    def _end(self, batch: Batch) -> None:
        if batch.closed and is_retiring(self._log):
            self.ended = f"this site has retired: its log ended at batch {batch.n}"

    def _doubt(self, reason: str) -> Fenced | Doubtful:
        self._doubts += 1
        return self._fence(reason) if self._doubts >= DOUBTS_MAX else Doubtful(f"{reason}; asking again")

    def _fence(self, reason: str) -> Fenced:
        self.fenced = reason
        return Fenced(reason)
