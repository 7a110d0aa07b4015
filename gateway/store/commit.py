"""Group commit: one thread per process that decides, appends, syncs, indexes and only then answers.

Stands between operations (``Store.commit``) and index and log. The order of a batch, all inside the site's one write
transaction: take in what a dead process left → run each waiting decision in a nested transaction of its own (one that
raises leaves no trace) → append one batch → fdatasync → index → commit → acknowledge. Requests that arrive while the
lock is waited for join the batch. Nothing is acknowledged before the sync; nothing is retried after a failed one.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any, Final, TypeVar

import msgspec

from gateway.store.apply import Applier
from gateway.store.chunk_rows import OpenPages
from gateway.store.decision import PROVISIONAL, Decision
from gateway.store.errors import ClockWrong, DiskFull, Overloaded, ReadOnlyStore, StoreError
from gateway.store.index import INDEX_ERRORS, KEY_ERRORS, Index, Transaction
from gateway.store.log import Log
from gateway.store.log_format import Own, Record
from gateway.store.recover import restore_state, take_in_abandoned
from gateway.store.reserve import Room
from gateway.store.shared import Shared
from gateway.store.staging import StagedChunk, Staging
from gateway.store.views import ConfigurationCache

WAITING_MAX: Final = 8192
BATCH_REQUESTS_MAX: Final = 512
BATCH_BYTES_MAX: Final = 1 << 20
Result = TypeVar("Result")


class _Request(msgspec.Struct, frozen=True):
    """A waiting decision and where its result goes: ``loop`` is None for a blocking caller. ``alone``: nothing else is
    decided in its batch.
    """

    decide: Callable[[Decision], Any]
    future: Any
    loop: asyncio.AbstractEventLoop | None
    alone: bool = False


class _Outcome(msgspec.Struct, frozen=True):
    """``final``: a refusal that relied on nothing which the batch had staged, so it stands whatever comes of that."""

    request: _Request
    result: Any
    error: BaseException | None
    final: bool = False


class _Batch:
    """What the decisions of one batch add to the log."""

    __slots__ = ("bytes", "edited", "inline", "records")

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.inline: list[StagedChunk] = []
        self.edited = False
        self.bytes = 0

    def add(self, decision: Decision) -> None:
        """Take over what a decision staged."""
        self.records += decision.log_records()
        self.inline += decision.inline
        self.edited = self.edited or decision.edited
        self.bytes += decision.log_bytes + sum([len(chunk.ciphertext) for chunk in decision.inline])


class Committer:
    """The writer of one process. ``now_ms`` is its wall clock; ``committed()`` is called after each batch that changed
    something (to wake who ships)."""

    def __init__(
        self,
        index: Index,
        log: Log,
        shared: Shared,
        staging: Staging,
        open_pages: OpenPages,
        site: bytes,
        cache: ConfigurationCache,
        now_ms: Callable[[], int],
        committed: Callable[[], None] = lambda: None,
    ) -> None:
        self._index, self._log, self._shared, self._staging = index, log, shared, staging
        self._open_pages, self._site, self._cache = open_pages, site, cache
        self._now_ms, self._committed = now_ms, committed
        self.room = Room(log.directory, index)
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._gathered: dict[asyncio.AbstractEventLoop, list[_Request]] = {}
        """What an event loop was asked for in this turn of its, and has not handed over yet."""
        self._next: _Request | None = None
        """Taken from the queue, and to be decided in a batch of its own."""
        self._closing = threading.Lock()  # nothing is queued behind the end
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="skerry-commit", daemon=True)
        self._thread.start()

    async def commit(self, decide: Callable[[Decision], Result], *, alone: bool = False) -> Result:
        """Run ``decide`` in the site's write transaction; return its result once its changes are durable.

        ``alone``: in a batch of its own, so that the index has every earlier change's place in the log.
        Raises what ``decide`` raised, ``Overloaded`` at once if too much waits, ``ReadOnlyStore``, ``DiskFull``.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._gather(_Request(decide, future, loop, alone), loop)
        return await future

    def commit_blocking(self, decide: Callable[[Decision], Result]) -> Result:
        """As ``commit``, for callers without an event loop. Not on the loop's thread, not within a decision."""
        future: concurrent.futures.Future[Result] = concurrent.futures.Future()
        self._check_waiting(0)
        self._enqueue([_Request(decide, future, None)])
        return future.result()

    def close(self) -> None:
        """Finish what waits, then end the thread."""
        with self._closing:
            self._closed = True
            self._queue.put(None)
        self._thread.join()

    def _gather(self, request: _Request, loop: asyncio.AbstractEventLoop) -> None:
        """Hand a request over with all others of this turn of the loop: woken for each, the writer would contend with
        the loop for the interpreter (measured: 8 % of a small PUT).
        """
        gathered = self._gathered.get(loop)
        self._check_waiting(len(gathered) if gathered is not None else 0)
        if gathered is None:
            gathered = self._gathered[loop] = []
            loop.call_soon(self._hand_over, loop)
        gathered.append(request)

    def _hand_over(self, loop: asyncio.AbstractEventLoop) -> None:
        gathered = self._gathered.pop(loop)
        try:
            self._enqueue(gathered)
        except ReadOnlyStore as error:
            _resolve_all([_Outcome(request, None, _likeness(error)) for request in gathered])

    def _check_waiting(self, gathered: int) -> None:
        if self._closed:
            raise ReadOnlyStore("the store is closed")
        if self._queue.qsize() + gathered >= WAITING_MAX:
            raise Overloaded("too many writes are waiting: try again later")

    def _enqueue(self, requests: list[_Request]) -> None:
        with self._closing:
            if self._closed:
                raise ReadOnlyStore("the store is closed")
            for request in requests:
                self._queue.put(request)

    def _run(self) -> None:
        while (first := self._take_first()) is not None:
            outcomes = self._run_batch(first)
            try:
                self._deliver(outcomes)
            except BaseException:  # no memory, say: whoever was not told yet is told alone, and nobody waits for ever
                for outcome in outcomes:
                    with contextlib.suppress(BaseException):
                        self._deliver([outcome])

    def _take_first(self) -> _Request | None:
        request, self._next = self._next, None
        return request or self._queue.get()

    def _run_batch(self, first: _Request) -> list[_Outcome]:
        """Decide, log and index one batch: what to tell whom."""
        outcomes: list[_Outcome] = []
        taken = [first]
        try:
            with self._index.begin_write() as transaction:
                # Under the lock: whoever held it before may have failed, and what it appended must not be forked.
                if self._shared.read_only:
                    raise ReadOnlyStore("a sync of the disk failed: no writes until the site is restarted and verified")
                self.room.check()
                self._fill(transaction, taken, outcomes)
        except INDEX_ERRORS as error:
            outcomes = self._fail(taken, outcomes, self._index.translate_error(error))
        except BaseException as error:
            outcomes = self._fail(taken, outcomes, error)
        return outcomes

    def _fill(self, transaction: Transaction, taken: list[_Request], outcomes: list[_Outcome]) -> None:
        applier = Applier(transaction, self._site, transaction.load_state(), self._open_pages, hold=True)
        batch = _Batch()
        abandoned = take_in_abandoned(applier, self._log, self._shared)
        batch.edited = abandoned.changed
        now_ms = applier.chunks.now_ms = self._now_ms()
        base_generation = applier.state.generation
        while True:
            outcomes.append(self._decide(applier, taken[-1], batch, now_ms, base_generation))
            if taken[-1].alone or len(taken) >= BATCH_REQUESTS_MAX or batch.bytes >= BATCH_BYTES_MAX:
                break
            try:
                request = self._queue.get_nowait()
            except queue.Empty:
                break
            if request is None:
                self._queue.put(None)  # closing: after this batch
                break
            if request.alone:
                self._next = request
                break
            taken.append(request)
        if batch.records or batch.edited:
            self._make_durable(transaction, applier, batch, now_ms)
        for append in abandoned.appends:
            self._shared.forget_append(append)

    def _decide(
        self, applier: Applier, request: _Request, batch: _Batch, now_ms: int, base_generation: int
    ) -> _Outcome:
        """Run one decision in a nested transaction: kept whole or taken back whole."""
        transaction, state = applier.transaction, applier.state
        saved = msgspec.structs.replace(state)
        saw_committed = not batch.records and not batch.edited
        decision = Decision(applier, self._staging, now_ms, self._cache, base_generation)
        transaction.begin_nested()
        applier.chunks.begin_part()
        try:
            result = request.decide(decision)
            if self._shared.clock_wrong and any(isinstance(record, Own) for record in decision.records):
                raise ClockWrong("this site's clock is further from the cloud's than is allowed: set it right")
        except BaseException as error:
            if isinstance(error, INDEX_ERRORS) and not isinstance(error, KEY_ERRORS):
                raise
            transaction.end_nested(keep=False)
            restore_state(state, saved)
            applier.chunks.undo_part()
            return _Outcome(request, None, error, final=saw_committed)
        transaction.end_nested(keep=True)
        batch.add(decision)
        return _Outcome(request, result, None)

    def _make_durable(self, transaction: Transaction, applier: Applier, batch: _Batch, now_ms: int) -> None:
        state = applier.state
        if not batch.records:
            applier.chunks.flush()
            transaction.save_state(state)
            try:
                transaction.commit()
            except Exception as error:
                if not isinstance(self._index.translate_error(error), DiskFull):
                    self._shared.set_read_only()  # a sync of the index' pages failed, for all one knows
                raise
            return
        frames = [part for chunk in batch.inline for part in (chunk.encoded_header, chunk.ciphertext)]
        appended = self._log.append(state.batch + 1, now_ms, state.batch_hash, batch.records, frames)
        try:
            self._place_inline(applier, batch.inline, appended.segment, appended.frames_offset)
            applier.finish_batch(appended.segment, appended.offset, appended.size, appended.hash, now_ms)
            transaction.commit()
        except BaseException as error:
            # The batch is durable in the log but not in the index: a restart takes it in. Writing on would fork the
            # log.
            self._shared.set_read_only()
            raise ReadOnlyStore(f"the index failed behind the log ({error}): restart to recover") from error
        self._log.settle()
        self._committed()

    def _place_inline(self, applier: Applier, inline: list[StagedChunk], segment: int, offset: int) -> None:
        """Now that the batch has its place, so have its inline frames."""
        frames = []
        for chunk in inline:
            frames.append((chunk.header, offset))
            offset += len(chunk.encoded_header) + len(chunk.ciphertext)
        applier.chunks.settle_inline(PROVISIONAL, frames, segment)

    def _fail(self, taken: list[_Request], outcomes: list[_Outcome], error: BaseException) -> list[_Outcome]:
        """The batch came to nothing: everyone hears so, except who had been refused for what was committed before.

        Each gets an exception of its own: raising one in several tasks would tangle their tracebacks.
        """
        final = {id(outcome.request): outcome for outcome in outcomes if outcome.final}
        return [final.get(id(request)) or _Outcome(request, None, _likeness(error)) for request in taken]

    def _deliver(self, outcomes: list[_Outcome]) -> None:
        by_loop: dict[asyncio.AbstractEventLoop, list[_Outcome]] = {}
        for outcome in outcomes:
            if outcome.request.loop is None:
                _resolve(outcome)
            else:
                by_loop.setdefault(outcome.request.loop, []).append(outcome)
        for loop, group in by_loop.items():
            try:
                loop.call_soon_threadsafe(_resolve_all, group)
            except RuntimeError:  # the loop is closed: nobody waits any more
                continue


def _resolve_all(outcomes: list[_Outcome]) -> None:
    for outcome in outcomes:
        _resolve(outcome)


def _resolve(outcome: _Outcome) -> None:
    future, error = outcome.request.future, outcome.error
    if future.done():  # given up, or answered before the writer failed
        return
    if error is None:
        future.set_result(outcome.result)
    elif isinstance(error, Exception) and not isinstance(error, StopIteration):
        future.set_exception(error)
    else:  # what a future cannot carry, or what would end its loop rather than the request
        unfit = RuntimeError(f"a decision raised {type(error).__name__}: {error}")
        unfit.__cause__ = error
        future.set_exception(unfit)


def _likeness(error: BaseException) -> BaseException:
    """Another exception that says the same."""
    if isinstance(error, StoreError):
        likeness: BaseException = type(error)(*error.args)
    else:
        likeness = StoreError(f"the commit failed ({type(error).__name__}: {error})")
    likeness.__cause__ = error
    return likeness
