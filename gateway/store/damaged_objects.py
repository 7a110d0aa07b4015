"""Which objects need a chunk: what damage means to people.

Stands beside ``verify``, and is asked only of chunks that are bad or missing. It walks every version once, so it is as
slow as a listing of the whole site; names are bucket and key, with the version where it is not the current one.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Final

from gateway.store.errors import Damaged
from gateway.store.index_format import CHUNK_HOLDS, decode_chunk
from gateway.store.item_rows import scan_buckets
from gateway.store.local_frames import FrameAbsent, LocalFrames
from gateway.store.views import View
from replication.change_format import Ref

NAMES_MAX: Final = 10


def name_objects(view: View, local: LocalFrames, chunk_ids: Iterable[bytes]) -> dict[bytes, tuple[str, ...]]:
    """For each chunk up to ``NAMES_MAX`` objects that cannot be read without it; none if only parts of uploads do."""
    needed = {chunk_id: {chunk_id} for chunk_id in chunk_ids}
    while _add_parents(view, local, needed):
        pass
    found: dict[bytes, list[str]] = defaultdict(list)
    for name, refs in _objects(view):
        ids = {ref.id for ref in refs}
        for chunk_id, needing in needed.items():
            if ids & needing and len(found[chunk_id]) < NAMES_MAX:
                found[chunk_id].append(name)
    return {chunk_id: tuple(names) for chunk_id, names in found.items()}


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


def _objects(view: View) -> Iterator[tuple[str, tuple[Ref, ...]]]:
    for bucket in scan_buckets(view.transaction):
        for version in view.scan_versions(bucket.uid):
            shown = f"{bucket.name}/{version.key.decode(errors='replace')}"
            if not version.is_latest:
                shown += f" (version of order {version.order.hex()[:16]})"
            yield shown, version.record.refs()
