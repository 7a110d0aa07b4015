"""What the admin port of a running server tells: readiness, and the numbers of ``skerry status`` for Prometheus."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping

from gateway.cli.drill_report import read_drill
from gateway.cli.fleet_view import cut_age_s, list_waits, see_fleet
from gateway.cli.losses import count_accepted, find_held_back
from gateway.cli.opening import OpenSite
from gateway.cli.scrub_runner import describe_scrub
from gateway.cli.site_status import assess_site
from gateway.cli.tier_runner import describe_tier
from gateway.store.conflicts import count_conflicts
from replication.cloud_requests import KINDS
from replication.status import CloudAccount, CollectedTotals


class SiteStatus:
    """See ``gateway.http.admin.StatusProvider``. ``is_serving``: whether all workers take connections."""

    def __init__(self, site: OpenSite, is_serving: Callable[[], bool]) -> None:
        self._site = site
        self._is_serving = is_serving

    def readiness(self) -> list[str]:
        """Why the site is not ready; empty if it is. An island without its cloud is ready."""
        reasons = [] if self._is_serving() else ["not every worker is serving"]
        if self._site.store.shared.read_only:
            reasons.append("the site takes no writes: a sync of the disk failed")
        return reasons

    def gauges(self) -> Mapping[str, float]:
        """Numbers of the site, names without prefix."""
        status = assess_site(self._site)
        with self._site.store.view() as view:
            conflicts = count_conflicts(view)
        report, tier = status.daemon, describe_tier(self._site)
        census, fleet = see_fleet(self._site, report)
        waits, told = list_waits(census, report), [one.status for one in fleet if one.is_waited_for and one.status]
        heard = [one.seen_ms for one in fleet if one.is_waited_for]
        full_days = [one.full_in_days for one in told if one.full_in_days >= 0]
        partings = self._site.replica.partings()
        drill, scrub = read_drill(self._site), describe_scrub(self._site)
        held = (report and report.held) or CloudAccount()
        collected = (report and report.collected) or CollectedTotals()
        asked = self._site.requests.counted().total if self._site.requests else {}
        return {
            "backlog_bytes": status.backlog_bytes,
            "backlog_changes": status.backlog_changes,
            "oldest_unsent_age_seconds": status.oldest_unsent_age_s or 0.0,
            "open_upload_bytes": status.open_upload_bytes,
            "conflicts": conflicts.conflicts,
            "broken_conditions": conflicts.broken_conditions,
            "safe_to_lose": float(status.safe_to_lose),
            "read_only": float(self._site.store.shared.read_only),
            "index_damaged": float(self._site.store.is_index_damaged),
            "replication_running": float(report is not None and report.running),
            "cloud_reachable": float(report is not None and report.cloud == "ok"),
            "local_bytes": tier["local_bytes"],
            "remote_only_bytes": tier["remote_only_bytes"],
            "evicted_bytes": tier["evicted_bytes"],
            "eviction_short_bytes": tier["short_bytes"],
            "void_purges": conflicts.void_purges,
            "renamed_buckets": conflicts.renamed_buckets,
            "oldest_unverified_age_seconds": scrub["oldest_unverified_age_s"] or 0.0,
            "scrub_findings": len(scrub["findings"]),
            "lost_held_back": float(find_held_back(self._site, report) is not None),
            "lost_accepted_chunks": count_accepted(self._site),
            "scrub_mended": scrub["mended"],
            "drill_sound": float(drill is not None and drill.sound),
            "drill_time_seconds": drill.at_ms / 1000 if drill is not None else 0.0,
            "fleet_sites": sum(one.is_waited_for for one in fleet) + 1,
            "fleet_backlog_changes": sum(one.backlog_changes for one in told),
            "fleet_backlog_bytes": sum(one.backlog_bytes for one in told),
            "fleet_cloud_bytes": sum(one.status.cloud_bytes for one in fleet if one.status),
            "fleet_cloud_going_bytes": sum(one.status.cloud_going_bytes for one in fleet if one.status),
            "fleet_unheard_seconds": max([time.time() - at_ms / 1000 for at_ms in heard], default=0.0),
            "fleet_full_in_days": min(full_days, default=math.inf),
            "sites_holding_back": len({wait.site for wait in waits}),
            "stable_cut_age_seconds": cut_age_s(waits),
            "tombstones_kept": float(sum(report.tombstones.kept.values()) if report and report.tombstones else 0),
            "tombstones_ended": float(report.tombstones.ended if report and report.tombstones else 0),
            "clock_skew_seconds": (report.skew_ms or 0) / 1000 if report else 0.0,
            "clock_wrong": float(self._site.store.shared.clock_wrong),
            "refused_logs": sum(bool(remote.refused) for remote in report.remotes) if report else 0,
            "partings": len(partings),
            "parting_time_seconds": partings[-1].at_ms / 1000 if partings else 0.0,
            "changes_issued_anew": sum(parting.changes for parting in partings),
            "cloud_live_bytes": held.live_bytes,
            "cloud_dead_bytes": held.dead_bytes,
            "cloud_doomed_bytes": held.doomed_bytes,
            "cloud_packs_deleted": collected.packs_deleted,
            "cloud_batches_deleted": collected.batches_deleted,
            "cloud_orphans_deleted": collected.orphans_deleted,
            **{f"cloud_{kind}_requests": asked.get(kind, 0) for kind in KINDS},
            "remote_logs": len(self._site.replica.pulled()),
            "remote_logs_stopped": sum(bool(remote.stopped) for remote in report.remotes) if report else 0,
        }
