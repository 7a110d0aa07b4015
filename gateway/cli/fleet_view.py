"""The fleet as commands, status and metrics tell it: from the log, with what the replication process' report adds."""

from __future__ import annotations

import time
from typing import Any, Final

from gateway.cli.opening import OpenSite
from gateway.cli.told_status import describe_own
from replication.fleet import FleetLog, FleetSite, Wait, follow_waits, list_fleet
from replication.member_format import read_register
from replication.membership import Census, take_census
from replication.ports import Origin
from replication.site_status_format import SiteStatus
from replication.status import DaemonReport

WAITS_SHOWN: Final = 5


def heads_of(report: DaemonReport | None) -> dict[Origin, int]:
    """How far logs reach in the bucket, as the replication process saw it last."""
    remotes = report.remotes if report else ()
    return {(bytes.fromhex(one.site), bytes.fromhex(one.incarnation)): one.head_n for one in remotes if one.head_n}


def see_fleet(site: OpenSite, report: DaemonReport | None) -> tuple[Census, list[FleetSite]]:
    """Everybody as of now."""
    census = take_census(site.replica, heads_of(report))
    own = describe_own(site, report)
    return census, list_fleet(census, read_register(site.replica.statements()), own, _now_ms())


def list_waits(census: Census, report: DaemonReport | None) -> tuple[Wait, ...]:
    """Who holds the stable cut back; since when is what the replication process noticed."""
    return follow_waits(report.waits if report else (), census, _now_ms())


def cut_age_s(waits: tuple[Wait, ...]) -> float:
    """For how long the member that holds the cut back longest has made no progress; 0: nobody does."""
    return max(((_now_ms() - wait.since_ms) / 1000 for wait in waits), default=0.0)


def describe_fleet(fleet: list[FleetSite], report: DaemonReport | None) -> list[dict[str, Any]]:
    """The rows of ``skerry sites list --json``."""
    told = {(one.site, one.incarnation): one for one in report.remotes} if report else {}
    rows = []
    for one in fleet:
        status, now_ms = one.status, _now_ms()
        row: dict[str, Any] = {
            "site_id": one.site.hex(),
            "name": one.name,
            "state": one.state.value,
            "release": status.release if status else None,
            "reads_changes_up_to": status.reader_version if status else None,
            "backlog_changes": status.backlog_changes if status else None,
            "backlog_bytes": status.backlog_bytes if status else None,
            "oldest_unsent_age_s": _age_s(status.oldest_unsent_ms, now_ms) if status else None,
            "free_bytes": status.free_bytes if status and status.free_bytes >= 0 else None,
            "full_in_days": round(status.full_in_days, 2) if status and status.full_in_days >= 0 else None,
            "clock_skew_ms": status.skew_ms if status else None,
            "conflicts": status.open_conflicts if status else None,
            **_describe_collection(status or SiteStatus(), now_ms),
            "last_seen_ms": one.seen_ms or None,
            "last_seen_age_s": _age_s(one.seen_ms, now_ms),
            "is_waited_for": one.is_waited_for,
            "heir": one.heir.hex() if one.heir else None,
            "logs": [],
        }
        for log in one.logs:
            remote = told.get((one.site.hex(), log.incarnation.hex()))
            row["logs"].append(_describe_log(log, remote.stopped if remote else "", remote.refused if remote else ""))
        rows.append(row)
    return rows


def describe_waits(waits: tuple[Wait, ...], fleet: list[FleetSite]) -> list[dict[str, Any]]:
    """What waits for whom: the members that hold the stable cut back, longest first."""
    names = {one.site.hex(): one.name for one in fleet}
    return [
        {
            "site_id": wait.site,
            "name": names.get(wait.site, ""),
            "incarnation": wait.incarnation or None,
            "changes_not_acknowledged": wait.behind,
            "since_ms": wait.since_ms,
            "age_s": _age_s(wait.since_ms, _now_ms()),
        }
        for wait in waits
    ]


def format_waits(waits: list[dict[str, Any]]) -> list[str]:
    """Lines for a person, of what ``describe_waits`` says: the longest waits each, the rest of a large realm together
    (who is waited for no longer than its acknowledgements take is not worth a line).
    """
    lines = [
        f"waiting for {wait['name'] or wait['site_id']}: {wait['changes_not_acknowledged']} changes not acknowledged, "
        f"for {wait['age_s'] or 0:.0f} s"
        for wait in waits[:WAITS_SHOWN]
    ]
    if rest := waits[WAITS_SHOWN:]:
        longest_s = max(wait["age_s"] or 0 for wait in rest)
        lines.append(f"waiting for {len(rest)} more sites, for no longer than {longest_s:.0f} s")
    return lines


def _describe_collection(status: SiteStatus, now_ms: int) -> dict[str, Any]:
    """What a site has in the bucket, what of it is to go, what is dead in its index, for how long it was held back."""
    known = ("cloud_live_bytes", "cloud_dead_bytes", "cloud_doomed_bytes", "tombstones")
    told = {name: count if (count := getattr(status, name)) >= 0 else None for name in known}
    collects = bool(status.collects) if status.collects >= 0 else None
    return {**told, "collects": collects, "held_back_age_s": _age_s(status.held_since_ms, now_ms)}


def _describe_log(log: FleetLog, stopped: str, refused: str) -> dict[str, Any]:
    return {
        "incarnation": log.incarnation.hex(),
        "applied_batches": log.batches,
        "applied_changes": log.changes,
        "known_batches": log.head,
        "ended": log.closed,
        "stopped": stopped,
        "refused": refused,
    }


def _age_s(at_ms: int, now_ms: int) -> float | None:
    return round(max(0, now_ms - at_ms) / 1000, 3) if at_ms else None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
