"""Replication's knobs: frozen values with units in their names, embedded by the configuration and parsed there, not
here.

Costs in requests, told where they arise, and counted (``cloud_requests``, told by ``skerry status``; of forty sites:
``make forty``, figures in the README): an idle site does one LIST per ``poll_interval_s``; a busy one one PUT for a
small round (three and more with packs), one for its head and one DELETE per ``ship_interval_s``. A site that writes
nothing but takes in what others write acknowledges that every ``ack_interval_s``: two PUTs and a DELETE, at most 144
times a day by default, and one GET for each other site; one that does not even do that still speaks once in
``status_interval_s``, so that others know it lives. ``pull = False`` acknowledges nothing, and so holds back, on all
sites, whatever waits for everybody (``membership``).

A checkpoint spares new sites the replay of all logs. It costs the size of the realm's metadata (about 0.3 KB an object,
compressed) once up and once down, and two requests for each 8 MiB of that; the site that finds the newest one
``checkpoint_changes`` changes old writes the next (or a tenth of them ``checkpoint_interval_s`` old). To find that out
it asks one LIST when it would be due. A site that collects in the bucket writes one of its own, too, when its log has
grown by ``checkpoint_batches`` behind its last one, at most once in ``checkpoint_interval_s``: only what that stands in
for leaves the bucket (``log_compaction``: a DELETE for each batch, and for each 256 three LISTs and a few GETs).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True)
class ShipLimits:
    """How large one ship round may get.

    Its log batch is applied elsewhere in one transaction, so counts are bounded too.
    """

    changes_max: int = 1000
    change_bytes_max: int = 512 << 10
    frames_max: int = 2048
    frame_bytes_max: int = 256 << 20
    pack_bytes_max: int = 16 << 20
    inline_bytes_max: int = 256 << 10


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """How the cloud is tried again: full jitter between 0 and ``min(backoff_max_s, backoff_base_s * 2**attempt)``."""

    backoff_base_s: float = 0.2
    backoff_max_s: float = 20.0
    deadline_s: float = 60.0
    circuit_failures: int = 5
    circuit_open_s: float = 5.0


@dataclass(frozen=True, slots=True)
class CloudSettings:
    """Which bucket, how to reach it, who we are there. Without ``access_key`` or file: botocore's default chain."""

    bucket: str
    prefix: str = ""
    endpoint_url: str = ""
    region: str = "us-east-1"
    addressing: str = "auto"  # "path", "virtual" or "auto"
    access_key: str = ""
    secret_key: str = field(default="", repr=False)
    session_token: str = field(default="", repr=False)
    credentials_file: Path | None = None
    profile: str = "default"
    ca_file: Path | None = None
    proxy_url: str = field(default="", repr=False)
    connect_timeout_s: float = 10.0
    read_timeout_s: float = 60.0
    connections_max: int = 16
    object_bytes_max: int = 64 << 20
    upload_bytes_per_s: int = 0  # 0: no limit
    download_bytes_per_s: int = 0
    single_writer: bool = False  # the operator vouches that no other machine writes as this site
    retry: RetrySettings = RetrySettings()


@dataclass(frozen=True, slots=True)
class LinkSettings:
    """[link]: hours with limits of their own (see ``link_hours``), and what is never kept waiting."""

    hours: tuple[str, ...] = ()
    time_zone: str = "UTC"
    urgent: tuple[str, ...] = ()  # "bucket/prefix": its changes are shipped at once, during a pause, too
    probe_interval_s: float = 2.0  # how often an unreachable cloud's port is knocked at; costs no request


@dataclass(frozen=True, slots=True)
class RetentionSettings:
    """[retention]: how long what nothing needs stays in the bucket, and whether this site deletes there at all; whether
    it ends its tombstones, once everybody has seen them (``tombstones``: two LISTs a ``collect_interval_s``).

    Requests of a collection: one LIST, for each pack emptied a PUT of what was alive, two more PUTs, and a DELETE.
    """

    collect_cloud: bool = True
    collect_tombstones: bool = True
    point_in_time_days: float = 7.0
    grace_days: float = 7.0
    collect_interval_s: float = 3600.0

    @property
    def tombstones_ms(self) -> int:
        """How long a tombstone stays that everybody has seen."""
        return int(max(self.grace_days, self.point_in_time_days) * DAY_MS)

    def collecting(self) -> CollectSettings:
        """What the collector is told."""
        return CollectSettings(
            enabled=self.collect_cloud,
            interval_s=self.collect_interval_s,
            point_in_time_ms=int(self.point_in_time_days * DAY_MS),
            grace_ms=int(self.grace_days * DAY_MS),
        )


@dataclass(frozen=True, slots=True)
class CollectSettings:
    """Collection in the bucket. What nothing needs any more stays for ``point_in_time_ms``; a doomed object for
    ``grace_ms`` at least. ``acquaint_ms``: after so long a new log counts as known also to those who did not say so.

    A round walks over ``objects_max`` objects and ships at most ``rounds_max`` packs again. ``enabled``: choose objects
    to doom; what others doom is settled in any case, for they wait for it.
    """

    enabled: bool = True
    interval_s: float = 3600.0
    point_in_time_ms: int = 7 * DAY_MS
    grace_ms: int = 7 * DAY_MS
    acquaint_ms: int = 3_600_000
    live_share_min: float = 0.5
    objects_max: int = 16
    rounds_max: int = 16


@dataclass(frozen=True, slots=True)
class ReplicationSettings:
    """The daemon's cadence and limits."""

    ship_interval_s: float = 1.0
    ship_bytes: int = 8 << 20
    poll_interval_s: float = 5.0
    ack_interval_s: float = 600.0
    status_interval_s: float = 3600.0
    backlog_poll_s: float = 0.5
    uploads_max: int = 3
    prefetch_max: int = 4
    pull: bool = True
    subscribe: tuple[str, ...] = ()  # buckets to take in, by name, or by prefix with "*" behind it; empty: all
    checkpoint_changes: int = 100_000  # 0: this site writes no checkpoints
    checkpoint_interval_s: float = 86_400.0
    checkpoint_batches: int = 5_000  # 0: none of its own for the sake of its log
    limits: ShipLimits = ShipLimits()
