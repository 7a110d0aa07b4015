"""A bucket as it was at a time: folded out of the change log, which forgets nothing.

Stands beside ``replica``: it reads the log's batches in order and never the rows of objects, since these only know what
still stands. The time is that of the writes themselves (their hybrid clocks), so every site that has taken in the same
logs gives the same answer, whenever the changes reached it. What a later write replaced stands again if that later
write is not in yet; what was removed before is gone. A version removed for good whose removal a lock made void counts
as standing, as it does now.

Only objects are folded: documents of versions (tags and ACLs changed after the write) are not. Bytes are not looked at:
those that were collected since are in the cloud, or gone if they never were there.

A site that joined by checkpoint does not know what was before that was made (``BeforeHistory``); from then on it does.

Memory is bounded: keys are folded in as many passes over the log as it takes to hold ``KEYS_AT_ONCE`` at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from itertools import islice
from typing import Final, NamedTuple

import blake3

from gateway.store.apply import replace_former
from gateway.store.errors import BeforeHistory
from gateway.store.index_format import BatchRow
from gateway.store.item_format import (
    FAMILY_NULL_SLOT,
    FAMILY_VERSION,
    UID_SIZE,
    split_null_slot,
    split_version,
    version_item,
)
from gateway.store.log import Log
from gateway.store.log_format import Anew, Folded, Imported, JoinBegun, Own
from gateway.store.log_rows import scan_batches
from gateway.store.object_format import ObjectRecord, decode_object
from gateway.store.object_rows import DROP_BODY
from gateway.store.shared import Shared
from gateway.store.slice_format import Objects, decode_slice
from gateway.store.version_ids import VersionId, decode_order
from gateway.store.views import ViewContext
from replication.change_format import Change, decode_change
from replication.clock import wall_ms_of
from replication.crdt import Dot

KEYS_AT_ONCE: Final = 200_000
BATCHES_AT_ONCE: Final = 64
_FAMILIES: Final = frozenset((FAMILY_NULL_SLOT, FAMILY_VERSION))


class PastObject(NamedTuple):
    """What was current at a key; delete markers are not told."""

    key: bytes
    record: ObjectRecord


class _TooManyKeys(Exception):
    """The fold must be cut into more passes."""


class _Item:
    """One null slot or version: its unreplaced writes, and dots replaced before they were seen."""

    __slots__ = ("live", "marks")

    def __init__(self) -> None:
        self.live: dict[Dot, Change] = {}
        self.marks: set[Dot] = set()

    def apply(self, change: Change) -> None:
        for dot in change.replaces:
            if self.live.pop(dot, None) is None:
                self.marks.add(dot)
        if change.dot in self.marks:
            self.marks.discard(change.dot)
        elif not (change.family == FAMILY_NULL_SLOT and change.dead and change.body == DROP_BODY):
            # A drop of losers is no delete: it ends what it names, and stands for nothing.
            self.live[change.dot] = change


class _Folded:
    """Objects as a checkpoint told them: the writes that stood, and which others were replaced by then."""

    def __init__(self, content: Objects, vector: dict[tuple[bytes, bytes], int]) -> None:
        self._content, self._vector = content, vector

    def changes(self) -> Iterator[Change]:
        """The writes that stood. Of versions with an id the clock is that of the id."""
        for row in self._content.rows:
            uid, key = row.key[:UID_SIZE], row.key[UID_SIZE:]
            for sibling in row.nulls or ():
                hlc, dot = decode_order(sibling.order)
                yield Change(dot, hlc, FAMILY_NULL_SLOT, row.key, sibling.dead, (), (), sibling.body)
            for version in row.versions:
                item = version_item(uid, version.vid, key)
                for dead, writes in ((False, version.values), (True, version.purges)):
                    for order, body in writes:
                        hlc, dot = decode_order(order)
                        yield Change(dot, hlc, FAMILY_VERSION, item, dead, (), (), body)

    def drop_replaced(self, uid: bytes, keys: dict[bytes, dict[bytes, _Item]]) -> None:
        """What the checkpoint's writer had seen of these keys and does not tell was replaced."""
        content = self._content
        standing = {change.dot for change in self.changes() if change.item[:UID_SIZE] == uid}
        for key, items in keys.items():
            within = content.after <= uid + key and (not content.upto or uid + key <= content.upto)
            for state in items.values() if within else ():
                for dot in [dot for dot in state.live if dot not in standing and self._has_seen(dot)]:
                    del state.live[dot]

    def _has_seen(self, dot: Dot) -> bool:
        return dot.seq <= self._vector.get((dot.site, dot.incarnation), 0)


class History:
    """The log of one site, as something to look back into."""

    def __init__(self, open_view: Callable[[], ViewContext], log: Log, shared: Shared) -> None:
        self._open_view, self._log, self._shared = open_view, log, shared

    def objects_at(
        self, uid: bytes, at_ms: int, progress: Callable[[int], None] = lambda batches: None
    ) -> Iterator[PastObject]:
        """Current objects of a bucket at ``at_ms`` (unix ms, inclusive), each key once, keys ascending within a pass.

        Raises the store's ``Damaged``, and ``BeforeHistory`` if this site joined by a checkpoint made later.
        """
        passes = 1
        while True:
            try:
                first = self._fold(uid, at_ms, passes, 0, progress)
            except _TooManyKeys:
                passes *= 2
                continue
            yield from self._currents(uid, first)
            for number in range(1, passes):
                yield from self._currents(uid, self._fold(uid, at_ms, passes, number, progress))
            return

    def _fold(
        self, uid: bytes, at_ms: int, passes: int, number: int, progress: Callable[[int], None]
    ) -> dict[bytes, dict[bytes, _Item]]:
        """Key → item → state, for the keys of one pass."""
        keys: dict[bytes, dict[bytes, _Item]] = {}
        for change in self._changes(at_ms, progress):
            if isinstance(change, _Folded):
                change.drop_replaced(uid, keys)
                continue
            if change.family not in _FAMILIES or change.item[:UID_SIZE] != uid or wall_ms_of(change.hlc) > at_ms:
                continue
            key = _key_of(change)
            if passes > 1 and blake3.blake3(key).digest(2)[0] % passes != number:
                continue
            items = keys.setdefault(key, {})
            items.setdefault(change.item if change.family == FAMILY_VERSION else b"", _Item()).apply(change)
            if len(keys) > KEYS_AT_ONCE and passes < 256:
                raise _TooManyKeys
        return keys

    def _changes(self, at_ms: int, progress: Callable[[int], None]) -> Iterator[Change | _Folded]:
        """Every own, imported and folded change, in the order they were applied here."""
        vector: dict[tuple[bytes, bytes], int] = {}
        done, after = 0, 1
        rows: list[tuple[int, BatchRow]] = []
        while after == 1 or rows:
            token = self._shared.enter()
            try:
                with self._open_view() as view:
                    rows = list(islice(scan_batches(view.transaction, after), BATCHES_AT_ONCE))
                for batch_number, row in rows:
                    for record in self._log.records(row.segment, row.offset):
                        if isinstance(record, Own):
                            yield decode_change(record.change)
                        elif isinstance(record, Anew):
                            yield replace_former(record, decode_change(record.change))
                        elif isinstance(record, Imported):
                            yield from map(decode_change, record.changes)
                        elif isinstance(record, JoinBegun):
                            if at_ms < record.made_ms:
                                raise BeforeHistory(_say_when(record.made_ms))
                            vector = {entry.origin: entry.seq for entry in record.vector}
                        elif isinstance(record, Folded):
                            content = decode_slice(record.data)
                            if isinstance(content, Objects):
                                folded = _Folded(content, vector)
                                yield folded
                                yield from folded.changes()
                    done, after = done + 1, batch_number + 1
            finally:
                self._shared.leave(token)
            progress(done)

    def _currents(self, uid: bytes, keys: dict[bytes, dict[bytes, _Item]]) -> Iterator[PastObject]:
        for key in sorted(keys):
            change = self._current(uid, key, keys[key])
            if change is not None and not (record := decode_object(change.body)).marker:
                yield PastObject(key, record)

    def _current(self, uid: bytes, key: bytes, items: dict[bytes, _Item]) -> Change | None:
        """The standing write of greatest order among the versions and the null slot's winner."""
        standing = []
        for item, state in items.items():
            writes = sorted(state.live.values(), key=lambda change: change.write().order)
            if not item:  # the null slot: one register, its delete included
                standing += [write for write in writes[-1:] if not write.dead]
            elif not any(write.dead for write in writes) or self._stands_now(uid, key, item):
                standing += [write for write in writes if not write.dead]
        return max(standing, key=lambda change: change.write().order, default=None)

    def _stands_now(self, uid: bytes, key: bytes, item: bytes) -> bool:
        _, vid, _ = split_version(item)
        with self._open_view() as view:
            return view.version(uid, key, VersionId(vid)) is not None


def _say_when(made_ms: int) -> str:
    when = datetime.fromtimestamp(made_ms / 1000, UTC).isoformat(timespec="seconds")
    return f"this site joined by a checkpoint of {when} and does not know what was before: ask an older site"


def _key_of(change: Change) -> bytes:
    if change.family == FAMILY_VERSION:
        return split_version(change.item)[2]
    return split_null_slot(change.item)[1]
