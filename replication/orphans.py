"""Finds what this site put into the bucket and no batch names: packs, and indexes beside the one that a batch names.

Stands beside ``log_compaction``, under ``collector``. A round puts packs, then an index, then the batch that names it;
a crash in between, a late request, or a round that a fence ended leave objects that nobody will ever read. Nothing
tells how old an object is, and lists may lag; so a pack is an orphan only if

* it stands under this site's own prefix, in a log that this machine goes on with, or that has ended and was taken in to
  its end; or under that of a site that has retired, by its heir. Under that of one that was forgotten only what was
  doomed goes: for what such a machine put behind its cut it may yet come back;
* the index of this site has never heard of it, as it has of every pack that a batch of that log named; or it was
  deleted once, when everybody had let go of it, and a late request brought it back;
* an earlier walk had found it, and the batch that was next at that time is confirmed since: whatever round was in
  flight then, also a copy's of this machine, has either been committed, and is known, or never will be: its name is
  taken.

A list that shows what is gone costs a DELETE, one that hides what is there a walk more. Which walk found what is kept
in memory: a restart only puts off. Not here: parts of checkpoints (``checkpoint_writer`` clears those away, but for
those under former incarnations, which a copy of this machine may be about to publish).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from functools import partial
from itertools import groupby
from typing import Final

from replication.batch_format import decode_batch
from replication.cloud_names import (
    index_name,
    index_prefix,
    is_pack_name,
    log_name,
    packs_prefix,
    split_index_name,
)
from replication.collection_ports import Holdings
from replication.log_compaction import held_behind, own_logs
from replication.offload import Offload, run_in_thread
from replication.ports import ChangeLog, Cloud, CloudMissing, CloudUnreachable, Origin
from replication.sealing import Keyring

NAMES_AT_ONCE: Final = 1000
_BEFORE_ALL: Final = ""


class OrphanSweep:
    """Sweeps for one site, by its one daemon: a walk at a time, a page of names a call."""

    def __init__(
        self,
        log: ChangeLog,
        holdings: Holdings,
        cloud: Cloud,
        keyring: Callable[[], Keyring],
        *,
        offload: Offload = run_in_thread,
    ) -> None:
        self._log, self._holdings, self._cloud, self._keyring = log, holdings, cloud, keyring
        self._offload = offload
        self._found: dict[str, int] = {}
        self._finding: dict[str, int] = {}
        self._todo: list[tuple[Origin, bool]] | None = None
        self._after = _BEFORE_ALL
        self._ended: frozenset[Origin] = frozenset()

    @property
    def is_walking(self) -> bool:
        """Whether a walk is not at its end."""
        return self._todo is not None

    async def sweep(
        self, gone: Collection[str], inherited: Collection[Origin] = (), ended: Collection[Origin] = ()
    ) -> int:
        """Go on with the walk by one page: how many objects were deleted. ``gone``: names of packs that were deleted
        when everybody had let go of them, or should have been by a site whose logs are ``inherited``; ``ended``: logs
        of sites that have retired and whose heir this site is, of which nothing unknown will ever be named.
        Raises ``CloudError``.
        """
        self._ended = frozenset(ended)
        if self._todo is None:
            own = [(origin, is_pack) for origin in self._logs() for is_pack in (True, False)]
            self._todo = [*own, *[(origin, True) for origin in sorted({*inherited, *ended})]]
        if not self._todo:
            self._found, self._finding, self._todo = self._finding, {}, None
            return 0
        (origin, is_pack), after = self._todo[0], self._after
        names = await self._cloud.list(
            packs_prefix(origin) if is_pack else index_prefix(origin), after=after, count_max=NAMES_AT_ONCE
        )
        deleted = await (
            self._sweep_packs(origin, after, names, gone) if is_pack else self._sweep_indexes(origin, names)
        )
        if len(names) == NAMES_AT_ONCE:
            self._after = names[-1]
        else:
            self._todo.pop(0)
            self._after = _BEFORE_ALL
        return deleted

    def _logs(self) -> list[Origin]:
        """The current log, and former ones that have ended and were taken in to their end."""
        identity, remotes = self._log.identity(), self._log.remote_logs()
        current = (identity.site, identity.incarnation)
        return [log for log in own_logs(self._log) if log == current or (log in remotes and remotes[log].closed)]

    async def _sweep_packs(self, origin: Origin, after: str, names: list[str], gone: Collection[str]) -> int:
        packs = [name for name in names if is_pack_name(name)]
        if not packs:
            return 0
        shipped = own_logs(self._log).get(origin, 0)  # what is known is asked behind that, and both behind the list
        known = await self._offload(partial(held_behind, self._holdings, packs_prefix(origin), after, packs[-1]))
        deleted = 0
        for name in packs:
            if name in known and name not in gone:
                continue
            if name in gone or self._is_over(origin, name, shipped):
                await self._cloud.delete(name)
                deleted += 1
            elif origin in own_logs(self._log) or origin in self._ended:
                self._finding[name] = min(shipped, self._found.get(name, shipped))
        return deleted

    def _is_over(self, origin: Origin, name: str, shipped: int) -> bool:
        """Whether no round that was in flight when this pack was first found can still be committed."""
        identity = self._log.identity()
        if name not in self._found:
            return False
        return shipped > self._found[name] or origin != (identity.site, identity.incarnation)

    async def _sweep_indexes(self, origin: Origin, names: Iterable[str]) -> int:
        """Of batches with more than one index all but the one that is named: it is the only one that is read."""
        deleted, shipped = 0, own_logs(self._log).get(origin, 0)
        for n, group in groupby(names, split_index_name):
            several = list(group)
            if n is None or n > shipped or len(several) == 1:
                continue
            try:
                batch = decode_batch(self._keyring(), origin, n, await self._cloud.get(log_name(origin, n)))
            except CloudMissing:
                continue  # it left: so will all of them
            except ValueError as error:
                raise CloudUnreachable(f"batch {n} of an own log did not come whole: {error}") from None
            for name in several:
                if not batch.index or name != index_name(origin, n, batch.index):
                    await self._cloud.delete(name)
                    deleted += 1
        return deleted
