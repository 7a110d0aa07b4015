"""Re-reads what the cloud holds and checks it against what this site knows: does the promise still hold over there?

Stands beside the puller, behind ``skerry audit-cloud``: it only reads. Three questions, each answered from the bucket
alone and compared with the site's durable record:

* **logs**: of every log this site shipped or took in, the newest ``batches_max`` batches are read back; each must open,
  have its chain hash (the newest is known here, each one tells that of the one before), and, in the site's own log,
  carry the changes of this site word for word. All other batches must stand in the listing, but for those that left the
  bucket (``log_compaction``): up to where a checkpoint stands in for them, which must be whole, and name the chain hash
  that the log has there.
* **objects**: every cloud object that this site relies on for a byte must stand in the listing.
* **frames**: a sample of the frames that something needs here, or all, are fetched and authenticated.

A finding is a definite no of the bucket, or bytes that are not what was put there. What could not be asked is
``CloudError``: unknown is not absent. Memory: the names of one log and of the objects relied on.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from replication.batch_format import chain_of, decode_batch
from replication.change_format import decode_change
from replication.checkpoints import (
    CheckpointName,
    covered_up_to,
    list_checkpoint_names,
    list_checkpoints,
    list_missing_parts,
)
from replication.cloud_names import checkpoint_name, log_name, log_prefix, split_log_name
from replication.frame_format import decode_header
from replication.hydrate import plan_ranges
from replication.listing import list_all
from replication.parting import is_same_change
from replication.ports import ChangeLog, Cloud, CloudMissing, FrameLocation, LogPosition, Origin
from replication.sampling import Sample
from replication.sealing import Keyring, SealBroken, open_frame

LOCATIONS_AT_ONCE: Final = 512
ALL_BYTES: Final = 1 << 62


class LocatedFrames(Protocol):
    """What a store offers to the audit: where the bytes lie that something on this site needs."""

    def located(self, after: bytes, count_max: int) -> list[FrameLocation]:
        """Frames in the cloud of chunks that something needs here, by chunk id, greater than ``after``."""


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is not as it should be: the object's name, and what is wrong with it."""

    name: str
    reason: str


@dataclass(frozen=True, slots=True)
class AuditLimits:
    """How much is read: batches of each log, and frames in all (None: every one)."""

    batches_max: int | None = 100
    frames_max: int | None = 1000


@dataclass(frozen=True, slots=True)
class AuditReport:
    """What was looked at, and what was found; ``sound`` if nothing is wrong."""

    logs: int
    batches_listed: int
    batches_read: int
    objects: int
    frames_known: int
    frames_read: int
    bytes_read: int
    findings: tuple[Finding, ...]

    @property
    def sound(self) -> bool:
        """Whether everything looked at is what it should be."""
        return not self.findings


Progress = Callable[[str, int, int], None]


class CloudAudit:
    """One audit of one site's realm; the same ``seed`` chooses the same frames."""

    def __init__(
        self,
        log: ChangeLog,
        frames: LocatedFrames,
        cloud: Cloud,
        keyring: Callable[[], Keyring],
        limits: AuditLimits,
        *,
        seed: bytes,
        progress: Progress = lambda phase, done, total: None,
    ) -> None:
        self._log, self._frames, self._cloud, self._keyring = log, frames, cloud, keyring
        self._limits, self._seed, self._progress = limits, seed, progress
        self._findings: list[Finding] = []
        self._listed = self._batches = self._bytes = 0
        self._covered: dict[Origin, LogPosition] = {}

    async def run(self) -> AuditReport:
        """Ask all three questions. Raises ``CloudError`` where the bucket gives no answer."""
        identity = self._log.identity()
        logs = dict(self._log.pulled())
        own = (identity.site, identity.incarnation)
        logs[own] = self._log.shipped()
        self._covered = await self._read_checkpoints()
        for done, (origin, position) in enumerate(sorted(logs.items()), 1):
            if position.n:
                await self._audit_log(origin, position, own=origin == own)
            self._progress("logs", done, len(logs))
        known, sample = self._choose_frames()
        objects = await self._audit_objects()
        read = await self._audit_frames(sample)
        counts = (len(logs), self._listed, self._batches, objects, known, read, self._bytes)
        return AuditReport(*counts, tuple(self._findings))

    async def _read_checkpoints(self) -> dict[Origin, LogPosition]:
        """How far whole checkpoints stand in for each log."""
        whole, wrong = [], dict[CheckpointName, str]()
        for found in await list_checkpoints(self._cloud, self._keyring):
            missing = await list_missing_parts(self._cloud, found)
            if found.manifest is None:
                wrong[found.name] = f"the checkpoint cannot be used: {found.problem}"
            elif missing:
                wrong[found.name] = f"the checkpoint lacks {len(missing)} of its {len(found.manifest.parts)} parts"
            else:
                whole.append(found)
        for name in (
            await list_checkpoint_names(self._cloud) if wrong else ()
        ):  # its site may have replaced it meanwhile
            if name in wrong:
                self._find(checkpoint_name(name.origin, name.n), wrong[name])
        return covered_up_to(whole)

    async def _audit_log(self, origin: Origin, position: LogPosition, *, own: bool) -> None:
        names = [name for name in await list_all(self._cloud, log_prefix(origin)) if split_log_name(name)]
        numbers = {split_log_name(name) for name in names}
        covered = self._covered.get(origin, LogPosition())
        self._listed += len(numbers)
        for n in range(covered.n + 1, position.n + 1):
            if n not in numbers:
                self._find(log_name(origin, n), "the batch is missing")
        if position.n not in numbers:
            return
        limit = self._limits.batches_max
        first = 1 if limit is None else max(1, position.n + 1 - limit)
        chain = position.chain
        for n in range(position.n, first - 1, -1):
            if n == covered.n and chain != covered.chain:
                self._find(log_name(origin, n), "the batch is not the one that a checkpoint stands in for")
            if n <= covered.n and n not in numbers:
                return
            found = await self._audit_batch(origin, n, chain, own=own)
            if found is None:
                return
            chain = found
        if first == 1 and chain != bytes(len(chain)):
            self._find(log_name(origin, 1), "the first batch names one before it")

    async def _audit_batch(self, origin: Origin, n: int, chain: bytes, *, own: bool) -> bytes | None:
        """The chain hash of the batch before; None if this one does not tell it."""
        name = log_name(origin, n)
        try:
            data = await self._cloud.get(name)
        except CloudMissing:
            self._find(name, "the batch is missing")
            return None
        self._batches, self._bytes = self._batches + 1, self._bytes + len(data)
        if chain_of(self._keyring(), origin, n, data) != chain:
            self._find(name, "the batch is not the one that was put there: its hash differs")
            return None
        try:
            batch = decode_batch(self._keyring(), origin, n, data)
            changes = [decode_change(change) for change in batch.changes]
        except ValueError as error:
            self._find(name, f"the batch does not open: {error}")
            return None
        if own and changes:
            ours = self._log.read_changes(batch.first_seq - 1, len(changes), ALL_BYTES)
            if len(ours) != len(changes) or not all(map(is_same_change, ours, batch.changes)):
                self._find(name, "the batch holds other changes than this site's log")
        return batch.chain

    def _choose_frames(self) -> tuple[int, list[FrameLocation]]:
        """How many frames are relied on, and those to read."""
        sample: Sample[FrameLocation] = Sample(self._seed, self._limits.frames_max)
        for location in self._scan():
            sample.add(decode_header(location.header).chunk_id, location)
        return sample.seen, sample.values()

    def _scan(self) -> Iterator[FrameLocation]:
        after = b""
        while found := self._frames.located(after, LOCATIONS_AT_ONCE):
            yield from found
            after = decode_header(found[-1].header).chunk_id

    async def _audit_objects(self) -> int:
        """Every object relied on stands in the bucket: how many there are. One listing for each directory of them."""
        relied_on: dict[str, set[str]] = {}
        for location in self._scan():
            directory, _, _ = location.object_name.rpartition("/")
            relied_on.setdefault(directory + "/", set()).add(location.object_name)
        done = 0
        for directory, names in sorted(relied_on.items()):
            for name in sorted(names - set(await list_all(self._cloud, directory))):
                self._find(name, "the object is missing, and bytes of this site lie in it")
            done += len(names)
            self._progress("objects", done, 0)
        return done

    async def _audit_frames(self, sample: Sequence[FrameLocation]) -> int:
        read = 0
        missing = {finding.name for finding in self._findings}
        for span in plan_ranges([place for place in sample if place.object_name not in missing]):
            try:
                data = await self._cloud.get(span.object_name, offset=span.offset, length=span.length)
            except CloudMissing:
                self._find(span.object_name, "the object is missing, and bytes of this site lie in it")
                continue
            self._bytes += len(data)
            for location in span.frames:
                self._check_frame(location, data[location.offset - span.offset :])
                read += 1
            self._progress("frames", read, len(sample))
        return read

    def _check_frame(self, location: FrameLocation, data: bytes) -> None:
        header = decode_header(location.header)
        try:
            open_frame(self._keyring(), header, data[: header.stored_size])
        except SealBroken as error:
            where = f"offset {location.offset}, chunk {header.chunk_id.hex()}"
            self._find(location.object_name, f"{where}: {error}")

    def _find(self, name: str, reason: str) -> None:
        self._findings.append(Finding(name, reason))
