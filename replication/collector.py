"""Takes back what nothing needs from the bucket, beside shipper and puller: repack → doom → settle → delete.

    repack   the owner puts what is still needed of its half dead objects into new ones (rounds without changes)
    doom     it says in a change which objects will go; from then on nobody relies on them
    settle   every site that has applied a doom puts under its own prefix what it needs of those objects and what lies
             nowhere else to stay; only then it acknowledges the doom (``ChangeLog.unsettled`` limits its acks)
    delete   the owner deletes when the doom is in the causally stable cut, as of a listing made just then, the grace
             has passed, and its own state, looked at again, needs nothing of them
    compact  batches of its logs that a checkpoint of its own stands in for go, too (``log_compaction``); their inline
             frames are doomed like a pack's first
    rekey    what lies under an epoch that is to end counts as dead in all this (``rekeying``)
    sweep    what a crash left, and no batch names, goes as well (``orphans``)

Why nothing live is lost, whatever the interleaving: an object exists until its doom is acknowledged by every member. A
member acknowledges after a look at its own state that found each chunk it needs in some object it knows to be undoomed;
what its clients refer to later is here, or in such an object (``Holdings``: usable), or is shipped anew. What others
changed without having seen the doom they hold themselves, by the same rule, until they acknowledge. A site that nobody
waits for yet, because it is new, relies on no object whose owner does not know it (``untrusted``). A member that was
forgotten meanwhile settles nothing any more: for its changes the owner's last look stands in. Nothing dead comes back,
since only frames move, never changes.

Each call may be the last: what is done is in the log (locations, dooms and their states) or repeats itself. Not here:
what is needed (the store's ``cloud_needs``), who is a member (``membership``), when to look (``service``).
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial

from replication.cloud_names import is_pack_name, log_of, site_prefix
from replication.collection_ports import Doom, DoomState, HeldObject, Holdings
from replication.frame_format import decode_header
from replication.log_compaction import LogCompactor, own_logs
from replication.membership import Census, take_census
from replication.offload import Offload, run_in_thread
from replication.orphans import OrphanSweep
from replication.ports import BytesLost, ChangeLog, ChunkFetcher, Cloud, CloudMissing, Frame, FrameLocation, Origin
from replication.puller import list_heads
from replication.rekeying import Rekeying
from replication.sealing import Keyring, KeyUnknown, SealBroken, open_frame, reseal_frame
from replication.settings import CollectSettings
from replication.shipper import Shipper
from replication.status import CloudAccount

PAGES_AT_ONCE = 64
DOOMS_AT_ONCE = 1024
MISSING_TO_GIVE_UP = 5
"""How often the bucket must say that it lacks an object, or give what does not open, before what lay there counts as
lost.
"""
BringChunks = Callable[[Sequence[bytes]], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class CollectedRound:
    """What one round did: objects doomed and deleted, dooms settled, ciphertext bytes shipped again, batches and
    indexes of own logs deleted, tombstones ended, objects deleted that no batch names.
    """

    doomed: int = 0
    settled: int = 0
    deleted: int = 0
    moved_bytes: int = 0
    batches: int = 0
    indexes: int = 0
    ended: int = 0
    orphans: int = 0
    dooms_ended: int = 0

    def plus(self, other: CollectedRound) -> CollectedRound:
        """Both together."""
        return CollectedRound(*(getattr(self, name) + getattr(other, name) for name in self.__slots__))

    def __bool__(self) -> bool:
        return any(getattr(self, name) for name in self.__slots__)


@dataclass(slots=True)
class _Done:
    doomed: int = 0
    settled: int = 0
    deleted: int = 0
    moved_bytes: int = 0
    batches: int = 0
    indexes: int = 0
    orphans: int = 0
    dooms_ended: int = 0


@dataclass(slots=True)
class _Pass:
    """A walk over this site's objects, and those it inherited: whose are left, where it is, what it added up."""

    sites: list[bytes] = field(default_factory=list)
    after: str = ""
    account: CloudAccount = field(default_factory=CloudAccount)


class Collector:
    """Collects for one site, by its one daemon. ``bring`` has the store fetch chunks and keep them."""

    def __init__(
        self,
        log: ChangeLog,
        holdings: Holdings,
        shipper: Shipper,
        cloud: Cloud,
        fetcher: ChunkFetcher,
        bring: BringChunks,
        keyring: Callable[[], Keyring],
        settings: CollectSettings,
        *,
        wall_ms: Callable[[], int],
        steady_ms: Callable[[], int] = lambda: time.monotonic_ns() // 1_000_000,
        offload: Offload = run_in_thread,
    ) -> None:
        self._log, self._holdings, self._shipper, self._cloud = log, holdings, shipper, cloud
        self._fetcher, self._bring, self._keyring = fetcher, bring, keyring
        self._settings, self._offload = settings, offload
        self._wall_ms, self._steady_ms = wall_ms, steady_ms
        self._pass = _Pass()
        self.rekeying = Rekeying(
            *(log, holdings, cloud, keyring), finish_attempt=shipper.finish_attempt, offload=offload
        )
        self._compactor = LogCompactor(*(log, holdings, cloud, keyring), is_worn=self._is_worn, offload=offload)
        self._orphans = OrphanSweep(log, holdings, cloud, keyring, offload=offload)
        self._is_compacting = self._is_sweeping = False
        self._announced: tuple[Origin, int] | None = None
        self._missing: Counter[str] = Counter()
        self.account: CloudAccount | None = None
        """As of the last whole walk; None before the first."""
        self.lost: dict[bytes, str] = {}
        """Chunks that were to be put elsewhere and cannot be had: the rest goes without them; and why not."""
        self.unopened: dict[bytes, str] = {}
        """Pages that are needed and cannot be had, as of the last round: until then nothing goes; and why not."""

    @property
    def wants_checkpoint(self) -> bool:
        """Whether something may only go once this site has written another checkpoint."""
        return self._settings.enabled and self.rekeying.wants_checkpoint

    async def make_way(self) -> None:
        """Let the last old batches of this site's log become such that may leave; seal anew those that never do."""
        if self._settings.enabled and self._may_delete(caught_up=True):
            await self.rekeying.make_way()
            framed = self.rekeying.framed_ends()
            if framed and await self._move_all(framed, _Done()):
                await self._holdings.doom(framed)
            await self.rekeying.seal_ended()
            await self.rekeying.clear_unfinished()

    def _is_worn(self, held: HeldObject) -> bool:
        return is_mostly_dead(held, self._settings) or self.rekeying.is_old(held)

    @property
    def is_walking(self) -> bool:
        """Whether a walk over this site's objects, or its logs, is not at its end."""
        return bool(self._pass.sites) or self._is_compacting or self._is_sweeping

    async def collect_round(self, *, caught_up: bool = False, choose: bool = True) -> CollectedRound:
        """One bounded piece of everything; false if there was nothing to do. Raises ``CloudError``, ``Fenced``, the
        store's errors: the next round goes on. ``caught_up``: a pull round has just taken in every log there is;
        ``choose``: look for objects to doom, too.
        """
        done = _Done()
        self.unopened.clear()
        if caught_up:
            await self._get_acquainted()
        if not await self._open_pages():  # whatever walk this was in the middle of begins anew
            self._pass, self._is_compacting, self._is_sweeping = _Pass(), False, False
            return CollectedRound()
        dooms = await self._offload(self._holdings.dooms)
        await self._settle(dooms, done)
        if caught_up:
            await self._delete([doom for doom in dooms if doom.state is not DoomState.DISCARDED], done)
        if choose and self._settings.enabled:
            await self._end(dooms, done)
            if not self._is_compacting and not self._is_sweeping:
                await self._choose(done)
            if not self._pass.sites and not self._is_sweeping:
                await self._compact(done, caught_up=caught_up)
            if not self._pass.sites and not self._is_compacting:
                await self._sweep(done, caught_up=caught_up)
        return CollectedRound(**{name: getattr(done, name) for name in _Done.__slots__})

    async def _get_acquainted(self) -> None:
        """Trust who was silent long after this site's log had begun: when it comes back, it lists the heads first.

        How long is told by a clock that nobody sets: one that was put forward would let bytes be relied on too early.
        """
        identity, now_ms = self._log.identity(), self._steady_ms()
        if not self._log.shipped().n:
            return
        log = (identity.site, identity.incarnation)
        if self._announced is None or self._announced[0] != log:
            self._announced = (log, now_ms)
        if now_ms - self._announced[1] < self._settings.acquaint_ms or not (sites := self._holdings.untrusted()):
            return
        cut = await self._find_cut(sites)
        if trusted := [site for site in sites if site not in cut]:
            await self._holdings.trust(trusted)

    async def _find_cut(self, sites: Sequence[bytes]) -> set[bytes]:
        """Those that were forgotten with something behind their cut: where that lies nobody hears but who was that
        site, or joined by its checkpoint, and names do not tell it from what lies before.
        """
        removed = {site: removal for site, removal in take_census(self._log).removed.items() if site in sites}
        heads = await list_heads(self._cloud) if removed else {}
        return {site for (site, log), n in heads.items() if site in removed and n > removed[site].counts(log)}

    async def _open_pages(self) -> bool:
        """Have every page that something needs on this site (what it lists is needed, too): whether that is so."""
        pages = await self._offload(lambda: self._holdings.closed_pages(PAGES_AT_ONCE))
        try:
            if pages:
                await self._bring(pages)
        except BytesLost as loss:
            self.unopened[loss.chunk_id] = str(loss)
            raise
        return not await self._offload(lambda: self._holdings.closed_pages(1))

    # dooms

    async def _settle(self, dooms: Sequence[Doom], done: _Done) -> None:
        for doom in dooms:
            if doom.state is DoomState.APPLIED and self._has_heard_what(doom):
                if not await self._move_all(doom.names, done):
                    return
                await self._holdings.record_doom(doom.dot, DoomState.SETTLED)
                done.settled += 1

    def _has_heard_what(self, doom: Doom) -> bool:
        """Whether this site has taken in what the doom's writer had: else it would save what is dead there."""
        remotes = self._log.remote_logs()
        told = remotes.get((doom.dot.site, doom.dot.incarnation))
        if told is None:
            return True
        return all(remotes[origin].position.seq >= seq for origin, seq in told.acks.items() if origin in remotes)

    async def _delete(self, dooms: Sequence[Doom], done: _Done) -> None:
        """Delete what everybody has let go of; of others' objects only forget what was in them.

        Who joins after the heads were listed is not waited for: so only what was shipped before counts, which that site
        takes in before it relies on anything. What this site doomed when it still took in the whole realm stays while
        it does not (``enabled``): its last look would not find what others were told by a site that is forgotten.
        """
        settled = [doom for doom in dooms if doom.state is DoomState.SETTLED]
        due = [doom for doom in settled if self._wall_ms() - doom.applied_ms >= self._settings.grace_ms]
        if not due:
            return
        census = await self._take_census()
        cut = census.cut()
        mine = own_logs(self._log).keys() | census.inherited().keys()  # of others' objects nothing is ours to delete
        for doom in due:
            origin = (doom.dot.site, doom.dot.incarnation)
            if doom.dot.seq > cut.get(origin, 0):
                continue
            if origin in mine:
                if not self._settings.enabled:
                    continue
                if not await self._move_all(doom.names, done):
                    return
                for name in doom.names:
                    if is_pack_name(name):  # a batch goes when the log's beginning does
                        await self._cloud.delete(name)
                        done.deleted += 1
            await self._holdings.record_doom(doom.dot, DoomState.DISCARDED)

    async def _end(self, dooms: Sequence[Doom], done: _Done) -> None:
        """Let nothing be left of dooms that are over, if the objects stood under the log that doomed them: who reads it
        hears of an object before its end, and a checkpoint that goes as far tells of neither.
        """
        identity = self._log.identity()
        log = (identity.site, identity.incarnation)
        over = [
            doom.dot
            for doom in dooms
            if doom.state is DoomState.DISCARDED
            and (doom.dot.site, doom.dot.incarnation) == log
            and all(log_of(name) == log for name in doom.names)
        ]
        if over:
            await self._holdings.end_dooms(over[:DOOMS_AT_ONCE])
            done.dooms_ended += len(over[:DOOMS_AT_ONCE])

    # repacking

    async def _choose(self, done: _Done) -> None:
        """Walk on over this site's objects, and those of sites whose heir it is, and doom those that
        are mostly dead, after moving what is not.
        """
        settings, since_ms = self._settings, self._since_ms()
        if not self._pass.sites:
            heirlooms = {site for site, _ in take_census(self._log).inherited()}
            self._pass = _Pass([self._log.identity().site, *sorted(heirlooms)])
        prefix = site_prefix(self._pass.sites[0])
        held = await self._offload(
            lambda: self._holdings.held_objects(prefix, self._pass.after, settings.objects_max, since_ms)
        )
        if not held:
            self._pass.sites.pop(0)
            self._pass.after = ""
            if not self._pass.sites:
                self.account, self._pass = self._pass.account, _Pass()
            return
        chosen: list[str] = []
        for one in held:
            self._pass.account.add(one)
            self._pass.after = one.name
            if is_pack_name(one.name) and self._is_worn(one):
                chosen.append(one.name)
        if chosen and await self._move_all(chosen, done):
            await self._holdings.doom(chosen)
            done.doomed += len(chosen)

    async def _compact(self, done: _Done, *, caught_up: bool) -> None:
        """Let the beginning of this site's logs go, a page of it; doom what is worn of it first."""
        self._is_compacting = False
        if not self._may_delete(caught_up):
            return
        census = await self._take_census()
        sent_before_ms = min(self._since_ms(), self._wall_ms() - self._settings.grace_ms)
        found = await self._compactor.compact(census, sent_before_ms, self._since_ms())
        self._is_compacting = self._compactor.is_walking
        done.batches, done.indexes = done.batches + found.batches, done.indexes + found.indexes
        if found.worn and await self._move_all(found.worn, done):
            await self._holdings.doom(found.worn)
            done.doomed += len(found.worn)

    async def _sweep(self, done: _Done, *, caught_up: bool) -> None:
        """Delete what no batch names, a page of it."""
        self._is_sweeping = False
        if not self._may_delete(caught_up):
            return
        dooms = await self._offload(self._holdings.dooms)
        gone = {name for doom in dooms if doom.state is DoomState.DISCARDED for name in doom.names}
        census = take_census(self._log)
        # What such a site had doomed, and we let go of before it was out, was not looked at again since: should another
        # one have been forgotten meanwhile, that may have told of it.
        heirlooms = census.inherited() if len(census.removed) == 1 else {}
        done.orphans += await self._orphans.sweep(gone, heirlooms, census.inherited_from_retired())
        self._is_sweeping = self._orphans.is_walking

    def _may_delete(self, caught_up: bool) -> bool:
        return caught_up and not self._shipper.fenced and not self._shipper.ended

    async def _take_census(self) -> Census:
        """Of what was shipped before the heads were listed: who joins after that takes it in first."""
        before = take_census(self._log)
        return replace(before, heads=await list_heads(self._cloud))

    async def _move_all(self, names: Sequence[str], done: _Done) -> bool:
        """Put elsewhere what is needed of these objects: whether nothing is left to be moved, as of now."""
        limits = self._shipper.limits
        await self._shipper.finish_attempt()  # it may be what an earlier call began
        for _ in range(self._settings.rounds_max):
            leaving = await self._offload(
                lambda: self._holdings.leaving_frames(names, self._since_ms(), limits.frames_max, limits.pack_bytes_max)
            )
            wanted = [place for place in leaving if decode_header(place.header).chunk_id not in self.lost]
            if not wanted:
                return not await self._offload(lambda: self._holdings.closed_pages(1))
            frames = await self._read(wanted)
            await self._shipper.ship_frames(frames)
            done.moved_bytes += sum(len(frame.ciphertext) for frame in frames)
        return False

    async def _read(self, places: Sequence[FrameLocation]) -> list[Frame]:
        """Frames from here, or from the objects that leave, authenticated."""
        frames: list[Frame] = []
        for place in places:
            frame = await self._offload(lambda place=place: self._holdings.local_frame(place.header))  # type: ignore[misc]
            frames.append(await self._offload(partial(self._to_send, frame or await self._fetch(place))))
        return frames

    def _to_send(self, frame: Frame) -> Frame:
        """The frame, authenticated; sealed anew if its epoch is to end."""
        header, ring = decode_header(frame.header), self._keyring()
        if header.epoch in ring.retired:
            return Frame(*reseal_frame(ring, frame.header, frame.ciphertext))
        open_frame(ring, header, frame.ciphertext)
        return frame

    async def _fetch(self, place: FrameLocation) -> Frame:
        """The frame at its place in the bucket, authenticated; what is not there, or not it, often enough is lost."""
        header = decode_header(place.header)
        try:
            (frame,) = await self._fetcher.fetch([place])
            open_frame(self._keyring(), header, frame.ciphertext)
        except (CloudMissing, SealBroken) as error:
            if not isinstance(error, KeyUnknown):
                self._missing[place.object_name] += 1
            if self._missing[place.object_name] >= MISSING_TO_GIVE_UP:
                self.lost[header.chunk_id] = f"chunk {header.chunk_id.hex()} cannot be had: {error}"
            raise
        self._missing.pop(place.object_name, None)
        return frame

    def _since_ms(self) -> int:
        return self._wall_ms() - self._settings.point_in_time_ms


def is_worth_it(held: HeldObject, settings: CollectSettings) -> bool:
    """Whether an object is to be doomed for what is dead in it: a pack less than half of which is of use. Pure."""
    return is_pack_name(held.name) and is_mostly_dead(held, settings)


def is_mostly_dead(held: HeldObject, settings: CollectSettings) -> bool:
    """Whether less than half of what an object holds is of use, and nobody said yet that it goes. Pure."""
    return not held.doomed and held.frames > 0 and held.live_bytes < held.bytes * settings.live_share_min
