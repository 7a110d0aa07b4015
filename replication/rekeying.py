"""What this site has in the bucket under epochs that are to end, and what its daemon does so that it goes.

Stands beside ``log_compaction``, under ``collector``: the machinery that moves and deletes is theirs; this says what is
old. A frame names its epoch in its header, which this site's index has; a pack is sealed under no older epoch than its
frames (``freight``). Of batches, indexes and checkpoints the bucket is asked, once each: their first bytes name the
epoch, and no name is ever given other bytes. So how far it is with an epoch is derived, not kept:

    packs        with a frame under a retired epoch are moved and doomed, whatever lives in them
    batches      are doomed if frames are in them, and leave behind a checkpoint of this site as any do; for that the
                 site writes one, and makes a change, if it has made none since (it dooms the last of them)
    checkpoints  are replaced by that one
    ended logs   keep their last batches for ever: those are sealed anew where they lie, the only objects that are
                 (``batch_format``): they say the same, and the hash that a batch behind them would name is kept. What
                 lies in them is doomed before, and what unfinished checkpoints left there goes

An object of this site that nobody knows counts as lying under every retired epoch, until it is swept (``orphans``). Of
what a site that was forgotten has left its heir counts what counts: not what stands behind its cut.

Not here: who else needs an epoch (each says so in its status), when its key goes (``key_rotation``), the disk (the
store's collector).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Final

from replication.batch_format import HEAD_SIZE, decode_batch, reseal_batch
from replication.checkpoints import covered_up_to, list_checkpoint_names, read_manifest
from replication.cloud_names import (
    checkpoint_name,
    checkpoint_prefix,
    index_prefix,
    is_pack_name,
    log_name,
    log_prefix,
    site_prefix,
    split_checkpoint_object,
    split_index_name,
    split_log_name,
)
from replication.collection_ports import DoomState, HeldObject, Holdings
from replication.listing import list_all
from replication.log_compaction import held_behind, own_logs
from replication.membership import Census, take_census
from replication.offload import Offload, run_in_thread
from replication.ports import ChangeLog, Cloud, CloudMissing, CloudUnreachable, Origin
from replication.sealing import ENVELOPE_SIZE, Keyring, envelope_epoch
from replication.status import EpochAccount

_EVERYTHING_LATER: Final = 1 << 62
SEALED_AT_ONCE: Final = 64
"""So many batches of ended logs are sealed anew in one turn, the last ones first: earlier ones may leave meanwhile."""


class Rekeying:
    """For one site, by its one daemon. ``account``: for each retired epoch what lies under it, as last looked at."""

    def __init__(
        self,
        log: ChangeLog,
        holdings: Holdings,
        cloud: Cloud,
        keyring: Callable[[], Keyring],
        *,
        finish_attempt: Callable[[], Awaitable[None]],
        offload: Offload = run_in_thread,
    ) -> None:
        self._log, self._holdings, self._cloud, self._keyring = log, holdings, cloud, keyring
        self._finish_attempt, self._offload = finish_attempt, offload
        self._epochs: dict[str, bytes | None] = {}
        self._old: frozenset[str] = frozenset()
        self._framed: dict[str, HeldObject] = {}
        self._reached: dict[Origin, int] = {}
        self._unfinished: frozenset[str] = frozenset()
        self.account: dict[bytes, EpochAccount] = {}
        self.wants_checkpoint = False
        """Whether batches or checkpoints are old that only a new checkpoint of this site's lets go."""

    @property
    def retired(self) -> frozenset[bytes]:
        """Epochs that are to end and did not yet."""
        ring = self._keyring()
        return ring.retired & ring.epochs.keys()

    def is_old(self, held: HeldObject) -> bool:
        """Whether an object of frames is to be doomed because of what it is, or what is in it, is sealed under."""
        is_old = bool(held.epochs & self.retired) or held.name in self._old
        return is_old and held.frames > 0 and not held.doomed

    async def look(self) -> None:
        """Count what lies under retired epochs, here and under this site's names in the bucket. ``CloudError``."""
        if not (retired := self.retired):
            self._old, self.account, self.wants_checkpoint = frozenset(), {}, False
            self._epochs.clear()
            return
        # What was sealed before the mark was seen is in the bucket after this, or never will be.
        await self._finish_attempt()
        found: dict[str, frozenset[bytes]] = {}
        census = take_census(self._log)
        me, inherited = self._log.identity().site, census.inherited()
        left = {origin[0] for origin in inherited} - {origin[0] for origin in census.inherited_from_retired()}
        self._framed = {}
        dooms = await self._offload(self._holdings.dooms)
        gone = {name for doom in dooms if doom.state is DoomState.DISCARDED for name in doom.names}
        for site in sorted({me, *(site for site, _ in inherited)}):
            counted = (
                None if site not in left else {log_prefix(log): n for log, n in inherited.items() if log[0] == site}
            )
            found |= await self._look_at(site_prefix(site), retired, counted, gone)
        here = await self._offload(self._holdings.sealed_here)
        bucket = Counter(epoch for epochs in found.values() for epoch in epochs)
        self._old = frozenset(name for name, epochs in found.items() if epochs)
        self._epochs = {name: epoch for name, epoch in self._epochs.items() if name in found}
        self.account = {epoch: EpochAccount(here.get(epoch, 0), bucket[epoch]) for epoch in sorted(retired)}
        self.wants_checkpoint = await self._find_uncovered()

    async def make_way(self) -> None:
        """Make a change behind the last old batch of the log, if none was made since: a batch leaves when everybody has
        acknowledged something later.
        """
        identity = self._log.identity()
        origin = (identity.site, identity.incarnation)
        names = sorted(name for name in self._old if name.startswith(log_prefix(origin)))
        if not names or self._log.last_seq() > self._log.shipped().seq:
            return
        n = split_log_name(names[-1])
        assert n is not None
        try:
            batch = decode_batch(self._keyring(), origin, n, await self._cloud.get(names[-1]))
        except CloudMissing:
            return
        if batch.last_seq >= self._log.last_seq():
            await self._holdings.doom([names[-1]])

    def framed_ends(self) -> list[str]:
        """Old batches of logs that have ended in which frames are located: those are to be doomed before the batch can
        be sealed anew, for the last ones of a log are never doomed on their way out.
        """
        ended = tuple([log_prefix(origin) for origin in self._ended_logs(take_census(self._log))])
        old = sorted(name for name in self._old & self._framed.keys() if name.startswith(ended))
        return [name for name in old if self.is_old(self._framed[name])][-SEALED_AT_ONCE:]

    def _ended_logs(self, census: Census) -> dict[Origin, int]:
        """Former logs of this site, and those it inherited: up to which batch they count."""
        identity, own = self._log.identity(), own_logs(self._log)
        own.pop((identity.site, identity.incarnation))
        former = {origin: n for origin, n in own.items() if census.logs[origin].closed}
        return dict(sorted({**former, **census.inherited()}.items()))

    async def seal_ended(self) -> int:
        """Seal anew, where they lie, old batches of logs that have ended: how many. ``CloudError``."""
        census, sealed = take_census(self._log), 0
        for origin in self._ended_logs(census):
            names = sorted(name for name in self._old - self._framed.keys() if name.startswith(log_prefix(origin)))
            done = {
                name
                for name in names[::-1][: SEALED_AT_ONCE - sealed]
                if await self._seal_batch(origin, name, census.cut().get(origin, 0))
            }
            sealed += len(done)
            for name in [name for name in self._old if name.startswith(index_prefix(origin))]:
                if log_name(origin, split_index_name(name) or 0) not in self._old - done:
                    await self._cloud.delete(name)  # its batch needs none, or has left
        return sealed

    async def clear_unfinished(self) -> None:
        """Delete what checkpoints that were never finished left of logs that have ended: found twice there, and not
        announced, while a checkpoint of this site's stands in for those logs. ``CloudError``.
        """
        ended, before = self._ended_logs(take_census(self._log)), self._unfinished
        prefixes = tuple([checkpoint_prefix(origin) for origin in ended])
        left = {name for name in self._old if name.startswith(prefixes)}
        if left and all(self._reached.get(origin, 0) >= n for origin, n in ended.items()):
            announced = {checkpoint_name(one.origin, one.n) for one in await list_checkpoint_names(self._cloud)}
            left = {name for name in left if name.partition("-")[0] not in announced}
        else:
            left = set()
        self._unfinished = frozenset(left)
        for name in sorted(left & before):
            await self._cloud.delete(name)

    async def _seal_batch(self, origin: Origin, name: str, seq: int) -> bool:
        n = split_log_name(name)
        assert n is not None
        ring = self._keyring()
        try:
            data = await self._cloud.get(name)
        except CloudMissing:
            return False
        try:
            batch, anew = decode_batch(ring, origin, n, data), reseal_batch(ring, origin, n, data)
        except ValueError as error:
            raise CloudUnreachable(f"batch {n} of an ended log did not come whole: {error}") from None
        if (batch.frames or batch.index) and batch.last_seq > seq:
            return False  # who has not taken it in needs to know where its bytes lie
        await self._cloud.put(name, anew)
        if await self._cloud.get(name) != anew:
            raise CloudUnreachable(f"the bucket gave back other bytes for {name}")
        self._epochs.pop(name, None)
        return True

    async def _look_at(
        self, prefix: str, retired: frozenset[bytes], counted: Mapping[str, int] | None, gone: Collection[str]
    ) -> dict[str, frozenset[bytes]]:
        """For each object under a site's prefix which epochs it lies under; ``counted``: how far logs of it count;
        ``gone``: what was in these nobody relies on, though an old checkpoint may have told of it again.
        """
        names = await list_all(self._cloud, prefix)
        if not names:
            return {}
        held = await self._offload(lambda: held_behind(self._holdings, prefix, "", names[-1], _EVERYTHING_LATER))
        held = {name: one for name, one in held.items() if name not in gone}
        self._framed |= {name: one for name, one in held.items() if one.frames}
        if counted is not None:
            names = [name for name in names if name in held or _counts(name, counted)]
        return {name: await self._epochs_of(name, held, retired) for name in names}

    async def _epochs_of(
        self, name: str, held: Mapping[str, HeldObject], retired: frozenset[bytes]
    ) -> frozenset[bytes]:
        """Under which of the retired epochs something of an object is sealed."""
        epochs = held[name].epochs if name in held else frozenset[bytes]()
        if is_pack_name(name):
            return epochs & retired if epochs else retired
        if name not in self._epochs:
            self._epochs[name] = await self._read_epoch(name)
        own = self._epochs[name]
        return (epochs | {own} if own is not None else epochs) & retired

    async def _read_epoch(self, name: str) -> bytes | None:
        """The epoch of an object's envelope; None if it has none, or is gone."""
        offset = HEAD_SIZE if split_log_name(name) is not None else 0
        if not offset and split_index_name(name) is None and split_checkpoint_object(name) is None:
            return None
        try:
            return envelope_epoch(await self._cloud.get(name, offset=offset, length=ENVELOPE_SIZE))
        except CloudMissing:
            return None

    async def _find_uncovered(self) -> bool:
        """Whether a checkpoint is old, or a batch that no checkpoint of this site's stands in for."""
        site, self._reached = self._log.identity().site, {}
        logs = [name for name in self._old if split_log_name(name) is not None]
        checkpoints = [name for name in self._old if split_checkpoint_object(name) is not None]
        if not logs and not checkpoints:
            return False
        marks = [name for name in await list_checkpoint_names(self._cloud) if name.origin[0] == site]
        covered = covered_up_to([await read_manifest(self._cloud, self._keyring, name) for name in marks])
        self._reached = {origin: position.n for origin, position in covered.items()}
        ended = self._ended_logs(take_census(self._log)) if checkpoints else {}
        if any(self._reached.get(origin, 0) < n for origin, n in ended.items()):
            return True  # what is left of checkpoints there goes when one of this site's stands in for those logs
        counting = {checkpoint_name(one.origin, one.n) for one in marks}
        own = checkpoint_prefix((site, self._log.identity().incarnation))
        if any(name.startswith(own) or name.partition("-")[0] in counting for name in checkpoints):
            return True
        reached = {log_prefix(origin): n for origin, n in self._reached.items()}
        return any((split_log_name(name) or 0) > reached.get(name.rpartition("/")[0] + "/", 0) for name in logs)


def _counts(name: str, counted: Mapping[str, int]) -> bool:
    """Whether an object of a site that was forgotten stands before its cut; of packs only those that are known do."""
    if is_pack_name(name):
        return False
    n = split_log_name(name) or split_index_name(name) or 0
    origin_prefix = "/".join(name.split("/")[:3])
    return n <= max((last for prefix, last in counted.items() if prefix.startswith(origin_prefix)), default=0)
