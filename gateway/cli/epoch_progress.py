"""How far the sites are with sealing anew what lies under epochs that are to end, and who still needs one.

For ``skerry rekey``, ``keys`` and ``status``. What lies on this disk can be counted when asked; what lies in the bucket
the replication process counted at its last look (its report); of itself every other site tells with its status. Whoever
says that it is done said so of what it looked at: so a key is given up on each site only where nothing lies under it by
that site's own count (``may_need``), whatever others concluded.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gateway.cli.fleet_view import see_fleet
from gateway.cli.opening import OpenSite
from gateway.cli.told_status import collects
from gateway.s3.times import format_iso
from replication.fleet import FleetSite, SiteState
from replication.status import DaemonReport, EpochAccount


def describe_epochs(site: OpenSite, report: DaemonReport | None, *, exact: bool) -> list[dict[str, Any]]:
    """Every epoch, oldest first; of those that are to end what is left under each. ``exact``: count what lies on this
    disk now (headers of all segments are read), else as the report tells.
    """
    epochs = site.realm.epochs()
    is_any = any(epoch.retired for epoch in epochs)
    counted = site.store.sealed.count() if is_any and exact else None
    fleet = _others(see_fleet(site, report)[1]) if is_any else []
    described = []
    for epoch in epochs:
        row: dict[str, Any] = {
            "id": epoch.id.hex(),
            "created": format_iso(epoch.created_ms),
            "current": epoch.current,
            "retired": epoch.retired,
        }
        if epoch.retired:
            looked = report.epochs.get(epoch.id.hex()) if report is not None else None
            told = looked.here if looked is not None else None
            row["sealed_here"] = counted[epoch.id] if counted is not None else told
            row["objects_in_bucket"] = looked.bucket if looked is not None else None
            row["needed_by"] = [_name(one) for one in fleet if not _is_done(one, epoch.id)]
        described.append(row)
    return described


def find_needs(site: OpenSite, report: DaemonReport | None, epoch: bytes) -> list[str]:
    """Why an epoch's key cannot go yet: what lies under it, and whose that is. Empty: nothing any more."""
    needs = []
    if here := site.store.sealed.count()[epoch]:
        needs.append(f"{here} things on this site's disk (frames, log batches, segments) are sealed under it")
    if site.cloud is None:
        return needs
    looked = report.epochs.get(epoch.hex()) if report is not None else None
    in_bucket = find_needs_in_bucket(epoch, looked, see_fleet(site, report)[1])
    if looked is not None and looked.bucket and not collects(site.config):
        in_bucket.append(
            "this site deletes nothing there ([retention] collect_cloud, or it takes in some buckets only)"
        )
    return needs + in_bucket


def find_needs_in_bucket(epoch: bytes, looked: EpochAccount | None, fleet: Sequence[FleetSite]) -> list[str]:
    """The part of it that is about the bucket: ``looked``, what this site counted there last; and the other sites."""
    needs = []
    if looked is None:
        needs.append("this site has not looked yet at what it has in the bucket: it does when it replicates")
    elif looked.bucket:
        needs.append(f"{looked.bucket} objects of this site in the bucket are sealed under it")
    return needs + [
        f"site {_name(one)} has not said that it is done with it" for one in _others(fleet) if not _is_done(one, epoch)
    ]


def may_need(site: OpenSite, report: DaemonReport | None, epoch: bytes) -> bool:
    """Whether something of this site may lie under an epoch, as far as it knows itself."""
    looked = report.epochs.get(epoch.hex()) if report is not None else None
    in_bucket = site.cloud is not None and (looked is None or looked.bucket > 0)
    return in_bucket or site.store.sealed.count()[epoch] > 0


def _others(fleet: Sequence[FleetSite]) -> list[FleetSite]:
    return [one for one in fleet if one.state in (SiteState.MEMBER, SiteState.RETIRING)]


def _is_done(one: FleetSite, epoch: bytes) -> bool:
    return one.status is not None and epoch in one.status.rekeyed


def _name(one: FleetSite) -> str:
    return one.name or one.site.hex()
