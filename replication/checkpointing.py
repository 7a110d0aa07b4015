"""When a site joins by checkpoint, and when it writes one: what the daemon does about checkpoints.

Stands between ``service`` and ``joining``/``checkpoint_writer``. Any site that takes in the whole realm may write one,
each under its own prefix; one is enough for all. So a site writes when the newest checkpoint of anybody lacks
``checkpoint_changes`` changes that it knows itself, or a tenth of them for ``checkpoint_interval_s``. Each site has
patience of its own (up to half as much again, from its id), so that one comes first and the others find that they need
not. The bucket is asked only when one would be due, for all this site knows: one LIST, and a GET for each checkpoint it
has not seen. What a checkpoint costs: ``settings``.

A log that is cut behind this site is looked for in checkpoints as soon as that is known, then once in ``RETRY_S``.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Final

from replication.checkpoint_format import Manifest
from replication.checkpoint_writer import CheckpointWriter, Draft, NotShippedYet
from replication.checkpoints import CheckpointName, list_checkpoint_names, read_manifest, replaces
from replication.joining import Joiner, JoinProgress
from replication.member_format import read_register
from replication.offload import Offload, run_in_thread
from replication.ports import ChangeLog, Cloud, FoldedState, StateNotReady
from replication.puller import PulledRound, Puller
from replication.sealing import Keyring
from replication.settings import ReplicationSettings
from replication.subscription import covers_all

logger = logging.getLogger(__name__)
RETRY_S: Final = 300.0
PATIENCE: Final = 0.5
SLICES_TO_TELL: Final = 10
JOIN_BATCHES_MIN: Final = 20
"""Below that many batches, replaying costs no more requests than a checkpoint."""


class Checkpointing:
    """Checkpoints of one site's daemon. ``written`` is when the last one was made here; ``problem`` why none could be;
    ``progress`` tells of the join that is under way.
    """

    def __init__(
        self,
        log: ChangeLog,
        state: FoldedState,
        cloud: Cloud,
        keyring: Callable[[], Keyring],
        settings: ReplicationSettings,
        *,
        wall_ms: Callable[[], int],
        refresh_keys: Callable[[], Awaitable[None]],
        offload: Offload = run_in_thread,
    ) -> None:
        self._log, self._cloud, self._keyring, self._settings = log, cloud, keyring, settings
        self._wall_ms, self._refresh_keys = wall_ms, refresh_keys
        self._manifests: dict[CheckpointName, Manifest | None] = {}
        self._looked: frozenset[bytes] | None = None
        self._draft: Draft | None = None
        self._tried_ms = 0
        self._state = state
        self.writer = CheckpointWriter(log, state, cloud, keyring, wall_ms=wall_ms, offload=offload)
        self.joiner = Joiner(
            *(log, state, cloud, keyring),
            refresh_keys=refresh_keys,
            batches_min=JOIN_BATCHES_MIN,
            progress=self._tell,
        )
        self.is_wanted: Callable[[], bool] = lambda: False
        """Whether somebody needs another one of this site's, whatever there is; asked when none would be due."""
        self.progress: JoinProgress | None = None
        self.on_progress: Callable[[], None] = lambda: None

    async def pull_round(self, puller: Puller) -> PulledRound:
        """Join by checkpoint if that helps, then pull; if a log turns out to be cut behind this site, once more.

        Errors as ``Puller.pull_round``.
        """
        await self._state.subscribe(self._settings.subscribe)
        await self.joiner.join_if_useful()
        self.progress = None
        pulled = await puller.pull_round()
        now_ms = self._wall_ms()
        overdue = not 0 <= now_ms - self._tried_ms < RETRY_S * 1000
        if puller.cut and (self.joiner.may_help(puller.cut) or overdue):
            self._tried_ms = now_ms
            joined = await self.joiner.join_if_useful(puller.cut)
            if joined is not None:
                logger.info(
                    "%d logs were cut behind this site: it went on by the checkpoint %d of site %s, made at %d",
                    *(len(puller.cut), joined.n, joined.origin[0].hex(), joined.made_ms),
                )
                more = await puller.pull_round()
                both = (pulled.batches + more.batches, pulled.changes + more.changes)
                pulled = PulledRound(*both, more.stopped, more.waits)
            self.progress = None
        if pulled.batches:
            await self.joiner.join_if_useful()  # it may be over now
        return pulled

    async def write_if_due(self) -> bool:
        """Write a checkpoint if one is due: whether one counts now that did not before.

        What waits to be shipped first is published by a later call. ``CloudError``, the store's errors.
        """
        try:
            if self._draft is None:
                if not await self._is_due():
                    return False
                self._draft = await self.writer.scan()
            manifest = await self.writer.publish(self._draft)
        except NotShippedYet:
            return False
        except StateNotReady:
            self._draft = None
            return False
        self._manifests[self._draft.name] = manifest
        self._draft = None
        return True

    async def _is_due(self) -> bool:
        if not self._settings.checkpoint_changes or self._state.joining() is not None:
            return False
        outs = frozenset(read_register(self._log.statements()).removed)
        if self.is_wanted():
            return True
        if self._looked == outs and not self._is_due_beside_known():
            return False
        names = await list_checkpoint_names(self._cloud)
        known = {name: self._manifests[name] for name in names if name in self._manifests}
        for name in names:
            if name not in known:
                found = await read_manifest(self._cloud, self._keyring, name, self._refresh_keys)
                known[name] = found.manifest
        self._manifests, self._looked = known, outs
        return self._is_due_beside_known()

    def _is_due_beside_known(self) -> bool:
        """Whether one is due, if the bucket holds what it held when it was looked at."""
        identity = self._log.identity()
        patience = 1 + PATIENCE * identity.site[0] / 256
        known = self._log.shipped().seq + sum(position.seq for position in self._log.pulled().values())
        limit = self._settings.checkpoint_changes * patience
        holds = self._state.subscribed()
        out = read_register(self._log.statements()).removed  # who joins leaves theirs alone (``joining``)
        counting = [manifest for name, manifest in self._manifests.items() if manifest and name.origin[0] not in out]
        fitting = [manifest for manifest in counting if covers_all(manifest.holds, holds)]
        lost = [manifest for name, manifest in self._manifests.items() if manifest and name.origin[0] in out]
        if not all(any(replaces(one, other) for one in fitting) for other in lost) or self._is_own_log_long(patience):
            return True
        if not fitting:
            return known >= limit
        covered = max(sum(log.position.seq for log in manifest.vector.values()) for manifest in fitting)
        newest_ms = max(manifest.made_ms for manifest in fitting)
        is_old = self._wall_ms() - newest_ms >= self._settings.checkpoint_interval_s * 1000 * patience
        return known - covered >= (limit / 10 if is_old else limit)

    def _is_own_log_long(self, patience: float) -> bool:
        """Whether the own log has grown so long behind this site's newest checkpoint that it is time for another."""
        identity, batches = self._log.identity(), self._settings.checkpoint_batches * patience
        own = [one for name, one in self._manifests.items() if one and name.origin[0] == identity.site]
        log = (identity.site, identity.incarnation)
        covered = max((one.vector[log].position.n for one in own if log in one.vector), default=0)
        newest_ms = max((one.made_ms for one in own), default=0)
        is_old = not 0 <= self._wall_ms() - newest_ms < self._settings.checkpoint_interval_s * 1000
        return bool(batches) and is_old and self._log.shipped().n - covered >= batches

    def _tell(self, progress: JoinProgress) -> None:
        self.progress = progress
        if progress.slices % SLICES_TO_TELL == 0:
            self.on_progress()
