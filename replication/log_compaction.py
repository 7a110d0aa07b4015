"""Lets the beginning of this site's logs leave the bucket: batches that nobody will ever read again, and their indexes.

Stands beside ``collector``, which says what every member has seen and dooms what is named here. A batch of an own log
(the current one, a former one of this site id, or one of a site that is out and whose heir this site is, as far as it
counts) may go if all of these hold:

* a checkpoint of this very site, of the whole realm, stands, with all its parts, and its vector reaches that far: it
  tells what the batch told, and (in its manifest) the chain hash behind which the log goes on. Nobody else's checkpoint
  counts: this site's changes shall not depend on what others keep under their prefixes;
* every member has taken it in: later changes of that log are in the causally stable cut;
* it was sent longer ago than anybody may look back, or a doom waits;
* it is not the newest: that one tells where the log ends, and whether it did;
* no frame in it is located any more: those that were are doomed like a pack's first, and forgotten by everybody.

So of the batches up to the checkpoint's position (``compacted up to``) any may be missing; behind it none. Who needs
them all the same, because it is new, was restored, or rolled back, finds a gap and joins a checkpoint (``joining``).
Indexes are read only by who takes in their batch: up to the same point all of them go, orphans included.

Each call is one bounded piece and may be the last; what is done is seen in the bucket. In doubt a batch stays: what a
list does not show is looked at another time. At the end of a walk the heir deletes the checkpoints of sites that are
out which its own replaces. Not here: the stable cut (``membership``), when a checkpoint is written
for this (``checkpointing``), dooms (``collector``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from replication.batch_format import decode_batch
from replication.checkpoints import (
    CheckpointName,
    FoundCheckpoint,
    covered_up_to,
    delete_checkpoint,
    list_checkpoint_names,
    list_missing_parts,
    read_manifest,
    replaces,
)
from replication.cloud_names import index_prefix, log_name, log_prefix, split_index_name, split_log_name
from replication.collection_ports import DoomState, HeldObject, Holdings
from replication.membership import Census
from replication.offload import Offload, run_in_thread
from replication.ports import ChangeLog, Cloud, CloudMissing, CloudUnreachable, Origin
from replication.sealing import Keyring, KeyUnknown

BATCHES_AT_ONCE: Final = 256
"""So many names are looked at in one call, and at most as many objects of a kind deleted."""


@dataclass(frozen=True, slots=True)
class Compaction:
    """What one call did: batches and indexes deleted; ``worn``: batches whose frames are to be doomed first."""

    batches: int = 0
    indexes: int = 0
    worn: tuple[str, ...] = ()


def own_logs(log: ChangeLog) -> dict[Origin, int]:
    """How far each log of this site id is known to reach in the bucket."""
    identity, pulled = log.identity(), log.pulled()
    former = [origin for origin in log.former_logs() if origin[0] == identity.site and origin in pulled]
    known = {origin: pulled[origin].n for origin in former}
    return {**known, (identity.site, identity.incarnation): log.shipped().n}


def held_behind(holdings: Holdings, prefix: str, after: str, last: str, since_ms: int = 0) -> dict[str, HeldObject]:
    """Objects under ``prefix`` behind ``after`` that the site's index has heard of: all up to ``last``, by name."""
    found: dict[str, HeldObject] = {}
    while after < last and (some := holdings.held_objects(prefix, after, BATCHES_AT_ONCE, since_ms)):
        found |= {one.name: one for one in some}
        after = some[-1].name
    return found


class LogCompactor:
    """Compacts for one site, by its one daemon."""

    def __init__(
        self,
        log: ChangeLog,
        holdings: Holdings,
        cloud: Cloud,
        keyring: Callable[[], Keyring],
        *,
        is_worn: Callable[[HeldObject], bool],
        offload: Offload = run_in_thread,
    ) -> None:
        self._log, self._holdings, self._cloud, self._keyring = log, holdings, cloud, keyring
        self._is_worn, self._offload = is_worn, offload
        self._manifests: dict[CheckpointName, FoundCheckpoint] = {}  # no name is ever given other bytes
        self._done: set[Origin] = set()
        self._after = ""

    @property
    def is_walking(self) -> bool:
        """Whether a walk over this site's logs is not at its end."""
        return bool(self._done or self._after)

    async def compact(self, census: Census, sent_before_ms: int, since_ms: int) -> Compaction:
        """Go on with the walk by one page of one log. ``census``: as of heads listed just now;
        ``sent_before_ms``: younger batches stay; ``since_ms``: see ``Holdings``. Raises ``CloudError``.
        """
        found = await self._own_checkpoints()
        covered = self._covered(found)
        cut, inherited = census.cut(), census.inherited()
        for origin, newest in sorted({**inherited, **own_logs(self._log)}.items()):
            upto = min(covered.get(origin, 0), newest - 1)
            if origin in self._done or upto < 1:
                continue
            names = await self._cloud.list(log_prefix(origin), after=self._after, count_max=BATCHES_AT_ONCE)
            old = [name for name in names if 0 < (split_log_name(name) or 0) <= upto]
            gone = old[: await self._count_settled(origin, old, cut.get(origin, 0), sent_before_ms)]
            if len(gone) == len(names) == BATCHES_AT_ONCE:
                following = gone[-1]
            else:
                self._done.add(origin)
                following = ""
            if gone:
                compaction = await self._compact_page(origin, gone, since_ms)
                self._after = following
                return compaction
            self._after = following
        await self._drop_inherited(found, inherited)
        self._done, self._after = set(), ""
        return Compaction()

    async def _own_checkpoints(self) -> list[FoundCheckpoint]:
        """This site's checkpoints that are whole. Each manifest is read once; that all of it is there is asked anew."""
        site, whole = self._log.identity().site, list[FoundCheckpoint]()
        known, self._manifests = self._manifests, {}
        for name in await list_checkpoint_names(self._cloud):
            if name.origin[0] != site:
                continue
            found = known.get(name) or await read_manifest(self._cloud, self._keyring, name)
            if found.manifest is None:
                continue
            self._manifests[name] = found
            if not await list_missing_parts(self._cloud, found):
                whole.append(found)
        return whole

    def _covered(self, found: Sequence[FoundCheckpoint]) -> dict[Origin, int]:
        """Up to where they stand in for each log."""
        return {origin: position.n for origin, position in covered_up_to(found).items()}

    async def _drop_inherited(self, own: Sequence[FoundCheckpoint], inherited: Mapping[Origin, int]) -> None:
        """Delete checkpoints of sites that are out which one of this site's replaces."""
        sites = {site for site, _ in inherited}
        for name in await list_checkpoint_names(self._cloud) if sites else ():
            if name.origin[0] in sites:
                found = await read_manifest(self._cloud, self._keyring, name)
                older = found.manifest
                if older and any(one.manifest and replaces(one.manifest, older, inherited) for one in own):
                    await delete_checkpoint(self._cloud, found)

    async def _count_settled(self, origin: Origin, names: Sequence[str], seq: int, sent_before_ms: int) -> int:
        """How many of these batches, from the first on, every member has taken in and nobody may look back to."""
        least, most = 0, len(names)
        at = most
        while least < most:
            if await self._is_settled(origin, names[at - 1], seq, sent_before_ms):
                least = at
            else:
                most = at - 1
            at = (least + most + 1) // 2
        return least

    async def _is_settled(self, origin: Origin, name: str, seq: int, sent_before_ms: int) -> bool:
        n = split_log_name(name)
        assert n is not None
        try:
            batch = decode_batch(self._keyring(), origin, n, await self._cloud.get(name))
        except (CloudMissing, KeyUnknown):
            return False
        except ValueError as error:
            raise CloudUnreachable(f"batch {n} of an own log did not come whole: {error}") from None
        # Strictly less: of what comes without changes behind change ``seq`` an ack of ``seq`` says nothing.
        return batch.last_seq < seq and batch.sent_ms < sent_before_ms

    async def _compact_page(self, origin: Origin, names: Sequence[str], since_ms: int) -> Compaction:
        before_first = log_name(origin, (split_log_name(names[0]) or 1) - 1)
        held = await self._offload(
            partial(held_behind, self._holdings, log_prefix(origin), before_first, names[-1], since_ms)
        )
        dooms = await self._offload(self._holdings.dooms)
        for doom in dooms:
            if doom.state is DoomState.DISCARDED:  # an old checkpoint may have told of their frames again
                for name in held.keys() & set(doom.names):
                    del held[name]
        batches = indexes = 0
        for name in names:
            if name not in held or not held[name].frames:
                await self._cloud.delete(name)
                batches += 1
        last = split_log_name(names[-1]) or 0
        for index in await self._cloud.list(index_prefix(origin), count_max=BATCHES_AT_ONCE):
            if 0 < (split_index_name(index) or 0) <= last:
                await self._cloud.delete(index)
                indexes += 1
        worn = tuple(name for name in names if name in held and self._is_worn(held[name]))
        return Compaction(batches, indexes, worn)
