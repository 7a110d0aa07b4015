"""Reading everything back: is what the index says true, and are the bytes what was written?

Stands beside the store, for ``skerry verify`` and the scrub; may run while the site works. Passes: the index' values
have their checksums; the log's batches authenticate and chain without a gap; every live frame authenticates, decodes
and has its chunk id; what is not here is known to be in the cloud; references are counted again and compared; segment
headers are whole. Nothing is bridged or passed over in silence: each finding names segment, offset, chunk and objects.
A live frame that is bad is fetched back from the cloud where it has one (``mend``).

All passes but the counting look at one snapshot each in short transactions; a chunk that changed meanwhile is
looked up again before it is called bad. Reference counts alone are taken from one long snapshot, which must be
consistent.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from gateway.store.cloud_rows import locate_chunk
from gateway.store.codec import join_bases
from gateway.store.damaged_objects import name_objects
from gateway.store.document_format import PartRecord, decode_record
from gateway.store.errors import ChunkUnavailable, Damaged
from gateway.store.found_frames import BrokenStretch, scan_frames
from gateway.store.frames import FrameMaker
from gateway.store.hydration import Hydrator
from gateway.store.index import Transaction
from gateway.store.index_format import CHUNK_HOLDS, TABLES, ChunkPlace, decode_chunk, decode_version
from gateway.store.layout import DataDirectory
from gateway.store.local_frames import FrameAbsent, LocalFrames
from gateway.store.log import Log
from gateway.store.log_format import BATCH_HEADER_SIZE, BatchInvalid, batch_hash, decode_batch_header
from gateway.store.log_rows import scan_batches
from gateway.store.object_format import decode_object
from gateway.store.segment_check import find_bad_headers
from gateway.store.segment_format import KIND_DATA, KIND_LOG
from gateway.store.segments import SegmentReader
from gateway.store.shared import Shared
from gateway.store.views import ViewContext
from replication.sealing import SealBroken

ROWS_AT_ONCE: Final = 512
INDEX_ROWS_AT_ONCE: Final = 4096
COUNTED_AT_ONCE: Final = 1 << 20
"""Chunks whose references are counted in one pass over all records: bounds memory to some hundred megabytes."""
_ORDER_AT: Final = 8


@dataclass(frozen=True)
class BadFrame:
    """A live frame that is not what was written. ``mended``: fetched back from the cloud since; ``objects``: some of
    those that need it.
    """

    chunk_id: str
    segment: int
    offset: int
    reason: str
    mended: bool = False
    objects: tuple[str, ...] = ()


@dataclass(frozen=True)
class MissingChunk:
    """A chunk that something needs and that is neither here nor known to be in the cloud; some objects that do."""

    chunk_id: str
    objects: tuple[str, ...] = ()


@dataclass(frozen=True)
class WrongCount:
    """A chunk whose recorded reference count is not what the records add up to."""

    chunk_id: str
    recorded: int
    counted: int


@dataclass(frozen=True)
class VerifyReport:
    """What was read and what was found. ``sound`` if nothing is wrong, or everything that was is mended."""

    batches: int
    chunks: int
    frame_bytes: int
    only_in_cloud: int
    bad_batches: tuple[str, ...] = ()
    bad_frames: tuple[BadFrame, ...] = ()
    missing: tuple[MissingChunk, ...] = ()
    wrong_counts: tuple[WrongCount, ...] = ()
    broken_stretches: tuple[BrokenStretch, ...] = ()
    bad_segments: tuple[str, ...] = ()
    bad_rows: tuple[str, ...] = ()

    @property
    def sound(self) -> bool:
        """Whether every byte that is needed can be had, and the index is right."""
        mended = all(frame.mended for frame in self.bad_frames)
        index = self.wrong_counts or self.bad_rows
        return mended and not (self.bad_batches or self.missing or self.bad_segments or index)


@dataclass(frozen=True)
class VerifySetup:
    """What verifying needs of the store."""

    directory: DataDirectory
    shared: Shared
    segments: SegmentReader
    frames: FrameMaker
    log: Log
    local: LocalFrames
    view: Callable[[], ViewContext]


Progress = Callable[[str, int, int], None]
"""Told (what, done, of how many), on the verifying thread."""


class LogPlace(NamedTuple):
    """A batch that was checked, and its hash, which the next must name; (0, None): before the first."""

    number: int
    hash: bytes | None


class RowPlace(NamedTuple):
    """Where checking the index' rows goes on: a table, by its place among ``TABLES``, and a key of it."""

    table: int = 0
    after: bytes = b""


@dataclass
class Findings:
    """What a verifier found so far; ``bad_frames``: chunk id, where its frame lies, and why."""

    batches: int = 0
    chunks: int = 0
    frame_bytes: int = 0
    only_in_cloud: int = 0
    bad_batches: list[str] = field(default_factory=list)
    bad_frames: list[tuple[bytes, ChunkPlace, str]] = field(default_factory=list)
    missing: list[MissingChunk] = field(default_factory=list)
    wrong_counts: list[WrongCount] = field(default_factory=list)
    broken: list[BrokenStretch] = field(default_factory=list)
    bad_segments: list[str] = field(default_factory=list)
    bad_rows: list[str] = field(default_factory=list)
    objects: dict[bytes, tuple[str, ...]] = field(default_factory=dict)
    """Chunk id → some objects that need it, for what is bad or missing."""


async def verify(
    setup: VerifySetup, executor: Executor, hydrator: Hydrator | None = None, progress: Progress | None = None
) -> VerifyReport:
    """Verify everything on a thread; then, with a ``hydrator``, mend what the cloud has."""
    verifier = Verifier(setup, progress or (lambda what, done, total: None))
    loop = asyncio.get_running_loop()
    found = await loop.run_in_executor(executor, verifier.run)
    bad = [
        BadFrame(
            *(chunk_id.hex(), place.number, place.offset, reason, await mend(hydrator, chunk_id, reason)),
            found.objects.get(chunk_id, ()),
        )
        for chunk_id, place, reason in found.bad_frames
    ]
    missing = [MissingChunk(one.chunk_id, found.objects.get(bytes.fromhex(one.chunk_id), ())) for one in found.missing]
    return VerifyReport(
        *(found.batches, found.chunks, found.frame_bytes, found.only_in_cloud),
        *(tuple(found.bad_batches), tuple(bad), tuple(missing)),
        *(tuple(found.wrong_counts), tuple(found.broken), tuple(found.bad_segments)),
        tuple(found.bad_rows),
    )


async def mend(hydrator: Hydrator | None, chunk_id: bytes, reason: str) -> bool:
    """Fetch a bad chunk back; whether its local frame is good now."""
    if hydrator is None or hydrator.fetcher is None:
        return False
    try:
        await hydrator.mend_chunk(chunk_id, Damaged(reason))
    except (Damaged, ChunkUnavailable):
        return False
    return hydrator.is_whole(chunk_id)


class Verifier:
    """One verification, on one thread; ``found`` adds up."""

    def __init__(self, setup: VerifySetup, progress: Progress) -> None:
        self._setup, self._progress = setup, progress
        self.found = Findings()

    def run(self) -> Findings:
        """All passes; of an index that is damaged itself only the first: it tells nothing of the rest."""
        place: RowPlace | None = RowPlace()
        while place is not None:
            self._progress("index", place.table, len(TABLES))
            place = self.check_rows(place, INDEX_ROWS_AT_ONCE)
        if self.found.bad_rows:
            return self.found
        self._check_log()
        self._find_broken_stretches()
        self._check_chunks()
        self._count_references()
        self.check_headers()
        self.name_objects()
        return self.found

    def check_rows(self, place: RowPlace, count_max: int) -> RowPlace | None:
        """Check the index' values from a place on: where to go on; None behind the last one. One that is damaged is
        told, and the rest of its table passed over: the next start rebuilds the index.
        """
        name = TABLES[place.table]
        after, count = place.after, 0
        try:
            with self._setup.view() as view:
                table = getattr(view.transaction.tables, name)
                for key, _ in islice(view.transaction.scan(table, after), count_max):
                    after, count = key + b"\0", count + 1
        except Damaged as error:
            self.found.bad_rows.append(f"table {name}: {error}")
            count = 0
        if count == count_max:
            return RowPlace(place.table, after)
        return RowPlace(place.table + 1) if place.table + 1 < len(TABLES) else None

    def check_headers(self) -> None:
        """The headers of segments in which something is needed."""
        with self._setup.view() as view:
            self.found.bad_segments += find_bad_headers(view.transaction, self._setup.segments)

    def name_objects(self) -> None:
        """Which objects need what was found bad or missing; nothing to do if nothing was."""
        chunk_ids = [chunk_id for chunk_id, _, _ in self.found.bad_frames]
        chunk_ids += [bytes.fromhex(one.chunk_id) for one in self.found.missing]
        if chunk_ids:
            with self._setup.view() as view:
                self.found.objects = name_objects(view, self._setup.local, chunk_ids)

    def _check_log(self) -> None:
        """Every batch the index knows is where it says, authentic, and names the one before it."""
        with self._setup.view() as view:
            state = view.state()
        place = LogPlace(0, None)
        while place.number < state.batch:
            following = self.check_batches(place, ROWS_AT_ONCE)
            if following == place:
                self.found.bad_batches.append(
                    f"the index knows no batch after {place.number}, but {state.batch} were committed"
                )
                return
            place = following
            self._progress("batches", place.number, state.batch)

    def check_batches(self, place: LogPlace, count_max: int) -> LogPlace:
        """Check the batches behind a place: the place of the last one looked at; the same again at the log's end."""
        number, previous = place
        token = self._setup.shared.enter()  # a segment whose batches are sealed anew goes behind all who look
        try:
            with self._setup.view() as view:
                rows = list(islice(scan_batches(view.transaction, number + 1), count_max))
            for at, row in rows:
                if at != number + 1 and number:
                    self.found.bad_batches.append(f"batches {number + 1} to {at - 1} are missing")
                    previous = None
                number = at
                previous = self._check_batch(at, row.segment, row.offset, previous)
                self.found.batches += 1
        finally:
            self._setup.shared.leave(token)
        return LogPlace(number, previous)

    def _check_batch(self, number: int, segment: int, offset: int, previous: bytes | None) -> bytes | None:
        """Check one batch: its hash, which the next must name; None if it could not be read."""
        where = f"log segment {segment}, offset {offset}, batch {number}"
        reader = self._setup.segments
        try:
            encoded = reader.read(segment, KIND_LOG, offset, BATCH_HEADER_SIZE)
            header = decode_batch_header(encoded)
            sealed = reader.read(segment, KIND_LOG, offset + BATCH_HEADER_SIZE, header.sealed_size)
            self._setup.log.records(segment, offset)
        except (Damaged, BatchInvalid, SealBroken) as error:
            self.found.bad_batches.append(f"{where}: {error}")
            return None
        if header.number != number or (previous is not None and header.previous != previous):
            self.found.bad_batches.append(f"{where}: does not follow the batch before it")
        return batch_hash(encoded, sealed)

    def _find_broken_stretches(self) -> None:
        """Places of data segments where frames should follow one another and do not."""
        numbers = self._setup.directory.segment_numbers(KIND_DATA)
        for done, number in enumerate(numbers):
            self._progress("segments", done, len(numbers))
            token = self._setup.shared.enter()
            try:
                for _ in scan_frames(self._setup.segments, number, self.found.broken):
                    pass
            except Damaged:
                continue  # collected meanwhile; a live frame in it would be found below
            finally:
                self._setup.shared.leave(token)

    def _check_chunks(self) -> None:
        """Every live frame is read and opened; every chunk that is needed is somewhere."""
        with self._setup.view() as view:
            total = view.transaction.raw.stat(view.transaction.tables.chunks)["entries"]
        after = self.check_chunks(b"", ROWS_AT_ONCE)
        while after is not None:
            self._progress("chunks", self.found.chunks, total)
            after = self.check_chunks(after, ROWS_AT_ONCE)

    def check_chunks(self, after: bytes, count_max: int) -> bytes | None:
        """Check the chunks from an id on: where to go on; None behind the last one."""
        token = self._setup.shared.enter()
        try:
            with self._setup.view() as view:
                tables = view.transaction.tables
                rows = [
                    (key, decode_chunk(data))
                    for key, data in islice(view.transaction.scan(tables.chunks, after), count_max)
                ]
                located = {
                    key for key, row in rows if not row.local and locate_chunk(view.transaction, key) is not None
                }
            for chunk_id, row in sorted(rows, key=lambda pair: (pair[1].number, pair[1].offset)):
                self._check_chunk(chunk_id, row, chunk_id in located)
        finally:
            self._setup.shared.leave(token)
        return rows[-1][0] + b"\0" if rows else None

    def _check_chunk(self, chunk_id: bytes, row: ChunkPlace, in_cloud: bool) -> None:
        found = self.found
        found.chunks += 1
        if not row.local:
            found.only_in_cloud += in_cloud
            if row.refcount and not in_cloud:
                found.missing.append(MissingChunk(chunk_id.hex()))
            return
        try:
            _, header, ciphertext = self._setup.local.read_sealed(chunk_id, row)
            base = join_bases([self._setup.local.read_base(name) for name in header.bases]) if header.bases else b""
            self._setup.frames.open_foreign(header, ciphertext, base)
            found.frame_bytes += row.header_size + row.stored_size
        except FrameAbsent as error:
            found.bad_frames.append((chunk_id, row, f"its base is not here: {error}"))
        except Damaged as error:
            found.bad_frames.append((chunk_id, row, str(error)))

    def _count_references(self) -> None:
        """Count again what needs each chunk, in as many passes as memory asks for."""
        with self._setup.view() as view:
            transaction = view.transaction
            after = b""
            while True:
                recorded = {
                    key: decode_chunk(data).refcount
                    for key, data in islice(transaction.scan(transaction.tables.chunks, after), COUNTED_AT_ONCE)
                }
                if not recorded:
                    return
                last = max(recorded)
                self._compare(transaction, recorded, after, last)
                after = last + b"\0"

    def _compare(self, transaction: Transaction, recorded: dict[bytes, int], first: bytes, last: bytes) -> None:
        counted: Counter[bytes] = Counter()
        for chunk_id in self._references(transaction):
            if first <= chunk_id <= last:
                counted[chunk_id] += 1
        for chunk_id in recorded.keys() | counted.keys():
            if recorded.get(chunk_id, 0) != counted[chunk_id]:
                wrong = WrongCount(chunk_id.hex(), recorded.get(chunk_id, 0), counted[chunk_id])
                self.found.wrong_counts.append(wrong)

    def _references(self, transaction: Transaction) -> Iterator[bytes]:
        """Every reference that something holds: versions, parts, pages and patches."""
        tables = transaction.tables
        for key, data in transaction.scan(tables.versions):
            row = decode_version(key[_ORDER_AT:], data)
            if not row.dead:
                yield from (ref.id for ref in decode_object(row.body).refs())
        for _, data in transaction.scan(tables.parts):
            yield from (ref.id for ref in decode_record(PartRecord, data).content)
        for chunk_id, data in transaction.scan(tables.chunks):
            place = decode_chunk(data)
            yield from (base.chunk_id for base in place.bases)
            if place.flags & CHUNK_HOLDS:
                try:
                    yield from (ref.id for ref in self._setup.local.children(chunk_id, place))
                except (Damaged, FrameAbsent):
                    continue  # named as a bad frame already; its children's counts will look too high
