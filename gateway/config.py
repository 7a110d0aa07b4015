"""Every knob of a site: one TOML file and ``SKERRY_SECTION_KEY`` variables, typed and checked once, here.

Stands before everything: the composition root loads a ``Config`` and hands each package the part it needs; nothing
below reads the environment or a file of settings. Each key has a type, bounds, a default and its unit in its name;
every wrong one is reported with file, line and reason, unknown ones with what may have been meant. A variable wins over
the file, the command's own options (``--data``, ``--listen``, ``--workers``) over both. Relative paths in a file are
relative to the file's directory, in variables and options to the current one.

It deliberately opens nothing but the configuration: whether a key file, a certificate or a credentials file can be read
is told by who uses it.
"""

from __future__ import annotations

import dataclasses
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from gateway.config_checks import check_cloud, check_realm, try_named_files
from gateway.config_reader import ENVIRONMENT_PREFIX, Check, ConfigError, Problem, Reader, Rule
from gateway.events.destinations import NotificationSettings, check_authorization, check_destinations
from gateway.http.settings import KIB, MIB, HttpSettings
from gateway.operations.lifecycle_settings import LifecycleSettings
from gateway.s3.ownership import OWNERSHIPS
from gateway.store.store import StoreSettings
from gateway.store.tier_settings import TierSettings, check_prefixes
from replication.link_hours import HoursInvalid, LinkHours
from replication.settings import CloudSettings, LinkSettings, ReplicationSettings, RetentionSettings
from replication.subscription import check_patterns
from replication.tariff import Tariff
from replication.trusted_time import ClockSettings

__all__ = ["Address", "Config", "ConfigError", "Overrides", "load_config", "parse_address"]

WORKERS_MAX: Final = 64
_SITE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_DOMAIN: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
_REGION: Final = re.compile(r"[a-z0-9-]{1,64}")
_PRICES: Final = ("upload_per_gb", "download_per_gb", "storage_per_gb_month", "put_per_1000", "get_per_1000")
_BUCKET: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")


class Address(NamedTuple):
    """Where a listener is bound: host (name or literal) and port (0: any free one)."""

    host: str
    port: int

    def __str__(self) -> str:
        """As it stands in a URL."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """``HOST:PORT`` or ``[IPv6]:PORT``; ``ValueError`` with what is wrong."""
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        raise ValueError(f"an IPv6 address needs brackets: [{host}]:{port}")
    if not colon or not host:
        raise ValueError(f"must be HOST:PORT, not {text!r}")
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        raise ValueError(f"port must be between 0 and 65535, not {port!r}")
    return Address(host, int(port))


def _check_address(text: str) -> str | None:
    try:
        parse_address(text)
    except ValueError as error:
        return str(error)
    return None


def _unless_empty(check: Check) -> Check:
    return lambda text: check(text) if text else None


def _check_site_name(text: str) -> str | None:
    return (
        None
        if _SITE_NAME.fullmatch(text)
        else "must be 1 to 63 letters, digits, '.', '_' or '-', a letter or digit first"
    )


def _check_url(text: str) -> str | None:
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        return str(error)
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0:
        return "must be a URL such as https://host:port"
    if parts.query or parts.fragment or parts.username or parts.password:
        return "must be only scheme, host and port: no credentials, query or fragment"
    return None


def _check_proxy_url(text: str) -> str | None:
    parts = urlsplit(text)
    return None if parts.scheme in ("http", "https") and parts.hostname else "must be a URL such as http://proxy:3128"


def _check_bucket(text: str) -> str | None:
    return None if _BUCKET.fullmatch(text) else "must be a bucket's name: 2 to 255 letters, digits, '.', '_' or '-'"


def _check_prefix(text: str) -> str | None:
    if text.startswith("/") or "//" in text or any(part in (".", "..") for part in text.split("/")):
        return "must be a relative prefix such as sites/north, without empty parts, '.' or '..'"
    return None if text.isascii() and text.isprintable() else "must be printable ASCII"


def _check_region(text: str) -> str | None:
    return None if _REGION.fullmatch(text) else "must be a region's name such as us-east-1"


def _check_currency(text: str) -> str | None:
    return None if re.fullmatch("[A-Z]{3}", text) else f"must be three capital letters such as EUR, not {text!r}"


def _check_hours(entries: tuple[str, ...]) -> str | None:
    try:
        LinkHours(entries)
    except HoursInvalid as error:
        return str(error)
    return None


def _check_time_zone(name: str) -> str | None:
    try:
        LinkHours((), name)
    except HoursInvalid as error:
        return str(error)
    return None


def _check_domains(domains: tuple[str, ...]) -> str | None:
    wrong = [domain for domain in domains if not _DOMAIN.fullmatch(domain)]
    return f"not a lower-case domain name: {wrong[0]!r}" if wrong else None


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """[site]: what this installation is called, and where its data lies."""

    data: Path | None = None
    name: str = ""


@dataclass(frozen=True, slots=True)
class ServerConfig(HttpSettings):
    """[server]: listeners and processes of ``skerry serve``, with everything the HTTP front is told."""

    listen: str = "127.0.0.1:9000"
    admin_listen: str = "127.0.0.1:9001"  # "" for none
    workers: int = 0  # 0: one per core
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    replication_nice: int = 10


@dataclass(frozen=True, slots=True)
class RealmConfig:
    """[realm]: where the root key comes from; none given: a file in the data directory, made at first start."""

    key_file: Path | None = None
    passphrase_file: Path | None = None
    key_command: tuple[str, ...] = ()
    wrapped_key_file: Path | None = None  # a root key that Vault or KMS unwraps
    vault_address: str = ""
    vault_key: str = ""
    vault_mount: str = "transit"
    vault_token_file: Path | None = None
    vault_namespace: str = ""
    vault_ca_file: Path | None = None
    kms_key: str = ""
    kms_region: str = ""
    kms_endpoint_url: str = ""
    kms_profile: str = ""

    @property
    def names_source(self) -> bool:
        """Whether it says where the root key comes from."""
        return bool(self.key_file or self.passphrase_file or self.key_command or self.wrapped_key_file)


@dataclass(frozen=True, slots=True)
class EncryptionConfig:
    """[encryption]: server-side encryption with keys of customers and of the realm's own KMS."""

    kms_create_keys: bool = True  # a KMS key that a request names and nobody made is made
    customer_keys_over_http: bool = True  # AWS takes SSE-C keys over TLS only


@dataclass(frozen=True, slots=True)
class DrillConfig:
    """[drill]: a restore from the bucket into a scratch directory, now and then, compared with the site."""

    every_days: float = 0.0  # 0: never by itself
    objects_max: int = 100  # versions read whole each time
    scratch: Path | None = None  # where there is room; none: in the data directory


@dataclass(frozen=True, slots=True)
class ScrubConfig:
    """[scrub]: everything on the disk is read back and authenticated, in rotation."""

    enabled: bool = True
    every_days: float = 7.0  # a rotation begins so long after the one before it began
    bytes_per_s: int = 16 * MIB  # read, at most; 0: as fast as it goes


@dataclass(frozen=True, slots=True)
class LogConfig:
    """[log]: what is written to standard error, and whether a process that dies leaves a core file."""

    level: str = "info"
    core_dumps: bool = False  # they hold keys; also lets debuggers of the same user attach


SECTIONS: Final[Mapping[str, type]] = {
    "site": SiteConfig,
    "server": ServerConfig,
    "realm": RealmConfig,
    "cloud": CloudSettings,
    "replication": ReplicationSettings,
    "link": LinkSettings,
    "clock": ClockSettings,
    "store": StoreSettings,
    "encryption": EncryptionConfig,
    "notifications": NotificationSettings,
    "lifecycle": LifecycleSettings,
    "tier": TierSettings,
    "tariff": Tariff,
    "drill": DrillConfig,
    "scrub": ScrubConfig,
    "retention": RetentionSettings,
    "log": LogConfig,
}

RULES: Final[Mapping[tuple[str, str], Rule]] = {
    ("site", "name"): Rule(check=_unless_empty(_check_site_name)),
    ("server", "listen"): Rule(check=_check_address),
    ("server", "admin_listen"): Rule(check=_unless_empty(_check_address)),
    ("server", "workers"): Rule(0, WORKERS_MAX),
    ("server", "region"): Rule(check=_check_region),
    ("server", "domains"): Rule(check=_check_domains),
    ("server", "website_domains"): Rule(check=_check_domains),
    ("server", "connections_max"): Rule(1, 1 << 20),
    ("server", "requests_max"): Rule(1, 1 << 20),
    ("server", "line_bytes_max"): Rule(8 * KIB, MIB),
    ("server", "headers_max"): Rule(32, 4096),
    ("server", "header_timeout_s"): Rule(0.1, 600),
    ("server", "keepalive_timeout_s"): Rule(0, 3600),
    ("server", "body_idle_timeout_s"): Rule(0.1, 3600),
    ("server", "linger_timeout_s"): Rule(0, 600),
    ("server", "drain_timeout_s"): Rule(0, 3600),
    ("server", "body_rate_min_bytes_s"): Rule(0, MIB),
    ("server", "body_budget_bytes"): Rule(8 * MIB, 1 << 36),
    ("server", "unsent_bytes_max"): Rule(8 * MIB, 1 << 36),
    ("server", "document_bytes_max"): Rule(2 * MIB, 64 * MIB),
    ("server", "log_delivery_s"): Rule(0.05, 86_400),
    ("server", "log_delivery_bytes"): Rule(1, 8 * MIB),
    ("server", "replication_nice"): Rule(0, 19),
    ("server", "object_ownership_default"): Rule(choices=OWNERSHIPS),
    ("cloud", "bucket"): Rule(check=_check_bucket),
    ("cloud", "prefix"): Rule(check=_check_prefix),
    ("cloud", "endpoint_url"): Rule(check=_unless_empty(_check_url)),
    ("cloud", "region"): Rule(check=_check_region),
    ("cloud", "addressing"): Rule(choices=("auto", "path", "virtual")),
    ("cloud", "proxy_url"): Rule(check=_unless_empty(_check_proxy_url)),
    ("cloud", "connect_timeout_s"): Rule(0.1, 600),
    ("cloud", "read_timeout_s"): Rule(0.1, 3600),
    ("cloud", "connections_max"): Rule(1, 1024),
    ("cloud", "object_bytes_max"): Rule(32 * MIB, 1 << 30),
    ("cloud", "upload_bytes_per_s"): Rule(0),
    ("cloud", "download_bytes_per_s"): Rule(0),
    ("replication", "ship_interval_s"): Rule(0.05, 86_400),
    ("replication", "ship_bytes"): Rule(1, 1 << 40),
    ("replication", "poll_interval_s"): Rule(0.05, 86_400),
    ("replication", "ack_interval_s"): Rule(0.05, 604_800),
    ("replication", "status_interval_s"): Rule(0.05, 604_800),
    ("replication", "backlog_poll_s"): Rule(0.05, 3600),
    ("replication", "uploads_max"): Rule(1, 64),
    ("replication", "prefetch_max"): Rule(1, 64),
    ("replication", "subscribe"): Rule(check=check_patterns),
    ("replication", "checkpoint_changes"): Rule(0, 1 << 40),
    ("replication", "checkpoint_interval_s"): Rule(1, 31_536_000),
    ("replication", "checkpoint_batches"): Rule(0, 1 << 40),
    ("link", "hours"): Rule(check=_check_hours),
    ("link", "time_zone"): Rule(check=_check_time_zone),
    ("link", "urgent"): Rule(check=check_prefixes),
    ("link", "probe_interval_s"): Rule(0.05, 3600),
    ("clock", "warn_skew_s"): Rule(0, 86_400),
    ("clock", "refuse_skew_s"): Rule(0, 86_400),
    ("store", "reserve_bytes"): Rule(0),
    ("store", "map_size_bytes"): Rule(64 * MIB, 1 << 46),
    ("store", "write_budget_bytes"): Rule(16 * MIB, 1 << 36),
    ("store", "chunk_cache_bytes"): Rule(0, 1 << 36),
    ("store", "threads"): Rule(1, 64),
    ("lifecycle", "versions_per_s"): Rule(0, 1 << 30),
    ("lifecycle", "conflict_days"): Rule(0.0, 36_500),
    ("lifecycle", "debug_day_s"): Rule(0, 86_400),
    ("retention", "point_in_time_days"): Rule(0, 36_500),
    ("retention", "grace_days"): Rule(0, 36_500),
    ("retention", "collect_interval_s"): Rule(0.05, 604_800),
    ("tier", "evict_above_percent"): Rule(0, 99),
    ("tier", "evict_to_percent"): Rule(0, 98),
    ("tier", "local_bytes_max"): Rule(0),
    ("tier", "evict_bytes_per_s"): Rule(0),
    ("tier", "check_interval_s"): Rule(0.05, 86_400),
    ("tier", "census_interval_s"): Rule(1, 604_800),
    ("tier", "pinned"): Rule(check=check_prefixes),
    **{("tariff", name): Rule(0.0) for name in _PRICES},
    ("tariff", "currency"): Rule(check=_check_currency),
    ("scrub", "every_days"): Rule(0.0, 3650),
    ("scrub", "bytes_per_s"): Rule(0),
    ("drill", "every_days"): Rule(0.0, 3650),
    ("drill", "objects_max"): Rule(0),
    ("notifications", "destinations"): Rule(check=check_destinations),
    ("notifications", "authorization"): Rule(check=check_authorization),
    ("notifications", "timeout_s"): Rule(0.1, 600),
    ("notifications", "retry_max_s"): Rule(0.1, 86_400),
    ("notifications", "age_max_s"): Rule(1, 1_209_600),
    ("log", "level"): Rule(choices=("debug", "info", "warning", "error")),
}


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a site is told. ``source`` is the file it came from, None if there was none; no cloud: a lone site."""

    source: Path | None
    site: SiteConfig
    server: ServerConfig
    realm: RealmConfig
    cloud: CloudSettings | None
    replication: ReplicationSettings
    store: StoreSettings
    log: LogConfig
    encryption: EncryptionConfig = EncryptionConfig()
    notifications: NotificationSettings = field(default_factory=NotificationSettings)
    lifecycle: LifecycleSettings = field(default_factory=LifecycleSettings)
    tier: TierSettings = field(default_factory=TierSettings)
    tariff: Tariff = field(default_factory=Tariff)
    drill: DrillConfig = field(default_factory=DrillConfig)
    scrub: ScrubConfig = field(default_factory=ScrubConfig)
    retention: RetentionSettings = field(default_factory=RetentionSettings)
    link: LinkSettings = field(default_factory=LinkSettings)
    clock: ClockSettings = field(default_factory=ClockSettings)

    @property
    def data(self) -> Path:
        """The data directory; checked to be given when loading."""
        assert self.site.data is not None
        return self.site.data

    @property
    def site_name(self) -> str:
        """The site's name: as configured, else the machine's."""
        return self.site.name or socket.gethostname().split(".")[0] or "site"

    @property
    def workers(self) -> int:
        """How many worker processes: as configured, else one per core."""
        return self.server.workers or min(len(os.sched_getaffinity(0)), WORKERS_MAX)


@dataclass(frozen=True, slots=True)
class Overrides:
    """Options of the command line that stand for a key: they win over file and environment."""

    data: Path | None = None
    listen: str | None = None
    workers: int | None = None


def load_config(
    path: Path | None,
    environment: Mapping[str, str],
    overrides: Overrides = Overrides(),
    *,
    try_files: bool = False,
) -> Config:
    """The configuration of a site, or ``ConfigError`` with everything that is wrong.

    ``path`` None: nothing but ``environment`` and ``overrides``, of which one must give the data directory.
    ``try_files``: a file that a key names and that cannot be read is wrong too.
    """
    source = str(path) if path else "configuration"
    reader = Reader(_read_text(path), source, environment, SECTIONS, RULES)
    values = {name: reader.section(name) for name in SECTIONS}
    _apply_overrides(reader, values, overrides)
    if path is not None:
        _anchor_paths(values, reader, path.resolve().parent)
    _check_together(reader, values)
    if try_files:
        try_named_files(reader, values)
    if reader.problems:
        raise ConfigError(reader.problems)
    built = {name: schema(**values[name]) for name, schema in SECTIONS.items() if name != "cloud"}
    cloud = CloudSettings(**values["cloud"]) if values["cloud"] else None
    built["server"] = _tell_operations(
        *(built["server"], built["encryption"], built["lifecycle"]), has_cloud=cloud is not None
    )
    built["server"] = _tell_destinations(built["server"], built["notifications"])
    return Config(path, cloud=cloud, **built)


def _tell_operations(
    server: ServerConfig, encryption: EncryptionConfig, lifecycle: LifecycleSettings, *, has_cloud: bool
) -> ServerConfig:
    """The listener's settings with what its operations are told by other sections."""
    operations = server.operations._replace(
        kms_create_keys=encryption.kms_create_keys,
        customer_keys=encryption.customer_keys_over_http or server.tls_certificate_file is not None,
        lifecycle_day_ms=lifecycle.calendar.day_ms,
        has_cloud=has_cloud,
    )
    return dataclasses.replace(server, operations=operations)


def _tell_destinations(server: ServerConfig, notifications: NotificationSettings) -> ServerConfig:
    """The listener's settings with the names of the destinations of events."""
    operations = server.operations._replace(destinations=notifications.names)
    return dataclasses.replace(server, operations=operations)


def _read_text(path: Path | None) -> str:
    if path is None:
        return ""
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise ConfigError([Problem(str(path), None, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        raise ConfigError([Problem(str(path), None, "", f"is not UTF-8 text (byte {error.start})")]) from None


def _apply_overrides(reader: Reader, values: dict[str, dict[str, Any]], overrides: Overrides) -> None:
    if overrides.data is not None:
        values["site"]["data"] = overrides.data.absolute()
    if overrides.listen is not None:
        values["server"]["listen"] = overrides.listen
        if reason := _check_address(overrides.listen):
            reader.problems.append(Problem("--listen", None, "", reason))
    if overrides.workers is not None:
        values["server"]["workers"] = overrides.workers
        if not 0 <= overrides.workers <= WORKERS_MAX:
            reader.problems.append(
                Problem("--workers", None, "", f"must be between 0 and {WORKERS_MAX}, not {overrides.workers}")
            )


def _anchor_paths(values: dict[str, dict[str, Any]], reader: Reader, directory: Path) -> None:
    for name, section in values.items():
        for key_name, value in section.items():
            if isinstance(value, Path) and reader.is_from_file(name, key_name):
                section[key_name] = directory / value


def _check_together(reader: Reader, values: dict[str, dict[str, Any]]) -> None:
    site, server, realm, cloud = values["site"], values["server"], values["realm"], values["cloud"]
    if site.get("data") is None and not any(problem.key == "[site] data" for problem in reader.problems):
        reader.complain("site", "data", f"is needed (or --data DIR, or {ENVIRONMENT_PREFIX}SITE_DATA)")
    for one, other in (("tls_certificate_file", "tls_key_file"), ("tls_key_file", "tls_certificate_file")):
        if server.get(one) and not server.get(other):
            reader.complain("server", one, f"needs {other} too")
    if set(server.get("domains", ())) & set(server.get("website_domains", ())):
        reader.complain("server", "website_domains", "must be other names than domains")
    check_realm(reader, realm)
    if server.get("admin_listen") and server.get("admin_listen") == server.get("listen"):
        reader.complain("server", "admin_listen", "must be another address than listen")
    tier = values["tier"]
    if tier.get("evict_to_percent") and tier["evict_to_percent"] >= tier.get("evict_above_percent", 0):
        reader.complain("tier", "evict_to_percent", "must be below evict_above_percent")
    check_cloud(reader, cloud)
