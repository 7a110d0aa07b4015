"""Follows the change log for one destination and tells it of every event it asked for: at least once, in order.

    changes after the position → happenings → rules of their buckets → messages → sender, again until taken → position

The position is saved once what came before it was taken (or given up), so that a crash tells twice and never leaves
out. What a destination does not take is tried again with growing pauses, and given up ``age_max_s`` after it happened:
a dead destination holds up nobody but itself, and not for ever. Only this site's own changes are told: each site tells
of its own. The rules are those in force when an event is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from gateway.events.happenings import NOTIFICATION, Happened, read_happenings
from gateway.events.positions import Position, PositionFile
from gateway.s3.event_messages import Place, encode_message, encode_test_message, event_record
from gateway.s3.notification import Rule, decode_notification
from gateway.store.errors import StoreError
from gateway.store.own_changes import Stretch
from gateway.store.ports import Bucket, ReadView
from replication.change_format import decode_change
from replication.clock import wall_ms_of
from replication.ports import Identity

COUNT_MAX: Final = 256
POLL_S: Final = 0.25
SAVE_EVERY_S: Final = 5.0
BACKOFF_BASE_S: Final = 0.5

log = logging.getLogger("skerry.events")


class NotTaken(Exception):
    """A destination did not take a message; the text says why, without anything secret."""


class Sender(Protocol):
    """Where messages go."""

    async def send(self, message: bytes) -> None:
        """Deliver one message. Raises ``NotTaken``."""


class ChangeSource(Protocol):
    """The site's own changes (``Replica``)."""

    def identity(self) -> Identity:
        """The site's newest incarnation, among others."""

    def last_seq(self) -> int:
        """The newest own change."""

    def read_on(self, incarnation: bytes, after_seq: int, count_max: int) -> Stretch:
        """Own changes behind one of any incarnation."""


@dataclass(frozen=True)
class FollowerSettings:
    """Seconds: the longest pause between tries, and after how long an event is given up. ``region``: of the site."""

    region: str = "us-east-1"
    retry_max_s: float = 300.0
    age_max_s: float = 86_400.0


class _Message(NamedTuple):
    body: bytes
    time_ms: int


class Follower:
    """One destination's. ``clock_ms``: the wall clock."""

    def __init__(
        self,
        destination: str,
        changes: ChangeSource,
        open_view: Callable[[], AbstractContextManager[ReadView]],
        positions: PositionFile,
        sender: Sender,
        settings: FollowerSettings,
        clock_ms: Callable[[], int] = lambda: time.time_ns() // 1_000_000,
    ) -> None:
        self.destination = destination
        self._changes, self._open_view, self._positions = changes, open_view, positions
        self._sender, self._settings, self._clock_ms = sender, settings, clock_ms
        self._latest_ms = 0
        self._generation = -1
        self._buckets: dict[bytes, Bucket] = {}
        self.given_up = 0
        """Events that were not taken in time."""

    async def run(self, stop: asyncio.Event) -> None:
        """Tell until ``stop``."""
        newest = Position(self._changes.identity().incarnation, self._changes.last_seq())
        position = self._positions.begin(newest)
        saved, saved_at = position, time.monotonic()
        while not stop.is_set():
            try:
                position, told, more = await self._step(position, stop)
            except StoreError as error:
                log.error("%s: the change log cannot be read: %s", self.destination, error)
                told, more = False, False
            if position != saved and (told or time.monotonic() - saved_at > SAVE_EVERY_S):
                await asyncio.to_thread(self._positions.save, position)
                saved, saved_at = position, time.monotonic()
            if not more:
                await _wait(stop, POLL_S)
        if position != saved:
            self._positions.save(position)

    async def _step(self, position: Position, stop: asyncio.Event) -> tuple[Position, bool, bool]:
        """(how far it went, whether anything was told, whether there may be more at once)"""
        found = await asyncio.to_thread(self._changes.read_on, *position, COUNT_MAX)
        incarnation, changes, told = found.incarnation, found.changes, False
        position = Position(incarnation, found.after_seq)
        for data in changes:
            for message in self._messages(data):
                told = True
                if not await self._deliver(message, stop):
                    return position, told, False
            position = Position(incarnation, position.seq + 1)
        return position, told, bool(changes)

    def _messages(self, data: bytes) -> list[_Message]:
        """What this destination is to be told of a change."""
        change = decode_change(data)
        # The log is in the order of commits: nothing in it happened before what stands before it.
        self._latest_ms = min(max(self._latest_ms, wall_ms_of(change.hlc)), self._clock_ms())
        found = [self._tell(happened) for happened in read_happenings(change)]
        return [message for messages in found for message in messages]

    def _tell(self, happened: Happened) -> list[_Message]:
        with self._open_view() as view:
            bucket = self._find_bucket(view, happened.uid)
            document = view.document(happened.uid, NOTIFICATION)
            if bucket is None or document is None:
                return []
            owner = view.user(bucket.record.owner)
        region = bucket.record.region or self._settings.region
        place = Place(bucket.name, owner.canonical_id if owner is not None else bucket.record.owner, region)
        rules = [rule for rule in decode_notification(document) if rule.destination == self.destination]
        if happened.happening is None:
            tested = encode_test_message(place, happened.time_ms, "")
            return [_Message(tested, happened.time_ms)] if rules else []
        return self._describe(happened, bucket, place, rules)

    def _describe(self, happened: Happened, bucket: Bucket, place: Place, rules: Sequence[Rule]) -> list[_Message]:
        happening = happened.happening
        assert happening is not None
        happening = happening._replace(time_ms=max(happening.time_ms, self._latest_ms))
        if not bucket.versioning:
            happening = happening._replace(version_id="")
        key = happening.key.decode()
        return [
            _Message(encode_message([event_record(happening, place, rule.id)]), happening.time_ms)
            for rule in rules
            if rule.matches(f"s3:{happening.name}", key)
        ]

    def _find_bucket(self, view: ReadView, uid: bytes) -> Bucket | None:
        if view.generation != self._generation:
            self._buckets = {bucket.uid: bucket for bucket in view.buckets()}
            self._generation = view.generation
        return self._buckets.get(uid)

    async def _deliver(self, message: _Message, stop: asyncio.Event) -> bool:
        """Send until it is taken or given up; False if ``stop`` came first."""
        pause_s = BACKOFF_BASE_S
        while not stop.is_set():
            try:
                await self._sender.send(message.body)
                return True
            except NotTaken as error:
                age_s = (self._clock_ms() - message.time_ms) / 1000
                if age_s > self._settings.age_max_s:
                    self.given_up += 1
                    log.error("%s: an event was given up %.0f s after it happened: %s", self.destination, age_s, error)
                    return True
                log.warning("%s: %s; trying again in %.1f s", self.destination, error, pause_s)
            await _wait(stop, pause_s)
            pause_s = min(2 * pause_s, self._settings.retry_max_s)
        return False


async def _wait(stop: asyncio.Event, timeout_s: float) -> None:
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(timeout_s):
            await stop.wait()
