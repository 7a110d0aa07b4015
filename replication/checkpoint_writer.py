"""Writes a checkpoint of this site's state into the bucket: parts while the scan goes on, then manifest, then mark.

Stands between ``FoldedState`` (which tells the state in slices) and the cloud. The vector is taken before the scan.
What the scan saw of this site's own changes may not be in the bucket yet; a checkpoint that showed what no log holds
would part whoever joins by it from everybody else, should this machine be lost. So ``publish`` comes only when all of
it is shipped. Every object is read back before anything relies on it. Then this site's older checkpoints go.

Memory: a few parts' worth of slices. Requests: for each part (about 8 MiB) a PUT and a GET; a GET, two PUTs and one GET
besides, two LISTs, and one DELETE for each object of the older one. Not here: when to write one (``checkpointing``).
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from functools import partial
from typing import Final

from replication.batch_format import chain_of, decode_batch
from replication.checkpoint_format import Manifest, PartEntry, decode_manifest, encode_manifest, encode_part
from replication.checkpoints import (
    CheckpointName,
    delete_checkpoint,
    list_checkpoint_names,
    read_manifest,
    replaces,
)
from replication.cloud_names import (
    checkpoint_mark_name,
    checkpoint_name,
    checkpoint_part_name,
    checkpoint_prefix,
    log_name,
    split_checkpoint_object,
)
from replication.listing import list_all
from replication.offload import Offload, run_in_thread
from replication.ports import (
    ChangeLog,
    Cloud,
    CloudUnreachable,
    FoldedState,
    Origin,
    RemoteLog,
    StateNotReady,
    Vector,
)
from replication.sealing import Keyring

PART_BYTES: Final = 7 << 20
"""Slices are gathered up to this; sealed and padded a part stays within 8 MiB (or is one large slice)."""


class NotShippedYet(Exception):
    """The scan saw own changes that are not in the bucket yet: publish later."""


@dataclass(frozen=True, slots=True)
class Draft:
    """A scan whose parts are in the bucket. ``last_seq``: the greatest own change that it may have seen."""

    name: CheckpointName
    manifest: Manifest
    last_seq: int


class CheckpointWriter:
    """Writes for one site."""

    def __init__(
        self,
        log: ChangeLog,
        state: FoldedState,
        cloud: Cloud,
        keyring: Callable[[], Keyring],
        *,
        wall_ms: Callable[[], int],
        offload: Offload = run_in_thread,
        part_bytes: int = PART_BYTES,
    ) -> None:
        self._log, self._state, self._cloud, self._keyring = log, state, cloud, keyring
        self.on_slice: Callable[[], None] = lambda: None
        self._wall_ms, self._offload, self._part_bytes = wall_ms, offload, part_bytes

    async def write(self) -> Manifest:
        """Scan and publish. ``NotShippedYet`` if something unsent was seen, ``StateNotReady``, ``CloudError``."""
        return await self.publish(await self.scan())

    async def scan(self) -> Draft:
        """Put the parts. ``StateNotReady`` if there is nothing to tell, or this site must take something in first."""
        origin = self._origin()
        n = await self._next_number(origin)
        start = await self._offload(self._state.begin_export)
        # A log that this site wrote before it parted with it at its very beginning is at batch 0 until it is read.
        begun = {log: known for log, known in start.vector.items() if known.position.n}
        if not begun:
            raise StateNotReady("no log of this realm is known to be in the bucket yet")
        vector = await self._with_own_acks(origin, begun)
        parts: list[PartEntry] = []
        waiting, cursor = list(start.slices), b""
        while True:
            data, cursor = await self._offload(partial(self._state.export_slice, cursor))
            if waiting and sum(map(len, waiting)) + len(data) > self._part_bytes:
                parts.append(await self._put_part(origin, n, waiting))
                waiting = []
            waiting += [data] if data else []
            self.on_slice()
            if not cursor:
                break
        if waiting:
            parts.append(await self._put_part(origin, n, waiting))
        reached = {log: position.n for log, position in self._log.pulled().items()}
        manifest = Manifest(self._wall_ms(), vector, reached, tuple(parts), start.holds)
        return Draft(CheckpointName(origin, n), manifest, self._log.last_seq())

    async def publish(self, draft: Draft) -> Manifest:
        """Make a scan count, once all it may have seen is in the bucket. ``NotShippedYet``; ``StateNotReady`` if this
        site goes on under another name meanwhile.
        """
        origin, n = draft.name.origin, draft.name.n
        if origin != self._origin():
            raise StateNotReady("this site has taken a new incarnation since the scan")
        shipped = self._log.shipped()
        if shipped.seq < draft.last_seq:
            raise NotShippedYet(f"change {draft.last_seq} is not in the bucket yet")
        reached = {**draft.manifest.reached, **({origin: shipped.n} if shipped.n else {})}
        manifest = Manifest(
            *(draft.manifest.made_ms, draft.manifest.vector, reached, draft.manifest.parts, draft.manifest.holds)
        )
        data = encode_manifest(self._keyring(), origin, n, manifest)
        await self._put(checkpoint_name(origin, n), data)
        decode_manifest(self._keyring(), origin, n, data)
        await self._cloud.put(checkpoint_mark_name(origin, n), b"")
        await self._remove_older(CheckpointName(origin, n), manifest)
        return manifest

    def _origin(self) -> Origin:
        identity = self._log.identity()
        return (identity.site, identity.incarnation)

    async def _next_number(self, origin: Origin) -> int:
        """A number no object of this log has, nor had if it counts."""
        begun = map(split_checkpoint_object, await list_all(self._cloud, checkpoint_prefix(origin)))
        counting = [name.n for name in await list_checkpoint_names(self._cloud) if name.origin == origin]
        return 1 + max([*counting, *(number for number in begun if number is not None)], default=0)

    async def _with_own_acks(self, origin: Origin, vector: Vector) -> Vector:
        """What this site said itself with its newest batch of the vector: the batch tells."""
        own = vector.get(origin)
        if own is None:
            return vector
        data = await self._cloud.get(log_name(origin, own.position.n))
        if chain_of(self._keyring(), origin, own.position.n, data) != own.position.chain:
            raise StateNotReady("the newest batch in the bucket is not the one this site shipped")
        batch = decode_batch(self._keyring(), origin, own.position.n, data)
        return {**vector, origin: RemoteLog(own.position, batch.acks, batch.sent_ms, batch.closed, batch.status)}

    async def _put_part(self, origin: Origin, n: int, slices: list[bytes]) -> PartEntry:
        entry, data = await self._offload(lambda: encode_part(self._keyring(), origin, n, slices))
        await self._put(checkpoint_part_name(origin, n, entry.digest), data)
        return entry

    async def _put(self, name: str, data: bytes) -> None:
        await self._cloud.put(name, data)
        if await self._cloud.get(name) != data:
            raise CloudUnreachable(f"the bucket gave back other bytes for {name}: the checkpoint does not count")

    async def _remove_older(self, newest: CheckpointName, manifest: Manifest) -> None:
        """Delete this site's other checkpoints that the newest one replaces. One that reaches further in some log stays
        (this machine was rolled back): that log's beginning may have left the bucket on the strength of it. So does one
        that cannot be read now.
        """
        counting = [name for name in await list_checkpoint_names(self._cloud) if name.origin[0] == newest.origin[0]]
        for name in counting:
            if name.origin != newest.origin or name.n < newest.n:
                found = await read_manifest(self._cloud, self._keyring, name)
                if found.manifest is not None and replaces(manifest, found.manifest):
                    await delete_checkpoint(self._cloud, found)
        for origin in (newest.origin, *self._log.former_logs()):
            if origin[0] == newest.origin[0]:
                await self._remove_interrupted(
                    origin, newest, manifest, {one.n for one in counting if one.origin == origin}
                )

    async def _remove_interrupted(
        self, origin: Origin, newest: CheckpointName, manifest: Manifest, counting: Collection[int]
    ) -> None:
        """Delete what interrupted attempts left. Not by a list of marks alone, which may be an old one: what has a
        manifest goes only if the newest replaces it.
        """
        begun: dict[int, list[str]] = {}
        for name in await list_all(self._cloud, checkpoint_prefix(origin)):
            number = split_checkpoint_object(name)
            if number is not None and number not in counting and (origin != newest.origin or number < newest.n):
                begun.setdefault(number, []).append(name)
        for number, names in begun.items():
            found = await read_manifest(self._cloud, self._keyring, CheckpointName(origin, number))
            is_absent = checkpoint_name(origin, number) not in names
            if replaces(manifest, found.manifest) if found.manifest is not None else is_absent:
                for name in names:
                    await self._cloud.delete(name)
