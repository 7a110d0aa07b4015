"""The state of a site as ``skerry status`` tells it: counted from the log and the index, never from memory.

Works beside a running server and without one: backlog, conflicts and what was applied of other sites come from one look
into the store; what only the replication process knows (is the cloud reachable, does something stop) from the report it
leaves in ``DATA/run``, which is told to be old when nobody replicates.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

import msgspec

from gateway.cli.drill_report import DrillReport, read_drill
from gateway.cli.epoch_progress import describe_epochs
from gateway.cli.fleet_view import cut_age_s, describe_fleet, describe_waits, list_waits, see_fleet
from gateway.cli.losses import count_accepted, describe_losses, say_held_back
from gateway.cli.mirror_reports import describe_mirrors
from gateway.cli.opening import OpenSite
from gateway.cli.replication_turn import is_replicating
from gateway.cli.request_tally import describe_requests
from gateway.cli.run_files import replace_run_file
from gateway.cli.scrub_runner import describe_scrub, read_scrub
from gateway.cli.tier_runner import describe_tier
from gateway.store.conflicts import count_conflicts
from gateway.store.item_format import is_local_uid
from gateway.store.object_rows import count_visible
from gateway.store.ports import Bucket
from replication.departures import is_revoked, why_out
from replication.status import (
    DaemonReport,
    ReplicationStatus,
    ReportInvalid,
    TombstoneAccount,
    assess,
    decode_report,
    encode_report,
)
from replication.trusted_time import is_too_far

REPORT_NAME: Final = "replication.json"


def report_path(site: OpenSite) -> Path:
    """Where the replication process leaves its report."""
    return site.directory.run / REPORT_NAME


def write_report(site: OpenSite, report: DaemonReport) -> None:
    """Leave a report for others to read."""
    replace_run_file(report_path(site), encode_report(report))


def read_report(site: OpenSite) -> DaemonReport | None:
    """The last report, marked as not running if nobody replicates; None if there is none that can be read."""
    try:
        report = decode_report(report_path(site).read_bytes())
    except (FileNotFoundError, ReportInvalid):
        return None
    return report if is_replicating(site.directory) else msgspec.structs.replace(report, running=False)


def count_local(site: OpenSite) -> dict[str, int]:
    """Buckets whose objects never leave this site, by name, with how many versions lie there."""
    with site.store.view() as view:
        return {
            bucket.name: count_visible(view.transaction, bucket.uid)
            for bucket in view.buckets()
            if is_local_uid(bucket.uid)
        }


def assess_site(site: OpenSite, *, except_local: bool = False) -> ReplicationStatus:
    """Whether this site is safe to lose, as of now; ``except_local``: but for what was told to stay on it."""
    replica, report = site.replica, read_report(site) if site.config.cloud else None
    local = {} if except_local else count_local(site)
    return assess(
        replica.backlog(),
        replica.shipped(),
        report,
        has_cloud=site.config.cloud is not None,
        recoverable=site.realm.recoverable,
        now_ms=time.time_ns() // 1_000_000,
        out=_why_out(site),
        lost=say_held_back(site, report),
        kept_here=[f"bucket {name} stays here: {n} versions are nowhere else" for name, n in local.items() if n],
    )


def _why_out(site: OpenSite) -> str:
    """Why nothing of this site is taken in any more, and who it waits for before it may go on as another; empty if it
    is a member.
    """
    out, me = why_out(site.replica), site.replica.identity().site
    if not out or is_revoked(site.replica):
        return out
    census, fleet = see_fleet(site, read_report(site))
    names = {one.site: one.name for one in fleet}
    waited_for = [names.get(other) or other.hex() for other in census.undecided(me)]
    return f"{out}; {', '.join(waited_for)} did not say yet how far its log counts" if waited_for else out


def describe_site(site: OpenSite) -> dict[str, Any]:
    """The document of ``skerry status --json``."""
    status = assess_site(site)
    with site.store.view() as view:
        conflicts = count_conflicts(view)
        renamed = [bucket for bucket in view.buckets() if bucket.name != bucket.record.name]
    identity = site.replica.identity()
    report, drill = status.daemon, read_drill(site)
    census, fleet = see_fleet(site, report)
    waits = list_waits(census, report)
    return {
        "site": site.config.site_name,
        "site_id": identity.site.hex(),
        "incarnation": identity.incarnation.hex(),
        "realm": identity.realm.hex(),
        "backlog_bytes": status.backlog_bytes,
        "backlog_changes": status.backlog_changes,
        "oldest_unsent_age_s": status.oldest_unsent_age_s,
        "open_upload_bytes": status.open_upload_bytes,
        "conflicts": conflicts.conflicts,
        "broken_conditions": conflicts.broken_conditions,
        "void_purges": conflicts.void_purges,
        "renamed_buckets": {bucket.name: bucket.record.name for bucket in renamed},
        "safe_to_lose": status.safe_to_lose,
        "reasons": list(status.unsafe_reasons),
        "warnings": [*status.warnings, *_list_warnings(site, report, drill, renamed)],
        "read_only": site.store.shared.read_only,
        "index_damaged": site.store.is_index_damaged,
        "local_buckets": count_local(site),
        "mirrors": describe_mirrors(site),
        "tier": describe_tier(site),
        "scrub": describe_scrub(site),
        "lost": describe_losses(site, report),
        "partings": [
            {
                "site_id": parting.site.hex(),
                "incarnation": parting.incarnation.hex(),
                "at_ms": parting.at_ms,
                "reason": parting.reason,
                "changes_issued_anew": parting.changes,
            }
            for parting in site.replica.partings()
        ],
        "replication": None if report is None else _describe_report(report),
        "drill": None if drill is None else {"sound": drill.sound, **msgspec.to_builtins(drill)},
        "sites": _describe_remotes(site, report, {one.site: one.name for one in fleet}),
        "fleet": describe_fleet(fleet, report),
        "waiting_for": describe_waits(waits, fleet),
        "stable_cut_age_s": round(cut_age_s(waits), 3),
        "cloud_objects": None if report is None or report.held is None else msgspec.to_builtins(report.held),
        "tombstones": None if report is None or report.tombstones is None else _describe_dead(report.tombstones),
        "keys": {"epochs": describe_epochs(site, report, exact=False)},
        "cloud_requests": describe_requests(site.requests.counted(), site.config.tariff) if site.requests else None,
        "cloud_collected": None if report is None or not report.collected else msgspec.to_builtins(report.collected),
    }


def _list_warnings(
    site: OpenSite, report: DaemonReport | None, drill: DrillReport | None, renamed: Iterable[Bucket]
) -> list[str]:
    """What a person should look at, besides what ``assess`` warns of."""
    warnings = []
    if drill is not None and not drill.sound:
        warnings.append(f"the last drill did not get everything back: {drill.findings[0]}; run `skerry drill` again")
    if scrub := read_scrub(site).findings:
        warnings.append(f"the scrub found damage: {scrub[0]}; see `skerry verify --mend`")
    if accepted := count_accepted(site):
        warnings.append(f"{accepted} chunks are lost, as was accepted: `skerry lost` names the objects that need them")
    if report is not None and (met := [one for one in report.lost if not one.holds_back]):
        warnings.append(f"collection in the bucket met {len(met)} chunks that cannot be had: {met[0].reason}")
    if report is not None and is_too_far(report.skew_ms, site.config.clock.warn_skew_s):
        ahead = "ahead of" if (report.skew_ms or 0) > 0 else "behind"
        warnings.append(
            f"this site's clock is {abs(report.skew_ms or 0) / 1000:.0f} s {ahead} the cloud's: set it right"
        )
    warnings += [
        f"two owners made a bucket {bucket.record.name!r}: the later one is called {bucket.name!r} on every site"
        for bucket in renamed
    ]
    if site.store.shared.clock_wrong:
        warnings.append("the site takes no writes: its clock is further off than [clock] refuse_skew_s")
    if site.store.shared.read_only:
        warnings.append("the site takes no writes: a sync of the disk failed")
    if site.store.is_index_damaged:
        warnings.append("the index is damaged: restart the site, and it is rebuilt from the log")
    return warnings


def _describe_dead(account: TombstoneAccount) -> dict[str, Any]:
    """Tombstones as last counted: how many, and why they are kept (``endings``; what is not yet stable waits for whom
    ``waiting_for`` names).
    """
    return {"total": sum(account.kept.values()), **msgspec.to_builtins(account)}


def _describe_report(report: DaemonReport) -> dict[str, Any]:
    kept = (
        "running",
        "cloud",
        "link",
        "last_error",
        "fenced",
        "stopped",
        "ended",
        "skew_ms",
        "published",
        "written_ms",
    )
    return {name: getattr(report, name) for name in kept}


def _describe_remotes(site: OpenSite, report: DaemonReport | None, names: dict[bytes, str]) -> list[dict[str, Any]]:
    """What was applied of every other log: durable positions, with what the report adds."""
    told = {(remote.site, remote.incarnation): remote for remote in report.remotes} if report else {}
    described = []
    for (origin, incarnation), position in sorted(site.replica.pulled().items()):
        remote = told.get((origin.hex(), incarnation.hex()))
        described.append(
            {
                "site_id": origin.hex(),
                "name": names.get(origin, ""),
                "incarnation": incarnation.hex(),
                "applied_batches": position.n,
                "applied_changes": position.seq,
                "known_batches": max(remote.head_n, position.n) if remote else position.n,
                "last_sent_ms": remote.sent_ms if remote else None,
                "stopped": remote.stopped if remote else "",
            }
        )
    return described
