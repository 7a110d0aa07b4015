"""Rebuilds a site from the bucket and a key alone: the newest checkpoint and the logs behind it (or every log from its
beginning) into a fresh site, then its bytes.

The fresh site has an id of its own: the lost one's log stays what it was, and its changes are taken in like anybody's.
``close_log`` ends the lost one's log first (``--replace``), so that a machine believed lost goes on as another site
when it comes back. Interrupted, a restore goes on where it was: what was applied is durable. Without fetching bytes
the site is usable at once (they come on first read), but it is not a copy of the realm until they are there.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from replication.checkpoints import list_checkpoint_names
from replication.frame_format import decode_header
from replication.joining import Joiner, JoinProgress
from replication.log_end import end_log
from replication.ports import ChangeLog, Cloud, FoldedState, FrameLocation, Origin, PulledBatch
from replication.puller import Puller, list_heads
from replication.sealing import Keyring

CHUNKS_AT_ONCE: Final = 16
PASSES_MAX: Final = 4  # what is written while a pass runs comes with the next


class RestoreIncomplete(Exception):
    """Some of what the bucket should hold could not be restored; what could was."""


class RemoteBytes(Protocol):
    """What a store offers to restore: the bytes its live state needs and does not have."""

    def remote_only(self, after: bytes, count_max: int) -> list[FrameLocation]:
        """Frames needed (bases of patches included) and known only in the cloud, by chunk id, greater than
        ``after``.
        """

    async def bring(self, chunk_ids: Sequence[bytes]) -> int:
        """Fetch these chunks, verify and keep them, durable on return; how many bytes that were. ``CloudError`` or the
        store's errors.
        """


@dataclass(frozen=True, slots=True)
class RestoreProgress:
    """How far it is: slices of a checkpoint, batches of all logs, then chunks (whose total is not known: 0)."""

    phase: str  # "state", "changes" or "bytes"
    done: int
    total: int
    bytes: int = 0


@dataclass(frozen=True, slots=True)
class RestoreSummary:
    """What was restored. ``checkpoint_ms``: when the checkpoint was made that it began with; 0: logs were replayed."""

    logs: int
    batches: int
    changes: int
    chunks: int
    bytes: int
    checkpoint_ms: int = 0


Progress = Callable[[RestoreProgress], None]


async def restore_site(
    cloud: Cloud,
    keyring: Callable[[], Keyring],
    log: ChangeLog,
    *,
    wall_ms: Callable[[], int],
    refresh_keys: Callable[[], Awaitable[None]] | None = None,
    progress: Progress = lambda progress: None,
    remote: RemoteBytes | None = None,
    state: FoldedState | None = None,
) -> RestoreSummary:
    """Take in every log of the realm, with ``state`` by a checkpoint if there is one; with ``remote`` all bytes too.

    Raises ``ValueError`` if the site has changes of its own, ``RestoreIncomplete`` with the reasons if a log stops,
    ``CloudError``; call again to go on.
    """
    if log.last_seq():
        raise ValueError("a site that has changes of its own is not fresh: restore into an empty data directory")
    joined = batches = changes = taken_in = total = 0

    def tell_slices(at: JoinProgress) -> None:
        progress(RestoreProgress("state", at.slices, at.slices_total, at.bytes))

    def tell(batch: PulledBatch) -> None:
        nonlocal taken_in
        taken_in += 1
        progress(RestoreProgress("changes", taken_in, total))

    joiner = (
        Joiner(log, state, cloud, keyring, refresh_keys=refresh_keys, progress=tell_slices)
        if state is not None
        else None
    )
    puller = Puller(log, cloud, keyring, wall_ms=wall_ms, refresh_keys=refresh_keys, on_batch=tell)
    moved = True
    while moved:
        found = await joiner.join_if_useful(puller.cut) if joiner is not None else None
        joined = found.made_ms if found is not None else joined
        total = sum((await list_heads(cloud)).values())
        taken_in = sum(position.n for position in log.pulled().values())
        pulled = await puller.pull_round()
        batches, changes = batches + pulled.batches, changes + pulled.changes
        moved = bool(pulled.batches) or found is not None or bool(joiner is not None and joiner.may_help(puller.cut))
    stopped = {origin: state.stopped for origin, state in puller.states.items() if state.stopped}
    if stopped:
        reasons = [f"site {site.hex()}: {why}" for (site, _), why in sorted(stopped.items())]
        if puller.cut and state is None and await list_checkpoint_names(cloud):
            reasons.append(
                "the beginning of logs has left the bucket, only a checkpoint leads past it: without --history"
            )
        raise RestoreIncomplete("; ".join(reasons))
    chunks, size = await bring_all(remote, progress) if remote is not None else (0, 0)
    if joiner is not None:
        await joiner.join_if_useful()  # it is over, if all of it is here
    return RestoreSummary(len(puller.states), batches, changes, chunks, size, joined)


async def bring_all(remote: RemoteBytes, progress: Progress) -> tuple[int, int]:
    """Bring every byte the site's state needs to the site; (chunks, bytes). Memory: a few chunks."""
    chunks = size = 0
    for _ in range(PASSES_MAX):
        after = b""
        while wanted := remote.remote_only(after, CHUNKS_AT_ONCE):
            names = [decode_header(location.header).chunk_id for location in wanted]
            size += await remote.bring(names)
            chunks += len(names)
            progress(RestoreProgress("bytes", chunks, 0, size))
            after = max(names)
        if not remote.remote_only(b"", 1):
            return chunks, size
    raise RestoreIncomplete("the store still lacks bytes that it was to fetch: see what its verification says")


async def close_log(cloud: Cloud, keyring: Keyring, origin: Origin, now_ms: int) -> int:
    """End a lost site's log. Returns its last batch's number; idempotent.

    From then on whoever still runs as that site becomes a new one. ``ValueError`` if what stands there does not open.
    """
    return (await end_log(cloud, keyring, origin, now_ms)).n
