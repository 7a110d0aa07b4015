"""One pass of lifecycle over a site: looks at every version under rules, and does what is due.

Scanning and acting are apart. A bucket is read in short views, a bounded number of versions each; what seems due is
decided again inside a commit, on what is there then: the rule still stands, the version is as it was seen, nothing
locks it. So a pass may be cut short anywhere, run beside another, or read a moment that is over; the next one goes on.
Expiring names its victim and touches no other (``WriteView.expire_version``), so passes on two sites agree.

It archives (gives up local bytes) only what the cloud is verified to have. What another site's open uploads are is not
known here: each site aborts its own.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, NamedTuple

from gateway.operations.lifecycle_facts import find_lifecycle, make_facts
from gateway.operations.notifications import note_expiry
from gateway.operations.object_lock import weigh_version
from gateway.operations.storage_classes import (
    RESTORE,
    STORAGE,
    class_of,
    is_cold,
    is_readable,
    mark_cold,
    restored_until_ms,
)
from gateway.s3.lifecycle_rules import ARCHIVES, REAL, Action, Calendar, Facts, Kind, Lifecycle, decide, find_abort
from gateway.s3.object_lock import Verdict
from gateway.store.object_format import ObjectRecord
from gateway.store.ports import Bucket, ReadView, Store, Version, WriteView
from replication.change_format import Ref

SCAN_VERSIONS: Final = 512
"""Versions read in one view."""
ACTIONS_AT_ONCE: Final = 100
"""Actions of one commit: keeps its log batch well under a megabyte."""
_NEWER_MAX: Final = 102
"""Versions walked to count those that are newer: no rule asks for more than 100."""

Pace = Callable[[int], Awaitable[None]]
"""Called with how many versions were just looked at: waits as long as the pass is to be slowed down."""


@dataclass
class Summary:
    """What a pass did. ``locked``: versions that were due but are locked; ``waiting``: not yet in the cloud;
    ``losers_dropped``: of collisions, by whoever runs the pass.
    """

    buckets: int = 0
    versions: int = 0
    expired: int = 0
    removed: int = 0
    markers_removed: int = 0
    transitioned: int = 0
    aborted: int = 0
    restores_ended: int = 0
    evicted_bytes: int = 0
    locked: int = 0
    waiting: int = 0
    losers_dropped: int = 0


class _Candidate(NamedTuple):
    """A version that seemed due: who it is, since when it was noncurrent (0: current), and when that was looked at."""

    version: Version
    since_ms: int
    seen_ms: int
    kind: Kind


@dataclass
class _Outcome:
    """What one commit did, and what is to be given up locally now that it stands."""

    counts: dict[str, int] = field(default_factory=dict)
    evict: list[Ref] = field(default_factory=list)

    def count(self, name: str) -> None:
        self.counts[name] = self.counts.get(name, 0) + 1


async def _no_pace(count: int) -> None:
    """As fast as it goes, but others come first."""
    await asyncio.sleep(0)


class LifecyclePass:
    """One pass at ``now_ms``. ``archive``: whether there is a cloud to archive to; ``pace``: slows the pass down."""

    def __init__(
        self, store: Store, now_ms: int, calendar: Calendar = REAL, *, archive: bool = False, pace: Pace = _no_pace
    ) -> None:
        self._store = store
        self._now_ms = now_ms
        self._calendar = calendar
        self._archive = archive
        self._pace = pace
        self.summary = Summary()

    async def run(self) -> Summary:
        """Look at every bucket that has rules, or archived objects. Raises the store's errors; what was done stays."""
        with self._store.view() as view:
            buckets = [
                bucket
                for bucket in view.buckets()
                if find_lifecycle(view, bucket.uid) is not None or (self._archive and is_cold(view, bucket))
            ]
        for bucket in buckets:
            self.summary.buckets += 1
            await self._scan_versions(bucket)
            await self._scan_uploads(bucket)
        return self.summary

    # versions

    async def _scan_versions(self, bucket: Bucket) -> None:
        last: Version | None = None
        newer = 0
        while True:
            with self._store.view() as view:
                now = view.bucket(bucket.name)
                if now is None or now.uid != bucket.uid:
                    return
                scan = view.scan_versions(bucket.uid)
                if last is not None:
                    scan.seek(last.key, last.id)
                rows = list(islice(scan, SCAN_VERSIONS + 1))
                page = rows[:SCAN_VERSIONS]
                due, newer = self._find_due(view, now, last, newer, rows)
                archived = [version for version in page if self._has_ended(view, now, version)]
            self.summary.versions += len(page)
            for at in range(0, len(due), ACTIONS_AT_ONCE):
                await self._act(bucket, due[at : at + ACTIONS_AT_ONCE])
            await self._give_up(bucket, archived)
            if len(rows) <= SCAN_VERSIONS:
                return
            last = page[-1]
            await self._pace(len(page))

    def _find_due(
        self, view: ReadView, bucket: Bucket, last: Version | None, newer: int, rows: Sequence[Version]
    ) -> tuple[list[_Candidate], int]:
        """What seems due among the first ``SCAN_VERSIONS`` of ``rows``; ``newer``: noncurrent versions of the last key
        so far, before and after.
        """
        lifecycle = find_lifecycle(view, bucket.uid)
        seen_ms = time.time_ns() // 1_000_000
        due: list[_Candidate] = []
        for number, version in enumerate(rows[:SCAN_VERSIONS]):
            before = rows[number - 1] if number else last
            successor = before if before is not None and before.key == version.key else None
            if successor is None:
                newer = 0
            after = rows[number + 1] if number + 1 < len(rows) else None
            if lifecycle is not None:
                documents = view.version_documents(bucket.uid, version)
                only = successor is None and (after is None or after.key != version.key)
                facts = _place(make_facts(lifecycle, bucket, version.key, version.record, documents), version)
                facts = facts._replace(newer=newer, is_only=only, since_ms=_since_ms(version, successor))
                action = self._decide(lifecycle, facts)
                if action is not None:
                    due.append(_Candidate(version, facts.since_ms, seen_ms, action.kind))
            if not version.is_latest and not version.id.order:
                newer += 1
        return due, newer

    def _decide(self, lifecycle: Lifecycle, facts: Facts) -> Action | None:
        return decide(lifecycle, facts, self._now_ms, self._calendar)

    async def _act(self, bucket: Bucket, due: Sequence[_Candidate]) -> None:
        """Decide again in one commit, do it, and then give up what was archived."""

        def act(view: WriteView) -> _Outcome:
            outcome = _Outcome()
            now = view.bucket(bucket.name)
            if now is None or now.uid != bucket.uid:
                return outcome
            for candidate in due:
                self._act_on(view, now, candidate, outcome)
            return outcome

        outcome = await self._store.commit(act)
        for name, count in outcome.counts.items():
            setattr(self.summary, name, getattr(self.summary, name) + count)
        if outcome.evict:
            self.summary.evicted_bytes += await self._store.evict(outcome.evict)

    def _act_on(self, view: WriteView, bucket: Bucket, candidate: _Candidate, outcome: _Outcome) -> None:
        lifecycle = find_lifecycle(view, bucket.uid)
        seen = candidate.version
        version = view.version(bucket.uid, seen.key, seen.id)
        if lifecycle is None or version is None or (version.order, version.is_latest) != (seen.order, seen.is_latest):
            return
        documents = view.version_documents(bucket.uid, version)
        facts = _look_again(view, bucket, lifecycle, candidate, version, documents)
        action = self._decide(lifecycle, facts) if facts is not None else None
        if action is None or action.kind is not candidate.kind:
            return
        if action.kind is Kind.TRANSITION:
            self._move(view, bucket, version, action.storage_class, outcome)
        elif action.kind is Kind.EXPIRE and bucket.versioning:
            extra = note_expiry(view, bucket)
            marker = ObjectRecord(marker=True, modified_ms=view.now_ms, owner=bucket.record.owner, extra=extra)
            if view.expire_version(bucket.uid, version, marker) is not None:
                outcome.count("expired")
        elif weigh_version(view, bucket.uid, version) is not Verdict.ALLOWED:
            outcome.count("locked")
        elif view.expire_version(bucket.uid, version) is not None:
            names = {Kind.EXPIRE: "expired", Kind.REMOVE: "removed", Kind.REMOVE_MARKER: "markers_removed"}
            outcome.count(names[action.kind])

    def _move(self, view: WriteView, bucket: Bucket, version: Version, storage_class: str, outcome: _Outcome) -> None:
        """Give a version a colder class; into an archive only what the cloud has, where there is one."""
        archived = storage_class in ARCHIVES
        if archived and self._archive and not view.is_replicated(version):
            outcome.count("waiting")
            return
        mark_cold(view, bucket)
        view.put_version_document(bucket.uid, version, STORAGE, storage_class.encode())
        outcome.count("transitioned")
        if archived and self._archive:
            outcome.evict += version.record.content

    # archives

    def _has_ended(self, view: ReadView, bucket: Bucket, version: Version) -> bool:
        """Whether a version is archived and may not be read, but may still have bytes here."""
        if not self._archive or version.record.marker or not is_cold(view, bucket):
            return False
        documents = view.version_documents(bucket.uid, version)
        archived = class_of(version.record, documents) in ARCHIVES
        return archived and not is_readable(version.record, documents, self._now_ms) and view.is_replicated(version)

    async def _give_up(self, bucket: Bucket, versions: Sequence[Version]) -> None:
        """Evict archived versions whose restore is over, or that were written into the archive; forget the restore."""

        def end_restores(view: WriteView) -> list[Version]:
            ended = []
            for version in versions:
                now = view.version(bucket.uid, version.key, version.id)
                if now is None or now.order != version.order:
                    continue
                documents = view.version_documents(bucket.uid, now)
                if is_readable(now.record, documents, self._now_ms):
                    continue
                if restored_until_ms(documents):
                    view.put_version_document(bucket.uid, now, RESTORE, None)
                    self.summary.restores_ended += 1
                ended.append(now)
            return ended

        if not versions:
            return
        refs = [ref for version in await self._store.commit(end_restores) for ref in version.record.content]
        self.summary.evicted_bytes += await self._store.evict(refs)  # together: what only they share may go

    # uploads

    async def _scan_uploads(self, bucket: Bucket) -> None:
        after: tuple[bytes, str] = (b"", "")
        while True:
            with self._store.view() as view:
                lifecycle = find_lifecycle(view, bucket.uid)
                if lifecycle is None or not any(rule.abort_days is not None for rule in lifecycle.rules):
                    return
                page = list(islice(view.uploads(bucket.uid, *after), SCAN_VERSIONS))
            due = [upload.id for upload in page if self._is_abandoned(lifecycle, upload.key, upload.initiated_ms)]
            for at in range(0, len(due), ACTIONS_AT_ONCE):
                await self._abort(bucket, due[at : at + ACTIONS_AT_ONCE])
            if len(page) < SCAN_VERSIONS:
                return
            after = (page[-1].key, page[-1].id)
            await self._pace(len(page))

    def _is_abandoned(self, lifecycle: Lifecycle, key: bytes, initiated_ms: int) -> bool:
        found = find_abort(lifecycle, key.decode(), initiated_ms, self._calendar)
        return found is not None and found[0] <= self._now_ms

    async def _abort(self, bucket: Bucket, uploads: Sequence[str]) -> None:
        def close(view: WriteView) -> int:
            lifecycle = find_lifecycle(view, bucket.uid)
            closed = 0
            for upload in [found for found in map(view.upload, uploads) if found is not None]:
                if lifecycle is not None and self._is_abandoned(lifecycle, upload.key, upload.initiated_ms):
                    view.close_upload(upload.id)
                    closed += 1
            return closed

        self.summary.aborted += await self._store.commit(close)


def _place(facts: Facts, version: Version) -> Facts:
    return facts._replace(is_latest=version.is_latest)


def _since_ms(version: Version, successor: Version | None) -> int:
    """When a version became noncurrent: when its successor was written. What replaced a kept loser in the null slot may
    be gone; then its own time stands for it.
    """
    if version.is_latest:
        return 0
    return (successor if successor is not None else version).record.modified_ms


def _look_again(
    view: WriteView,
    bucket: Bucket,
    lifecycle: Lifecycle,
    candidate: _Candidate,
    version: Version,
    documents: Mapping[str, bytes],
) -> Facts | None:
    """The facts of a candidate inside the commit; None if it was current in the meantime.

    The version that made it noncurrent may be gone (this very pass removes them in order): that it was noncurrent all
    the time is seen from what stands above it, which must not be younger than the scan.
    """
    facts = _place(make_facts(lifecycle, bucket, version.key, version.record, documents), version)
    newer, only = 0, False
    if not version.is_latest:
        rows = list(_newer_rows(view, bucket.uid, version))
        if len(rows) < _NEWER_MAX and rows and rows[-1].record.modified_ms > candidate.seen_ms:
            return None
        newer = sum(not row.is_latest and not row.id.order for row in rows)
    elif version.record.marker:
        first_two = islice(view.scan_versions(bucket.uid, version.key), 2)
        only = [row.id for row in first_two if row.key == version.key] == [version.id]
    return facts._replace(newer=newer, is_only=only, since_ms=candidate.since_ms)


def _newer_rows(view: WriteView, uid: bytes, version: Version) -> Iterator[Version]:
    """Versions of the key above this one, at most ``_NEWER_MAX``."""
    for row in islice(view.scan_versions(uid, version.key), _NEWER_MAX):
        if row.key != version.key or row.id == version.id:
            return
        yield row
