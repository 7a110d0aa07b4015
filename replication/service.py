"""The replication daemon: supervises shipping and pulling, waits failures out, and reports.

Starts by entering the bucket: the realm must be ours (``WrongRealm`` otherwise, before anything is written), its keys
published, and the bucket must create a name only once. An unreachable cloud only postpones that. Then two loops run
side by side, so that a slow upload keeps nobody's news waiting. Whatever fails is told in the report and tried again;
the durable cursors alone say what is done, so stopping anywhere is safe.

Cadence: an unsent change is shipped after ``ship_interval_s`` (so that what comes together goes together) or at once
when ``ship_bytes`` wait; news is looked for every ``poll_interval_s``. A site without changes of its own speaks when it
has taken in what it did not acknowledge yet (``ack_interval_s``, or at once if told to ``hurry``), else once in
``status_interval_s``. ``wake`` ends every wait. A new log is announced, by an empty batch if need be, before anything
is read: from then on everybody waits for this site's acks.

Not here: locking out a second daemon, writing the report to a file (``publish_report``): the composition root's.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from replication.acknowledging import AckLimits
from replication.cancellation import is_stopping
from replication.checkpointing import Checkpointing
from replication.collecting import Collecting
from replication.collector import CollectedRound
from replication.conditional import CreateOnce, probe_create_once
from replication.fleet import Wait, follow_waits
from replication.freight import DOUBTS_MAX, Doubtful
from replication.keys import RealmError
from replication.link import Link
from replication.link_watch import LinkWatch
from replication.membership import take_census
from replication.offload import Offload, run_in_thread
from replication.ports import (
    BytesLost,
    ChangeLog,
    CloudError,
    CloudRefused,
    CloudUnreachable,
    FoldedState,
    FrameStore,
    Origin,
)
from replication.puller import PulledRound, Puller
from replication.realm_access import RealmAccess
from replication.retry import Reachability, RetryingCloud
from replication.settings import ReplicationSettings
from replication.shipper import LogEnded, Shipper, TellStatus
from replication.status import DaemonReport

logger = logging.getLogger(__name__)


class BucketUnsuitable(Exception):
    """The bucket does not create a name only once, and the operator has not vouched for a single writer."""


@dataclass(frozen=True, slots=True)
class OnceSummary:
    """What ``run_once`` did; ``stopped`` logs of other sites could not be taken in (the report says why)."""

    shipped_changes: int
    shipped_bytes: int
    pulled_changes: int
    stopped: int


class ReplicationService:
    """Replication of one site. One per site at a time."""

    def __init__(
        self,
        log: ChangeLog,
        frames: FrameStore,
        cloud: RetryingCloud,
        realm: RealmAccess,
        settings: ReplicationSettings,
        *,
        single_writer: bool = False,
        wall_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
        offload: Offload = run_in_thread,
        publish_report: Callable[[DaemonReport], None] = lambda report: None,
        ack_limits: AckLimits | None = None,
        tell_status: TellStatus = lambda unsent: b"",
        waits: tuple[Wait, ...] = (),
        link: Link | None = None,
        urgent_seq: Callable[[int], int] = lambda after_seq: 0,
        watch: LinkWatch | None = None,
        probe_interval_s: float = 2.0,
        skew_ms: Callable[[], int | None] = lambda: None,
        bring: Callable[[Sequence[bytes]], Awaitable[object]] | None = None,
        state: FoldedState | None = None,
        make_collecting: Callable[[Shipper, Callable[[], None]], Collecting] | None = None,
    ) -> None:
        self._log = log
        self._waits, self._skew_ms = waits, skew_ms
        self._cloud, self._realm, self._settings = cloud, realm, settings
        self._single_writer, self._wall_ms = single_writer, wall_ms
        self._publish_report = publish_report
        self._link, self._urgent_seq = link or Link(), urgent_seq
        self._watch, self._probe_interval_s = watch, probe_interval_s
        self._woken = asyncio.Event()
        self._announced = asyncio.Event()
        self._hurried = self._looked = self._entered = self._running = False
        self._looked_as: Origin | None = None  # the own log, announced in the bucket, before the last pull round
        self._create_once = self._stopped = ""
        self._errors: dict[str, str] = {}
        self._cloud_state: tuple[Reachability, int] = (Reachability.UNKNOWN, 0)
        self.shipper = Shipper(
            *(log, frames, cloud, realm.keyring, settings),
            wall_ms=wall_ms,
            offload=offload,
            ack_limits=ack_limits,
            bring=bring,
            tell_status=tell_status,
            fit=cloud.goodput.fit,
            refresh_keys=lambda: realm.refresh(cloud),
        )
        self.puller = Puller(
            log,
            cloud,
            realm.keyring,
            wall_ms=wall_ms,
            refresh_keys=lambda: realm.refresh(cloud),
            prefetch_max=settings.prefetch_max,
            own_log_ahead=self.shipper.look_again,
        )
        self.checkpointing: Checkpointing | None = None
        if state is not None and settings.pull:
            self.checkpointing = Checkpointing(
                *(log, state, cloud, realm.keyring, settings),
                wall_ms=wall_ms,
                refresh_keys=lambda: realm.refresh(cloud),
                offload=offload,
            )
            self.checkpointing.on_progress = self._report

        self.collecting = make_collecting(self.shipper, self.hurry) if make_collecting and settings.pull else None
        if self.checkpointing is not None and self.collecting is not None:
            self.checkpointing.is_wanted = self.collecting.wants_checkpoint

    async def run(self, stop: asyncio.Event) -> None:
        """Replicate until ``stop`` is set. Raises only what no waiting can mend: ``WrongRealm``,
        ``BucketUnsuitable``.
        """
        self._running = True
        try:
            async with asyncio.TaskGroup() as group:
                work = group.create_task(self._run_loops())
                stopping = group.create_task(stop.wait())
                watching = group.create_task(self._watch_link())
                await asyncio.wait({work, stopping}, return_when=asyncio.FIRST_COMPLETED)
                for task in (work, stopping, watching):
                    task.cancel()
        except BaseExceptionGroup as failures:
            raise failures.exceptions[0] from None
        finally:
            self._running = False
            self._report()

    async def run_once(self) -> OnceSummary:
        """Push and pull until nothing is left.

        Raises ``CloudError``, ``WrongRealm``, the store's errors.
        """
        try:
            await self._enter()
            summary = await self._replicate_all()
        except Exception as error:
            self._errors["once"] = _say(error)
            raise
        finally:
            self._report()
        return summary

    def wake(self) -> None:
        """Something changed, or the link is back: end every wait now."""
        self._cloud.wake()
        self._woken.set()
        self._woken = asyncio.Event()

    def hurry(self) -> None:
        """Something waits for this site's acks: tell them now, if there are any to tell."""
        self._hurried = True
        self.wake()

    def report(self) -> DaemonReport:
        """The account as of now."""
        reachability, since_ms = self._cloud_state
        if self._cloud.reachability is not reachability:
            since_ms = self._wall_ms()
            self._cloud_state = (self._cloud.reachability, since_ms)
        shipped = self._log.shipped()
        return DaemonReport(
            written_ms=self._wall_ms(),
            running=self._running,
            cloud=self._cloud.reachability.value,
            cloud_since_ms=since_ms,
            last_error="; ".join(dict.fromkeys(self._errors.values())) or self._cloud.last_error,
            fenced=self.shipper.fenced or self.shipper.waits,
            stopped=self._stopped,
            create_once=self._create_once,
            published=self._entered,
            recoverable=self._realm.recoverable,
            link=str(self._link.limits()),
            shipped_n=shipped.n,
            shipped_seq=shipped.seq,
            remotes=self.puller.report(),
            waits=self._follow_waits(),
            joining=self._describe_join(),
            ended=self.shipper.ended,
            held=self.collecting.account if self.collecting is not None else None,
            tombstones=self.collecting.dead if self.collecting is not None else None,
            collected=self.collecting.totals if self.collecting is not None else None,
            epochs=self.collecting.epochs if self.collecting is not None else {},
            skew_ms=self._skew_ms(),
            lost=self.shipper.lost + (self.collecting.lost if self.collecting is not None else ()),
            accusers=tuple(site.hex() for site in self.puller.accusers),
        )

    def _follow_waits(self) -> tuple[Wait, ...]:
        heads = {origin: state.head_n for origin, state in self.puller.states.items() if state.head_n}
        self._waits = follow_waits(self._waits, take_census(self._log, heads), self._wall_ms())
        return self._waits

    async def _run_loops(self) -> None:
        while not self._entered:
            try:
                await self._enter()
            except CloudError as error:
                await self._rest("enter", error)
        self._errors.pop("enter", None)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ship_forever())
            if self._settings.pull:
                group.create_task(self._pull_forever())
                group.create_task(self._checkpoint_forever())
                group.create_task(self._collect_forever())

    async def _enter(self) -> None:
        """Make the bucket ours, or find that it is. Idempotent. What no waiting mends is kept for the report."""
        if self._entered:
            return
        try:
            await self._make_ours()
        except (RealmError, BucketUnsuitable) as error:
            self._stopped = str(error)
            raise
        self._entered = True
        self._report()

    async def _make_ours(self) -> None:
        await self._realm.publish(self._cloud)
        await self._realm.refresh(self._cloud)
        if self._single_writer:
            self._create_once = "not needed: a single writer, as the operator vouched"
        else:
            identity = self._log.identity()
            found = await probe_create_once(self._cloud, (identity.site, identity.incarnation))
            self._create_once = found.value
            if found is not CreateOnce.ENFORCED:
                raise BucketUnsuitable(
                    f"If-None-Match is {found.value}. Use another bucket, or set cloud.single_writer = true "
                    "if no copy of this machine can ever run beside it"
                )

    async def _replicate_all(self) -> OnceSummary:
        """Ship and pull in turn until both find nothing. What waits for a second look gets it, a few times."""
        shipped_changes = shipped_bytes = pulled_changes = 0
        ended, lost = False, None
        looks = 0
        quiet, speak = False, self._log.shipped().n == 0
        while not quiet:
            quiet = True
            try:
                while shipped := await self.shipper.ship_round(speak=speak):
                    shipped_changes += shipped.changes
                    shipped_bytes += shipped.bytes
                    quiet = speak = False
                lost = None
            except LogEnded:
                ended = True
            except BytesLost as error:  # what others ship may bring them
                lost = error
            except Doubtful:  # after so many it is certain, and the log is issued anew
                quiet = False
            if self._settings.pull:
                pulled = await self._pull_round()
                self._looked = True
                pulled_changes += pulled.changes
                looks += pulled.waits
                quiet = quiet and pulled.batches == 0 and (not pulled.waits or looks > DOUBTS_MAX)
            if quiet and not ended and lost is None and self.shipper.owes_acks:
                quiet, speak = False, True
        if lost is not None:
            raise lost
        if self.checkpointing is not None:
            await self.checkpointing.write_if_due()
        self._errors.clear()
        stopped = sum(1 for state in self.puller.states.values() if state.stopped)
        return OnceSummary(shipped_changes, shipped_bytes, pulled_changes, stopped)

    async def _ship_forever(self) -> None:
        while True:
            up_to = await self._await_leave()
            try:
                speak, self._hurried = self._is_to_speak(), False
                shipped = await asyncio.create_task(self.shipper.ship_round(up_to, speak=speak))  # see ``cancellation``
            except LogEnded as error:
                logger.error("shipping stopped: %s", error)
                self._announced.set()
                self._report()
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if is_stopping():
                    raise
                await self._rest("ship", CloudUnreachable("given up by a library"))
            except Exception as error:
                await self._rest("ship", error)
            else:
                self._errors.pop("ship", None)
                if self._log.shipped().n:
                    self._announced.set()
                if shipped is None:
                    await self._await_backlog()
                else:
                    self._report()

    async def _await_leave(self) -> int:
        """Wait while the link is paused, unless something urgent waits: up to which change to ship (0: all).

        A new site's first word passes, too: others count on it.
        """
        told = False
        while True:
            shipped = self._log.shipped()
            urgent = self._urgent_seq(shipped.seq)
            if urgent or not shipped.n or not self._link.limits().up.paused:
                return urgent
            if not told:
                self._report()
                told = True
            await self._pause(self._settings.backlog_poll_s)

    async def _watch_link(self) -> None:
        """Wake every wait as soon as an unreachable cloud's port opens again."""
        while self._watch is not None:
            await asyncio.sleep(self._probe_interval_s)
            if self._cloud.reachability is not Reachability.UNREACHABLE:
                self._watch.forget()
            elif await self._watch.is_back():
                logger.info("the link is back")
                self.wake()

    def _is_to_speak(self) -> bool:
        """Whether a batch is due, though there be no change for it."""
        if not self._log.shipped().n or self.shipper.is_to_end:
            return True
        waited_ms = self._wall_ms() - self.shipper.spoken_ms
        longest_s = self._settings.ack_interval_s if self.shipper.owes_acks else self._settings.status_interval_s
        hurried = self._hurried and self.shipper.owes_acks
        return hurried or not 0 <= waited_ms < longest_s * 1000  # a clock that was set back may not silence us

    async def _await_backlog(self) -> None:
        """Wait for an unsent change, then until enough of them wait or the first has waited long enough; or until it is
        time to speak. What is urgent ends the wait.
        """
        settings = self._settings
        while self._log.last_seq() <= self._log.shipped().seq:
            if self.shipper.wants_look or self._is_to_speak():
                return
            if await self._pause(settings.backlog_poll_s):
                break
        waited_s = 0.0
        while waited_s < settings.ship_interval_s and self._log.backlog().bytes < settings.ship_bytes:
            if self._urgent_seq(self._log.shipped().seq):
                return
            step_s = min(settings.backlog_poll_s, settings.ship_interval_s - waited_s)
            if await self._pause(step_s):
                return
            waited_s += step_s

    async def _pull_forever(self) -> None:
        await self._announced.wait()
        while True:
            while self._link.limits().down.paused:
                await self._pause(self._settings.poll_interval_s)
            try:
                await asyncio.create_task(self._pull_round())
            except asyncio.CancelledError:
                if is_stopping():
                    raise
                await self._rest("pull", CloudUnreachable("given up by a library"))
            except Exception as error:
                await self._rest("pull", error)
            else:
                self._errors.pop("pull", None)
                self._looked = True
                self._report()
                await self._pause(self._settings.poll_interval_s)

    async def _pull_round(self) -> PulledRound:
        """Take in what there is, by a checkpoint first if that helps."""
        announced = self._announced_log()
        if self.checkpointing is None:
            done = await self.puller.pull_round()
        else:
            done = await self.checkpointing.pull_round(self.puller)
        self._looked_as = announced
        return done

    async def _checkpoint_forever(self) -> None:
        """Write checkpoints as they fall due. Never before this site has looked for what others have."""
        checkpointing = self.checkpointing
        while checkpointing is not None and not self.shipper.ended:
            await asyncio.sleep(max(self._settings.poll_interval_s, self._settings.ship_interval_s))
            if not self._looked or self._link.limits().up.paused:
                continue
            try:
                if await asyncio.create_task(checkpointing.write_if_due()):
                    logger.info("a checkpoint of the realm was written")
            except asyncio.CancelledError:
                if is_stopping():
                    raise
                await self._rest("checkpoint", CloudUnreachable("given up by a library"))
            except Exception as error:
                await self._rest("checkpoint", error)
            else:
                self._errors.pop("checkpoint", None)

    async def collect_once(self) -> CollectedRound:
        """Replicate until nothing is left, collect in the bucket, tell of it. Errors as of ``run_once``."""
        await self.run_once()
        if self.collecting is None:
            return CollectedRound()
        done = await self.collecting.take_turn(caught_up=self._is_caught_up, now=True)
        await self.run_once()
        return done

    @property
    def _is_caught_up(self) -> bool:
        stopped = any(state.stopped for state in self.puller.states.values())
        return self._looked and self._looked_as == self._announced_log() and not stopped

    def _announced_log(self) -> Origin | None:
        identity = self._log.identity()
        return (identity.site, identity.incarnation) if self._log.shipped().n else None

    async def _collect_forever(self) -> None:
        """Collect in the bucket, what others wait for first. Never before this site has looked for what they have."""
        while self.collecting is not None and not self.shipper.ended:
            await asyncio.sleep(max(self._settings.poll_interval_s, self._settings.ship_interval_s))
            if not self._looked or self._link.limits().up.paused:
                continue
            try:
                done = await asyncio.create_task(self.collecting.take_turn(caught_up=self._is_caught_up))
                if done:
                    logger.info("collected in the bucket: %s", done)
            except asyncio.CancelledError:
                if is_stopping():
                    raise
                await self._rest("collect", CloudUnreachable("given up by a library"))
            except Exception as error:
                await self._rest("collect", error)
            else:
                self._errors.pop("collect", None)

    def _describe_join(self) -> str:
        progress = self.checkpointing.progress if self.checkpointing is not None else None
        return f"{progress.slices} of {progress.slices_total} slices" if progress is not None else ""

    async def _rest(self, loop: str, error: Exception) -> None:
        """Tell what failed, wait, go on: the cursors say what is done."""
        if isinstance(error, CloudError) and not isinstance(error, CloudRefused):
            logger.info("the cloud is not reachable: %s", error)
        else:
            logger.warning("replication: %s", _say(error), exc_info=not isinstance(error, CloudError | BytesLost))
        self._errors[loop] = _say(error)
        self._report()
        await self._pause(self._settings.poll_interval_s)

    async def _pause(self, seconds: float) -> bool:
        """Wait; True if woken."""
        try:
            async with asyncio.timeout(seconds):
                await self._woken.wait()
        except TimeoutError:
            return False
        return True

    def _report(self) -> None:
        self._publish_report(self.report())


def _say(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
