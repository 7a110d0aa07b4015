"""Which objects need a chunk: what damage means to people.

Stands beside ``verify``, and is asked only of chunks that are bad or missing. It walks every version once, so it is as
slow as a listing of the whole site. ``name_change`` knows at once what one change wrote.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

from gateway.store.errors import Damaged
from gateway.store.index_format import CHUNK_HOLDS, decode_chunk
from gateway.store.item_format import FAMILY_NULL_SLOT, FAMILY_VERSION, place_of
from gateway.store.item_rows import scan_buckets
from gateway.store.local_frames import FrameAbsent, LocalFrames
from gateway.store.ports import Version
from gateway.store.version_ids import decode_order
from gateway.store.views import View
from replication.change_format import Change, Ref

NAMES_MAX: Final = 10


class NeedingObject(NamedTuple):
    """A version that cannot be read without some chunk."""

    bucket: str
    key: str
    version_id: str
    is_latest: bool

    def __str__(self) -> str:
        shown = f"{self.bucket}/{self.key}"
        return shown if self.is_latest else f"{shown} (version {self.version_id})"


def find_objects(view: View, local: LocalFrames, chunk_ids: Iterable[bytes]) -> dict[bytes, tuple[NeedingObject, ...]]:
    """For each chunk up to ``NAMES_MAX`` versions that cannot be read without it; none if only parts of uploads do."""
    needed = {chunk_id: {chunk_id} for chunk_id in chunk_ids}
    while _add_parents(view, local, needed):
        pass
    found: dict[bytes, list[NeedingObject]] = defaultdict(list)
    for needing_object, refs in _objects(view):
        ids = {ref.id for ref in refs}
        for chunk_id, needing in needed.items():
            if ids & needing and len(found[chunk_id]) < NAMES_MAX:
                found[chunk_id].append(needing_object)
    return {chunk_id: tuple(objects) for chunk_id, objects in found.items()}


def name_objects(view: View, local: LocalFrames, chunk_ids: Iterable[bytes]) -> dict[bytes, tuple[str, ...]]:
    """The same in words."""
    found = find_objects(view, local, chunk_ids)
    return {chunk_id: tuple(map(str, objects)) for chunk_id, objects in found.items()}


def name_change(view: View, change: Change) -> NeedingObject | None:
    """The version that a change wrote; None if it wrote none, or that is gone."""
    if change.family not in (FAMILY_NULL_SLOT, FAMILY_VERSION):
        return None
    uid, key = place_of(change.family, change.item)
    names = {bucket.uid: bucket.name for bucket in scan_buckets(view.transaction)}
    for version in view.scan_versions(uid, key):
        if version.key != key:
            break
        if decode_order(version.order)[1] == change.dot:
            return _name(names.get(uid, ""), version)
    return None


def _add_parents(view: View, local: LocalFrames, needed: dict[bytes, set[bytes]]) -> bool:
    """Add pages that list, and patches that are made against, what is needed: whether there were any."""
    changed = False
    for chunk_id, data in view.transaction.scan(view.transaction.tables.chunks):
        row = decode_chunk(data)
        below = {base.chunk_id for base in row.bases}
        if row.flags & CHUNK_HOLDS and row.local:
            try:
                below |= {ref.id for ref in local.children(chunk_id, row)}
            except (Damaged, FrameAbsent):
                continue
        for needing in needed.values():
            if below & needing and chunk_id not in needing:
                needing.add(chunk_id)
                changed = True
    return changed


def _objects(view: View) -> Iterator[tuple[NeedingObject, tuple[Ref, ...]]]:
    for bucket in scan_buckets(view.transaction):
        for version in view.scan_versions(bucket.uid):
            yield _name(bucket.name, version), version.record.refs()


def _name(bucket: str, version: Version) -> NeedingObject:
    return NeedingObject(bucket, version.key.decode(errors="replace"), version.id.text, version.is_latest)
