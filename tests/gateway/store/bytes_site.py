"""The bytes half of a store, with a dictionary in place of the index: for tests of writing and reading chunks."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from gateway.store.budget import ByteBudget
from gateway.store.chunk_writer import INLINE_MAX, ChunkWriter, WriteTools
from gateway.store.chunking import make_cutter
from gateway.store.content import BodyWriter, SyncGate, WriterSetup
from gateway.store.files import Files
from gateway.store.frames import FrameMaker
from gateway.store.index_format import ChunkPlace, placed_chunk
from gateway.store.layout import DataDirectory
from gateway.store.local_frames import ChunkCache, LocalFrames
from gateway.store.ports import Content
from gateway.store.predecessor import Predecessor
from gateway.store.reserve import Reserve
from gateway.store.segment_format import KIND_DATA
from gateway.store.segments import Appender, SegmentReader
from gateway.store.shared import Shared
from gateway.store.staging import INLINE, Staging
from replication.change_format import Ref
from replication.sealing import Keyring, chunking_seed

REALM, SITE, EPOCH = b"r" * 16, b"s" * 16, b"e" * 16
KEYRING = Keyring(REALM, b"c" * 32, {EPOCH: b"k" * 32}, EPOCH)


class BytesSite:
    """One process' bytes half. ``commit`` does what the committer does with chunks, in memory."""

    def __init__(self, path: Path, files: Files | None = None, budget: int = 64 << 20, **appender: int) -> None:
        files = files or Files()
        if DataDirectory.is_stamped(path):
            self.directory = DataDirectory.open(path, files=files)
        else:
            self.directory = DataDirectory.create(path, REALM, SITE, files)
        self.files = files
        self.rows: dict[bytes, ChunkPlace] = {}
        self.shared = Shared(self.directory)
        self.reader = SegmentReader(self.directory, files)
        self.frames = FrameMaker(KEYRING)
        self.cache = ChunkCache()
        self.local = LocalFrames(self.reader, self.frames, self.rows.get, self.cache)
        self.staging = Staging()
        self.appender = Appender(
            *(self.directory, files, KIND_DATA, REALM, SITE, EPOCH),
            on_open=lambda number: self.shared.set_open_segment(KIND_DATA, number),
            on_sync_failure=self.shared.set_read_only,
            **appender,
        )
        self.executor = ThreadPoolExecutor(2)
        self.appended = 0
        reserve = Reserve(self.directory, self.shared, 0)
        check = reserve.check
        reserve.check = lambda size: (check(size), self._count(size))[0]  # type: ignore[method-assign]
        tools = WriteTools(self.frames, self.local, self.rows.get, self.staging, self.appender, reserve)
        self.budget = ByteBudget(budget)
        gate = SyncGate(self.appender.sync, self.executor)
        self.setup = WriterSetup(tools, self.shared, gate, self.budget, self.executor)

    def _count(self, size: int) -> None:
        if size != 2 * INLINE_MAX:  # that is a writer asking ahead, where it may block, when the last answer is old
            self.appended += size

    def writer(self, replaces: tuple[Ref, ...] = (), offset_hint: int = 0, *, fixed: bool = False) -> BodyWriter:
        predecessor = Predecessor(replaces, self._load_page, offset_hint) if replaces else None
        seed = chunking_seed(KEYRING)
        return BodyWriter(
            self.setup,
            lambda: make_cutter(seed, fixed=fixed),
            lambda owner: ChunkWriter(self.setup.tools, owner, predecessor),
        )

    def _load_page(self, ref: Ref) -> tuple[Ref, ...] | None:
        place = self.rows.get(ref.id)
        return self.local.children(ref.id, place) if place else None

    async def put(
        self,
        data: bytes,
        replaces: tuple[Ref, ...] = (),
        offset_hint: int = 0,
        step: int = 1 << 18,
        *,
        fixed: bool = False,
    ) -> Content:
        async with self.writer(replaces, offset_hint, fixed=fixed) as writer:
            for start in range(0, len(data), step):
                await writer.write(data[start : start + step])
            content = await writer.finish()
            self.commit(content.refs)
        return content

    def commit(self, refs: tuple[Ref, ...]) -> None:
        """Place what is staged, with everything below it."""
        for ref in refs:
            staged = self.staging.get(ref.id)
            if staged is None or ref.id in self.rows:
                assert ref.id in self.rows, "a content names a chunk that is nowhere"
                continue
            number, offset = staged.number, staged.offset
            if number == INLINE:
                number, offset = self.appender.append([staged.encoded_header, staged.ciphertext])
            self.rows[ref.id] = placed_chunk(staged.header, KIND_DATA, number, offset, 1, 0)
            self.commit(staged.children)

    def close(self) -> None:
        self.executor.shutdown()
        self.appender.close()
        self.reader.close()
        self.shared.close()
