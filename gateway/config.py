"""Every knob of a site: one TOML file and ``SKERRY_SECTION_KEY`` variables, typed and checked once, here.

Stands before everything: the composition root loads a ``Config`` and hands each package the part it needs; nothing
below reads the environment or a file of settings. Each key has a type, bounds, a default and its unit in its name;
every wrong one is reported with file, line and reason, unknown ones with what may have been meant. A variable wins over
the file, the command's own options (``--data``, ``--listen``, ``--workers``) over both. Relative paths in a file are
relative to the file's directory, in variables and options to the current one.

It deliberately opens nothing but the configuration and the credentials file: whether a key file or a certificate can be
read is told by who uses it.
"""

from __future__ import annotations

import configparser
import dataclasses
import os
import re
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from gateway.config_reader import ENVIRONMENT_PREFIX, ConfigError, Problem, Reader, key

__all__ = ["Address", "Config", "ConfigError", "Overrides", "load_config", "parse_address"]

MIB: Final = 1 << 20
_SITE_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_DOMAIN: Final = re.compile(r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*")
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


def _check_optional_address(text: str) -> str | None:
    return _check_address(text) if text else None


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


def _check_domains(domains: tuple[str, ...]) -> str | None:
    wrong = [domain for domain in domains if not _DOMAIN.fullmatch(domain)]
    return f"not a lower-case domain name: {wrong[0]!r}" if wrong else None


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """[site]: what this installation is called, and where its data lies."""

    data: Path | None = None
    name: str = key("", check=lambda text: _check_site_name(text) if text else None)


@dataclass(frozen=True, slots=True)
class ServerConfig:
    """[server]: listeners and workers of ``skerry serve``."""

    listen: str = key("127.0.0.1:9000", check=_check_address)
    admin_listen: str = key("127.0.0.1:9001", check=_check_optional_address)  # "" for none
    workers: int = key(0, low=0, high=64)  # 0: one per core
    region: str = key(
        "us-east-1", check=lambda text: None if re.fullmatch(r"[a-z0-9-]{1,64}", text) else "not a region's name"
    )
    domains: tuple[str, ...] = key((), check=_check_domains)
    tls_certificate_file: Path | None = None
    tls_key_file: Path | None = None
    drain_timeout_s: float = key(30.0, low=0, high=3600)


@dataclass(frozen=True, slots=True)
class RealmConfig:
    """[realm]: where the root key comes from; none given: a file in the data directory, made at first start."""

    key_file: Path | None = None
    passphrase_file: Path | None = None
    key_command: tuple[str, ...] = key(())


@dataclass(frozen=True, slots=True)
class CloudConfig:
    """[cloud]: the one bucket of the realm; without ``bucket`` the site is alone."""

    endpoint_url: str | None = key(None, check=_check_url)
    bucket: str | None = key(None, check=_check_bucket)
    prefix: str = key("", check=_check_prefix)
    region: str = key("us-east-1")
    access_key: str | None = key(None)
    secret_key: str | None = key(None, secret=True)
    credentials_file: Path | None = None
    credentials_profile: str = key("default")
    ca_file: Path | None = None
    proxy_url: str | None = key(None, check=_check_proxy_url, secret=True)


@dataclass(frozen=True, slots=True)
class ReplicationConfig:
    """[replication]: how often, and how much at once."""

    ship_interval_s: float = key(2.0, low=0.05, high=86_400)
    poll_interval_s: float = key(10.0, low=0.05, high=86_400)
    nice: int = key(10, low=0, high=19)


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """[store]: limits of the local store."""

    reserve_bytes: int = key(256 * MIB, low=0)
    map_size_bytes: int = key(64 << 30, low=64 * MIB, high=1 << 46)


@dataclass(frozen=True, slots=True)
class LogConfig:
    """[log]: what is written to standard error."""

    level: str = key("info", choices=("debug", "info", "warning", "error"))
    access: bool = key(False)


@dataclass(frozen=True, slots=True)
class Config:
    """Everything a site is told. ``source`` is the file it came from, None if there was none."""

    source: Path | None
    site: SiteConfig = field(default_factory=SiteConfig)
    server: ServerConfig = field(default_factory=ServerConfig)
    realm: RealmConfig = field(default_factory=RealmConfig)
    cloud: CloudConfig = field(default_factory=CloudConfig)
    replication: ReplicationConfig = field(default_factory=ReplicationConfig)
    store: StoreConfig = field(default_factory=StoreConfig)
    log: LogConfig = field(default_factory=LogConfig)

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
    def has_cloud(self) -> bool:
        """Whether there is a bucket to replicate with."""
        return self.cloud.bucket is not None

    @property
    def workers(self) -> int:
        """How many worker processes: as configured, else one per core."""
        return self.server.workers or min(len(os.sched_getaffinity(0)), 64)


SECTIONS: Final[Mapping[str, type]] = {
    "site": SiteConfig,
    "server": ServerConfig,
    "realm": RealmConfig,
    "cloud": CloudConfig,
    "replication": ReplicationConfig,
    "store": StoreConfig,
    "log": LogConfig,
}


@dataclass(frozen=True, slots=True)
class Overrides:
    """Options of the command line that stand for a key: they win over file and environment."""

    data: Path | None = None
    listen: str | None = None
    workers: int | None = None


def load_config(path: Path | None, environment: Mapping[str, str], overrides: Overrides = Overrides()) -> Config:
    """The configuration of a site, or ``ConfigError`` with everything that is wrong.

    ``path`` None: nothing but ``environment`` and ``overrides``, of which one must give the data directory. The
    credentials file, if one is named, is read here.
    """
    source = str(path) if path else "configuration"
    reader = Reader(_read_text(path), source, environment, SECTIONS)
    values = {name: reader.section(name) for name in SECTIONS}
    _apply_overrides(reader, values, overrides)
    if path is not None:
        _anchor_paths(values, reader, path.resolve().parent)
    _check_together(reader, values)
    if not reader.problems:
        _read_credentials(reader, values["cloud"])
    if reader.problems:
        raise ConfigError(reader.problems)
    return Config(path, **{name: schema(**values[name]) for name, schema in SECTIONS.items()})


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
        if not 0 <= overrides.workers <= 64:
            reader.problems.append(Problem("--workers", None, "", f"must be between 0 and 64, not {overrides.workers}"))


def _anchor_paths(values: dict[str, dict[str, Any]], reader: Reader, directory: Path) -> None:
    for name, section in values.items():
        for key_name, value in section.items():
            if isinstance(value, Path) and reader.is_from_file(name, key_name):
                section[key_name] = directory / value


def _check_together(reader: Reader, values: dict[str, dict[str, Any]]) -> None:
    site, server, realm, cloud = values["site"], values["server"], values["realm"], values["cloud"]
    if site.get("data") is None:
        reader.complain("site", "data", f"is needed (or --data DIR, or {ENVIRONMENT_PREFIX}SITE_DATA)")
    for one, other in (("tls_certificate_file", "tls_key_file"), ("tls_key_file", "tls_certificate_file")):
        if server.get(one) and not server.get(other):
            reader.complain("server", one, f"needs {other} too")
    given = [name for name in ("key_file", "passphrase_file", "key_command") if realm.get(name)]
    if len(given) > 1:
        reader.complain("realm", given[1], f"only one source of the root key can be given, and {given[0]} is")
    if server.get("admin_listen") and server.get("admin_listen") == server.get("listen"):
        reader.complain("server", "admin_listen", "must be another address than listen")
    _check_cloud(reader, cloud)


def _check_cloud(reader: Reader, cloud: dict[str, Any]) -> None:
    if not cloud.get("bucket"):
        if cloud:
            reader.complain("cloud", next(iter(cloud)), "means nothing without bucket")
        return
    for one, other in (("access_key", "secret_key"), ("secret_key", "access_key")):
        if cloud.get(one) and not cloud.get(other):
            reader.complain("cloud", one, f"needs {other} too")
    if cloud.get("credentials_file") and (cloud.get("access_key") or cloud.get("secret_key")):
        reader.complain("cloud", "credentials_file", "give either it or access_key and secret_key, not both")
    elif not cloud.get("credentials_file") and not (cloud.get("access_key") or cloud.get("secret_key")):
        reader.complain("cloud", "bucket", "needs credentials: access_key and secret_key, or credentials_file")


def _read_credentials(reader: Reader, cloud: dict[str, Any]) -> None:
    """Replace ``credentials_file`` by the keys in it: AWS's own format, ``aws_access_key_id`` in a ``[profile]``."""
    path: Path | None = cloud.get("credentials_file")
    if path is None:
        return
    profile = cloud.get("credentials_profile", "default")
    parser = configparser.RawConfigParser()
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
        cloud["access_key"] = parser.get(profile, "aws_access_key_id")
        cloud["secret_key"] = parser.get(profile, "aws_secret_access_key")
    except (OSError, UnicodeDecodeError) as error:
        reader.complain(
            "cloud", "credentials_file", f"{path} cannot be read: {getattr(error, 'strerror', 'not UTF-8')}"
        )
    except (configparser.NoSectionError, configparser.NoOptionError):
        wanted = f"[{profile}] with aws_access_key_id and aws_secret_access_key"
        reader.complain("cloud", "credentials_file", f"{path} has no {wanted}")
    except configparser.Error:  # its message would quote lines, secrets among them
        reader.complain("cloud", "credentials_file", f"{path} is not in the format of an AWS credentials file")


def describe_keys() -> list[tuple[str, str, Any]]:
    """(section, key, default) of everything that can be set, in the order of the sample configuration."""
    return [
        (name, found.name, found.default) for name, schema in SECTIONS.items() for found in dataclasses.fields(schema)
    ]
