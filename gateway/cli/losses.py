"""What status tells of bytes that cannot be had: what replication waits for, with its object, and what was accepted.

What the replication process met stands in its report; whether it is still so is looked up here. Everything there is,
and the way out, is ``skerry lost``.
"""

from __future__ import annotations

from typing import Any

from gateway.cli.opening import OpenSite
from gateway.store.chunk_rows import read_chunk
from gateway.store.cloud_rows import locate_chunk
from gateway.store.damaged_objects import NeedingObject, name_change
from gateway.store.losses import is_accepted, scan_accepted
from replication.change_format import decode_change
from replication.status import DaemonReport, LostBytes


def find_held_back(site: OpenSite, report: DaemonReport | None) -> tuple[LostBytes, NeedingObject | None] | None:
    """The chunk that the first unsent change waits for, and the version it wrote; None if it waits for none."""
    held = next((one for one in report.lost if one.holds_back), None) if report is not None else None
    if held is None:
        return None
    changes = site.replica.read_changes(site.replica.shipped().seq, 1, 1)
    with site.store.view() as view:
        if not changes or is_accepted(view.transaction, bytes.fromhex(held.chunk)):
            return None
        return held, name_change(view, decode_change(changes[0]))


def say_held_back(site: OpenSite, report: DaemonReport | None) -> list[str]:
    """The same as a reason not to lose this site."""
    found = find_held_back(site, report)
    if found is None:
        return []
    held, needing = found
    where = f"{needing.bucket}/{needing.key} (version {needing.version_id})" if needing is not None else "one change"
    return [f"bytes of {where} cannot be had, and nothing behind it is sent: see `skerry lost`; {held.reason}"]


def count_accepted(site: OpenSite) -> int:
    """Chunks whose loss was accepted, that something needs, and that are still nowhere."""
    with site.store.view() as view:
        transaction = view.transaction
        rows = [(chunk_id, read_chunk(transaction, chunk_id)) for chunk_id in scan_accepted(transaction)]
        return sum(
            row is not None and row.refcount > 0 and not row.local and locate_chunk(transaction, chunk_id) is None
            for chunk_id, row in rows
        )


def describe_losses(site: OpenSite, report: DaemonReport | None) -> dict[str, Any]:
    """The ``lost`` of ``skerry status --json``: ``held_back`` stops shipping, ``collection`` what collection met."""
    found = find_held_back(site, report)
    held = None
    if found is not None:
        held = {"chunk": found[0].chunk, "reason": found[0].reason}
        held |= found[1]._asdict() if found[1] is not None else {}
    met = [] if report is None else [one for one in report.lost if not one.holds_back]
    return {
        "held_back": held,
        "collection": [{"chunk": one.chunk, "reason": one.reason} for one in met],
        "accepted_chunks": count_accepted(site),
    }
