"""The writer of content: takes a body piece by piece on the event loop and turns it into durable (or inline) chunks.

Stands between the operations (it is the ``ContentWriter`` of ``ports``) and ``chunk_writer``, which does the work on a
thread. While a thread cuts, hashes, encodes, seals and appends one block, the next is taken from the caller: a block in
work and a block being filled per writer, both counted against the process' byte budget. Small bodies (up to
``INLINE_MAX``) never leave the loop and cost no sync of their own.

Invariants: from ``__aenter__`` to ``__aexit__`` the writer's collection epoch is registered, so that what it
deduplicated against stays; its staged chunks are released when it exits, whatever happened, but never before its
thread is done; ``finish`` returns only when every chunk it names is on stable storage or rides with the commit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from gateway.store.budget import ByteBudget
from gateway.store.chunk_writer import INLINE_MAX, ChunkWriter, WriteTools
from gateway.store.chunking import Cutter
from gateway.store.ports import Content
from gateway.store.shared import Shared
from replication.change_format import Ref

BLOCK_SIZE: Final = 1 << 20
"""What is handed to the thread at a time."""
WRITE_BACK_SIZE: Final = 32 << 20
"""After so many appended bytes a sync is begun beside the work, so that the last one has little left to do."""


class SyncGate:
    """Syncs shared by all writers of the process.

    Who comes while one runs waits for the next, which covers all of them.
    """

    def __init__(self, sync: Callable[[], None], executor: Executor) -> None:
        self._sync, self._executor = sync, executor
        self._lock = asyncio.Lock()
        self._next: asyncio.Task[None] | None = None

    async def sync(self) -> None:
        """Everything appended before this call is durable."""
        await asyncio.shield(self.begin())

    def begin(self) -> asyncio.Task[None]:
        """Begin a sync of everything appended so far (or join the next); failures raise where it is awaited."""
        if self._next is None:
            self._next = asyncio.get_running_loop().create_task(self._round())
            self._next.add_done_callback(_mark_retrieved)
        return self._next

    async def _round(self) -> None:
        async with self._lock:
            self._next = None
            await asyncio.get_running_loop().run_in_executor(self._executor, self._sync)


@dataclass(frozen=True)
class WriterSetup:
    """What every writer of the process is made with."""

    tools: WriteTools
    shared: Shared
    gate: SyncGate
    budget: ByteBudget
    executor: Executor


class BodyWriter:
    """Takes one body. See ``ports.ContentWriter``."""

    def __init__(
        self, setup: WriterSetup, make_cutter: Callable[[], Cutter], make_chunks: Callable[[object], ChunkWriter]
    ) -> None:
        self._setup = setup
        self._make_cutter = make_cutter
        self._chunks = make_chunks(self)
        self._cutter: Cutter | None = None
        self._pending: list[memoryview] = []
        self._pending_bytes = 0
        self._size = 0
        self._job: asyncio.Future[None] | None = None
        self._failure: BaseException | None = None
        self._refs: tuple[Ref, ...] = ()
        self._written_back = 0
        self._charged = 0
        self._token: int | None = None

    async def __aenter__(self) -> BodyWriter:
        self._token = self._setup.shared.enter()
        return self

    async def __aexit__(self, *exc: object) -> None:
        if self._job is not None:
            self._job.add_done_callback(lambda job: self._release())
        else:
            self._release()

    @property
    def held_bytes(self) -> int:
        """Bytes of the budget this writer holds."""
        return self._charged

    def shed(self) -> bool:
        """Write out what is held now, at the cost of an odd chunk."""
        if self._job is not None or self._failure or not self._pending_bytes + self._kept_bytes():
            return False
        self._start_job(self._process_all)
        return True

    async def write(self, data: bytes | memoryview) -> None:
        """Take some plaintext. Raises what went wrong with earlier bytes, too."""
        view = memoryview(data if isinstance(data, bytes) else bytes(data))
        for start in range(0, len(view), BLOCK_SIZE):
            await self._take(view[start : start + BLOCK_SIZE])

    async def finish(self) -> Content:
        """See ``ports.ContentWriter.finish``."""
        if self._size <= INLINE_MAX and self._cutter is None and self._job is None:
            self._raise_failure()
            if self._size:
                reserve = self._setup.tools.reserve
                if not reserve.is_fresh(2 * INLINE_MAX):  # asked where it may block: on the loop it is a comparison
                    await asyncio.get_running_loop().run_in_executor(self._setup.executor, reserve.ask, 2 * INLINE_MAX)
                whole = self._pending[0].obj if len(self._pending) == 1 else None
                body = whole if isinstance(whole, bytes) and len(whole) == self._size else b"".join(self._pending)
                self._refs = self._chunks.write_inline(body)
        else:
            await self._wait_job()
            await asyncio.wait([self._start_job(self._process_last)])
            self._raise_failure()
        if self._chunks.must_sync:
            await self._setup.gate.sync()
        return Content(self._refs, self._size)

    async def _take(self, piece: memoryview) -> None:
        if not self._setup.budget.try_take(self, len(piece)):
            await self._setup.budget.take(self, len(piece))
        self._charged += len(piece)
        self._raise_failure()
        self._size += len(piece)
        self._pending.append(piece)
        self._pending_bytes += len(piece)
        if self._pending_bytes >= BLOCK_SIZE:
            await self._wait_job()
            if self._pending_bytes >= BLOCK_SIZE:
                self._start_job(self._process)

    def _start_job(self, work: Callable[[Sequence[memoryview]], None]) -> asyncio.Future[None]:
        """Hand what is pending to a thread. Only one job of a writer runs at a time."""
        pieces, self._pending, self._pending_bytes = self._pending, [], 0
        self._job = asyncio.get_running_loop().run_in_executor(self._setup.executor, work, pieces)
        self._job.add_done_callback(self._job_done)
        return self._job

    def _job_done(self, job: asyncio.Future[None]) -> None:
        self._job = None
        if not job.cancelled():
            self._failure = self._failure or job.exception()
        kept = self._pending_bytes + self._kept_bytes()
        freed, self._charged = self._charged - kept, kept
        self._setup.budget.give(self, freed)  # even if nothing was freed: whoever waits may now ask for the rest
        stored = self._chunks.stored_bytes
        if stored - self._written_back >= WRITE_BACK_SIZE and self._failure is None:
            self._written_back = stored
            self._setup.gate.begin()

    async def _wait_job(self) -> None:
        """Wait for the block in work, without ending it if this request is cancelled."""
        while self._job is not None:
            await asyncio.wait([self._job])
        self._raise_failure()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise self._failure

    def _kept_bytes(self) -> int:
        """Bytes taken from the caller that the last job left in memory."""
        return (self._cutter.held if self._cutter is not None else 0) + self._chunks.deferred_bytes

    def _process(self, pieces: Sequence[memoryview]) -> None:
        """On a thread: cut what was taken, and write the chunks that are complete."""
        if self._cutter is None:
            self._cutter = self._make_cutter()
        for piece in pieces:
            for chunk in self._cutter.feed(piece):
                self._chunks.write_chunk(chunk)

    def _process_all(self, pieces: Sequence[memoryview]) -> None:
        """On a thread: write everything that was taken."""
        self._process(pieces)
        assert self._cutter is not None
        for chunk in self._cutter.flush():
            self._chunks.write_chunk(chunk)
        self._chunks.settle()

    def _process_last(self, pieces: Sequence[memoryview]) -> None:
        """On a thread: write what is left, and the pages."""
        self._process_all(pieces)
        self._refs = self._chunks.close()

    def _release(self) -> None:
        if self._charged:
            freed, self._charged = self._charged, 0
            self._setup.budget.give(self, freed)
        self._setup.tools.staging.release(self)
        if self._token is not None:
            self._setup.shared.leave(self._token)
            self._token = None


def _mark_retrieved(task: asyncio.Task[None]) -> None:
    if not task.cancelled():
        task.exception()
