"""What replication says of itself: the daemon's report, and the exact answer to "is it safe to lose this site?".

``assess`` is pure: it takes the backlog (counted from the log, durable), and the daemon's last report (written to a
file by whoever composes it, so that a command beside a running server can read it). Unreachable is unknown: it makes
nothing unsafe that was confirmed, and nothing safe that was not.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from replication.collection_ports import HeldObject
from replication.fleet import Wait
from replication.ports import Backlog, LogPosition


class ReportInvalid(ValueError):
    """A report file that this Skerry cannot read."""


class RemoteReport(msgspec.Struct, frozen=True):
    """One remote log: how far it was applied, how far it is known to reach, what stops it, when its site last spoke."""

    site: str
    incarnation: str
    applied_n: int
    applied_seq: int
    head_n: int
    stopped: str
    sent_ms: int
    applied_ms: int
    refused: str = ""


class CloudAccount(msgspec.Struct):
    """This site's objects of frames in the bucket, as last looked at: ciphertext bytes, and those of them that
    something needs, that nothing does (or did lately), and that are in doomed objects.
    """

    objects: int = 0
    bytes: int = 0
    live_bytes: int = 0
    dead_bytes: int = 0
    doomed_bytes: int = 0

    def add(self, held: HeldObject) -> None:
        """One more object."""
        self.objects += 1
        self.bytes += held.bytes
        if held.doomed:
            self.doomed_bytes += held.bytes
        else:
            self.live_bytes += held.live_bytes
            self.dead_bytes += held.bytes - held.live_bytes


class CollectedTotals(msgspec.Struct):
    """What collection in the bucket did since the daemon began: packs deleted, ciphertext bytes moved to new ones,
    batches and indexes of own logs deleted, objects that interrupted rounds had left; ``at_ms``: the last look.
    """

    packs_deleted: int = 0
    moved_bytes: int = 0
    batches_deleted: int = 0
    indexes_deleted: int = 0
    orphans_deleted: int = 0
    at_ms: int = 0


class EpochAccount(msgspec.Struct, frozen=True):
    """What of this site is sealed under an epoch that is to end: things on its disk (frames, log batches, segments),
    objects in the bucket.
    """

    here: int = 0
    bucket: int = 0

    @property
    def is_done(self) -> bool:
        """Whether that is nothing."""
        return not self.here and not self.bucket


class TombstoneAccount(msgspec.Struct):
    """Tombstones of this site's state: those ``kept``, by the reason, as of the last walk; how many were ``ended``
    since the start; since when (trusted unix ms; 0: not yet) everybody is known to have seen what is to be ended next,
    and from when on it may be.
    """

    kept: dict[str, int] = {}
    ended: int = 0
    horizon_ms: int = 0
    due_ms: int = 0


class LostBytes(msgspec.Struct, frozen=True):
    """A chunk that replication needs and that cannot be had here or in the bucket. ``holds_back``: the first unsent
    change waits for it; else collection met it, which goes on without.
    """

    chunk: str
    reason: str
    holds_back: bool = False


class DaemonReport(msgspec.Struct, frozen=True):
    """The replication daemon's own account. ``cloud`` is a ``Reachability`` value; empty strings mean nothing is
    wrong. ``stopped``: what no waiting mends, such as a bucket of another realm. ``ended``: this site retired or was
    revoked, and ships nothing any more; ``joining``: how far a join by checkpoint is; ``waits``: who holds the stable
    cut back; ``skew_ms``: the site's clock less the cloud's, None if it is not known; ``accusers``: see ``Puller``;
    ``held``: this site's objects in the bucket, ``tombstones``: what of its state is dead; None before the first look;
    ``collected``: what was deleted in the bucket; ``epochs``: for each retired epoch what is left under it; ``lost``:
    bytes that cannot be had.
    """

    written_ms: int
    running: bool = False
    cloud: str = "unknown"
    cloud_since_ms: int = 0
    last_error: str = ""
    fenced: str = ""
    stopped: str = ""
    create_once: str = ""
    published: bool = False
    recoverable: bool = False
    shipped_n: int = 0
    shipped_seq: int = 0
    link: str = ""
    remotes: tuple[RemoteReport, ...] = ()
    waits: tuple[Wait, ...] = ()
    skew_ms: int | None = None
    accusers: tuple[str, ...] = ()
    ended: str = ""
    joining: str = ""
    held: CloudAccount | None = None
    tombstones: TombstoneAccount | None = None
    collected: CollectedTotals | None = None
    epochs: dict[str, EpochAccount] = {}
    lost: tuple[LostBytes, ...] = ()


class ReplicationStatus(msgspec.Struct, frozen=True):
    """The answer for people and scripts; field names are part of ``skerry status --json``."""

    backlog_bytes: int
    backlog_changes: int
    oldest_unsent_age_s: float | None
    open_upload_bytes: int
    safe_to_lose: bool
    unsafe_reasons: tuple[str, ...]
    warnings: tuple[str, ...]
    daemon: DaemonReport | None


def assess(
    backlog: Backlog,
    shipped: LogPosition,
    report: DaemonReport | None,
    *,
    has_cloud: bool,
    recoverable: bool,
    now_ms: int,
    kept_here: Sequence[str] = (),
    out: str = "",
    lost: Sequence[str] = (),
) -> ReplicationStatus:
    """Whether everything acknowledged here could be rebuilt from the bucket and the recovery key, and if not, why.

    ``kept_here``: what was told never to leave the site, a line each; ``lost``: bytes that cannot be had; ``out``: why
    nothing of this site is taken in any more (``departures.why_out``): what it shipped since may be in the bucket, and
    count nowhere. Pure.
    """
    reasons = []
    if not has_cloud:
        reasons.append("no cloud is configured")
    if backlog.changes or backlog.bytes:
        reasons.append(f"{backlog.changes} changes ({backlog.bytes} bytes) are not in the cloud yet")
    reasons += lost
    if has_cloud and report is None:
        reasons.append("replication has not run yet: what the bucket holds is unknown")
    if out:
        reasons.append(f"{out}; what it shipped since counts nowhere until it has gone on as another site")
    elif report is not None and report.fenced:
        reasons.append(f"fenced: {report.fenced}")
    if report is not None and report.stopped:
        reasons.append(f"replication cannot go on: {report.stopped}")
    if has_cloud and report is not None and not report.published and shipped.n == 0:
        reasons.append("the realm's keys are not confirmed in the bucket")
    if not recoverable:
        reasons.append("there is no recovery key: without this site's realm key the bucket could not be read")
    reasons += kept_here
    oldest = None if backlog.oldest_ms is None else max(0.0, (now_ms - backlog.oldest_ms) / 1000)
    return ReplicationStatus(
        backlog.bytes,
        backlog.changes,
        oldest,
        backlog.open_upload_bytes,
        not reasons,
        tuple(reasons),
        tuple(_warnings(backlog, report)),
        report,
    )


def encode_report(report: DaemonReport) -> bytes:
    """JSON, for the file beside the site's data."""
    return msgspec.json.encode(report)


def decode_report(data: bytes) -> DaemonReport:
    """The report in a file; ``ReportInvalid``. Fields of a newer Skerry are passed over."""
    try:
        return msgspec.json.decode(data, type=DaemonReport)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ReportInvalid(f"not a replication report: {error}") from error


def _warnings(backlog: Backlog, report: DaemonReport | None) -> list[str]:
    warnings = []
    if backlog.open_upload_bytes:
        warnings.append(f"{backlog.open_upload_bytes} bytes belong to uploads not completed, which are never shipped")
    if report is None:
        return warnings
    if not report.running:
        warnings.append("replication is not running")
    if report.cloud in ("unreachable", "refused"):
        warnings.append(f"the cloud is {report.cloud}: {report.last_error}")
    warnings += [
        f"site {site} was forgotten here and says the same of this one: the realm has parted. Decide which of the two "
        "goes on, and restore the other anew"
        for site in report.accusers
    ]
    if report.ended:
        warnings.append(f"{report.ended}: what is written here from now on stays here")
    if report.joining:
        warnings.append(f"this site joins the realm by a checkpoint ({report.joining}): not all of it is here yet")
    warnings += [f"site {remote.site}: {remote.refused}" for remote in report.remotes if remote.refused]
    warnings += [f"site {remote.site} is not taken in: {remote.stopped}" for remote in report.remotes if remote.stopped]
    return warnings
