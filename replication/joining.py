"""Joins the newest usable checkpoint of the realm: a new site need not replay every log from its beginning.

Stands before ``puller``: what a checkpoint tells is joined slice by slice (``FoldedState``), then pulling goes on from
its vector. A checkpoint helps

* a site that has taken in nothing yet, and
* one whose puller found a log cut behind it: of the realm's logs, what every member had seen may be gone.

Before anything is read the site must be announced (its first batch is in the bucket): from then on nothing it still
needs is deleted. Should a log have been cut behind a checkpoint all the same, or a checkpoint be deleted while it is
read, another one is taken; checkpoints of different sites complete each other, since each is a state that joins into
any other. One that was interrupted goes on with its next slice if it still stands.

Nothing is acknowledged before the last slice is joined; the join is over when all logs are taken in as far as the scan,
or the heads at its beginning, reached. A checkpoint that holds some buckets only is never used by who takes in more.

A site that is out (``out_name``) may have told, in its checkpoints, of changes behind its cut, which are nobody's any
more or were issued anew; whoever joined them would raise that cut after all others had agreed on it. So such a
checkpoint is left alone unless logs are cut behind this site, and then it comes last.

A checkpoint whose writer had taken in more of this site's own log than is known here to be shipped is left alone until
that is settled (a lost reply, a rolled back machine): under those dots it may know other changes than this site has.

Without a usable checkpoint nothing is joined, and the logs are replayed. Not here: the writer, what a slice means.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass, field

from replication.change_format import ChangeInvalid
from replication.checkpoint_format import Manifest, PartEntry, decode_part
from replication.checkpoints import CheckpointName, FoundCheckpoint, list_checkpoints
from replication.cloud_names import checkpoint_part_name, log_name, log_prefix
from replication.member_format import read_register
from replication.ports import (
    ChangeLog,
    Cloud,
    CloudError,
    CloudRefused,
    CloudUnreachable,
    FoldedState,
    JoinState,
    LogPosition,
    Origin,
)
from replication.puller import list_heads_and_outs
from replication.sealing import Keyring, KeyUnknown
from replication.subscription import covers_all


@dataclass(frozen=True, slots=True)
class JoinProgress:
    """How far a join is: slices, and bytes of the parts read."""

    slices: int
    slices_total: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Joined:
    """What was joined: whose checkpoint and which, when it was made, its slices and bytes."""

    origin: Origin
    n: int
    made_ms: int
    slices: int
    bytes: int


class _Unusable(Exception):
    """This checkpoint cannot be joined; says why."""


@dataclass(slots=True)
class _Candidate:
    name: CheckpointName
    manifest: Manifest
    gaps: Collection[Origin] = field(default=())
    out: bool = False


class Joiner:
    """Joins for one site. ``batches_min``: replaying fewer batches than that is not worth a checkpoint.
    ``problems`` tells why checkpoints were not usable.
    """

    def __init__(
        self,
        log: ChangeLog,
        state: FoldedState,
        cloud: Cloud,
        keyring: Callable[[], Keyring],
        *,
        refresh_keys: Callable[[], Awaitable[None]] | None = None,
        batches_min: int = 0,
        progress: Callable[[JoinProgress], None] = lambda progress: None,
    ) -> None:
        self._log, self._state, self._cloud, self._keyring = log, state, cloud, keyring
        self._refresh_keys, self._batches_min = refresh_keys, batches_min
        self._progress = progress
        self.problems: dict[str, str] = {}
        self._tried: dict[Origin, LogPosition] = {}
        self._waits = False

    def may_help(self, cut: Mapping[Origin, LogPosition]) -> bool:
        """Whether there are cut logs that no checkpoint was looked for yet, as they stand."""
        return any(self._tried.get(log) != position for log, position in cut.items())

    async def join_if_useful(self, cut: Mapping[Origin, LogPosition] | None = None) -> Joined | None:
        """Join what helps: a join that was interrupted, or the newest checkpoint for a site that has taken in nothing,
        or one that leads past the logs in ``cut``, which end, for this site, behind these positions.

        Raises ``CloudUnreachable`` or ``CloudRefused``, and the store's errors; else whatever could be joined was.
        """
        under_way = self._state.joining()
        if under_way is not None and under_way.folded:
            if self._has_reached(under_way.targets):
                await self._state.finish_join()
            if not cut:
                return None
        elif under_way is None and self._log.pulled() and not cut:
            return None
        self._tried = dict(cut or {})
        heads, outs = await list_heads_and_outs(self._cloud)
        interrupted = under_way if under_way is not None and not under_way.folded else None
        found = await list_checkpoints(self._cloud, self._keyring, self._refresh_keys)
        for candidate in await self._order(found, heads, outs, cut or {}, interrupted):
            try:
                return await self._join(candidate, heads, interrupted)
            except _Unusable as problem:
                self.problems[str(candidate.name)] = str(problem)
        left = self._state.joining()
        if self._waits:
            self._tried = {}  # the shipper finds out what its log holds, and then it may help
        elif left is not None and not left.folded:
            # What was joined of it stays, and the logs bring the rest. It must not go on behind what they brought.
            await self._state.finish_join()
        return None

    def _has_reached(self, targets: Mapping[Origin, int]) -> bool:
        """Whether all of it is taken in that ever will be: of a forgotten site no more than counts."""
        pulled, removed = self._log.pulled(), read_register(self._log.statements()).removed
        for log, n in targets.items():
            wanted = min(n, removed[log[0]].counts(log[1])) if log[0] in removed else n
            if pulled.get(log, LogPosition()).n < wanted:
                return False
        return True

    async def _order(
        self,
        found: list[FoundCheckpoint],
        heads: Mapping[Origin, int],
        outs: Collection[bytes],
        cut: Mapping[Origin, LogPosition],
        interrupted: JoinState | None,
    ) -> list[_Candidate]:
        """Checkpoints that help, the best first: the one that was begun, then those of sites that are not out, then
        those behind which no log was cut, then those that know most.
        """
        self.problems = {str(one.name): one.problem for one in found if one.manifest is None}
        self._waits = False
        candidates = []
        for one in found:
            manifest = one.manifest
            if manifest is None:
                continue
            if not covers_all(manifest.holds, self._state.subscribed()):
                self.problems[str(one.name)] = "it holds some buckets only"
                continue
            if _own_batches(manifest, self._own()) > self._log.shipped().n:
                self.problems[str(one.name)] = "it knows more of this site's log than this site does"
                self._waits = True
                continue
            candidate = _Candidate(one.name, manifest, out=one.name.origin[0] in outs)
            if candidate.out and not cut and not _is_begun(candidate, interrupted):
                self.problems[str(one.name)] = "its site is out, and may have told what does not count"
            elif self._helps(manifest, cut, interrupted):
                candidate.gaps = [log for log in heads if await self._is_cut(log, heads[log], manifest)]
                candidates.append(candidate)

        def rank(candidate: _Candidate) -> tuple[bool, bool, int, int]:
            known = sum(log.position.seq for log in candidate.manifest.vector.values())
            return (not _is_begun(candidate, interrupted), candidate.out, len(candidate.gaps), -known)

        return sorted(candidates, key=rank)

    def _helps(self, manifest: Manifest, cut: Mapping[Origin, LogPosition], interrupted: JoinState | None) -> bool:
        positions = {log: known.position.n for log, known in manifest.vector.items()}
        if cut:
            return any(positions.get(log, 0) > position.n for log, position in cut.items())
        others = [n for log, n in positions.items() if log != self._own()]
        return interrupted is not None or (bool(others) and sum(others) >= self._batches_min)

    async def _is_cut(self, log: Origin, head_n: int, manifest: Manifest) -> bool:
        """Whether the batch behind the checkpoint's position is gone."""
        known = manifest.vector.get(log)
        at = known.position.n if known is not None else 0
        if head_n <= at or log == self._own():
            return False
        following = await self._cloud.list(log_prefix(log), after=log_name(log, at) if at else "", count_max=1)
        return following != [log_name(log, at + 1)]

    def _own(self) -> Origin:
        identity = self._log.identity()
        return (identity.site, identity.incarnation)

    async def _join(self, candidate: _Candidate, heads: Mapping[Origin, int], interrupted: JoinState | None) -> Joined:
        name, manifest = candidate.name, candidate.manifest
        done = 0
        if interrupted is not None and _is_begun(candidate, interrupted):
            done = interrupted.slices
        else:
            own = self._own()
            targets = {log: n for log, n in heads.items() if log != own}
            for log, n in manifest.reached.items():
                targets[log] = max(n, targets.get(log, 0))
            targets.pop(own, None)
            begun = JoinState(name.origin, name.n, manifest.made_ms, manifest.vector, 0, False, targets)
            await self._state.begin_join(begun)
        number = read = 0
        following: asyncio.Task[bytes] | None = None
        try:
            for at, part in enumerate(manifest.parts):
                if number + part.slices <= done:
                    number += part.slices
                    continue
                fetch = following or self._fetch(name, part)
                following = self._fetch(name, manifest.parts[at + 1]) if at + 1 < len(manifest.parts) else None
                slices = await self._open(name, part, await _awaited(fetch))
                read += part.size
                for data in slices:
                    if number >= done:
                        await self._fold(number, data)
                        self._progress(JoinProgress(number + 1, manifest.slices, read))
                    number += 1
        finally:
            if following is not None:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
        await self._state.end_join()
        self._tried = {}  # another one may lead further
        return Joined(name.origin, name.n, manifest.made_ms, manifest.slices, read)

    def _fetch(self, name: CheckpointName, part: PartEntry) -> asyncio.Task[bytes]:
        return asyncio.create_task(self._cloud.get(checkpoint_part_name(name.origin, name.n, part.digest)))

    async def _open(self, name: CheckpointName, part: PartEntry, data: bytes) -> list[bytes]:
        for refresh in (self._refresh_keys, None):
            try:
                return decode_part(self._keyring(), name.origin, name.n, part, data)
            except KeyUnknown:
                if refresh is None:
                    break
                await refresh()
            except ValueError as error:
                raise _Unusable(str(error)) from error
        raise _Unusable("sealed under a key this site does not have")

    async def _fold(self, number: int, data: bytes) -> None:
        try:
            await self._state.fold_slice(number, data)
        except ChangeInvalid as error:
            raise _Unusable(str(error)) from error


async def _awaited(fetch: asyncio.Task[bytes]) -> bytes:
    try:
        return await fetch
    except (CloudUnreachable, CloudRefused):
        raise
    except CloudError as error:
        raise _Unusable(f"a part of it cannot be had: {error}") from error


def _own_batches(manifest: Manifest, own: Origin) -> int:
    """How many batches of that log the writer may have taken in when it told its state."""
    known = manifest.vector.get(own)
    return max(known.position.n if known is not None else 0, manifest.reached.get(own, 0))


def _is_begun(candidate: _Candidate, interrupted: JoinState | None) -> bool:
    if interrupted is None:
        return False
    same = (candidate.name.origin, candidate.name.n) == (interrupted.origin, interrupted.n)
    return same and candidate.manifest.vector == interrupted.vector
