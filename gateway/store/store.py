"""The site's store, put together: what one process opens, and the operations and the daemon use.

Stands at the border of the package: ``open_store`` recovers the directory and wires segments, index, committer,
writers and readers; ``SiteStore`` is the ``Store`` of ``ports``. Opened after fork, once per process; ``close`` gives
everything back. It decides nothing itself. Opening is exclusive between processes (recovery must see no half-opened
neighbour); being open is not.
"""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from gateway.store.allocator import tune_allocator
from gateway.store.budget import ByteBudget
from gateway.store.chunk_rows import read_chunk
from gateway.store.chunk_writer import ChunkWriter, WriteTools
from gateway.store.chunking import make_cutter
from gateway.store.cloud_rows import locate_everywhere
from gateway.store.collect import Collector, CollectSetup, collect_forever
from gateway.store.commit import Committer
from gateway.store.content import BodyWriter, SyncGate, WriterSetup
from gateway.store.errors import BadDataDirectory, Damaged, StoreError
from gateway.store.evict import Evictor, EvictSetup
from gateway.store.frames import FrameMaker
from gateway.store.graveyard import StoreGraveyard
from gateway.store.holdings import StoreHoldings
from gateway.store.hydration import HydrationSetup, Hydrator
from gateway.store.index import MAP_SIZE_DEFAULT, Index, IndexUnreadable
from gateway.store.index_doubt import damage_marker, find_doubt, is_marked
from gateway.store.index_format import ChunkPlace
from gateway.store.layout import DataDirectory
from gateway.store.local_frames import CACHE_BYTES_DEFAULT, ChunkCache, FindChunk, LocalFrames
from gateway.store.log import Log
from gateway.store.loss_search import LossSearch, LostChunk, accept_losses
from gateway.store.losses import is_accepted
from gateway.store.ports import Content, ContentWriter, WriteView
from gateway.store.predecessor import Predecessor
from gateway.store.reading import Reader
from gateway.store.rebuild import Progress, Rebuilt, is_index_of, is_rebuild_needed, rebuild_index
from gateway.store.recover import recover_tail
from gateway.store.replica import Replica
from gateway.store.reserve import Reserve
from gateway.store.scrub import Scrubber, ScrubState
from gateway.store.sealed_epochs import SealedEpochs
from gateway.store.segment_check import refuse_misplaced_segments
from gateway.store.segment_format import KIND_DATA, KIND_LOG
from gateway.store.segments import Appender, SegmentReader
from gateway.store.shared import Shared, hold_lock
from gateway.store.splicing import Splicer
from gateway.store.staging import Staging
from gateway.store.state_replica import StateReplica
from gateway.store.tier_touches import NAME as TOUCHES_NAME
from gateway.store.tier_touches import Touches
from gateway.store.verify import Progress as VerifyProgress
from gateway.store.verify import VerifyReport, VerifySetup, verify
from gateway.store.views import ConfigurationCache, View, ViewContext
from replication.change_format import Ref
from replication.ports import ChunkFetcher, FrameLocation
from replication.sealing import Keyring, chunking_seed, purpose_key

Result = TypeVar("Result")
TIDY_EVERY_S: Final = 1.0


@dataclass(frozen=True)
class StoreSettings:
    """What can be chosen for a store. Sizes in bytes."""

    reserve_bytes: int = 512 << 20
    """Free space that object bytes never use: for deletes, remote changes, collection and the index."""
    map_size_bytes: int = MAP_SIZE_DEFAULT
    """Address space of the index: a limit, not an allocation."""
    write_budget_bytes: int = 64 << 20
    """Plaintext that all writers of a process hold at a time."""
    chunk_cache_bytes: int = CACHE_BYTES_DEFAULT
    """Decoded chunks kept for ranges."""
    threads: int = 4
    """Threads for cutting, hashing, sealing; as many again read."""


class SiteStore:
    """See ``ports.Store``. The parts are public for the store's own housekeeping (replica, collect, verify)."""

    def __init__(
        self,
        directory: DataDirectory,
        shared: Shared,
        index: Index,
        log: Log,
        keyring: Keyring,
        settings: StoreSettings,
        fetcher: ChunkFetcher | None,
        parts: _Parts,
        rebuilt: Rebuilt | None,
    ) -> None:
        self.directory, self.shared, self.index, self.log = directory, shared, index, log
        self.settings, self.parts = settings, parts
        self.rebuilt = rebuilt
        """What rebuilding the index found, if opening had to; ``torn`` means that a new incarnation is due."""
        self.segments, self.frames, self.appender = parts.segments, parts.frames, parts.appender
        self.chunk_cache = parts.cache
        self.local = LocalFrames(parts.segments, parts.frames, self.find_chunk, parts.cache)
        self.staging = Staging()
        self._configuration = ConfigurationCache()
        self._workers = ThreadPoolExecutor(settings.threads, "skerry-write")
        self._readers = ThreadPoolExecutor(settings.threads, "skerry-read")
        self._syncer = ThreadPoolExecutor(1, "skerry-sync")
        self._seed = chunking_seed(keyring)
        self._realm_keyring = keyring  # the oldest will do: what purposes' keys are made of never rotates
        self.committer = Committer(
            *(index, log, shared, self.staging, parts.open_pages, directory.site, self._configuration),
            lambda: time.time_ns() // 1_000_000,
            shared.ring,
        )
        self.reserve = Reserve(directory, shared, settings.reserve_bytes)
        self.committer.room.tell = self.reserve.learn
        self.gate = SyncGate(self.appender.sync, self._syncer)
        tools = WriteTools(*(self.frames, self.local, self.find_chunk, self.staging, self.appender, self.reserve))
        budget = ByteBudget(settings.write_budget_bytes)
        self._setup = WriterSetup(tools, shared, self.gate, budget, self._workers)
        hydration = HydrationSetup(
            *(tools, shared, _Locate(self.view), self.gate, self._readers, self.committer.commit)
        )
        self.hydrator = Hydrator(hydration, fetcher)
        self.touches = Touches(directory.files, directory.run / TOUCHES_NAME)
        self.reader = Reader(
            *(self.local, self.find_chunk, parts.cache, shared, self._readers, self.hydrator, self.touches)
        )
        self._splicer = Splicer(self._setup, self.reader, self._load_local_page)
        self.evictor = Evictor(
            EvictSetup(
                *(self.find_chunk, self.local, self.reader, self.hydrator, shared, self.reserve, self._readers),
                self.committer.commit,
            )
        )
        self._housekeeping = ThreadPoolExecutor(1, "skerry-collect")
        self.collector = Collector(
            CollectSetup(
                *(directory, shared, parts.segments, parts.frames, self.appender, log, self.view),
                *(self.committer.commit_blocking, parts.sealed, lambda: self.reserve.check_writable()),
            )
        )
        self.replica = Replica(
            *(directory.realm, directory.site, self.view, self.committer, log),
            *(parts.segments, shared, parts.open_pages),
        )
        self.holdings = StoreHoldings(self.view, self.committer, self.replica.read_frame, parts.sealed.count)
        self.graveyard = StoreGraveyard(self.view, self.committer)
        self.folded_state = StateReplica(directory.site, self.view, self.committer)

        self._closing = threading.Event()
        self._tidying = threading.Thread(target=self._tidy_until_closed, name="skerry-tidy", daemon=True)
        self._tidying.start()

    def realm_key(self, purpose: bytes) -> bytes:
        """A secret of the realm for one purpose; see ``ports.Store.realm_key``."""
        return purpose_key(self._realm_keyring, purpose)

    def view(self) -> ViewContext:
        """A snapshot for a few synchronous lookups."""
        return ViewContext(self.index, self.directory.site, self._configuration)

    async def commit(self, decide: Callable[[WriteView], Result]) -> Result:
        """Run ``decide`` in the site's write transaction; see ``ports.Store.commit``."""
        return await self.committer.commit(decide)

    def writer(
        self, *, replaces: Sequence[Ref] = (), offset_hint: int = 0, fixed: bool = False, local: bool = False
    ) -> ContentWriter:
        """A writer for one body; see ``ports.Store.writer``."""
        predecessor = Predecessor(replaces, self._load_local_page, offset_hint) if replaces else None
        return BodyWriter(
            self._setup,
            lambda: make_cutter(self._seed, fixed=fixed),
            lambda owner: ChunkWriter(self._setup.tools, owner, predecessor, local=local),
        )

    def read_small(self, refs: Sequence[Ref]) -> bytes | None:
        """The whole content if it is cheap to get now; see ``ports.Store.read_small``."""
        return self.reader.read_small(refs)

    def read_now(self, refs: Sequence[Ref], start: int, length: int) -> bytes | None:
        """A short range if it is cheap to get now; see ``ports.Store.read_now``."""
        return self.reader.read_now(refs, start, length)

    def read(self, refs: Sequence[Ref], start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Plaintext of a range; see ``ports.Store.read``."""
        return self.reader.read(refs, start, length)

    async def splice(self, refs: Sequence[Ref], *, replaces: Sequence[Ref] = ()) -> Content:
        """One content out of the refs of several; see ``ports.Store.splice``."""
        return await self._splicer.splice(refs, replaces)

    async def evict(self, refs: Sequence[Ref]) -> int:
        """Give up the local copy of what only these refs need; see ``ports.Store.evict``."""
        return await self.evictor.evict(refs)

    async def fetch_local(self, refs: Sequence[Ref]) -> int:
        """Have all of it on this site again; see ``ports.Store.fetch_local``."""
        return await self.evictor.fetch_local(refs)

    def find_chunk(self, chunk_id: bytes) -> ChunkPlace | None:
        """A chunk's row in a snapshot of now."""
        with self.index.begin_read() as transaction:
            return read_chunk(transaction, chunk_id)

    def set_fetcher(self, fetcher: ChunkFetcher | None) -> None:
        """Where bytes that are only in the cloud come from."""
        self.hydrator.fetcher = fetcher

    def set_keyring(self, keyring: Keyring) -> None:
        """Use a newer keyring of the same realm: more epochs, perhaps another current one."""
        self.frames.keyring = keyring
        self.log.keyring = keyring
        self.appender.set_epoch(keyring.current)
        self.parts.log_appender.set_epoch(keyring.current)

    async def collect(self, report: Callable[[StoreError], None]) -> None:
        """Take back dead space until cancelled; one process of the site is elected to.

        ``report`` is told of failures.
        """
        await collect_forever(self.collector, self.directory, self._housekeeping, report)

    async def verify(self, *, mend: bool = False, progress: VerifyProgress | None = None) -> VerifyReport:
        """Read everything back; with ``mend``, fetch what is bad from the cloud. ``progress`` is told on a thread."""
        return await verify(self._verify_setup(), self._housekeeping, self.hydrator if mend else None, progress)

    async def find_losses(self) -> list[LostChunk]:
        """What replication waits for and cannot be had, neither here nor from the cloud."""
        setup = self._verify_setup()
        search = LossSearch(self.replica, self.shared, setup.local, self.hydrator, self._housekeeping, self.view)
        return await search.find()

    async def accept_losses(self, lost: Sequence[LostChunk]) -> int:
        """Say that these chunks are lost: how many were, still."""
        return await self.committer.commit(lambda decision: accept_losses(decision, lost))

    def scrubber(self, state: ScrubState) -> Scrubber:
        """Verification in small steps, going on where ``state`` says; whatever is bad is fetched from the cloud."""
        return Scrubber(self._verify_setup(), self._housekeeping, self.hydrator, state)

    def _verify_setup(self) -> VerifySetup:
        return VerifySetup(
            *(self.directory, self.shared, self.segments, self.frames, self.log),
            *(LocalFrames(self.segments, self.frames, self.find_chunk, ChunkCache(0)), self.view),
        )

    @property
    def sealed(self) -> SealedEpochs:
        """Under which epochs what lies in the segments is sealed."""
        return self.parts.sealed

    @property
    def is_index_damaged(self) -> bool:
        """Whether something in the index was found damaged: the next start rebuilds it."""
        return is_marked(self.directory)

    def tidy(self) -> None:
        """What each process does for the site's collection: let go of files that were unlinked, and append no more to
        a segment that is mostly dead. Any thread.
        """
        self.collector.let_go_of_files()
        asked = self.shared.asked_to_seal()
        self.appender.seal(asked)
        self.log.seal(asked)

    def _tidy_until_closed(self) -> None:
        while not self._closing.wait(TIDY_EVERY_S):
            self.tidy()

    def close(self) -> None:
        """Finish what waits to be committed and give everything back. No request may be under way."""
        self._closing.set()
        self._tidying.join()
        self._housekeeping.shutdown()
        self.committer.close()
        for executor in (self._workers, self._readers, self._syncer):
            executor.shutdown()
        self.parts.close()
        self.index.close()
        self.touches.close()
        self.shared.close()

    def _load_local_page(self, ref: Ref) -> Sequence[Ref] | None:
        place = self.find_chunk(ref.id)
        return self.local.children(ref.id, place) if place is not None and place.local else None


@dataclass(frozen=True)
class _Parts:
    """What is there before there is an index."""

    segments: SegmentReader
    frames: FrameMaker
    cache: ChunkCache
    appender: Appender
    log_appender: Appender
    open_pages: Callable[[FindChunk], LocalFrames]
    sealed: SealedEpochs

    def close(self) -> None:
        """Give descriptors back."""
        self.appender.close()
        self.log_appender.close()
        self.segments.close()


class _Locate:
    """Where frames lie in the cloud, from a snapshot of now."""

    def __init__(self, view: Callable[[], AbstractContextManager[View]]) -> None:
        self._view = view

    def chunk(self, chunk_id: bytes) -> FrameLocation | None:
        """Some frame of a chunk."""
        with self._view() as view:
            return view.locate(chunk_id)

    def places(self, chunk_id: bytes) -> list[FrameLocation]:
        """Every place of every frame of a chunk, best first."""
        with self._view() as view:
            return locate_everywhere(view.transaction, chunk_id)

    def is_lost(self, chunk_id: bytes) -> bool:
        """Whether it was accepted that the chunk is nowhere."""
        with self._view() as view:
            return is_accepted(view.transaction, chunk_id)


def open_store(
    directory: DataDirectory,
    keyring: Keyring,
    settings: StoreSettings | None = None,
    fetcher: ChunkFetcher | None = None,
    progress: Progress = lambda what, done, total: None,
) -> SiteStore:
    """Open the store of a data directory in this process, recovering first whatever its log has and its index lacks.

    An index that is missing or cannot be read is rebuilt from the segments (``progress`` is told), which may take
    minutes. ``Damaged`` if the log cannot be followed, ``FormatTooNew`` if a newer Skerry wrote it,
    ``BadDataDirectory``.
    """
    settings = settings or StoreSettings()
    tune_allocator()
    with _opening(directory) as shared:
        parts = _make_parts(directory, keyring, settings, shared)
        try:
            if shared.live_processes() == 1:
                refuse_misplaced_segments(directory, parts.segments)
            log = Log(directory, parts.log_appender, parts.segments, keyring, shared)
            index, rebuilt = _open_index(directory, settings, shared, log, parts, progress)
            try:
                # Read-only and others alive: the log's end may not be durable, so it must not be taken in.
                if shared.must_reverify or not shared.read_only:
                    recover_tail(index, log, directory.site, parts.open_pages, from_disk=shared.must_reverify)
                if shared.must_reverify:
                    shared.end_read_only()
            except BaseException:
                index.close()
                raise
        except BaseException:
            parts.close()
            raise
    return SiteStore(directory, shared, index, log, keyring, settings, fetcher, parts, rebuilt)


def rebuild_store_index(
    directory: DataDirectory,
    keyring: Keyring,
    settings: StoreSettings | None = None,
    progress: Progress = lambda what, done, total: None,
) -> Rebuilt:
    """Make the index anew from the segments. ``BadDataDirectory`` if another process has the store open."""
    settings = settings or StoreSettings()
    with _opening(directory) as shared:
        try:
            parts = _make_parts(directory, keyring, settings, shared)
            try:
                refuse_misplaced_segments(directory, parts.segments)
                log = Log(directory, parts.log_appender, parts.segments, keyring, shared)
                doubt = find_doubt(directory, shared) if shared.live_processes() == 1 else None
                return _rebuild(directory, settings, shared, log, parts, progress, is_doubtful=doubt is not None)
            finally:
                parts.close()
        finally:
            shared.close()


@contextmanager
def _opening(directory: DataDirectory) -> Iterator[Shared]:
    """Be the only process that opens; on errors the shared slot is given back."""
    with hold_lock(directory.files, directory.run / "opening"):
        shared = Shared(directory)
        try:
            yield shared
        except BaseException:
            shared.close()
            raise


def _open_index(
    directory: DataDirectory, settings: StoreSettings, shared: Shared, log: Log, parts: _Parts, progress: Progress
) -> tuple[Index, Rebuilt | None]:
    """The index, rebuilt if it is in doubt, cannot be used, or does not know a log that is there."""
    on_damage, alone = damage_marker(directory), shared.live_processes() == 1
    doubt = find_doubt(directory, shared) if alone else None
    if doubt is None:
        try:
            index = Index(directory.index, settings.map_size_bytes, on_damage)
            doubt = None if is_index_of(index, directory.site) else "the index is of another site"
            if doubt is None and not is_rebuild_needed(index, log):
                return index, None
            index.close()
        except IndexUnreadable:
            if not alone:
                raise
    try:
        rebuilt = _rebuild(directory, settings, shared, log, parts, progress, is_doubtful=doubt is not None)
    except Damaged as error:
        if doubt is None:
            raise
        raise Damaged(f"{doubt}, and it cannot be rebuilt: {error}") from error
    return Index(directory.index, settings.map_size_bytes, on_damage), rebuilt


def _rebuild(
    directory: DataDirectory,
    settings: StoreSettings,
    shared: Shared,
    log: Log,
    parts: _Parts,
    progress: Progress,
    *,
    is_doubtful: bool = False,
) -> Rebuilt:
    if shared.live_processes() > 1:
        raise BadDataDirectory(
            "the index cannot be rebuilt while another process uses the data directory: stop it first"
        )
    return rebuild_index(
        *(directory, log, parts.segments, parts.open_pages),
        map_size=settings.map_size_bytes,
        from_disk=shared.must_reverify,
        is_doubtful=is_doubtful,
        progress=progress,
    )


def _make_parts(directory: DataDirectory, keyring: Keyring, settings: StoreSettings, shared: Shared) -> _Parts:
    segments = SegmentReader(directory, directory.files)
    frames = FrameMaker(keyring)
    cache = ChunkCache(settings.chunk_cache_bytes)

    def make_appender(kind: int) -> Appender:
        return Appender(
            *(directory, directory.files, kind, directory.realm, directory.site, keyring.current),
            on_open=lambda number: shared.set_open_segment(kind, number),
            on_sync_failure=shared.set_read_only,
        )

    return _Parts(
        *(segments, frames, cache, make_appender(KIND_DATA), make_appender(KIND_LOG)),
        lambda find: LocalFrames(segments, frames, find, cache),
        SealedEpochs(directory, segments, shared),
    )
